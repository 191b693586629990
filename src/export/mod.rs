//! Results as files that other programs read.

pub mod arrays;
pub mod asciicast;
pub mod film;
pub mod metrics;
mod npz;
pub mod picture;
pub mod poster;
pub mod series;
pub mod surface;
pub mod wormhole;
pub(crate) mod xml;

use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Writes a file beside `path` and renames it, so that a reader finds the old one whole or the new one, and a disk
/// that is full or a program that is ended leaves the old one. A link is followed; a device or folder is refused.
pub fn replace(path: &Path, write: impl FnOnce(&mut NamedTempFile) -> Result<()>) -> Result<()> {
    let (target, mut file) = beside(path)?;
    write(&mut file)?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a file beside `path` and gives it that name once it is whole. A file that has the name already stays.
pub fn create(path: &Path, write: impl FnOnce(&mut NamedTempFile) -> Result<()>) -> Result<()> {
    if path.symlink_metadata().is_ok() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let (target, mut file) = beside(path)?;
    write(&mut file)?;
    file.as_file().sync_all()?;
    // One that has come meanwhile stays too.
    file.persist_noclobber(target).map_err(|error| error.error)?;
    Ok(())
}

/// Fails where [`replace`] would before it wrote anything.
pub fn writable(path: &Path) -> Result<()> {
    beside(path).map(|_| ())
}

/// Where `path` leads, and a new file in the same folder with the mode that any new file gets.
fn beside(path: &Path) -> Result<(PathBuf, NamedTempFile)> {
    let target = match std::fs::canonicalize(path) {
        Ok(target) if target.is_file() => target,
        Ok(_) => return Err(Error::new(ErrorKind::InvalidInput, "not a regular file")),
        Err(_) => path.to_owned(),
    };
    let folder = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The error of the temporary file itself would name that file.
    if let Err(error) = std::fs::read_dir(folder) {
        let missing = format!("there is no folder {}: make it first", folder.display());
        return Err(if error.kind() == ErrorKind::NotFound {
            Error::new(ErrorKind::NotFound, missing)
        } else {
            error
        });
    }
    let mode = std::fs::Permissions::from_mode(0o666);
    let file = tempfile::Builder::new().prefix(".llamascape-").permissions(mode).tempfile_in(folder)?;
    Ok((target, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_link_is_followed_and_what_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace(&link, |file| file.write_all(b"new")).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert!(link.is_symlink());
        assert!(replace(&file, |_| Err(Error::other("full"))).is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_there_already_is_not_created_again() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        create(&file, |file| file.write_all(b"first")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("nowhere"), &link).unwrap();
        for path in [&file, &link, &folder.path().to_owned()] {
            let error = create(path, |file| file.write_all(b"second")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}", path.display());
        }
        let late = folder.path().join("c");
        let taken = create(&late, |_| std::fs::write(&late, "meanwhile"));
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "first");
        assert_eq!(std::fs::read_to_string(&late).unwrap(), "meanwhile");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3, "nothing else is left there");
    }

    #[test]
    fn devices_folders_and_places_that_do_not_exist_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for path in [Path::new("/dev/null"), folder.path(), &folder.path().join("nowhere/a")] {
            assert!(writable(path).is_err() && replace(path, |_| Ok(())).is_err(), "{}", path.display());
        }
    }
}
