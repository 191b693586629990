//! A plane of the wormhole, drawn coarse to fine.

use std::time::Instant;

use candle_core::Result;

use crate::landscape::survey::{Control, Grid, Survey};
use crate::protocol::Slice;

/// The loss on a plane, as far as it is evaluated.
#[derive(Debug)]
pub(super) struct Picture {
    survey: Survey,
    /// The level in hand, in coordinates whose (0, 0) are the weights.
    grid: Grid,
    /// The same points, unevaluated, where a screen shows them.
    shown: Grid,
    /// Points a side of the last level.
    finest: usize,
    /// What a slice says besides the losses.
    caption: Slice,
}

impl Picture {
    /// A picture over `-range..=range` in both directions, with the weights of the survey at `place`.
    pub(super) fn new(survey: Survey, place: [f64; 2], range: f64, finest: usize, caption: Slice) -> Self {
        let shown = Grid::coarse(range);
        let from = |at: f64, shown: &[f64]| shown.iter().map(|x| x - at).collect();
        let grid = Grid::new(from(place[0], shown.alphas()), from(place[1], shown.betas()));
        Self { survey, grid, shown, finest, caption }
    }

    /// Points a side of the level in hand.
    pub(super) fn side(&self) -> usize {
        self.shown.alphas().len()
    }

    /// Evaluates what is missing of the level in hand and goes on to the next; the last has none. `None` comes back
    /// where `go_on` said no meanwhile: the points that are known by then are kept.
    pub(super) fn draw(&mut self, go_on: &(dyn Fn() -> bool + Sync)) -> Result<Option<Slice>> {
        let begun = Instant::now();
        let control = Control { go_on, ..Control::QUIET };
        let complete = self.grid.fill(&self.survey, self.survey.points_at_once(), &control)?;
        self.caption.seconds += begun.elapsed().as_secs_f64();
        if !complete {
            return Ok(None);
        }
        let slice = Slice {
            alphas: self.shown.alphas().to_vec(),
            betas: self.shown.betas().to_vec(),
            loss: self.grid.loss().into_iter().map(|loss| loss as f32).collect(),
            finest: self.side() >= self.finest,
            ..self.caption.clone()
        };
        (self.grid, self.shown) = (self.grid.finer(), self.shown.finer());
        Ok(Some(slice))
    }
}
