//! The gradient from candle's graph, for devices that are not the CPU.

use candle_core::{DType, Device, Result, Tensor, bail};

use super::corpus::Batch;
use crate::model::llama::Llama;
use crate::model::params::{Params, Vars};

/// Computes gradients of the weights, which are f32, by a graph in `dtype`.
#[derive(Debug)]
pub struct Composed<'a> {
    /// The model, its tables in `dtype`.
    pub llama: &'a Llama,
    /// Which parameters are trained, in their order.
    pub trained: &'a [bool],
    /// What is computed in.
    pub dtype: DType,
}

impl Composed<'_> {
    /// The mean loss over the `tokens` that these batches predict, a scalar on the device, and its gradient in
    /// f32. Nothing is read back. Batches without one of those tokens have a gradient of 0.
    pub fn gradient(
        &self,
        vars: &Vars,
        batches: &[Batch],
        tokens: usize,
        device: &Device,
    ) -> Result<(Tensor, Vec<Option<Tensor>>)> {
        let params = vars
            .iter()
            .zip(self.trained)
            .map(|((name, var), trained)| {
                let tensor = if *trained { var.as_tensor().clone() } else { var.as_detached_tensor() };
                Ok((name.to_owned(), tensor.to_dtype(self.dtype)?))
            })
            .collect::<Result<Params>>()?;
        let mut sum: Option<(Tensor, Vec<Option<Tensor>>)> = None;
        for batch in batches.iter().filter(|batch| batch.predicted() > 0) {
            let (inputs, targets) = batch.tensors(device)?;
            let loss = self.llama.loss(&params, &inputs, &targets)?.to_dtype(DType::F32)?;
            let loss = (loss * (batch.predicted() as f64 / tokens as f64))?;
            let grads = loss.backward()?;
            let gradient = |(name, var): (&str, &candle_core::Var)| match grads.get(var.as_tensor()) {
                Some(grad) => grad.contiguous(),
                None => bail!("{name} received no gradient"),
            };
            let each = vars.iter().zip(self.trained).map(|(var, trained)| trained.then(|| gradient(var)));
            let mut tensors = each.map(Option::transpose).collect::<Result<Vec<_>>>()?;
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
            None if tokens > 0 => {
                let zeros = vars.iter().zip(self.trained).map(|((_, var), trained)| {
                    trained.then(|| var.as_detached_tensor().zeros_like()).transpose()
                });
                Ok((Tensor::zeros((), DType::F32, device)?, zeros.collect::<Result<_>>()?))
            }
            None => bail!("a step needs a token to predict"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::host::read_backs;
    use crate::protocol::OptimizerKind;
    use crate::train::optimizer::{Gradient, Optimizer};
    use crate::train::preset::{Preset, initial_params};

    #[test]
    fn a_step_reads_back_once_whatever_it_accumulates_and_clips() {
        let config = Preset::named("nano").unwrap().config(40, 16, None);
        let llama = Llama::new(&config, DType::F32, &Device::Cpu).unwrap();
        let vars = initial_params(&config, 1, &Device::Cpu).unwrap().into_vars().unwrap();
        let trained: Vec<bool> = vars.iter().map(|_| true).collect();
        let composed = Composed { llama: &llama, trained: &trained, dtype: DType::F32 };
        let batches = [1, 2, 3].map(|first| Batch::new(vec![(first..first + 9).collect()]));
        for (kind, clip) in [(OptimizerKind::AdamW, 1.0), (OptimizerKind::Sgd, 0.0)] {
            let before = read_backs();
            let (loss, tensors) = composed.gradient(&vars, &batches, 24, &Device::Cpu).unwrap();
            let step = Gradient::Device { loss, tensors };
            let norms = Optimizer::new(kind, 0.1, clip).step(&vars, &step, 1e-3).unwrap();
            assert_eq!(read_backs() - before, 1);
            assert!(norms.loss > 3.0 && norms.grad_norm > 0.0);
        }
    }
}
