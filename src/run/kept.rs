//! The last states of a run in memory, to step back to. A state is the weights and their moments: 10 MB of nano,
//! 1.6 GB of a model of 135 million parameters.

use std::collections::VecDeque;

use crate::model::params::Params;
use crate::train::resume::Best;
use crate::train::trainer::{Progress, Snapshot, StepReport, Trainer};

/// States at most, however small.
const MOST: usize = 64;
/// Bytes of a state that is kept before every step.
const SMALL: usize = 64 << 20;

/// A state of the engine.
#[derive(Debug)]
pub struct State {
    /// The trainer's.
    pub snapshot: Snapshot,
    /// The step that led to it.
    pub report: Option<StepReport>,
    /// The newest held-out loss, and its step.
    pub held_out: Option<(u64, f64)>,
    /// The best one so far.
    pub best: Option<Best>,
}

/// States, oldest first.
#[derive(Debug)]
pub struct Kept {
    states: VecDeque<State>,
    /// Bytes that they may take.
    budget: usize,
}

impl Kept {
    /// None yet, and never more than fit into so many bytes.
    pub fn within(budget: usize) -> Self {
        Self { states: VecDeque::new(), budget }
    }

    /// Whether a state is small enough to be kept before every step.
    pub fn is_small(trainer: &Trainer) -> bool {
        trainer.snapshot().bytes() <= SMALL
    }

    /// Keeps the trainer's state, to which `with` adds what else is known, and forgets the oldest ones for it. A state
    /// that is too large is not kept.
    pub fn push(
        &mut self,
        trainer: &Trainer,
        with: impl FnOnce(Snapshot) -> State,
    ) -> candle_core::Result<()> {
        let snapshot = trainer.snapshot();
        let bytes = snapshot.bytes();
        if self.states.back().is_some_and(|last| last.snapshot.progress == snapshot.progress)
            || bytes > self.budget
        {
            return Ok(());
        }
        // One of the same step, with another rate or optimizer, makes room for this.
        let order = snapshot.progress.order();
        while self.states.back().is_some_and(|last| last.snapshot.progress.order() >= order) {
            self.states.pop_back();
        }
        while self.states.len() >= MOST || (self.states.len() + 1) * bytes > self.budget {
            self.states.pop_front();
        }
        self.states.push_back(with(snapshot.frozen()?));
        Ok(())
    }

    /// The step of the newest state before this one.
    pub fn before(&self, now: &Progress) -> Option<u64> {
        let mut kept = self.states.iter().rev().map(|state| state.snapshot.progress);
        kept.find(|kept| kept.order() < now.order()).map(|kept| kept.step)
    }

    /// The weights of states before this one, oldest first: as many as there may be, evenly over all that are kept.
    pub fn weights_before(&self, now: &Progress, most: usize) -> Vec<Params> {
        let before = |state: &&State| state.snapshot.progress.order() < now.order();
        let states: Vec<&State> = self.states.iter().filter(before).collect();
        let every = states.len().div_ceil(most.max(1)).max(1);
        let mut chosen: Vec<Params> =
            states.into_iter().rev().step_by(every).map(|state| state.snapshot.params.clone()).collect();
        chosen.reverse();
        chosen
    }

    /// Takes the newest state before this one, and forgets those behind it.
    pub fn take_before(&mut self, now: &Progress) -> Option<State> {
        while let Some(state) = self.states.pop_back() {
            if state.snapshot.progress.order() < now.order() {
                return Some(state);
            }
        }
        None
    }
}
