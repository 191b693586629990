//! The planes on which the loss is shown.

use serde::{Deserialize, Serialize};

/// The kinds of plane that a run can be looked at on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlaneKind {
    /// Two random directions, scaled to the weights.
    #[default]
    Random,
    /// The gradient, and a random direction.
    Gradient,
    /// The last step, and a random direction.
    Update,
    /// The two directions in which the last states differ most.
    Trajectory,
    /// The directions in which the loss curves most, up and down.
    Hessian,
}

impl PlaneKind {
    /// All of them, in the order in which a key goes through them.
    pub const ALL: [Self; 5] = [Self::Random, Self::Gradient, Self::Update, Self::Trajectory, Self::Hessian];

    /// The name a person types.
    pub fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Gradient => "gradient",
            Self::Update => "update",
            Self::Trajectory => "trajectory",
            Self::Hessian => "hessian",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The next one, in a circle.
    #[must_use]
    pub fn next(self) -> Self {
        let place = Self::ALL.iter().position(|kind| *kind == self).unwrap_or(0);
        Self::ALL[(place + 1) % Self::ALL.len()]
    }
}

/// What the directions of a slice are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlaneInfo {
    /// `random`, `gradient`, `update`, `trajectory`, `hessian`, `to:..`, `parameters` or `loaded`.
    pub kind: String,
    /// How random numbers were scaled to the weights: `filter`, `layer` or `none`.
    pub normalization: String,
    /// The seeds of what is random in the directions.
    pub seeds: [u64; 2],
    /// Tensors that the directions touch.
    pub tensors: usize,
    /// Numbers in those tensors.
    pub parameters: u64,
    /// Cosine of the angle between the directions.
    pub cosine: f64,
    /// Norms of the directions.
    pub norms: [f64; 2],
    /// Of a trajectory: how much of it the plane holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explained: Option<Explained>,
    /// Of a Hessian: its eigenvalues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<Spectrum>,
}

/// How much of a trajectory a plane holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    /// Shares of the variance of the states along the two directions.
    pub shares: [f64; 2],
    /// The same for a random walk of as many states in very many dimensions.
    pub random_walk: [f64; 2],
}

/// What is known of the eigenvalues of a Hessian.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spectrum {
    /// The greatest eigenvalue: the curvature along the first direction.
    pub greatest: f64,
    /// The least: the curvature along the second direction.
    pub least: f64,
    /// Ritz values that were found.
    pub probed: usize,
    /// How many of them are negative.
    pub negative: usize,
}
