//! The planes that a run is looked at on, and how the directions of each kind are made.

use candle_core::{Error, Result, bail};

use super::kept::Kept;
use crate::landscape::directions::{
    LossFunction, bytes, difference_plane, gradient_plane, hessian_plane, trajectory_plane,
};
use crate::landscape::plane::{Normalization, Plane};
use crate::landscape::selection::Selection;
use crate::model::memory::available;
use crate::model::params::Params;
use crate::protocol::PlaneKind;
use crate::train::trainer::Progress;

/// Steps of Lanczos' method at most, and the fewest that tell something: each keeps a vector and takes two gradients.
const LANCZOS_STEPS: std::ops::RangeInclusive<usize> = 8..=20;
/// Vectors that a product with the Hessian takes beside those that are kept.
const BESIDE: usize = 6;
/// States that make a trajectory at most.
const STATES: usize = 16;

/// The directions of a slice.
#[derive(Debug)]
pub enum Directions {
    /// Random ones of these seeds, scaled to the weights.
    Random([u64; 2]),
    /// Those of an earlier slice.
    Kept(Box<Plane>),
    /// New ones; what is random in them has these seeds.
    New(Making, [u64; 2]),
}

/// What directions are made of, beside the weights that are looked at.
#[derive(Debug)]
pub enum Making {
    /// The gradient of the slice's batch.
    Gradient,
    /// The weights before the last step.
    Update(Params),
    /// Earlier weights, oldest first.
    Trajectory(Vec<Params>),
    /// The Hessian of the slice's batch.
    Hessian,
}

impl Making {
    /// What there is to make directions of this kind, with the weights `before` the last step where they are at hand;
    /// `None` where directions are random, or too few states are kept.
    pub fn of(kind: PlaneKind, before: Option<&Params>, kept: &Kept, now: &Progress) -> Option<Self> {
        let states = |most| kept.weights_before(now, most);
        match kind {
            PlaneKind::Random => None,
            PlaneKind::Gradient => Some(Self::Gradient),
            PlaneKind::Hessian => Some(Self::Hessian),
            PlaneKind::Update => before.cloned().or_else(|| states(1).pop()).map(Self::Update),
            PlaneKind::Trajectory => {
                Some(states(STATES)).filter(|states| states.len() > 1).map(Self::Trajectory)
            }
        }
    }
}

impl Directions {
    /// The plane around `origin`, over what slices turn. Fails once it is no longer `wanted`.
    pub fn plane(
        self,
        function: &LossFunction,
        origin: &Params,
        wanted: &(dyn Fn() -> bool + Sync),
    ) -> Result<Plane> {
        let names = Selection::default().names(origin).map_err(Error::wrap)?;
        match self {
            Self::Random(seeds) => Plane::random(origin, &names, seeds, Normalization::Filter),
            Self::Kept(plane) => Ok(*plane),
            Self::New(Making::Gradient, seeds) => gradient_plane(function, origin, &names, seeds),
            Self::New(Making::Update(before), seeds) => {
                let before = on_device(&before, function)?;
                difference_plane(&before, origin, &names, PlaneKind::Update.name(), seeds)
            }
            Self::New(Making::Trajectory(states), seeds) => {
                let states = states.iter().map(|state| on_device(state, function));
                trajectory_plane(&states.collect::<Result<Vec<_>>>()?, origin, &names, seeds)
            }
            Self::New(Making::Hessian, seeds) => {
                let affordable = available() as usize / 2 / bytes(origin, &names).max(1);
                let steps = affordable.saturating_sub(BESIDE).min(*LANCZOS_STEPS.end());
                if function.device.is_cpu() && steps < *LANCZOS_STEPS.start() {
                    bail!("there is too little memory for the directions of the Hessian");
                }
                hessian_plane(function, origin, &names, seeds, steps, &mut |_| wanted())
            }
        }
    }
}

/// Weights where the loss is computed: states are kept in this machine's memory.
fn on_device(weights: &Params, function: &LossFunction) -> Result<Params> {
    weights.iter().map(|(name, weight)| Ok((name.to_owned(), weight.to_device(function.device)?))).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use candle_core::{DType, Device};

    use super::super::kept::State;
    use super::*;
    use crate::landscape::evaluator::Objective;
    use crate::landscape::plane::product;
    use crate::landscape::survey::Survey;
    use crate::model::llama::Llama;
    use crate::protocol::OptimizerKind;
    use crate::train::corpus::Batch;
    use crate::train::preset::{Preset, initial_params};
    use crate::train::trainer::{self, Recipe, Trainer};

    /// A small model after so many steps, and the states before each.
    pub(in super::super) fn trained(steps: usize) -> (Trainer, Kept) {
        let config = Preset::named("nano").unwrap().config(300, 64, None);
        let llama = Llama::new(&config, DType::F32, &Device::Cpu).unwrap();
        let params = initial_params(&config, 3, &Device::Cpu).unwrap();
        let objective = trainer::Objective::Text(Batch::new(vec![vec![5, 7, 11, 13, 17]]));
        let recipe = Recipe::plain(OptimizerKind::Adam, 1e-3);
        let mut trainer = Trainer::new(llama, params, |_| true, objective, recipe, &Device::Cpu, 1).unwrap();
        let mut kept = Kept::within(usize::MAX);
        for _ in 0..steps {
            let state = |snapshot| State { snapshot, report: None, held_out: None, best: None };
            kept.push(&trainer, state).unwrap();
            trainer.step().unwrap();
        }
        (trainer, kept)
    }

    fn plane(kind: PlaneKind, trainer: &Trainer, kept: &Kept) -> Plane {
        let (batch, _) = trainer.objective().slice_batch(5);
        let function = LossFunction {
            llama: trainer.llama(),
            batch: &batch,
            objective: Objective::Mean,
            device: trainer.device(),
        };
        let making = Making::of(kind, None, kept, &trainer.progress()).unwrap();
        let origin = trainer.params().frozen().unwrap();
        Directions::New(making, [11, 111]).plane(&function, &origin, &|| true).unwrap()
    }

    #[test]
    fn the_last_state_is_one_update_back_and_all_of_a_trajectory_lie_within_its_plane() {
        let (trainer, kept) = trained(6);
        let (now, origin) = (trainer.progress(), trainer.params().frozen().unwrap());
        let update = plane(PlaneKind::Update, &trainer, &kept);
        let before = kept.weights_before(&now, 1).pop().unwrap();
        let [alpha, beta] = update.position(&origin, &before).unwrap().inside;
        assert!((alpha + 1.0).abs() < 1e-4 && beta.abs() < 1e-4, "{alpha} {beta}");

        let trajectory = plane(PlaneKind::Trajectory, &trainer, &kept);
        let states = kept.weights_before(&now, STATES);
        assert_eq!(states.len(), 6);
        let mut farthest = 0.0_f64;
        for state in states {
            let inside = trajectory.position(&origin, &state).unwrap().inside;
            assert!(inside.iter().all(|x| x.abs() < 1.0 + 1e-4), "{inside:?}");
            farthest = farthest.max(inside[0].abs());
        }
        assert!(farthest > 0.99, "the plane is as wide as the path");
        let shares = trajectory.info().explained.unwrap().shares;
        assert!(shares[0] > shares[1] && shares[0] + shares[1] > 0.8, "{shares:?}");
    }

    #[test]
    fn the_loss_rises_along_the_gradient_as_steeply_as_it_is_long() {
        let (trainer, kept) = trained(2);
        let gradient = plane(PlaneKind::Gradient, &trainer, &kept);
        let origin = trainer.params().frozen().unwrap();
        let (batch, _) = trainer.objective().slice_batch(5);
        let (llama, device) = (trainer.llama(), trainer.device());
        let function = LossFunction { llama, batch: &batch, objective: Objective::Mean, device };
        let names = Selection::default().names(&origin).unwrap();
        let raw = function.gradient(&origin, &names).unwrap();
        let norm = product(&raw, &raw).unwrap().sqrt();
        let survey =
            Survey::new(llama.clone(), origin, gradient, &batch, Objective::Mean, None, device).unwrap();
        let slope = (survey.loss(1e-2, 0.0).unwrap() - survey.loss(-1e-2, 0.0).unwrap()) / 2e-2;
        assert!((slope / norm - 1.0).abs() < 0.02, "{slope} for {norm}");
    }

    #[test]
    fn the_loss_curves_most_along_the_first_direction_of_the_hessian() {
        let (trainer, kept) = trained(2);
        let spectrum = plane(PlaneKind::Hessian, &trainer, &kept).info().spectrum.unwrap();
        assert!(spectrum.greatest > 0.0 && spectrum.greatest > spectrum.least, "{spectrum:?}");
        assert_eq!(spectrum.probed, *LANCZOS_STEPS.end());
    }

    #[test]
    fn what_no_state_is_kept_for_can_not_be_made() {
        let (trainer, _) = trained(1);
        let made = |kind| Making::of(kind, None, &Kept::within(0), &trainer.progress()).is_some();
        assert_eq!(PlaneKind::ALL.map(made), [false, true, false, false, true]);
        let (trainer, kept) = trained(1);
        let making = Making::of(PlaneKind::Trajectory, None, &kept, &trainer.progress());
        assert!(making.is_none(), "one state is no path");
    }
}
