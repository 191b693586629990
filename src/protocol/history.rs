//! The steps of a run as the charts need them, thinned so that a run of any length stays small.

use serde::{Deserialize, Serialize};

/// One step, as the charts need it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The step's number, from 1.
    pub step: u64,
    /// Loss of its batch before the update.
    pub loss: f64,
    /// Held-out loss, where it was measured.
    pub held_out: Option<f64>,
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// Learning rate.
    pub learning_rate: f64,
    /// The loss stands out from those before it.
    pub spike: bool,
}

impl Point {
    /// Whether it stays when a history is thinned.
    fn is_kept(&self) -> bool {
        self.held_out.is_some() || self.spike
    }
}

/// The steps of a run, thinned so that a run of any length stays small.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    points: Vec<Point>,
    /// Every `stride`-th step is kept, and every step with a held-out loss or a spike.
    stride: u64,
}

impl Default for History {
    fn default() -> Self {
        Self { points: Vec::new(), stride: 1 }
    }
}

impl History {
    /// Points kept at most.
    pub const CAPACITY: usize = 8192;

    /// Adds a step in place of all that are not before it, and halves the resolution when the history is full.
    pub fn push(&mut self, point: Point) {
        if self.points.last().is_some_and(|last| last.step >= point.step) {
            self.points.retain(|before| before.step < point.step);
        }
        // The newest point is always there; it makes room for the next unless it is one to keep.
        if let Some(last) = self.points.last()
            && !last.is_kept()
            && !last.step.is_multiple_of(self.stride)
        {
            self.points.pop();
        }
        self.points.push(point);
        while self.points.len() > Self::CAPACITY {
            let Some(coarser) = self.stride.checked_mul(2) else {
                // These are no steps of a run, which differ.
                self.points.drain(..self.points.len() - Self::CAPACITY);
                return;
            };
            self.stride = coarser.max(2);
            let (stride, newest) = (self.stride, point.step);
            let mut kept = 0_usize;
            let many_kept = self.points.iter().filter(|p| p.is_kept()).count() > Self::CAPACITY / 2;
            self.points.retain(|p| {
                if p.step == newest || p.step.is_multiple_of(stride) {
                    return true;
                }
                if !p.is_kept() {
                    return false;
                }
                kept += 1;
                !many_kept || kept.is_multiple_of(2)
            });
        }
    }

    /// Forgets the steps behind this one.
    pub fn rewind(&mut self, step: u64) {
        self.points.retain(|point| point.step <= step);
    }

    /// The steps, oldest first.
    pub fn points(&self) -> &[Point] {
        &self.points
    }
}
