//! Where the numbers of each step go: the screen, `metrics.jsonl` and `TensorBoard`. A disk that fails is a line in
//! the log, and what could not be written is tried again with the next step.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::board::Board;
use super::memory::Held;
use super::metrics::{self, MetricsFile, Record};
use super::slices::SlicesFile;
use super::tensorboard::{EventFile, Value};
use crate::export::picture;
use crate::protocol::{Point, Slice, TensorNorms};
use crate::train::optimizer::TensorNorm;
use crate::train::trainer::{StepReport, Trainer};

/// Steps over which the speed is averaged.
const SPEED_WINDOW: usize = 20;

/// Places in [`Recorder::failing`].
const METRICS: usize = 0;
const EVENTS: usize = 1;
const SLICES: usize = 2;

/// Records the steps of a run.
#[derive(Debug)]
pub struct Recorder {
    board: Arc<Board>,
    metrics: MetricsFile,
    events: EventFile,
    slices: SlicesFile,
    /// The files are cut behind this step once there is something to put there instead.
    cut: Option<u64>,
    /// Which files failed the last time: each is spoken of once.
    failing: [bool; 3],
    speed: VecDeque<(usize, f64)>,
    spikes: Spikes,
    memory: Held,
    /// Steps refused since the last record.
    nonfinite: u64,
    /// Critical sharpness since the last record.
    sharpness: Option<f64>,
}

/// What the engine knows of a step besides the trainer's report.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances {
    /// Seconds it took.
    pub seconds: f64,
    /// The held-out loss after it, where it was measured as the run's settings say.
    pub eval_loss: Option<f64>,
    /// The same where it was measured for whatever reason.
    pub held_out: Option<f64>,
}

impl Recorder {
    /// Opens the files of the run in `folder`, which goes on behind `step`. What they say of earlier steps is put on
    /// the board; what they say of later ones stays until there is something else to say.
    pub fn open(folder: &Path, board: Arc<Board>, step: u64) -> std::io::Result<Self> {
        let path = folder.join(metrics::FILE);
        let (slices, timeline) = SlicesFile::open(folder, step)?;
        let mut recorder = Self {
            board,
            metrics: MetricsFile::open(&path)?,
            events: EventFile::create(folder, step)?,
            slices,
            cut: Some(step),
            failing: [false; 3],
            speed: VecDeque::new(),
            spikes: Spikes::default(),
            memory: Held::default(),
            nonfinite: 0,
            sharpness: None,
        };
        let mut is_behind = false;
        metrics::read(&path, |line| {
            let Some(point) = metrics::point(&line) else { return };
            is_behind |= point.step > step;
            if !is_behind {
                recorder.spikes.take(point.loss);
                recorder.board.push_point(point);
            }
        })?;
        for slice in timeline.items() {
            recorder.board.recall(slice.clone());
        }
        Ok(recorder)
    }

    /// Records a step that was taken. Returns the step behind which the run takes another course with it.
    pub fn record(
        &mut self,
        trainer: &Trainer,
        report: &StepReport,
        circumstances: Circumstances,
    ) -> Option<u64> {
        let Circumstances { seconds, eval_loss, held_out } = circumstances;
        self.speed.push_back((report.tokens, seconds));
        if self.speed.len() > SPEED_WINDOW {
            self.speed.pop_front();
        }
        let spike = self.spikes.take(report.norms.loss);
        if spike {
            log::warn!("step {}: the loss jumped to {:.3}", report.step, report.norms.loss);
        }
        let record = Record {
            layers: trainer.layer_norms(&report.norms),
            tokens: trainer.tokens(),
            seconds,
            eval_loss,
            sharpness: self.sharpness.take(),
            nonfinite: std::mem::take(&mut self.nonfinite),
            spike,
            memory: self.memory.look_up(),
            report: report.clone(),
        };
        self.board.push_point(Point { held_out, ..record.point() });
        self.board.set_layers(record.layers.clone());
        self.board.push_tensors(tensors(report));
        let cut = self.cut.take();
        if let Some(step) = cut
            && let Err(error) = self.metrics.rewind(step)
        {
            log::error!("metrics.jsonl still holds steps behind {step}: {error}");
        }
        let written = self.metrics.append(&record);
        if let Ok(lost @ 1..) = written {
            log::error!("metrics.jsonl lacks {lost} steps: the disk took nothing for too long");
        }
        self.tell(METRICS, "metrics.jsonl", &written.map(drop));
        let metrics = record.metrics();
        let values = metrics.iter().map(|metric| (&*metric.name, Value::Scalar(metric.value)));
        let written = self.events.append(report.step, values);
        self.tell(EVENTS, "TensorBoard's file", &written);
        cut
    }

    /// Says once that a file can't be written, and once that it can be again.
    fn tell(&mut self, which: usize, file: &str, written: &std::io::Result<()>) {
        match (written, self.failing[which]) {
            (Err(error), false) => log::error!("{file} can't be written, training goes on: {error}"),
            (Ok(()), true) => log::info!("{file} is written again"),
            _ => {}
        }
        self.failing[which] = written.is_err();
    }

    /// Counts a step that was refused.
    pub fn refused(&mut self) {
        self.nonfinite += 1;
    }

    /// Records what the model wrote.
    pub fn sample(&mut self, step: u64, text: &str) {
        // Indented, Markdown leaves it as it is.
        let text = format!("    {}", text.replace('\n', "\n    "));
        let written = self.events.append(step, [("sample", Value::Text(&text))]);
        self.tell(EVENTS, "TensorBoard's file", &written);
    }

    /// Records a slice at its finest, and its sharpness for the next step's line.
    pub fn slice(&mut self, slice: &Slice) {
        self.sharpness = slice.sharpness.map(|sharpness| sharpness.critical).or(self.sharpness);
        if !slice.finest {
            return;
        }
        let written = self.slices.append(slice);
        self.tell(SLICES, "slices.jsonl", &written);
        match picture::png(slice) {
            Ok((size, png)) => {
                let image = Value::Image { size, png: &png };
                let written = self.events.append(slice.step, [("landscape", image)]);
                self.tell(EVENTS, "TensorBoard's file", &written);
            }
            Err(error) => log::warn!("the picture of step {} can't be made: {error}", slice.step),
        }
    }

    /// Forgets the steps behind this one, and from the files once another is recorded.
    pub fn rewind(&mut self, step: u64) {
        let losses = self.board.rewind(step);
        self.spikes = Spikes::default();
        for loss in losses {
            self.spikes.take(loss);
        }
        self.sharpness = None;
        self.cut = Some(step);
        let written = self.events.rewind(step);
        self.tell(EVENTS, "TensorBoard's file", &written);
    }

    /// Tokens trained on a second, over the last few steps.
    pub fn tokens_per_second(&self) -> Option<f64> {
        let sum = |(tokens, seconds), step: &(usize, f64)| (tokens + step.0, seconds + step.1);
        let (tokens, seconds) = self.speed.iter().fold((0, 0.0), sum);
        (seconds > 0.0).then(|| tokens as f64 / seconds)
    }
}

/// The norms of all parameters at a step, as screens see them.
fn tensors(report: &StepReport) -> TensorNorms {
    let of_all = |norm: fn(&TensorNorm) -> f64| {
        report.norms.per_tensor.iter().map(|tensor| norm(tensor) as f32).collect()
    };
    TensorNorms {
        step: report.step,
        gradients: of_all(|norm| norm.gradient),
        weights: of_all(|norm| norm.weight),
        updates: of_all(|norm| norm.update),
    }
}

/// Finds losses that stand out, from a mean and a variance that forget.
#[derive(Debug, Default)]
struct Spikes {
    mean: f64,
    variance: f64,
    seen: u32,
}

impl Spikes {
    /// How much of the past one loss replaces.
    const SHARE: f64 = 0.05;
    /// Losses before which nothing stands out.
    const WARM_UP: u32 = 20;
    /// Standard deviations that stand out, if it is also a share of the mean.
    const DEVIATIONS: f64 = 6.0;
    const RISE: f64 = 0.2;

    /// Takes a loss in, and returns whether it stands out from those before it.
    fn take(&mut self, loss: f64) -> bool {
        let above = loss - self.mean;
        let far = above > Self::DEVIATIONS * self.variance.sqrt() && above > Self::RISE * self.mean;
        let spike = self.seen >= Self::WARM_UP && far;
        let share = Self::SHARE.max(1.0 / f64::from(self.seen + 1));
        self.mean += share * above;
        self.variance = (1.0 - share) * (self.variance + share * above * above);
        self.seen += 1;
        spike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_far_above_its_past_is_a_spike_and_noise_is_none() {
        let noise = |step: u32| 2.0 + 0.1 * f64::from(step * 7919 % 13) / 13.0;
        let mut spikes = Spikes::default();
        assert!((0..200).all(|step| !spikes.take(noise(step))));
        assert!(spikes.take(4.0));
        let mut falling = Spikes::default();
        assert!((1..400).all(|step| !falling.take(8.0 / f64::from(step).sqrt())));
    }
}
