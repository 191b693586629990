//! The evaluation of a slice for a command: its progress, the file that it grows in, and how it goes on from there.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::follow::Errand;
use super::progress::Progress;
use crate::export::surface::{Caption, Center, Surface, note};
use crate::landscape::evaluator::{Losses, Objective};
use crate::landscape::survey::{Control, Grid, Survey};
use crate::protocol::{BatchInfo, PlaneInfo};
use crate::ranks::Ranks;

/// How often a partial result is written while it grows.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);

/// What is evaluated: gathered before the first point.
pub(super) struct Task {
    pub(super) survey: Survey,
    pub(super) batch: BatchInfo,
    pub(super) model: String,
    pub(super) objective: Objective,
    /// The middle of the ranges.
    pub(super) middle: (f64, f64),
    /// Points a worker takes on at once.
    pub(super) most: usize,
}

impl Task {
    /// Takes what is known from the file of an interrupted evaluation, if it is one of the same slice.
    pub(super) fn take_over(&self, path: &Path, grid: &mut Grid) -> anyhow::Result<()> {
        if !path.exists() {
            return Ok(());
        }
        let found = Surface::read(path).context("--resume")?;
        let same = |what: &str, same: bool| {
            if same {
                Ok(())
            } else {
                bail!("--resume: {} is of another {what}: give another --out", path.display())
            }
        };
        same("model", found.caption.model == self.model)?;
        same("plane", same_plane(&found.caption.plane, self.survey.plane().info()))?;
        same("batch", found.caption.batch == self.batch)?;
        same("objective", found.caption.objective == self.objective.name())?;
        same("method", found.caption.method == self.survey.method().name())?;
        same("grid", found.alphas == grid.alphas() && found.betas == grid.betas())?;
        for (row, losses) in found.loss.iter().enumerate() {
            for (column, loss) in losses.iter().enumerate() {
                if let Some(loss) = *loss {
                    // Only the objective's own loss is kept in a file, and only that is asked for here.
                    grid.set(row, column, Losses { loss, last: loss });
                }
            }
        }
        grid.keep_pieces(self.most);
        // Captions may agree where directions or weights do not. A loss tells: that of the outermost known point.
        let columns = grid.alphas().len();
        let place = |index: usize| (grid.alphas()[index % columns], grid.betas()[index / columns]);
        let far = |index: usize| {
            let (alpha, beta) = place(index);
            (alpha - self.middle.0).hypot(beta - self.middle.1)
        };
        let known =
            grid.points().iter().enumerate().filter_map(|(index, point)| Some((index, (*point)?.loss)));
        if let Some((index, found)) = known.max_by(|a, b| far(a.0).total_cmp(&far(b.0))) {
            let (alpha, beta) = place(index);
            let now = self.survey.loss(alpha, beta)?;
            same("plane or model", (now - found).abs() <= 1e-4 * now.abs().max(1.0))?;
        }
        Ok(())
    }

    /// Evaluates what is missing, with the other processes of the job, which have the survey; what is known by then goes
    /// to `save` now and then.
    pub(super) fn evaluate(
        &self,
        grid: &mut Grid,
        save: Option<&Path>,
        quiet: bool,
        interrupted: &AtomicBool,
        ranks: &Ranks,
    ) -> anyhow::Result<Surface> {
        let Self { survey, middle, .. } = self;
        let center = survey.loss(middle.0, middle.1)?;
        if !center.is_finite() && (middle.0, middle.1) == (0.0, 0.0) {
            log::warn!("the loss of the model itself is not finite: its weights may hold NaN");
        }
        let progress = Progress::new(quiet);
        let total = grid.points().len();
        let before = grid.known();
        let started = Instant::now();
        let saved = Mutex::new(Instant::now());
        let caption = |grid: &Grid| {
            let seconds = started.elapsed().as_secs_f64();
            let rate = (grid.known() - before) as f64 / seconds.max(f64::MIN_POSITIVE);
            self.caption(center, seconds, rate, grid.known() == total)
        };
        let report = |grid: &Grid| {
            progress.show_if_due(|| {
                let seconds = started.elapsed().as_secs_f64();
                let rate = (grid.known() - before) as f64 / seconds;
                let left = (total - grid.known()) as f64 / rate;
                format!(
                    "{}: {} of {total} points, {rate:.1} a second, {left:.0} s left",
                    self.model,
                    grid.known()
                )
            });
            if let Some(path) = save {
                let mut saved = saved.lock().unwrap_or_else(PoisonError::into_inner);
                if saved.elapsed() > SAVE_INTERVAL {
                    *saved = Instant::now();
                    if let Err(error) = Surface::new(caption(grid), grid).write(path) {
                        progress.show(&format!("the partial result is not written: {error}"));
                    }
                }
            }
        };
        let go_on = || !interrupted.load(Ordering::Relaxed);
        let control = Control { go_on: &go_on, before: &|_| (), progress: &report };
        ranks.tell(&Errand::Evaluate)?;
        grid.fill_with(ranks, survey, self.most, &control)?;
        let surface = Surface::new(caption(grid), grid);
        progress.end();
        Ok(surface)
    }

    fn caption(&self, center: f64, seconds: f64, points_per_second: f64, complete: bool) -> Caption {
        let Self { survey, batch, model, objective, .. } = self;
        let plane = survey.plane().info().clone();
        Caption {
            note: note(model, &plane, batch, *objective),
            model: model.clone(),
            center: Center { loss: Some(center).filter(|loss| loss.is_finite()) },
            plane,
            batch: batch.clone(),
            objective: objective.name().to_owned(),
            method: survey.method().name().to_owned(),
            seconds,
            points_per_second,
            complete,
            lines: None,
        }
    }
}

/// Whether two planes are the same but for the last digits of their measures.
fn same_plane(a: &PlaneInfo, b: &PlaneInfo) -> bool {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * a.abs().max(b.abs());
    a.kind == b.kind
        && a.normalization == b.normalization
        && a.seeds == b.seeds
        && (a.tensors, a.parameters) == (b.tensors, b.parameters)
        && near(a.norms[0], b.norms[0])
        && near(a.norms[1], b.norms[1])
}
