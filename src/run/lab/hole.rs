//! The wormhole beside a run: the plane through its weights, a start on a plateau, and the plane that travels.

use crate::protocol::wormhole::{Ask, Setting};
use crate::run::board::Board;

use super::Ground;

/// An experiment, as far as it has come.
#[derive(Debug)]
pub(super) struct Hole {}

impl Hole {
    /// Draws the directions and publishes what is known; `None` where it can't be, which is published too.
    pub(super) fn lay(_setting: Setting, _ground: Ground, _board: &Board) -> Option<Self> {
        None
    }

    /// Whether there is more to do without being asked: steps to take, a picture to draw.
    pub(super) fn is_busy(&self) -> bool {
        false
    }

    /// Notes what is asked for. What takes long is done by [`Self::work`].
    pub(super) fn obey(&mut self, _ask: Ask, _board: &Board) {}

    /// Publishes that it has ended.
    pub(super) fn end(self, _board: &Board) {}

    /// Takes a step or draws a level of a picture, and publishes it. A picture is left once `go_on` says no, and drawn
    /// anew when it is wanted again.
    pub(super) fn work(&mut self, _board: &Board, _go_on: &(dyn Fn() -> bool + Sync)) {}
}
