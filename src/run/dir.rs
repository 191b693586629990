//! The folder of a run, and the runs there are.
//!
//! A run folder holds `settings.json` (how it was made), `state.json` (where it stands), `metrics.jsonl` (one
//! object a step), `slices.jsonl` (one slice a line), `events.out.tfevents.*` (for `TensorBoard`), `engine.log`,
//! `checkpoint-N/` folders, `screen.json` (how it was last looked at), `panic.txt` (after a bug), `socket` (where its
//! engine listens, while it does) and `engine.lock`, which a living engine holds. All of this together has a number,
//! [`FORMAT`], which `settings.json` gives.

mod deletion;
mod listing;

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy;
use serde::{Deserialize, Serialize};

use super::journal::brief;
use crate::model::checkpoint::step_of;
use crate::protocol::Status;
use crate::settings::Settings;

pub use deletion::{Doomed, sweep};
pub use listing::{Listing, Summary, Unclear, list, living};

/// The number of the format of a run folder. It grows when a file changes so that earlier programs would misread it;
/// what is only added leaves it as it is.
pub const FORMAT: u64 = 1;
/// How often the lock of a run is tried for, and the time between.
const LOCK_TRIES: usize = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(2);
/// Bytes of a file of settings or a state, and of a note, at most: what is longer is none.
const LONGEST: u64 = 16 << 20;

/// Why a run folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The system refuses something.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of the run does not hold what it should.
    #[error("{path}: {reason}")]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A later program has made the run.
    #[error(
        "{path}: the run's format is {format}, this llamascape knows {} at most: take a newer one",
        FORMAT
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The number of its format.
        format: u64,
    },
    /// `--run-dir` names a folder in use.
    #[error("{0}: the folder is not empty; --run-dir takes a new or an empty one")]
    NotEmpty(PathBuf),
    /// No run of that name.
    #[error("no run called {name}{}; `llamascape runs` lists them", near.as_ref().map(|near| format!(" (is it {near}?)")).unwrap_or_default())]
    Unknown {
        /// What was asked for.
        name: String,
        /// A run whose name contains it.
        near: Option<String>,
    },
    /// A name that is too little to delete by.
    #[error("{name} may be any of {folders}: give one of these folders")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// The folders of the runs that it may be.
        folders: String,
    },
    /// A link is to be deleted.
    #[error(
        "{0}: is a link, and what it leads to is not deleted: remove the link with rm, or give that folder"
    )]
    Link(PathBuf),
    /// A run with an engine is to be deleted.
    #[error(
        "{name} has an engine that trains it or waits: end that first, with q after `llamascape attach {name}`"
    )]
    Alive {
        /// The run.
        name: String,
    },
    /// No run at all.
    #[error("there are no runs in {0}; `llamascape train` starts one")]
    None(PathBuf),
    /// The engine is gone.
    #[error("{name} is not running; its folder is {path}")]
    NotRunning {
        /// The run.
        name: String,
        /// Its folder.
        path: PathBuf,
    },
    /// Another engine owns the folder.
    #[error("{0}: another engine is training this run; `llamascape attach` watches it")]
    Busy(PathBuf),
    /// The home folder can't be found.
    #[error("there is no home folder to keep runs in: set HOME or XDG_STATE_HOME, or give --run-dir")]
    NoHome,
}

/// What a run is doing, as files say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunState {
    /// Its engine is training, or getting ready to.
    Running,
    /// Its engine waits for a command.
    Paused,
    /// Its engine ended as it should.
    Stopped,
    /// Its engine is gone without a word.
    Crashed,
}

impl RunState {
    /// The state in a word, as files have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Crashed => "crashed",
        }
    }
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateFile {
    /// What the engine last said it was doing.
    pub state: RunState,
    /// Steps taken.
    pub step: u64,
    /// The last loss.
    pub loss: Option<f64>,
    /// The model in words.
    pub model: String,
    /// When the run began, RFC 3339.
    pub started: String,
}

/// The number of a format, as `settings.json` gives it. Files without one are of the first.
#[derive(Deserialize)]
struct Format {
    #[serde(default = "first")]
    format: u64,
}

fn first() -> u64 {
    1
}

/// A file with the number of its format.
#[derive(Serialize)]
struct Numbered<'a, T> {
    format: u64,
    #[serde(flatten)]
    rest: &'a T,
}

/// A run folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// Makes the folder, readable by its owner alone, and writes `settings.json`. Without a path it becomes a
    /// new folder among the user's runs.
    pub fn create(path: Option<&Path>, settings: &Settings) -> Result<Self, RunError> {
        let path = match path {
            Some(path) => std::path::absolute(path).map_err(io(path))?,
            None => runs_folder()?.join(format!(
                "{}-{}",
                jiff::Zoned::now().strftime("%Y%m%d-%H%M%S"),
                settings.name
            )),
        };
        if std::fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(RunError::NotEmpty(path));
        }
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(io(&path))?;
        let dir = Self(path);
        dir.write_settings(settings)?;
        Ok(dir)
    }

    /// Writes `settings.json`.
    pub fn write_settings(&self, settings: &Settings) -> Result<(), RunError> {
        self.write_json("settings.json", &Numbered { format: FORMAT, rest: settings })
    }

    /// An existing run folder.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let path = std::path::absolute(path).map_err(io(path))?;
        let dir = Self(path);
        dir.settings()?;
        Ok(dir)
    }

    /// The run of that name, prefix of a name, or folder; without a name the newest one, running ones first.
    pub fn find(name: Option<&str>) -> Result<Self, RunError> {
        let Listing { runs, unclear } = list()?;
        if name == Some("") {
            return Err(RunError::Unknown { name: String::new(), near: None });
        }
        let Some(name) = name else {
            let alive = runs.iter().find(|run| matches!(run.state, RunState::Running | RunState::Paused));
            let newest = alive.or(runs.first());
            return newest.map(|run| Self(run.path.clone())).ok_or(RunError::None(runs_folder()?));
        };
        if Path::new(name).join("settings.json").is_file() {
            return Self::open(Path::new(name));
        }
        let folder = |run: &&Summary| run.path.file_name().is_some_and(|folder| folder == name);
        // Of several that fit, a living one is meant.
        let (alive, ended): (Vec<&Summary>, Vec<&Summary>) =
            runs.iter().partition(|run| matches!(run.state, RunState::Running | RunState::Paused));
        let pick =
            |fits: &dyn Fn(&&Summary) -> bool| alive.iter().chain(&ended).copied().find(|run| fits(run));
        let found = pick(&|run| run.name == name)
            .or_else(|| pick(&folder))
            .or_else(|| pick(&|run| run.name.starts_with(name)));
        if let Some(run) = found {
            return Ok(Self(run.path.clone()));
        }
        // Its name can't be read, but that of the folder ends with it.
        let newer = |run: &Unclear| {
            let is_called = run.name == name || run.name.ends_with(&format!("-{name}"));
            is_called && matches!(run.reason, RunError::Newer { .. })
        };
        if let Some(run) = unclear.into_iter().find(newer) {
            return Err(run.reason);
        }
        let near = runs.iter().find(|run| run.name.contains(name)).map(|run| run.name.clone());
        Err(RunError::Unknown { name: name.to_owned(), near })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// How the run was made. Fails where a later program has made it in another format.
    pub fn settings(&self) -> Result<Settings, RunError> {
        // What a later program means by its settings may not even be read.
        let Format { format } = self.read_json("settings.json")?;
        if format > FORMAT {
            return Err(RunError::Newer { path: self.0.join("settings.json"), format });
        }
        self.read_json("settings.json")
    }

    /// Where the run stands. An engine that said it was alive and no longer holds its lock has crashed.
    pub fn state(&self) -> Result<StateFile, RunError> {
        let mut state: StateFile = self.read_json("state.json")?;
        if matches!(state.state, RunState::Running | RunState::Paused) && !self.is_alive() {
            state.state = RunState::Crashed;
        }
        Ok(state)
    }

    /// Writes `state.json` in one stroke.
    pub fn write_state(&self, state: &StateFile) -> Result<(), RunError> {
        self.write_json("state.json", state)
    }

    /// Claims the folder for this process, until the returned file is dropped or the process ends.
    ///
    /// Whoever asks whether the run is alive holds the lock for a moment, which is waited for.
    pub fn lock(&self) -> Result<File, RunError> {
        let path = self.0.join("engine.lock");
        let file = File::options().create(true).append(true).open(&path).map_err(io(&path))?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(RunError::Busy(self.0.clone())),
                Err(TryLockError::Error(source)) => return Err(RunError::Io { path, source }),
            }
        }
    }

    /// Whether an engine holds the lock. Asking leaves no file behind, and two who ask don't take each other for one.
    fn is_alive(&self) -> bool {
        let held = |file: File| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        File::open(self.0.join("engine.lock")).is_ok_and(held)
    }

    /// Notes where the engine listens.
    pub fn write_socket(&self, socket: &Path) -> Result<(), RunError> {
        self.replace("socket", socket.as_os_str().as_encoded_bytes())
    }

    /// Forgets where the engine listened. A note that stays behind does no harm: the lock tells.
    pub fn forget_socket(&self) {
        if let Err(error) = std::fs::remove_file(self.0.join("socket"))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::debug!("the socket's note stays: {error}");
        }
    }

    /// Where the engine of this run listens.
    pub fn socket(&self) -> Result<PathBuf, RunError> {
        let text = read(&self.0.join("socket")).unwrap_or_default();
        if text.is_empty() || !self.is_alive() {
            let name = self.settings().map(|settings| settings.name).unwrap_or_default();
            return Err(RunError::NotRunning { name, path: self.0.clone() });
        }
        Ok(PathBuf::from(text))
    }

    /// Removes the folder of a run that never began.
    pub fn discard(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            log::warn!("{}: can't be removed: {error}", self.0.display());
        }
    }

    /// The steps of its checkpoints, ascending. Fails where the folder can't be read to its end: what it holds is not
    /// known then, which is not the same as nothing.
    pub fn checkpoints(&self) -> Result<Vec<u64>, RunError> {
        let mut steps = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(io(&self.0))? {
            let name = entry.map_err(io(&self.0))?.file_name();
            steps.extend(name.to_str().and_then(step_of));
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// The steps of the newest of them, as many as [`Status::checkpoints`] tells.
    pub fn newest_checkpoints(&self) -> Result<Vec<u64>, RunError> {
        let mut steps = self.checkpoints()?;
        steps.drain(..steps.len().saturating_sub(Status::CHECKPOINTS));
        Ok(steps)
    }

    /// The folder of a checkpoint.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.0.join(format!("checkpoint-{step}"))
    }

    /// What a file of the folder says.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, RunError> {
        let path = self.0.join(name);
        let text = read(&path).map_err(io(&path))?;
        serde_json::from_str(&text)
            .map_err(|error| RunError::Broken { path, reason: brief(&error.to_string()) })
    }

    /// Writes a file of the folder in one stroke.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), RunError> {
        let broken = |error: serde_json::Error| RunError::Broken {
            path: self.0.join(name),
            reason: format!("can't be written: {error}"),
        };
        let mut text = serde_json::to_string_pretty(value).map_err(broken)?;
        text.push('\n');
        self.replace(name, text.as_bytes())
    }

    /// Writes a file beside and renames it, so that a reader sees the old or the new one whole.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), RunError> {
        let path = self.0.join(name);
        let mut file = tempfile::NamedTempFile::new_in(&self.0).map_err(io(&path))?;
        file.write_all(bytes).map_err(io(&path))?;
        // A machine that loses its power has one of the two as well.
        file.as_file().sync_data().map_err(io(&path))?;
        file.persist(&path).map_err(|error| RunError::Io { path: path.clone(), source: error.error })?;
        Ok(())
    }
}

/// Where runs are kept: `llamascape/runs` in the user's state folder.
pub fn runs_folder() -> Result<PathBuf, RunError> {
    Ok(state_folder()?.join("runs"))
}

/// Where panics outside of an engine are reported: `llamascape/reports` in the user's state folder.
pub fn reports_folder() -> Result<PathBuf, RunError> {
    Ok(state_folder()?.join("reports"))
}

fn state_folder() -> Result<PathBuf, RunError> {
    let strategy = etcetera::choose_base_strategy().map_err(|_| RunError::NoHome)?;
    let state = strategy.state_dir().unwrap_or_else(|| strategy.data_dir());
    Ok(state.join("llamascape"))
}

/// Where what can be made again is kept, in a folder of its own.
pub fn cache_folder() -> Result<PathBuf, RunError> {
    let strategy = etcetera::choose_base_strategy().map_err(|_| RunError::NoHome)?;
    Ok(strategy.cache_dir().join("llamascape"))
}

/// A private folder for sockets whose path is short enough for one: a run folder's may not be.
pub fn socket_folder() -> Result<PathBuf, RunError> {
    let user = rustix::process::getuid().as_raw();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| Path::new(path).is_dir()) {
        Some(runtime) => PathBuf::from(runtime).join("llamascape"),
        None => std::env::temp_dir().join(format!("llamascape-{user}")),
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io(&folder))?;
    let metadata = std::fs::symlink_metadata(&folder).map_err(io(&folder))?;
    if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o077 != 0 {
        let reason = "is not a folder of yours alone (mode 0700): remove it".to_owned();
        return Err(RunError::Broken { path: folder, reason });
    }
    Ok(folder)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST {
        return Err(std::io::Error::other("it is too long for a file of a run"));
    }
    Ok(text)
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> RunError {
    let path = path.to_owned();
    move |source| RunError::Io { path, source }
}

/// A name that is easy to say, from two short lists; the seed chooses.
pub fn name_from(seed: u64) -> String {
    const FIRST: [&str; 24] = [
        "amber", "brave", "calm", "clever", "cosy", "dapper", "eager", "fleet", "gentle", "happy", "jolly",
        "keen", "lively", "mellow", "nimble", "plucky", "quiet", "rapid", "sunny", "swift", "tidy", "vivid",
        "warm", "witty",
    ];
    const SECOND: [&str; 24] = [
        "alpaca", "badger", "beaver", "bison", "condor", "cougar", "dolphin", "falcon", "gecko", "heron",
        "ibex", "jackal", "koala", "lemur", "lynx", "marten", "newt", "otter", "panda", "puma", "robin",
        "tapir", "vicuna", "wombat",
    ];
    let (first, second) = (seed % 24, seed / 24 % 24);
    format!("{}-{}", FIRST[first as usize], SECOND[second as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_read_is_not_one_without_checkpoints() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["checkpoint-50", "checkpoint-7", "checkpoint-007", "checkpoint-", "checkpoint-new"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(RunDir(folder.path().to_owned()).checkpoints().unwrap(), [7, 50]);
        let file = folder.path().join("settings.json");
        std::fs::write(&file, "").unwrap();
        for path in [file, folder.path().join("gone")] {
            let error = RunDir(path.clone()).checkpoints().unwrap_err().to_string();
            assert!(error.starts_with(&path.display().to_string()), "{error}");
        }
    }
}
