//! The wormhole: weights that start on a plateau are trained, all of them, and the loss is drawn on the plane through
//! the moving point. The point hardly moves within the plane, and the plane opens a pit under it.

use candle_core::{Device, Error, Result};

use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Plane, Position};
use crate::landscape::survey::{Control, Grid, Method, Survey};
use crate::model::backprop;
use crate::model::config::LlamaConfig;
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::protocol::OptimizerKind;
use crate::protocol::wormhole::Moment;
use crate::train::corpus::Batch;
use crate::train::optimizer::Optimizer;
use crate::train::trainer::{self, Recipe, TrainError, Trainer};

/// Where the weights start, and how they are trained.
#[derive(Debug, Clone, Copy)]
pub struct Descent {
    /// Where the start lies on the plane through the model, in units of the directions.
    pub offset: [f64; 2],
    /// The optimizer, without weight decay.
    pub optimizer: OptimizerKind,
    /// The learning rate of every step.
    pub learning_rate: f64,
    /// Threads that compute the steps, where that is the CPU.
    pub threads: usize,
}

impl Descent {
    /// Bytes that an experiment takes on the CPU beside the model: weights, gradients and moments, the activations of
    /// the batch, the two directions, and the tensors of the start that are not the model's own.
    pub fn bytes(&self, config: &LlamaConfig, model: &Params, plane: &Plane, batch: &Batch) -> usize {
        let (all, turned) = (model.elements(), plane.info().parameters as usize);
        size_of::<f32>() * (2 * all + 3 * turned)
            + Optimizer::bytes(self.optimizer, all)
            + backprop::bytes(config, batch.rows().len(), batch.seq())
    }
}

/// The share of a movement of all N parameters that lies inside a plane which has nothing to do with it: `sqrt(2 / N)`.
pub fn chance(weights: &Params) -> f64 {
    (2.0 / weights.elements() as f64).sqrt()
}

/// Through which weights a plane is laid. The directions are the same, and so are the coordinates: the weights are at
/// the offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View {
    /// Through the start: this plane never changes.
    Frozen,
    /// Through the weights as they are now.
    Travelling,
}

/// What a surface is drawn on, and which loss.
#[derive(Debug, Clone)]
pub struct Canvas {
    /// Coordinates along the first direction.
    pub alphas: Vec<f64>,
    /// Coordinates along the second direction.
    pub betas: Vec<f64>,
    /// The loss that is drawn; the mean is trained in any case.
    pub objective: Objective,
    /// How the points are evaluated; without one the rule chooses.
    pub method: Option<Method>,
    /// Points that a worker takes on at once, at most.
    pub most: usize,
}

/// Weights that move away from a start, and two directions through them.
#[derive(Debug)]
pub struct Wormhole {
    trainer: Trainer,
    start: Params,
    plane: Plane,
    offset: [f64; 2],
    batch: Batch,
}

impl Wormhole {
    /// Puts the weights at `model + offset[0] d1 + offset[1] d2`. Nothing may write to the tensors of `model` from now
    /// on; those that the plane does not touch are shared with it.
    pub fn begin(
        llama: Llama,
        model: &Params,
        plane: Plane,
        batch: Batch,
        descent: Descent,
        device: &Device,
    ) -> Result<Self> {
        let Descent { offset, optimizer, learning_rate, threads } = descent;
        let start = plane.displace(model, offset[0], offset[1])?;
        let recipe = Recipe::plain(optimizer, learning_rate);
        let objective = trainer::Objective::Text(batch.clone());
        let trainer = Trainer::new(llama, start.clone(), |_| true, objective, recipe, device, threads)?;
        Ok(Self { trainer, start, plane, offset, batch })
    }

    /// The two directions.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// The weights that a plane is laid through. Those that travel change at the next step: see [`Params::frozen`].
    pub fn weights(&self, view: View) -> Params {
        match view {
            View::Frozen => self.start.clone(),
            View::Travelling => self.trainer.params(),
        }
    }

    /// See [`chance`].
    pub fn chance(&self) -> f64 {
        chance(&self.start)
    }

    /// Where the weights are now.
    pub fn moment(&self) -> Result<Moment> {
        let survey = self.survey(View::Travelling, Objective::Mean, None)?;
        let losses = survey.losses(&[[0.0; 2]], &|| true)?.and_then(|losses| losses.first().copied());
        let losses = losses.ok_or_else(|| Error::msg("no loss was computed"))?;
        let Position { distance, inside, captured } =
            self.plane.position(&self.start, &self.weights(View::Travelling))?;
        Ok(Moment {
            step: self.trainer.steps_taken(),
            loss: losses.loss,
            loss_target: losses.last,
            distance,
            inside,
            captured,
        })
    }

    /// Takes one step down the mean loss. On an error of the step itself the weights are those before it.
    pub fn step(&mut self) -> std::result::Result<Moment, TrainError> {
        let step = self.trainer.step()?.step;
        self.moment().map_err(|source| TrainError::Candle { step, source })
    }

    /// The plane through some weights, whose (0, 0) is the weights. It shares their tensors: where it is to outlast a
    /// step, it can't be of those that travel.
    pub fn survey(&self, view: View, objective: Objective, method: Option<Method>) -> Result<Survey> {
        let (llama, plane) = (self.trainer.llama().clone(), self.plane.clone());
        let device = self.trainer.device();
        Survey::new(llama, self.weights(view), plane, &self.batch, objective, method, device)
    }

    /// The losses `L(weights + (alpha - a0) d1 + (beta - b0) d2)`, rows along beta, so that the weights are at the
    /// offset (a0, b0); `None` once `control` no longer wants them.
    pub fn surface(&self, view: View, canvas: &Canvas, control: &Control) -> Result<Option<Vec<Vec<f64>>>> {
        let Canvas { alphas, betas, objective, method, most } = canvas;
        let survey = self.survey(view, *objective, *method)?;
        let from = |start: f64, places: &[f64]| places.iter().map(|place| place - start).collect();
        let mut grid = Grid::new(from(self.offset[0], alphas), from(self.offset[1], betas));
        let complete = grid.fill(&survey, *most, control)?;
        Ok(complete.then(|| grid.loss().chunks(alphas.len().max(1)).map(<[_]>::to_vec).collect()))
    }
}
