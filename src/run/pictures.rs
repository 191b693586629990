//! The slices of a run: which plane is looked at, when it is evaluated again, and how far the weights have
//! gone since.

use std::sync::Arc;

use candle_core::bail;

use super::journal::NOTICE;
use super::kept::Kept;
use super::planes::{Directions, Making};
use super::slicer::{Job, LastStep, Level, Report, Slicer};
use crate::landscape::plane::Plane;
use crate::landscape::survey::{Grid, Survey};
use crate::model::params::Params;
use crate::protocol::{BatchInfo, Drift, PlaneKind, Sharpness, Slice};
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
    /// The directions are new, and not random.
    is_new: bool,
}

/// The slices of a run.
#[derive(Debug)]
pub struct Pictures {
    slicer: Slicer,
    range: f64,
    side: usize,
    kind: PlaneKind,
    /// Where the kind is not random: the plane, once there is one. Until then a random one is shown.
    plane: Option<Plane>,
    /// It was said that there is none yet.
    is_awaited: bool,
    generation: u64,
    /// That of the random plane.
    random: u64,
    /// The newest one: each plane has a number that no other plane of the run has.
    newest: u64,
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
    /// No slice yet, of a run whose slices had generations up to `newest` before.
    pub fn new(slicer: Slicer, side: usize, kind: PlaneKind, newest: u64) -> Self {
        Self {
            slicer,
            range: 1.0,
            side,
            kind,
            plane: None,
            is_awaited: false,
            generation: 1,
            random: 1,
            newest: newest.max(1),
            pending: None,
            shown: None,
        }
    }

    /// The kind of plane that is wanted.
    pub fn kind(&self) -> PlaneKind {
        self.kind
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

    /// Has new directions made for the next slice.
    pub fn new_plane(&mut self) {
        self.plane = None;
        if self.kind == PlaneKind::Random {
            self.random = self.next_generation();
        }
    }

    /// Has directions of this kind made for the next slice, or goes back to the random ones.
    pub fn set_plane(&mut self, kind: PlaneKind) {
        (self.kind, self.plane, self.is_awaited) = (kind, None, false);
        log::info!("plane: {}", kind.name());
    }

    fn next_generation(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }

    /// The directions of the next slice.
    fn directions(&mut self, trainer: &Trainer, before: Option<&Params>, kept: &Kept) -> Directions {
        let seeds = |generation| SEEDS.map(|seed| seed + 2 * (generation - 1));
        if let Some(plane) = &self.plane {
            return Directions::Kept(Box::new(plane.clone()));
        }
        if let Some(making) = Making::of(self.kind, before, kept, &trainer.progress()) {
            self.generation = self.next_generation();
            return Directions::New(making, seeds(self.generation));
        }
        if self.kind != PlaneKind::Random && !std::mem::replace(&mut self.is_awaited, true) {
            let kind = self.kind.name();
            log::info!(target: NOTICE, "no {kind} yet to lay the plane through: it is random until there is");
        }
        self.generation = self.random;
        Directions::Random(seeds(self.generation))
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
        kept: &Kept,
        beside_training: bool,
    ) -> candle_core::Result<()> {
        let directions = self.directions(trainer, before.as_ref(), kept);
        let (batch, source) = trainer.objective().slice_batch(TOKENS);
        let caption = Caption {
            batch: BatchInfo { tokens: batch.predicted(), sha256: batch.sha256(), source: source.to_owned() },
            step: trainer.steps_taken(),
            generation: self.generation,
            learning_rate: trainer.last_learning_rate(),
            is_new: matches!(directions, Directions::New(..)),
        };
        let ticket = self.slicer.start(Job {
            llama: trainer.llama().clone(),
            origin: trainer.params().frozen()?,
            directions,
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
                self.pending = None;
                let again = if caption.is_new { ": the plane is random again" } else { "" };
                log::error!("the slice of step {} failed: {error}{again}", caption.step);
                if caption.is_new {
                    self.set_plane(PlaneKind::Random);
                }
                return None;
            }
        };
        if last {
            self.pending = None;
        }
        if caption.is_new && self.plane.is_none() {
            self.plane = Some(survey.plane().clone());
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
    use std::sync::mpsc::{self, Receiver};

    use super::super::planes::tests::trained;
    use super::*;

    #[test]
    fn a_plane_is_zoomed_within_its_bounds_alone() {
        let slicer = Slicer::spawn(1, |_| ()).unwrap();
        let mut pictures = Pictures::new(slicer, SIDES[0], PlaneKind::Random, 0);
        assert!(pictures.zoom(100.0));
        assert!(!pictures.zoom(2.0) && !pictures.zoom(1e-12) && !pictures.zoom(f64::NAN));
        assert!(pictures.zoom(0.5), "it stays where it was");
    }

    /// The slice of the weights as they are.
    fn drawn(pictures: &mut Pictures, levels: &Receiver<Report>, (trainer, kept): &(Trainer, Kept)) -> Slice {
        pictures.begin(trainer, None, kept, false).unwrap();
        pictures.receive(levels.recv().unwrap()).unwrap()
    }

    #[test]
    fn every_plane_has_a_number_of_its_own_and_the_random_one_comes_back() {
        let (told, levels) = mpsc::channel();
        let slicer = Slicer::spawn(1, move |report| drop(told.send(report))).unwrap();
        let mut pictures = Pictures::new(slicer, SIDES[0], PlaneKind::Random, 7);
        let run = trained(3);
        let mut seen = Vec::new();
        for kind in [PlaneKind::Random, PlaneKind::Gradient, PlaneKind::Update, PlaneKind::Random] {
            pictures.set_plane(kind);
            let first = drawn(&mut pictures, &levels, &run);
            let second = drawn(&mut pictures, &levels, &run);
            assert_eq!((first.plane.kind.as_str(), first.generation), (kind.name(), second.generation));
            assert_eq!(first.loss, second.loss, "the directions stay");
            seen.push(first.generation);
        }
        assert_eq!(seen, [1, 8, 9, 1], "up to 7 there were planes before");
        pictures.new_plane();
        let new = drawn(&mut pictures, &levels, &run);
        assert_eq!((new.generation, new.plane.seeds), (10, [29, 129]));
    }

    #[test]
    fn a_plane_that_can_not_be_laid_yet_is_random_until_it_can() {
        let (told, levels) = mpsc::channel();
        let slicer = Slicer::spawn(1, move |report| drop(told.send(report))).unwrap();
        let mut pictures = Pictures::new(slicer, SIDES[0], PlaneKind::Update, 0);
        let first = drawn(&mut pictures, &levels, &trained(0));
        assert_eq!((first.plane.kind.as_str(), first.generation), ("random", 1));
        let later = drawn(&mut pictures, &levels, &trained(1));
        assert_eq!((later.plane.kind.as_str(), later.generation), ("update", 2));
    }
}
