//! AdamW, Adam and SGD, whose state is ours to save and whose rate may change between steps.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use crate::model::host::{self, read_back, zeros};
use crate::model::kernels;
use crate::model::params::{Params, Vars};
use crate::protocol::OptimizerKind;

/// Decay of the mean of the gradients.
const BETA1: f64 = 0.9;
/// Keeps the division by a small root finite.
const EPSILON: f64 = 1e-8;
/// Sum of the squares of a gradient beyond which the moments that are made of them would be no numbers.
const LARGEST_SQUARE: f64 = 1e36;
/// Numbers that one thread turns at a time: their sums are added in order, so the threads do not matter.
const CHUNK: usize = 1 << 12;

/// The loss of a step and its gradient, in the parameters' order; `None` for a parameter that is not trained.
#[derive(Debug)]
pub enum Gradient<'a> {
    /// In this machine's memory, as [`crate::model::backprop`] leaves it.
    Host {
        /// In nats.
        loss: f64,
        /// Row by row.
        tensors: &'a [Option<Vec<f32>>],
    },
    /// Where candle computed it.
    Device {
        /// A scalar.
        loss: Tensor,
        /// As the parameters.
        tensors: Vec<Option<Tensor>>,
    },
}

/// What one step did.
#[derive(Debug, Clone, PartialEq)]
pub struct StepNorms {
    /// The loss that was descended.
    pub loss: f64,
    /// Of each parameter, in their order.
    pub per_tensor: Vec<TensorNorm>,
    /// Norm of the whole gradient before clipping.
    pub grad_norm: f64,
    /// Norm of the whole gradient after clipping.
    pub clipped_norm: f64,
    /// Norm of the change of the weights.
    pub update_norm: f64,
    /// Norm of the weights that are trained, before the change.
    pub weight_norm: f64,
}

/// What one step did to one parameter; all are 0 for one that is not trained.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TensorNorm {
    /// Norm of its gradient before clipping.
    pub gradient: f64,
    /// Norm of the weights before the change.
    pub weight: f64,
    /// Norm of their change.
    pub update: f64,
}

/// Why a step was not taken. The weights and moments are those before it.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The loss is infinite or not a number.
    #[error("the loss is not finite")]
    Loss,
    /// So are gradients, of the parameters at these places.
    #[error("{} gradients are not finite", .0.len())]
    Gradients(Vec<usize>),
    /// The arithmetic failed.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
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
    /// First and second moment of each trained parameter, in the parameters' order; made at the first step.
    moments: Vec<Option<[Tensor; 2]>>,
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

    /// Updates since the moments were empty.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Bytes of its moments for so many trained numbers.
    pub fn bytes(kind: OptimizerKind, elements: usize) -> usize {
        if kind == OptimizerKind::Sgd { 0 } else { 2 * size_of::<f32>() * elements }
    }

    /// Changes the weights in place along the gradient.
    ///
    /// AdamW as in arXiv 1711.05101, algorithm 2, with the decay scaled by the rate as in PyTorch and left out
    /// for everything that is no matrix; Adam is the same without decay; SGD is `w -= rate * g`. Every gradient
    /// is scaled by `min(1, clip / norm)` with the norm over all parameters.
    pub fn step(
        &mut self,
        vars: &Vars,
        gradient: &Gradient,
        rate: f64,
    ) -> std::result::Result<StepNorms, Refusal> {
        if self.moments.is_empty() {
            self.moments = self.empty_moments(vars, gradient)?;
        }
        match gradient {
            Gradient::Host { loss, tensors } => self.step_on_host(vars, *loss, tensors, rate),
            Gradient::Device { loss, tensors } => self.step_on_device(vars, loss, tensors, rate),
        }
    }

    /// The moments under the parameters' names: `NAME.exp_avg` and `NAME.exp_avg_sq`, as PyTorch calls them.
    pub fn state(&self, vars: &Vars) -> Params {
        let named = |((name, _), moments): ((&str, _), &Option<[Tensor; 2]>)| {
            let [first, second] = moments.as_ref()?.each_ref().map(Tensor::clone);
            Some([(format!("{name}{FIRST}"), first), (format!("{name}{SECOND}"), second)])
        };
        vars.iter().zip(&self.moments).filter_map(named).flatten().collect()
    }

    /// Goes on from copies of saved moments; fails with the name of one that is missing or of another shape.
    pub fn restore(
        &mut self,
        vars: &Vars,
        trained: &[bool],
        updates: u64,
        state: &Params,
    ) -> std::result::Result<(), String> {
        let moment = |name: &str, of: &Tensor| match state.get(name) {
            Some(tensor) if tensor.dims() == of.dims() => {
                let copy = tensor.to_device(of.device()).and_then(|tensor| tensor.copy());
                copy.map_err(|error| error.to_string())
            }
            Some(tensor) => Err(format!("{name} is {:?}, the weight is {:?}", tensor.dims(), of.dims())),
            None => Err(format!("{name} is missing")),
        };
        self.updates = updates;
        self.moments = if self.kind == OptimizerKind::Sgd || updates == 0 {
            Vec::new()
        } else {
            vars.iter()
                .zip(trained)
                .map(|((name, var), trained)| {
                    let (first, second) = (format!("{name}{FIRST}"), format!("{name}{SECOND}"));
                    trained.then(|| Ok([moment(&first, var)?, moment(&second, var)?])).transpose()
                })
                .collect::<std::result::Result<_, String>>()?
        };
        Ok(())
    }

    fn empty_moments(&self, vars: &Vars, gradient: &Gradient) -> Result<Vec<Option<[Tensor; 2]>>> {
        let trained = |place: usize| match gradient {
            Gradient::Host { tensors, .. } => tensors[place].is_some(),
            Gradient::Device { tensors, .. } => tensors[place].is_some(),
        };
        let moment = |var: &Tensor| match var.device() {
            Device::Cpu => Tensor::from_vec(zeros(var.elem_count()), var.shape(), &Device::Cpu),
            _ => var.detach().zeros_like(),
        };
        let pair = |var: &Tensor| Ok([moment(var)?, moment(var)?]);
        let kept = |place: usize| trained(place) && self.kind != OptimizerKind::Sgd;
        vars.iter().enumerate().map(|(place, (_, var))| kept(place).then(|| pair(var)).transpose()).collect()
    }

    /// Decay of the mean of the gradients' squares: as Adam's authors have it, and as language models are trained.
    fn beta2(&self) -> f64 {
        if self.kind == OptimizerKind::AdamW { 0.95 } else { 0.999 }
    }

    /// The norm of the gradient and what scales it down.
    fn clipping(&self, squares: &[f64]) -> (f64, f64) {
        let norm = squares.iter().sum::<f64>().sqrt();
        (norm, if self.clip > 0.0 && norm > self.clip { self.clip / norm } else { 1.0 })
    }

    /// The factors of update number `updates` for a weight of this rank.
    fn adam(&self, updates: u64, rank: usize, clip: f64, rate: f64) -> kernels::Adam {
        let updates = i32::try_from(updates).unwrap_or(i32::MAX);
        let decays = self.kind == OptimizerKind::AdamW && rank == 2;
        let beta2 = self.beta2();
        kernels::Adam {
            beta1: BETA1 as f32,
            beta2: beta2 as f32,
            clip: clip as f32,
            rate: (rate / (1.0 - BETA1.powi(updates))) as f32,
            root: (1.0 / (1.0 - beta2.powi(updates)).sqrt()) as f32,
            keep: if decays { (1.0 - rate * self.weight_decay) as f32 } else { 1.0 },
            epsilon: EPSILON as f32,
        }
    }

    fn step_on_host(
        &mut self,
        vars: &Vars,
        loss: f64,
        gradients: &[Option<Vec<f32>>],
        rate: f64,
    ) -> std::result::Result<StepNorms, Refusal> {
        let squares = squares(gradients);
        refuse(loss, &squares)?;
        let (grad_norm, scale) = self.clipping(&squares);
        self.updates += 1;
        let mut sums = Vec::with_capacity(gradients.len());
        for (((_, var), moments), gradient) in vars.iter().zip(&self.moments).zip(gradients) {
            let Some(gradient) = gradient else {
                sums.push([0.0; 2]);
                continue;
            };
            let weight = var.as_tensor();
            let parts: Vec<[f64; 2]> = match moments {
                Some([first, second]) => {
                    let adam = self.adam(self.updates, weight.rank(), scale, rate);
                    host::write(weight, |w| {
                        host::write(first, |m| {
                            host::write(second, |v| {
                                let gradients = gradient.par_chunks(CHUNK);
                                let moments = m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK));
                                let all = w.par_chunks_mut(CHUNK).zip(moments).zip(gradients);
                                all.map(|((w, (m, v)), g)| adam.step(w, m, v, g)).collect()
                            })
                        })
                    })???
                }
                None => host::write(weight, |w| {
                    let rate = (rate * scale) as f32;
                    let all = w.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
                    all.map(|(w, g)| kernels::descend(w, rate, g)).collect()
                })?,
            };
            sums.push(parts.iter().fold([0.0; 2], |sums, part| [sums[0] + part[0], sums[1] + part[1]]));
        }
        Ok(norms(loss, &squares, grad_norm, scale, &sums))
    }

    /// Computes the step in full, reads back once whether it is sound, and only then keeps it.
    fn step_on_device(
        &mut self,
        vars: &Vars,
        loss: &Tensor,
        gradients: &[Option<Tensor>],
        rate: f64,
    ) -> std::result::Result<StepNorms, Refusal> {
        let zero = loss.zeros_like()?.to_dtype(DType::F32)?;
        let square = |tensor: &Tensor| tensor.to_dtype(DType::F32)?.sqr()?.sum_all();
        let squares = gradients.iter().map(|gradient| gradient.as_ref().map_or(Ok(zero.clone()), square));
        let squares = squares.collect::<Result<Vec<Tensor>>>()?;
        let norm = Tensor::stack(&squares, 0)?.sum_all()?.sqrt()?;
        // clip / max(norm, clip), which never divides by zero.
        let scale = if self.clip > 0.0 {
            let clip = (norm.ones_like()? * self.clip)?;
            Some(clip.div(&norm.maximum(&clip)?)?)
        } else {
            None
        };
        let (updates, beta2) = (self.updates + 1, self.beta2());
        let mut next = Vec::with_capacity(gradients.len());
        let (mut changes, mut weights) = (Vec::new(), Vec::new());
        for (((_, var), moments), gradient) in vars.iter().zip(&self.moments).zip(gradients) {
            let Some(gradient) = gradient else {
                next.push(None);
                changes.push(zero.clone());
                weights.push(zero.clone());
                continue;
            };
            let weight = var.as_detached_tensor();
            let gradient = gradient.to_dtype(weight.dtype())?;
            let gradient = match &scale {
                Some(scale) => gradient.broadcast_mul(scale)?,
                None => gradient,
            };
            let (moved, moments) = match moments {
                Some([first, second]) => {
                    let adam = self.adam(updates, weight.rank(), 1.0, rate);
                    let first = ((first * BETA1)? + (&gradient * (1.0 - BETA1))?)?;
                    let second = ((second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
                    let root = ((second.sqrt()? * f64::from(adam.root))? + EPSILON)?;
                    let step = (first.div(&root)? * f64::from(adam.rate))?;
                    (((&weight * f64::from(adam.keep))? - step)?, Some([first, second]))
                }
                None => ((&weight - (gradient * rate)?)?, None),
            };
            changes.push(square(&(&moved - &weight)?)?);
            weights.push(square(&weight)?);
            next.push(Some((moved, moments)));
        }
        let mut read = vec![loss.to_dtype(DType::F32)?];
        for sums in [squares, changes, weights] {
            read.extend(sums);
        }
        let read = read_back(&Tensor::stack(&read, 0)?)?;
        let (loss, sums) = (read[0], &read[1..]);
        let (squares, sums) = sums.split_at(gradients.len());
        let (changes, weights) = sums.split_at(gradients.len());
        refuse(loss, squares)?;
        self.updates = updates;
        for (((_, var), kept), next) in vars.iter().zip(&mut self.moments).zip(next) {
            let Some((moved, moments)) = next else { continue };
            var.set(&moved.contiguous()?)?;
            if moments.is_some() {
                *kept = moments;
            }
        }
        let (grad_norm, scale) = self.clipping(squares);
        let sums: Vec<[f64; 2]> =
            changes.iter().zip(weights).map(|(change, weight)| [*change, *weight]).collect();
        Ok(norms(loss, squares, grad_norm, scale, &sums))
    }
}

/// What follows a parameter's name in the names of its moments.
const FIRST: &str = ".exp_avg";
const SECOND: &str = ".exp_avg_sq";

/// Sum of the squares of each gradient.
fn squares(gradients: &[Option<Vec<f32>>]) -> Vec<f64> {
    let of_each =
        gradients.iter().enumerate().filter_map(|(place, gradient)| Some((place, gradient.as_ref()?)));
    let chunks: Vec<(usize, &[f32])> = of_each
        .flat_map(|(place, gradient)| gradient.chunks(CHUNK).map(move |chunk| (place, chunk)))
        .collect();
    let parts: Vec<f64> = chunks.par_iter().map(|(_, chunk)| kernels::dot(chunk, chunk)).collect();
    let mut squares = vec![0.0; gradients.len()];
    for ((place, _), part) in chunks.iter().zip(parts) {
        squares[*place] += part;
    }
    squares
}

fn refuse(loss: f64, squares: &[f64]) -> std::result::Result<(), Refusal> {
    if !loss.is_finite() {
        return Err(Refusal::Loss);
    }
    let bad =
        squares.iter().enumerate().filter(|(_, square)| !square.is_finite() || **square > LARGEST_SQUARE);
    let bad: Vec<usize> = bad.map(|(place, _)| place).collect();
    if bad.is_empty() { Ok(()) } else { Err(Refusal::Gradients(bad)) }
}

/// The norms from sums of squares, of the gradient, of the change and of the weights of each parameter.
fn norms(loss: f64, squares: &[f64], grad_norm: f64, scale: f64, sums: &[[f64; 2]]) -> StepNorms {
    let tensor = |(gradient, [update, weight]): (&f64, &[f64; 2])| TensorNorm {
        gradient: gradient.sqrt(),
        weight: weight.sqrt(),
        update: update.sqrt(),
    };
    let all = |which: usize| sums.iter().map(|sums| sums[which]).sum::<f64>().sqrt();
    StepNorms {
        loss,
        per_tensor: squares.iter().zip(sums).map(tensor).collect(),
        grad_norm,
        clipped_norm: grad_norm * scale,
        update_norm: all(0),
        weight_norm: all(1),
    }
}
