//! Deleting runs: which one a name means, and how its folder goes.

use std::path::{Path, PathBuf};

use super::listing::bytes;
use super::{Listing, RunDir, RunError, io, runs_folder};
use crate::model::checkpoint;

/// A run that is to be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub dir: RunDir,
    /// Bytes of all its files.
    pub bytes: u64,
}

impl Doomed {
    fn new(name: &str, path: &Path) -> Self {
        Self { name: name.to_owned(), dir: RunDir(place(path)), bytes: 0 }
    }

    fn folder(&self) -> String {
        self.dir.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The same with its bytes. Fails for a link and where an engine is alive.
    fn checked(self) -> Result<Self, RunError> {
        let path = self.dir.path();
        if std::fs::symlink_metadata(path).map_err(io(path))?.is_symlink() {
            return Err(RunError::Link(path.to_owned()));
        }
        if self.dir.is_alive() {
            return Err(RunError::Alive { name: self.name });
        }
        Ok(Self { bytes: bytes(self.dir.path()), ..self })
    }
}

impl Listing {
    /// The one run that `name` means: its name, its folder, or the beginning of one of these among the runs. A folder
    /// elsewhere must hold settings of a run.
    pub fn doomed(&self, name: &str) -> Result<Doomed, RunError> {
        let path = place(&std::path::absolute(name).map_err(io(Path::new(name)))?);
        let mut found: Vec<Doomed> = Vec::new();
        if name.contains('/') || [".", ".."].contains(&name) {
            found.push(self.at(&path)?);
        } else {
            // A folder here that is no run may have the name of one.
            found.extend(self.at(&path));
            let called = |run: &Doomed| run.name == name || run.folder() == name;
            let others: Vec<Doomed> = self.all().filter(|run| called(run) && !found.contains(run)).collect();
            found.extend(others);
            if found.is_empty() {
                let begins = |run: &Doomed| run.name.starts_with(name) || run.folder().starts_with(name);
                found = self.all().filter(begins).collect();
            }
        }
        let Some(run) = found.pop() else {
            let near = self.all().map(|run| run.name).find(|other| other.contains(name));
            return Err(RunError::Unknown { name: name.to_owned(), near });
        };
        if found.is_empty() {
            return run.checked();
        }
        found.push(run);
        let folders: Vec<String> = found.iter().map(|run| run.dir.0.display().to_string()).collect();
        Err(RunError::Ambiguous { name: name.to_owned(), folders: folders.join(", ") })
    }

    /// The run in that folder.
    fn at(&self, path: &Path) -> Result<Doomed, RunError> {
        if path.file_name().is_none() {
            let reason = "can't be deleted by this name: give the folder's own".to_owned();
            return Err(RunError::Broken { path: path.to_owned(), reason });
        }
        if let Some(run) = self.all().find(|run| run.dir.0 == path) {
            return Ok(run);
        }
        let dir = RunDir::open(path)?;
        Ok(Doomed { name: dir.settings()?.name, bytes: 0, dir })
    }

    fn all(&self) -> impl Iterator<Item = Doomed> {
        let runs = self.runs.iter().map(|run| Doomed::new(&run.name, &run.path));
        runs.chain(self.unclear.iter().map(|run| Doomed::new(&run.name, &run.path)))
    }
}

impl RunDir {
    /// Deletes the folder with all that is in it; links in it are not followed. It loses its name first, so that
    /// whoever is killed meanwhile leaves no half of a run.
    pub fn delete(&self) -> Result<(), RunError> {
        // No engine begins meanwhile.
        let _lock = self.lock()?;
        checkpoint::remove(&self.0).map_err(io(&self.0))
    }
}

/// Removes what interrupted deletions have left among the runs.
pub fn sweep() -> Result<(), RunError> {
    let Ok(entries) = std::fs::read_dir(runs_folder()?) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let process = name.strip_prefix('.').and_then(|name| name.rsplit_once(".removed-"));
        if process.is_some_and(|(_, process)| process.parse::<u32>().is_ok()) {
            // Another deletion may be at it.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

/// One path for a folder however it is reached. A link at its end stays one, with a slash after it, too.
fn place(path: &Path) -> PathBuf {
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}
