//! How the loss curves around weights: whether they are in a minimum.

use candle_core::Result;

use crate::landscape::directions::{LossFunction, bytes, lanczos};
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Normalization, product, random_direction};
use crate::protocol::{Curvature, Spectrum};
use crate::run::board::Board;

use super::{Ground, plain};
use crate::model::memory::{available, give_back};

/// Directions that are looked along, at most: each costs two gradients and a copy of all parameters.
const DIRECTIONS: usize = 16;
/// And at least, where memory is short.
const FEWEST: usize = 4;
/// The share of the steepest curve from which one counts.
const FLAT: f64 = 0.01;
/// The seed of the first of them.
const SEED: u64 = 11;

/// Looks along directions in which the loss curves most, up and down, and publishes what it finds. It stops once
/// `go_on` says no.
pub(super) fn find(ground: &Ground, board: &Board, go_on: &dyn Fn() -> bool) {
    let mut curvature = Curvature {
        step: ground.step,
        text: ground.prompt.text().to_owned(),
        loss: f64::NAN,
        grad_norm: f64::NAN,
        to_come: DIRECTIONS,
        spectrum: None,
        failure: None,
    };
    board.set_curvature(curvature.clone());
    match spectrum(ground, &mut curvature, board, go_on) {
        Ok(spectrum) => curvature.spectrum = Some(spectrum),
        Err(error) => curvature.failure = Some(plain(&error)),
    }
    curvature.to_come = 0;
    board.set_curvature(curvature);
    give_back();
}

fn spectrum(
    ground: &Ground,
    curvature: &mut Curvature,
    board: &Board,
    go_on: &dyn Fn() -> bool,
) -> Result<Spectrum> {
    let Ground { llama, weights, device, .. } = ground;
    let batch = ground.batch();
    let names: Vec<String> = weights.iter().map(|(name, _)| name.to_owned()).collect();
    // Beside them, two gradients and the weights that are moved; half of what there is stays free.
    let each = bytes(weights, &names).max(1);
    let affordable = (available() / 2) as usize / each;
    let directions =
        if device.is_cpu() { affordable.saturating_sub(4).clamp(FEWEST, DIRECTIONS) } else { DIRECTIONS };
    ground.check_memory(&format!("{directions} directions"), each.saturating_mul(directions + 4))?;
    curvature.to_come = directions;
    let function = LossFunction { llama, batch: &batch, objective: Objective::Mean, device };
    let gradient = function.gradient(weights, &names)?;
    curvature.grad_norm = product(&gradient, &gradient)?.sqrt();
    drop(gradient);
    curvature.loss = crate::predict::Reading::of(llama, weights, ground.prompt.ids(), device)?.loss();
    board.set_curvature(curvature.clone());
    let start = random_direction(weights, &names, SEED, Normalization::None)?;
    let along = |v: &_| function.hessian_product(weights, &names, v);
    let mut told = |taken: usize| {
        curvature.to_come = directions - taken.min(directions);
        board.set_curvature(curvature.clone());
        go_on()
    };
    let values = lanczos(along, start, directions, &mut told)?.values;
    let (Some(least), Some(greatest)) = (values.first(), values.last()) else {
        candle_core::bail!("no curvature was found");
    };
    // What is nearly flat beside the steepest bends neither way.
    let flat = FLAT * least.abs().max(greatest.abs());
    let negative = values.iter().filter(|value| **value < -flat).count();
    Ok(Spectrum { greatest: *greatest, least: *least, probed: values.len(), negative })
}
