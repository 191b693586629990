//! Slices of a real model: right at their centre, the same however they are evaluated, harmless to the weights.

// What fails to unwrap fails the test; losses are compared bit for bit.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

use std::sync::mpsc;
use std::time::Duration;

use candle_core::{DType, Device};
use llamascape::landscape::plane::Plane;
use llamascape::landscape::survey::{Grid, Survey};
use llamascape::model::llama::Llama;
use llamascape::model::params::Params;
use llamascape::run::slicer::{Job, Report, Slicer};
use llamascape::train::corpus::{Batch, Corpus};
use llamascape::train::preset::{Preset, initial_params};
use llamascape::train::trainer::scalar;

fn model() -> (Llama, Params) {
    let config = Preset::named("nano").unwrap().config(300, 32, None);
    let llama = Llama::new(&config, DType::F32, &Device::Cpu).unwrap();
    (llama, initial_params(&config, 3, &Device::Cpu).unwrap())
}

fn batch() -> Batch {
    Corpus::new([(0..200).map(|i| i * i % 299).collect::<Vec<u32>>()]).in_order(2, 32)
}

fn survey() -> Survey {
    let (llama, params) = model();
    let plane = Plane::random(&params, [11, 111]).unwrap();
    Survey::new(llama, params, plane, &batch(), &Device::Cpu).unwrap()
}

/// The same slice as a job for the slicer.
fn job(finest: usize, beside_training: bool) -> Job {
    let (llama, origin) = model();
    let (seeds, range) = ([11, 111], 1.0);
    Job { llama, origin, seeds, batch: batch(), device: Device::Cpu, range, finest, beside_training }
}

fn bits(params: &Params) -> Vec<u32> {
    params
        .iter()
        .flat_map(|(_, tensor)| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        .map(f32::to_bits)
        .collect()
}

#[test]
fn the_centre_of_a_slice_is_the_models_own_loss_to_the_bit() {
    let (llama, params) = model();
    let (inputs, targets) = batch().tensors(&Device::Cpu).unwrap();
    let own = scalar(&llama.loss(&params, &inputs, &targets).unwrap()).unwrap();
    assert_eq!(survey().loss(0.0, 0.0).unwrap(), own);
    let mut grid = Grid::new(0.5);
    assert!(grid.fill(&survey(), &|| true).unwrap());
    assert_eq!(grid.loss()[40], own as f32);
}

#[test]
fn a_point_is_the_loss_of_the_weights_moved_there() {
    let (llama, params) = model();
    let plane = Plane::random(&params, [11, 111]).unwrap();
    let moved = plane.displace(&params, 0.4, -0.3).unwrap();
    let (inputs, targets) = batch().tensors(&Device::Cpu).unwrap();
    let there = scalar(&llama.loss(&moved, &inputs, &targets).unwrap()).unwrap();
    assert_eq!(survey().loss(0.4, -0.3).unwrap(), there);
    assert_ne!(there, survey().loss(0.0, 0.0).unwrap());
}

#[test]
fn slicing_leaves_the_weights_as_they_are_to_the_bit() {
    let survey = survey();
    let before = bits(survey.origin());
    Grid::new(1.0).fill(&survey, &|| true).unwrap();
    assert_eq!(bits(survey.origin()), before);
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
            grids.push(level.grid.loss().to_vec());
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
    assert_eq!((ticket, level.grid.side()), (wanted, 9));
}
