//! The trainer: one optimizer step at a time, each a function of the seed and the step's number.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};

use super::corpus::{Batch, Corpus};
use super::optimizer::{Optimizer, StepNorms};
use super::schedule::Schedule;
use crate::model::llama::Llama;
use crate::model::params::{Params, Vars};
use crate::protocol::{LayerNorm, OptimizerKind};

/// Why a step could not be taken. The weights are those before it.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss or a gradient is infinite or not a number.
    #[error("step {step}: {what} is not finite, so the weights stay as they were: lower the learning rate")]
    NotFinite {
        /// The step that failed.
        step: u64,
        /// `the loss`, or the first tensor whose gradient went bad.
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

    /// The batch of a slice, about `tokens` of them or one row, and where it comes from: what is held out, or the
    /// text.
    pub fn slice_batch(&self, tokens: usize) -> (Batch, &'static str) {
        match self {
            Self::Corpus { held_out, context, .. } => {
                (held_out.clone().head((tokens / context).max(1)), "held-out")
            }
            Self::Text(batch) => (batch.clone(), "prompt"),
        }
    }
}

/// Parts into which the rows of a batch are split on the CPU, each worked on by one thread: a small model's
/// operations are too short to be worth splitting themselves. The number is fixed, and their gradients are added
/// in order, so that the number of threads changes no bit of the result.
const SHARDS: usize = 4;

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
}

/// What one step was.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Loss of its batch before the update, in nats a token.
    pub loss: f64,
    /// The learning rate it took.
    pub learning_rate: f64,
    /// Tokens it predicted.
    pub tokens: usize,
    /// Norms of its gradient and update.
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
    /// Pools of one thread each, among which the shards of a batch are dealt.
    lanes: Vec<rayon::ThreadPool>,
    /// What a person has multiplied the schedule by.
    rate_factor: f64,
    step: u64,
}

impl Trainer {
    /// A trainer at step 0, which computes with at most `threads` threads where that is the CPU.
    pub fn new(
        llama: Llama,
        params: Params,
        objective: Objective,
        recipe: Recipe,
        device: &Device,
        threads: usize,
    ) -> candle_core::Result<Self> {
        let lane =
            |_| rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(candle_core::Error::wrap);
        Ok(Self {
            lanes: (0..threads.clamp(1, SHARDS)).map(lane).collect::<candle_core::Result<_>>()?,
            llama,
            vars: params.into_vars()?,
            device: device.clone(),
            objective,
            recipe,
            optimizer: Optimizer::new(recipe.optimizer, recipe.weight_decay, recipe.clip),
            rate_factor: 1.0,
            step: 0,
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

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What is learnt.
    pub fn objective(&self) -> &Objective {
        &self.objective
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
        self.optimizer = Optimizer::new(kind, self.recipe.weight_decay, self.recipe.clip);
    }

    /// Takes one step.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let step = self.step + 1;
        let failed = |source| TrainError::Candle { step, source };
        let (loss, tokens, grads) = self.gradient(step).map_err(failed)?;
        if !loss.is_finite() {
            return Err(TrainError::NotFinite { step, what: "the loss".to_owned() });
        }
        let learning_rate = self.learning_rate();
        let norms = match self.optimizer.step(&self.vars, &grads, learning_rate).map_err(failed)? {
            Ok(norms) => norms,
            Err(index) => {
                let name = self.vars.iter().nth(index).map_or("a tensor", |(name, _)| name);
                return Err(TrainError::NotFinite { step, what: format!("the gradient of {name}") });
            }
        };
        self.step = step;
        Ok(StepReport { step, loss, learning_rate, tokens, norms })
    }

    /// Mean loss over the batches of a step, the tokens predicted, and the gradient of that loss.
    fn gradient(&self, step: u64) -> candle_core::Result<(f64, usize, GradStore)> {
        let batches = self.recipe.accumulate.max(1) as u64;
        let batch = |index| self.objective.batch(self.recipe.seed, (step - 1) * batches + index);
        let batches: Vec<Batch> = (0..batches).map(batch).collect();
        let tokens = batches.iter().map(Batch::predicted).sum();
        let mut sum: Option<(f64, GradStore)> = None;
        // A batch at a time, so that no more gradients wait than it has shards.
        for batch in batches {
            let shards = batch.split(if self.device.is_cpu() { SHARDS } else { 1 });
            for part in self.parts(&shards, tokens) {
                let (loss, mut grads) = part?;
                let total = match &sum {
                    None => loss,
                    Some((earlier_loss, earlier)) => {
                        for (_, var) in self.vars.iter() {
                            let tensor = var.as_tensor();
                            if let (Some(earlier), Some(new)) = (earlier.get(tensor), grads.get(tensor)) {
                                let both = (earlier + new)?;
                                grads.insert(tensor, both);
                            }
                        }
                        earlier_loss + loss
                    }
                };
                sum = Some((total, grads));
            }
        }
        match sum {
            Some((loss, grads)) => Ok((loss, tokens, grads)),
            None => candle_core::bail!("a step needs at least one row"),
        }
    }

    /// Each shard's share of the loss and of its gradient, in order; `tokens` are those of the whole step. A lane
    /// takes the next shard when it is done with one, so a core that is busy otherwise holds up little. One shard
    /// alone is left to the matrix products' own threads.
    fn parts(&self, shards: &[Batch], tokens: usize) -> Vec<candle_core::Result<(f64, GradStore)>> {
        if let [shard] = shards {
            return vec![self.part(shard, tokens)];
        }
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(shard) = shards.get(index) else { return done };
                done.push((index, self.part(shard, tokens)));
            }
        };
        let failed = |_| vec![(0, Err(candle_core::Error::Msg("a thread of the step panicked".to_owned())))];
        let mut parts: Vec<_> = std::thread::scope(|scope| {
            let lanes = self.lanes.iter().map(|lane| scope.spawn(|| lane.install(work)));
            let lanes: Vec<_> = lanes.collect();
            lanes.into_iter().flat_map(|lane| lane.join().unwrap_or_else(failed)).collect()
        });
        parts.sort_by_key(|(index, _)| *index);
        parts.into_iter().map(|(_, part)| part).collect()
    }

    fn part(&self, shard: &Batch, tokens: usize) -> candle_core::Result<(f64, GradStore)> {
        let (inputs, targets) = shard.tensors(&self.device)?;
        let loss = self.llama.loss(&self.vars.params(), &inputs, &targets)?;
        let loss = (loss * (shard.predicted() as f64 / tokens as f64))?;
        Ok((scalar(&loss)?, loss.backward()?))
    }

    /// Mean loss of what is held out, if anything is.
    pub fn held_out_loss(&self) -> candle_core::Result<Option<f64>> {
        match &self.objective {
            Objective::Corpus { held_out, .. } => {
                let (inputs, targets) = held_out.tensors(&self.device)?;
                scalar(&self.llama.loss(&self.params(), &inputs, &targets)?).map(Some)
            }
            Objective::Text(_) => Ok(None),
        }
    }

    /// Gradient norm of each layer, embedding first, from the norms of the tensors.
    pub fn layer_norms(&self, norms: &StepNorms) -> Vec<LayerNorm> {
        let mut layers: Vec<LayerNorm> = Vec::new();
        for ((name, _), norm) in self.vars.iter().zip(&norms.per_tensor) {
            let layer = layer_of(name);
            match layers.last_mut() {
                Some(last) if last.name == layer => last.grad_norm = last.grad_norm.hypot(*norm),
                _ => layers.push(LayerNorm { name: layer, grad_norm: *norm }),
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

/// The value of a tensor of one element.
pub fn scalar(tensor: &Tensor) -> candle_core::Result<f64> {
    tensor.to_dtype(candle_core::DType::F64)?.to_scalar()
}
