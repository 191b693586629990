//! The engine of a comparison: two models in this process, read, painted and stepped side by side for one screen.

mod between;
mod model;
mod painter;
pub mod pair;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use tokio::sync::watch;

use self::model::{Model, Writer};
use self::painter::{Job, Painted, Painter, Part, Sitter};
use super::pictures::{RANGES, SEEDS, SIDES};
use super::source::Source;
use crate::generate::Sampling;
use crate::landscape::survey::{Grid, Survey, evenly};
use crate::model::checkpoint;
use crate::model::device::{self, DeviceChoice, DeviceError};
use crate::model::params::Params;
use crate::model::shapes::parameter_shapes;
use crate::predict::{Prompt, likeliest, likeliest_of_both};
use crate::protocol::comparison::{Ask, Note, Phase, PlaneChoice, Sample, Scene, Side, Sides};
use crate::protocol::{BatchInfo, OptimizerKind, Slice, Stage};
use crate::settings::HIGHEST_RATE;

/// The prompt where nothing else is said.
pub const PROMPT: &str = "The capital of France is Paris";
/// Learning rates to begin with: of a model that was trained for long, and of a small one.
const RATE: f64 = 1e-5;
const SMALL_RATE: f64 = 3e-4;
/// Parameters of a small model at most.
const SMALL: usize = 20_000_000;

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
    /// A model can't read the prompt.
    #[error("{0}")]
    Prompt(String),
    /// A thread can't be had.
    #[error("the threads of the comparison can't be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The arithmetic failed, for want of memory for instance.
    #[error("the models can't be read: {0}")]
    Candle(#[from] candle_core::Error),
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
            let outcome = Engine::prepare(&settings, &stage, told).map(|engine| engine.run(&inbox, &stage));
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

/// What is not evaluated yet.
#[derive(Debug, Default)]
struct Missing {
    /// What is known of the slices that are not at their finest.
    grids: [Option<Grid>; 2],
    path: bool,
    gradients: [bool; 2],
}

struct Engine {
    models: [Model; 2],
    sampling: Sampling,
    /// A number means the same token to both.
    alike: bool,
    scene: Scene,
    painter: Painter,
    /// The newest job, and whether it is in hand.
    ticket: u64,
    painting: bool,
    missing: Missing,
    /// The slices on show.
    surveys: [Option<Arc<Survey>>; 2],
    generation: u64,
    range: f64,
    finest: usize,
    writers: [Option<Writer>; 2],
    /// What both say is to be read again.
    stale: bool,
}

impl Engine {
    /// Opens both models, which may have to be fetched or trained first.
    fn prepare(
        settings: &Settings,
        stage: &watch::Sender<Scene>,
        inputs: Sender<Input>,
    ) -> Result<Self, ComparisonError> {
        let device = device::open(settings.device)?;
        let named = |name: &str| Stage { name: name.to_owned(), detail: String::new(), progress: 0.0 };
        let mut stages = match &settings.models {
            Some(_) => vec![named("model A"), named("model B")],
            None => vec![named("pretrained"), named("instruct"), named("model A"), named("model B")],
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
            let pair = pair::open(settings.device, settings.threads, &mut show);
            (pair.map_err(|error| ComparisonError::Pair(Box::new(error)))?, 2)
        };
        let usual = if settings.models.is_some() { PROMPT } else { pair::QUESTION };
        let text = settings.text.as_deref().unwrap_or(usual);
        let mut open = |side: Side| {
            let at = first + side as usize;
            let opened = sources[side as usize].open(&device, &mut |loading| {
                show(at, loading.to_string(), loading.share());
            });
            let checkpoint = opened.map_err(|error| ComparisonError::Checkpoint(Box::new(error)))?;
            show(at, checkpoint.name.clone(), 1.0);
            let template = settings.templates[side as usize];
            let model = Model::new(checkpoint, text, template, &device, settings.threads);
            model.map_err(ComparisonError::Prompt)
        };
        let models = [open(Side::A)?, open(Side::B)?];
        let [a, b] = models.each_ref().map(Model::checkpoint);
        let small = a.params.elements().max(b.params.elements()) <= SMALL;
        let alike = a.config.vocab_size == b.config.vocab_size && a.tokenizer.same_tokens(&b.tokenizer);
        let same_shape = parameter_shapes(&a.config) == parameter_shapes(&b.config);
        let scene = Scene {
            phase: Phase::Live,
            device: device_name,
            prompt: text.to_owned(),
            same_shape,
            learning_rate: settings.learning_rate.unwrap_or(if small { SMALL_RATE } else { RATE }),
            optimizer: Some(OptimizerKind::Adam),
            ..Scene::default()
        };
        let painter = Painter::spawn(device, settings.threads, move |painted| {
            // The engine has ended where nobody listens.
            let _ = inputs.send(Input::Painted(painted));
        })?;
        let mut engine = Self {
            models,
            sampling: settings.sampling,
            alike,
            scene,
            painter,
            ticket: 0,
            painting: false,
            missing: Missing::default(),
            surveys: [None, None],
            generation: 1,
            range: 1.0,
            finest: finest(settings.grid),
            writers: [None, None],
            stale: true,
        };
        engine.repaint(Sides::Both);
        engine.refresh()?;
        Ok(engine)
    }

    /// Obeys until the screen is gone.
    fn run(mut self, inbox: &Receiver<Input>, stage: &watch::Sender<Scene>) {
        let mut waiting = VecDeque::new();
        loop {
            if waiting.is_empty() && self.is_idle() {
                self.paint();
                stage.send_replace(self.scene.clone());
                match inbox.recv() {
                    Ok(input) => waiting.push_back(input),
                    Err(_) => return,
                }
            }
            waiting.extend(inbox.try_iter());
            match waiting.pop_front() {
                None => self.write(),
                Some(Input::Gone) => return,
                // Only the newest place matters.
                Some(Input::Ask(Ask::LookAt(_)))
                    if matches!(waiting.front(), Some(Input::Ask(Ask::LookAt(_)))) =>
                {
                    continue;
                }
                Some(Input::Ask(ask)) => self.obey(ask),
                Some(Input::Painted(painted)) => self.hang(painted),
            }
            if let Err(error) = self.refresh() {
                self.warn(format!("the prompt can't be read: {error}"));
            }
            stage.send_replace(self.scene.clone());
        }
    }

    /// Whether nothing is being written.
    fn is_idle(&self) -> bool {
        self.writers.iter().all(Option::is_none)
    }

    fn obey(&mut self, ask: Ask) {
        match ask {
            Ask::Step(sides) => self.each(sides, Self::step),
            Ask::Back(sides) => self.each(sides, Self::back),
            Ask::ScaleLearningRate(factor) => {
                let rate = self.scene.learning_rate * factor;
                if rate > 0.0 && rate <= HIGHEST_RATE {
                    self.scene.learning_rate = rate;
                }
            }
            Ask::SetOptimizer(kind) => self.scene.optimizer = Some(kind),
            Ask::SetPrompt(text) => self.read(&text, |_, template| template),
            Ask::ToggleTemplate(sides) => {
                let text = self.scene.prompt.clone();
                self.read(&text, |side, template| template != sides.include(side));
            }
            Ask::ShowPlane(plane) => self.show_plane(plane),
            Ask::NewPlane => {
                self.generation += 1;
                self.repaint(Sides::Both);
            }
            Ask::Zoom(factor) => {
                let range = self.range * factor;
                if RANGES.contains(&range) {
                    self.range = range;
                    self.repaint(Sides::Both);
                }
            }
            Ask::Grid(side) => {
                self.finest = finest(side);
                self.repaint(Sides::Both);
            }
            Ask::LookAt(place) => {
                self.scene.place = place;
                self.look(Sides::Both);
            }
            Ask::Write(sides) => self.each(sides, Self::begin_writing),
            Ask::Hush => self.hush(),
        }
    }

    fn each(&mut self, sides: Sides, act: impl Fn(&mut Self, Side)) {
        for side in Side::BOTH.into_iter().filter(|side| sides.include(*side)) {
            act(self, side);
        }
    }

    fn step(&mut self, side: Side) {
        self.stop_painting();
        let (rate, optimizer) =
            (self.scene.learning_rate, self.scene.optimizer.unwrap_or(OptimizerKind::Adam));
        match self.models[side as usize].step(rate, optimizer) {
            Ok(report) => {
                let (loss, norm) = (report.norms.loss, report.norms.update_norm);
                self.say(format!(
                    "{} step {}: loss {loss:.4} before it, moved by {norm:.1e}",
                    side.name(),
                    report.step
                ));
            }
            Err(problem) => self.warn(format!("{}: {problem}", side.name())),
        }
        self.moved(side);
    }

    fn back(&mut self, side: Side) {
        self.models[side as usize].back();
        self.moved(side);
    }

    /// The weights of a model are others now.
    fn moved(&mut self, side: Side) {
        self.silence(side);
        self.repaint(Sides::One(side));
        let survey = self.surveys[side as usize].as_ref();
        let drift = survey.map(|survey| self.models[side as usize].drift(survey)).transpose();
        match drift {
            Ok(drift) => self.scene.sides[side as usize].drift = drift.flatten(),
            Err(error) => self.warn(format!("the movement can't be measured: {error}")),
        }
    }

    /// Has both read a text; `template` says of each whether inside its chat template, from whether it is now.
    /// Where one can't, nothing changes.
    fn read(&mut self, text: &str, template: impl Fn(Side, bool) -> bool) {
        let mut prompts = Vec::new();
        for (side, model) in Side::BOTH.into_iter().zip(&self.models) {
            let has_one = model.checkpoint().chat.is_some();
            let template = has_one && template(side, model.templated());
            match Prompt::of(model.checkpoint(), text, template) {
                Ok(prompt) => prompts.push((prompt, template)),
                Err(problem) => return self.warn(format!("{}: {problem}", side.name())),
            }
        }
        for ((prompt, template), model) in prompts.into_iter().zip(&mut self.models) {
            model.read(prompt, template);
        }
        text.clone_into(&mut self.scene.prompt);
        self.hush();
        self.repaint(Sides::Both);
        self.look(Sides::Both);
    }

    fn show_plane(&mut self, plane: PlaneChoice) {
        if plane != PlaneChoice::Own && !self.scene.same_shape {
            return self.warn("the models differ in shape: they share no plane".to_owned());
        }
        self.scene.plane = plane;
        self.scene.place = None;
        self.look(Sides::Both);
        self.surveys = [None, None];
        for view in &mut self.scene.sides {
            (view.slice, view.drift) = (None, None);
        }
        self.repaint(Sides::Both);
    }

    /// Forgets what was evaluated with weights, text or plane that are no more.
    fn repaint(&mut self, sides: Sides) {
        self.stop_painting();
        self.stale = true;
        let through = self.scene.plane == PlaneChoice::Through;
        let (range, low) = (self.range, if through { 0.5 } else { 0.0 });
        let alphas = evenly(low - range, low + range, Grid::COARSE);
        let grid = Grid::new(alphas, evenly(-range, range, Grid::COARSE));
        for side in Side::BOTH {
            let wanted = if through { side == Side::A } else { sides.include(side) };
            if wanted {
                self.missing.grids[side as usize] = Some(grid.clone());
            } else if through {
                self.missing.grids[side as usize] = None;
            }
            if sides.include(side) {
                self.missing.gradients[side as usize] = true;
                self.scene.sides[side as usize].grad_norm = None;
            }
        }
        self.missing.path = self.has_path();
        self.scene.path = None;
    }

    /// Whether there is a way from one to the other on which one text has a loss.
    fn has_path(&self) -> bool {
        let [a, b] = &self.models;
        self.alike && self.scene.same_shape && a.prompt().ids() == b.prompt().ids()
    }

    /// All threads are for something else now.
    fn stop_painting(&mut self) {
        self.ticket = self.painter.cancel();
        self.painting = false;
    }

    /// Has the painter evaluate what is missing.
    fn paint(&mut self) {
        let Missing { grids, path, gradients } = &self.missing;
        let slicing = [grids[0].is_some(), grids[1].is_some()];
        for (view, slicing) in self.scene.sides.iter_mut().zip(slicing) {
            view.slicing = slicing;
        }
        let wanted = slicing.contains(&true) || *path || gradients.contains(&true);
        if !wanted || self.painting {
            return;
        }
        let sitter = |model: &Model| -> candle_core::Result<Sitter> {
            Ok(Sitter {
                llama: model.llama().clone(),
                checkpoint: model.checkpoint().params.clone(),
                weights: model.weights()?,
                steps: model.steps(),
                batch: model.batch(),
            })
        };
        let [a, b] = self.models.each_ref().map(sitter);
        let job = a.and_then(|a| Ok([a, b?])).map(|sitters| Job {
            sitters,
            plane: self.scene.plane,
            seeds: SEEDS.map(|seed| seed + 2 * (self.generation - 1)),
            grids: grids.clone(),
            finest: self.finest,
            path: *path,
            gradients: *gradients,
        });
        match job {
            Ok(job) => {
                self.ticket = self.painter.start(job);
                self.painting = true;
            }
            Err(error) => self.warn(format!("the weights can't be copied: {error}")),
        }
    }

    /// Takes in a part of what was evaluated, unless it is of a job that was dropped.
    fn hang(&mut self, Painted { ticket, part }: Painted) {
        if ticket != self.ticket {
            return;
        }
        match part {
            Part::Level { side, survey, grid, seconds, finest } => {
                self.hang_slice(side, survey, grid, seconds, finest);
            }
            Part::Path(path) => {
                self.missing.path = false;
                self.scene.path = Some(Arc::new(path));
            }
            Part::GradNorm(side, norm) => {
                self.missing.gradients[side as usize] = false;
                self.scene.sides[side as usize].grad_norm = Some(norm);
            }
            Part::End(Ok(())) => self.painting = false,
            Part::End(Err(error)) => {
                self.painting = false;
                self.missing = Missing::default();
                let plane = self.scene.plane;
                self.warn(format!("what you see is not complete: {error}"));
                if plane == PlaneChoice::Through {
                    self.show_plane(PlaneChoice::Own);
                }
            }
        }
    }

    fn hang_slice(&mut self, side: Side, survey: Arc<Survey>, grid: Grid, seconds: f64, finest: bool) {
        let model = &mut self.models[side as usize];
        let batch = model.batch();
        let loss = grid.loss();
        let slice = Slice {
            step: model.steps(),
            generation: self.generation,
            center: model.loss().unwrap_or(f64::NAN),
            loss: loss.into_iter().map(|loss| loss as f32).collect(),
            alphas: grid.alphas().to_vec(),
            betas: grid.betas().to_vec(),
            finest,
            plane: survey.plane().info().clone(),
            batch: BatchInfo {
                tokens: batch.predicted(),
                sha256: batch.sha256(),
                source: "prompt".to_owned(),
            },
            seconds,
            sharpness: None,
        };
        let view = &mut self.scene.sides[side as usize];
        view.slice = Some(Arc::new(slice));
        view.slicing = !finest;
        view.drift = None;
        self.missing.grids[side as usize] = (!finest).then_some(grid);
        let other = !self.surveys[side as usize].as_ref().is_some_and(|shown| Arc::ptr_eq(shown, &survey));
        self.surveys[side as usize] = Some(survey);
        if other && self.scene.place.is_some() {
            self.look(Sides::One(side));
        }
    }

    /// The weights at the place that is looked at; `None` where that is the model's own weights.
    fn weights_at_place(&self, side: Side) -> candle_core::Result<Option<Params>> {
        // On the way from A to B it is A that changes.
        let stays = self.scene.plane == PlaneChoice::Through && side == Side::B;
        let (Some([alpha, beta]), Some(survey), false) =
            (self.scene.place, &self.surveys[side as usize], stays)
        else {
            return Ok(None);
        };
        survey.plane().displace(survey.origin(), alpha, beta).map(Some)
    }

    /// Has models read the prompt at the place that is looked at.
    fn look(&mut self, sides: Sides) {
        self.stale = true;
        self.each(sides, |engine, side| {
            let weights = engine.weights_at_place(side);
            let looked = weights.and_then(|weights| engine.models[side as usize].look(weights.as_ref()));
            if let Err(error) = looked {
                engine.warn(format!("the prompt can't be read there: {error}"));
            }
        });
    }

    /// Reads the prompt again where that is due, and shows what both say of it.
    fn refresh(&mut self) -> candle_core::Result<()> {
        if !std::mem::take(&mut self.stale) {
            return Ok(());
        }
        for (model, view) in self.models.iter_mut().zip(&mut self.scene.sides) {
            view.loss = Some(model.loss()?);
            model.describe(view);
        }
        let [a, b] = &self.models;
        let (Some(of_a), Some(of_b)) = (a.reading(), b.reading()) else { return Ok(()) };
        let common = self.alike.then(|| likeliest_of_both(&of_a.target, &of_b.target, Prompt::CANDIDATES));
        for (index, (model, reading)) in [(a, of_a), (b, of_b)].into_iter().enumerate() {
            let own = || likeliest(&reading.target, Prompt::CANDIDATES);
            let candidates = common.clone().unwrap_or_else(own);
            let previous = (index == 1 && self.alike).then_some(of_a.target.as_slice());
            let tokenizer = &model.checkpoint().tokenizer;
            let prediction =
                model.prompt().prediction(reading, &candidates, previous, tokenizer, model.steps());
            self.scene.sides[index].prediction = Some(Arc::new(prediction));
        }
        self.scene.between =
            Arc::new(between::between([a, b], [of_a, of_b], self.alike, self.scene.same_shape)?);
        Ok(())
    }

    fn begin_writing(&mut self, side: Side) {
        self.stop_painting();
        let weights = self.weights_at_place(side);
        match weights.and_then(|weights| self.models[side as usize].write(weights, self.sampling)) {
            Ok(writer) => {
                self.writers[side as usize] = Some(writer);
                self.scene.sides[side as usize].sample = Some(Sample { writing: true, ..Sample::default() });
            }
            Err(error) => self.warn(format!("{} can't write: {error}", side.name())),
        }
    }

    /// Has whoever writes write one more token.
    fn write(&mut self) {
        for side in Side::BOTH {
            let Some(writer) = &mut self.writers[side as usize] else { continue };
            match writer.next(&self.models[side as usize]) {
                Ok(sample) => {
                    if !sample.writing {
                        self.writers[side as usize] = None;
                    }
                    self.scene.sides[side as usize].sample = Some(sample);
                }
                Err(error) => {
                    self.silence(side);
                    self.warn(format!("{} can't write on: {error}", side.name()));
                }
            }
        }
    }

    fn hush(&mut self) {
        self.each(Sides::Both, Self::silence);
    }

    fn silence(&mut self, side: Side) {
        self.writers[side as usize] = None;
        self.scene.sides[side as usize].sample = None;
    }

    fn say(&mut self, text: String) {
        self.note(text, false);
    }

    fn warn(&mut self, text: String) {
        self.note(text, true);
    }

    fn note(&mut self, text: String, warning: bool) {
        let number = self.scene.note.as_ref().map_or(1, |note| note.number + 1);
        self.scene.note = Some(Note { number, text, warning });
    }
}

/// The smallest side that is enough.
fn finest(side: usize) -> usize {
    SIDES.into_iter().find(|&enough| enough >= side).unwrap_or(SIDES[SIDES.len() - 1])
}
