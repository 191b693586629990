//! The last states of a run in memory, to step back to.

use std::collections::VecDeque;

use crate::train::trainer::{Snapshot, StepReport, Trainer};

/// Bytes of all states together. A state is the weights and their moments: 10 MB of nano, 1.6 GB of a model of
/// 135 million parameters.
const BUDGET: usize = 1 << 30;
/// States at most, however small.
const MOST: usize = 64;

/// A state of the engine.
#[derive(Debug)]
pub struct State {
    /// The trainer's.
    pub snapshot: Snapshot,
    /// The step that led to it.
    pub report: Option<StepReport>,
    /// The newest held-out loss, and its step.
    pub held_out: Option<(u64, f64)>,
}

/// States, oldest first.
#[derive(Debug, Default)]
pub struct Kept(VecDeque<State>);

impl Kept {
    /// Keeps the trainer's state with what is known of it, and forgets the oldest ones for it. A state that is too
    /// large is not kept.
    pub fn push(
        &mut self,
        trainer: &Trainer,
        report: Option<StepReport>,
        held_out: Option<(u64, f64)>,
    ) -> candle_core::Result<()> {
        let snapshot = trainer.snapshot();
        if self.0.back().is_some_and(|last| last.snapshot.progress.step == snapshot.progress.step) {
            self.0.pop_back();
        }
        let bytes = snapshot.bytes();
        if bytes > BUDGET {
            return Ok(());
        }
        while self.0.len() >= MOST || (self.0.len() + 1) * bytes > BUDGET {
            self.0.pop_front();
        }
        self.0.push_back(State { snapshot: snapshot.frozen()?, report, held_out });
        Ok(())
    }

    /// The step of the newest state before `step`.
    pub fn before(&self, step: u64) -> Option<u64> {
        self.0.iter().rev().map(|state| state.snapshot.progress.step).find(|kept| *kept < step)
    }

    /// Takes the newest state before `step`, and forgets those behind it.
    pub fn take_before(&mut self, step: u64) -> Option<State> {
        while let Some(state) = self.0.pop_back() {
            if state.snapshot.progress.step < step {
                return Some(state);
            }
        }
        None
    }
}
