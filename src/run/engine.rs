//! The engine's loop: one thread that owns the model, obeys commands between steps and publishes what happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::board::Board;
use super::dir::{RunDir, RunState, StateFile};
use super::host::Mode;
use super::metrics::{Metrics, MetricsFile};
use super::pictures::Pictures;
use super::prepare::Prepared;
use super::slicer::{Report, Slicer};
use crate::model::checkpoint;
use crate::model::params::Params;
use crate::model::tokenizer::Tokenizer;
use crate::predict::Prompt;
use crate::protocol::{Command, Outcome, Phase, Point, Status};
use crate::settings::{Settings, SliceEvery};
use crate::train::trainer::{StepReport, Trainer};

/// What an engine obeys.
#[derive(Debug)]
pub enum Input {
    /// A person at a screen asks for something.
    Command(Command),
    /// The slicer has finished a level.
    Slice(Report),
    /// A screen came or went.
    ViewersChanged,
    /// A signal asks to save and end.
    Stop,
}

/// How long an engine that is done waits for the screen that started it.
const FIRST_VIEWER: Duration = Duration::from_secs(10);
/// Steps over which the speed is averaged.
const SPEED_WINDOW: usize = 20;
/// `state.json` is written at most this often while training.
const STATE_INTERVAL: Duration = Duration::from_secs(1);

/// What the engine does when no command waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    /// Training until told otherwise.
    Running,
    /// This many steps are still to be taken; none means waiting.
    Stepping(u64),
    /// The last step is done.
    Finished,
}

/// The engine.
#[derive(Debug)]
pub struct Engine<'a> {
    dir: &'a RunDir,
    mode: Mode,
    settings: Settings,
    trainer: Trainer,
    tokenizer: Tokenizer,
    prompt: Option<Prompt>,
    board: Arc<Board>,
    viewers: Arc<AtomicU32>,
    pictures: Option<Pictures>,
    metrics: Option<MetricsFile>,
    activity: Activity,
    state: StateFile,
    state_written: Instant,
    started: Instant,
    tokens: u64,
    last: Option<StepReport>,
    held_out: Option<f64>,
    speed: VecDeque<(usize, f64)>,
    prediction_pace: Pace,
    drift_pace: Pace,
    drift: Option<crate::protocol::Drift>,
    /// Measured since the last line of metrics.
    sharpness: Option<f64>,
    had_viewer: bool,
    saved: Option<u64>,
}

impl<'a> Engine<'a> {
    /// An engine that has taken no step yet.
    #[expect(clippy::too_many_arguments, reason = "called once, by the host, with all that it has gathered")]
    pub fn new(
        dir: &'a RunDir,
        mode: Mode,
        settings: Settings,
        prepared: Prepared,
        board: Arc<Board>,
        viewers: Arc<AtomicU32>,
        state: StateFile,
        started: Instant,
    ) -> std::io::Result<Self> {
        let activity = if settings.paused { Activity::Stepping(0) } else { Activity::Running };
        Ok(Self {
            dir,
            mode,
            trainer: prepared.trainer,
            tokenizer: prepared.tokenizer,
            prompt: prepared.prompt,
            board,
            viewers,
            pictures: None,
            metrics: Some(MetricsFile::open(&dir.path().join("metrics.jsonl"))?),
            activity,
            state,
            state_written: Instant::now(),
            started,
            tokens: 0,
            last: None,
            held_out: None,
            speed: VecDeque::new(),
            prediction_pace: Pace::default(),
            drift_pace: Pace::default(),
            drift: None,
            sharpness: None,
            had_viewer: false,
            saved: None,
            settings,
        })
    }

    /// The same engine with a thread for slices, unless they are off and there is no screen to ask for one.
    pub fn with_slicer(mut self, report: impl Fn(Report) + Send + Sync + 'static) -> std::io::Result<Self> {
        if self.mode == Mode::ForScreens || self.settings.slice_every != SliceEvery::Off {
            let slicer = Slicer::spawn(self.settings.threads, report)?;
            self.pictures = Some(Pictures::new(slicer, self.settings.grid));
        }
        Ok(self)
    }

    /// Trains until the last step or until told to stop. Returns how it ended, where it stood and the tokens
    /// trained on.
    pub fn run(mut self, inbox: &Receiver<Input>, watch: &mut dyn FnMut(&Status)) -> (Outcome, Status, u64) {
        self.publish(watch);
        self.predict();
        if self.wants_pictures() {
            self.begin_picture();
        }
        self.publish(watch);
        loop {
            match self.next(inbox) {
                Next::Input(input) => {
                    if self.obey(input) {
                        break;
                    }
                }
                Next::Step => self.step(),
                Next::End => break,
            }
            self.publish(watch);
        }
        let outcome = self.end();
        let status = self.status();
        watch(&status);
        (outcome, status, self.tokens)
    }

    fn next(&mut self, inbox: &Receiver<Input>) -> Next {
        let stepping = matches!(self.activity, Activity::Running)
            || matches!(self.activity, Activity::Stepping(left) if left > 0);
        if stepping {
            return match inbox.try_recv() {
                Ok(input) => Next::Input(input),
                Err(TryRecvError::Empty) => Next::Step,
                Err(TryRecvError::Disconnected) => Next::End,
            };
        }
        let watched = self.viewers.load(Ordering::Relaxed) > 0;
        self.had_viewer |= watched;
        let done = self.activity == Activity::Finished && !watched;
        if done && (self.mode == Mode::Headless || self.had_viewer) {
            return Next::End;
        }
        let patience = if done { FIRST_VIEWER } else { Duration::MAX };
        match inbox.recv_timeout(patience) {
            Ok(input) => Next::Input(input),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Returns whether the engine has to end.
    fn obey(&mut self, input: Input) -> bool {
        match input {
            Input::Stop | Input::Command(Command::SaveAndStop) => return true,
            Input::ViewersChanged => {}
            Input::Slice(report) => self.show(report),
            Input::Command(command) => self.command(command),
        }
        false
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Run => self.go_on(Activity::Running),
            Command::Step(count) => {
                let left = if let Activity::Stepping(left) = self.activity { left } else { 0 };
                self.go_on(Activity::Stepping(left.saturating_add(count)));
            }
            Command::Pause => {
                if self.activity != Activity::Finished {
                    self.activity = Activity::Stepping(0);
                    self.predict();
                    self.refresh_drift();
                    self.begin_picture();
                }
            }
            Command::RedrawSlice => self.begin_picture(),
            Command::NewPlane => self.change_picture(Pictures::new_plane),
            Command::Zoom(factor) => self.change_picture(|pictures| pictures.zoom(factor)),
            Command::Grid(side) => self.change_picture(|pictures| pictures.resize(side)),
            Command::SetPrompt(text) => self.set_prompt(&text),
            Command::ScaleLearningRate(factor) => {
                if factor.is_finite() && factor > 0.0 {
                    self.trainer.scale_learning_rate(factor);
                    log::info!("learning rate {:.2e}", self.trainer.learning_rate());
                }
            }
            Command::SetOptimizer(kind) => {
                self.trainer.set_optimizer(kind);
                log::info!("optimizer {}, its moments empty", kind.name());
            }
            Command::Save => self.save(),
            Command::SaveAndStop => {}
        }
    }

    /// Trains on, past the last step if that is done already.
    fn go_on(&mut self, activity: Activity) {
        if self.activity == Activity::Finished {
            self.settings.steps = None;
        }
        let was_waiting = self.activity == Activity::Stepping(0);
        self.activity = activity;
        if was_waiting && let Some(pictures) = &mut self.pictures {
            // A picture that refines with all cores would hold up the training.
            pictures.cancel();
        }
    }

    fn set_prompt(&mut self, text: &str) {
        let config = self.trainer.llama().config();
        match Prompt::new(text, &self.tokenizer, config.max_position_embeddings, config.vocab_size) {
            Ok(prompt) => {
                self.prompt = Some(prompt);
                self.predict();
            }
            Err(reason) => log::warn!("{reason}"),
        }
    }

    fn step(&mut self) {
        let before = self.weights_for_sharpness();
        let begun = Instant::now();
        let report = match self.trainer.step() {
            Ok(report) => report,
            Err(error) => {
                log::error!("{error}");
                if self.mode == Mode::Headless {
                    self.activity = Activity::Finished;
                } else {
                    self.activity = Activity::Stepping(0);
                }
                return;
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        self.tokens += report.tokens as u64;
        self.speed.push_back((report.tokens, seconds));
        if self.speed.len() > SPEED_WINDOW {
            self.speed.pop_front();
        }
        if let Activity::Stepping(left) = &mut self.activity {
            *left -= 1;
        }
        if self.settings.steps.is_some_and(|last| report.step >= last) {
            self.activity = Activity::Finished;
        }
        let waiting = matches!(self.activity, Activity::Stepping(0) | Activity::Finished);

        let eval_loss = if report.step.is_multiple_of(self.settings.eval_every) || waiting {
            self.measure_held_out()
        } else {
            None
        };
        self.record(&report, seconds, eval_loss);
        if waiting || self.prediction_pace.due() {
            self.predict();
        }
        self.last = Some(report);
        if waiting || self.drift_pace.due() {
            self.refresh_drift();
        }
        let step = self.trainer.steps_taken();
        if self.activity == Activity::Finished
            || self.settings.save_every.is_some_and(|every| step.is_multiple_of(every))
        {
            self.save();
        }
        let due = |pictures: &Pictures| match self.settings.slice_every {
            _ if waiting => self.mode == Mode::ForScreens,
            // A coarse picture is finished before the next one begins.
            _ if pictures.busy() => false,
            SliceEvery::Off => false,
            SliceEvery::Auto => true,
            SliceEvery::Steps(every) => pictures.step().is_none_or(|last| step >= last + every),
        };
        if self.pictures.as_ref().is_some_and(due) {
            self.begin_picture_after(before);
        }
    }

    /// The weights before a step, if a picture may begin after it.
    fn weights_for_sharpness(&self) -> Option<Params> {
        let pictures = self.pictures.as_ref()?;
        let next = self.trainer.steps_taken() + 1;
        let wanted = match self.settings.slice_every {
            _ if self.activity == Activity::Stepping(1) => true,
            _ if pictures.busy() => false,
            SliceEvery::Off => false,
            SliceEvery::Auto => true,
            SliceEvery::Steps(every) => pictures.step().is_none_or(|last| next >= last + every),
        };
        wanted.then(|| self.trainer.params().frozen().ok())?
    }

    fn measure_held_out(&mut self) -> Option<f64> {
        match self.trainer.held_out_loss() {
            Ok(Some(loss)) => {
                log::info!("step {}: held-out loss {loss:.3}", self.trainer.steps_taken());
                self.held_out = Some(loss);
                Some(loss)
            }
            Ok(None) => None,
            Err(error) => {
                log::error!("the held-out loss can't be measured: {error}");
                None
            }
        }
    }

    /// Publishes a step and appends it to `metrics.jsonl`.
    fn record(&mut self, report: &StepReport, seconds: f64, eval_loss: Option<f64>) {
        let point = Point {
            step: report.step,
            loss: report.norms.loss,
            held_out: eval_loss,
            grad_norm: report.norms.grad_norm,
            learning_rate: report.learning_rate,
        };
        self.board.push_step(point, self.trainer.layer_norms(&report.norms));
        let metrics = Metrics {
            step: report.step,
            loss: report.norms.loss,
            grad_norm: report.norms.grad_norm,
            lr: report.learning_rate,
            tokens: self.tokens,
            seconds,
            eval_loss,
            sharpness: self.sharpness.take(),
        };
        if let Some(file) = &mut self.metrics
            && let Err(error) = file.append(&metrics)
        {
            log::error!("metrics.jsonl can't be written, training goes on without it: {error}");
            self.metrics = None;
        }
    }

    fn predict(&mut self) {
        let Some(prompt) = &mut self.prompt else { return };
        let begun = Instant::now();
        let (trainer, params) = (&self.trainer, self.trainer.params());
        let step = trainer.steps_taken();
        match prompt.predict(trainer.llama(), &params, &self.tokenizer, trainer.device(), step) {
            Ok(prediction) => self.board.set_prediction(prediction),
            Err(error) => log::error!("the prompt can't be predicted: {error}"),
        }
        self.prediction_pace.took(begun.elapsed());
    }

    fn refresh_drift(&mut self) {
        let begun = Instant::now();
        let update_norm = self.last.as_ref().map(|report| report.norms.update_norm);
        if let Some(pictures) = &self.pictures {
            match pictures.drift(&self.trainer, update_norm) {
                Ok(drift) => self.drift = drift,
                Err(error) => log::error!("the movement can't be measured: {error}"),
            }
        }
        self.drift_pace.took(begun.elapsed());
    }

    fn wants_pictures(&self) -> bool {
        self.pictures.is_some()
            && (self.settings.slice_every != SliceEvery::Off || self.mode == Mode::ForScreens)
    }

    fn begin_picture(&mut self) {
        self.begin_picture_after(None);
    }

    /// Begins a slice; with the weights before the last step, its sharpness is measured too.
    fn begin_picture_after(&mut self, before: Option<Params>) {
        let training = matches!(self.activity, Activity::Running | Activity::Stepping(1..));
        if let Some(pictures) = &mut self.pictures
            && let Err(error) = pictures.begin(&self.trainer, before, training)
        {
            log::error!("the slice can't be evaluated: {error}");
        }
    }

    fn change_picture(&mut self, change: impl FnOnce(&mut Pictures)) {
        if let Some(pictures) = &mut self.pictures {
            change(pictures);
            self.begin_picture();
        }
    }

    fn show(&mut self, report: Report) {
        if let Some(slice) = self.pictures.as_mut().and_then(|pictures| pictures.receive(report)) {
            self.sharpness = slice.sharpness.map(|sharpness| sharpness.critical).or(self.sharpness);
            self.board.set_slice(slice);
            self.refresh_drift();
        }
    }

    /// Writes `checkpoint-N` and removes what is older than the run keeps. A disk that fails is a line in the
    /// log and never the end of the training.
    fn save(&mut self) {
        let step = self.trainer.steps_taken();
        if self.saved == Some(step) {
            return;
        }
        let folder = self.dir.checkpoint(step);
        let begun = Instant::now();
        let config = self.trainer.llama().config();
        if let Err(error) = checkpoint::save(&folder, config, &self.trainer.params(), &self.tokenizer) {
            log::error!("checkpoint-{step} is not saved: {error}");
            return;
        }
        self.saved = Some(step);
        log::info!("checkpoint-{step} saved in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
        let steps = self.dir.checkpoints();
        let surplus = steps.len().saturating_sub(self.settings.keep_last.max(1));
        for old in steps.into_iter().take(surplus) {
            if let Err(error) = std::fs::remove_dir_all(self.dir.checkpoint(old)) {
                log::warn!("checkpoint-{old} can't be removed: {error}");
            }
        }
    }

    fn status(&self) -> Status {
        let (tokens, seconds) =
            self.speed.iter().fold((0, 0.0), |(tokens, seconds), step| (tokens + step.0, seconds + step.1));
        Status {
            phase: match self.activity {
                Activity::Stepping(0) => Phase::Paused,
                Activity::Running | Activity::Stepping(_) => Phase::Running,
                Activity::Finished => Phase::Finished,
            },
            step: self.trainer.steps_taken(),
            loss: self.last.as_ref().map(|report| report.norms.loss),
            held_out: self.held_out,
            grad_norm: self.last.as_ref().map(|report| report.norms.grad_norm),
            clip: self.trainer.optimizer().clip(),
            learning_rate: self.trainer.learning_rate(),
            optimizer: self.trainer.optimizer().kind(),
            tokens_per_second: (seconds > 0.0).then(|| tokens as f64 / seconds),
            seconds: self.started.elapsed().as_secs_f64(),
            viewers: self.viewers.load(Ordering::Relaxed),
            drift: self.drift,
            slicing: self.pictures.as_ref().is_some_and(Pictures::busy),
        }
    }

    fn publish(&mut self, watch: &mut dyn FnMut(&Status)) {
        let status = self.status();
        let state = if status.phase == Phase::Running { RunState::Running } else { RunState::Paused };
        if state != self.state.state || self.state_written.elapsed() > STATE_INTERVAL {
            self.write_state(state);
        }
        watch(&status);
        self.board.set_status(status);
    }

    fn write_state(&mut self, state: RunState) {
        self.state.state = state;
        self.state.step = self.trainer.steps_taken();
        self.state.loss = self.last.as_ref().map(|report| report.norms.loss);
        self.state_written = Instant::now();
        if let Err(error) = self.dir.write_state(&self.state) {
            log::warn!("{error}");
        }
    }

    /// Saves, and says how it ended.
    fn end(&mut self) -> Outcome {
        if let Some(pictures) = &mut self.pictures {
            pictures.cancel();
        }
        self.board.set_status(Status { phase: Phase::Stopping, ..self.status() });
        if self.trainer.steps_taken() > 0 {
            self.save();
        }
        self.write_state(RunState::Stopped);
        let checkpoint = self.saved.map(|step| self.dir.checkpoint(step).display().to_string());
        Outcome::Stopped { step: self.trainer.steps_taken(), checkpoint }
    }
}

enum Next {
    Input(Input),
    Step,
    End,
}

/// Lets something be done again and again in a fiftieth of the time, and not oftener than a screen shows it.
#[derive(Debug, Default)]
struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    const SHORTEST: Duration = Duration::from_millis(100);

    fn due(&self) -> bool {
        self.last.is_none_or(|(ended, took)| ended.elapsed() >= Self::SHORTEST.max(50 * took))
    }

    fn took(&mut self, took: Duration) {
        self.last = Some((Instant::now(), took));
    }
}
