//! Two parameters tuned one after another, and beside it as many optimizer steps of all parameters.

use candle_core::{Error, Result};

use super::fill;
use crate::landscape::evaluator::Losses;
use crate::landscape::probe::{Entry, POINTS, number};
use crate::landscape::survey::{Grid, Survey, evenly};
use crate::model::backprop;
use crate::predict::Reading;
use crate::protocol::OptimizerKind;
use crate::protocol::probe::{Visit, Walk};
use crate::run::lab::Ground;
use crate::train::optimizer::Optimizer;
use crate::train::trainer::{Objective, Recipe, Trainer};

/// The next scan or step of a [`Walk`], which tells how far it is.
#[derive(Debug)]
pub(super) struct Walking {
    /// How far a scan goes to either side of a parameter's value.
    range: f64,
    /// The scan in hand.
    scan: Option<Grid>,
    /// Once the steps have begun: it takes several times the memory of the weights.
    trainer: Option<Box<Trainer>>,
}

impl Walking {
    /// At the start.
    pub(super) fn new(range: f64) -> Self {
        Self { range, scan: None, trainer: None }
    }

    /// Scans a parameter of the pair or takes a step. Returns whether a visit came of it: a scan is left once `go_on`
    /// says no, and what is known of it is kept.
    pub(super) fn advance(
        &mut self,
        walk: &mut Walk,
        ground: &Ground,
        survey: &Survey,
        pair: [&Entry; 2],
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<bool> {
        if !go_on() {
            return Ok(false);
        }
        if walk.visits.len() > 2 * walk.rounds {
            walk.descent.push(self.step(ground, pair)?);
            return Ok(true);
        }
        let visit = self.scan(&walk.visits, survey, go_on)?;
        walk.visits.extend(visit);
        Ok(visit.is_some())
    }

    /// The best that the parameter whose turn it is can do while the other stays; `None` where it was left.
    fn scan(
        &mut self,
        visits: &[Visit],
        survey: &Survey,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Visit>> {
        let Some((here, before)) = visits.split_last() else { return Ok(None) };
        let grid = self.scan.get_or_insert_with(|| {
            let mut sides = here.moves.map(|moved| vec![moved]);
            sides[before.len() % 2] = evenly(-self.range, self.range, POINTS);
            let [first, second] = sides;
            Grid::new(first, second)
        });
        if !fill(grid, survey, go_on)? {
            return Ok(None);
        }
        let best = best(grid, *here);
        self.scan = None;
        Ok(Some(best))
    }

    /// Takes a step of all parameters from where the last one led.
    fn step(&mut self, ground: &Ground, pair: [&Entry; 2]) -> Result<Visit> {
        let trainer = match self.trainer.take() {
            Some(trainer) => trainer,
            None => Box::new(trainer(ground)?),
        };
        let trainer = self.trainer.insert(trainer);
        trainer.step().map_err(Error::wrap)?;
        let weights = trainer.params();
        let reading = Reading::of(&ground.llama, &weights, ground.prompt.ids(), &ground.device)?;
        let mut moves = [0.0; 2];
        for (moved, entry) in moves.iter_mut().zip(pair) {
            let Some(tensor) = weights.get(&entry.name) else { continue };
            *moved = number(tensor, entry.flat)? - entry.value;
        }
        let p_target = reading.target[ground.prompt.target() as usize];
        Ok(Visit { moves, loss: reading.loss(), p_target })
    }
}

/// The point of the least loss, of equals the nearest; where the walk is if no loss is finite.
fn best(grid: &Grid, here: Visit) -> Visit {
    let columns = grid.alphas().len();
    let visit = |(index, losses): (usize, &Option<Losses>)| {
        let losses = losses.filter(|losses| losses.loss.is_finite())?;
        let moves = [grid.alphas()[index % columns], grid.betas()[index / columns]];
        Some(Visit { moves, loss: losses.loss, p_target: (-losses.last).exp() })
    };
    let away =
        |visit: &Visit| -> f64 { visit.moves.iter().zip(here.moves).map(|(a, b)| (a - b).abs()).sum() };
    let visits = grid.points().iter().enumerate().filter_map(visit);
    let order = |a: &Visit, b: &Visit| a.loss.total_cmp(&b.loss).then_with(|| away(a).total_cmp(&away(b)));
    visits.min_by(order).unwrap_or(here)
}

/// A trainer of all parameters on the text, at the weights as they are.
fn trainer(ground: &Ground) -> Result<Trainer> {
    let Ground { llama, weights, device, threads, .. } = ground;
    let (batch, optimizer, all) = (ground.batch(), OptimizerKind::Adam, weights.elements());
    // Weights of its own, and gradients.
    let needed = 2 * size_of::<f32>() * all
        + Optimizer::bytes(optimizer, all)
        + backprop::bytes(llama.config(), batch.rows().len(), batch.seq());
    ground.check_memory("steps of all parameters", needed)?;
    let recipe = Recipe::plain(optimizer, ground.learning_rate());
    let objective = Objective::Text(batch);
    Trainer::new(llama.clone(), weights.clone(), |_| true, objective, recipe, device, *threads)
}
