//! Points of a plane on a device that is not the CPU: their weights are stacked, and one forward pass takes them all.

use candle_core::{Device, Result, Tensor};

use super::evaluator::{Losses, Objective};
use super::plane::Plane;
use crate::model::host::read_back;
use crate::model::llama::Llama;
use crate::model::ops::IGNORED;
use crate::model::params::Params;
use crate::train::corpus::Batch;

/// Rows of activations that a device is given at once, where there are so many points: enough to fill a large one.
const ROWS: usize = 8192;

/// Bytes that the weights of all points may take, beside those that the points share.
const BYTES: usize = 2 << 30;

/// A model and the batch that it is measured on, on a device.
#[derive(Debug)]
pub(super) struct Stack {
    llama: Llama,
    /// `(texts, seq)`
    inputs: Tensor,
    targets: Tensor,
    objective: Objective,
    /// Tokens that are predicted, and those of them that are the last of a text.
    predicted: [usize; 2],
    /// Points that are worth a forward pass of their own.
    points: usize,
}

impl Stack {
    /// For the points of `plane` around `origin`.
    pub(super) fn new(
        llama: Llama,
        origin: &Params,
        plane: &Plane,
        batch: &Batch,
        objective: Objective,
        device: &Device,
    ) -> Result<Self> {
        let (inputs, targets) = batch.tensors(device)?;
        let (_, flat) = batch.flat();
        let count = |targets: &mut dyn Iterator<Item = &u32>| targets.filter(|id| **id != IGNORED).count();
        let lasts = flat.chunks(batch.seq().max(1)).filter_map(<[u32]>::last);
        let predicted = [count(&mut flat.iter()), count(&mut { lasts })];
        let moving = origin.iter().filter(|(name, _)| plane.deltas(name).is_some());
        let bytes = moving.map(|(_, tensor)| tensor.elem_count() * size_of::<f32>()).sum::<usize>();
        let points = (ROWS / inputs.elem_count().max(1)).min(BYTES / bytes.max(1)).max(1);
        Ok(Self { llama, inputs, targets, objective, predicted, points })
    }

    /// Points that are worth a forward pass of their own.
    pub(super) fn points_at_once(&self) -> usize {
        self.points
    }

    /// The losses at the points `[alpha, beta]` of `plane` around `origin`, in one read-back.
    pub(super) fn losses(&self, origin: &Params, plane: &Plane, points: &[[f64; 2]]) -> Result<Vec<Losses>> {
        let (texts, seq) = self.inputs.dims2()?;
        let params = plane.stack(origin, points)?;
        let losses = self.llama.stacked_losses(&params, points.len(), &self.inputs, &self.targets)?;
        let losses = losses.reshape((points.len(), texts, seq))?;
        let [tokens, lasts] = self.predicted.map(|count| count as f64);
        let last = (losses.narrow(2, seq - 1, 1)?.sum((1, 2))? / lasts)?; // (points)
        let loss = match self.objective {
            Objective::Mean => (losses.sum((1, 2))? / tokens)?,
            Objective::Last => last.clone(),
        };
        let numbers = read_back(&Tensor::stack(&[loss, last], 1)?)?; // (points, 2)
        Ok(numbers.chunks_exact(2).map(|pair| Losses { loss: pair[0], last: pair[1] }).collect())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;
    use crate::landscape::plane::Normalization;
    use crate::landscape::survey::{Method, Survey};
    use crate::model::config::LlamaConfig;
    use crate::model::gaussian;
    use crate::model::host::read_backs;
    use crate::model::shapes::parameter_shapes;
    use crate::train::corpus::Corpus;
    use crate::train::preset::Preset;

    const CPU: Device = Device::Cpu;

    /// Everything a Llama can have: biases, a head of its own, grouped keys. With a batch of two texts.
    fn model() -> (Llama, Params, Batch) {
        let config = LlamaConfig {
            hidden_size: 24,
            intermediate_size: 40,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 6,
            tie_word_embeddings: false,
            attention_bias: true,
            mlp_bias: true,
            ..Preset::named("nano").unwrap().config(37, 32, None)
        };
        let tensor = |(name, shape): (String, Vec<usize>)| {
            let numbers = gaussian::normal(5, &name, shape.iter().product());
            let numbers: Vec<f32> = numbers.into_iter().map(|x| 0.3 * x).collect();
            (name, Tensor::from_vec(numbers, shape, &CPU).unwrap())
        };
        let params = parameter_shapes(&config).into_iter().map(tensor).collect();
        let batch = Corpus::new([(0..100).map(|i| i * i % 37).collect::<Vec<u32>>()]).in_order(2, 9);
        (Llama::new(&config, DType::F32, &CPU).unwrap(), params, batch)
    }

    /// The losses of the stack and of the CPU's own evaluation differ by rounding alone, and the stack reads back once.
    fn agrees(plane: &Plane, objective: Objective) {
        let (llama, params, batch) = model();
        let points = [[0.0, 0.0], [0.4, -0.3], [-1.0, 1.0], [0.0, 0.7]];
        let stack = Stack::new(llama.clone(), &params, plane, &batch, objective, &CPU).unwrap();
        let before = read_backs();
        let stacked = stack.losses(&params, plane, &points).unwrap();
        assert_eq!(read_backs() - before, 1);
        let method = Some(Method::Materialise);
        let survey = Survey::new(llama, params, plane.clone(), &batch, objective, method, &CPU).unwrap();
        let own = survey.losses(&points, &|| true).unwrap().unwrap();
        for (stacked, own) in stacked.iter().zip(&own) {
            for (a, b) in [(stacked.loss, own.loss), (stacked.last, own.last)] {
                assert!((a - b).abs() < 1e-5 * b, "{a} for {b}");
            }
        }
        assert!((own[0].loss - own[2].loss).abs() > 1e-3, "the plane moves the loss");
    }

    #[test]
    fn points_stacked_on_a_device_have_the_losses_of_points_one_by_one() {
        let (_, params, _) = model();
        let all: Vec<String> = params.iter().map(|(name, _)| name.to_owned()).collect();
        let random =
            |names: &[String]| Plane::random(&params, names, [11, 111], Normalization::Layer).unwrap();
        let some = &[all[2].clone()];
        for objective in [Objective::Mean, Objective::Last] {
            agrees(&random(&all), objective);
            agrees(&random(some), objective);
        }
    }

    #[test]
    fn a_plane_of_single_numbers_is_stacked_too() {
        let (_, params, _) = model();
        let name = "model.layers.0.mlp.up_proj.weight";
        let plane = Plane::entries(&params, (name, 5), Some(("model.norm.weight", 2))).unwrap();
        agrees(&plane, Objective::Mean);
    }

    #[test]
    fn small_models_are_stacked_high_and_large_ones_are_not() {
        let (llama, params, batch) = model();
        let all: Vec<String> = params.iter().map(|(name, _)| name.to_owned()).collect();
        let plane = Plane::random(&params, &all, [11, 111], Normalization::Layer).unwrap();
        let stack = Stack::new(llama, &params, &plane, &batch, Objective::Mean, &CPU).unwrap();
        assert_eq!(stack.points_at_once(), ROWS / 18);
    }
}
