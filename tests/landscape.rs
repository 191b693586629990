//! Slices of a real model: right at every point, the same however they are evaluated, harmless to the weights.

// What fails to unwrap fails the test; losses are compared bit for bit where nothing may change them.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::cell::Cell;
use std::sync::mpsc;
use std::time::Duration;

use candle_core::{DType, Device};
use llamascape::landscape::directions::{LossFunction, gradient_plane, hessian_plane};
use llamascape::landscape::evaluator::{Evaluator, Objective};
use llamascape::landscape::plane::{Direction, Normalization, Plane};
use llamascape::landscape::selection::Selection;
use llamascape::landscape::survey::{Control, Grid, Method, Survey, evenly};
use llamascape::model::config::LlamaConfig;
use llamascape::model::gaussian;
use llamascape::model::host::read_scalar;
use llamascape::model::llama::Llama;
use llamascape::model::params::Params;
use llamascape::model::shapes::parameter_shapes;
use llamascape::protocol::PlaneInfo;
use llamascape::run::planes::Directions;
use llamascape::run::slicer::{Job, LastStep, Report, Slicer};
use llamascape::train::corpus::{Batch, Corpus};
use llamascape::train::preset::{Preset, initial_params};

fn model() -> (Llama, Params) {
    let config = Preset::named("nano").unwrap().config(300, 32, None);
    let llama = Llama::new(&config, DType::F32, &Device::Cpu).unwrap();
    (llama, initial_params(&config, 3, &Device::Cpu).unwrap())
}

/// Everything a Llama can have: biases, a head of its own, grouped keys; weights far from any linear regime.
fn full_model(tied: bool) -> (Llama, Params) {
    let config = LlamaConfig {
        vocab_size: 37,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        max_position_embeddings: 32,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: tied,
        attention_bias: true,
        mlp_bias: true,
        bos_token_id: None,
        eos_token_ids: vec![],
    };
    let params = parameter_shapes(&config)
        .into_iter()
        .map(|(name, shape)| {
            let centre = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            let numbers = gaussian::normal(5, &name, shape.iter().product());
            let numbers: Vec<f32> = numbers.into_iter().map(|x| centre + 0.3 * x).collect();
            (name, candle_core::Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap())
        })
        .collect();
    (Llama::new(&config, DType::F32, &Device::Cpu).unwrap(), params)
}

fn batch(vocabulary: u32) -> Batch {
    Corpus::new([(0..200).map(|i| i * i % vocabulary).collect::<Vec<u32>>()]).in_order(2, 16)
}

/// Every tensor, or the matrices alone.
fn plane(params: &Params, all: bool) -> Plane {
    let selection = Selection { norms: all, embeddings: all, ..Selection::default() };
    Plane::random(params, &selection.names(params).unwrap(), [11, 111], Normalization::Layer).unwrap()
}

fn survey(model: (Llama, Params), plane: Plane, objective: Objective, method: Method) -> Survey {
    let batch = batch(model.0.config().vocab_size as u32);
    Survey::new(model.0, model.1, plane, &batch, objective, Some(method), &Device::Cpu).unwrap()
}

/// The loss of `params` by candle's own operations.
fn own_loss(llama: &Llama, params: &Params, objective: Objective) -> f64 {
    let batch = batch(llama.config().vocab_size as u32);
    let (inputs, targets) = batch.tensors(&Device::Cpu).unwrap();
    let losses = llama.token_losses(params, &inputs, &targets).unwrap();
    match objective {
        Objective::Mean => read_scalar(&losses.mean_all().unwrap()).unwrap(),
        Objective::Last => {
            read_scalar(&losses.reshape((2, 16)).unwrap().narrow(1, 15, 1).unwrap().mean_all().unwrap())
                .unwrap()
        }
    }
}

fn near(a: f64, b: f64, relative: f64) -> bool {
    (a - b).abs() <= relative * b.abs().max(1.0)
}

/// A slice as a job for the slicer.
fn job(finest: usize, beside_training: bool) -> Job {
    let (llama, origin) = model();
    let (seeds, range, batch) = ([11, 111], 1.0, batch(300));
    Job {
        llama,
        origin,
        directions: Directions::Random(seeds),
        batch,
        device: Device::Cpu,
        range,
        finest,
        beside_training,
        step: None,
    }
}

fn bits(params: &Params) -> Vec<u32> {
    params
        .iter()
        .flat_map(|(_, tensor)| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        .map(f32::to_bits)
        .collect()
}

/// The loss in a plane that goes nowhere.
fn loss_of(llama: &Llama, params: &Params, objective: Objective) -> f64 {
    let still = Plane::new(Direction::default(), Direction::default(), PlaneInfo::default()).unwrap();
    let evaluator = Evaluator::new(llama, params, &still, &batch(300), objective).unwrap();
    evaluator.losses(&[[0.0; 2]], &|| true).unwrap().unwrap()[0].loss
}

#[test]
fn the_centre_of_a_slice_is_the_loss_of_its_batch_to_the_bit() {
    for (method, objective) in [
        (Method::Stack, Objective::Mean),
        (Method::Materialise, Objective::Mean),
        (Method::Stack, Objective::Last),
    ] {
        let (llama, params) = model();
        let own = loss_of(&llama, &params, objective);
        let survey = survey(model(), plane(&params, false), objective, method);
        assert_eq!(survey.loss(0.0, 0.0).unwrap(), own);
        assert!(near(own, own_loss(&llama, &params, objective), 1e-6));
        let mut grid = Grid::coarse(0.5);
        assert!(grid.fill(&survey, 1, &Control::QUIET).unwrap());
        assert_eq!(grid.loss()[40], own);
    }
}

#[test]
fn a_point_is_the_loss_of_the_weights_moved_there_whatever_moves_and_however_it_is_evaluated() {
    for (tied, all, objective) in [
        (true, false, Objective::Mean),
        (true, true, Objective::Mean),
        (false, true, Objective::Mean),
        (false, true, Objective::Last),
        (true, false, Objective::Last),
    ] {
        let (llama, params) = full_model(tied);
        let plane = plane(&params, all);
        let alphas = [-0.4, 0.0, 0.3, 0.7];
        let wanted: Vec<f64> = alphas
            .iter()
            .map(|alpha| own_loss(&llama, &plane.displace(&params, *alpha, -0.2).unwrap(), objective))
            .collect();
        for (method, most) in [(Method::Stack, 4), (Method::Materialise, 1)] {
            let survey = survey(full_model(tied), plane.clone(), objective, method);
            for (alphas, wanted) in alphas.chunks(most).zip(wanted.chunks(most)) {
                let points: Vec<[f64; 2]> = alphas.iter().map(|alpha| [*alpha, -0.2]).collect();
                let found = survey.losses(&points, &|| true).unwrap().unwrap();
                for (found, wanted) in found.iter().zip(wanted) {
                    let found = found.loss;
                    assert!(near(found, *wanted, 1e-5), "{method:?} {tied} {all}: {found} for {wanted}");
                }
            }
            // Beside points of other rows it is the same.
            let mixed = survey.losses(&[[0.3, -0.2], [0.1, 0.4], [0.1, -0.3]], &|| true).unwrap().unwrap();
            assert!(near(mixed[0].loss, wanted[2], 1e-5), "{method:?} {tied} {all}: {mixed:?}");
        }
    }
}

#[test]
fn only_some_layers_may_move_and_what_is_before_them_is_shared() {
    for layers in [0..1, 1..3, 2..3] {
        let (llama, params) = full_model(true);
        let selection = Selection { layers: Some(layers), norms: true, ..Selection::default() };
        let names = selection.names(&params).unwrap();
        let plane = Plane::random(&params, &names, [1, 2], Normalization::Filter).unwrap();
        let wanted = own_loss(&llama, &plane.displace(&params, 0.6, 0.5).unwrap(), Objective::Mean);
        let survey = survey(full_model(true), plane, Objective::Mean, Method::Stack);
        let found = survey.losses(&[[0.6, 0.5], [-0.6, 0.1]], &|| true).unwrap().unwrap()[0].loss;
        assert!(near(found, wanted, 1e-5), "{found} for {wanted}");
    }
}

#[test]
fn single_parameters_move_alone_in_matrices_vectors_and_pairs() {
    let (llama, params) = full_model(true);
    for (first, second) in [
        (("model.layers.2.mlp.down_proj.weight", 77), None),
        (("model.layers.1.self_attn.k_proj.weight", 5), Some(("model.layers.1.self_attn.k_proj.weight", 6))),
        (("model.norm.weight", 3), Some(("model.layers.0.mlp.gate_proj.bias", 2))),
        (("model.embed_tokens.weight", 24 * 4 + 1), Some(("model.layers.2.mlp.up_proj.weight", 9))),
    ] {
        let plane = Plane::entries(&params, first, second).unwrap();
        let beta = if second.is_some() { -1.5 } else { 0.0 };
        let moved = plane.displace(&params, 2.0, beta).unwrap();
        assert_eq!(
            bits(&moved).iter().zip(bits(&params)).filter(|(a, b)| *a != b).count(),
            1 + usize::from(second.is_some())
        );
        let wanted = own_loss(&llama, &moved, Objective::Last);
        let survey = survey(full_model(true), plane, Objective::Last, Method::Stack);
        let found = survey.losses(&[[0.5, 1.0], [2.0, beta]], &|| true).unwrap().unwrap()[1];
        assert!(
            near(found.loss, wanted, 1e-5) && found.loss == found.last,
            "{first:?}: {found:?} for {wanted}"
        );
    }
}

#[test]
fn a_grid_is_the_same_for_any_number_of_threads() {
    let fill = |threads: usize, columns: usize, rows: usize| {
        let params = model().1;
        let survey = survey(model(), plane(&params, false), Objective::Mean, Method::Stack);
        let mut grid = Grid::new(evenly(-1.0, 1.0, columns), evenly(-1.0, 1.0, rows));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert!(pool.install(|| grid.fill(&survey, 5, &Control::QUIET)).unwrap());
        grid.loss()
    };
    assert_eq!(fill(1, 7, 5), fill(3, 7, 5));
    assert_eq!(fill(1, 33, 1), fill(3, 33, 1));
}

#[test]
fn an_evaluation_that_is_told_to_stop_stops_between_any_two_stages() {
    let params = model().1;
    let survey = survey(model(), plane(&params, false), Objective::Mean, Method::Stack);
    let asked = Cell::new(0);
    let count = || {
        asked.set(asked.get() + 1);
        true
    };
    assert!(survey.losses(&[[0.1, 0.1]], &count).unwrap().is_some());
    let stages = asked.get();
    assert!(stages > 2 * 4, "asked only {stages} times");
    for stop in 0..stages {
        let left = Cell::<usize>::new(stop);
        let go_on = || left.replace(left.get().saturating_sub(1)) > 0;
        assert!(survey.losses(&[[0.1, 0.1]], &go_on).unwrap().is_none());
    }
}

#[test]
fn slicing_leaves_the_weights_as_they_are_to_the_bit() {
    let params = model().1;
    let before = bits(&params);
    let survey = survey((model().0, params.clone()), plane(&params, true), Objective::Mean, Method::Stack);
    Grid::coarse(1.0).fill(&survey, 9, &Control::QUIET).unwrap();
    assert_eq!(bits(&params), before);
}

#[test]
fn weights_that_are_not_numbers_give_losses_that_are_not() {
    let (llama, mut params) = model();
    let name = "model.layers.1.mlp.up_proj.weight";
    let mut numbers = params.get(name).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    numbers[7] = f32::NAN;
    let shape = params.get(name).unwrap().shape().clone();
    params.insert(name, candle_core::Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap());
    assert!(!loss_of(&llama, &params, Objective::Mean).is_finite());
    let names = Selection::default().names(&params).unwrap();
    let error = Plane::random(&params, &names, [1, 2], Normalization::Filter).unwrap_err().to_string();
    assert!(error.contains("not finite"), "{error}");
}

#[test]
fn the_slope_along_the_gradient_is_its_norm() {
    let (llama, params) = full_model(true);
    let selection = Selection { norms: true, embeddings: true, ..Selection::default() };
    let names = selection.names(&params).unwrap();
    for objective in [Objective::Mean, Objective::Last] {
        let batch = batch(37);
        let function = LossFunction { llama: &llama, batch: &batch, objective, device: &Device::Cpu };
        let gradient = function.gradient(&params, &names).unwrap();
        let norm = llamascape::landscape::plane::product(&gradient, &gradient).unwrap().sqrt();
        let plane = gradient_plane(&function, &params, &names, [11, 111]).unwrap();
        assert!((plane.info().norms[0] - 1.0).abs() < 1e-5 && plane.info().cosine.abs() < 1e-5);
        assert!((plane.info().norms[1] - 1.0).abs() < 1e-5, "the second direction is as long");
        let survey = survey((llama.clone(), params.clone()), plane, objective, Method::Materialise);
        let slope = (survey.loss(2e-3, 0.0).unwrap() - survey.loss(-2e-3, 0.0).unwrap()) / 4e-3;
        assert!(near(slope, norm, 5e-3), "{slope} for {norm}");
    }
}

#[test]
fn the_loss_curves_along_hessian_directions_as_their_eigenvalues_say() {
    let (llama, params) = full_model(true);
    let names = Selection::default().names(&params).unwrap();
    let batch = batch(37);
    let function =
        LossFunction { llama: &llama, batch: &batch, objective: Objective::Mean, device: &Device::Cpu };
    let plane = hessian_plane(&function, &params, &names, [11, 111], 30, &mut |_| true).unwrap();
    let spectrum = plane.info().spectrum.unwrap();
    assert!(spectrum.greatest > 0.0 && spectrum.least < 0.0 && spectrum.negative > 0);
    assert!(plane.info().cosine.abs() < 1e-3);
    let survey = survey((llama.clone(), params.clone()), plane, Objective::Mean, Method::Materialise);
    let h = 5e-3;
    let centre = survey.loss(0.0, 0.0).unwrap();
    let curvature = |a: f64, b: f64| {
        (survey.loss(a * h, b * h).unwrap() + survey.loss(-a * h, -b * h).unwrap() - 2.0 * centre) / (h * h)
    };
    let (top, bottom) = (curvature(1.0, 0.0), curvature(0.0, 1.0));
    assert!(near(top, spectrum.greatest, 0.1), "{top} for {}", spectrum.greatest);
    assert!(near(bottom, spectrum.least, 0.1), "{bottom} for {}", spectrum.least);
}

#[test]
fn the_slicer_delivers_level_after_level_the_same_with_one_thread_or_three() {
    let levels = |threads: usize, beside_training: bool, finest: usize| {
        let (sender, levels) = mpsc::channel();
        let slicer = Slicer::spawn(threads, move |level| sender.send(level).unwrap()).unwrap();
        let ticket = slicer.start(job(finest, beside_training));
        let mut grids = Vec::new();
        loop {
            let report: Report = levels.recv_timeout(Duration::from_secs(120)).unwrap();
            assert_eq!(report.ticket, ticket);
            let level = report.level.unwrap();
            grids.push(level.grid.loss());
            if level.last {
                return grids;
            }
        }
    };
    let one = levels(1, false, 17);
    assert_eq!(one.iter().map(Vec::len).collect::<Vec<_>>(), [81, 289]);
    assert_eq!(one, levels(3, false, 17));
    assert_eq!(one[..1], levels(2, true, 9));
}

#[test]
fn the_last_level_brings_the_sharpness_of_the_step_that_led_there() {
    let (llama, before) = model();
    let names: Vec<String> = before.iter().map(|(name, _)| name.to_owned()).collect();
    let batch = batch(300);
    let function =
        LossFunction { llama: &llama, batch: &batch, objective: Objective::Mean, device: &Device::Cpu };
    let gradient = function.gradient(&before, &names).unwrap();
    // A step so long that it overshoots, and one so short that the loss falls far beyond it.
    for (rate, expected) in [(20.0, 0.0..1.0), (0.05, 1.0..16.0)] {
        let mut origin = before.clone();
        for (name, gradient) in &gradient {
            origin.insert(name, (before.get(name).unwrap() - (gradient * rate).unwrap()).unwrap());
        }
        let step = LastStep { before: before.clone(), batch: batch.clone() };
        let (sender, levels) = mpsc::channel();
        let slicer = Slicer::spawn(1, move |level| sender.send(level).unwrap()).unwrap();
        slicer.start(Job { origin, step: Some(step), ..job(9, true) });
        let level = levels.recv_timeout(Duration::from_secs(120)).unwrap().level.unwrap();
        let multiple = level.critical_multiple.unwrap_or(f64::INFINITY);
        assert!(expected.contains(&multiple) || rate < 1.0 && multiple.is_infinite(), "{rate}: {multiple}");
    }
}

#[test]
fn a_job_that_is_dropped_gives_way_to_the_next() {
    let (sender, levels) = mpsc::channel();
    let slicer = Slicer::spawn(1, move |level| sender.send(level).unwrap()).unwrap();
    slicer.start(job(65, false));
    let wanted = slicer.start(job(9, false));
    let reports = std::iter::from_fn(|| levels.recv_timeout(Duration::from_secs(120)).ok());
    let (ticket, level) = reports
        .map(|report: Report| (report.ticket, report.level.unwrap()))
        .find(|(_, level)| level.last)
        .unwrap();
    assert_eq!((ticket, level.grid.alphas().len()), (wanted, 9));
}
