//! `slice`: the loss on a plane through a model's weights, or on a line, as a file.

mod drawing;

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use candle_core::{DType, Device};

use super::choices::{MethodName, NormName, ObjectiveName};
use super::evaluation::Task;
use super::model::{self, AskArgs, BatchArgs, SelectionArgs};
use super::progress::Progress;
use super::ranges::{coordinates, grid, offset, ranges};
use super::usage::Usage;
use super::{directions, follow};
use crate::export::surface::{Caption, Format, Lines, Surface, finite, note_of_lines};
use crate::export::writable;
use crate::landscape::directions::{
    LossFunction, bytes, difference_plane, gradient_plane, hessian_plane, trajectory_plane,
};
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Normalization, Plane};
use crate::landscape::survey::{Grid, Method, Survey};
use crate::model::checkpoint::Checkpoint;
use crate::model::device;
use crate::model::llama::Llama;
use crate::protocol::{BatchInfo, PlaneKind};
use crate::ranks::Ranks;
use crate::run::dir::RunDir;
use crate::train::corpus::Batch;
use drawing::Drawing;

/// Steps of Lanczos' method: enough for the ends of a spectrum.
const LANCZOS_STEPS: usize = 20;

/// The loss on a plane through a model's weights, or on a line with --grid Nx1
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// org/name or org/name@revision on the Hub, a folder in its layout, a .gguf file, a run by name or folder, or
    /// RUN@STEP
    model: String,
    #[command(flatten)]
    batch: BatchArgs,
    /// The directions: random, gradient, update or trajectory (of a run's checkpoints), hessian, to:MODEL
    #[arg(long, value_name = "KIND", default_value = "random", value_parser = kind)]
    plane: Kind,
    /// How random directions are scaled to the weights: each row, each tensor, or not at all [default: filter]
    #[arg(long, value_name = "SCALING")]
    norm: Option<NormName>,
    /// Seeds of the two directions; with --grid Nx1 three or more give a line each and their median
    #[arg(long, value_name = "SEEDS", default_value = "11,111", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Turn the second direction to a right angle to the first
    #[arg(long)]
    orthogonal: bool,
    #[command(flatten)]
    selection: SelectionArgs,
    /// How far to look along the first direction and, after a comma, the second
    #[arg(long, value_name = "LO:HI[,LO:HI]", default_value = "-1:1", allow_hyphen_values = true, value_parser = ranges)]
    range: [(f64, f64); 2],
    /// Points along the first direction and the second
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "25x25", value_parser = grid)]
    grid: (usize, usize),
    /// Move the middle of the ranges here
    #[arg(long, value_name = "A,B", default_value = "0,0", allow_hyphen_values = true, value_parser = offset)]
    offset: (f64, f64),
    /// The loss: mean over all predicted tokens, or the last token
    #[arg(long, value_name = "LOSS", default_value = "mean")]
    objective: ObjectiveName,
    /// How to evaluate: many points at once, or one after another [default: by the batch's size]
    #[arg(long, value_name = "METHOD")]
    method: Option<MethodName>,
    /// Write the result to this file: .json, .csv, .npz or .vtp, or as a picture: a map as .svg or .png, a surface that
    /// turns as .gif
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Colours and heights of a picture by the logarithm of the loss
    #[arg(long, requires = "out")]
    log: bool,
    /// Go on with the file of --out, which an interrupted evaluation has left
    #[arg(long, requires = "out")]
    resume: bool,
    /// Write the directions to this file
    #[arg(long, value_name = "FILE.safetensors")]
    save_directions: Option<PathBuf>,
    /// Take the directions from this file: tensors d1.NAME and d2.NAME
    #[arg(long, value_name = "FILE.safetensors", conflicts_with_all = ["plane", "norm", "seeds", "layers", "tensors", "with_norms", "with_embeddings"])]
    load_directions: Option<PathBuf>,
    /// Memory for directions and evaluation, such as 2G [default: a third of what is free]
    #[arg(long, value_name = "BYTES", value_parser = super::memory::parse)]
    memory: Option<u64>,
    #[command(flatten)]
    ask: AskArgs,
}

/// What the file is.
#[derive(Debug, Clone, Copy)]
enum Form {
    Data(Format),
    Drawing(Drawing),
}

impl Form {
    /// The form that the end of the name says.
    fn of(path: &Path) -> anyhow::Result<Self> {
        let form = Drawing::of(path).map(Self::Drawing).or_else(|| Format::of(path).ok().map(Self::Data));
        form.ok_or_else(|| {
            Usage::error(format!(
                "--out {}: the name must end in .json, .csv, .npz or .vtp, or for a picture in .svg, .png or .gif",
                path.display()
            ))
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Of(PlaneKind),
    To(String),
}

fn kind(text: &str) -> Result<Kind, String> {
    let to = || text.strip_prefix("to:").filter(|model| !model.is_empty());
    let kind = PlaneKind::named(text).map(Kind::Of).or_else(|| Some(Kind::To(to()?.to_owned())));
    kind.ok_or_else(|| format!("neither {} nor to:MODEL", PlaneKind::ALL.map(PlaneKind::name).join(", ")))
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.ask.threads
    }

    /// Evaluates, and writes and prints what was asked for.
    pub(super) fn run(self, ranks: &Ranks) -> anyhow::Result<()> {
        self.ask.begin();
        // What takes minutes to compute should have a place to go.
        for (flag, path) in [("--out", &self.out), ("--save-directions", &self.save_directions)] {
            if let Some(path) = path {
                writable(path).with_context(|| format!("{flag} {}", path.display()))?;
            }
        }
        let form = self.form()?;
        let (alphas, betas) = self.coordinates()?;
        // A line through the weights has no second direction.
        let line =
            betas == [0.0] && self.plane == Kind::Of(PlaneKind::Random) && self.load_directions.is_none();
        let several = self.seeds.len() > 2;
        if self.seeds.len() < 2 && !line {
            return Err(Usage::error("--seeds: two directions need two seeds, such as 11,111"));
        }
        if several && !line {
            return Err(Usage::error(format!(
                "--seeds: {} seeds give lines through the weights, one each: add --grid {}x1, without an offset \
                 along the second direction, and leave --plane out",
                self.seeds.len(),
                self.grid.0
            )));
        }
        let interrupted = super::interrupt::flag()?;
        let device = device::open(self.ask.device)?;
        let checkpoint = model::open(&self.model, &device, self.ask.quiet)?;
        let (batch, source) = self.batch.batch(&self.model, &checkpoint)?;
        let seeds = if line { [self.seeds[0]; 2] } else { [self.seeds[0], self.seeds[1]] };
        let task = |seeds| {
            let task = self.task(&checkpoint, &batch, source, seeds, line, &device, &interrupted, ranks)?;
            let of = (&checkpoint.config, &batch, task.objective);
            let most = follow::give(ranks, &task.survey, of, &device, task.most, self.memory)?;
            anyhow::Ok(Task { most, ..task })
        };
        let mut grid = Grid::new(alphas, betas);
        let (mut surface, weights) = {
            let task = task(seeds)?;
            if let Some(path) = &self.save_directions {
                directions::save(task.survey.plane(), path)?;
            }
            if let Some(path) = self.out.as_deref().filter(|_| self.resume) {
                task.take_over(path, &mut grid)?;
            }
            let save = self.out.as_deref().filter(|_| matches!(form, Some(Form::Data(_))));
            let surface = task.evaluate(&mut grid, save, self.ask.quiet, &interrupted, ranks)?;
            let is_drawn = matches!(form, Some(Form::Drawing(_))) && surface.caption.complete;
            (surface, is_drawn.then(|| task.survey.loss(0.0, 0.0)).transpose()?)
        };
        if several && surface.caption.complete {
            let mut lines = vec![grid.loss()];
            for seed in &self.seeds[1..] {
                let mut line = Grid::new(grid.alphas().to_vec(), grid.betas().to_vec());
                let done =
                    task([*seed; 2])?.evaluate(&mut line, None, self.ask.quiet, &interrupted, ranks)?;
                if !done.caption.complete {
                    bail!(
                        "interrupted at line {} of {}: nothing is written",
                        lines.len() + 1,
                        self.seeds.len()
                    );
                }
                lines.push(line.loss());
            }
            let Caption { model, plane, batch, .. } = &surface.caption;
            let objective = Objective::from(self.objective);
            surface.caption.note = note_of_lines(model, plane, &self.seeds, batch, objective);
            surface.caption.lines = Some(Lines::new(self.seeds.clone(), &lines));
        }
        self.finish(&surface, &grid, form, weights, &interrupted)
    }

    /// The form of the file, if there is to be one, refused where other flags do not go with it.
    fn form(&self) -> anyhow::Result<Option<Form>> {
        let Some(path) = &self.out else { return Ok(None) };
        let form = Form::of(path)?;
        match form {
            Form::Drawing(drawing) => drawing.check(self.grid)?,
            Form::Data(_) if self.log => {
                let problem =
                    "--log: only a picture has a scale: end the name of --out in .svg, .png or .gif";
                return Err(Usage::error(problem));
            }
            Form::Data(_) => (),
        }
        if self.resume && !matches!(form, Form::Data(format) if format.is_read_again()) {
            return Err(Usage::error(format!(
                "--resume: {} can't be read again: give a .json, .csv or .npz",
                path.display()
            )));
        }
        Ok(Some(form))
    }

    fn coordinates(&self) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
        // A line lies in the middle of what its second direction would show.
        let (alphas, betas) = coordinates(self.range, self.grid)?;
        let moved = |values: Vec<f64>, shift: f64| values.into_iter().map(|x| x + shift).collect();
        Ok((moved(alphas, self.offset.0), moved(betas, self.offset.1)))
    }

    #[expect(clippy::too_many_arguments, reason = "what the flags and the model come to, gathered once")]
    fn task(
        &self,
        checkpoint: &Checkpoint,
        batch: &Batch,
        source: &str,
        seeds: [u64; 2],
        line: bool,
        device: &Device,
        interrupted: &Arc<AtomicBool>,
        ranks: &Ranks,
    ) -> anyhow::Result<Task> {
        let Checkpoint { name, config, params, .. } = checkpoint;
        let llama = Llama::new(config, DType::F32, device)?;
        let objective = Objective::from(self.objective);
        let method = self.method.map(Method::from);
        let budget = super::memory::budget(self.memory, ranks);
        let mut plane = match &self.load_directions {
            Some(path) => directions::load(path, checkpoint, self.grid.1 == 1, device)?,
            None if line => {
                let names = self.selection.selection()?.names(params)?;
                super::memory::check("the direction", bytes(params, &names) as u64, budget)?;
                Plane::line(params, &names, seeds[0], self.normalization())?
            }
            None => {
                let names = self.selection.selection()?.names(params)?;
                super::memory::check("the two directions", 2 * bytes(params, &names) as u64, budget)?;
                let function = LossFunction { llama: &llama, batch, objective, device };
                self.make_plane(checkpoint, &names, seeds, &function, budget, interrupted)?
            }
        };
        if self.orthogonal && !line {
            plane = plane.orthogonalise()?;
        }
        if self.grid.1 > 1 {
            directions::check(&plane)?;
        }
        let survey = Survey::new(llama, params.clone(), plane, batch, objective, method, device)?;
        let most = follow::points_at_once(&survey, budget)?;
        let batch =
            BatchInfo { tokens: batch.predicted(), sha256: batch.sha256(), source: source.to_owned() };
        let middle = (
            f64::midpoint(self.range[0].0, self.range[0].1) + self.offset.0,
            f64::midpoint(self.range[1].0, self.range[1].1) + self.offset.1,
        );
        Ok(Task { survey, batch, model: name.clone(), objective, middle, most })
    }

    fn normalization(&self) -> Normalization {
        self.norm.map_or(Normalization::Filter, Normalization::from)
    }

    fn make_plane(
        &self,
        checkpoint: &Checkpoint,
        names: &[String],
        seeds: [u64; 2],
        function: &LossFunction,
        budget: u64,
        interrupted: &Arc<AtomicBool>,
    ) -> anyhow::Result<Plane> {
        let params = &checkpoint.params;
        if self.plane != Kind::Of(PlaneKind::Random) && self.norm.is_some_and(|norm| norm != NormName::None) {
            let problem =
                "--norm scales random directions; it would turn any other away from what it stands for";
            return Err(Usage::error(problem));
        }
        let progress = Progress::new(self.ask.quiet);
        Ok(match &self.plane {
            Kind::Of(PlaneKind::Random) => Plane::random(params, names, seeds, self.normalization())?,
            Kind::Of(PlaneKind::Gradient) => gradient_plane(function, params, names, seeds)?,
            Kind::Of(PlaneKind::Hessian) => {
                let vector = bytes(params, names) as u64;
                // The vectors, and as much again for the gradients of one product.
                let room = (budget / vector.max(1)).saturating_sub(6) as usize;
                let steps = LANCZOS_STEPS.min(room);
                super::memory::check("Lanczos' method with 8 vectors", vector * 14, budget)?;
                hessian_plane(function, params, names, seeds, steps, &mut |step| {
                    progress.show_if_due(|| format!("Hessian: product {} of at most {steps}", step + 1));
                    !interrupted.load(Ordering::Relaxed)
                })?
            }
            Kind::To(other) => {
                let other = model::open(other, function.device, self.ask.quiet)?;
                let kind = format!("to:{}", other.name);
                difference_plane(params, &other.params, names, &kind, seeds)
                    .with_context(|| format!("--plane {kind}: the two models do not share a plane"))?
            }
            Kind::Of(PlaneKind::Update | PlaneKind::Trajectory) => {
                let (dir, mut steps) = self.earlier_checkpoints()?;
                if self.plane == Kind::Of(PlaneKind::Update) {
                    steps.drain(..steps.len().saturating_sub(1));
                }
                let states = (params.elements() * size_of::<f32>()) as u64 * 2 * steps.len() as u64;
                super::memory::check("the run's earlier checkpoints", states, budget)?;
                let open = |step: u64| Checkpoint::open(&dir.checkpoint(step), function.device, &mut |_| ());
                let states = steps.into_iter().map(|step| Ok(open(step)?.params));
                let states = states.collect::<anyhow::Result<Vec<_>>>()?;
                match (&self.plane, &states[..]) {
                    (Kind::Of(PlaneKind::Update), []) => {
                        bail!(
                            "--plane update: the run has no checkpoint before this one: train with --save-every"
                        );
                    }
                    (Kind::Of(PlaneKind::Update), [before, ..]) => {
                        difference_plane(before, params, names, "update", seeds).context("--plane update")?
                    }
                    _ => trajectory_plane(&states, params, names, seeds).context("--plane trajectory")?,
                }
            }
        })
    }

    /// The run, and the steps of its checkpoints before the one that is looked at, oldest first.
    fn earlier_checkpoints(&self) -> anyhow::Result<(RunDir, Vec<u64>)> {
        let Some(dir) = model::run(&self.model) else {
            bail!("--plane: {} is no run of llamascape: only a run has a past to draw", self.model);
        };
        let mut steps = dir.checkpoints()?;
        let looked_at = self.model.rsplit_once('@').and_then(|(_, step)| step.parse().ok());
        let looked_at = looked_at.or(steps.last().copied()).unwrap_or(0);
        steps.retain(|step| *step < looked_at);
        Ok((dir, steps))
    }

    /// Writes the file and prints the result. What can't be written is still printed. A picture needs the loss at the
    /// weights, which is there once all points are.
    fn finish(
        &self,
        surface: &Surface,
        grid: &Grid,
        form: Option<Form>,
        weights: Option<f64>,
        interrupted: &AtomicBool,
    ) -> anyhow::Result<()> {
        let written = match (&self.out, form, weights) {
            (Some(path), Some(Form::Drawing(drawing)), Some(weights)) => {
                let progress = Progress::new(self.ask.quiet);
                drawing.write(surface, weights, self.log, path, &progress, interrupted)
            }
            (Some(path), Some(Form::Data(_)), _) => surface.write(path).context("--out"),
            _ => Ok(()),
        };
        if self.ask.json {
            super::print(&format!("{}\n", serde_json::to_string(surface)?))?;
        } else {
            super::print(&table(surface, grid))?;
        }
        written?;
        if surface.caption.complete {
            return Ok(());
        }
        let known = format!("{} of {} points", grid.known(), grid.points().len());
        match (&self.out, form) {
            (Some(path), Some(Form::Data(format))) => {
                let further = if format.is_read_again() { "; --resume goes on" } else { "" };
                bail!("interrupted: {known} are in {}{further}", path.display());
            }
            (Some(path), _) => bail!(
                "interrupted: {known} are known, and {} is drawn of all: an --out of .npz would have kept them",
                path.display()
            ),
            (None, _) => bail!("interrupted: with --out FILE nothing would be lost"),
        }
    }
}

/// The same for a person.
fn table(surface: &Surface, grid: &Grid) -> String {
    let caption = &surface.caption;
    let mut table = format!(
        "{}\n{} of {} points in {:.2} s, {:.1} a second\n",
        super::printable(&caption.note),
        grid.known(),
        grid.points().len(),
        caption.seconds,
        caption.points_per_second
    );
    let finite: Vec<f64> = finite(&grid.loss()).into_iter().flatten().collect();
    let (low, high) = finite.iter().fold((f64::MAX, f64::MIN), |(l, h), x| (l.min(*x), h.max(*x)));
    if let Some(center) = caption.center.loss
        && !finite.is_empty()
    {
        table.push_str(&format!("loss {center:.4} at the middle, {low:.4} to {high:.4} around it\n"));
    }
    table
}
