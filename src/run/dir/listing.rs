//! The runs there are, as their folders tell.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

use super::{RunDir, RunError, RunState, runs_folder};

/// The folders among a user's runs.
#[derive(Debug, Default)]
pub struct Listing {
    /// The runs, newest folder first.
    pub runs: Vec<Summary>,
    /// Those whose files don't tell how they stand, newest folder first.
    pub unclear: Vec<Unclear>,
}

/// One row of `llamascape runs`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// The run's name.
    pub name: String,
    /// Its folder.
    #[serde(serialize_with = "lossy")]
    pub path: PathBuf,
    /// What it is doing.
    pub state: RunState,
    /// Steps taken.
    pub step: u64,
    /// The last loss.
    pub loss: Option<f64>,
    /// The model in words.
    pub model: String,
    /// When it began, RFC 3339.
    pub started: String,
    /// Bytes of all its files, once [`Listing::measure`] has looked them up.
    pub bytes: u64,
}

/// A run whose files are being written, or can't be read.
#[derive(Debug)]
pub struct Unclear {
    /// The run's name, or that of its folder where no file tells.
    pub name: String,
    /// Its folder.
    pub path: PathBuf,
    /// What can't be read.
    pub reason: RunError,
    /// Bytes of all its files, once [`Listing::measure`] has looked them up.
    pub bytes: u64,
}

impl Listing {
    /// Looks up the bytes of each run, which takes a look at every file of theirs.
    pub fn measure(&mut self) {
        for run in &mut self.runs {
            run.bytes = bytes(&run.path);
        }
        for run in &mut self.unclear {
            run.bytes = bytes(&run.path);
        }
    }
}

/// All runs of this user. Files, hidden folders and folders without any file of a run are passed over.
pub fn list() -> Result<Listing, RunError> {
    let mut listing = Listing::default();
    for path in newest_first()? {
        match summary(&path) {
            Ok(Some(run)) => listing.runs.push(run),
            Ok(None) => {}
            Err(reason) => listing.unclear.push(unclear(path, reason)),
        }
    }
    Ok(listing)
}

/// The runs of this user that have an engine, newest folder first. What can't be read is passed over.
pub fn living() -> Result<Vec<Summary>, RunError> {
    let mut paths = newest_first()?;
    // Of the others nothing is read: there may be many, and this is asked again and again.
    paths.retain(|path| RunDir(path.clone()).is_alive());
    let runs = paths.iter().filter_map(|path| summary(path).ok().flatten());
    Ok(runs.filter(|run| matches!(run.state, RunState::Running | RunState::Paused)).collect())
}

/// What lies in the folder of runs.
fn newest_first() -> Result<Vec<PathBuf>, RunError> {
    let folder = runs_folder()?;
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RunError::Io { path: folder, source }),
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_by(|a, b| b.cmp(a));
    Ok(paths)
}

fn summary(path: &Path) -> Result<Option<Summary>, RunError> {
    let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    if is_hidden || !path.is_dir() {
        return Ok(None);
    }
    let dir = RunDir(path.to_owned());
    let (settings, state) = match (dir.settings(), dir.state()) {
        (Ok(settings), Ok(state)) => (settings, state),
        (Err(settings), Err(state)) if is_missing(&settings) && is_missing(&state) => return Ok(None),
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    Ok(Some(Summary {
        name: settings.name,
        state: state.state,
        step: state.step,
        loss: state.loss.filter(|loss| loss.is_finite()),
        model: state.model,
        started: state.started,
        bytes: 0,
        path: dir.0,
    }))
}

fn unclear(path: PathBuf, reason: RunError) -> Unclear {
    let dir = RunDir(path);
    let folder = dir.0.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = dir.settings().map_or(folder, |settings| settings.name);
    Unclear { name, reason, bytes: 0, path: dir.0 }
}

fn is_missing(error: &RunError) -> bool {
    matches!(error, RunError::Io { source, .. } if source.kind() == ErrorKind::NotFound)
}

/// Bytes of all files in a folder. Links are not followed.
pub(super) fn bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes(&entry.path()),
            Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |metadata| metadata.len()),
            _ => 0,
        })
        .sum()
}

/// JSON has no word for a path that is no Unicode: one such folder must not cost the whole list.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}
