//! The checkpoints of a run: when the disk has room for one, and which are kept.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::dir::RunDir;
use super::journal::NOTICE;
use crate::model::chat::ChatTemplate;
use crate::model::checkpoint::{remove, sweep};
use crate::model::memory::size;
use crate::model::tokenizer::Tokenizer;
use crate::settings::Settings;
use crate::train::resume::{self, Best, State};
use crate::train::trainer::{Progress, Trainer};

/// Time between two checkpoints where nobody has said a number of steps.
const INTERVAL: Duration = Duration::from_secs(600);
/// Bytes of a checkpoint besides its tensors: the tokenizer, mostly.
const SMALL_FILES: u64 = 8 << 20;

/// Writes the checkpoints of a run.
#[derive(Debug)]
pub struct Saver<'a> {
    dir: &'a RunDir,
    every: Option<u64>,
    keep_last: usize,
    data_sha256: String,
    /// How the model wants to be spoken to, which training does not change.
    chat: Option<ChatTemplate>,
    /// The newest state that is saved.
    saved: Option<Progress>,
    saved_at: Instant,
    best: Option<Best>,
    /// The steps of the newest checkpoints that are there.
    checkpoints: Vec<u64>,
}

impl<'a> Saver<'a> {
    /// For a run that begins, or goes on from a checkpoint with this state.
    pub fn new(
        dir: &'a RunDir,
        settings: &Settings,
        data_sha256: String,
        chat: Option<ChatTemplate>,
        state: Option<&State>,
    ) -> Self {
        sweep(dir.path());
        Self {
            dir,
            every: settings.save_every,
            keep_last: settings.keep_last.max(1),
            data_sha256,
            chat,
            saved: state.map(|state| state.progress),
            saved_at: Instant::now(),
            best: state.and_then(|state| state.best),
            checkpoints: dir.newest_checkpoints(),
        }
    }

    /// The newest checkpoint.
    pub fn newest(&self) -> Option<PathBuf> {
        self.saved.map(|progress| self.dir.checkpoint(progress.step))
    }

    /// The steps of the newest checkpoints, as [`Status::checkpoints`] tells them.
    ///
    /// [`Status::checkpoints`]: crate::protocol::Status::checkpoints
    pub fn checkpoints(&self) -> &[u64] {
        &self.checkpoints
    }

    /// Whether the state as it is now is saved.
    pub fn has_saved(&self, trainer: &Trainer) -> bool {
        self.saved == Some(trainer.progress())
    }

    /// The best held-out loss so far.
    pub fn best(&self) -> Option<Best> {
        self.best
    }

    /// Takes note of a held-out loss; returns whether it is the best so far.
    pub fn measured(&mut self, step: u64, eval_loss: f64) -> bool {
        let better = eval_loss.is_finite() && self.best.is_none_or(|best| eval_loss < best.eval_loss);
        if better {
            self.best = Some(Best { step, eval_loss });
        }
        better
    }

    /// Whether a checkpoint is due after this step.
    pub fn due(&self, step: u64) -> bool {
        match self.every {
            Some(every) => step.is_multiple_of(every),
            None => self.saved_at.elapsed() >= INTERVAL,
        }
    }

    /// Forgets what is saved of the states behind this one: they will be others.
    pub fn rewind(&mut self, to: &Progress, best: Option<Best>) {
        self.saved = self.saved.filter(|saved| saved.order() <= to.order());
        self.best = best;
    }

    /// A warning where the disk has not the room for the checkpoints that the run will keep.
    pub fn warning(&self, trainer: &Trainer) -> Option<String> {
        let each = bytes(trainer);
        // One more is there while the oldest is not yet removed.
        let most = (self.keep_last as u64).saturating_add(2).saturating_mul(each);
        let free = self.free()?;
        (most > free).then(|| {
            format!(
                "a checkpoint takes {} and the run keeps up to {} of them, but {} has {} left: \
                 give less with --keep-last, or another --run-dir",
                size(each),
                self.keep_last.saturating_add(1),
                self.dir.path().display(),
                size(free)
            )
        })
    }

    /// Writes `checkpoint-N` and removes what the run keeps no longer. Fails with one line; a disk that fails is
    /// never the end of the training.
    pub fn save(
        &mut self,
        trainer: &Trainer,
        tokenizer: &Tokenizer,
        eval_loss: Option<f64>,
    ) -> Result<(), String> {
        let step = trainer.steps_taken();
        if self.has_saved(trainer) {
            return Ok(());
        }
        let moved = |saved: Progress| saved.step == step && saved.moves < trainer.progress().moves;
        if self.saved.is_some_and(moved) {
            log::warn!(
                "checkpoint-{step} stays what it was before the move: weights that were moved are saved after a step"
            );
            return Ok(());
        }
        if let Some(weight) = trainer.bad_weight() {
            return Err(format!("checkpoint-{step} is not saved: {weight} is not finite"));
        }
        self.saved_at = Instant::now();
        let run = self.dir.path();
        if !run.is_dir() {
            // A checkpoint in a folder of that name made anew would be of no run.
            let run = run.display();
            return Err(format!("checkpoint-{step} is not saved: the run's folder is gone: {run}"));
        }
        if let Some(free) = self.free()
            && free < bytes(trainer)
        {
            return Err(format!(
                "checkpoint-{step} is not saved: it may take {}, some of it to spare, and {} are free on the disk: make room",
                size(bytes(trainer)),
                size(free)
            ));
        }
        let snapshot = trainer.snapshot();
        let state = State {
            progress: snapshot.progress,
            data_sha256: self.data_sha256.clone(),
            eval_loss: eval_loss.filter(|loss| loss.is_finite()),
            best: self.best,
        };
        let begun = Instant::now();
        let (folder, config) = (self.dir.checkpoint(step), trainer.llama().config());
        resume::save(&folder, config, tokenizer, self.chat.as_ref(), &snapshot, &state).map_err(|error| {
            // The run's own folder is known; the reason has to fit into one row of a screen.
            let error = error.to_string().replace(&format!("{}/", self.dir.path().display()), "");
            format!("checkpoint-{step} is not saved: {error}")
        })?;
        self.saved = Some(snapshot.progress);
        log::info!(target: NOTICE, "checkpoint-{step} saved in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
        self.prune();
        self.checkpoints = self.dir.newest_checkpoints();
        Ok(())
    }

    /// Removes the checkpoints behind this step, and that of this step where it was moved more often: the run takes
    /// another course from here, and going on from one of them would mix the two.
    pub fn abandon(&mut self, step: u64, moves: u64) {
        let moved = |at: u64| {
            let state = resume::state(&self.dir.checkpoint(at));
            state.is_ok_and(|state| state.progress.moves > moves)
        };
        let is_later = |other: &u64| *other > step || (*other == step && moved(step));
        for later in self.dir.checkpoints().into_iter().filter(is_later) {
            log::warn!("checkpoint-{later} is removed: the run goes another way from step {step}");
            self.remove(later);
        }
        self.checkpoints = self.dir.newest_checkpoints();
    }

    /// Removes all checkpoints but the last few and the one with the best held-out loss.
    fn prune(&self) {
        let steps = self.dir.checkpoints();
        let eval_loss = |step: &u64| resume::state(&self.dir.checkpoint(*step)).ok()?.eval_loss;
        let known = steps.iter().filter_map(|step| Some((*step, eval_loss(step)?)));
        let best = known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(step, _)| step);
        let surplus = steps.len().saturating_sub(self.keep_last);
        steps.into_iter().take(surplus).filter(|step| Some(*step) != best).for_each(|step| self.remove(step));
    }

    fn remove(&self, step: u64) {
        if let Err(error) = remove(&self.dir.checkpoint(step)) {
            log::warn!("checkpoint-{step} can't be removed: {error}");
        }
    }

    /// Bytes that the run's file system has left, where it says so.
    fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(self.dir.path()).ok()?;
        Some(stat.f_bavail * stat.f_frsize)
    }
}

/// Bytes of a checkpoint.
fn bytes(trainer: &Trainer) -> u64 {
    let params = size_of::<f32>() * trainer.params().elements();
    (params + trainer.moment_bytes()) as u64 + SMALL_FILES
}
