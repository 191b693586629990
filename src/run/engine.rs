//! The engine's loop: one thread that owns the model, obeys commands between steps and publishes what happens.

mod experiments;
mod moves;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::activity::Activity;
use super::board::Board;
use super::dir::{RunDir, RunState, StateFile};
use super::host::Work;
use super::input::Input;
use super::journal::NOTICE;
use super::kept::{Kept, State};
use super::lab::{Ground, Lab, Task};
use super::mode::Mode;
use super::pace::Pace;
use super::pictures::Pictures;
use super::prepare::Prepared;
use super::reader::Reader;
use super::recorder::{Circumstances, Recorder};
use super::saver::Saver;
use super::slicer::{Report, Slicer};
use super::standing::Standing;
use crate::model::memory::available;
use crate::model::params::Params;
use crate::protocol::{Command, Outcome, Phase, Status, probe, wormhole};
use crate::ranks::Ranks;
use crate::settings::{HIGHEST_RATE, Settings, SliceEvery};
use crate::train::resume::Best;
use crate::train::trainer::{StepReport, Trainer};

/// What the schedule may be multiplied by, over all that people ask for: beyond, a factor would soon be 0 or infinite,
/// and no checkpoint could go on with it.
const FACTORS: std::ops::RangeInclusive<f64> = 1e-30..=1e30;
/// How long an engine that is done waits for its screen.
const FIRST_VIEWER: Duration = Duration::from_secs(10);
/// What share of the memory that can be had the states to go back to may take.
const KEPT_SHARE: u64 = 4;
/// How long an engine that nobody watches waits before it tries again to save what the disk refused.
const RETRY: Duration = Duration::from_secs(60);

/// The engine.
#[derive(Debug)]
pub struct Engine<'a> {
    dir: &'a RunDir,
    mode: Mode,
    settings: Settings,
    ranks: &'a Ranks,
    last_step: Option<u64>,
    slice_every: SliceEvery,
    trainer: Trainer,
    reader: Reader,
    board: Arc<Board>,
    viewers: Arc<AtomicU32>,
    pictures: Option<Pictures>,
    /// What is tried beside the run, from the first time that somebody asks for it.
    lab: Option<Lab>,
    recorder: Recorder,
    saver: Saver<'a>,
    kept: Kept,
    keeping_pace: Pace,
    activity: Activity,
    standing: Standing<'a>,
    started: Instant,
    last: Option<StepReport>,
    /// The newest held-out loss and its step.
    held_out: Option<(u64, f64)>,
    drift_pace: Pace,
    drift: Option<crate::protocol::Drift>,
    had_viewer: bool,
    /// Why the run can't go on without a person.
    failure: Option<String>,
}

impl<'a> Engine<'a> {
    /// An engine whose trainer is where the run begins or goes on.
    pub fn new(
        work: &Work<'a>,
        prepared: Prepared,
        board: Arc<Board>,
        viewers: Arc<AtomicU32>,
        state: StateFile,
        started: Instant,
    ) -> std::io::Result<Self> {
        let Work { dir, mode, ranks, .. } = *work;
        let settings = work.settings.clone();
        let trainer = prepared.trainer;
        let headless = mode == Mode::Headless;
        let last_step = settings.last_step(headless);
        let done = last_step.is_some_and(|last| trainer.steps_taken() >= last);
        let unsaid = if headless { SliceEvery::Off } else { SliceEvery::Auto };
        let activity = match settings.paused {
            _ if done => Activity::Finished,
            true => Activity::Stepping(0),
            false => Activity::Running,
        };
        let recorder = Recorder::open(dir.path(), Arc::clone(&board), trainer.steps_taken())?;
        board.set_tensor_names(trainer.params().iter().map(|(name, _)| name.to_owned()).collect());
        let resumed = prepared.state.as_ref();
        let saver = Saver::new(dir, &settings, prepared.data_sha256, prepared.chat, resumed);
        if let Some(warning) = saver.warning(&trainer) {
            log::warn!("{warning}");
        }
        Ok(Self {
            dir,
            mode,
            ranks,
            held_out: resumed.and_then(|state| Some((state.progress.step, state.eval_loss?))),
            trainer,
            reader: Reader::new(Arc::clone(&board), prepared.tokenizer, prepared.prompt),
            board,
            viewers,
            pictures: None,
            lab: None,
            recorder,
            saver,
            kept: Kept::within((available() / KEPT_SHARE) as usize),
            keeping_pace: Pace::default(),
            activity,
            standing: Standing::new(dir, state),
            started,
            last: None,
            drift_pace: Pace::default(),
            drift: None,
            had_viewer: false,
            failure: None,
            last_step,
            slice_every: settings.slice_every.unwrap_or(unsaid),
            settings,
        })
    }

    /// The same engine with a thread for slices, unless they are off and there is no screen to ask for one.
    pub fn with_slicer(mut self, report: impl Fn(Report) + Send + Sync + 'static) -> std::io::Result<Self> {
        if self.mode.has_screens() || self.slice_every != SliceEvery::Off {
            let slicer = Slicer::spawn(self.settings.threads, report)?;
            let Settings { grid, plane, .. } = self.settings;
            self.pictures = Some(Pictures::new(slicer, grid, plane, self.board.newest_generation()));
        }
        Ok(self)
    }

    /// Trains until the last step or until told to stop. Returns how it ended, where it stood and the tokens
    /// trained on, by all processes that have worked on the run.
    pub fn run(mut self, inbox: &Receiver<Input>, watch: &mut dyn FnMut(&Status)) -> (Outcome, Status, u64) {
        self.publish(watch);
        self.reader.read(&self.trainer);
        self.begin_picture();
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
        (outcome, status, self.trainer.tokens())
    }

    fn next(&mut self, inbox: &Receiver<Input>) -> Next {
        if self.trainer.is_called_off() {
            return Next::End;
        }
        let trains = self.activity.trains();
        let watched = self.viewers.load(Ordering::Relaxed) > 0;
        loop {
            let stale = self.reader.is_stale(self.pictures.as_ref());
            let busy = trains || stale || watched && self.reader.lacks_line();
            if !busy {
                break;
            }
            match inbox.try_recv() {
                Ok(input) => return Next::Input(input),
                Err(TryRecvError::Disconnected) => return Next::End,
                // Of several places that are asked for, only the newest is read.
                Err(TryRecvError::Empty) if stale => {
                    self.reader.refresh(&self.trainer, self.pictures.as_ref());
                }
                Err(TryRecvError::Empty) if trains => {
                    self.reader.write_beside(&self.trainer);
                    return Next::Step;
                }
                Err(TryRecvError::Empty) => self.reader.write_on(&self.trainer),
            }
        }
        self.had_viewer |= watched;
        let done = self.activity == Activity::Finished && !watched;
        let saves = self.mode == Mode::ForScreens && self.failure.is_none();
        let unsaved = done && saves && !self.saver.has_saved(&self.trainer);
        // A slice that is under way is finished: a log without a screen was asked for it.
        let busy = self.mode == Mode::Headless && self.pictures.as_ref().is_some_and(Pictures::busy);
        if done && !unsaved && !busy && (self.mode == Mode::Headless || self.had_viewer) {
            return Next::End;
        }
        // A large state takes a while to keep: the picture that a person waits for comes first.
        let seen = self.pictures.as_ref().is_none_or(|pictures| pictures.shows(self.trainer.steps_taken()));
        if self.mode.has_screens() && (seen || Kept::is_small(&self.trainer)) {
            self.keep_now();
        }
        let patience = match done {
            _ if unsaved => RETRY,
            true if busy => Duration::MAX,
            true => FIRST_VIEWER,
            false if self.mode == Mode::Passing && !self.had_viewer => FIRST_VIEWER,
            false => Duration::MAX,
        };
        match inbox.recv_timeout(patience) {
            Ok(input) => Next::Input(input),
            // What the disk refused is tried again.
            Err(RecvTimeoutError::Timeout) if unsaved => Next::Input(Input::Command(Command::Save, None)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Next::End,
        }
    }

    /// Returns whether the engine has to end.
    fn obey(&mut self, input: Input) -> bool {
        match input {
            Input::Stop => return true,
            Input::Command(Command::SaveAndStop, _) => {
                if self.save().is_ok() {
                    return true;
                }
                // The work would be lost. A person can make room and try again, or end it by a signal.
                self.activity = Activity::Stepping(0);
            }
            // A place is looked at only while somebody looks.
            Input::ViewersChanged if self.viewers.load(Ordering::Relaxed) == 0 => {
                self.reader.look_away();
                if let Some(lab) = &self.lab {
                    lab.tell(Task::Wormhole(wormhole::Ask::Pause));
                }
                return self.mode == Mode::Passing || self.gives_up();
            }
            Input::ViewersChanged => {}
            Input::Slice(report) => self.show(report),
            Input::Command(command, _) => self.command(command),
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
                    self.reader.read(&self.trainer);
                    self.refresh_drift();
                    self.begin_picture();
                }
            }
            Command::Back => self.go_back(),
            Command::RedrawSlice => self.begin_picture(),
            Command::NewPlane => self.change_picture(Pictures::new_plane),
            Command::SetPlane(kind) => self.change_picture(|pictures| pictures.set_plane(kind)),
            Command::Zoom(factor) => {
                if self.pictures.as_mut().is_some_and(|pictures| pictures.zoom(factor)) {
                    self.begin_picture();
                }
            }
            Command::Grid(side) => self.change_picture(|pictures| pictures.resize(side)),
            Command::SetPrompt(text) => self.reader.set_prompt(&text, &self.trainer),
            Command::LookAt(place) => self.reader.look_at(place, self.pictures.as_ref()),
            Command::MoveTo { place, slice } => self.move_to(place, slice),
            Command::ScaleLearningRate(factor) => {
                let rate = self.trainer.learning_rate() * factor;
                let product = self.trainer.progress().learning_rate_factor * factor;
                if FACTORS.contains(&product) && (rate <= HIGHEST_RATE || factor < 1.0) {
                    self.trainer.scale_learning_rate(factor);
                    log::info!("learning rate {:.2e}", self.trainer.learning_rate());
                } else {
                    log::warn!("the learning rate stays {:.2e}", self.trainer.learning_rate());
                }
            }
            Command::SetOptimizer(kind) => {
                self.trainer.set_optimizer(kind);
                log::info!("optimizer {}, its moments empty", kind.name());
            }
            Command::Wormhole(wormhole::Ask::Lay(setting)) => {
                self.experiment(|ground| Task::Lay(setting, ground));
            }
            Command::Wormhole(ask) => {
                if matches!(ask, wormhole::Ask::Run | wormhole::Ask::Step(_)) {
                    self.rest();
                }
                self.tell_lab(Task::Wormhole(ask));
            }
            Command::Probe(probe::Ask::Open) => self.experiment(Task::Open),
            Command::Probe(ask) => self.tell_lab(Task::Probe(ask)),
            Command::Curvature => self.experiment(Task::Curvature),
            Command::Save => drop(self.save()),
            Command::SaveAndStop => {}
        }
    }

    /// Trains on, past the last step if that is done already.
    fn go_on(&mut self, activity: Activity) {
        if self.last_step.is_some_and(|last| self.trainer.steps_taken() >= last) {
            self.last_step = None;
        }
        let was_waiting = self.activity == Activity::Stepping(0);
        self.activity = activity;
        if let Some(lab) = &self.lab {
            // It shares the machine with the training.
            lab.tell(Task::Wormhole(wormhole::Ask::Pause));
        }
        if was_waiting && let Some(pictures) = &mut self.pictures {
            // A picture that refines with all cores would hold up the training.
            pictures.cancel();
        }
    }

    fn step(&mut self) {
        self.keep();
        let before = self.weights_for_sharpness();
        let begun = Instant::now();
        let report = match self.trainer.step_with(self.ranks) {
            Ok(report) => report,
            Err(error) => return self.refuse(&error.to_string()),
        };
        let seconds = begun.elapsed().as_secs_f64();
        if let Activity::Stepping(left) = &mut self.activity {
            *left -= 1;
        }
        if self.last_step.is_some_and(|last| report.step >= last) {
            self.activity = Activity::Finished;
        }
        let scheduled = report.step.is_multiple_of(self.settings.eval_every);
        let waiting = !self.activity.trains();
        let held_out = if scheduled || waiting { self.measure_held_out() } else { None };
        let eval_loss = held_out.filter(|_| scheduled);
        let circumstances = Circumstances { seconds, eval_loss, held_out };
        if let Some(step) = self.recorder.record(&self.trainer, &report, circumstances) {
            self.saver.abandon(step, self.trainer.progress().moves);
        }
        let step = report.step;
        self.last = Some(report);
        self.reader.moved();
        let best = eval_loss.map(|eval_loss| self.saver.measured(step, eval_loss));
        if best == Some(false) {
            self.stop_early(step);
        }
        // Whoever stops early wants the best weights.
        let wanted = best == Some(true) && self.settings.early_stop.is_some();
        let waiting = !self.activity.trains();
        if waiting || self.reader.due() {
            self.reader.read(&self.trainer);
        }
        if waiting || self.drift_pace.due() {
            self.refresh_drift();
        }
        if self.settings.sample_every.is_some_and(|every| step.is_multiple_of(every))
            && let Some(text) = self.reader.sample(&self.trainer)
        {
            self.recorder.sample(step, &text);
        }
        if wanted || self.activity == Activity::Finished || self.saver.due(step) {
            // What failed is in the log, and the next one may not.
            let _ = self.save();
        }
        let due = |pictures: &Pictures| {
            let wanted = waiting && self.mode.has_screens();
            wanted || pictures.due(self.slice_every, step)
        };
        if self.pictures.as_ref().is_some_and(due) {
            self.begin_picture_after(before);
        }
    }

    /// A step that was not taken: a person decides what now, and without one the run has failed.
    fn refuse(&mut self, error: &str) {
        log::error!("{error}");
        self.recorder.refused();
        self.activity = Activity::Stepping(0);
        if self.mode == Mode::Headless {
            let newest = self.saver.newest();
            let earlier =
                newest.map_or_else(String::new, |folder| format!("; {} is from before", folder.display()));
            self.activity = Activity::Finished;
            self.failure = Some(format!("{error}{earlier}"));
        }
    }

    /// Ends the training where the held-out loss has not been better for long enough.
    fn stop_early(&mut self, step: u64) {
        let (Some(patience), Some(best)) = (self.settings.early_stop, self.saver.best()) else { return };
        if step.saturating_sub(best.step) / self.settings.eval_every >= patience {
            let Best { step, eval_loss } = best;
            log::info!(target: NOTICE, "the held-out loss was best at step {step}, {eval_loss:.4}: training ends");
            self.activity = Activity::Finished;
        }
    }

    /// The weights before a step, if a picture may begin after it.
    fn weights_for_sharpness(&self) -> Option<Params> {
        let pictures = self.pictures.as_ref()?;
        let next = self.trainer.steps_taken() + 1;
        let by_hand = self.activity == Activity::Stepping(1);
        let wanted = by_hand || pictures.due(self.slice_every, next);
        wanted.then(|| self.trainer.params().frozen().ok())?
    }

    fn measure_held_out(&mut self) -> Option<f64> {
        match self.trainer.held_out_loss() {
            Ok(Some(loss)) => {
                log::info!("step {}: held-out loss {loss:.3}", self.trainer.steps_taken());
                self.held_out = Some((self.trainer.steps_taken(), loss));
                Some(loss)
            }
            Ok(None) => None,
            Err(error) => {
                log::error!("the held-out loss can't be measured: {error}");
                None
            }
        }
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

    fn begin_picture(&mut self) {
        self.begin_picture_after(None);
    }

    /// Begins a slice; with the weights before the last step, its sharpness is measured too.
    fn begin_picture_after(&mut self, before: Option<Params>) {
        self.begin_picture_beside(before, self.activity.trains());
    }

    /// The same, beside something that shall have most of the machine.
    fn begin_picture_beside(&mut self, before: Option<Params>, beside: bool) {
        if let Some(pictures) = &mut self.pictures
            && let Err(error) = pictures.begin(&self.trainer, before, &self.kept, beside)
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
            self.recorder.slice(&slice);
            self.board.set_slice(slice);
            self.refresh_drift();
        }
    }

    /// Writes a checkpoint, with the held-out loss of its weights.
    fn save(&mut self) -> Result<(), String> {
        let step = self.trainer.steps_taken();
        if self.mode == Mode::Passing {
            log::info!("nothing is saved here: `llamascape train` makes a run that is");
            return Ok(());
        }
        if step == 0 {
            log::info!("no step is taken yet: there is nothing to save");
            return Ok(());
        }
        if self.held_out.is_none_or(|(measured, _)| measured != step) {
            self.measure_held_out();
        }
        let eval_loss = self.held_out.filter(|(measured, _)| *measured == step).map(|(_, loss)| loss);
        let saved = self.saver.save(&self.trainer, self.reader.tokenizer(), eval_loss);
        saved.inspect_err(|error| {
            log::error!("{error}");
            self.gives_up();
        })
    }

    /// Ends the training where the run's folder is gone and nobody watches: nobody can find it any more, to save it or
    /// to end it. Returns whether it does.
    fn gives_up(&mut self) -> bool {
        let gone = !self.dir.path().is_dir() && self.viewers.load(Ordering::Relaxed) == 0;
        if gone {
            self.activity = Activity::Finished;
            self.failure = Some(format!("the run's folder is gone: {}", self.dir.path().display()));
        }
        gone
    }

    fn status(&self) -> Status {
        Status {
            phase: match self.activity {
                Activity::Stepping(0) => Phase::Paused,
                Activity::Running | Activity::Stepping(_) => Phase::Running,
                Activity::Finished => Phase::Finished,
            },
            step: self.trainer.steps_taken(),
            loss: self.last.as_ref().map(|report| report.norms.loss),
            held_out: self.held_out.map(|(_, loss)| loss),
            grad_norm: self.last.as_ref().map(|report| report.norms.grad_norm),
            clip: self.trainer.optimizer().clip(),
            learning_rate: self.trainer.learning_rate(),
            optimizer: self.trainer.optimizer().kind(),
            tokens_per_second: self.recorder.tokens_per_second(),
            seconds: self.started.elapsed().as_secs_f64(),
            viewers: self.viewers.load(Ordering::Relaxed),
            drift: self.drift,
            slicing: self.pictures.as_ref().is_some_and(Pictures::busy),
            plane: self.pictures.as_ref().map_or(self.settings.plane, Pictures::kind),
            back: self.kept.before(&self.trainer.progress()),
            checkpoints: self.saver.checkpoints().to_vec(),
        }
    }

    fn publish(&mut self, watch: &mut dyn FnMut(&Status)) {
        let status = self.status();
        let state = if status.phase == Phase::Running { RunState::Running } else { RunState::Paused };
        self.standing.note(state, status.step, status.loss);
        watch(&status);
        self.board.set_status(status);
    }

    /// Saves, and says how it ended.
    fn end(&mut self) -> Outcome {
        if let Some(pictures) = &mut self.pictures {
            pictures.cancel();
        }
        self.board.set_status(Status { phase: Phase::Stopping, ..self.status() });
        // The weights and the batch alone had the step refused: from these it would be refused again, at any rate. An
        // earlier checkpoint is worth more.
        if self.failure.is_none()
            && let Err(error) = self.save()
        {
            self.failure = Some(error);
        }
        let Status { step, loss, .. } = self.status();
        self.standing.note(RunState::Stopped, step, loss);
        if let Some(error) = self.failure.take() {
            return Outcome::Failed { error };
        }
        let checkpoint = self.saver.newest().map(|folder| folder.display().to_string());
        Outcome::Stopped { step, checkpoint }
    }
}

enum Next {
    Input(Input),
    Step,
    End,
}
