//! How the norms of the parameters are shown.

use super::EngineState;

/// How the norms of the parameters are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayersView {}

impl LayersView {
    /// Moves the cursor over the strips.
    pub(super) fn steer(&mut self, _engine: &EngineState, _right: i32, _up: i32) {}
}
