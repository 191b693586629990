//! The GPU computes what the CPU computes. Each test says so where there is none, and passes.
#![cfg(feature = "cuda")]
// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device};
use llamascape::landscape::evaluator::Objective;
use llamascape::landscape::plane::{Normalization, Plane};
use llamascape::landscape::survey::{Control, Grid, Method, Survey, evenly};
use llamascape::model::llama::Llama;
use llamascape::protocol::OptimizerKind;
use llamascape::train::corpus::{Batch, Corpus};
use llamascape::train::preset::{Preset, initial_params};
use llamascape::train::trainer::{Objective as Learnt, Recipe, Trainer};

const VOCABULARY: usize = 64;

/// The first GPU, if this machine has one that works.
fn gpu() -> Option<Device> {
    let device = Device::new_cuda(0);
    if let Err(error) = &device {
        println!("skipped, as there is no GPU here: {}", error.to_string().lines().next().unwrap());
    }
    device.ok()
}

fn near(a: f64, b: f64, relative: f64) {
    assert!((a - b).abs() <= relative * b.abs().max(1e-3), "{a} for {b}");
}

fn trainer(device: &Device, dtype: DType) -> Trainer {
    let config = Preset::named("nano").unwrap().config(VOCABULARY, 64, None);
    let llama = Llama::new(&config, DType::F32, device).unwrap();
    let params = initial_params(&config, 1, device).unwrap();
    let corpus = Corpus::new([(0..4000u32).map(|i| i * i % 61).collect::<Vec<_>>()]);
    let objective = Learnt::Text(corpus.in_order(8, 32));
    let recipe =
        Recipe { seed: 1, weight_decay: 0.1, clip: 1.0, dtype, ..Recipe::plain(OptimizerKind::AdamW, 1e-3) };
    Trainer::new(llama, params, |_| true, objective, recipe, device, 2).unwrap()
}

#[test]
fn twenty_steps_on_the_gpu_are_those_of_the_cpu() {
    let Some(gpu) = gpu() else { return };
    for (dtype, relative) in [(DType::F32, 1e-3), (DType::BF16, 3e-2)] {
        let (mut there, mut here) = (trainer(&gpu, dtype), trainer(&Device::Cpu, DType::F32));
        for _ in 0..20 {
            let (there, here) = (there.step().unwrap().norms, here.step().unwrap().norms);
            near(there.loss, here.loss, relative);
            near(there.grad_norm, here.grad_norm, 10.0 * relative);
        }
    }
}

#[test]
fn a_slice_on_the_gpu_is_that_of_the_cpu_stacked_or_not() {
    let Some(gpu) = gpu() else { return };
    let slice = |device: &Device, method: Method| {
        let config = Preset::named("nano").unwrap().config(VOCABULARY, 64, None);
        let llama = Llama::new(&config, DType::F32, device).unwrap();
        let params = initial_params(&config, 1, device).unwrap();
        let names: Vec<String> = params.iter().map(|(name, _)| name.to_owned()).collect();
        let plane = Plane::random(&params, &names, [11, 111], Normalization::Filter).unwrap();
        let batch = Batch::new(vec![(0..33).collect(), (20..53).collect()]);
        let survey =
            Survey::new(llama, params, plane, &batch, Objective::Mean, Some(method), device).unwrap();
        let side = evenly(-1.0, 1.0, 9);
        let mut grid = Grid::new(side.clone(), side);
        assert!(grid.fill(&survey, survey.points_at_once(), &Control::QUIET).unwrap());
        grid.loss()
    };
    let here = slice(&Device::Cpu, Method::Stack);
    for method in [Method::Stack, Method::Materialise] {
        for (there, here) in slice(&gpu, method).into_iter().zip(&here) {
            near(there, *here, 1e-4);
        }
    }
}
