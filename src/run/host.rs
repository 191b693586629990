//! The life of an engine's process: it claims the run folder, opens the socket, prepares, trains, and says
//! how it ended.

use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::mpsc;
use std::time::Instant;

use super::board::Board;
use super::dir::{RunDir, RunError, RunState, StateFile, socket_folder};
use super::engine::Engine;
use super::input::Input;
use super::journal::{self, Logs};
use super::mode::Mode;
use super::panics;
use super::prepare::{PrepareError, announce, prepare};
use super::server::{Server, Shared};
use crate::escape::printable;
use crate::protocol::{Outcome, Phase, RunInfo, Stage, Status, count};
use crate::ranks::Ranks;
use crate::settings::Settings;

/// Why an engine could not begin.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The run folder can't be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The socket or a thread can't be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The run can't be prepared.
    #[error(transparent)]
    Prepare(Box<PrepareError>),
    /// A bug ended the engine.
    #[error(
        "the engine panicked: {message}; {folder}/panic.txt tells where, and `llamascape train --resume {folder}` goes on"
    )]
    Panicked {
        /// What the panic said.
        message: String,
        /// The run folder, with the report.
        folder: PathBuf,
    },
}

/// Where a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At step 0, in a folder of its own.
    New,
    /// At step 0 once more, as no checkpoint was written: the settings make the run what it was.
    Again,
    /// At the checkpoint of this step.
    From(u64),
}

impl Begin {
    /// The same as a number: none for a new run, 0 where there is no checkpoint.
    pub fn step(self) -> Option<u64> {
        match self {
            Self::New => None,
            Self::Again => Some(0),
            Self::From(step) => Some(step),
        }
    }

    /// What [`Self::step`] stands for.
    pub fn of(step: Option<u64>) -> Self {
        match step {
            None => Self::New,
            Some(0) => Self::Again,
            Some(step) => Self::From(step),
        }
    }
}

/// What an engine is to do.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The run's folder.
    pub dir: &'a RunDir,
    /// What the run is made with.
    pub settings: &'a Settings,
    /// How the engine is run.
    pub mode: Mode,
    /// Where the run begins.
    pub begin: Begin,
    /// Who takes its steps. The others have to follow.
    pub ranks: &'a Ranks,
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// What it was.
    pub info: RunInfo,
    /// Where it stood at the end.
    pub status: Status,
    /// Tokens trained on.
    pub tokens: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Runs an engine to its end. `ready` is called with the socket's path once screens can connect;
/// `watch` with every new status; `logs` says what is logged. A new run that can't be prepared leaves no folder behind;
/// an old one stays as it is, and takes on other settings only once it can go on with them. Screens are told of a
/// panic, too.
pub fn host(
    work: &Work,
    logs: Logs,
    ready: impl FnOnce(&Path),
    watch: &mut dyn FnMut(&RunInfo, &Status),
) -> Result<Report, HostError> {
    let Work { dir, settings, mode, begin, .. } = *work;
    let started = Instant::now();
    // Another engine may have the folder.
    let _lock = dir.lock()?;
    let unborn = |error: HostError| {
        if begin == Begin::New {
            dir.discard();
        }
        error
    };
    panics::concern(&settings.name, Some(dir.path()));
    let board = Arc::new(Board::default());
    let log = dir.path().join(journal::FILE);
    journal::install(&log, Arc::clone(&board), logs).map_err(io("engine.log")).map_err(unborn)?;
    let (inputs, inbox) = mpsc::channel();
    let viewers = Arc::new(AtomicU32::new(0));
    let shared = Shared { board: Arc::clone(&board), inputs: inputs.clone(), viewers: Arc::clone(&viewers) };

    let info = announce(settings, dir.path());
    board.set_run(info.clone());
    let earlier = dir.state().ok();
    let now = || format!("{:.0}", jiff::Timestamp::now());
    let state = StateFile {
        state: RunState::Running,
        step: 0,
        loss: None,
        model: info.model.clone(),
        started: earlier.as_ref().map_or_else(now, |earlier| earlier.started.clone()),
    };
    let (socket, server) = open(dir, settings, &state, shared).map_err(unborn)?;
    ready(&socket);

    let engine = Hosted { work, board: &board, viewers, inputs, inbox: &inbox, started };
    let report = catch_unwind(AssertUnwindSafe(|| engine.run(state, info, watch)));
    let report = report.unwrap_or_else(|panic| {
        let message = printable(panics::message(&*panic));
        Err(HostError::Panicked { message, folder: dir.path().to_owned() })
    });
    let outcome = match &report {
        Ok(report) => report.outcome.clone(),
        // The folder keeps what there is: the report, and what was trained.
        Err(error @ HostError::Panicked { .. }) => Outcome::Failed { error: error.to_string() },
        Err(error) => {
            // Whoever is told finds the folder gone, or as it was.
            match earlier.map(|earlier| dir.write_state(&earlier)) {
                _ if begin == Begin::New => dir.discard(),
                Some(Err(error)) => log::warn!("{error}"),
                Some(Ok(())) | None => {}
            }
            Outcome::Failed { error: error.to_string() }
        }
    };
    dir.forget_socket();
    board.close(outcome);
    server.finish();
    if mode == Mode::Passing {
        dir.discard();
    }
    report
}

/// Opens the socket of the run, and says that it has begun: last, as a run that could not begin has not crashed.
fn open(
    dir: &RunDir,
    settings: &Settings,
    state: &StateFile,
    shared: Shared,
) -> Result<(PathBuf, Server), HostError> {
    let folder = socket_folder()?;
    sweep_sockets(&folder);
    let socket = folder.join(format!("{}-{}.sock", settings.name, std::process::id()));
    let server = Server::start(&socket, shared).map_err(io("the engine's socket"))?;
    dir.write_socket(&socket)?;
    dir.write_state(state)?;
    Ok((socket, server))
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> HostError {
    move |source| HostError::Io { what, source }
}

/// A run whose socket is open.
struct Hosted<'a> {
    work: &'a Work<'a>,
    board: &'a Arc<Board>,
    viewers: Arc<AtomicU32>,
    inputs: mpsc::Sender<Input>,
    inbox: &'a mpsc::Receiver<Input>,
    started: Instant,
}

impl Hosted<'_> {
    /// Prepares the run and trains it to its end.
    fn run(
        self,
        mut state: StateFile,
        mut info: RunInfo,
        watch: &mut dyn FnMut(&RunInfo, &Status),
    ) -> Result<Report, HostError> {
        let Self { work, board, viewers, inputs, inbox, started } = self;
        let Work { dir, settings, mode, begin, ranks } = *work;
        if begin == Begin::Again {
            log::warn!("there is no checkpoint: the run begins again at step 0");
        }
        let mut status = first_status(settings);
        let from = if let Begin::From(step) = begin { Some(dir.checkpoint(step)) } else { None };
        let prepared = prepare(settings, dir.path(), from.as_deref(), ranks, &mut |stages: &[Stage]| {
            status.phase = Phase::Preparing(stages.to_vec());
            status.seconds = started.elapsed().as_secs_f64();
            board.set_status(status.clone());
            watch(&info, &status);
        });
        let prepared = prepared.map_err(|error| HostError::Prepare(Box::new(error)))?;
        info = RunInfo { last_step: settings.last_step(mode == Mode::Headless), ..prepared.info.clone() };
        board.set_run(info.clone());
        state.model = format!("{} {}", info.model, count(info.parameters as f64));

        let report = move |report| {
            // The engine has ended where nobody listens.
            let _ = inputs.send(Input::Slice(report));
        };
        let engine = Engine::new(work, prepared, Arc::clone(board), viewers, state, started)
            .map_err(io("the metrics in the run's folder"))?;
        let engine = engine.with_slicer(report).map_err(io("the thread for slices"))?;
        if begin != Begin::New {
            dir.write_settings(settings)?;
        }
        let (outcome, status, tokens) = engine.run(inbox, &mut |status| watch(&info, status));
        Ok(Report { info, status, tokens, outcome })
    }
}

/// Removes the sockets that nobody answers any more.
fn sweep_sockets(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let sockets = entries.flatten().map(|entry| entry.path());
    for socket in sockets.filter(|path| path.extension().is_some_and(|extension| extension == "sock")) {
        let refused = |error: std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
        if UnixStream::connect(&socket).is_err_and(refused) {
            // Another engine may have been quicker.
            let _ = std::fs::remove_file(&socket);
        }
    }
}

/// Where a run stands of which nothing is known but its settings.
pub(super) fn first_status(settings: &Settings) -> Status {
    Status {
        phase: Phase::Preparing(Vec::new()),
        step: 0,
        loss: None,
        held_out: None,
        grad_norm: None,
        clip: settings.clip,
        learning_rate: settings.learning_rate,
        optimizer: settings.optimizer,
        tokens_per_second: None,
        seconds: 0.0,
        viewers: 0,
        drift: None,
        slicing: false,
        plane: settings.plane,
        back: None,
        checkpoints: Vec::new(),
    }
}
