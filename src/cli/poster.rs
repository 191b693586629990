//! `poster`: the loss around each of several models, as a picture to print.

use std::io::Write;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use candle_core::{DType, Device};
use clap::ValueEnum;
use ratatui::style::Color;

use super::choices::{MethodName, NormName, ObjectiveName};
use super::evaluation::Task;
use super::export::stops;
use super::model::{self, SelectionArgs};
use super::ranges::{coordinates, grid, ranges};
use super::usage::Usage;
use super::{LogLevel, at_least_one, directions, memory, printable, screen, warnings};
use crate::export::poster::raster::rasterise;
use crate::export::poster::{Colors, Layout, Panel, Paper, Poster, View};
use crate::export::surface::Caption;
use crate::export::{replace, writable};
use crate::landscape::directions::bytes;
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Normalization, Plane};
use crate::landscape::selection::Selection;
use crate::landscape::survey::{Grid, Method, Survey};
use crate::model::checkpoint::Checkpoint;
use crate::model::device::{self, DeviceChoice};
use crate::model::llama::Llama;
use crate::protocol::BatchInfo;
use crate::ranks::Ranks;
use crate::run::comparison::PROMPT;
use crate::theme::{Theme, rgb};

/// Letters of a text that a caption quotes.
const QUOTED: usize = 120;

/// A picture to print of the loss around each of several models
///
/// Each model is a panel; a pair stands side by side. 65x65 points of SmolLM2-135M take about a minute on two cores.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct Args {
    /// org/name or org/name@revision on the Hub, a folder in its layout, a .gguf file, a run by name or folder, or
    /// RUN@STEP
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    /// Measure on this text: every token after the first is predicted; the last is the target
    #[arg(long, value_name = "TEXT", default_value = PROMPT)]
    text: String,
    /// Turn what the film "How Models Learn" turned: the first half of the layers, norm gains too, scaled by tensor
    #[arg(long, conflicts_with_all = ["norm", "layers", "tensors", "with_norms", "with_embeddings"])]
    film: bool,
    /// How the random directions are scaled to the weights: each row, each tensor, or not at all [default: filter]
    #[arg(long, value_name = "SCALING")]
    norm: Option<NormName>,
    /// Seeds of the two directions
    #[arg(long, value_name = "SEEDS", default_value = "11,111", value_delimiter = ',')]
    seeds: Vec<u64>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// How far to look along the first direction and, after a comma, the second
    #[arg(long, value_name = "LO:HI[,LO:HI]", default_value = "-1:1", allow_hyphen_values = true, value_parser = ranges)]
    range: [(f64, f64); 2],
    /// Points along the first direction and the second
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "65x65", value_parser = grid)]
    grid: (usize, usize),
    /// The loss: mean over all predicted tokens, or the last token
    #[arg(long, value_name = "LOSS", default_value = "mean")]
    objective: ObjectiveName,
    /// How to evaluate: many points at once, or one after another [default: by the text's length]
    #[arg(long, value_name = "METHOD")]
    method: Option<MethodName>,
    /// Draw a surface seen from the side, a map with hill shading, or one in the bare colours of the losses
    #[arg(long, value_name = "VIEW", default_value = "surface")]
    view: ViewName,
    /// Degrees by which the surface is turned; seen from above, it turns against the clock
    #[arg(long, value_name = "DEGREES", default_value = "30", allow_hyphen_values = true, value_parser = turn)]
    turn: f64,
    /// Degrees above the horizon, from 10 to 80
    #[arg(long, value_name = "DEGREES", default_value = "35", value_parser = tilt)]
    tilt: f64,
    /// Heights and colours by the logarithm of the loss
    #[arg(long)]
    log: bool,
    /// Draw each model on a scale of its own: for models of different tokenizers, whose losses do not compare
    #[arg(long)]
    own_scale: bool,
    /// The sheet: A0 to A5, with -landscape behind it on its side
    #[arg(long, value_name = "PAPER", default_value = "A3", value_parser = Paper::parse)]
    paper: Paper,
    /// Columns of panels [default: what leaves them the most room]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one::<NonZero<usize>>)]
    columns: Option<NonZero<usize>>,
    /// Colours: a built-in theme, or NAME.toml in ~/.config/llamascape/themes
    #[arg(long, value_name = "NAME", default_value = "light")]
    theme: String,
    /// The title [default: what is drawn]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// The file to write: .svg or .png
    #[arg(long, value_name = "FILE", default_value = "poster.svg")]
    out: PathBuf,
    /// Dots an inch of a .png
    #[arg(long, value_name = "COUNT", default_value_t = 150,
          value_parser = clap::value_parser!(u16).range(36..=600))]
    dpi: u16,
    /// Go on with what an interrupted poster has left beside --out
    #[arg(long)]
    resume: bool,
    /// Memory for directions and evaluation, such as 2G [default: a third of what is free]
    #[arg(long, value_name = "BYTES", value_parser = memory::parse)]
    memory: Option<u64>,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = super::train::device)]
    device: DeviceChoice,
    /// Threads to compute with [default: all]
    #[arg(long, value_name = "COUNT", value_parser = super::threads)]
    threads: Option<NonZero<usize>>,
    /// No progress, and no word but errors
    #[arg(long)]
    quiet: bool,
    /// What is said on stderr beside progress
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: LogLevel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ViewName {
    Surface,
    Relief,
    Map,
}

fn turn(text: &str) -> Result<f64, String> {
    let degrees = text.parse().ok().filter(|degrees| (-360.0..=360.0).contains(degrees));
    degrees.ok_or_else(|| "not degrees from -360 to 360".to_owned())
}

fn tilt(text: &str) -> Result<f64, String> {
    let degrees = text.parse().ok().filter(|degrees| (10.0..=80.0).contains(degrees));
    degrees.ok_or_else(|| "not degrees from 10 to 80".to_owned())
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Svg,
    Png,
}

impl Form {
    /// The form that the end of the name says.
    fn of(path: &Path) -> anyhow::Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => Ok(Self::Svg),
            Some("png") => Ok(Self::Png),
            _ => Err(Usage::error(format!("--out {}: the name must end in .svg or .png", path.display()))),
        }
    }
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.threads
    }

    /// Evaluates model after model, and writes the poster.
    pub(super) fn run(self) -> anyhow::Result<()> {
        warnings::say(self.log_level, self.quiet);
        let at = || format!("--out {}", self.out.display());
        let form = Form::of(&self.out)?;
        // What takes minutes to compute should have a place to go.
        writable(&self.out).with_context(at)?;
        let layout = Layout::new(self.paper, self.columns.map(NonZero::get), self.models.len())?;
        let colors = colors(&screen::theme(Some(&self.theme))?);
        if self.grid.0 < 2 || self.grid.1 < 2 {
            let (columns, rows) = self.grid;
            return Err(Usage::error(format!(
                "--grid {columns}x{rows}: a surface has two points a side at least"
            )));
        }
        coordinates(self.range, self.grid)?;
        let [first, second] = self.seeds[..] else {
            return Err(Usage::error("--seeds: two directions need two seeds, such as 11,111"));
        };
        if form == Form::Png {
            // A blank sheet tells whether there can be a full one.
            let Paper { width, height } = self.paper;
            let blank = format!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}mm\" height=\"{height}mm\"/>"
            );
            rasterise(&blank, self.pixels()).with_context(at)?;
        }
        let interrupted = super::interrupt::flag()?;
        let device = device::open(self.device)?;
        self.check(&device)?;
        let panels =
            (0..self.models.len()).map(|index| self.panel(index, [first, second], &device, &interrupted));
        let panels = panels.collect::<anyhow::Result<Vec<_>>>()?;
        let poster = self.poster(layout, panels, colors);
        let svg = poster.svg();
        let file = match form {
            Form::Svg => svg.into_bytes(),
            Form::Png => rasterise(&svg, self.pixels()).with_context(at)?,
        };
        replace(&self.out, |out| out.write_all(&file)).with_context(at)?;
        for index in 0..self.models.len() {
            let part = self.part(index);
            std::fs::remove_file(&part).with_context(|| part.display().to_string())?;
        }
        let mut table = "loss at the weights\n".to_owned();
        for Panel { weights, name, .. } in &poster.panels {
            table.push_str(&format!("{weights:9.4}  {name}\n"));
        }
        let Paper { width, height } = self.paper;
        super::print(&format!(
            "{table}{}: {width} x {height} mm\n",
            printable(&self.out.display().to_string())
        ))
    }

    /// Pixels of a sheet's width.
    fn pixels(&self) -> u32 {
        (self.paper.width / 25.4 * f64::from(self.dpi)).round() as u32
    }

    /// Where the losses of a model are kept until the poster is written.
    fn part(&self, index: usize) -> PathBuf {
        let mut name = self.out.clone().into_os_string();
        name.push(format!(".{}.json", index + 1));
        name.into()
    }

    /// Refuses models that can't be opened or do not compare, before anything is computed.
    fn check(&self, device: &Device) -> anyhow::Result<()> {
        let [first, others @ ..] = &self.models[..] else { return Ok(()) };
        if others.is_empty() {
            return Ok(());
        }
        let first = model::open(first, device, self.quiet)?;
        let ids = model::text_batch(&self.text, &first)?.sha256();
        for other in others {
            let other = model::open(other, device, self.quiet)?;
            let reads_alike =
                model::text_batch(&self.text, &other)?.sha256() == ids && first.has_tokens_of(&other);
            if !reads_alike && !self.own_scale {
                bail!(
                    "the tokenizers of {} and {} differ: losses a token are not comparable; --own-scale draws each \
                     on a scale of its own",
                    first.name,
                    other.name
                );
            }
        }
        Ok(())
    }

    fn panel(
        &self,
        index: usize,
        seeds: [u64; 2],
        device: &Device,
        interrupted: &AtomicBool,
    ) -> anyhow::Result<Panel> {
        let checkpoint = model::open(&self.models[index], device, self.quiet)?;
        let task = self.task(&checkpoint, seeds, device)?;
        let (alphas, betas) = coordinates(self.range, self.grid)?;
        let mut grid = Grid::new(alphas, betas);
        let part = self.part(index);
        if self.resume {
            task.take_over(&part, &mut grid)?;
        }
        let surface = task.evaluate(&mut grid, Some(&part), self.quiet, interrupted, &Ranks::alone())?;
        surface.write(&part).context("--out")?;
        if !surface.caption.complete {
            bail!(
                "interrupted: {} of {} points of {} are in {}; --resume goes on",
                grid.known(),
                grid.points().len(),
                task.model,
                part.display()
            );
        }
        Ok(Panel {
            name: printable(&task.model),
            facts: self.facts(&surface.caption),
            alphas: grid.alphas().to_vec(),
            betas: grid.betas().to_vec(),
            loss: grid.loss(),
            lines: None,
            weights: surface.caption.center.loss.unwrap_or(f64::NAN),
        })
    }

    fn normalization(&self) -> Normalization {
        let usual = if self.film { Normalization::Layer } else { Normalization::Filter };
        self.norm.map_or(usual, Normalization::from)
    }

    fn task(&self, checkpoint: &Checkpoint, seeds: [u64; 2], device: &Device) -> anyhow::Result<Task> {
        let Checkpoint { name, config, params, .. } = checkpoint;
        let batch = model::text_batch(&self.text, checkpoint)?;
        let selection = if self.film {
            Selection::first_half(config.num_hidden_layers)
        } else {
            self.selection.selection()?
        };
        let names = selection.names(params)?;
        let (taken, budget) =
            (2 * bytes(params, &names) as u64, memory::budget(self.memory, &Ranks::alone()));
        memory::check("the two directions", taken, budget)?;
        let plane = Plane::random(params, &names, seeds, self.normalization())?;
        directions::check(&plane)?;
        let llama = Llama::new(config, DType::F32, device)?;
        let objective = Objective::from(self.objective);
        let method = self.method.map(Method::from);
        let survey = Survey::new(llama, params.clone(), plane, &batch, objective, method, device)?;
        let most = memory::points_at_once(&survey, "the directions", taken, budget)?;
        let batch =
            BatchInfo { tokens: batch.predicted(), sha256: batch.sha256(), source: "text".to_owned() };
        Ok(Task { survey, batch, model: name.clone(), objective, middle: (0.0, 0.0), most })
    }

    /// What a panel's losses are of.
    fn facts(&self, caption: &Caption) -> Vec<String> {
        let Caption { plane, batch, method, .. } = caption;
        let text = printable(&self.text);
        let mut quoted: String = text.chars().take(QUOTED).collect();
        if quoted.len() < text.len() {
            quoted.push('…');
        }
        let loss = match Objective::from(self.objective) {
            Objective::Mean => format!("mean loss of {} tokens", batch.tokens),
            Objective::Last => "loss of the last token".to_owned(),
        };
        let numbers = match plane.parameters {
            count @ 1_000_000.. => format!("{:.1} million", count as f64 / 1e6),
            count => count.to_string(),
        };
        let unit = match self.normalization() {
            Normalization::Filter => "1 along d1 or d2 changes each row of a matrix by as much as its norm",
            Normalization::Layer => "1 along d1 or d2 changes each tensor by as much as its norm",
            Normalization::None => "1 along d1 or d2 adds a standard normal number to each weight",
        };
        let [d1, d2] = self.range;
        let (columns, rows) = self.grid;
        vec![
            format!("{loss} of “{quoted}” #{}", batch.sha256.get(..4).unwrap_or_default()),
            format!(
                "one pair of random directions, of {numbers} numbers each: seeds {} and {}, {} tensors turned, {} \
                 normalisation, cosine {:.1e}; another pair shows another picture",
                plane.seeds[0], plane.seeds[1], plane.tensors, plane.normalization, plane.cosine
            ),
            format!(
                "{unit}; d1 from {} to {}, d2 from {} to {}, {columns}x{rows} points ({method})",
                d1.0, d1.1, d2.0, d2.1
            ),
        ]
    }

    fn poster(&self, layout: Layout, panels: Vec<Panel>, colors: Colors) -> Poster {
        let title = match (&self.title, &panels[..]) {
            (Some(title), _) => printable(title),
            (None, [panel]) => format!("The loss landscape of {}", panel.name),
            (None, panels) => format!("The loss landscapes of {} models", panels.len()),
        };
        let unit = match Objective::from(self.objective) {
            Objective::Mean => "nats a token",
            Objective::Last => "nats",
        };
        let view = match self.view {
            ViewName::Surface => View::Surface { turn: self.turn, tilt: self.tilt },
            ViewName::Relief => View::Relief,
            ViewName::Map => View::Map,
        };
        Poster {
            title,
            foot: foot(),
            layout,
            panels,
            colors,
            view,
            log: self.log,
            own_scales: self.own_scale,
            unit,
        }
    }
}

/// The colours of a theme: those of its first map, on its ground.
pub(super) fn colors(theme: &Theme) -> Colors {
    let palette = &theme.palette;
    let color = |color: Option<Color>, default| rgb(color.unwrap_or(Color::Reset), default);
    let ink = color(palette.base.fg, [0; 3]);
    let mut stops = stops(theme);
    if stops.len() < 2 {
        stops = vec![[30; 3], [245; 3]];
    }
    Colors {
        paper: color(palette.base.bg, [255; 3]),
        ink,
        muted: color(palette.muted.fg, ink),
        bad: color(palette.invalid.fg, ink),
        stops,
    }
}

/// What stands at the foot: the version, and the command that draws the same.
pub(super) fn foot() -> String {
    let arguments = std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned());
    format!("llamascape {}: {}", env!("CARGO_PKG_VERSION"), printable(&command(arguments)))
}

/// The command that draws the same picture, from the arguments of this one: without those that change nothing on it.
fn command(arguments: impl Iterator<Item = String>) -> String {
    const ALONE: [&str; 4] = ["--resume", "--quiet", "--no-config", "--json"];
    const WITH_VALUE: [&str; 5] = ["--out", "--threads", "--memory", "--device", "--config"];
    let mut command = "llamascape".to_owned();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let flag = argument.split('=').next().unwrap_or_default();
        if WITH_VALUE.contains(&argument.as_str()) {
            arguments.next();
        } else if !ALONE.contains(&flag) && !WITH_VALUE.contains(&flag) {
            command.push(' ');
            command.push_str(&quoted(&argument));
        }
    }
    command
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:,@=+-".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_at_the_foot_is_what_was_typed_but_for_what_changes_nothing() {
        let typed =
            ["poster", "a/b.gguf", "--out", "x y.svg", "--text", "It's Paris", "--threads=3", "--resume"];
        let shown = command(typed.into_iter().map(str::to_owned));
        assert_eq!(shown, r"llamascape poster a/b.gguf --text 'It'\''s Paris'");
    }
}
