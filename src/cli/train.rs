//! `train`: train a model, and watch it where there is a terminal.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::choices::OptimizerName;
use super::engine::Greeting;
use super::usage::Usage;
use super::{LogLevel, at_least_one, headless, resume, screen};
use crate::app::{Action, Bindings, Options};
use crate::model::checkpoint::Place;
use crate::model::device::DeviceChoice;
use crate::protocol::{OptimizerKind, PlaneKind};
use crate::ranks::Ranks;
use crate::run::dir::{RunDir, name_from};
use crate::run::host::Begin;
use crate::run::journal;
use crate::run::pictures::SIDES;
use crate::settings::{
    DataSource, HIGHEST_RATE, ModelSource, NAME, Precision, Settings, SliceEvery, is_name,
};
use crate::terminal::Look;
use crate::train::preset::{PRESETS, Preset};
use crate::train::schedule::Shape;

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
    /// Train this model on: a folder in Hugging Face layout, a .gguf file, a run or RUN@STEP
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// A file or folder of .txt, .md or .jsonl, - for standard input, builtin or builtin-qa
    #[arg(long, value_name = "DATA", default_value = "builtin", conflicts_with = "text")]
    data: String,
    /// Learn this one text; its last token is the target
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Number of the last step [default: on a screen none, without one 1000]
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZero<u64>>)]
    steps: Option<NonZero<u64>>,
    /// Optimizer to start with [default: adamw]
    #[arg(long, value_name = "NAME")]
    optimizer: Option<OptimizerName>,
    /// Highest learning rate [default: 5e-3 for nano, 3e-3 micro, 1e-3 mini, 1e-5 with --model]
    #[arg(long, value_name = "RATE", value_parser = rate)]
    lr: Option<f64>,
    /// Decay of matrices by adamw [default: 0.1]
    #[arg(long, value_name = "DECAY", value_parser = not_negative)]
    weight_decay: Option<f64>,
    /// Shape of the learning rate over the steps [default: cosine, constant with --text]
    #[arg(long, value_name = "SHAPE")]
    schedule: Option<ScheduleName>,
    /// Steps of linear warm-up [default: 20, 0 with --text]
    #[arg(long, value_name = "STEPS")]
    warmup: Option<u64>,
    /// Where the schedule reaches its floor, a fiftieth of the rate [default: 500 for builtin, otherwise --steps or 1000]
    #[arg(long, value_name = "STEPS", value_parser = at_least_one::<NonZero<u64>>)]
    decay_steps: Option<NonZero<u64>>,
    /// Rows of a batch [default: 8]
    #[arg(long, value_name = "ROWS", value_parser = at_least_one::<NonZero<usize>>)]
    batch_size: Option<NonZero<usize>>,
    /// Tokens in a row [default: 64 for nano, 128 micro, 256 mini, at most 128 with --model]
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one::<NonZero<usize>>)]
    context: Option<NonZero<usize>>,
    /// Batches whose gradients make one step [default: 1]
    #[arg(long, value_name = "BATCHES", value_parser = at_least_one::<NonZero<usize>>)]
    accumulate: Option<NonZero<usize>>,
    /// Gradient norm above which gradients are scaled down; 0 for never [default: 1]
    #[arg(long, value_name = "NORM", value_parser = not_negative)]
    clip: Option<f64>,
    /// Seed of weights, batches and what is held out [default: 0]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Learn only the answers of builtin-qa, or the completions of .jsonl with "prompt" and "completion"
    #[arg(long)]
    answers_only: bool,
    /// Leave the tensors of such names as they are, such as 'model.layers.[0-3].*'; may be given more than once
    #[arg(long, value_name = "GLOB")]
    freeze: Vec<String>,
    /// Compute gradients in f32 or bf16; weights stay f32 [default: bf16 on CUDA, f32 elsewhere]
    #[arg(long, value_name = "TYPE")]
    precision: Option<PrecisionName>,
    /// Steps between two measurements of the held-out loss [default: 50]
    #[arg(long, value_name = "STEPS", value_parser = at_least_one::<NonZero<u64>>)]
    eval_every: Option<NonZero<u64>>,
    /// End once so many measurements of the held-out loss in a row were no better
    #[arg(long, value_name = "COUNT", value_parser = at_least_one::<NonZero<u64>>)]
    early_stop: Option<NonZero<u64>>,
    /// Steps between two samples of what the model writes, in the log and the event file
    #[arg(long, value_name = "STEPS", value_parser = at_least_one::<NonZero<u64>>)]
    sample_every: Option<NonZero<u64>>,
    /// Steps between two checkpoints; the end is saved in any case [default: every ten minutes]
    #[arg(long, value_name = "STEPS", value_parser = at_least_one::<NonZero<u64>>)]
    save_every: Option<NonZero<u64>>,
    /// Checkpoints to keep, and the one with the best held-out loss [default: 2]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one::<NonZero<usize>>)]
    keep_last: Option<NonZero<usize>>,
    /// When the slice is drawn again: after so many steps, later while one is under way; auto or off [default: auto,
    /// headless off]
    #[arg(long, value_name = "WHEN", value_parser = slice_every)]
    slice_every: Option<SliceEvery>,
    /// Points a side of the finest picture: 9, 17, 33 or 65 [default: 33]
    #[arg(long, value_name = "SIDE", value_parser = side)]
    grid: Option<usize>,
    /// The plane to begin with: random, gradient, update, trajectory (of the states in memory) or hessian [default:
    /// random]
    #[arg(long, value_name = "KIND", value_parser = plane)]
    plane: Option<PlaneKind>,
    /// Where to compute: auto, cpu, cuda, cuda:N or metal [default: auto]
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    device: Option<DeviceChoice>,
    /// Threads to compute with [default: all]
    #[arg(long, value_name = "COUNT", value_parser = super::threads)]
    threads: Option<NonZero<usize>>,
    /// What to call the run [default: a name made up from the time]
    #[arg(long, value_name = "NAME", value_parser = run_name)]
    name: Option<String>,
    /// The run's folder itself [default: a new one under the state folder's llamascape/runs]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Go on with this run where its newest checkpoint, or that of a step, has left it
    #[arg(
        long,
        value_name = "RUN[@STEP]",
        conflicts_with_all = ["preset", "model", "data", "text", "optimizer", "batch_size", "context", "accumulate", "seed",
            "answers_only", "freeze", "name", "run_dir"]
    )]
    resume: Option<String>,
    /// Wait for a key before the first step
    #[arg(long, conflicts_with = "headless")]
    paused: bool,
    /// Train in the foreground without a screen; chosen by itself when the output is no terminal
    #[arg(long)]
    pub(super) headless: bool,
    /// Without a screen: print one JSON object at the end
    #[arg(long)]
    json: bool,
    /// Without a screen: no word but errors
    #[arg(long)]
    quiet: bool,
    /// What goes into the run's log, and without a screen to stderr
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log_level: LogLevel,
    #[command(flatten)]
    pub(super) screen: screen::Args,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PresetName {
    Nano,
    Micro,
    Mini,
}

impl PresetName {
    /// What is called so.
    pub(super) fn preset(self) -> Preset {
        PRESETS[self as usize]
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ScheduleName {
    Cosine,
    Linear,
    Constant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PrecisionName {
    F32,
    Bf16,
}

fn number(text: &str, fits: fn(f64) -> bool, kind: &str) -> Result<f64, String> {
    text.parse().ok().filter(|x: &f64| x.is_finite() && fits(*x)).ok_or(format!("not a {kind} number"))
}

pub(super) fn rate(text: &str) -> Result<f64, String> {
    number(text, |x| x > 0.0 && x <= HIGHEST_RATE, "positive")
        .map_err(|error| format!("{error} up to a million"))
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

/// Points a side that doubling from the coarse grid gives.
pub(super) fn side(text: &str) -> Result<usize, String> {
    let side = text.parse().ok().filter(|side| SIDES.contains(side));
    side.ok_or_else(|| "one of 9, 17, 33 and 65".to_owned())
}

fn plane(text: &str) -> Result<PlaneKind, String> {
    PlaneKind::named(text).ok_or_else(|| format!("one of {}", PlaneKind::ALL.map(PlaneKind::name).join(", ")))
}

/// A name becomes part of a path and of what the screen shows.
fn run_name(text: &str) -> Result<String, String> {
    is_name(text).then(|| text.to_owned()).ok_or_else(|| format!("a name is {NAME}"))
}

impl ScheduleName {
    fn shape(self) -> Shape {
        match self {
            Self::Cosine => Shape::Cosine,
            Self::Linear => Shape::Linear,
            Self::Constant => Shape::Constant,
        }
    }
}

impl PrecisionName {
    fn precision(self) -> Precision {
        match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
        }
    }
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.threads
    }

    /// Whether there is to be no screen.
    pub(super) fn is_headless(&self) -> bool {
        self.headless || !std::io::stdout().is_terminal()
    }

    /// How a screen looks.
    pub(super) fn look(&self) -> anyhow::Result<Look> {
        self.screen.look()
    }

    /// Trains, with the other processes of the job where there are some; a screen has these keys.
    pub(super) fn run(self, threads: usize, bindings: Bindings<Action>, ranks: &Ranks) -> anyhow::Result<()> {
        let headless = self.is_headless();
        let look = self.look()?;
        if self.json && !headless {
            let problem = "--json prints a summary at the end of a run without a screen: add --headless";
            return Err(Usage::error(problem));
        }
        if !headless {
            crate::terminal::check_size()?;
        }
        let (dir, begin, settings) = if let Some(run) = &self.resume {
            resume::find(run, headless, |earlier| self.resumed(earlier, threads))?
        } else {
            let settings = self.settings(threads)?;
            settings.check().map_err(Usage::error)?;
            let dir = self.create(settings)?;
            let settings = dir.settings()?;
            (dir, Begin::New, settings)
        };
        if headless {
            return headless::train(&dir, &settings, begin, self.log_level, self.json, self.quiet, ranks);
        }
        let socket = start_engine(&dir, &settings, begin, self.log_level, false).inspect_err(|_| {
            if begin == Begin::New {
                dir.discard();
            }
        })?;
        screen::watch(&dir, &socket, &settings.name, look, Options { bindings, ..Options::default() })
    }

    /// The settings of a run that goes on, with what the flags change of them.
    fn resumed(&self, mut settings: Settings, threads: usize) -> Settings {
        fn change<T>(setting: &mut T, flag: Option<T>) {
            if let Some(flag) = flag {
                *setting = flag;
            }
        }
        let number = |flag: Option<NonZero<u64>>| flag.map(NonZero::get);
        change(&mut settings.steps, number(self.steps).map(Some));
        change(&mut settings.learning_rate, self.lr);
        change(&mut settings.weight_decay, self.weight_decay);
        change(&mut settings.schedule, self.schedule.map(ScheduleName::shape));
        change(&mut settings.warmup, self.warmup);
        change(&mut settings.decay_steps, number(self.decay_steps));
        change(&mut settings.clip, self.clip);
        change(&mut settings.eval_every, number(self.eval_every));
        change(&mut settings.early_stop, number(self.early_stop).map(Some));
        change(&mut settings.sample_every, number(self.sample_every).map(Some));
        change(&mut settings.save_every, number(self.save_every).map(Some));
        change(&mut settings.keep_last, self.keep_last.map(NonZero::get));
        change(&mut settings.slice_every, self.slice_every.map(Some));
        change(&mut settings.grid, self.grid);
        change(&mut settings.plane, self.plane);
        change(&mut settings.device, self.device);
        change(&mut settings.precision, self.precision.map(PrecisionName::precision).map(Some));
        settings.threads = threads;
        settings.paused = self.paused;
        settings
    }

    /// The flags as they are on a command line that holds these and no others.
    pub(super) fn with(flags: Vec<String>) -> anyhow::Result<Self> {
        let command = <Self as clap::Args>::augment_args(clap::Command::new("train").no_binary_name(true));
        Ok(<Self as clap::FromArgMatches>::from_arg_matches(&command.try_get_matches_from(flags)?)?)
    }

    /// What the flags come to. Paths are checked here, so that a slip of the finger costs nothing.
    pub(super) fn settings(&self, threads: usize) -> anyhow::Result<Settings> {
        let preset = self.preset.preset();
        let model = match &self.model {
            Some(name) => match super::model::find(name)?.place {
                Place::Path(path) => ModelSource::Checkpoint(existing(&path, "--model")?),
                Place::Hub(id) => ModelSource::Hub(id.to_string()),
            },
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
        let (rate, context) = match model {
            ModelSource::Preset(_) => (preset.learning_rate, Some(preset.context)),
            ModelSource::Checkpoint(_) | ModelSource::Hub(_) => (FINE_TUNE_RATE, None),
        };
        let schedule =
            self.schedule.unwrap_or(if one_text { ScheduleName::Constant } else { ScheduleName::Cosine });
        let now = jiff::Timestamp::now().as_millisecond().unsigned_abs();
        Ok(Settings {
            name: self.name.clone().unwrap_or_else(|| name_from(now)),
            model,
            data,
            steps: self.steps.map(NonZero::get),
            optimizer: self.optimizer.map_or(OptimizerKind::AdamW, OptimizerKind::from),
            learning_rate: self.lr.unwrap_or(rate),
            weight_decay: self.weight_decay.unwrap_or(0.1),
            schedule: schedule.shape(),
            warmup: self.warmup.unwrap_or(if one_text { 0 } else { 20 }),
            decay_steps: self.decay_steps.map_or(decay_steps, NonZero::get),
            batch_size: self.batch_size.map_or(preset.batch_size, NonZero::get),
            context: self.context.map(NonZero::get).or(context),
            accumulate: self.accumulate.map_or(1, NonZero::get),
            clip: self.clip.unwrap_or(1.0),
            seed: self.seed.unwrap_or(0),
            answers_only: self.answers_only,
            freeze: self.freeze.clone(),
            precision: self.precision.map(PrecisionName::precision),
            eval_every: self.eval_every.map_or(50, NonZero::get),
            early_stop: self.early_stop.map(NonZero::get),
            sample_every: self.sample_every.map(NonZero::get),
            save_every: self.save_every.map(NonZero::get),
            keep_last: self.keep_last.map_or(2, NonZero::get),
            slice_every: self.slice_every,
            grid: self.grid.unwrap_or(33),
            plane: self.plane.unwrap_or_default(),
            device: self.device.unwrap_or(DeviceChoice::Auto),
            threads,
            paused: self.paused,
        })
    }

    /// Makes the run's folder.
    fn create(&self, mut settings: Settings) -> anyhow::Result<RunDir> {
        if settings.data != DataSource::Path(PathBuf::from("-")) {
            return Ok(RunDir::create(self.run_dir.as_deref(), &settings)?);
        }
        let text =
            std::io::read_to_string(std::io::stdin()).context("--data -: standard input can't be read")?;
        if text.trim().is_empty() {
            bail!("--data -: standard input holds no text");
        }
        let dir = RunDir::create(self.run_dir.as_deref(), &settings)?;
        let copy = dir.path().join("data.txt");
        settings.data = DataSource::Path(copy.clone());
        let written = std::fs::write(&copy, text).with_context(|| copy.display().to_string());
        let written = written.and_then(|()| Ok(dir.write_settings(&settings)?));
        written.inspect_err(|_| dir.discard())?;
        Ok(dir)
    }
}

/// The path made absolute, if something is there.
fn existing(path: &Path, flag: &str) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| flag.to_owned())?;
    match std::fs::metadata(&absolute) {
        Ok(kind) if !kind.is_file() && !kind.is_dir() => {
            bail!("{flag} {}: neither a file nor a folder", path.display())
        }
        Ok(_) => Ok(absolute),
        Err(error) => bail!("{flag} {}: {error}", path.display()),
    }
}

/// Starts the process that trains, and waits until it listens or says why it can't. A `passing` one ends with its last
/// screen, and its folder with it.
pub(super) fn start_engine(
    dir: &RunDir,
    settings: &Settings,
    begin: Begin,
    log_level: LogLevel,
    passing: bool,
) -> anyhow::Result<PathBuf> {
    let log = dir.path().join(journal::FILE);
    let errors = File::options().create(true).append(true).open(&log);
    let errors = errors.with_context(|| log.display().to_string())?;
    let program = std::env::current_exe().context("the program can't find itself")?;
    let mut engine = Command::new(program)
        .arg("engine")
        .args(["--threads", &settings.threads.to_string(), "--log-level", &log_level.name()])
        .args(begin.step().map(|step| format!("--from={step}")))
        .args(passing.then_some("--passing"))
        .arg(dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .spawn()
        .context("the engine can't be started")?;
    if let Some(input) = engine.stdin.take() {
        serde_json::to_writer(input, settings).context("the engine can't be told its settings")?;
    }
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
