//! What a run is made with, resolved: kept with the run as `settings.json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::device::DeviceChoice;
use crate::protocol::{OptimizerKind, PlaneKind};
use crate::train::schedule::Shape;

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The run's name.
    pub name: String,
    /// What is trained.
    pub model: ModelSource,
    /// What it learns from.
    pub data: DataSource,
    /// The number of the last step; without one, training goes on until it is stopped, or without a screen to
    /// [`HEADLESS_STEPS`].
    pub steps: Option<u64>,
    /// The optimizer to start with.
    pub optimizer: OptimizerKind,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// AdamW's decay of matrices.
    pub weight_decay: f64,
    /// The shape of the schedule.
    pub schedule: Shape,
    /// Steps of warm-up.
    pub warmup: u64,
    /// Where the schedule ends.
    pub decay_steps: u64,
    /// Rows of a batch.
    pub batch_size: usize,
    /// Tokens predicted in a row; if nothing is said, 128 of a checkpoint's model where it reads as many.
    pub context: Option<usize>,
    /// Batches whose gradients make one step.
    pub accumulate: usize,
    /// The gradient norm above which gradients are scaled down; 0 means never.
    pub clip: f64,
    /// Seed of the initial weights, the batches and the built-in corpus's split.
    pub seed: u64,
    /// Steps between two measurements of the held-out loss.
    pub eval_every: u64,
    /// Steps between two checkpoints; without it, one is saved every ten minutes, and the end.
    pub save_every: Option<u64>,
    /// Checkpoints that are kept.
    pub keep_last: usize,
    /// When the slice is evaluated again while training; if nothing is said, as often as it may for a screen, and
    /// never without one.
    pub slice_every: Option<SliceEvery>,
    /// Points a side of the finest picture.
    pub grid: usize,
    /// The plane to begin with.
    #[serde(default)]
    pub plane: PlaneKind,
    /// Where it computes.
    pub device: DeviceChoice,
    /// Threads it computes with.
    pub threads: usize,
    /// Wait for a key before the first step.
    pub paused: bool,
    /// Only the answers of questions are learnt.
    #[serde(default)]
    pub answers_only: bool,
    /// Patterns of the names of tensors that stay as they are.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// Measurements of the held-out loss without a better one after which training ends.
    #[serde(default)]
    pub early_stop: Option<u64>,
    /// Steps between two samples of what the model writes.
    #[serde(default)]
    pub sample_every: Option<u64>,
    /// What is computed in; without it bf16 on CUDA and f32 elsewhere.
    #[serde(default)]
    pub precision: Option<Precision>,
}

/// Rows, tokens, batches, steps and threads at most: what is more is a slip of the finger.
const MOST: u64 = 1 << 30;
/// Batches of a step at most.
const MOST_BATCHES: usize = 1 << 16;
/// A rate beyond which a single step could take the weights out of f32.
pub const HIGHEST_RATE: f64 = 1e6;
/// Steps of a run without a screen that says nothing else.
pub const HEADLESS_STEPS: u64 = 1000;

/// What [`is_name`] wants, for people.
pub const NAME: &str = "1 to 40 letters, digits, -, _ and ., and begins with none of - and .";

/// Whether a run can be called so: a name becomes part of a path and of what the screen shows.
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=40).contains(&text.len()) && !text.starts_with(['.', '-']) && text.chars().all(fits)
}

impl Settings {
    /// Fails with what no run can be made with: the file is there for people to change.
    pub fn check(&self) -> Result<(), String> {
        let counts = [
            ("batch_size", self.batch_size as u64),
            ("context", self.context.unwrap_or(1) as u64),
            ("eval_every", self.eval_every),
            ("keep_last", self.keep_last as u64),
            ("save_every", self.save_every.unwrap_or(1)),
            ("sample_every", self.sample_every.unwrap_or(1)),
            ("threads", self.threads as u64),
        ];
        if let Some((name, value)) = counts.into_iter().find(|(_, value)| !(1..=MOST).contains(value)) {
            return Err(format!("{name} is {value}: it is a number from 1 to {MOST}"));
        }
        // All batches of a step are drawn before it.
        if !(1..=MOST_BATCHES).contains(&self.accumulate) {
            return Err(format!(
                "accumulate is {}: it is a number from 1 to {MOST_BATCHES}",
                self.accumulate
            ));
        }
        let numbers = [
            ("learning_rate", self.learning_rate, HIGHEST_RATE),
            ("weight_decay", self.weight_decay, f64::MAX),
            ("clip", self.clip, f64::MAX),
        ];
        if let Some((name, value, most)) = numbers.into_iter().find(|(_, x, most)| !(0.0..=*most).contains(x))
        {
            return Err(format!("{name} is {value}: it is a number from 0 to {most:e}"));
        }
        if !is_name(&self.name) {
            return Err(format!("name is no name: it is {NAME}"));
        }
        Ok(())
    }

    /// The last step with a screen or without one.
    pub fn last_step(&self, headless: bool) -> Option<u64> {
        self.steps.or(headless.then_some(HEADLESS_STEPS))
    }
}

/// The numbers that gradients are computed with; weights and moments are f32 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits, 8 of them the exponent.
    Bf16,
}

/// What is trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModelSource {
    /// A preset, from nothing.
    Preset(String),
    /// A checkpoint: a folder, a `.gguf` file or a run.
    Checkpoint(PathBuf),
    /// A model of the Hub: `org/name[@revision]`.
    Hub(String),
}

/// What a model learns from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSource {
    /// Facts about countries, as statements.
    Builtin,
    /// The same facts as questions and answers.
    BuiltinQa,
    /// A file or folder of texts.
    Path(PathBuf),
    /// One text, whose last token is the target.
    Text(String),
}

/// When the slice is evaluated again while training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SliceEvery {
    /// As often as a fifth of the machine allows.
    Auto,
    /// Every so many steps, where the last one is done by then.
    Steps(u64),
    /// Never by itself.
    Off,
}
