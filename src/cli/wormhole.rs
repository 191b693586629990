//! `wormhole`: weights on a plateau are trained, and the plane that travels with them opens a pit under them.

use std::io::{BufWriter, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use candle_core::{DType, Device};

use super::choices::{MethodName, NormName, ObjectiveName, OptimizerName};
use super::export::stops;
use super::model::{self, AskArgs, SelectionArgs};
use super::progress::Progress;
use super::ranges::{coordinates, grid, offset, ranges};
use super::usage::Usage;
use super::{at_least_one, directions, memory, screen};
use crate::export::surface::note;
use crate::export::wormhole::{film, npz, series};
use crate::export::{replace, writable};
use crate::landscape::directions::bytes;
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::Plane;
use crate::landscape::selection::Selection;
use crate::landscape::survey::{Control, Grid, Method};
use crate::model::checkpoint::Checkpoint;
use crate::model::device;
use crate::model::llama::Llama;
use crate::model::memory::available;
use crate::protocol::BatchInfo;
use crate::protocol::wormhole::{Moment, Pictures, Record, Surface};
use crate::run::wormhole::{Canvas, Descent, View, Wormhole};

/// Train a model off a plateau, and see the plane through its weights change shape while they hardly move within it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// org/name or org/name@revision on the Hub, a folder in its layout, a .gguf file, a run by name or folder, or
    /// RUN@STEP
    model: String,
    /// Learn this text: every token after the first is predicted; the last is the target
    #[arg(long, value_name = "TEXT")]
    text: String,
    /// Steps to take
    #[arg(long, value_name = "N", default_value = "24")]
    steps: u64,
    /// The optimizer, of all parameters
    #[arg(long, value_name = "NAME", default_value = "adam")]
    optimizer: OptimizerName,
    /// The learning rate of every step
    #[arg(long, value_name = "RATE", default_value = "1e-5", value_parser = super::train::rate)]
    lr: f64,
    /// Start at the model plus A times the first direction plus B times the second
    #[arg(long, value_name = "A,B", default_value = "-0.9,0.05", allow_hyphen_values = true, value_parser = offset)]
    offset: (f64, f64),
    /// Turn what the film "How Models Learn" turned: the first half of the layers, norm gains too
    #[arg(long, conflicts_with_all = ["norm", "layers", "tensors", "with_norms", "with_embeddings"])]
    film: bool,
    /// How the random directions are scaled to the weights: each row, each tensor, or not at all
    #[arg(long, value_name = "SCALING", default_value = "layer")]
    norm: NormName,
    /// Seeds of the two directions
    #[arg(long, value_name = "SEEDS", default_value = "11,111", value_delimiter = ',')]
    seeds: Vec<u64>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// Draw the plane that travels with the weights, on so many points along the first direction and the second
    #[arg(long, value_name = "COLUMNSxROWS", value_parser = grid)]
    grid: Option<(usize, usize)>,
    /// From where to where the plane is drawn along the first direction and, after a comma, the second
    #[arg(long, value_name = "LO:HI[,LO:HI]", default_value = "-1:1", allow_hyphen_values = true, value_parser = ranges)]
    range: [(f64, f64); 2],
    /// Steps from one drawn plane to the next
    #[arg(long, value_name = "STEPS", default_value = "4", value_parser = at_least_one::<NonZero<u64>>)]
    every: NonZero<u64>,
    /// The loss that is drawn: mean over all predicted tokens, or the last token; the mean is trained in any case
    #[arg(long, value_name = "LOSS", default_value = "mean")]
    objective: ObjectiveName,
    /// How to evaluate: many points at once, or one after another [default: by the text's length]
    #[arg(long, value_name = "METHOD")]
    method: Option<MethodName>,
    /// Write the result to this file: .npz, .json, or with --grid a film as .gif or surfaces for ParaView as .pvd
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the directions to this file
    #[arg(long, value_name = "FILE.safetensors")]
    save_directions: Option<PathBuf>,
    /// Take the directions from this file: tensors d1.NAME and d2.NAME
    #[arg(long, value_name = "FILE.safetensors", conflicts_with_all = ["film", "norm", "seeds", "layers", "tensors", "with_norms", "with_embeddings"])]
    load_directions: Option<PathBuf>,
    /// Memory for training, directions and evaluation, such as 4G [default: what is free]
    #[arg(long, value_name = "BYTES", value_parser = memory::parse)]
    memory: Option<u64>,
    #[command(flatten)]
    ask: AskArgs,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Npz,
    Gif,
    Pvd,
}

impl Form {
    /// The form that the end of the name says.
    fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("json") => Ok(Self::Json),
            Some("npz") => Ok(Self::Npz),
            Some("gif") => Ok(Self::Gif),
            Some("pvd") => Ok(Self::Pvd),
            _ => {
                let path = path.display();
                Err(Usage::error(format!("--out {path}: the name must end in .npz, .json, .gif or .pvd")))
            }
        }
    }
}

/// What is there before the first step.
struct Start {
    wormhole: Wormhole,
    canvas: Option<Canvas>,
    record: Record,
    /// Which loss, on which tokens, along which directions.
    note: String,
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.ask.threads
    }

    /// Trains, and writes and prints what was asked for.
    pub(super) fn run(self, threads: usize) -> anyhow::Result<()> {
        // What takes minutes to compute should have a place to go.
        for (flag, path) in [("--out", &self.out), ("--save-directions", &self.save_directions)] {
            if let Some(path) = path {
                writable(path).with_context(|| format!("{flag} {}", path.display()))?;
            }
        }
        if let Some(path) = &self.out
            && matches!(Form::of(path)?, Form::Gif | Form::Pvd)
            && self.grid.is_none()
        {
            let problem = format!("--out {}: a film shows surfaces: add --grid", path.display());
            return Err(Usage::error(problem));
        }
        self.ask.begin();
        let interrupted = super::interrupt::flag()?;
        let device = device::open(self.ask.device)?;
        let Start { mut wormhole, canvas, mut record, note } = self.start(threads, &device)?;
        if !self.ask.json {
            super::print(&format!("{}\n{}\n", super::printable(&note), heading()))?;
        }
        let progress = Progress::new(self.ask.quiet);
        let end = self.descend(&mut wormhole, canvas.as_ref(), &mut record, &progress, &interrupted);
        progress.end();
        self.finish(&record, &note, end)
    }

    /// Puts the weights where they start. Of the model only what the start shares with it stays in memory.
    fn start(&self, threads: usize, device: &Device) -> anyhow::Result<Start> {
        let offset = [self.offset.0, self.offset.1];
        let coordinates = self.grid.map(|grid| self.coordinates(grid)).transpose()?;
        let [first, second] = self.seeds[..] else {
            return Err(Usage::error("--seeds: two directions need two seeds, such as 11,111"));
        };
        let checkpoint = model::open(&self.model, device, self.ask.quiet)?;
        let Checkpoint { name, config, params, .. } = &checkpoint;
        let batch = model::text_batch(&self.text, &checkpoint)?;
        let budget = self.memory.unwrap_or_else(available);
        let plane = self.plane(&checkpoint, [first, second], budget, device)?;
        directions::check(&plane)?;
        if let Some(path) = &self.save_directions {
            directions::save(&plane, path)?;
        }
        let (optimizer, learning_rate) = (self.optimizer.into(), self.lr);
        let descent = Descent { offset, optimizer, learning_rate, threads };
        let needed = descent.bytes(config, params, &plane, &batch) as u64;
        // The memory of a GPU is its own.
        let taken = if device.is_cpu() { needed } else { 0 };
        memory::check("the training with its directions", taken, budget)?;

        let objective = Objective::from(self.objective);
        let info = BatchInfo { tokens: batch.predicted(), sha256: batch.sha256(), source: "text".to_owned() };
        let note = format!(
            "{}; from {},{} down the mean loss with {}, lr {learning_rate:e}",
            note(name, plane.info(), &info, objective),
            offset[0],
            offset[1],
            optimizer.name()
        );
        let llama = Llama::new(config, DType::F32, device)?;
        let wormhole = Wormhole::begin(llama, params, plane, batch, descent, device)?;
        let canvas = match coordinates {
            Some((alphas, betas)) => {
                let method = self.method.map(Method::from);
                let survey = wormhole.survey(View::Travelling, objective, method)?;
                let most =
                    memory::points_at_once(&survey, "the training with its directions", taken, budget)?;
                Some(Canvas { alphas, betas, objective, method, most })
            }
            None => None,
        };
        let record = Record {
            plane: wormhole.plane().info().clone(),
            offset,
            objective: objective.name(),
            steps: Vec::new(),
            chance: wormhole.chance(),
            pictures: canvas.as_ref().map(|canvas| Pictures {
                alphas: canvas.alphas.clone(),
                betas: canvas.betas.clone(),
                surfaces: Vec::new(),
            }),
        };
        Ok(Start { wormhole, canvas, record, note })
    }

    /// The coordinates of the surfaces, among which the start must lie.
    fn coordinates(&self, grid: (usize, usize)) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        let (alpha, beta) = self.offset;
        for (place, (low, high)) in [alpha, beta].into_iter().zip(self.range) {
            if !(low..=high).contains(&place) {
                return Err(Usage::error(format!(
                    "--offset {alpha},{beta}: the start lies outside the picture: widen --range"
                )));
            }
        }
        coordinates(self.range, grid)
    }

    fn plane(
        &self,
        checkpoint: &Checkpoint,
        seeds: [u64; 2],
        budget: u64,
        device: &Device,
    ) -> anyhow::Result<Plane> {
        if let Some(path) = &self.load_directions {
            return directions::load(path, checkpoint, false, device);
        }
        let Checkpoint { config, params, .. } = checkpoint;
        let selection = if self.film {
            Selection::first_half(config.num_hidden_layers)
        } else {
            self.selection.selection()?
        };
        let names = selection.names(params)?;
        memory::check("the two directions", 2 * bytes(params, &names) as u64, budget)?;
        Ok(Plane::random(params, &names, seeds, self.norm.into())?)
    }

    /// Takes the steps. What is known by the time it ends, with an error or without, stands in `record`.
    fn descend(
        &self,
        wormhole: &mut Wormhole,
        canvas: Option<&Canvas>,
        record: &mut Record,
        progress: &Progress,
        interrupted: &AtomicBool,
    ) -> anyhow::Result<()> {
        let mut moment = wormhole.moment()?;
        loop {
            record.steps.push(moment);
            self.say(progress, || row(&moment, record.chance))?;
            if !moment.loss.is_finite() {
                bail!("the loss is not finite: give another --offset, or a lower --lr");
            }
            if let (Some(canvas), Some(pictures)) = (canvas, &mut record.pictures)
                && moment.step.is_multiple_of(self.every.get())
            {
                let surface = draw(wormhole, canvas, moment.step, progress, interrupted)?;
                self.say(progress, || height(&surface))?;
                pictures.surfaces.push(surface);
            }
            if moment.step >= self.steps {
                return Ok(());
            }
            if interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            progress.show_if_due(|| format!("step {} of {}", moment.step + 1, self.steps));
            moment = wormhole.step()?;
        }
    }

    /// Prints a line for a person, where there is one to read it.
    fn say(&self, progress: &Progress, line: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.ask.json {
            return Ok(());
        }
        progress.end();
        super::print(&(line() + "\n"))
    }

    /// Writes the file and prints the result, and then says what has ended it early. What can't be written is still
    /// printed.
    fn finish(&self, record: &Record, note: &str, end: anyhow::Result<()>) -> anyhow::Result<()> {
        let Some(last) = record.steps.last() else { return end };
        let written = self.out.as_deref().map(|path| {
            write(path, record, note).with_context(|| format!("--out {}", path.display()))?;
            anyhow::Ok(path)
        });
        if self.ask.json {
            super::print(&json(record)?)?;
        } else {
            super::print(&summary(record))?;
        }
        let path = written.transpose()?;
        end.with_context(|| {
            let kept = path.map(|path| format!("; what is known is in {}", path.display()));
            format!("it ended at step {} of {}{}", last.step, self.steps, kept.unwrap_or_default())
        })
    }
}

/// The plane through the weights as they are after so many steps.
fn draw(
    wormhole: &Wormhole,
    canvas: &Canvas,
    step: u64,
    progress: &Progress,
    interrupted: &AtomicBool,
) -> anyhow::Result<Surface> {
    let report = |grid: &Grid| {
        let (known, total) = (grid.known(), grid.points().len());
        progress.show_if_due(|| format!("the plane of step {step}: {known} of {total} points"));
    };
    let go_on = || !interrupted.load(Ordering::Relaxed);
    let control = Control { go_on: &go_on, before: &|_| (), progress: &report };
    let loss = wormhole.surface(View::Travelling, canvas, &control)?.context("interrupted")?;
    Ok(Surface { step, loss })
}

fn write(path: &Path, record: &Record, note: &str) -> anyhow::Result<()> {
    match Form::of(path)? {
        Form::Json => {
            let text = json(record)?;
            replace(path, |file| file.write_all(text.as_bytes()))?;
        }
        Form::Npz => replace(path, |file| npz(file, record, note))?,
        Form::Gif | Form::Pvd => {
            let pictures = record.pictures.as_ref().filter(|pictures| !pictures.surfaces.is_empty());
            let pictures = pictures.context("no plane was drawn to the end, so there is no film")?;
            if Form::of(path)? == Form::Pvd {
                return Ok(series(path, pictures, note)?);
            }
            let stops = stops(&screen::theme(None)?);
            replace(path, |file| film(BufWriter::new(file), pictures, stops))?;
        }
    }
    Ok(())
}

fn json(record: &Record) -> anyhow::Result<String> {
    Ok(serde_json::to_string(record)? + "\n")
}

fn heading() -> String {
    format!(
        "{:>6} {:>9} {:>9} {:>10} {:>11} {:>11} {:>9} {:>9}",
        "step", "loss", "target", "distance", "inside d1", "inside d2", "captured", "chance"
    )
}

/// A step of the table: what is captured stands beside what chance would give.
fn row(moment: &Moment, chance: f64) -> String {
    let Moment { step, loss, loss_target, distance, inside: [first, second], captured } = moment;
    let captured = captured.map_or_else(|| "-".to_owned(), |captured| format!("{captured:.1e}"));
    format!(
        "{step:>6} {loss:>9.4} {loss_target:>9.4} {distance:>10.3e} {first:>11.1e} {second:>11.1e} {captured:>9} \
         {chance:>9.1e}"
    )
}

/// How high a surface goes.
fn height(surface: &Surface) -> String {
    let finite = || surface.loss.iter().flatten().copied().filter(|loss| loss.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    format!("       the plane around it: {low:.4} to {high:.4}")
}

/// The experiment in plain words.
fn summary(record: &Record) -> String {
    let mut summary = String::new();
    if record.pictures.as_ref().is_some_and(|pictures| !pictures.surfaces.is_empty()) {
        summary.push_str(
            "the plane of step 0 stays what it is: only the one through the moving point changes\n",
        );
    }
    if let [first, .., last] = &record.steps[..]
        && let Some(captured) = last.captured
    {
        let [alpha, beta] = last.inside;
        summary.push_str(&format!(
            "the loss {} from {:.4} to {:.4} while the point moved {:.1e} of a unit inside the plane: \
             captured {captured:.1e}, chance {:.1e}\n",
            if last.loss < first.loss { "fell" } else { "went" },
            first.loss,
            last.loss,
            alpha.hypot(beta),
            record.chance
        ));
    }
    summary
}
