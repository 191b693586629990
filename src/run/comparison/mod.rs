//! The engine of a comparison: two models in this process, read, painted and stepped side by side for one screen.

mod between;
mod engine;
mod model;
mod painter;
pub mod pair;

use std::path::PathBuf;
use std::sync::mpsc::{self, Sender};
use std::thread;

use tokio::sync::watch;

use self::engine::Engine;
use self::model::Model;
use self::painter::{Painted, Painter};
use super::source::Source;
use crate::generate::Sampling;
use crate::model::checkpoint::{self, Place};
use crate::model::device::{self, DeviceChoice, DeviceError};
use crate::protocol::comparison::{Ask, Phase, Scene, Side};
use crate::protocol::{OptimizerKind, Stage};

/// The prompt where nothing else is said.
pub const PROMPT: &str = "The capital of France is Paris";
/// Learning rates to begin with: of a model that was trained for long, and of a small one.
const RATE: f64 = 1e-5;
const SMALL_RATE: f64 = 3e-4;

/// What is compared, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The two models; without them, the small pair that is trained once.
    pub models: Option<[Source; 2]>,
    /// The prompt, if one is given.
    pub text: Option<String>,
    /// Which of them read it inside their chat template.
    pub templates: [bool; 2],
    /// Where it computes.
    pub device: DeviceChoice,
    /// Threads it computes with.
    pub threads: usize,
    /// The learning rate, if one is given.
    pub learning_rate: Option<f64>,
    /// Points a side of the finest picture.
    pub grid: usize,
    /// How texts are written.
    pub sampling: Sampling,
}

/// Why a comparison can't begin.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// The device can't be used.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// A model can't be read.
    #[error(transparent)]
    Checkpoint(Box<checkpoint::Error>),
    /// The small pair can't be had.
    #[error(transparent)]
    Pair(Box<pair::PairError>),
    /// The small pair is not what was kept.
    #[error("the pair in the cache can't be read ({cause}): remove {folder}, it will be made again")]
    DamagedPair {
        /// Where it lies.
        folder: PathBuf,
        /// What is wrong with it.
        cause: Box<checkpoint::Error>,
    },
    /// A model can't read the prompt.
    #[error("{0}")]
    Prompt(String),
    /// A thread can't be had.
    #[error("the threads of the comparison can't be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// What the engine obeys.
#[derive(Debug)]
enum Input {
    Ask(Ask),
    Painted(Painted),
    /// The screen is gone.
    Gone,
}

/// A running comparison. It ends when this is dropped.
#[derive(Debug)]
pub struct Host {
    inputs: Sender<Input>,
    scenes: watch::Receiver<Scene>,
}

impl Host {
    /// Starts the thread of the engine.
    pub fn start(settings: Settings) -> std::io::Result<Self> {
        let (inputs, inbox) = mpsc::channel();
        let (stage, scenes) = watch::channel(Scene::default());
        let told = inputs.clone();
        thread::Builder::new().name("comparison".to_owned()).spawn(move || {
            let outcome = prepare(&settings, &stage, told).map(|engine| engine.run(&inbox, &stage));
            if let Err(error) = outcome {
                stage.send_modify(|scene| scene.phase = Phase::Failed(error.to_string()));
            }
        })?;
        Ok(Self { inputs, scenes })
    }

    /// What the engine tells, the newest of it.
    pub fn scenes(&self) -> watch::Receiver<Scene> {
        self.scenes.clone()
    }

    /// Asks something of the engine, which does it when it can.
    pub fn ask(&self, ask: Ask) {
        // Where the engine has failed, the scene says why.
        let _ = self.inputs.send(Input::Ask(ask));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.inputs.send(Input::Gone);
    }
}

/// Opens both models, which may have to be fetched or trained first.
fn prepare(
    settings: &Settings,
    stage: &watch::Sender<Scene>,
    inputs: Sender<Input>,
) -> Result<Engine, ComparisonError> {
    let device = device::open(settings.device)?;
    let named = |name: &str| Stage { name: name.to_owned(), detail: String::new(), progress: 0.0 };
    let mut stages = match &settings.models {
        Some(_) => vec![named("model A"), named("model B"), named("prompt")],
        None => ["pretrained", "instruct", "model A", "model B", "prompt"].map(named).to_vec(),
    };
    let device_name = device::describe(&device, settings.threads);
    let mut show = |at: usize, detail: String, progress: f32| {
        stages[at] = Stage { detail, progress, ..stages[at].clone() };
        stage.send_modify(|scene| {
            scene.device.clone_from(&device_name);
            scene.phase = Phase::Preparing(stages.clone());
        });
    };
    show(0, String::new(), 0.0);
    let (sources, first) = if let Some(sources) = &settings.models {
        (sources.clone(), 0)
    } else {
        // The device is known by now: what is said of it is not said again.
        let pair = pair::open(device::choice(&device), settings.threads, &|| !stage.is_closed(), &mut show);
        (pair.map_err(|error| ComparisonError::Pair(Box::new(error)))?, 2)
    };
    let usual = if settings.models.is_some() { PROMPT } else { pair::QUESTION };
    let text = settings.text.as_deref().unwrap_or(usual);
    let mut open = |side: Side| {
        let at = first + side as usize;
        let source = &sources[side as usize];
        let opened = source.open(&device, &mut |loading| show(at, loading.to_string(), loading.share()));
        let checkpoint = opened.map_err(|error| match (&settings.models, &source.place) {
            (None, Place::Path(folder)) => {
                ComparisonError::DamagedPair { folder: folder.clone(), cause: Box::new(error) }
            }
            _ => ComparisonError::Checkpoint(Box::new(error)),
        })?;
        show(at, checkpoint.name.clone(), 1.0);
        let template = settings.templates[side as usize];
        let model = Model::new(checkpoint, text, template, &device, settings.threads);
        model.map_err(ComparisonError::Prompt)
    };
    let models = [open(Side::A)?, open(Side::B)?];
    show(first + 2, "both are reading it".to_owned(), 0.1);
    let [a, b] = models.each_ref().map(Model::checkpoint);
    let small = a.params.is_small() && b.params.is_small();
    let scene = Scene {
        phase: Phase::Live,
        device: device_name,
        prompt: text.to_owned(),
        same_shape: a.config.computes_like(&b.config),
        learning_rate: settings.learning_rate.unwrap_or(if small { SMALL_RATE } else { RATE }),
        optimizer: Some(OptimizerKind::Adam),
        ..Scene::default()
    };
    let painter = Painter::spawn(device, settings.threads, move |painted| {
        // The engine has ended where nobody listens.
        let _ = inputs.send(Input::Painted(painted));
    })?;
    Ok(Engine::new(models, settings.sampling, settings.grid, scene, painter))
}
