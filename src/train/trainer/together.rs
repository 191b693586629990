//! Steps that the processes of a job take together: each computes the gradient of its rows of the batch, the gradients
//! are added up, and all take the same step with the sum.
//!
//! The first process draws the batches and leads. The others have its weights from it, and whatever else they need, and
//! [`follow`].

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Error, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Objective, Progress, Recipe, Snapshot, Trainer};
use crate::model::config::LlamaConfig;
use crate::model::device::{self, DeviceChoice};
use crate::model::host::Numbers;
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::model::sharing;
use crate::ranks::Ranks;
use crate::train::corpus::Batch;

/// What a trainer knows of those in other processes.
#[derive(Debug, Default)]
pub(super) struct Together {
    /// Whether the others have the weights and moments of the first.
    pub(super) is_told: bool,
    /// A signal asks this process to end.
    is_called: bool,
    /// A signal has asked another one.
    is_called_off: bool,
    /// What travels and what arrives.
    room: [Vec<f32>; 2],
}

/// What the first process asks of the others.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    /// Take on the weights and moments that follow.
    Model(Box<Outline>),
    /// Take a step.
    Step {
        /// All batches of it.
        batches: Vec<Batch>,
        /// Tokens that they predict.
        tokens: usize,
        rate: f64,
        /// Of the optimizer, so far.
        updates: u64,
    },
    /// There are no more.
    End,
}

/// A trainer without its tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Outline {
    config: LlamaConfig,
    trained: Vec<bool>,
    progress: Progress,
    weight_decay: f64,
    clip: f64,
    half: bool,
    device: DeviceChoice,
}

impl Together {
    /// Adds up the losses and the gradients of all processes, or fails in all where one has failed.
    pub(super) fn sum<'a>(
        &mut self,
        ranks: &Ranks,
        loss: Result<f64>,
        gradients: impl Iterator<Item = &'a mut [f32]>,
    ) -> Result<f64> {
        if !ranks.are_several() {
            return loss;
        }
        let flag = |raised: bool| f64::from(u8::from(raised));
        let own = *loss.as_ref().unwrap_or(&0.0);
        let mut numbers = [own, flag(loss.is_err()), flag(self.is_called)];
        ranks.sum(&mut numbers);
        let [sum, failed, called] = numbers;
        self.is_called_off = called > 0.0;
        if failed > 0.0 {
            return ranks.settle(loss.map_err(|error| error.to_string())).map_err(Error::msg);
        }
        ranks.sum_vectors(gradients, &mut self.room);
        Ok(sum)
    }

    /// The same where they are tensors on a device, by way of the machine's memory, which one transfer takes them to.
    pub(super) fn sum_tensors(
        &mut self,
        ranks: &Ranks,
        computed: Result<(Tensor, Vec<Option<Tensor>>)>,
    ) -> Result<(Tensor, Vec<Option<Tensor>>)> {
        if !ranks.are_several() {
            return computed;
        }
        let read = computed.and_then(|(loss, tensors)| {
            let all = std::iter::once(&loss).chain(tensors.iter().flatten());
            let flat = all.map(|tensor| tensor.flatten_all()?.to_dtype(DType::F32));
            let flat = Tensor::cat(&flat.collect::<Result<Vec<_>>>()?, 0)?.to_device(&Device::Cpu)?;
            let numbers = Numbers::of(&flat)?.to_vec();
            Ok((f64::from(numbers[0]), loss, tensors, numbers))
        });
        let (own, loss, tensors, mut numbers) = match read {
            Ok((own, loss, tensors, numbers)) => (Ok(own), loss, tensors, numbers),
            Err(error) => (Err(error), Tensor::zeros((), DType::F32, &Device::Cpu)?, Vec::new(), Vec::new()),
        };
        let sum = self.sum(ranks, own, std::iter::once(&mut numbers[..]))?;
        let count = numbers.len();
        let all = Tensor::from_vec(numbers, count, loss.device())?;
        // The loss comes first.
        let mut from = 1;
        let mut summed = |tensor: Tensor| {
            let part = all.narrow(0, from, tensor.elem_count())?.reshape(tensor.shape())?;
            from += tensor.elem_count();
            part.contiguous()
        };
        let tensors = tensors.into_iter().map(|tensor| tensor.map(&mut summed).transpose());
        Ok((Tensor::new(sum as f32, loss.device())?, tensors.collect::<Result<_>>()?))
    }
}

impl Trainer {
    /// Whether a signal has asked another process to end.
    pub fn is_called_off(&self) -> bool {
        self.together.is_called_off
    }

    /// Gives the other processes what they need for a step, and returns what of it falls to this one.
    pub(super) fn hand_out(
        &mut self,
        ranks: &Ranks,
        batches: Vec<Batch>,
        tokens: usize,
        rate: f64,
    ) -> Result<Vec<Batch>> {
        if !ranks.are_several() {
            return Ok(batches);
        }
        if !self.together.is_told {
            self.hand_over(ranks)?;
            self.together.is_told = true;
        }
        let portion = Batch::portion(&batches, 0, ranks.size());
        let order = Order::Step { batches, tokens, rate, updates: self.optimizer.updates() };
        ranks.tell(&order).map_err(Error::wrap)?;
        Ok(portion)
    }

    /// Gives the other processes the whole state.
    fn hand_over(&self, ranks: &Ranks) -> Result<()> {
        let Snapshot { progress, params, moments } = self.snapshot();
        let Recipe { weight_decay, clip, dtype, .. } = self.recipe;
        let outline = Outline {
            config: self.llama.config().clone(),
            trained: self.trained.clone(),
            progress,
            weight_decay,
            clip,
            half: dtype == DType::BF16,
            device: device::choice(&self.device),
        };
        ranks.tell(&Order::Model(Box::new(outline))).map_err(Error::wrap)?;
        sharing::give(ranks, &params)?;
        sharing::give(ranks, &moments)?;
        ranks.settle(Ok(())).map_err(Error::msg)
    }

    /// Takes the part of a step that falls to this process.
    fn step_along(&mut self, ranks: &Ranks, batches: &[Batch], tokens: usize, rate: f64, is_called: bool) {
        self.together.is_called = is_called;
        let portion = Batch::portion(batches, ranks.rank(), ranks.size());
        // A step that is refused is refused by all processes, and the first one says why.
        let _ = self.descend(ranks, &portion, tokens, rate);
    }
}

/// Tells the other processes that there are no more steps.
pub fn end(ranks: &Ranks) -> Result<()> {
    ranks.tell(&Order::End).map_err(Error::wrap)
}

/// Takes the steps that the first process leads, until it ends them. It ends them soon after a signal has called.
pub fn follow(ranks: &Ranks, threads: usize, called: &AtomicBool) -> Result<()> {
    let mut trainer: Option<Trainer> = None;
    loop {
        match ranks.hear().map_err(Error::wrap)? {
            Order::Model(outline) => {
                drop(trainer.take());
                let params = sharing::take(ranks)?;
                let moments = sharing::take(ranks)?;
                let taken_on = outline.take_on(&params, moments, ranks, threads);
                // What fails is said by the first process.
                trainer = ranks.settle(taken_on).ok();
            }
            Order::Step { batches, tokens, rate, updates } => {
                let known = trainer.as_mut().filter(|trainer| trainer.optimizer.updates() == updates);
                let Some(trainer) = known else {
                    return Err(Error::Msg(format!("process {} has fallen out of step", ranks.rank())));
                };
                trainer.step_along(ranks, &batches, tokens, rate, called.load(Ordering::Relaxed));
            }
            Order::End => return Ok(()),
        }
    }
}

impl Outline {
    /// The trainer of another process.
    fn take_on(
        self,
        params: &Params,
        moments: Params,
        ranks: &Ranks,
        threads: usize,
    ) -> std::result::Result<Trainer, String> {
        let Self { config, trained, progress, weight_decay, clip, half, device } = self;
        let (nth, _) = ranks.on_node();
        let device = device::open_nth(device, nth).map_err(|error| error.to_string())?;
        let failed = |error: Error| error.to_string();
        let params = sharing::on(&device, params).map_err(failed)?;
        let names: Vec<String> = params.iter().map(|(name, _)| name.to_owned()).collect();
        let is_trained =
            |name: &str| names.iter().zip(&trained).any(|(other, trained)| *trained && other == name);
        // Batches and learning rates come with each step.
        let objective = Objective::Text(Batch::new(Vec::new()));
        let dtype = if half && matches!(device, Device::Cuda(_)) { DType::BF16 } else { DType::F32 };
        let recipe = Recipe { weight_decay, clip, dtype, ..Recipe::plain(progress.optimizer, 0.0) };
        let llama = Llama::new(&config, DType::F32, &device).map_err(failed)?;
        let trainer = Trainer::new(llama, params.clone(), is_trained, objective, recipe, &device, threads);
        let mut trainer = trainer.map_err(failed)?;
        trainer.restore(&Snapshot { progress, params, moments })?;
        Ok(trainer)
    }
}
