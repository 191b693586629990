//! Writes what a person exports from a screen: the screen itself, or the slice that is on it.

use std::io::{self, Write};
use std::path::PathBuf;

use ratatui::buffer::Buffer;

use super::svg::{self, Ground};
use crate::app::ExportFormat;
use crate::export::surface::{Surface, SurfaceError};
use crate::export::{create, picture};
use crate::protocol::Slice;

/// What can be exported.
pub(super) struct Subject<'a> {
    /// The screen, without what the person types.
    pub(super) screen: Buffer,
    /// Its title.
    pub(super) title: String,
    /// What the terminal's own colours are taken to be.
    pub(super) ground: Ground,
    /// What a table holds in place of the slice, where the screen shows that.
    pub(super) table: Option<String>,
    /// The slice and the model that is at its middle, once there is one.
    pub(super) slice: Option<(String, &'a Slice)>,
}

/// Why nothing was written. The person has the name before them: what is wrong comes first.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExportError {
    #[error("there is already a file of this name: choose another")]
    Exists,
    #[error("there is no slice yet: .svg and .txt hold the screen")]
    NoSlice,
    #[error("there is no home folder: write the whole path")]
    NoHome,
    #[error("{source}: {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the picture can't be made: {0}")]
    Png(#[from] png::EncodingError),
    #[error(transparent)]
    Surface(SurfaceError),
}

/// Writes a new file of this name, and returns where it is. `~/` is the home folder.
pub(super) fn write(
    format: ExportFormat,
    name: &str,
    home: Option<PathBuf>,
    subject: &Subject,
) -> Result<PathBuf, ExportError> {
    let path = match name.strip_prefix("~/") {
        Some(rest) => home.ok_or(ExportError::NoHome)?.join(rest.trim_start_matches('/')),
        None => PathBuf::from(name),
    };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => ExportError::Exists,
        _ => ExportError::Io { path: path.clone(), source },
    };
    let bytes = match (format, &subject.table) {
        (ExportFormat::Svg, _) => svg::svg(&subject.screen, &subject.title, subject.ground).into_bytes(),
        (ExportFormat::Txt, _) => svg::text(&subject.screen).into_bytes(),
        (ExportFormat::Csv, Some(table)) => table.clone().into_bytes(),
        (ExportFormat::Png, _) => picture::png(whole(subject)?.1)?.1,
        (ExportFormat::Npz | ExportFormat::Csv | ExportFormat::Json | ExportFormat::Vtp, _) => {
            let (model, slice) = whole(subject)?;
            return match Surface::shown(model.to_owned(), slice).create(&path) {
                Ok(()) => std::path::absolute(&path).map_err(failed),
                Err(SurfaceError::Io { source, .. }) => Err(failed(source)),
                Err(error) => Err(ExportError::Surface(error)),
            };
        }
    };
    create(&path, |file| file.write_all(&bytes)).map_err(failed)?;
    std::path::absolute(&path).map_err(failed)
}

/// The slice, if it is there and its losses are as many as its points.
fn whole<'a>(subject: &'a Subject) -> Result<(&'a str, &'a Slice), ExportError> {
    let (model, slice) = subject.slice.as_ref().ok_or(ExportError::NoSlice)?;
    let points = slice.alphas.len() * slice.betas.len();
    if points == 0 || points != slice.loss.len() {
        return Err(ExportError::NoSlice);
    }
    Ok((model.as_str(), *slice))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchInfo, PlaneInfo};

    fn slice() -> Slice {
        Slice {
            step: 7,
            generation: 1,
            alphas: vec![-1.0, 1.0],
            betas: vec![0.0],
            loss: vec![2.0, 3.0],
            center: 2.5,
            finest: true,
            plane: PlaneInfo::default(),
            batch: BatchInfo { tokens: 1, sha256: String::new(), source: "held-out".to_owned() },
            seconds: 0.5,
            method: "stack".to_owned(),
            sharpness: None,
        }
    }

    fn subject(slice: Option<&Slice>) -> Subject<'_> {
        Subject {
            screen: Buffer::with_lines(["step 7  "]),
            title: "llamascape".to_owned(),
            ground: Ground::new(false),
            table: None,
            slice: slice.map(|slice| ("otter@7".to_owned(), slice)),
        }
    }

    #[test]
    fn every_format_is_written_and_what_is_there_is_kept() {
        let (folder, slice) = (tempfile::tempdir().unwrap(), slice());
        let subject = subject(Some(&slice));
        for format in ExportFormat::ALL {
            let path = folder.path().join(format!("a.{}", format.extension()));
            let name = path.to_str().unwrap();
            assert_eq!(write(format, name, None, &subject).unwrap(), path);
            let written = std::fs::read(&path).unwrap();
            let error = write(format, name, None, &subject).unwrap_err();
            assert!(matches!(error, ExportError::Exists), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), written, "{name}");
        }
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        assert_eq!(read("a.txt"), b"step 7\n");
        assert!(read("a.svg").starts_with(b"<svg ") && read("a.png").starts_with(b"\x89PNG"));
        assert_eq!(Surface::read(&folder.path().join("a.csv")).unwrap().caption.model, "otter@7");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), ExportFormat::ALL.len());
    }

    #[test]
    fn a_table_of_what_is_shown_takes_the_place_of_that_of_the_slice() {
        let (folder, slice) = (tempfile::tempdir().unwrap(), slice());
        let subject = Subject { table: Some("step,tensor\n".to_owned()), ..subject(Some(&slice)) };
        let at = |name: &str| folder.path().join(name);
        write(ExportFormat::Csv, at("a.csv").to_str().unwrap(), None, &subject).unwrap();
        assert_eq!(std::fs::read(at("a.csv")).unwrap(), b"step,tensor\n");
        write(ExportFormat::Json, at("a.json").to_str().unwrap(), None, &subject).unwrap();
        assert_eq!(Surface::read(&at("a.json")).unwrap().caption.method, "stack", "as it was evaluated");
    }

    #[test]
    fn without_a_slice_only_the_screen_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let torn = Slice { loss: vec![2.0], ..slice() };
        for slice in [None, Some(&torn)] {
            for format in ExportFormat::ALL.into_iter().filter(|format| !format.is_of_screen()) {
                let path = folder.path().join(format!("a.{}", format.extension()));
                let error = write(format, path.to_str().unwrap(), None, &subject(slice)).unwrap_err();
                assert!(matches!(error, ExportError::NoSlice), "{error}");
                assert!(!path.exists());
            }
        }
        let path = folder.path().join("a.txt");
        assert!(write(ExportFormat::Txt, path.to_str().unwrap(), None, &subject(None)).is_ok());
    }

    #[test]
    fn the_home_folder_is_found_and_a_place_that_is_none_is_named_on_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str, home| write(ExportFormat::Txt, name, home, &subject(None));
        let home = Some(folder.path().to_owned());
        assert_eq!(at("~/a.txt", home).unwrap(), folder.path().join("a.txt"));
        assert!(matches!(at("~/a.txt", None), Err(ExportError::NoHome)));
        let nowhere = folder.path().join("nowhere/a.txt");
        let error = at(nowhere.to_str().unwrap(), None).unwrap_err().to_string();
        assert!(error.starts_with("there is no folder") && error.ends_with("nowhere/a.txt"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
