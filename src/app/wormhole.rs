//! The wormhole on a screen: which picture of it is shown, and what keys ask of it.

use super::{Action, App, Effect};

/// How the wormhole is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WormholeView {}

impl App {
    /// What an action does in this view; `None` where it means nothing of its own here.
    pub(super) fn act_in_wormhole(&mut self, _action: Action) -> Option<Vec<Effect>> {
        None
    }

    /// Arrows and hjkl in this view.
    pub(super) fn steer_wormhole(&mut self, _right: i32, _up: i32) -> Vec<Effect> {
        Vec::new()
    }
}
