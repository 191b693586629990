//! The loss on a plane: the evaluation of a slice, coarse to fine.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::plane::Plane;
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::train::corpus::Batch;
use crate::train::trainer::scalar;

/// Everything a point of a slice depends on: frozen weights, a plane through them, one batch.
#[derive(Debug)]
pub struct Survey {
    llama: Llama,
    origin: Params,
    plane: Plane,
    inputs: Tensor,
    targets: Tensor,
}

impl Survey {
    /// A survey around `origin`, which nothing may write to: see [`Params::frozen`].
    pub fn new(llama: Llama, origin: Params, plane: Plane, batch: &Batch, device: &Device) -> Result<Self> {
        let (inputs, targets) = batch.tensors(device)?;
        Ok(Self { llama, origin, plane, inputs, targets })
    }

    /// The weights at (0, 0).
    pub fn origin(&self) -> &Params {
        &self.origin
    }

    /// The plane.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// Mean loss in nats at `origin + alpha d1 + beta d2`. The weights of every point are built from the
    /// origin's, so no rounding adds up from point to point.
    pub fn loss(&self, alpha: f64, beta: f64) -> Result<f64> {
        let params = self.plane.displace(&self.origin, alpha, beta)?;
        scalar(&self.llama.loss(&params, &self.inputs, &self.targets)?)
    }
}

/// A square grid of points that grows finer: each level keeps the points of the one before.
#[derive(Debug, Clone)]
pub struct Grid {
    range: f64,
    side: usize,
    /// Row by row, rows along beta; NaN where nothing was evaluated yet.
    loss: Vec<f32>,
    done: Vec<bool>,
}

impl Grid {
    /// Points a side at the coarsest level.
    pub const COARSE: usize = 9;

    /// An empty coarse grid over `-range..=range` in both directions.
    pub fn new(range: f64) -> Self {
        let points = Self::COARSE * Self::COARSE;
        Self { range, side: Self::COARSE, loss: vec![f32::NAN; points], done: vec![false; points] }
    }

    /// Points a side.
    pub fn side(&self) -> usize {
        self.side
    }

    /// The coordinates along either direction. The middle one is 0 exactly.
    pub fn coordinates(&self) -> Vec<f64> {
        let middle = (self.side / 2) as f64;
        (0..self.side).map(|i| self.range * (i as f64 - middle) / middle).collect()
    }

    /// Losses row by row, rows along beta.
    pub fn loss(&self) -> &[f32] {
        &self.loss
    }

    /// The points still to be evaluated, row by row: index, alpha, beta.
    pub fn missing(&self) -> Vec<(usize, f64, f64)> {
        let at = self.coordinates();
        (0..self.loss.len())
            .filter(|&index| !self.done[index])
            .map(|index| (index, at[index % self.side], at[index / self.side]))
            .collect()
    }

    /// Notes the loss of a point.
    pub fn set(&mut self, index: usize, loss: f64) {
        self.loss[index] = loss as f32;
        self.done[index] = true;
    }

    /// The next level: twice the resolution, the known points kept.
    #[must_use]
    pub fn finer(&self) -> Self {
        let side = 2 * self.side - 1;
        let mut finer = Self {
            range: self.range,
            side,
            loss: vec![f32::NAN; side * side],
            done: vec![false; side * side],
        };
        for index in 0..self.loss.len() {
            let to = 2 * (index / self.side) * side + 2 * (index % self.side);
            finer.loss[to] = self.loss[index];
            finer.done[to] = self.done[index];
        }
        finer
    }

    /// Evaluates all that is missing with the threads of the rayon pool this runs in. `go_on` is asked before
    /// each point: it may wait, and once it says no the rest is left. Returns whether the level is complete.
    pub fn fill(&mut self, survey: &Survey, go_on: &(dyn Fn() -> bool + Sync)) -> Result<bool> {
        let missing = self.missing();
        let losses: Vec<Option<Result<f64>>> = missing
            .par_iter()
            .with_max_len(1)
            .map(|&(_, alpha, beta)| go_on().then(|| survey.loss(alpha, beta)))
            .collect();
        let mut complete = true;
        for ((index, ..), loss) in missing.into_iter().zip(losses) {
            match loss {
                Some(loss) => self.set(index, loss?),
                None => complete = false,
            }
        }
        Ok(complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finer_grid_keeps_what_is_known_at_the_same_coordinates() {
        let mut grid = Grid::new(0.5);
        for (index, alpha, beta) in grid.missing() {
            grid.set(index, alpha + 10.0 * beta);
        }
        let finer = grid.finer();
        assert_eq!((finer.side(), finer.missing().len()), (17, 17 * 17 - 81));
        let at = finer.coordinates();
        assert_eq!((at[0], at[8], at[16]), (-0.5, 0.0, 0.5));
        for (index, loss) in finer.loss().iter().enumerate().filter(|(_, loss)| !loss.is_nan()) {
            let wanted = at[index % 17] + 10.0 * at[index / 17];
            assert!((f64::from(*loss) - wanted).abs() < 1e-6);
        }
    }
}
