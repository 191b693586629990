//! Single parameters beside a run: which have the largest gradients, what turning one or two of them does, and how
//! far tuning one after another gets.

use crate::protocol::probe::Ask;
use crate::run::board::Board;

use super::Ground;

/// The parameters of a run's weights, and those that are turned.
#[derive(Debug)]
pub(super) struct Turning {}

impl Turning {
    /// Computes the gradient and publishes the list; `None` where it can't be, which is published too.
    pub fn open(_ground: Ground, _board: &Board) -> Option<Self> {
        None
    }

    /// Whether there is more to do without being asked.
    pub(super) fn is_busy(&self) -> bool {
        false
    }

    /// Notes what is asked for. What takes long is done by [`Self::work`].
    pub(super) fn obey(&mut self, _ask: Ask, _board: &Board) {}

    /// Publishes that it has ended.
    pub(super) fn end(self, _board: &Board) {}

    /// Does the next piece and publishes it. A sweep is left once `go_on` says no, and begun anew when it is wanted
    /// again.
    pub(super) fn work(&mut self, _board: &Board, _go_on: &(dyn Fn() -> bool + Sync)) {}
}
