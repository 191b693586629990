//! Everything that crosses between the engine and a screen: plain data.
//!
//! A screen opens with [`ToEngine::Hello`]. The engine answers with [`ToScreen::Welcome`] or
//! [`ToScreen::Refused`], then sends one [`Update`] that carries all it has, then an [`Update`] with what
//! changed, as often as the screen takes them: a screen that lags gets fewer, larger updates and never slows
//! a step. [`ToScreen::Closed`] is the last frame. Frames are `MessagePack` maps behind a length; see
//! [`crate::run::wire`].
//!
//! Losses are in nats, norms are Euclidean, times are in seconds unless a name says otherwise.

pub mod comparison;
mod history;
mod plane;
pub mod probe;
mod thinned;
pub mod wormhole;

use serde::{Deserialize, Serialize};

pub use history::{History, Point};
pub use plane::{Explained, PlaneInfo, PlaneKind, Spectrum};
pub use thinned::{AtStep, Thinned};

/// The version both sides must share. It changes whenever a type does that passes through the socket: those in this
/// file and in its modules, but for the comparison, whose two sides are one process.
pub const VERSION: u32 = 8;

/// What a screen says to the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToEngine {
    /// The first frame of a connection.
    Hello {
        /// [`VERSION`] of the screen.
        version: u32,
        /// A read-only screen watches; its commands are ignored.
        read_only: bool,
    },
    /// Something the person at the screen asks for.
    Command(Command),
}

/// What a person can ask of the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// Train until told otherwise.
    Run,
    /// Stop after the step in hand.
    Pause,
    /// Go back to the newest state that is kept from before the last step.
    Back,
    /// Take this many steps, then pause.
    Step(u64),
    /// Evaluate the slice again, around the weights as they are now.
    RedrawSlice,
    /// Make new directions of the same kind at the weights as they are now, and evaluate the slice.
    NewPlane,
    /// Make directions of this kind at the weights as they are now, and evaluate the slice. Where they can't be made yet,
    /// the plane is random until they can.
    SetPlane(PlaneKind),
    /// Multiply the range of the plane by this factor: above 1 shows more, below 1 zooms in.
    Zoom(f64),
    /// Choose the finest grid of a paused picture: this many points a side.
    Grid(usize),
    /// Show what the model at this place of the slice on show says, in units of alpha and beta; `None` is the weights
    /// themselves. All screens share one place. It stays where it is when another slice comes, and is read again on
    /// that; the last screen that leaves takes it along.
    LookAt(Option<[f64; 2]>),
    /// Pause, and go on from the weights at this place of the slice on show, in units of alpha and beta. The weights
    /// alone change, and the optimizer's moments are empty; no step is taken, and [`Command::Back`] comes back. A run
    /// that was moved by hand is no longer a function of its settings.
    MoveTo {
        /// The place, in units of alpha and beta.
        place: [f64; 2],
        /// Step and generation of the slice that it is a place of: where another one is on show by now, nothing moves.
        slice: (u64, u64),
    },
    /// Predict this text's last token from those before it.
    SetPrompt(String),
    /// Multiply the learning rate, and with it the whole schedule, by this factor.
    ScaleLearningRate(f64),
    /// Go on with this optimizer, its moments empty.
    SetOptimizer(OptimizerKind),
    /// Train weights off a plateau, beside the run.
    Wormhole(wormhole::Ask),
    /// Turn single parameters, beside the run.
    Probe(probe::Ask),
    /// Pause, and find out how the loss of the prompt curves around the weights as they are now: whether they are in a
    /// minimum.
    Curvature,
    /// Write a checkpoint after the step in hand.
    Save,
    /// Write a checkpoint and end the engine.
    SaveAndStop,
}

/// The optimizers one can train with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay (arXiv 1711.05101).
    AdamW,
    /// Adam without weight decay (arXiv 1412.6980).
    Adam,
    /// Plain stochastic gradient descent.
    Sgd,
}

impl OptimizerKind {
    /// The name a person types.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Adam => "adam",
            Self::Sgd => "sgd",
        }
    }

    /// The next one, in a circle.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::AdamW => Self::Adam,
            Self::Adam => Self::Sgd,
            Self::Sgd => Self::AdamW,
        }
    }
}

/// What the engine says to a screen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToScreen {
    /// The connection stands.
    Welcome {
        /// [`VERSION`] of the engine.
        version: u32,
    },
    /// The connection ends here, and why.
    Refused {
        /// One line: what does not fit and what to do.
        reason: String,
    },
    /// What changed since the last update; the first one carries everything.
    Update(Box<Update>),
    /// The engine ends. Nothing follows.
    Closed(Outcome),
}

/// How an engine ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// All steps are done, or somebody asked it to stop.
    Stopped {
        /// The last step taken.
        step: u64,
        /// Where the last checkpoint lies, if one was written.
        checkpoint: Option<String>,
    },
    /// It could not go on.
    Failed {
        /// One line: what, where, what to do; causes follow on lines of their own.
        error: String,
    },
    /// It is gone without a word, as the folder of the run tells.
    Crashed {
        /// The last step that was written down.
        step: u64,
        /// Where the last checkpoint lies, if one was written.
        checkpoint: Option<String>,
    },
}

/// What changed. A field that is `None` or empty did not.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// What this run is.
    pub run: Option<RunInfo>,
    /// Where it stands.
    pub status: Option<Status>,
    /// The whole history so far, thinned; it replaces what the screen has.
    pub history: Option<History>,
    /// Steps since the last update, to be pushed onto the history.
    pub points: Vec<Point>,
    /// Gradient norm of each layer at the newest step, in the order data flows: embedding first.
    pub layers: Option<Vec<LayerNorm>>,
    /// Names of the parameters in the order of [`Update::tensors`], where that is not known yet.
    pub tensor_names: Option<Vec<String>>,
    /// All that is kept of the norms of the parameters; it replaces what the screen has.
    pub tensor_history: Option<TensorHistory>,
    /// Norms of the parameters at the steps since the last update, to be pushed onto that.
    pub tensors: Vec<TensorNorms>,
    /// The newest slice.
    pub slice: Option<Slice>,
    /// All that is kept of the finished slices; it replaces what the screen has.
    pub timeline: Option<Timeline>,
    /// Slices finished since the last update, to be pushed onto that.
    pub finished: Vec<Slice>,
    /// The newest prediction of the prompt.
    pub prediction: Option<Prediction>,
    /// What is told of the wormhole.
    pub wormhole: Option<wormhole::Scene>,
    /// The plane of the wormhole that stays: the one through the run's weights, and through the start at its offset.
    pub frozen: Option<Slice>,
    /// All that is kept of the plane that travels; it replaces what the screen has. Its coordinates are those of the
    /// plane that stays: the moving weights are at the offset. Its generation counts the experiments.
    pub film: Option<wormhole::Film>,
    /// Pictures of that plane since the last update, to be pushed onto that.
    pub frames: Vec<Slice>,
    /// What is told of the probe.
    pub probe: Option<probe::Scene>,
    /// How the loss curves, as far as that is known.
    pub curvature: Option<Curvature>,
    /// Log lines since the last update.
    pub log: Vec<LogLine>,
}

/// What a run is: the parts that do not change from step to step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The run's name, such as `tidy-otter`.
    pub name: String,
    /// Its folder.
    pub path: String,
    /// The model: a preset's name or where it came from.
    pub model: String,
    /// Trainable parameters, a tied tensor once; 0 while that is not known.
    pub parameters: u64,
    /// What it learns from.
    pub data: String,
    /// Where it computes, such as `cpu, 2 threads`.
    pub device: String,
    /// The number of the last step, if there is one.
    pub last_step: Option<u64>,
}

/// A count with a unit, `19.8k` or `1.0M`: a model's size reads alike on the screen and in the list of runs.
pub fn count(value: f64) -> String {
    match value {
        v if v >= 999.5e6 => format!("{:.1}B", v / 1e9),
        v if v >= 999.5e3 => format!("{:.1}M", v / 1e6),
        v if v >= 9999.5 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// What the engine is doing.
    pub phase: Phase,
    /// Steps taken.
    pub step: u64,
    /// Loss of the last step's batch before its update.
    pub loss: Option<f64>,
    /// Held-out loss, as of its last measurement.
    pub held_out: Option<f64>,
    /// Gradient norm of the last step, before clipping.
    pub grad_norm: Option<f64>,
    /// The gradient norm above which gradients are scaled down; 0 means never.
    pub clip: f64,
    /// Learning rate of the next step.
    pub learning_rate: f64,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    /// Tokens trained on a second, over the last few steps.
    pub tokens_per_second: Option<f64>,
    /// Seconds since the engine started.
    pub seconds: f64,
    /// Screens that watch.
    pub viewers: u32,
    /// How far the weights have gone since the slice on show was fixed.
    pub drift: Option<Drift>,
    /// A slice is being evaluated.
    pub slicing: bool,
    /// The kind of plane that was asked for.
    pub plane: PlaneKind,
    /// The step to which one can go back; the present one where the weights were moved by hand since.
    pub back: Option<u64>,
    /// The steps of the checkpoints that lie in the run's folder, ascending: the newest [`Status::CHECKPOINTS`].
    #[serde(default)]
    pub checkpoints: Vec<u64>,
}

impl Status {
    /// Checkpoints that are told at most.
    pub const CHECKPOINTS: usize = 64;
}

/// What the engine is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Getting ready for the first step.
    Preparing(Vec<Stage>),
    /// Training.
    Running,
    /// Waiting for a command.
    Paused,
    /// The last step is done; the engine stays for its viewers.
    Finished,
    /// Writing the last checkpoint.
    Stopping,
}

/// One piece of the preparation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// What is prepared, such as `tokenizer`.
    pub name: String,
    /// What is known of it so far, such as `2048 tokens`.
    pub detail: String,
    /// From 0, not begun, to 1, done.
    pub progress: f32,
}

/// How far the weights have moved since a slice was fixed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Norm of the whole movement.
    pub distance: f64,
    /// The movement along the two directions, in units of alpha and beta.
    pub inside: [f64; 2],
    /// Norm of the projection onto the plane over the norm of the movement; `None` before any movement.
    pub captured: Option<f64>,
    /// Norm of the last optimizer step over the norm of the first direction: its length in units of alpha.
    pub step_length: Option<f64>,
}

/// Gradient norm of one layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerNorm {
    /// `embed`, `layer 0` .., `norm`, `head`.
    pub name: String,
    /// Norm of the gradient of all its parameters.
    pub grad_norm: f64,
}

/// Norms of each parameter at a step, in the order of [`Update::tensor_names`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TensorNorms {
    /// The step.
    pub step: u64,
    /// Norms of the gradients, before clipping; 0 for one that is not trained.
    pub gradients: Vec<f32>,
    /// Norms of the weights before the step.
    pub weights: Vec<f32>,
    /// Norms of the changes of the weights; 0 for one that is not trained.
    pub updates: Vec<f32>,
}

impl AtStep for TensorNorms {
    fn step(&self) -> u64 {
        self.step
    }
}

/// The norms of the parameters over a run.
pub type TensorHistory = Thinned<TensorNorms, 256>;

/// The finished slices of a run, at most one a step, the newest of that.
pub type Timeline = Thinned<Slice, 128>;

impl AtStep for Slice {
    fn step(&self) -> u64 {
        self.step
    }
}

/// A 2-D slice of the loss landscape around the weights of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The step whose weights are at (0, 0).
    pub step: u64,
    /// Counts the planes of a run: slices of one generation share their directions.
    pub generation: u64,
    /// Coordinates along the first direction, ascending.
    pub alphas: Vec<f64>,
    /// Coordinates along the second direction, ascending.
    pub betas: Vec<f64>,
    /// `loss[i * alphas.len() + j]` is the loss at `alphas[j]`, `betas[i]`. Not finite where the model's is not.
    pub loss: Vec<f32>,
    /// The loss at (0, 0): the model's own on this batch.
    pub center: f64,
    /// No finer level follows.
    pub finest: bool,
    /// The two directions.
    pub plane: PlaneInfo,
    /// The batch, the same at every point.
    pub batch: BatchInfo,
    /// Seconds the evaluation of this level took.
    pub seconds: f64,
    /// How it was evaluated, `stack` or `materialise`; empty where that is not known.
    #[serde(default)]
    pub method: String,
    /// How sharply the loss curves along the step that led here, where it was measured.
    pub sharpness: Option<Sharpness>,
}

/// The curvature along an optimizer's step, in units of one over the learning rate (arXiv 2601.16979).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sharpness {
    /// The critical sharpness, `2 / eta_c` with `eta_c` the smallest learning rate that raises the loss.
    pub critical: f64,
    /// The edge of stability, `2 / eta` with the learning rate that was taken.
    pub edge: f64,
}

/// How the mean loss of the prompt curves around the weights of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curvature {
    /// The step.
    pub step: u64,
    /// The text.
    pub text: String,
    /// The loss there.
    pub loss: f64,
    /// The norm of its gradient over all parameters.
    pub grad_norm: f64,
    /// Directions that are still to be looked along; 0 once it is done.
    pub to_come: usize,
    /// What was found, once it is done.
    pub spectrum: Option<Spectrum>,
    /// Why nothing was found: one line.
    pub failure: Option<String>,
}

/// The batch of a slice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchInfo {
    /// Tokens whose loss is averaged.
    pub tokens: usize,
    /// SHA-256 of its token ids, as in a slice's file.
    pub sha256: String,
    /// Where the batch comes from: `held-out`, `training`, `prompt`, `text` or `data`.
    pub source: String,
}

/// What a model says about the prompt: its last token predicted from those before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The step whose weights say it; of a place, the step of the slice.
    pub step: u64,
    /// The place of the slice that was looked at, in units of alpha and beta; `None` for the weights themselves.
    pub at: Option<[f64; 2]>,
    /// The prompt as it was typed.
    pub prompt: String,
    /// Its tokens; the last is the target.
    pub tokens: Vec<Token>,
    /// Probability of the target.
    pub probability: f64,
    /// The same at the prediction before this one, of the same prompt; at a place, with the weights themselves.
    pub previous_probability: Option<f64>,
    /// Rank of the target: 1 is the likeliest.
    pub rank: usize,
    /// The same at the prediction before this one, or with the weights themselves.
    pub previous_rank: Option<usize>,
    /// Mean loss of all predicted tokens of the prompt.
    pub loss: f64,
    /// Entropy of the distribution, in bits.
    pub entropy: f64,
    /// The likeliest tokens, likeliest first.
    pub candidates: Vec<Candidate>,
    /// What the same weights write on from the prompt without its target, always the likeliest token; `None` until it
    /// is written. It may hold anything: escape it before it reaches a terminal.
    #[serde(default)]
    pub written: Option<String>,
}

/// One bar of the next-token chart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The token.
    pub token: Token,
    /// Its probability.
    pub probability: f64,
    /// The same at the prediction before this one, of the same prompt; at a place, with the weights themselves.
    pub previous: Option<f64>,
}

/// A token and how a person reads it. The text may hold anything: escape it before it reaches a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Its number in the vocabulary.
    pub id: u32,
    /// Its text; bytes that are no character by themselves read `<0xE2>`.
    pub text: String,
}

/// A line of the engine's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Milliseconds since 1970 in UTC.
    pub milliseconds: i64,
    /// How much it matters.
    pub level: LogLevel,
    /// What happened. It may hold anything: escape it before it reaches a terminal.
    pub message: String,
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something a person should know.
    Warn,
    /// Something to see at once that is no cause for worry, such as a checkpoint that was saved.
    Notice,
    /// The normal course of things.
    Info,
    /// For those who look for a fault.
    Debug,
}
