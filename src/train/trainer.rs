//! The trainer: one optimizer step at a time, each a function of the seed and the step's number.

use candle_core::{Device, Tensor};

use super::corpus::{Batch, Corpus};
use super::optimizer::{Gradient, Optimizer, Refusal, StepNorms};
use super::schedule::Schedule;
use crate::model::backprop::{Backprop, Texts};
use crate::model::llama::Llama;
use crate::model::matmul::Into;
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
    /// What computes gradients on the CPU; elsewhere candle does.
    backprop: Option<Backprop>,
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
        let backprop =
            device.is_cpu().then(|| Backprop::new(&llama, &params, |_| true, threads)).transpose()?;
        Ok(Self {
            backprop,
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
        let batches = self.batches(step);
        let tokens = batches.iter().map(Batch::predicted).sum();
        let learning_rate = self.learning_rate();
        let norms = self.descend(&batches, tokens, learning_rate).map_err(|refusal| match refusal {
            Refusal::Candle(source) => TrainError::Candle { step, source },
            Refusal::Loss => TrainError::NotFinite { step, what: "the loss".to_owned() },
            Refusal::Gradients(places) => {
                let name = self.vars.iter().nth(places[0]).map_or("a tensor", |(name, _)| name);
                TrainError::NotFinite { step, what: format!("the gradient of {name}") }
            }
        })?;
        self.step = step;
        Ok(StepReport { step, learning_rate, tokens, norms })
    }

    /// The batches of a step.
    fn batches(&self, step: u64) -> Vec<Batch> {
        let batches = self.recipe.accumulate.max(1) as u64;
        let batch = |index| self.objective.batch(self.recipe.seed, (step - 1) * batches + index);
        (0..batches).map(batch).collect()
    }

    /// Descends the mean loss of these batches, which predict so many tokens.
    fn descend(&mut self, batches: &[Batch], tokens: usize, rate: f64) -> Result<StepNorms, Refusal> {
        let params = self.vars.detached();
        let Some(backprop) = &mut self.backprop else {
            let (loss, tensors) = self.composed_gradient(batches, tokens)?;
            return self.optimizer.step(&self.vars, &Gradient::Device { loss, tensors }, rate);
        };
        let mut loss = 0.0;
        for (index, batch) in batches.iter().enumerate() {
            let into = if index == 0 { Into::Overwrite } else { Into::Add };
            let (inputs, targets) = batch.flat();
            let texts = Texts { inputs: &inputs, targets: &targets, seq: batch.seq() };
            loss += backprop.add(&params, &texts, (tokens as f32).recip(), into)?;
        }
        let gradient = Gradient::Host { loss: loss / tokens as f64, tensors: backprop.gradients() };
        backprop.pool().install(|| self.optimizer.step(&self.vars, &gradient, rate))
    }

    /// The same from candle's graph, for devices that are not the CPU.
    fn composed_gradient(
        &self,
        batches: &[Batch],
        tokens: usize,
    ) -> candle_core::Result<(Tensor, Vec<Option<Tensor>>)> {
        let params = self.vars.params();
        let mut sum: Option<(Tensor, Vec<Option<Tensor>>)> = None;
        for batch in batches {
            let (inputs, targets) = batch.tensors(&self.device)?;
            let loss = self.llama.loss(&params, &inputs, &targets)?;
            let loss = (loss * (batch.predicted() as f64 / tokens as f64))?;
            let grads = loss.backward()?;
            let mut tensors = self.vars.gradients(&grads)?.into_iter().map(Some).collect::<Vec<_>>();
            let mut loss = loss.detach();
            if let Some((earlier_loss, earlier)) = sum {
                loss = (earlier_loss + loss)?;
                for (new, earlier) in tensors.iter_mut().zip(earlier) {
                    if let (Some(new), Some(earlier)) = (new, earlier) {
                        *new = (earlier + &*new)?;
                    }
                }
            }
            sum = Some((loss, tensors));
        }
        match sum {
            Some(sum) => Ok(sum),
            None => candle_core::bail!("a step needs at least one row"),
        }
    }

    /// Mean loss of what is held out, if anything is.
    pub fn held_out_loss(&mut self) -> candle_core::Result<Option<f64>> {
        let Objective::Corpus { held_out, .. } = &self.objective else { return Ok(None) };
        let params = self.vars.detached();
        if let Some(backprop) = &mut self.backprop {
            let (inputs, targets) = held_out.flat();
            let texts = Texts { inputs: &inputs, targets: &targets, seq: held_out.seq() };
            return Ok(Some(backprop.loss(&params, &texts)? / held_out.predicted() as f64));
        }
        let (inputs, targets) = held_out.tensors(&self.device)?;
        scalar(&self.llama.loss(&params, &inputs, &targets)?).map(Some)
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
