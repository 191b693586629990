//! The trainer: one optimizer step at a time, each a function of the seed and the step's number.

pub mod together;

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::composed::Composed;
use super::corpus::{Batch, Corpus};
use super::optimizer::{Gradient, Optimizer, Refusal, StepNorms};
use super::schedule::{Schedule, Shape};
use crate::model::backprop::{self, Backprop, Texts};
use crate::model::host::read_scalar;
use crate::model::llama::Llama;
use crate::model::ops::square_sums;
use crate::model::params::{Params, Vars};
use crate::protocol::{LayerNorm, OptimizerKind};
use crate::ranks::Ranks;
use together::Together;

/// Why a step could not be taken. The weights are those before it.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss or a gradient is infinite or not a number.
    #[error(
        "step {step}: {what} is not finite, so it is not taken: go back before it and lower the learning rate"
    )]
    NotFinite {
        /// The step that failed.
        step: u64,
        /// What went bad first.
        what: String,
    },
    /// The arithmetic itself failed, for want of memory for instance.
    #[error("step {step}: {source}")]
    Candle {
        /// The step that failed.
        step: u64,
        /// What candle says.
        source: candle_core::Error,
    },
}

/// What is learnt.
#[derive(Debug, Clone)]
pub enum Objective {
    /// To predict rows drawn from a corpus.
    Corpus {
        /// What is trained on.
        train: Corpus,
        /// What is only measured.
        held_out: Batch,
        /// Rows of a batch.
        rows: usize,
        /// Tokens predicted in a row.
        context: usize,
    },
    /// To predict one text: every token after the first.
    Text(Batch),
}

impl Objective {
    fn batch(&self, seed: u64, index: u64) -> Batch {
        match self {
            Self::Corpus { train, rows, context, .. } => train.batch(seed, index, *rows, *context),
            Self::Text(batch) => batch.clone(),
        }
    }

    /// SHA-256 of the tokens that are learnt, in hexadecimal.
    pub fn sha256(&self) -> String {
        match self {
            Self::Corpus { train, .. } => train.sha256(),
            Self::Text(batch) => batch.sha256(),
        }
    }

    /// The batch of a slice, about `tokens` of them or one row, and where it comes from: what is held out, or the
    /// text.
    pub fn slice_batch(&self, tokens: usize) -> (Batch, &'static str) {
        match self {
            Self::Corpus { train, held_out, context, .. } => {
                let rows = (tokens / context).max(1);
                match held_out.clone().head(rows) {
                    batch if batch.predicted() > 0 => (batch, "held-out"),
                    // Of very little data nothing is held out.
                    _ => (train.in_order(rows, *context), "training"),
                }
            }
            Self::Text(batch) => (batch.clone(), "prompt"),
        }
    }
}

/// What a trainer follows besides its objective.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// Seed of the batches.
    pub seed: u64,
    /// The learning rate of each step.
    pub schedule: Schedule,
    /// The optimizer to start with.
    pub optimizer: OptimizerKind,
    /// AdamW's decay of matrices.
    pub weight_decay: f64,
    /// The gradient norm above which gradients are scaled down; 0 means never.
    pub clip: f64,
    /// Batches whose gradients are averaged for one step.
    pub accumulate: usize,
    /// What the arithmetic is done in, where candle does it; the weights and moments are f32 in any case. On the
    /// CPU everything is f32.
    pub dtype: DType,
}

impl Recipe {
    /// The same rate at every step, and nothing besides: no decay, no clipping, one batch a step, in f32.
    pub fn plain(optimizer: OptimizerKind, learning_rate: f64) -> Self {
        Self {
            seed: 0,
            schedule: Schedule { peak: learning_rate, shape: Shape::Constant, warmup: 0, decay_steps: 1 },
            optimizer,
            weight_decay: 0.0,
            clip: 0.0,
            accumulate: 1,
            dtype: DType::F32,
        }
    }
}

/// What one step was.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// The learning rate it took.
    pub learning_rate: f64,
    /// Tokens it predicted.
    pub tokens: usize,
    /// Its loss and the norms of its gradient and update.
    pub norms: StepNorms,
}

/// A model in training.
#[derive(Debug)]
pub struct Trainer {
    llama: Llama,
    vars: Vars,
    device: Device,
    objective: Objective,
    recipe: Recipe,
    optimizer: Optimizer,
    /// Which parameters are trained, in their order.
    trained: Vec<bool>,
    gradients: Gradients,
    /// What a person has multiplied the schedule by.
    rate_factor: f64,
    step: u64,
    /// Tokens predicted so far.
    tokens: u64,
    /// Times that the weights were moved by hand.
    moves: u64,
    /// What it knows of those in other processes.
    together: Together,
}

/// What computes the gradients.
#[derive(Debug)]
enum Gradients {
    /// Plain slices, on the CPU.
    Host(Box<Backprop>),
    /// candle's graph: the same model with tables in the type that is computed in.
    Device(Llama),
}

/// How far a run has come: all of its state but weights and moments.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken.
    #[serde(rename = "global_step")]
    pub step: u64,
    /// Tokens predicted so far.
    pub tokens: u64,
    /// What a person has multiplied the schedule by.
    pub learning_rate_factor: f64,
    /// The optimizer in use.
    pub optimizer: OptimizerKind,
    /// Its updates since its moments were empty.
    pub optimizer_updates: u64,
    /// Times that a person has moved the weights. With any, the run is no longer a function of its settings.
    #[serde(default)]
    pub moves: u64,
}

impl Progress {
    /// Greater for the later of two states of one course, which only steps and moves lead from one to the other.
    pub fn order(&self) -> (u64, u64) {
        (self.step, self.moves)
    }
}

/// A state to go back to or on from.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// How far it is.
    pub progress: Progress,
    /// The weights.
    pub params: Params,
    /// The optimizer's moments, as [`Optimizer::state`] names them.
    pub moments: Params,
}

impl Snapshot {
    /// A copy in this machine's memory, which no step changes.
    pub fn frozen(&self) -> candle_core::Result<Self> {
        let copy = |params: &Params| -> candle_core::Result<Params> {
            let tensor = |tensor: &Tensor| match tensor.device() {
                Device::Cpu => tensor.copy(),
                _ => tensor.to_device(&Device::Cpu),
            };
            params.iter().map(|(name, of)| Ok((name.to_owned(), tensor(of)?))).collect()
        };
        Ok(Self { progress: self.progress, params: copy(&self.params)?, moments: copy(&self.moments)? })
    }

    /// Bytes of its tensors.
    pub fn bytes(&self) -> usize {
        size_of::<f32>() * (self.params.elements() + self.moments.elements())
    }
}

impl Trainer {
    /// A trainer of the parameters that `trained` picks, at step 0. It computes with at most `threads` threads
    /// where that is the CPU.
    pub fn new(
        llama: Llama,
        params: Params,
        trained: impl Fn(&str) -> bool,
        objective: Objective,
        recipe: Recipe,
        device: &Device,
        threads: usize,
    ) -> candle_core::Result<Self> {
        let gradients = if device.is_cpu() {
            Gradients::Host(Box::new(Backprop::new(&llama, &params, &trained, threads)?))
        } else {
            Gradients::Device(Llama::new(llama.config(), recipe.dtype, device)?)
        };
        Ok(Self {
            trained: params.iter().map(|(name, _)| trained(name)).collect(),
            gradients,
            llama,
            vars: params.into_vars()?,
            device: device.clone(),
            objective,
            recipe,
            optimizer: Optimizer::new(recipe.optimizer, recipe.weight_decay, recipe.clip),
            rate_factor: 1.0,
            step: 0,
            tokens: 0,
            moves: 0,
            together: Together::default(),
        })
    }

    /// The model.
    pub fn llama(&self) -> &Llama {
        &self.llama
    }

    /// The weights as they are now, without a graph. They change at the next step: see [`Params::frozen`].
    pub fn params(&self) -> Params {
        self.vars.detached()
    }

    /// The parameters that are not trained.
    pub fn frozen_names(&self) -> Vec<String> {
        let left_out = |((name, _), trained): ((&str, _), &bool)| (!trained).then(|| name.to_owned());
        self.vars.iter().zip(&self.trained).filter_map(left_out).collect()
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What is learnt.
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// Tokens predicted so far.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Steps taken.
    pub fn steps_taken(&self) -> u64 {
        self.step
    }

    /// The optimizer in use.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        self.recipe.schedule.rate(self.step + 1) * self.rate_factor
    }

    /// The learning rate of the last step.
    pub fn last_learning_rate(&self) -> f64 {
        self.recipe.schedule.rate(self.step.max(1)) * self.rate_factor
    }

    /// The batch of the last step, the first of them where several were accumulated.
    pub fn last_batch(&self) -> Batch {
        let batches = self.recipe.accumulate.max(1) as u64;
        self.objective.batch(self.recipe.seed, self.step.saturating_sub(1) * batches)
    }

    /// Multiplies the whole schedule by `factor`.
    pub fn scale_learning_rate(&mut self, factor: f64) {
        self.rate_factor *= factor;
    }

    /// Goes on with another optimizer, its moments empty.
    pub fn set_optimizer(&mut self, kind: OptimizerKind) {
        self.has_changed();
        self.optimizer = Optimizer::new(kind, self.recipe.weight_decay, self.recipe.clip);
    }

    /// Learns something else from the next step on.
    pub fn set_objective(&mut self, objective: Objective) {
        self.objective = objective;
    }

    /// Takes one step.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        self.step_with(&Ranks::alone())
    }

    /// Takes one step together with the other processes of a job, which have to [follow](together::follow).
    pub fn step_with(&mut self, ranks: &Ranks) -> Result<StepReport, TrainError> {
        let step = self.step + 1;
        let batches = self.batches(step);
        let tokens = batches.iter().map(Batch::predicted).sum();
        let learning_rate = self.learning_rate();
        let norms = self.hand_out(ranks, batches, tokens, learning_rate).map_err(Refusal::Candle);
        let norms = norms.and_then(|batches| self.descend(ranks, &batches, tokens, learning_rate));
        let norms = norms.map_err(|refusal| match refusal {
            Refusal::Candle(source) => TrainError::Candle { step, source },
            refusal => TrainError::NotFinite { step, what: self.first_bad(&refusal) },
        })?;
        self.step = step;
        self.tokens = self.tokens.saturating_add(tokens as u64);
        Ok(StepReport { step, learning_rate, tokens, norms })
    }

    /// The batches of a step.
    fn batches(&self, step: u64) -> Vec<Batch> {
        let batches = self.recipe.accumulate.max(1) as u64;
        let batch = |index| self.objective.batch(self.recipe.seed, (step - 1) * batches + index);
        (0..batches).map(batch).collect()
    }

    /// Notes that the state is another one than the last step has left.
    fn has_changed(&mut self) {
        self.together.is_told = false;
    }

    /// Descends the mean loss of these batches and of those of the other processes, which predict so many tokens
    /// together.
    fn descend(
        &mut self,
        ranks: &Ranks,
        batches: &[Batch],
        tokens: usize,
        rate: f64,
    ) -> Result<StepNorms, Refusal> {
        match &mut self.gradients {
            Gradients::Host(backprop) => {
                let params = self.vars.detached();
                let flat: Vec<(Vec<u32>, Vec<u32>)> = batches.iter().map(Batch::flat).collect();
                let texts: Vec<Texts> = flat
                    .iter()
                    .zip(batches)
                    .map(|((inputs, targets), batch)| Texts { inputs, targets, seq: batch.seq() })
                    .collect();
                let loss = backprop.gradient(&params, &texts, (tokens as f32).recip());
                let loss = self.together.sum(ranks, loss, backprop.gradients_mut())?;
                let gradient = Gradient::Host { loss: loss / tokens as f64, tensors: backprop.gradients() };
                backprop.pool().install(|| self.optimizer.step(&self.vars, &gradient, rate))
            }
            Gradients::Device(llama) => {
                let source = Composed { llama, trained: &self.trained, dtype: self.recipe.dtype };
                let computed = source.gradient(&self.vars, batches, tokens, &self.device);
                let (loss, tensors) = self.together.sum_tensors(ranks, computed)?;
                self.optimizer.step(&self.vars, &Gradient::Device { loss, tensors }, rate)
            }
        }
    }

    /// Mean loss of what is held out, if anything is.
    pub fn held_out_loss(&mut self) -> candle_core::Result<Option<f64>> {
        match &self.objective {
            Objective::Corpus { held_out, .. } if held_out.predicted() > 0 => {
                let (params, held_out) = (self.params(), held_out.clone());
                self.loss(&params, &held_out).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Mean loss of a batch with these weights, which may be others than the model's own.
    pub fn loss(&mut self, params: &Params, batch: &Batch) -> candle_core::Result<f64> {
        let rows = match &self.objective {
            Objective::Corpus { rows, .. } => *rows,
            Objective::Text(text) => text.rows().len(),
        };
        let mut sum = 0.0;
        // As many rows at a time as in training, so that this takes no more memory.
        for part in batch.parts(rows) {
            let (inputs, targets) = part.flat();
            sum += match &mut self.gradients {
                Gradients::Host(backprop) => {
                    let texts = Texts { inputs: &inputs, targets: &targets, seq: part.seq() };
                    backprop.loss(params, &texts)?
                }
                Gradients::Device(_) => {
                    let (inputs, targets) = part.tensors(&self.device)?;
                    read_scalar(&self.llama.token_losses(params, &inputs, &targets)?.sum_all()?)?
                }
            };
        }
        Ok(sum / batch.predicted() as f64)
    }

    /// The first parameter with a number that is not finite.
    pub fn bad_weight(&self) -> Option<&str> {
        let bad = |var: &Var| square_sums(&[var.as_detached_tensor()]).is_ok_and(|sums| !sums[0].is_finite());
        self.vars.iter().find(|(_, var)| bad(var)).map(|(name, _)| name)
    }

    /// What went bad first in a step that was refused.
    fn first_bad(&self, refusal: &Refusal) -> String {
        let name = |place: usize| self.vars.iter().nth(place).map_or("a tensor", |(name, _)| name).to_owned();
        if let Some(weight) = self.bad_weight() {
            return format!("{weight}, a weight,");
        }
        match (refusal, &self.gradients) {
            // A gradient goes bad on its way back through the model: the last layer's first.
            (Refusal::Gradients(places), _) => {
                format!("the gradient of {}", places.last().map_or_else(String::new, |place| name(*place)))
            }
            (_, Gradients::Host(backprop)) => backprop.first_bad().unwrap_or_else(|| "the loss".to_owned()),
            (_, Gradients::Device(_)) => "the loss".to_owned(),
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        Progress {
            step: self.step,
            tokens: self.tokens,
            learning_rate_factor: self.rate_factor,
            optimizer: self.optimizer.kind(),
            optimizer_updates: self.optimizer.updates(),
            moves: self.moves,
        }
    }

    /// The whole state. It shares its tensors with the trainer: the next step changes them.
    pub fn snapshot(&self) -> Snapshot {
        let moments = self.optimizer.state(&self.vars);
        Snapshot { progress: self.progress(), params: self.vars.detached(), moments }
    }

    /// Goes on from another state of the same model, which stays as it is. Fails, and changes nothing, where the
    /// optimizer's moments do not fit.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), String> {
        let Snapshot { progress, params, moments } = snapshot;
        let mut optimizer = Optimizer::new(progress.optimizer, self.recipe.weight_decay, self.recipe.clip);
        optimizer.restore(&self.vars, &self.trained, progress.optimizer_updates, moments)?;
        self.has_changed();
        for (name, var) in self.vars.iter() {
            let tensor = params.get(name).ok_or_else(|| format!("{name} is missing"))?;
            let set = tensor.to_device(var.device()).and_then(|tensor| var.set(&tensor));
            set.map_err(|error| format!("{name}: {error}"))?;
        }
        self.optimizer = optimizer;
        self.step = progress.step;
        self.tokens = progress.tokens;
        self.rate_factor = progress.learning_rate_factor;
        self.moves = progress.moves;
        Ok(())
    }

    /// Goes on from copies of these weights, the optimizer's moments empty and all else as it is. Fails, and changes
    /// nothing, where they are those of another model, or differ in a parameter that is not trained.
    pub fn move_to(&mut self, params: &Params) -> Result<(), String> {
        for ((name, var), trained) in self.vars.iter().zip(&self.trained) {
            let (now, then) = (var.as_detached_tensor(), params.get(name));
            let then = then.ok_or_else(|| format!("{name} is missing"))?;
            if then.dims() != now.dims() {
                return Err(format!("{name} is {:?}, the weight is {:?}", then.dims(), now.dims()));
            }
            if !trained {
                let change = then.to_device(now.device()).and_then(|then| square_sums(&[(then - now)?]));
                if change.map_err(|error| format!("{name}: {error}"))?[0] != 0.0 {
                    return Err(format!("{name} is frozen and would change"));
                }
            }
        }
        // All of them are there before the first one changes.
        let there = |(name, var): (&str, &Var)| {
            let tensor = params.get(name).ok_or_else(|| format!("{name} is missing"))?;
            tensor.to_device(var.device()).map_err(|error| format!("{name}: {error}"))
        };
        let tensors = self.vars.iter().map(there).collect::<Result<Vec<_>, String>>()?;
        for ((name, var), tensor) in self.vars.iter().zip(&tensors) {
            var.set(tensor).map_err(|error| format!("{name}: {error}"))?;
        }
        self.set_optimizer(self.optimizer.kind());
        self.moves += 1;
        Ok(())
    }

    /// Bytes of the optimizer's moments.
    pub fn moment_bytes(&self) -> usize {
        Optimizer::bytes(self.optimizer.kind(), self.trained_elements())
    }

    /// Numbers that are trained.
    fn trained_elements(&self) -> usize {
        let trained = self.vars.iter().zip(&self.trained).filter(|(_, trained)| **trained);
        trained.map(|((_, var), _)| var.elem_count()).sum()
    }

    /// Bytes that training holds besides what is drawn and shown, in each of so many processes: weights, gradients,
    /// moments, and on the CPU the activations of its share of the rows.
    pub fn bytes(&self, processes: usize) -> usize {
        let (rows, context) = match &self.objective {
            Objective::Corpus { rows, context, .. } => (*rows, *context),
            Objective::Text(batch) => (batch.rows().len(), batch.seq()),
        };
        let activations = match &self.gradients {
            Gradients::Host(_) => backprop::bytes(self.llama.config(), rows.div_ceil(processes), context),
            Gradients::Device(_) => 0,
        };
        let all: usize = self.vars.iter().map(|(_, var)| var.elem_count()).sum();
        size_of::<f32>() * (all + self.trained_elements()) + self.moment_bytes() + activations
    }

    /// Gradient norm of each layer, embedding first, from the norms of the tensors.
    pub fn layer_norms(&self, norms: &StepNorms) -> Vec<LayerNorm> {
        let mut layers: Vec<LayerNorm> = Vec::new();
        for ((name, _), norm) in self.vars.iter().zip(&norms.per_tensor) {
            let layer = layer_of(name);
            match layers.last_mut() {
                Some(last) if last.name == layer => last.grad_norm = last.grad_norm.hypot(norm.gradient),
                _ => layers.push(LayerNorm { name: layer, grad_norm: norm.gradient }),
            }
        }
        layers
    }
}

/// The layer a person looks for a parameter in.
fn layer_of(name: &str) -> String {
    let mut parts = name.split('.').skip(1);
    match (parts.next(), parts.next()) {
        (Some("layers"), Some(index)) => format!("layer {index}"),
        (Some("embed_tokens"), _) => "embed".to_owned(),
        (Some("norm"), _) => "norm".to_owned(),
        _ => "head".to_owned(),
    }
}
