//! What can be charted over steps.

use serde::{Deserialize, Serialize};

/// What a chart shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Curve {
    /// The loss of the training batches, and the held-out loss.
    #[default]
    Loss,
    /// The norm of the gradient before clipping.
    GradientNorm,
    /// The learning rate.
    LearningRate,
    /// The critical sharpness and the edge of stability.
    Sharpness,
}

impl Curve {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Loss, Self::GradientNorm, Self::LearningRate, Self::Sharpness];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::GradientNorm => "gradient norm",
            Self::LearningRate => "learning rate",
            Self::Sharpness => "sharpness",
        }
    }

    /// The one that many places on, in a circle.
    #[must_use]
    pub fn after(self, places: usize) -> Self {
        Self::ALL[(self as usize + places) % Self::ALL.len()]
    }
}
