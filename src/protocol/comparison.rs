//! What passes between the engine of a comparison and its screen: plain data.
//!
//! Both live in one process. The screen sends [`Ask`]s; the engine publishes the whole [`Scene`] each time a part
//! of it changes, and a screen that is slow sees the newest one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Drift, OptimizerKind, Prediction, Slice, Stage, Token};

/// One of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The first one.
    A,
    /// The second one.
    B,
}

impl Side {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Its letter.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

/// The models that something concerns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sides {
    /// Both of them.
    #[default]
    Both,
    /// One of them.
    One(Side),
}

impl Sides {
    /// Whether this side is meant.
    pub fn include(self, side: Side) -> bool {
        self == Self::Both || self == Self::One(side)
    }
}

/// What a person can ask of the engine of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// Take one optimizer step on the prompt.
    Step(Sides),
    /// Go back to the weights of the checkpoint, and take none of the steps that wait.
    Back(Sides),
    /// Multiply the learning rate of both by this factor.
    ScaleLearningRate(f64),
    /// Go on with this optimizer, its moments empty.
    SetOptimizer(OptimizerKind),
    /// Read this text with both; its last token is the target.
    SetPrompt(String),
    /// Put the prompt into the model's chat template, or take it out.
    ToggleTemplate(Sides),
    /// Look at another plane.
    ShowPlane(PlaneChoice),
    /// Draw new random directions.
    NewPlane,
    /// Multiply the range of the plane by this factor: above 1 shows more.
    Zoom(f64),
    /// Choose the finest grid: this many points a side.
    Grid(usize),
    /// Read the prompt with the weights at this place of the plane, in units of alpha and beta; `None` is where the
    /// weights are.
    LookAt(Option<[f64; 2]>),
    /// Write on from the prompt, its target left out.
    Write(Sides),
    /// Take no more of the steps that wait, write no more, and show no longer what was written.
    Hush,
}

/// The plane on which the losses of both are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlaneChoice {
    /// The same random numbers for both, scaled to each model's own weights.
    #[default]
    Own,
    /// The very same directions for both, scaled to the weights of A.
    Shared,
    /// One plane that holds both: A is at alpha 0, B at alpha 1, and beta is random.
    Through,
}

impl PlaneChoice {
    /// The next one, in a circle.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Own => Self::Shared,
            Self::Shared => Self::Through,
            Self::Through => Self::Own,
        }
    }

    /// What it is called on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Own => "same seeds, scaled to each",
            Self::Shared => "one plane, scaled to A",
            Self::Through => "the plane through both",
        }
    }
}

/// All that the engine tells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// What it is doing.
    pub phase: Phase,
    /// Where it computes, such as `cpu, 2 threads`.
    pub device: String,
    /// The text that both read, as it was typed.
    pub prompt: String,
    /// The two models: A, then B.
    pub sides: [SideView; 2],
    /// What only both together have.
    pub between: Arc<Between>,
    /// The same weights are the same model in both: they share planes.
    pub same_shape: bool,
    /// Steps that were asked for and are not taken yet.
    pub steps_to_come: usize,
    /// The loss on the way from A to B, once it is measured.
    pub path: Option<Arc<PathLoss>>,
    /// The plane that the slices show, or will show.
    pub plane: PlaneChoice,
    /// Where the models are read, in units of alpha and beta, if that is not at their weights.
    pub place: Option<[f64; 2]>,
    /// Learning rate of the next step.
    pub learning_rate: f64,
    /// The optimizer, by its name.
    pub optimizer: Option<OptimizerKind>,
    /// The newest thing to say to the person.
    pub note: Option<Note>,
}

/// What the engine of a comparison is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Getting both models.
    Preparing(Vec<Stage>),
    /// Both are there.
    Live,
    /// It can't go on: one line of what, where and what to do; causes follow on lines of their own.
    Failed(String),
}

impl Default for Phase {
    fn default() -> Self {
        Self::Preparing(Vec::new())
    }
}

/// A line for the person at the screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Counts the notes, so that two of the same words are two.
    pub number: u64,
    /// The line. It may hold anything: escape it before it reaches a terminal.
    pub text: String,
    /// Something went wrong.
    pub warning: bool,
}

/// One model as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SideView {
    /// What it is called; empty while it is not there.
    pub name: String,
    /// Its parameters, a tied tensor once.
    pub parameters: u64,
    /// Whether it reads the prompt inside its chat template.
    pub template: Template,
    /// What it reads where that is not the prompt itself.
    pub rendered: Option<String>,
    /// Optimizer steps taken here.
    pub steps: u64,
    /// Mean loss in nats of the tokens of the prompt but the first, where the weights are.
    pub loss: Option<f64>,
    /// Norm of the gradient of that loss over all parameters, once it is measured.
    pub grad_norm: Option<f64>,
    /// The newest slice around its weights; in [`PlaneChoice::Through`] only A has one.
    pub slice: Option<Arc<Slice>>,
    /// A slice is being evaluated.
    pub slicing: bool,
    /// How far the weights have gone since the slice on show was fixed.
    pub drift: Option<Drift>,
    /// What it says of the prompt at [`Scene::place`]. In B the previous probabilities are those of A where their
    /// tokens are the same, and both have the same candidates in the same order.
    pub prediction: Option<Arc<Prediction>>,
    /// What it writes.
    pub sample: Option<Sample>,
}

/// Whether a model reads inside its chat template.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Template {
    /// It has none.
    #[default]
    Absent,
    /// The prompt is read as it is.
    Off,
    /// The prompt's last word begins the answer, what is before it is what the user says.
    On,
    /// The prompt has the form of the template already: inside it and as it is, it is the same tokens.
    Given,
}

/// A text that a model writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// What it writes on from.
    pub prompt: String,
    /// What is written so far.
    pub text: String,
    /// More may follow.
    pub writing: bool,
    /// The model has not ended it: it is as long as a text or the context may be.
    #[serde(default)]
    pub cut: bool,
}

/// What only both models together have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Between {
    /// Why they can't be compared token by token, if they can't.
    pub caveat: Option<String>,
    /// Why there is no way from one to the other, if there is none.
    pub no_path: Option<String>,
    /// Each token of the prompt but the first.
    pub places: Vec<Place>,
    /// Divergences of what is expected behind the last token.
    pub next: Option<[f64; 2]>,
    /// Mean divergences over all places and the next: of B from A, and of A from B.
    pub kl: Option<[f64; 2]>,
    /// How many of the ten likeliest tokens at the target's place both have.
    pub overlap: Option<usize>,
}

/// A token as two models expect it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The token.
    pub token: Token,
    /// Its loss in nats under A and under B.
    pub losses: [f64; 2],
    /// Kullback-Leibler divergences of the distributions it comes from, in nats: `sum a (log a - log b)`, and the
    /// other way round.
    pub kl: [f64; 2],
}

/// The mean loss of a text at the weights `(1 - t) A + t B`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathLoss {
    /// From 0 to 1.
    pub t: Vec<f64>,
    /// In nats.
    pub loss: Vec<f64>,
    /// How far the loss rises above the straight line between its ends, 0 where it never does; not finite where no
    /// loss is.
    pub barrier: f64,
    /// Where on the way that is.
    #[serde(skip)]
    pub barrier_at: f64,
}
