//! The straight way from one model to another, and the barrier on it (arXiv 1912.05671).

use candle_core::{Device, Result};
use serde::Serialize;

use super::directions::difference;
use super::evaluator::Objective;
use super::plane::{Direction, Plane, product};
use super::survey::{Control, Grid, Survey, evenly};
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::protocol::PlaneInfo;
use crate::train::corpus::Batch;

/// Points of the way.
const POINTS: usize = 21;

/// The mean loss at `(1 - t) a + t b`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathLoss {
    /// From 0 to 1.
    pub t: Vec<f64>,
    /// In nats.
    pub loss: Vec<f64>,
    /// How far the loss rises above the straight line between its ends, 0 where it never does; not finite where no
    /// loss is.
    pub barrier: f64,
}

/// The mean loss of a batch on the way from `a` to `b`, two models of one shape.
pub fn between(llama: Llama, a: &Params, b: &Params, batch: &Batch, device: &Device) -> Result<PathLoss> {
    let names: Vec<String> = a.iter().map(|(name, _)| name.to_owned()).collect();
    let difference = difference(a, b, &names)?;
    let t = evenly(0.0, 1.0, POINTS);
    let same = product(&difference, &difference)? == 0.0;
    // The way is a line: there is no second direction.
    let info = PlaneInfo { kind: "path".to_owned(), ..PlaneInfo::default() };
    let line = Plane::new(difference, Direction::default(), info)?;
    let survey = Survey::new(llama, a.clone(), line, batch, Objective::Mean, None, device)?;
    let mut grid = Grid::new(if same { vec![0.0] } else { t.clone() }, vec![0.0]);
    grid.fill(&survey, survey.points_at_once(), &Control::QUIET)?;
    let known = grid.loss();
    let loss = if same { vec![known[0]; POINTS] } else { known };
    Ok(with_barrier(t, loss))
}

/// Measures how far the losses rise above the straight line between the first and the last.
fn with_barrier(t: Vec<f64>, loss: Vec<f64>) -> PathLoss {
    let (first, last) = (loss[0], loss[loss.len() - 1]);
    let straight = |t: f64| (1.0 - t) * first + t * last;
    let barrier = t.iter().zip(&loss).map(|(t, loss)| loss - straight(*t)).fold(f64::NEG_INFINITY, f64::max);
    PathLoss { t, loss, barrier }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_barrier_is_measured_from_the_line_between_the_ends() {
        let path = with_barrier(vec![0.0, 0.25, 0.5, 0.75, 1.0], vec![1.0, 2.0, 4.0, 3.0, 3.0]);
        assert!((path.barrier - 2.0).abs() < 1e-12, "{path:?}");
        let valley = with_barrier(vec![0.0, 0.5, 1.0], vec![1.0, 0.5, 1.0]);
        assert!(valley.barrier.abs() < 1e-12, "{valley:?}");
        let lost = with_barrier(vec![0.0, 1.0], vec![f64::NAN; 2]);
        assert!(!lost.barrier.is_finite(), "{lost:?}");
    }
}
