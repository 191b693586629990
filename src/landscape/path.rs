//! The straight way from one model to another, and the barrier on it (arXiv 1912.05671).

use candle_core::{Device, Result};

use super::directions::difference;
use super::evaluator::Objective;
use super::plane::{Direction, Plane, product};
use super::survey::{Control, Grid, Survey, evenly};
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::protocol::PlaneInfo;
use crate::protocol::comparison::PathLoss;
use crate::train::corpus::Batch;

/// Points of the way.
const POINTS: usize = 21;

/// The mean loss of a batch on the way from `a` to `b`, two models of one shape; `None` where `control` said no.
pub fn between(
    llama: Llama,
    a: &Params,
    b: &Params,
    batch: &Batch,
    control: &Control,
    device: &Device,
) -> Result<Option<PathLoss>> {
    let names: Vec<String> = a.iter().map(|(name, _)| name.to_owned()).collect();
    let difference = difference(a, b, &names)?;
    let t = evenly(0.0, 1.0, POINTS);
    let same = product(&difference, &difference)? == 0.0;
    // The way is a line: there is no second direction.
    let info = PlaneInfo { kind: "path".to_owned(), ..PlaneInfo::default() };
    let line = Plane::new(difference, Direction::default(), info)?;
    let survey = Survey::new(llama, a.clone(), line, batch, Objective::Mean, None, device)?;
    let mut grid = Grid::new(if same { vec![0.0] } else { t.clone() }, vec![0.0]);
    if !grid.fill(&survey, survey.points_at_once(), control)? {
        return Ok(None);
    }
    let known = grid.loss();
    let loss = if same { vec![known[0]; POINTS] } else { known };
    Ok(Some(with_barrier(t, loss)))
}

/// Measures how far the losses rise above the straight line between the first and the last.
fn with_barrier(t: Vec<f64>, loss: Vec<f64>) -> PathLoss {
    let (first, last) = (loss[0], loss[loss.len() - 1]);
    let above = |t: f64, loss: f64| loss - ((1.0 - t) * first + t * last);
    let start = (f64::NEG_INFINITY, 0.0);
    let highest = t.iter().zip(&loss).map(|(&t, &loss)| (above(t, loss), t));
    let (barrier, barrier_at) = highest.fold(start, |best, next| if next.0 > best.0 { next } else { best });
    PathLoss { t, loss, barrier, barrier_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_barrier_is_measured_from_the_line_between_the_ends() {
        let path = with_barrier(vec![0.0, 0.25, 0.5, 0.75, 1.0], vec![1.0, 2.0, 4.0, 3.0, 3.0]);
        assert!((path.barrier - 2.0).abs() < 1e-12, "{path:?}");
        assert!((path.barrier_at - 0.5).abs() < 1e-12, "{path:?}");
        let valley = with_barrier(vec![0.0, 0.5, 1.0], vec![1.0, 0.5, 1.0]);
        assert!(valley.barrier.abs() < 1e-12, "{valley:?}");
        let lost = with_barrier(vec![0.0, 1.0], vec![f64::NAN; 2]);
        assert!(!lost.barrier.is_finite(), "{lost:?}");
    }
}
