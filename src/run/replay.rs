//! A run as its folder tells it, for a screen: no engine is asked, and no model is read. What a living engine adds
//! follows.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;

use super::board::{Board, Cursor};
use super::client::Link;
use super::dir::{RunDir, RunError, RunState};
use super::host::first_status;
use super::prepare::announce;
use super::tail::Tail;
use super::{journal, metrics, slices};
use crate::protocol::{
    LogLevel, LogLine, Outcome, Phase, Point, RunInfo, Slice, Status, ToScreen, Update, VERSION,
};
use crate::settings::Settings;

/// How often the folder is looked at while an engine writes to it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Begins to tell a screen of the run. The thread behind it ends with the screen.
pub fn replay(dir: &RunDir) -> Result<Link, RunError> {
    let settings = dir.settings()?;
    let (frames, inbox) = mpsc::channel(1);
    // What is asked for is asked of nobody.
    let (commands, _) = mpsc::unbounded_channel();
    let reader = Reader::new(dir.clone(), settings);
    let tell = move || {
        let mut reader = reader;
        let mut cursor = Cursor::default();
        let send = |frame| frames.blocking_send(Ok(frame)).is_ok();
        let mut goes_on = send(ToScreen::Welcome { version: VERSION });
        while goes_on {
            let is_alive = reader.read();
            let (update, _) = reader.board.since(&mut cursor);
            goes_on = update == Update::default() || send(ToScreen::Update(Box::new(update)));
            if !is_alive {
                send(ToScreen::Closed(reader.outcome()));
                return;
            }
            thread::sleep(INTERVAL);
        }
    };
    let spawned = thread::Builder::new().name("replay".to_owned()).spawn(tell);
    spawned.map_err(|source| RunError::Io { path: dir.path().to_owned(), source })?;
    Ok(Link { frames: inbox, commands })
}

/// The run told from slice to slice: what a screen hears with each of them is where the run stood, and the steps since
/// the one before. The slices ascend.
pub fn scenes(dir: &RunDir, slices: Vec<Slice>) -> Result<Vec<Update>, RunError> {
    let mut reader = Reader::new(dir.clone(), dir.settings()?);
    let mut steps: Vec<(Point, _)> = Vec::new();
    let read = reader.metrics.read(|line| {
        let Ok(line) = serde_json::from_slice(line) else { return };
        let Some(point) = metrics::point(&line) else { return };
        while steps.pop_if(|(before, _)| before.step >= point.step).is_some() {}
        steps.push((point, line));
    });
    read.map_err(|source| RunError::Io { path: dir.path().join(metrics::FILE), source })?;
    let mut told = 0;
    let scene = |slice: Slice| {
        let until = steps.partition_point(|(point, _)| point.step <= slice.step);
        let news = steps.get(told..until).unwrap_or_default();
        told = until;
        reader.last = news.last().map(|(point, _)| *point).or(reader.last);
        Update {
            run: Some(announce(&reader.settings, dir.path())),
            status: Some(Status { step: slice.step, ..reader.status(Phase::Running) }),
            points: news.iter().map(|(point, _)| *point).collect(),
            layers: news.last().map(|(_, line)| metrics::layers(line)),
            slice: Some(slice),
            ..Update::default()
        }
    };
    Ok(slices.into_iter().map(scene).collect())
}

/// What the folder of a run has told so far.
struct Reader {
    dir: RunDir,
    settings: Settings,
    board: Arc<Board>,
    metrics: Tail,
    slices: Tail,
    log: Tail,
    last: Option<Point>,
    held_out: Option<f64>,
    /// Its engine is gone without a word.
    has_crashed: bool,
}

impl Reader {
    fn new(dir: RunDir, settings: Settings) -> Self {
        let tail = |name: &str| Tail::new(dir.path().join(name));
        let (metrics, slices, log) = (tail(metrics::FILE), tail(slices::FILE), tail(journal::FILE));
        let board = Arc::new(Board::default());
        board.set_run(RunInfo { last_step: settings.steps, ..announce(&settings, dir.path()) });
        Self { dir, settings, board, metrics, slices, log, last: None, held_out: None, has_crashed: false }
    }

    /// Takes in what is new, and returns whether an engine goes on with the run.
    fn read(&mut self) -> bool {
        let state = self.dir.state().ok();
        if self.metrics.is_cut() || self.slices.is_cut() {
            // It took another course, or its slices were thinned.
            self.board.rewind(0);
            (self.last, self.held_out) = (None, None);
            self.metrics = Tail::new(self.dir.path().join(metrics::FILE));
            self.slices = Tail::new(self.dir.path().join(slices::FILE));
        }
        let read = self.read_metrics().and_then(|()| self.read_slices()).and_then(|()| self.read_log());
        if let Err(error) = read {
            self.say(LogLevel::Error, format!("{}: {error}", self.dir.path().display()));
        }
        let phase = match state.as_ref().map(|state| state.state) {
            Some(RunState::Running) => Phase::Running,
            Some(RunState::Paused) => Phase::Paused,
            Some(RunState::Crashed) => {
                self.has_crashed = true;
                self.say(LogLevel::Warn, "its engine is gone without a word".to_owned());
                Phase::Finished
            }
            Some(RunState::Stopped) | None => Phase::Finished,
        };
        let is_alive = phase != Phase::Finished;
        self.board.set_status(self.status(phase));
        is_alive
    }

    fn read_metrics(&mut self) -> std::io::Result<()> {
        let (board, last, held_out) = (&self.board, &mut self.last, &mut self.held_out);
        let mut layers = None;
        self.metrics.read(|line| {
            let Ok(line) = serde_json::from_slice(line) else { return };
            let Some(point) = metrics::point(&line) else { return };
            if last.is_some_and(|last: Point| last.step >= point.step) {
                board.rewind(point.step.saturating_sub(1));
            }
            *last = Some(point);
            *held_out = point.held_out.or(*held_out);
            layers = Some(metrics::layers(&line));
            board.push_point(point);
        })?;
        if let Some(layers) = layers {
            self.board.set_layers(layers);
        }
        Ok(())
    }

    fn read_slices(&mut self) -> std::io::Result<()> {
        let mut newest = None;
        self.slices.read(|line| {
            if let Some(slice) = slices::slice(line) {
                self.board.recall(slice.clone());
                newest = Some(slice);
            }
        })?;
        if let Some(slice) = newest {
            self.board.set_slice(slice);
        }
        Ok(())
    }

    fn read_log(&mut self) -> std::io::Result<()> {
        let board = &self.board;
        self.log.read(|line| {
            if let Some(line) = journal::line(&String::from_utf8_lossy(line)) {
                board.push_log(line);
            }
        })
    }

    fn say(&self, level: LogLevel, message: String) {
        let milliseconds = jiff::Timestamp::now().as_millisecond();
        self.board.push_log(LogLine { milliseconds, level, message });
    }

    fn status(&self, phase: Phase) -> Status {
        // That the folder can't be read is told where its other files are read.
        let checkpoints = self.dir.newest_checkpoints().unwrap_or_default();
        let status = Status { phase, held_out: self.held_out, checkpoints, ..first_status(&self.settings) };
        let Some(Point { step, loss, grad_norm, learning_rate, .. }) = self.last else { return status };
        Status { step, loss: Some(loss), grad_norm: Some(grad_norm), learning_rate, ..status }
    }

    fn outcome(&self) -> Outcome {
        let steps = self.dir.checkpoints().unwrap_or_default();
        let newest = steps.last().map(|step| self.dir.checkpoint(*step));
        let step = self.last.map_or(0, |last| last.step);
        let checkpoint = newest.map(|folder| folder.display().to_string());
        if self.has_crashed {
            Outcome::Crashed { step, checkpoint }
        } else {
            Outcome::Stopped { step, checkpoint }
        }
    }
}
