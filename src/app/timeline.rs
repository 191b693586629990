//! How the slices of a run are shown.

use crate::protocol::Timeline;

/// How the slices of a run are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TimelineView {}

impl TimelineView {
    /// Goes to an earlier or later slice.
    pub(super) fn steer(&mut self, _timeline: &Timeline, _right: i32, _up: i32) {}
}
