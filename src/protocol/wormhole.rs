//! The wormhole experiment as plain data: where the weights are after each step of the training, and the loss on the
//! plane that travels with them.
//!
//! A run carries one beside its training: a screen sends [`Ask`]s, the engine publishes the [`Scene`], the plane that
//! stays and the film of the plane that travels. A command of its own writes a [`Record`]; as JSON, a number that is
//! not finite is null.

use serde::{Deserialize, Serialize};

use super::{AtStep, PlaneInfo, Prediction, Slice, Thinned};

/// What a person can ask of the experiment beside a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ask {
    /// Pause the run, lay a plane through its weights as they are now and show it. It takes the place of the experiment
    /// before it.
    Lay(Setting),
    /// Put the weights at this place of the plane, in units of the directions: the start. The steps begin anew.
    Jump([f64; 2]),
    /// Train until told otherwise, for [`RUN`] steps at most.
    Run,
    /// Stop after the step in hand.
    Pause,
    /// Take this many steps, then pause.
    Step(u64),
    /// Go back to before the last step.
    Back,
    /// Forget the experiment, and give its memory back.
    End,
}

/// Steps of an experiment that is told to run: by then there is no more to see.
pub const RUN: u64 = 512;

/// What an experiment is made with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// Turn what the film "How Models Learn" turned: the first half of the layers, norm gains too. Else all layers
    /// without the gains.
    pub film: bool,
    /// Seeds of the two directions, whose parts are scaled to the norm of each tensor.
    pub seeds: [u64; 2],
    /// The learning rate of every step; without one, 1e-3 for a model of less than 20 million parameters and 1e-5 for a
    /// larger one.
    pub learning_rate: Option<f64>,
    /// How far the plane is looked at, in units of the directions.
    pub range: f64,
    /// Points a side of the finest picture.
    pub finest: usize,
    /// Steps from one picture of the plane that travels to the next, while it runs; a picture at every step otherwise.
    pub every: u64,
}

impl Default for Setting {
    fn default() -> Self {
        Self { film: true, seeds: [11, 111], learning_rate: None, range: 1.0, finest: 33, every: 1 }
    }
}

/// Where the film starts: on the plateau, in units of the directions.
pub const PLATEAU: [f64; 2] = [-0.9, 0.05];

/// What an experiment beside a run is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// Drawing the directions and the plane through the run's weights.
    Laying,
    /// Waiting for a place to start from.
    Choosing,
    /// Training.
    Running,
    /// Waiting for a step.
    Paused,
    /// Somebody ended it; its memory is given back, its pictures stay.
    Ended,
    /// It could not be: one line of what and what to do.
    Failed(String),
}

/// All that is told of an experiment beside a run, but for its pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scene {
    /// What it is doing.
    pub phase: Phase,
    /// What it was asked to be.
    pub setting: Setting,
    /// The learning rate of every step.
    pub learning_rate: f64,
    /// The step of the run whose weights lie at (0, 0) of the plane.
    pub of_step: u64,
    /// The text whose mean loss is trained and drawn.
    pub text: String,
    /// The two directions, once they are drawn.
    pub plane: Option<PlaneInfo>,
    /// Where the weights started, in units of the directions, once they did.
    pub offset: Option<[f64; 2]>,
    /// The captured share of a movement that has nothing to do with the plane: `sqrt(2 / N)` for N parameters.
    pub chance: f64,
    /// The start and what followed.
    pub moments: Moments,
    /// What the moving weights say of the text; the previous probabilities are those of the start.
    pub prediction: Option<Prediction>,
    /// A picture is being evaluated.
    pub drawing: bool,
}

/// The start of an experiment and what followed, a step each.
pub type Moments = Thinned<Moment, 256>;

/// The plane through the moving weights, at some of the steps.
pub type Film = Thinned<Slice, 64>;

impl AtStep for Moment {
    fn step(&self) -> u64 {
        self.step
    }
}

/// All that is known of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// The two directions.
    pub plane: PlaneInfo,
    /// Where the start lies on the plane through the model, in units of the directions.
    pub offset: [f64; 2],
    /// The loss that is drawn, `mean` or `last`; the mean is trained in any case.
    pub objective: &'static str,
    /// The start and what followed, a step each.
    pub steps: Vec<Moment>,
    /// The captured share of a movement that has nothing to do with the plane: `sqrt(2 / N)` for N parameters.
    pub chance: f64,
    /// The surfaces, where they were asked for.
    #[serde(flatten)]
    pub pictures: Option<Pictures>,
}

/// The weights after some steps of the training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Steps taken; 0 is the start.
    pub step: u64,
    /// The mean loss of the text's tokens, which is trained.
    pub loss: f64,
    /// The loss of the last token.
    pub loss_target: f64,
    /// Norm of the movement since the start, over all parameters.
    pub distance: f64,
    /// How far the weights have moved inside the plane, in units of the directions.
    pub inside: [f64; 2],
    /// The length of that movement inside the plane over `distance`; `None` at the start.
    pub captured: Option<f64>,
}

/// The plane that travels with the weights, at some of the steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pictures {
    /// Coordinates along the first direction. The weights are always at the offset.
    pub alphas: Vec<f64>,
    /// Coordinates along the second direction.
    pub betas: Vec<f64>,
    /// The losses on that grid.
    pub surfaces: Vec<Surface>,
}

/// The loss on the plane through the weights of one step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Surface {
    /// Steps taken by then.
    pub step: u64,
    /// `loss[i][j]` is the loss at `alphas[j]`, `betas[i]`.
    pub loss: Vec<Vec<f64>>,
}
