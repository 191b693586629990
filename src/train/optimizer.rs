//! AdamW, Adam and SGD, whose state is ours to save and whose rate may change between steps.

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Result, Tensor, bail};
use rayon::prelude::*;
use std::cell::Cell;

use crate::model::ops::{CHUNK, contiguous, square_sums};
use crate::model::params::Vars;
use crate::protocol::OptimizerKind;

/// Decay of the mean of the gradients.
const BETA1: f64 = 0.9;
/// Decay of the mean of their squares.
const BETA2: f64 = 0.95;
/// Keeps the division by a small root finite.
const EPSILON: f64 = 1e-8;

/// What one step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepNorms {
    /// Norm of the gradient of each parameter before clipping, in the parameters' order.
    pub per_tensor: Vec<f64>,
    /// Norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// Norm of the change of the weights.
    pub update_norm: f64,
}

/// An optimizer with its state.
#[derive(Debug)]
pub struct Optimizer {
    kind: OptimizerKind,
    weight_decay: f64,
    /// Gradients longer than this are scaled down to it; 0 means never.
    clip: f64,
    /// Updates since the moments were empty.
    updates: u64,
    /// First and second moment of each parameter, in the parameters' order; made at the first step.
    moments: Vec<(Tensor, Tensor)>,
}

impl Optimizer {
    /// An optimizer with empty moments.
    pub fn new(kind: OptimizerKind, weight_decay: f64, clip: f64) -> Self {
        Self { kind, weight_decay, clip, updates: 0, moments: Vec::new() }
    }

    /// Which optimizer this is.
    pub fn kind(&self) -> OptimizerKind {
        self.kind
    }

    /// The gradient norm above which gradients are scaled down; 0 means never.
    pub fn clip(&self) -> f64 {
        self.clip
    }

    /// Changes the weights in place along the gradients.
    ///
    /// AdamW as in arXiv 1711.05101, algorithm 2, with the decay scaled by the rate as in PyTorch and left out
    /// for everything that is no matrix; Adam is the same without decay; SGD is `w -= rate * g`. Every gradient
    /// is scaled by `min(1, clip / norm)` with the norm over all parameters.
    ///
    /// Where a gradient is not finite nothing changes, and the inner error is the index of the first parameter
    /// whose gradient is bad.
    pub fn step(
        &mut self,
        vars: &Vars,
        grads: &GradStore,
        rate: f64,
    ) -> Result<std::result::Result<StepNorms, usize>> {
        let gradients = vars.gradients(grads)?;
        let squares = square_sums(&gradients)?;
        if let Some(bad) = squares.iter().position(|square| !square.is_finite()) {
            return Ok(Err(bad));
        }
        let grad_norm = squares.iter().sum::<f64>().sqrt();
        let scale = if self.clip > 0.0 && grad_norm > self.clip { self.clip / grad_norm } else { 1.0 };
        if self.moments.is_empty() && self.kind != OptimizerKind::Sgd {
            self.moments = gradients
                .iter()
                .map(|grad| Ok((grad.zeros_like()?, grad.zeros_like()?)))
                .collect::<Result<_>>()?;
        }
        self.updates += 1;
        let updates = i32::try_from(self.updates).unwrap_or(i32::MAX);
        let mut update_square = 0.0;
        for (index, ((_, var), grad)) in vars.iter().zip(&gradients).enumerate() {
            let weight = var.as_tensor();
            let decay = match self.kind {
                OptimizerKind::AdamW if weight.rank() == 2 => self.weight_decay,
                _ => 0.0,
            };
            update_square += match self.moments.get(index) {
                Some((first, second)) if self.kind != OptimizerKind::Sgd => {
                    blend(first, grad, BETA1, scale, 1)?;
                    blend(second, grad, BETA2, scale, 2)?;
                    let adam = Adam {
                        rate: rate / (1.0 - BETA1.powi(updates)),
                        root: 1.0 / (1.0 - BETA2.powi(updates)).sqrt(),
                        keep: 1.0 - rate * decay,
                        moved: Cell::new(0.0),
                    };
                    adam.apply(weight, first, second)?
                }
                _ => {
                    let descent = Descent { rate: rate * scale, moved: Cell::new(0.0) };
                    descent.apply(weight, grad)?
                }
            };
        }
        Ok(Ok(StepNorms {
            per_tensor: squares.iter().map(|square| square.sqrt()).collect(),
            grad_norm,
            update_norm: update_square.sqrt(),
        }))
    }
}

fn contiguous_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((start, end)), CpuStorage::F32(values)) => Ok(&mut values[start..end]),
        _ => bail!("the tensor is not contiguous f32"),
    }
}

/// `moment = beta * moment + (1 - beta) * (scale * grad)^power`, in place.
fn blend(moment: &Tensor, grad: &Tensor, beta: f64, scale: f64, power: i32) -> Result<()> {
    if moment.device().is_cpu() {
        return moment.inplace_op2(grad, &Blend { beta: beta as f32, scale: scale as f32, power });
    }
    let grad = (grad * scale)?;
    let grad = if power == 2 { grad.sqr()? } else { grad };
    assign(moment, &((moment * beta)? + (grad * (1.0 - beta))?)?)
}

/// Overwrites a tensor that no graph holds.
fn assign(target: &Tensor, value: &Tensor) -> Result<()> {
    target.slice_set(&value.contiguous()?, 0, 0)
}

struct Blend {
    beta: f32,
    scale: f32,
    power: i32,
}

impl InplaceOp2 for Blend {
    fn name(&self) -> &'static str {
        "blend"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (moment, grad) = (contiguous_mut(s1, l1)?, contiguous(s2, l2)?);
        let (beta, rest) = (self.beta, 1.0 - self.beta);
        moment.par_chunks_mut(CHUNK).zip(grad.par_chunks(CHUNK)).for_each(|(moment, grad)| {
            if self.power == 2 {
                let scale = self.scale * self.scale;
                moment.iter_mut().zip(grad).for_each(|(m, g)| *m = beta * *m + rest * (scale * g * g));
            } else {
                moment.iter_mut().zip(grad).for_each(|(m, g)| *m = beta * *m + rest * (self.scale * g));
            }
        });
        Ok(())
    }
}

/// `w = keep * w - rate * first / (root * sqrt(second) + epsilon)`.
struct Adam {
    /// The learning rate over the bias correction of the first moment.
    rate: f64,
    /// One over the root of the bias correction of the second moment.
    root: f64,
    keep: f64,
    /// Sum of the squares of the changes.
    moved: Cell<f64>,
}

impl Adam {
    /// Returns the sum of the squares of the changes.
    fn apply(&self, weight: &Tensor, first: &Tensor, second: &Tensor) -> Result<f64> {
        if weight.device().is_cpu() {
            weight.inplace_op3(first, second, self)?;
            return Ok(self.moved.get());
        }
        let step = (first / ((second.sqrt()? * self.root)? + EPSILON)?)?;
        let moved = ((weight.detach() * self.keep)? - (step * self.rate)?)?;
        let square = square_sums(&[(&moved - weight.detach())?])?[0];
        assign(weight, &moved)?;
        Ok(square)
    }
}

impl InplaceOp3 for Adam {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(
        &self,
        s1: &mut CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<()> {
        let (weight, first, second) = (contiguous_mut(s1, l1)?, contiguous(s2, l2)?, contiguous(s3, l3)?);
        let (rate, root) = (self.rate as f32, self.root as f32);
        let (keep, epsilon) = (self.keep as f32, EPSILON as f32);
        let chunks = weight
            .par_chunks_mut(CHUNK)
            .zip(first.par_chunks(CHUNK))
            .zip(second.par_chunks(CHUNK))
            .map(|((weight, first), second)| {
                let mut square = 0.0_f64;
                for ((w, m), v) in weight.iter_mut().zip(first).zip(second) {
                    let moved = keep * *w - rate * m / (root * v.sqrt() + epsilon);
                    square += f64::from(moved - *w).powi(2);
                    *w = moved;
                }
                square
            })
            .collect::<Vec<f64>>();
        self.moved.set(chunks.into_iter().sum());
        Ok(())
    }
}

/// `w -= rate * grad`.
struct Descent {
    rate: f64,
    moved: Cell<f64>,
}

impl Descent {
    /// Returns the sum of the squares of the changes.
    fn apply(&self, weight: &Tensor, grad: &Tensor) -> Result<f64> {
        if weight.device().is_cpu() {
            weight.inplace_op2(grad, self)?;
            return Ok(self.moved.get());
        }
        let step = (grad * self.rate)?;
        assign(weight, &(weight.detach() - &step)?)?;
        Ok(square_sums(&[step])?[0])
    }
}

impl InplaceOp2 for Descent {
    fn name(&self) -> &'static str {
        "descent"
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (weight, grad) = (contiguous_mut(s1, l1)?, contiguous(s2, l2)?);
        let rate = self.rate as f32;
        let chunks = weight
            .par_chunks_mut(CHUNK)
            .zip(grad.par_chunks(CHUNK))
            .map(|(weight, grad)| {
                let mut square = 0.0_f64;
                for (w, g) in weight.iter_mut().zip(grad) {
                    *w -= rate * g;
                    square += f64::from(rate * g).powi(2);
                }
                square
            })
            .collect::<Vec<f64>>();
        self.moved.set(chunks.into_iter().sum());
        Ok(())
    }
}
