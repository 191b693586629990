//! The wormhole experiment as plain data: where the weights are after each step of the training, and the loss on the
//! plane that travels with them. As JSON, a number that is not finite is null.

use serde::Serialize;

use super::PlaneInfo;

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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
