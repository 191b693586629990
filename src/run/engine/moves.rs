//! Going to other weights than those of the next step: back to a state that is kept, or to a place of the slice on
//! show.

use std::time::Instant;

use super::{Activity, Engine, Kept, State};
use crate::protocol::PlaneKind;

impl Engine<'_> {
    /// Goes back to the newest state that is kept from before the last step, and waits there.
    pub(super) fn go_back(&mut self) {
        if let Activity::Stepping(left @ 1..) = &mut self.activity {
            // A step that is asked for and not yet taken is taken back by leaving it.
            *left -= 1;
            return;
        }
        let now = self.trainer.progress();
        let Some(State { snapshot, report, held_out, best }) = self.kept.take_before(&now) else {
            log::warn!("no state before step {} is kept in memory", now.step);
            return;
        };
        let step = snapshot.progress.step;
        if let Err(reason) = self.trainer.restore(&snapshot) {
            log::error!("step {step} can't be gone back to: {reason}");
            return;
        }
        log::info!("back at step {step}{}", if step == now.step { ", before the move" } else { "" });
        self.activity = Activity::Stepping(0);
        let norms = report.as_ref().map(|report| self.trainer.layer_norms(&report.norms));
        self.board.set_layers(norms.unwrap_or_default());
        self.last = report;
        self.held_out = held_out;
        self.recorder.rewind(step);
        self.saver.rewind(&snapshot.progress, best);
        self.reader.moved();
        self.reader.read(&self.trainer);
        self.refresh_drift();
        self.begin_picture();
    }

    /// Goes on from the weights at a place of the slice on show, and waits there. Nothing of this is a step.
    pub(super) fn move_to(&mut self, place: [f64; 2], slice: (u64, u64)) {
        self.reader.look_away();
        let [before, there] = match self.take_weights_of(place, slice) {
            Ok(losses) => losses,
            Err(reason) => return log::warn!("not moved: {reason}"),
        };
        let [alpha, beta] = place;
        log::info!("moved to alpha {alpha:.3}, beta {beta:.3}: loss {before:.4} before, {there:.4} there");
        if self.kept.before(&self.trainer.progress()) != Some(self.trainer.steps_taken()) {
            log::warn!("the weights before the move are too large to be kept: they can't be gone back to");
        }
        self.activity = Activity::Stepping(0);
        // They were those of other weights.
        (self.last, self.held_out) = (None, None);
        self.board.set_layers(Vec::new());
        self.reader.moved();
        self.reader.read(&self.trainer);
        self.refresh_drift();
        self.begin_picture();
    }

    /// Gives the trainer the weights at a place of the slice on show, and keeps its state before that. Returns the
    /// losses of the slice's batch before and there.
    fn take_weights_of(&mut self, place: [f64; 2], slice: (u64, u64)) -> Result<[f64; 2], String> {
        let pictures = self.pictures.as_ref().ok_or("there are no slices")?;
        let sounded = pictures.sound(place, slice, &mut self.trainer);
        let (weights, losses) = sounded.map_err(|error| error.to_string())?;
        self.keep_now();
        self.trainer.move_to(&weights)?;
        Ok(losses)
    }

    /// Keeps the state before a step, to come back to: each one that a person takes by hand, and of a running
    /// training as many as cost little. A large one is kept while the engine waits, so that no step is late for it.
    pub(super) fn keep(&mut self) {
        let by_hand = matches!(self.activity, Activity::Stepping(_)) && Kept::is_small(&self.trainer);
        let draws_path = self.pictures.as_ref().is_some_and(|p| p.kind() == PlaneKind::Trajectory);
        if (self.mode.has_screens() || draws_path) && (by_hand || self.keeping_pace.due()) {
            self.keep_now();
        }
    }

    pub(super) fn keep_now(&mut self) {
        let begun = Instant::now();
        let (report, held_out, best) = (self.last.clone(), self.held_out, self.saver.best());
        if let Err(error) =
            self.kept.push(&self.trainer, |snapshot| State { snapshot, report, held_out, best })
        {
            log::warn!("this step can't be gone back to: {error}");
        }
        self.keeping_pace.took(begun.elapsed());
    }
}
