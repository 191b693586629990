//! The slices of a run: which plane is looked at, when it is evaluated again, and how far the weights have
//! gone since.

use std::sync::Arc;

use candle_core::bail;

use super::slicer::{Job, LastStep, Level, Report, Slicer};
use crate::landscape::survey::{Grid, Survey};
use crate::model::params::Params;
use crate::protocol::{BatchInfo, Drift, Sharpness, Slice};
use crate::settings::SliceEvery;
use crate::train::trainer::Trainer;

/// Tokens of the held-out batch that a slice averages over. A point must be cheap: 81 of them make a picture.
const TOKENS: usize = 128;
/// Rows of a step's batch on which its sharpness is measured.
const SHARPNESS_ROWS: usize = 4;
/// The seeds of the first plane; each new plane takes the two that follow.
pub(super) const SEEDS: [u64; 2] = [11, 111];
/// How far a plane may be zoomed, in units of its directions.
pub(super) const RANGES: std::ops::RangeInclusive<f64> = 1e-6..=100.0;
/// Points a side that a person may ask for: what doubling from the coarse grid can give.
pub const SIDES: [usize; 4] = [9, 17, 33, 65];

/// Whether a slice can have this place: none reaches further than a plane may be zoomed.
pub(super) fn is_place(place: [f64; 2]) -> bool {
    place.iter().all(|x| x.abs() <= *RANGES.end())
}

/// What a slice shows, besides its losses.
#[derive(Debug, Clone)]
struct Caption {
    batch: BatchInfo,
    step: u64,
    generation: u64,
    /// Of the last step.
    learning_rate: f64,
}

/// The slices of a run.
#[derive(Debug)]
pub struct Pictures {
    slicer: Slicer,
    range: f64,
    side: usize,
    generation: u64,
    /// The job that is being evaluated, under its ticket.
    pending: Option<(u64, Caption)>,
    shown: Option<Shown>,
}

/// The slice on show.
#[derive(Debug)]
struct Shown {
    /// The ticket of its job: another one has other weights or another plane.
    ticket: u64,
    step: u64,
    generation: u64,
    survey: Arc<Survey>,
}

impl Pictures {
    /// No slice yet.
    pub fn new(slicer: Slicer, side: usize) -> Self {
        Self { slicer, range: 1.0, side, generation: 1, pending: None, shown: None }
    }

    /// Whether a slice is being evaluated.
    pub fn busy(&self) -> bool {
        self.pending.is_some()
    }

    /// Whether a slice is to be begun after this step of a running training. A coarse picture is finished before the
    /// next one begins.
    pub fn due(&self, every: SliceEvery, step: u64) -> bool {
        !self.busy()
            && match every {
                SliceEvery::Off => false,
                SliceEvery::Auto => true,
                SliceEvery::Steps(every) => self.step().is_none_or(|last| step >= last.saturating_add(every)),
            }
    }

    /// Whether a slice of this step is on show.
    pub fn shows(&self, step: u64) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.step == step)
    }

    /// A number of the slice on show, which another slice does not have.
    pub fn number(&self) -> Option<u64> {
        self.shown.as_ref().map(|shown| shown.ticket)
    }

    /// The step of the slice on show and the weights at a place of it, in units of alpha and beta.
    pub fn weights_at(&self, [alpha, beta]: [f64; 2]) -> candle_core::Result<(u64, Params)> {
        let Some(Shown { step, survey, .. }) = &self.shown else { bail!("there is no slice yet") };
        Ok((*step, survey.plane().displace(survey.origin(), alpha, beta)?))
    }

    /// The weights at a place of the slice on show, and the mean losses of its batch with the trainer's weights and
    /// with those. Fails where nobody could go on from there.
    pub fn sound(
        &self,
        place: [f64; 2],
        slice: (u64, u64),
        trainer: &mut Trainer,
    ) -> candle_core::Result<(Params, [f64; 2])> {
        if !is_place(place) {
            bail!("no slice has such a place");
        }
        let shown = self.shown.as_ref().map(|shown| (shown.step, shown.generation));
        if shown != Some(slice) || slice.0 != trainer.steps_taken() {
            bail!("another slice is on show by now: pause, and choose again");
        }
        let (_, weights) = self.weights_at(place)?;
        let (batch, _) = trainer.objective().slice_batch(TOKENS);
        let now = trainer.params();
        let losses = [trainer.loss(&now, &batch)?, trainer.loss(&weights, &batch)?];
        if !losses[1].is_finite() {
            bail!("the loss there is not finite");
        }
        Ok((weights, losses))
    }

    /// The step of the newest slice, evaluated or on its way.
    fn step(&self) -> Option<u64> {
        let pending = self.pending.as_ref().map(|(_, caption)| caption.step);
        pending.or(self.shown.as_ref().map(|shown| shown.step))
    }

    /// Draws new directions for the next slice.
    pub fn new_plane(&mut self) {
        self.generation += 1;
    }

    /// Looks at more of the plane, or at less. Returns whether it can.
    pub fn zoom(&mut self, factor: f64) -> bool {
        let range = self.range * factor;
        let can = RANGES.contains(&range);
        if can {
            self.range = range;
        } else {
            log::warn!("the plane is shown as far as it goes");
        }
        can
    }

    /// Chooses the points a side of the finest level: the smallest of [`SIDES`] that is enough.
    pub fn resize(&mut self, side: usize) {
        self.side = SIDES.into_iter().find(|&enough| enough >= side).unwrap_or(65);
    }

    /// Begins a slice around the weights as they are now, and drops the one in hand. Beside training it is
    /// coarse and leaves most of the machine alone. With the weights `before` the last step, that step's
    /// sharpness is measured too. All that is done here is to copy the weights.
    pub fn begin(
        &mut self,
        trainer: &Trainer,
        before: Option<Params>,
        beside_training: bool,
    ) -> candle_core::Result<()> {
        let offset = 2 * (self.generation - 1);
        let (batch, source) = trainer.objective().slice_batch(TOKENS);
        let caption = Caption {
            batch: BatchInfo { tokens: batch.predicted(), sha256: batch.sha256(), source: source.to_owned() },
            step: trainer.steps_taken(),
            generation: self.generation,
            learning_rate: trainer.last_learning_rate(),
        };
        let ticket = self.slicer.start(Job {
            llama: trainer.llama().clone(),
            origin: trainer.params().frozen()?,
            seeds: SEEDS.map(|seed| seed + offset),
            batch,
            device: trainer.device().clone(),
            range: self.range,
            finest: if beside_training { SIDES[0] } else { self.side },
            beside_training,
            step: before.map(|before| LastStep { before, batch: trainer.last_batch().head(SHARPNESS_ROWS) }),
        });
        self.pending = Some((ticket, caption));
        Ok(())
    }

    /// Drops the slice in hand.
    pub fn cancel(&mut self) {
        self.slicer.cancel();
        self.pending = None;
    }

    /// Takes in a level; returns it as screens see it, unless its job was dropped meanwhile.
    pub fn receive(&mut self, report: Report) -> Option<Slice> {
        let (_, caption) = self.pending.clone().filter(|(ticket, _)| *ticket == report.ticket)?;
        let Level { survey, grid, seconds, critical_multiple, last } = match report.level {
            Ok(level) => level,
            Err(error) => {
                log::error!("the slice of step {} failed: {error}", caption.step);
                self.pending = None;
                return None;
            }
        };
        if last {
            self.pending = None;
        }
        let side = grid.alphas().len();
        if last && side > Grid::COARSE {
            let (step, method) = (caption.step, survey.method().name());
            log::info!("slice of step {step}: {side} x {side} points in {seconds:.1} s, method {method}");
        }
        let loss = grid.loss();
        let slice = Slice {
            step: caption.step,
            generation: caption.generation,
            center: loss[loss.len() / 2],
            loss: loss.into_iter().map(|loss| loss as f32).collect(),
            alphas: grid.alphas().to_vec(),
            betas: grid.betas().to_vec(),
            finest: last,
            plane: survey.plane().info().clone(),
            batch: caption.batch,
            seconds,
            method: survey.method().name().to_owned(),
            sharpness: critical_multiple.map(|multiple| Sharpness {
                critical: 2.0 / (multiple * caption.learning_rate),
                edge: 2.0 / caption.learning_rate,
            }),
        };
        let Caption { step, generation, .. } = caption;
        self.shown = Some(Shown { ticket: report.ticket, step, generation, survey });
        Some(slice)
    }

    /// How far the weights have gone since the slice on show, whose last step moved them by `update_norm`.
    pub fn drift(&self, trainer: &Trainer, update_norm: Option<f64>) -> candle_core::Result<Option<Drift>> {
        let Some(Shown { survey, .. }) = &self.shown else { return Ok(None) };
        let plane = survey.plane();
        let position = plane.position(survey.origin(), &trainer.params())?;
        let step_length = update_norm.map(|norm| norm / plane.info().norms[0]);
        Ok(Some(Drift {
            distance: position.distance,
            inside: position.inside,
            captured: position.captured,
            step_length,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plane_is_zoomed_within_its_bounds_alone() {
        let mut pictures = Pictures::new(Slicer::spawn(1, |_| ()).unwrap(), SIDES[0]);
        assert!(pictures.zoom(100.0));
        assert!(!pictures.zoom(2.0) && !pictures.zoom(1e-12) && !pictures.zoom(f64::NAN));
        assert!(pictures.zoom(0.5), "it stays where it was");
    }
}
