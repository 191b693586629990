//! What is tried beside the run: where the weights for it come from, and that it has the machine to itself.

use std::sync::Arc;

use super::{Activity, Engine, Ground, Lab, Pictures, Task};

impl Engine<'_> {
    /// Pauses, and tries something with the weights as they are now: it shall have the machine to itself.
    pub(super) fn experiment(&mut self, task: impl FnOnce(Box<Ground>) -> Task) {
        let Some(prompt) = self.reader.prompt().cloned() else {
            log::warn!("there is no text to try this with: set a prompt first");
            return;
        };
        self.rest();
        let shown = |pictures: &Pictures| pictures.shows(self.trainer.steps_taken());
        if !self.pictures.as_ref().is_none_or(shown) {
            // A coarse picture takes little of it.
            self.begin_picture_beside(None, true);
        }
        let weights = match self.trainer.params().frozen() {
            Ok(weights) => weights,
            Err(error) => return log::error!("the weights can't be copied for this: {error}"),
        };
        let ground = Ground {
            llama: self.trainer.llama().clone(),
            weights,
            prompt,
            tokenizer: self.reader.tokenizer().clone(),
            device: self.trainer.device().clone(),
            threads: self.settings.threads,
            step: self.trainer.steps_taken(),
            frozen: self.trainer.frozen_names(),
        };
        self.tell_lab(task(Box::new(ground)));
    }

    /// Takes no more steps for now.
    pub(super) fn rest(&mut self) {
        if self.activity != Activity::Finished {
            self.activity = Activity::Stepping(0);
        }
    }

    pub(super) fn tell_lab(&mut self, task: Task) {
        if self.lab.is_none() {
            match Lab::spawn(Arc::clone(&self.board), self.settings.threads) {
                Ok(lab) => self.lab = Some(lab),
                Err(error) => return log::error!("nothing can be tried: {error}"),
            }
        }
        if let Some(lab) = &self.lab {
            lab.tell(task);
        }
    }
}
