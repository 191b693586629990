//! The slices of a run: which plane is looked at, when it is evaluated again, and how far the weights have
//! gone since.

use std::sync::Arc;

use super::slicer::{Job, Level, Slicer};
use crate::landscape::plane::Plane;
use crate::landscape::survey::{Grid, Survey};
use crate::protocol::{BatchInfo, Drift, Slice};
use crate::train::corpus::Batch;
use crate::train::trainer::Trainer;

/// Rows of the held-out batch that a slice averages over. A point must be cheap: 81 of them make a picture.
const ROWS: usize = 2;
/// The seeds of the first plane; each new plane takes the two that follow.
const SEEDS: [u64; 2] = [11, 111];
/// How far a plane may be zoomed, in units of its directions.
const RANGES: std::ops::RangeInclusive<f64> = 1e-6..=100.0;
/// Points a side that a person may ask for: what doubling from the coarse grid can give.
pub const SIDES: [usize; 4] = [9, 17, 33, 65];

/// A slice that is being evaluated, or is on show.
#[derive(Debug)]
struct Picture {
    survey: Arc<Survey>,
    batch: BatchInfo,
    step: u64,
    generation: u64,
}

/// The slices of a run.
#[derive(Debug)]
pub struct Pictures {
    slicer: Slicer,
    range: f64,
    side: usize,
    generation: u64,
    plane: Option<Plane>,
    /// The job that is being evaluated, under its ticket.
    pending: Option<(u64, Arc<Picture>)>,
    shown: Option<Arc<Picture>>,
}

impl Pictures {
    /// No slice yet.
    pub fn new(slicer: Slicer, side: usize) -> Self {
        Self { slicer, range: 1.0, side, generation: 1, plane: None, pending: None, shown: None }
    }

    /// Whether a slice is being evaluated.
    pub fn busy(&self) -> bool {
        self.pending.is_some()
    }

    /// The step of the newest slice, evaluated or on its way.
    pub fn step(&self) -> Option<u64> {
        self.pending.as_ref().map(|(_, picture)| picture).or(self.shown.as_ref()).map(|picture| picture.step)
    }

    /// Draws new directions for the next slice.
    pub fn new_plane(&mut self) {
        self.generation += 1;
        self.plane = None;
    }

    /// Looks at more of the plane, or at less.
    pub fn zoom(&mut self, factor: f64) {
        let range = self.range * factor;
        if range.is_finite() && RANGES.contains(&range) {
            self.range = range;
        }
    }

    /// Chooses the points a side of the finest level: the smallest of [`SIDES`] that is enough.
    pub fn resize(&mut self, side: usize) {
        self.side = SIDES.into_iter().find(|&enough| enough >= side).unwrap_or(65);
    }

    /// Begins a slice around the weights as they are now, and drops the one in hand. Beside training it is
    /// coarse and leaves most of the machine alone.
    pub fn begin(&mut self, trainer: &Trainer, beside_training: bool) -> candle_core::Result<()> {
        let origin = trainer.params().frozen()?;
        let offset = 2 * (self.generation - 1);
        let plane = match &self.plane {
            Some(plane) => plane.renormalised(&origin)?,
            None => Plane::random(&origin, SEEDS.map(|seed| seed + offset))?,
        };
        self.plane = Some(plane.clone());
        let (batch, source) = trainer.objective().slice_batch(ROWS);
        let info = describe(&batch, source);
        let survey = Survey::new(trainer.llama().clone(), origin, plane, &batch, trainer.device())?;
        let survey = Arc::new(survey);
        let finest = if beside_training { SIDES[0] } else { self.side };
        let job = Job { survey: Arc::clone(&survey), range: self.range, finest, beside_training };
        let ticket = self.slicer.start(job);
        let (step, generation) = (trainer.steps_taken(), self.generation);
        self.pending = Some((ticket, Arc::new(Picture { survey, batch: info, step, generation })));
        Ok(())
    }

    /// Drops the slice in hand.
    pub fn cancel(&mut self) {
        self.slicer.cancel();
        self.pending = None;
    }

    /// Takes in a level; returns it as screens see it, unless its job was dropped meanwhile.
    pub fn receive(&mut self, level: Level) -> Option<Slice> {
        let (ticket, picture) = self.pending.as_ref()?;
        if *ticket != level.ticket {
            return None;
        }
        let picture = Arc::clone(picture);
        if level.last {
            self.pending = None;
        }
        let grid = match level.grid {
            Ok(grid) => grid,
            Err(error) => {
                log::error!("the slice of step {} failed: {error}", picture.step);
                return None;
            }
        };
        if grid.side() > Grid::COARSE && level.last {
            let (step, side, seconds) = (picture.step, grid.side(), level.seconds);
            log::info!("slice of step {step}: {side} x {side} points in {seconds:.1} s");
        }
        let coordinates = grid.coordinates();
        let slice = Slice {
            step: picture.step,
            generation: picture.generation,
            center: f64::from(grid.loss()[grid.loss().len() / 2]),
            loss: grid.loss().to_vec(),
            alphas: coordinates.clone(),
            betas: coordinates,
            finest: level.last,
            plane: picture.survey.plane().info().clone(),
            batch: picture.batch.clone(),
            seconds: level.seconds,
        };
        self.shown = Some(picture);
        Some(slice)
    }

    /// How far the weights have gone since the slice on show, whose last step moved them by `update_norm`.
    pub fn drift(&self, trainer: &Trainer, update_norm: Option<f64>) -> candle_core::Result<Option<Drift>> {
        let Some(picture) = &self.shown else { return Ok(None) };
        let plane = picture.survey.plane();
        let position = plane.position(picture.survey.origin(), &trainer.params())?;
        let step_length = update_norm.map(|norm| norm / plane.info().norms[0]);
        Ok(Some(Drift {
            distance: position.distance,
            inside: position.inside,
            captured: position.captured,
            step_length,
        }))
    }
}

fn describe(batch: &Batch, source: &str) -> BatchInfo {
    BatchInfo { tokens: batch.predicted(), sha256: batch.sha256(), source: source.to_owned() }
}
