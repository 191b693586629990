//! `train`: train a model, and watch it where there is a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;

use super::engine::Greeting;
use super::screen;
use crate::model::device::DeviceChoice;
use crate::protocol::{OptimizerKind, Outcome, Phase, RunInfo, Status};
use crate::run::dir::{RunDir, name_from};
use crate::run::host::{Mode, Report, host};
use crate::settings::{DataSource, ModelSource, Settings, SliceEvery};
use crate::train::preset::Preset;
use crate::train::schedule::Shape;

/// Steps of a run without a screen that says nothing else.
const HEADLESS_STEPS: u64 = 1000;
/// Where the schedule ends if neither `--decay-steps` nor `--steps` says it.
const DECAY_STEPS: u64 = 1000;
/// The same for the built-in corpus, which is learnt by then: going on at a high rate only teaches the model
/// which sentences were held out.
const BUILTIN_DECAY_STEPS: u64 = 500;
/// Learning rate for a model that is trained already.
const FINE_TUNE_RATE: f64 = 1e-5;

/// Train a model and watch it.
#[derive(Debug, clap::Args)]
#[group(skip)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub(super) struct Args {
    /// Size of a model trained from nothing
    #[arg(long, value_name = "PRESET", default_value = "nano", conflicts_with = "model")]
    preset: PresetName,
    /// Train this model on: a folder in Hugging Face layout, a .gguf file or a run
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// A file or folder of .txt, .md or .jsonl, - for standard input, builtin or builtin-qa
    #[arg(long, value_name = "DATA", default_value = "builtin", conflicts_with = "text")]
    data: String,
    /// Learn this one text; its last token is the target
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Number of the last step [default: on a screen none, without one 1000]
    #[arg(long, value_name = "N")]
    steps: Option<NonZero<u64>>,
    /// Optimizer to start with
    #[arg(long, value_name = "NAME", default_value = "adamw")]
    optimizer: OptimizerName,
    /// Highest learning rate [default: 5e-3 for nano, 3e-3 micro, 1e-3 mini, 1e-5 with --model]
    #[arg(long, value_name = "RATE", value_parser = positive)]
    lr: Option<f64>,
    /// Decay of matrices by adamw
    #[arg(long, value_name = "DECAY", default_value = "0.1", value_parser = not_negative)]
    weight_decay: f64,
    /// Shape of the learning rate over the steps [default: cosine, constant with --text]
    #[arg(long, value_name = "SHAPE")]
    schedule: Option<ScheduleName>,
    /// Steps of linear warm-up [default: 20, 0 with --text]
    #[arg(long, value_name = "STEPS")]
    warmup: Option<u64>,
    /// Where the schedule reaches its floor, a fiftieth of the rate [default: 500 for builtin, otherwise --steps or 1000]
    #[arg(long, value_name = "STEPS")]
    decay_steps: Option<NonZero<u64>>,
    /// Rows of a batch [default: 8]
    #[arg(long, value_name = "ROWS")]
    batch_size: Option<NonZero<usize>>,
    /// Tokens in a row [default: 64 for nano, 128 micro, 256 mini, 128 with --model]
    #[arg(long, value_name = "TOKENS")]
    context: Option<NonZero<usize>>,
    /// Batches whose gradients make one step
    #[arg(long, value_name = "BATCHES", default_value = "1")]
    accumulate: NonZero<usize>,
    /// Gradient norm above which gradients are scaled down; 0 for never
    #[arg(long, value_name = "NORM", default_value = "1", value_parser = not_negative)]
    clip: f64,
    /// Seed of weights, batches and what is held out
    #[arg(long, value_name = "SEED", default_value = "0")]
    seed: u64,
    /// Steps between two measurements of the held-out loss
    #[arg(long, value_name = "STEPS", default_value = "50")]
    eval_every: NonZero<u64>,
    /// Steps between two checkpoints; the end is saved in any case
    #[arg(long, value_name = "STEPS")]
    save_every: Option<NonZero<u64>>,
    /// Checkpoints to keep
    #[arg(long, value_name = "COUNT", default_value = "2")]
    keep_last: NonZero<usize>,
    /// When the slice is drawn again: a number of steps, auto or off [default: auto, headless off]
    #[arg(long, value_name = "WHEN", value_parser = slice_every)]
    slice_every: Option<SliceEvery>,
    /// Points a side of the finest picture: 9, 17, 33 or 65
    #[arg(long, value_name = "SIDE", default_value = "33")]
    grid: usize,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = device)]
    device: DeviceChoice,
    /// Threads to compute with [default: all]
    #[arg(long, value_name = "COUNT", value_parser = super::threads)]
    threads: Option<NonZero<usize>>,
    /// What to call the run [default: a name made up from the time]
    #[arg(long, value_name = "NAME", value_parser = run_name)]
    name: Option<String>,
    /// The run's folder itself [default: a new one under the state folder's llamascape/runs]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Wait for a key before the first step
    #[arg(long, conflicts_with = "headless")]
    paused: bool,
    /// Train in the foreground without a screen; chosen by itself when the output is no terminal
    #[arg(long)]
    headless: bool,
    /// Without a screen: print one JSON object at the end
    #[arg(long)]
    json: bool,
    /// Without a screen: no progress
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    screen: screen::Args,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PresetName {
    Nano,
    Micro,
    Mini,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OptimizerName {
    Adamw,
    Adam,
    Sgd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScheduleName {
    Cosine,
    Linear,
    Constant,
}

fn number(text: &str, fits: fn(f64) -> bool, kind: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x: &f64| x.is_finite() && fits(*x)).ok_or(format!("not a {kind} number"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0, "positive")
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |x| x >= 0.0, "positive or zero")
}

fn slice_every(text: &str) -> Result<SliceEvery, String> {
    match text {
        "auto" => Ok(SliceEvery::Auto),
        "off" => Ok(SliceEvery::Off),
        _ => match text.parse() {
            Ok(steps) if steps > 0 => Ok(SliceEvery::Steps(steps)),
            _ => Err("neither auto, off nor a number of steps".to_owned()),
        },
    }
}

pub(super) fn device(text: &str) -> Result<DeviceChoice, String> {
    match text {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "metal" => Ok(DeviceChoice::Metal),
        "cuda" => Ok(DeviceChoice::Cuda(0)),
        _ => match text.strip_prefix("cuda:").and_then(|index| index.parse().ok()) {
            Some(index) => Ok(DeviceChoice::Cuda(index)),
            None => Err("neither auto, cpu, cuda, cuda:N nor metal".to_owned()),
        },
    }
}

/// A name becomes part of a path and of what the screen shows.
fn run_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.len() > 40 || text.starts_with(['.', '-']) || !text.chars().all(fits) {
        return Err(
            "a name is 1 to 40 letters, digits, -, _ and ., and begins with none of - and .".to_owned()
        );
    }
    Ok(text.to_owned())
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.threads
    }

    /// Trains.
    pub(super) fn run(self, threads: usize) -> anyhow::Result<()> {
        let headless = self.headless || !std::io::stdout().is_terminal();
        let settings = self.settings(threads, headless)?;
        let look = self.screen.look()?;
        if headless {
            let dir = self.create(settings)?;
            return self.train_headless(&dir);
        }
        if self.json {
            bail!("--json prints a summary at the end of a run without a screen: add --headless");
        }
        crate::terminal::check_size()?;
        let dir = self.create(settings)?;
        let socket = start_engine(&dir, threads).inspect_err(|_| dir.discard())?;
        screen::watch(&socket, &dir.settings()?.name, look, false)
    }

    /// What the flags come to. Paths are checked here, so that a slip of the finger costs nothing.
    fn settings(&self, threads: usize, headless: bool) -> anyhow::Result<Settings> {
        let preset = self.preset.to_possible_value().and_then(|name| Preset::named(name.get_name()));
        let preset = preset.context("the preset is unknown")?;
        let model = match &self.model {
            Some(path) => ModelSource::Checkpoint(existing(path, "--model")?),
            None => ModelSource::Preset(preset.name.to_owned()),
        };
        let data = match (&self.text, self.data.as_str()) {
            (Some(text), _) => DataSource::Text(text.clone()),
            (None, "builtin") => DataSource::Builtin,
            (None, "builtin-qa") => DataSource::BuiltinQa,
            // Standard input is copied into the run's folder once there is one.
            (None, "-") => DataSource::Path(PathBuf::from("-")),
            (None, path) => DataSource::Path(existing(Path::new(path), "--data")?),
        };
        let decay_steps = match &data {
            DataSource::Builtin | DataSource::BuiltinQa => BUILTIN_DECAY_STEPS,
            _ => self.steps.map_or(DECAY_STEPS, NonZero::get),
        };
        let one_text = self.text.is_some();
        let steps = self.steps.map(NonZero::get).or(headless.then_some(HEADLESS_STEPS));
        let (rate, context) = match model {
            ModelSource::Preset(_) => (preset.learning_rate, preset.context),
            ModelSource::Checkpoint(_) => (FINE_TUNE_RATE, 128),
        };
        let schedule =
            self.schedule.unwrap_or(if one_text { ScheduleName::Constant } else { ScheduleName::Cosine });
        let now = jiff::Timestamp::now().as_millisecond().unsigned_abs();
        Ok(Settings {
            name: self.name.clone().unwrap_or_else(|| name_from(now)),
            model,
            data,
            steps,
            optimizer: match self.optimizer {
                OptimizerName::Adamw => OptimizerKind::AdamW,
                OptimizerName::Adam => OptimizerKind::Adam,
                OptimizerName::Sgd => OptimizerKind::Sgd,
            },
            learning_rate: self.lr.unwrap_or(rate),
            weight_decay: self.weight_decay,
            schedule: match schedule {
                ScheduleName::Cosine => Shape::Cosine,
                ScheduleName::Linear => Shape::Linear,
                ScheduleName::Constant => Shape::Constant,
            },
            warmup: self.warmup.unwrap_or(if one_text { 0 } else { 20 }),
            decay_steps: self.decay_steps.map_or(decay_steps, NonZero::get),
            batch_size: self.batch_size.map_or(preset.batch_size, NonZero::get),
            context: self.context.map_or(context, NonZero::get),
            accumulate: self.accumulate.get(),
            clip: self.clip,
            seed: self.seed,
            eval_every: self.eval_every.get(),
            save_every: self.save_every.map(NonZero::get),
            keep_last: self.keep_last.get(),
            slice_every: self.slice_every.unwrap_or(if headless {
                SliceEvery::Off
            } else {
                SliceEvery::Auto
            }),
            grid: self.grid,
            device: self.device,
            threads,
            paused: self.paused,
        })
    }

    /// Makes the run's folder.
    fn create(&self, mut settings: Settings) -> anyhow::Result<RunDir> {
        if settings.data != DataSource::Path(PathBuf::from("-")) {
            return Ok(RunDir::create(self.run_dir.as_deref(), &settings)?);
        }
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text).context("standard input can't be read")?;
        let dir = RunDir::create(self.run_dir.as_deref(), &settings)?;
        let copy = dir.path().join("data.txt");
        settings.data = DataSource::Path(copy.clone());
        let written = std::fs::write(&copy, text).with_context(|| copy.display().to_string());
        let written = written.and_then(|()| Ok(dir.write_settings(&settings)?));
        written.inspect_err(|_| dir.discard())?;
        Ok(dir)
    }

    fn train_headless(&self, dir: &RunDir) -> anyhow::Result<()> {
        let mut progress = Progress::new(self.quiet);
        let report = host(dir, Mode::Headless, |_| {}, &mut |info, status| progress.show(info, status))?;
        if let Outcome::Failed { error } = &report.outcome {
            bail!("{error}");
        }
        if self.json {
            super::print(&format!("{}\n", serde_json::to_string(&Summary::of(&report))?))?;
        } else if !self.quiet {
            super::print(&format!("{}\n", Summary::of(&report).line()))?;
        }
        Ok(())
    }
}

/// The path made absolute, if something is there.
fn existing(path: &Path, flag: &str) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| flag.to_owned())?;
    match std::fs::metadata(&absolute) {
        Ok(_) => Ok(absolute),
        Err(error) => bail!("{flag} {}: {error}", path.display()),
    }
}

/// Starts the process that trains, and waits until it listens or says why it can't.
fn start_engine(dir: &RunDir, threads: usize) -> anyhow::Result<PathBuf> {
    let log = dir.path().join("engine.log");
    let errors = File::options().create(true).append(true).open(&log);
    let errors = errors.with_context(|| log.display().to_string())?;
    let program = std::env::current_exe().context("the program can't find itself")?;
    let mut engine = Command::new(program)
        .arg("engine")
        .args(["--threads", &threads.to_string()])
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("the engine can't be started")?;
    let mut line = String::new();
    if let Some(output) = engine.stdout.take() {
        BufReader::new(output).read_line(&mut line).context("the engine can't be heard")?;
    }
    match serde_json::from_str(&line) {
        Ok(Greeting::Socket(socket)) => Ok(socket),
        Ok(Greeting::Error(error)) => bail!("{error}"),
        Err(_) => {
            let reason = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("the engine ended before it could say why: {}", reason.lines().last().unwrap_or("no word"))
        }
    }
}

/// What a run without a screen came to.
#[derive(Serialize)]
struct Summary<'a> {
    name: &'a str,
    path: &'a str,
    model: &'a str,
    parameters: u64,
    step: u64,
    loss: Option<f64>,
    eval_loss: Option<f64>,
    grad_norm: Option<f64>,
    tokens: u64,
    seconds: f64,
    tokens_per_second: Option<f64>,
    checkpoint: Option<&'a str>,
}

impl<'a> Summary<'a> {
    fn of(report: &'a Report) -> Self {
        let status = &report.status;
        let finite = |x: Option<f64>| x.filter(|x| x.is_finite());
        Self {
            name: &report.info.name,
            path: &report.info.path,
            model: &report.info.model,
            parameters: report.info.parameters,
            step: status.step,
            loss: finite(status.loss),
            eval_loss: finite(status.held_out),
            grad_norm: finite(status.grad_norm),
            tokens: report.tokens,
            seconds: status.seconds,
            tokens_per_second: finite(status.tokens_per_second),
            checkpoint: match &report.outcome {
                Outcome::Stopped { checkpoint, .. } => checkpoint.as_deref(),
                Outcome::Failed { .. } => None,
            },
        }
    }

    fn line(&self) -> String {
        let loss = |loss: Option<f64>| loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}"));
        format!(
            "{}: {} steps in {:.1} s, loss {}, held-out {}; {}",
            self.name,
            self.step,
            self.seconds,
            loss(self.loss),
            loss(self.eval_loss),
            self.checkpoint.unwrap_or("nothing saved")
        )
    }
}

/// Progress on stderr: a line that renews itself on a terminal, plain lines otherwise.
struct Progress {
    quiet: bool,
    terminal: bool,
    shown: Option<Instant>,
    stage: String,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { quiet, terminal, shown: None, stage: String::new() }
    }

    fn show(&mut self, info: &RunInfo, status: &Status) {
        if self.quiet {
            return;
        }
        match &status.phase {
            Phase::Preparing(stages) => {
                let done = stages.iter().rfind(|stage| stage.progress >= 1.0);
                let Some(stage) = done.filter(|stage| stage.name != self.stage) else { return };
                self.stage.clone_from(&stage.name);
                self.line(&format!("{}: {}: {}", info.name, stage.name, stage.detail), true);
            }
            Phase::Running => {
                let interval = Duration::from_millis(if self.terminal { 100 } else { 5000 });
                if status.step == 0 || self.shown.is_some_and(|shown| shown.elapsed() < interval) {
                    return;
                }
                self.shown = Some(Instant::now());
                self.line(&Self::describe(info, status), false);
            }
            Phase::Paused | Phase::Finished | Phase::Stopping => {
                if self.shown.take().is_some() {
                    self.line(&Self::describe(info, status), true);
                }
            }
        }
    }

    fn describe(info: &RunInfo, status: &Status) -> String {
        let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
        let last = info.last_step.map_or_else(String::new, |last| format!("/{last}"));
        let rate = status.tokens_per_second.unwrap_or(0.0) / 1000.0;
        format!(
            "step {}{last}  loss {}  held-out {}  |g| {}  lr {:.2e}  {rate:.1}k tok/s",
            status.step,
            number(status.loss),
            number(status.held_out),
            number(status.grad_norm),
            status.learning_rate,
        )
    }

    fn line(&self, text: &str, lasting: bool) {
        let mut stderr = std::io::stderr().lock();
        // Nobody can be told where stderr itself is gone.
        let _ = if self.terminal {
            write!(stderr, "\r\x1b[K{text}{}", if lasting { "\n" } else { "" })
        } else {
            writeln!(stderr, "{text}")
        };
    }
}
