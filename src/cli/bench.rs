//! `bench`: what this machine does.

use std::num::NonZero;
use std::time::{Duration, Instant};

use candle_core::{DType, Device};
use clap::ValueEnum;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};
use rayon::prelude::*;
use serde::Serialize;

use super::at_least_one;
use super::progress::Progress;
use super::train::PresetName;
use crate::app::{App, Message, Options};
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Normalization, Plane};
use crate::landscape::selection::Selection;
use crate::landscape::survey::{Control, Grid, Survey};
use crate::model::config::LlamaConfig;
use crate::model::gaussian;
use crate::model::llama::Llama;
use crate::model::matmul::{Into, Matrix, MatrixMut, multiply};
use crate::model::params::Params;
use crate::protocol::{
    BatchInfo, OptimizerKind, Phase, PlaneKind, Point, Slice, Status, ToScreen, Update, VERSION,
};
use crate::terminal;
use crate::theme::{ColorDepth, Theme};
use crate::train::corpus::{Batch, Corpus};
use crate::train::preset::{Preset, initial_params};
use crate::train::trainer::{Objective as Learnt, Recipe, Trainer};
use crate::ui;

/// What this machine does: matrix products, training, slices, and the screen
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Size of the model, on random tokens of its full vocabulary
    #[arg(long, value_name = "PRESET", default_value = "nano")]
    preset: PresetName,
    /// Seconds of each measurement
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = at_least_one::<NonZero<u32>>)]
    seconds: NonZero<u32>,
    /// Columns and rows of the screen
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "120x40", value_parser = super::export::size)]
    size: (u16, u16),
    /// Measure this alone
    #[arg(long, value_name = "PART")]
    only: Option<Part>,
    /// Threads to compute with [default: all]
    #[arg(long, value_name = "COUNT", value_parser = super::threads)]
    threads: Option<NonZero<usize>>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// No progress
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Gemm,
    Train,
    Slice,
    Ui,
}

#[derive(Debug, Serialize)]
struct Report {
    threads: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    gemm_gflops: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    train: Option<TrainReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slice: Option<SliceReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ui: Option<UiReport>,
}

/// A step is counted as 6 operations for each parameter and token.
#[derive(Debug, Serialize)]
struct TrainReport {
    preset: &'static str,
    tokens_per_second: f64,
    gflops: f64,
    /// What weights, gradients, moments and activations take.
    bytes: usize,
}

/// A point is counted as 2 operations for each parameter and token.
#[derive(Debug, Serialize)]
struct SliceReport {
    preset: &'static str,
    tokens: usize,
    method: &'static str,
    points_per_second: f64,
    gflops: f64,
}

#[derive(Debug, Serialize)]
struct UiReport {
    size: String,
    frame_ms_p99: f64,
    bytes_per_refresh: f64,
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.threads
    }

    /// Measures and prints.
    pub(super) fn run(self, threads: usize) -> anyhow::Result<()> {
        let progress = Progress::new(self.quiet);
        let duration = Duration::from_secs(u64::from(self.seconds.get()));
        let part = |part: Part, what: &str| {
            let wanted = self.only.is_none_or(|only| only == part);
            if wanted {
                progress.show(&format!("measuring {what}"));
            }
            wanted
        };
        let subject = Subject::new(self.preset.preset())?;
        let report = Report {
            threads,
            gemm_gflops: part(Part::Gemm, "matrix products").then(|| gemm(threads, duration)),
            train: part(Part::Train, "training").then(|| subject.train(threads, duration)).transpose()?,
            slice: part(Part::Slice, "slices").then(|| subject.slice(duration)).transpose()?,
            ui: part(Part::Ui, "the screen").then(|| screen(self.size, duration)).transpose()?,
        };
        progress.end();
        if self.json {
            super::print(&format!("{}\n", serde_json::to_string(&report)?))?;
        } else {
            super::print(&report.table())?;
        }
        Ok(())
    }
}

impl Report {
    fn table(&self) -> String {
        let mut table = format!("{} threads\n", self.threads);
        if let Some(gflops) = self.gemm_gflops {
            table.push_str(&format!("matrix products  {gflops:>8.1} GFLOP/s\n"));
        }
        let share = |gflops: f64| {
            self.gemm_gflops
                .map_or_else(String::new, |peak| format!(", {:.0} % of that", 100.0 * gflops / peak))
        };
        if let Some(train) = &self.train {
            table.push_str(&format!(
                "training {:6}  {:>8.0} tokens/s, {:.1} GFLOP/s{}, {:.0} MB\n",
                train.preset,
                train.tokens_per_second,
                train.gflops,
                share(train.gflops),
                train.bytes as f64 / 1e6
            ));
        }
        if let Some(slice) = &self.slice {
            table.push_str(&format!(
                "slices {:6}    {:>8.1} points/s of {} tokens, {:.1} GFLOP/s{}, method {}\n",
                slice.preset,
                slice.points_per_second,
                slice.tokens,
                slice.gflops,
                share(slice.gflops),
                slice.method
            ));
        }
        if let Some(ui) = &self.ui {
            table.push_str(&format!(
                "screen {:<9} {:>8.2} ms a frame at most (p99), {:.0} bytes a new picture\n",
                ui.size, ui.frame_ms_p99, ui.bytes_per_refresh
            ));
        }
        table
    }
}

/// Products a second of 512 x 512 matrices, a thread each, in 10^9 operations.
fn gemm(threads: usize, duration: Duration) -> f64 {
    const SIDE: usize = 512;
    let work = |_| {
        let a = vec![0.5_f32; SIDE * SIDE];
        let mut out = vec![0.0_f32; SIDE * SIDE];
        let (started, mut products) = (Instant::now(), 0_u32);
        while started.elapsed() < duration {
            let matrix = Matrix::new(&a, SIDE, SIDE, SIDE);
            multiply(MatrixMut::new(&mut out, SIDE, SIDE, SIDE), Into::Overwrite, matrix, matrix, 1.0);
            products += 1;
        }
        f64::from(products) * 2.0 * (SIDE * SIDE * SIDE) as f64 / started.elapsed().as_secs_f64() / 1e9
    };
    (0..threads).into_par_iter().with_max_len(1).map(work).sum()
}

/// A preset with its full vocabulary and random tokens.
struct Subject {
    preset: Preset,
    config: LlamaConfig,
    params: Params,
    corpus: Corpus,
}

impl Subject {
    fn new(preset: Preset) -> anyhow::Result<Self> {
        let config = preset.config(preset.vocab_size, preset.context, None);
        let params = initial_params(&config, 0, &Device::Cpu)?;
        let vocabulary = preset.vocab_size as f32;
        let ids = gaussian::normal(0, "ids", 1 << 16).into_iter();
        let ids = ids.map(|x| ((x.abs() * 1000.0).fract() * vocabulary) as u32).collect::<Vec<u32>>();
        Ok(Self { preset, config, params, corpus: Corpus::new([ids]) })
    }

    fn batch(&self) -> Batch {
        self.corpus.batch(0, 0, self.preset.batch_size, self.preset.context)
    }

    fn train(&self, threads: usize, duration: Duration) -> anyhow::Result<TrainReport> {
        let recipe = Recipe { weight_decay: 0.1, clip: 1.0, ..Recipe::plain(OptimizerKind::AdamW, 1e-3) };
        let (rows, context) = (self.preset.batch_size, self.preset.context);
        let learnt = Learnt::Corpus { train: self.corpus.clone(), held_out: self.batch(), rows, context };
        let llama = Llama::new(&self.config, DType::F32, &Device::Cpu)?;
        let mut trainer =
            Trainer::new(llama, self.params.clone(), |_| true, learnt, recipe, &Device::Cpu, threads)?;
        trainer.step()?;
        let (started, mut tokens) = (Instant::now(), 0);
        while started.elapsed() < duration {
            tokens += trainer.step()?.tokens;
        }
        let tokens_per_second = tokens as f64 / started.elapsed().as_secs_f64();
        let gflops = 6.0 * self.params.elements() as f64 * tokens_per_second / 1e9;
        Ok(TrainReport { preset: self.preset.name, tokens_per_second, gflops, bytes: trainer.bytes(1) })
    }

    fn slice(&self, duration: Duration) -> anyhow::Result<SliceReport> {
        let names = Selection::default().names(&self.params)?;
        let plane = Plane::random(&self.params, &names, [11, 111], Normalization::Filter)?;
        let llama = Llama::new(&self.config, DType::F32, &Device::Cpu)?;
        let (params, batch) = (self.params.clone(), self.batch());
        let survey = Survey::new(llama, params, plane, &batch, Objective::Mean, None, &Device::Cpu)?;
        survey.loss(0.1, 0.1)?;
        let (started, mut points) = (Instant::now(), 0);
        while started.elapsed() < duration {
            let mut grid = Grid::coarse(1.0);
            grid.fill(&survey, survey.points_at_once(), &Control::QUIET)?;
            points += grid.known();
        }
        let points_per_second = points as f64 / started.elapsed().as_secs_f64();
        let tokens = batch.predicted();
        Ok(SliceReport {
            preset: self.preset.name,
            tokens,
            method: survey.method().name(),
            points_per_second,
            gflops: 2.0 * (self.params.elements() * tokens) as f64 * points_per_second / 1e9,
        })
    }
}

/// Frames of a screen of so many columns and rows in true colour, each with a new step and every other one with a new slice.
fn screen(size: (u16, u16), duration: Duration) -> anyhow::Result<UiReport> {
    let theme = Theme::named("dark", ColorDepth::True)?;
    let mut app = App::new(Options::default());
    app.update(Message::Engine(ToScreen::Welcome { version: VERSION }));
    let viewport = Viewport::Fixed(Rect::new(0, 0, size.0, size.1));
    let written = terminal::Frame::default();
    let backend = CrosstermBackend::new(written.clone());
    let mut terminal = Terminal::with_options(backend, TerminalOptions { viewport })?;
    let (started, mut times, mut bytes, mut pictures) = (Instant::now(), Vec::new(), 0, 0_u32);
    for step in 1.. {
        let slice = (step % 2 == 0).then(|| analytic_slice(step));
        let new_picture = slice.is_some();
        app.update(Message::Engine(ToScreen::Update(Box::new(update(step, slice)))));
        let begun = Instant::now();
        terminal.draw(|frame| ui::view(&app, &theme, frame))?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        let written = written.take().len();
        // The first frames draw everything.
        if new_picture && step > 4 {
            bytes += written;
            pictures += 1;
        }
        if started.elapsed() > duration && pictures > 0 {
            break;
        }
    }
    times.sort_by(f64::total_cmp);
    let frame_ms_p99 = times[(times.len() - 1) * 99 / 100];
    let size = format!("{}x{}", size.0, size.1);
    Ok(UiReport { size, frame_ms_p99, bytes_per_refresh: bytes as f64 / f64::from(pictures) })
}

/// A bowl that drifts and deepens from step to step, as a slice of a run does.
fn analytic_slice(step: u64) -> Slice {
    let grid = Grid::coarse(1.0).finer();
    let shift = 0.2 * (step as f64 / 10.0).sin();
    let loss = |alpha: f64, beta: f64| {
        2.0 + (alpha - shift).powi(2) * 4.0 + (beta + shift).powi(2) * 2.0 + 0.3 * (5.0 * alpha * beta).sin()
    };
    let points =
        grid.betas().iter().flat_map(|beta| grid.alphas().iter().map(|alpha| loss(*alpha, *beta) as f32));
    Slice {
        step,
        generation: 1,
        loss: points.collect(),
        alphas: grid.alphas().to_vec(),
        betas: grid.betas().to_vec(),
        center: loss(0.0, 0.0),
        finest: true,
        plane: crate::protocol::PlaneInfo { kind: "random".to_owned(), ..Default::default() },
        batch: BatchInfo { tokens: 128, sha256: "0".repeat(64), source: "held-out".to_owned() },
        seconds: 0.1,
        method: String::new(),
        sharpness: None,
    }
}

fn update(step: u64, slice: Option<Slice>) -> Update {
    let loss = 2.0 + 6.0 / (step as f64).sqrt();
    let status = Status {
        phase: Phase::Running,
        step,
        loss: Some(loss),
        held_out: None,
        grad_norm: Some(1.0 / loss),
        clip: 1.0,
        learning_rate: 1e-3,
        optimizer: OptimizerKind::AdamW,
        tokens_per_second: Some(10_000.0 + step as f64),
        seconds: step as f64 / 20.0,
        viewers: 1,
        drift: None,
        slicing: true,
        plane: PlaneKind::Random,
        back: None,
        checkpoints: Vec::new(),
    };
    let point =
        Point { step, loss, held_out: None, grad_norm: 1.0 / loss, learning_rate: 1e-3, spike: false };
    Update { status: Some(status), points: vec![point], slice, ..Update::default() }
}
