//! The checkpoints of a run: when the disk has room for one, and which are kept.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::dir::{RunDir, RunError};
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
        let mut saver = Self {
            dir,
            every: settings.save_every,
            keep_last: settings.keep_last.max(1),
            data_sha256,
            chat,
            saved: state.map(|state| state.progress),
            saved_at: Instant::now(),
            best: state.and_then(|state| state.best),
            checkpoints: Vec::new(),
        };
        saver.look();
        saver
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
        if let Err(error) = self.prune() {
            log::warn!("no earlier checkpoint is removed: {error}");
        }
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
        let steps = match self.dir.checkpoints() {
            Ok(steps) => steps,
            Err(error) => return log::warn!("no checkpoint behind step {step} is removed: {error}"),
        };
        for later in steps.into_iter().filter(is_later) {
            log::warn!("checkpoint-{later} is removed: the run goes another way from step {step}");
            self.remove(later);
        }
        self.look();
    }

    /// Removes all checkpoints but the last few and the one with the best held-out loss. One whose state can't be read
    /// may be the best.
    fn prune(&mut self) -> Result<(), RunError> {
        let steps = self.dir.checkpoints()?;
        let states: Vec<_> =
            steps.iter().map(|step| (*step, resume::state(&self.dir.checkpoint(*step)))).collect();
        let known = states.iter().filter_map(|(step, state)| Some((*step, state.as_ref().ok()?.eval_loss?)));
        let best = known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(step, _)| step);
        let surplus = steps.len().saturating_sub(self.keep_last);
        for (step, state) in states.into_iter().take(surplus).filter(|(step, _)| Some(*step) != best) {
            match state {
                Ok(_) => self.remove(step),
                Err(error) => log::warn!("checkpoint-{step} is not removed, it may be the best: {error}"),
            }
        }
        self.look();
        Ok(())
    }

    /// Takes note of the checkpoints that are there.
    fn look(&mut self) {
        match self.dir.newest_checkpoints() {
            Ok(steps) => self.checkpoints = steps,
            Err(error) => log::warn!("the checkpoints that are there can't be told: {error}"),
        }
    }

    fn remove(&self, step: u64) {
        if let Err(error) = remove(&self.dir.checkpoint(step)) {
            log::warn!("checkpoint-{step} can't be removed: {error}");
        }
    }

    /// Bytes that the run's file system has left, where it says so.
    fn free(&self) -> Option<u64> {
        let stat = rustix::fs::statvfs(self.dir.path()).ok()?;
        Some(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Bytes of a checkpoint.
fn bytes(trainer: &Trainer) -> u64 {
    let params = size_of::<f32>() * trainer.params().elements();
    (params + trainer.moment_bytes()) as u64 + SMALL_FILES
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::protocol::OptimizerKind;

    /// A run folder with a checkpoint for each of these held-out losses, at steps 10, 20 and so on.
    fn run(folder: &Path, losses: &[f64]) -> RunDir {
        let dir = RunDir::create(Some(folder), &settings()).unwrap();
        for (step, loss) in (1..).map(|index| 10 * index).zip(losses) {
            let progress = Progress {
                step,
                tokens: step,
                learning_rate_factor: 1.0,
                optimizer: OptimizerKind::AdamW,
                optimizer_updates: step,
                moves: 0,
            };
            let state = State { progress, data_sha256: String::new(), eval_loss: Some(*loss), best: None };
            std::fs::create_dir(dir.checkpoint(step)).unwrap();
            let text = serde_json::to_string(&state).unwrap();
            std::fs::write(dir.checkpoint(step).join("trainer_state.json"), text).unwrap();
        }
        dir
    }

    fn settings() -> Settings {
        let settings = serde_json::json!({
            "name": "kept", "model": { "preset": "nano" }, "data": "builtin", "optimizer": "adamw",
            "learning_rate": 1e-3, "weight_decay": 0.1, "schedule": "cosine", "warmup": 1, "decay_steps": 9,
            "batch_size": 1, "accumulate": 1, "clip": 1.0, "seed": 0, "eval_every": 1, "keep_last": 1,
            "grid": 9, "device": "cpu", "threads": 1, "paused": false
        });
        serde_json::from_value(settings).unwrap()
    }

    fn saver(dir: &RunDir) -> Saver<'_> {
        Saver::new(dir, &settings(), String::new(), None, None)
    }

    #[test]
    fn the_best_checkpoint_stays_and_so_does_one_that_may_be_the_best() {
        let folder = tempfile::tempdir().unwrap();
        let dir = run(folder.path(), &[3.0, 1.0, 2.0, 2.5, 2.6]);
        // The state of the first can't be read any more.
        let state = dir.checkpoint(10).join("trainer_state.json");
        std::fs::remove_file(&state).unwrap();
        std::fs::create_dir(&state).unwrap();
        let mut saver = saver(&dir);
        saver.prune().unwrap();
        assert_eq!(dir.checkpoints().unwrap(), [10, 20, 50]);
        assert_eq!(saver.checkpoints(), [10, 20, 50]);
    }

    #[test]
    fn another_course_removes_what_is_behind_it_and_nothing_where_that_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let dir = run(folder.path(), &[3.0, 2.0, 1.0]);
        let mut saver = saver(&dir);
        saver.abandon(20, 0);
        assert_eq!(dir.checkpoints().unwrap(), [10, 20]);
        // A file is in the folder's place for a while.
        let away = folder.path().with_extension("away");
        std::fs::rename(folder.path(), &away).unwrap();
        std::fs::write(folder.path(), "").unwrap();
        saver.abandon(0, 0);
        assert!(saver.prune().is_err());
        assert_eq!(saver.checkpoints(), [10, 20], "as far as is known");
        std::fs::remove_file(folder.path()).unwrap();
        std::fs::rename(&away, folder.path()).unwrap();
        assert_eq!(dir.checkpoints().unwrap(), [10, 20]);
    }
}
