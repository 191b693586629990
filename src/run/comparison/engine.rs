//! The loop: it obeys the screen, has the painter evaluate what is missing, and publishes the scene.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use candle_core::Result;
use tokio::sync::watch;

use super::Input;
use super::between::between;
use super::model::{Model, Writer};
use super::painter::{Job, Painted, Painter, Part, Sitter};
use crate::generate::Sampling;
use crate::landscape::survey::{Grid, Survey, evenly};
use crate::model::params::Params;
use crate::predict::{Prompt, likeliest, likeliest_of_both};
use crate::protocol::comparison::{Ask, Note, PlaneChoice, Sample, Scene, Side, SideView, Sides};
use crate::protocol::{BatchInfo, OptimizerKind, Slice};
use crate::run::pictures::{RANGES, SEEDS, SIDES};
use crate::settings::HIGHEST_RATE;

/// What is not evaluated yet.
#[derive(Debug, Default)]
struct Missing {
    /// What is known of the slices that are not at their finest.
    grids: [Option<Grid>; 2],
    path: bool,
    gradients: [bool; 2],
}

/// A slice on show.
struct Shown {
    survey: Arc<Survey>,
    grid: Grid,
}

pub(super) struct Engine {
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
    shown: [Option<Shown>; 2],
    generation: u64,
    range: f64,
    /// Points a side of the finest level.
    finest: usize,
    writers: [Option<Writer>; 2],
    /// What both say is to be read again.
    stale: bool,
    /// What is to be said with the next scene, and whether it went wrong.
    notes: Vec<(String, bool)>,
}

impl Engine {
    /// An engine of two models that are there.
    pub(super) fn new(
        models: [Model; 2],
        sampling: Sampling,
        finest: usize,
        scene: Scene,
        painter: Painter,
    ) -> Self {
        let [a, b] = models.each_ref().map(Model::checkpoint);
        let alike = a.has_tokens_of(b);
        let mut engine = Self {
            models,
            sampling,
            alike,
            scene,
            painter,
            ticket: 0,
            painting: false,
            missing: Missing::default(),
            shown: [None, None],
            generation: 1,
            range: 1.0,
            finest: enough(finest),
            writers: [None, None],
            stale: true,
            notes: Vec::new(),
        };
        engine.repaint(Sides::Both);
        engine.remeasure(Sides::Both);
        engine
    }

    /// Obeys until the screen is gone.
    pub(super) fn run(mut self, inbox: &Receiver<Input>, stage: &watch::Sender<Scene>) {
        let mut waiting = VecDeque::new();
        self.publish(stage);
        loop {
            if waiting.is_empty() && self.writers.iter().all(Option::is_none) {
                self.paint();
                self.publish(stage);
                match inbox.recv() {
                    Ok(input) => waiting.push_back(input),
                    Err(_) => return,
                }
            }
            for input in inbox.try_iter() {
                queue(&mut waiting, input);
            }
            match waiting.pop_front() {
                None => self.write(),
                Some(Input::Gone) => return,
                Some(Input::Ask(ask)) => self.obey(ask),
                Some(Input::Painted(painted)) => self.hang(painted),
            }
            self.scene.steps_to_come = waiting.iter().filter(|input| is_step(input)).count();
            self.publish(stage);
        }
    }

    /// Reads the prompt again where that is due, and shows all.
    fn publish(&mut self, stage: &watch::Sender<Scene>) {
        if std::mem::take(&mut self.stale)
            && let Err(error) = self.refresh()
        {
            self.warn(format!("the prompt can't be read: {error}"));
        }
        if !self.notes.is_empty() {
            let number = self.scene.note.as_ref().map_or(1, |note| note.number + 1);
            let warning = self.notes.iter().any(|(_, warning)| *warning);
            // What follows the first line is for those who look for a fault in the program.
            let line = |(text, _): (String, bool)| text.lines().next().unwrap_or_default().to_owned();
            let texts: Vec<String> = self.notes.drain(..).map(line).collect();
            self.scene.note = Some(Note { number, text: texts.join(" · "), warning });
        }
        stage.send_replace(self.scene.clone());
    }

    fn obey(&mut self, ask: Ask) {
        match ask {
            Ask::Step(sides) => self.each(sides, Self::step),
            Ask::Back(sides) => self.each(sides, |engine, side| {
                engine.models[side as usize].back();
                engine.moved(side);
            }),
            Ask::ScaleLearningRate(factor) => {
                let rate = self.scene.learning_rate * factor;
                if rate > 0.0 && rate <= HIGHEST_RATE {
                    self.scene.learning_rate = rate;
                } else {
                    self.warn(format!("the learning rate stays {:.1e}", self.scene.learning_rate));
                }
            }
            Ask::SetOptimizer(kind) => self.scene.optimizer = Some(kind),
            Ask::SetPrompt(text) => self.read(&text, |_, template| template),
            Ask::ToggleTemplate(sides) => {
                let text = self.scene.prompt.clone();
                let given = self.models.each_ref().map(Model::is_given);
                self.read(&text, |side, template| template != (sides.include(side) && !given[side as usize]));
            }
            Ask::ShowPlane(plane) => self.show_plane(plane),
            Ask::NewPlane => {
                self.generation += 1;
                self.leave_plane();
            }
            Ask::Zoom(factor) => {
                let range = self.range * factor;
                if RANGES.contains(&range) {
                    self.range = range;
                    self.repaint(Sides::Both);
                } else {
                    self.warn("the plane is shown as far as it goes".to_owned());
                }
            }
            Ask::Grid(side) => self.resize(side),
            Ask::LookAt(place) => {
                self.scene.place = place;
                self.hush();
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
        let rate = self.scene.learning_rate;
        let optimizer = self.scene.optimizer.unwrap_or(OptimizerKind::Adam);
        match self.models[side as usize].step(rate, optimizer) {
            Ok(report) => {
                let (name, step, norms) = (side.name(), report.step, report.norms);
                let (loss, update) = (norms.loss, norms.update_norm);
                self.say(format!("{name} step {step}: loss {loss:.4} before it, moved by {update:.1e}"));
                self.moved(side);
            }
            Err(problem) => self.warn(format!("{}: {problem}", side.name())),
        }
    }

    /// The weights of a model are others now.
    fn moved(&mut self, side: Side) {
        self.silence(side);
        self.repaint(Sides::One(side));
        self.remeasure(Sides::One(side));
        let shown = self.shown[side as usize].as_ref();
        match shown.map(|shown| self.models[side as usize].drift(&shown.survey)).transpose() {
            Ok(drift) => self.scene.sides[side as usize].drift = drift,
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
        // What was painted is of the old text; the planes stay what they are.
        for view in &mut self.scene.sides {
            (view.slice, view.drift) = (None, None);
        }
        self.repaint(Sides::Both);
        self.remeasure(Sides::Both);
        self.look(Sides::Both);
    }

    fn show_plane(&mut self, plane: PlaneChoice) {
        if plane != PlaneChoice::Own && !self.scene.same_shape {
            return self.warn("the models differ in shape: they share no plane".to_owned());
        }
        self.scene.plane = plane;
        self.leave_plane();
    }

    /// The slices on show are of a plane that is left.
    fn leave_plane(&mut self) {
        self.scene.place = None;
        self.shown = [None, None];
        for view in &mut self.scene.sides {
            (view.slice, view.drift) = (None, None);
        }
        self.hush();
        self.look(Sides::Both);
        self.repaint(Sides::Both);
    }

    /// Goes as fine as that, from what is known.
    fn resize(&mut self, side: usize) {
        self.finest = enough(side);
        self.stop_painting();
        for (missing, shown) in self.missing.grids.iter_mut().zip(&self.shown) {
            if missing.is_none()
                && let Some(Shown { grid, .. }) = shown
                && grid.alphas().len() < self.finest
            {
                *missing = Some(grid.clone());
            }
        }
        self.note_slicing();
    }

    /// The slices are to be evaluated again, from the coarsest level.
    fn repaint(&mut self, sides: Sides) {
        self.stop_painting();
        let through = self.scene.plane == PlaneChoice::Through;
        let (range, middle) = (self.range, if through { 0.5 } else { 0.0 });
        let alphas = evenly(middle - range, middle + range, Grid::COARSE);
        let grid = Grid::new(alphas, evenly(-range, range, Grid::COARSE));
        for side in Side::BOTH {
            // In the plane through both there is one slice, and it depends on both.
            let missing = &mut self.missing.grids[side as usize];
            match (through, side) {
                (true, Side::A) => *missing = Some(grid.clone()),
                (true, Side::B) => *missing = None,
                (false, side) if sides.include(side) => *missing = Some(grid.clone()),
                (false, _) => {}
            }
        }
        self.note_slicing();
    }

    fn note_slicing(&mut self) {
        for (view, grid) in self.scene.sides.iter_mut().zip(&self.missing.grids) {
            view.slicing = grid.is_some();
        }
    }

    /// What depends on weights and text, but on no plane, is to be evaluated again.
    fn remeasure(&mut self, sides: Sides) {
        self.stop_painting();
        self.stale = true;
        self.each(sides, |engine, side| {
            engine.missing.gradients[side as usize] = true;
            engine.scene.sides[side as usize].grad_norm = None;
        });
        let [a, b] = &self.models;
        self.missing.path = self.alike && self.scene.same_shape && a.prompt().ids() == b.prompt().ids();
        self.scene.path = None;
    }

    /// All threads are for something else now.
    fn stop_painting(&mut self) {
        self.ticket = self.painter.cancel();
        self.painting = false;
    }

    /// Has the painter evaluate what is missing.
    fn paint(&mut self) {
        let Missing { grids, path, gradients } = &self.missing;
        let wanted = grids.iter().any(Option::is_some) || *path || gradients.contains(&true);
        if !wanted || self.painting {
            return;
        }
        let [a, b] = self.models.each_ref().map(Sitter::of);
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
            Err(error) => self.give_up(format!("the weights can't be copied: {error}")),
        }
    }

    /// Evaluates nothing of what is missing, until more is.
    fn give_up(&mut self, reason: String) {
        self.missing = Missing::default();
        self.note_slicing();
        self.warn(reason);
    }

    /// Takes in a part of what was evaluated, unless it is of a job that was dropped.
    fn hang(&mut self, Painted { ticket, part }: Painted) {
        if ticket != self.ticket {
            return;
        }
        match part {
            Part::Level { side, survey, grid, seconds } => self.hang_slice(side, &survey, grid, seconds),
            Part::NoSlice(side, error) => {
                self.missing.grids[side as usize] = None;
                self.note_slicing();
                if self.scene.plane == PlaneChoice::Through {
                    self.warn(format!("back from the plane through both: {error}"));
                    self.show_plane(PlaneChoice::Own);
                } else {
                    self.warn(format!("the slice of {} can't be evaluated: {error}", side.name()));
                }
            }
            Part::Path(path) => {
                self.missing.path = false;
                match path {
                    Ok(path) => self.scene.path = Some(Arc::new(path)),
                    Err(error) => self.warn(format!("the way from A to B can't be measured: {error}")),
                }
            }
            Part::GradNorm(side, norm) => {
                self.missing.gradients[side as usize] = false;
                match norm {
                    Ok(norm) => self.scene.sides[side as usize].grad_norm = Some(norm),
                    Err(error) => self.warn(format!("the gradient can't be measured: {error}")),
                }
            }
            Part::Failed(message) => {
                self.painting = false;
                self.give_up(format!("what was being evaluated panicked: {message}"));
            }
            Part::End => self.painting = false,
        }
    }

    fn hang_slice(&mut self, side: Side, survey: &Arc<Survey>, grid: Grid, seconds: f64) {
        let finest = grid.alphas().len() >= self.finest;
        let model = &self.models[side as usize];
        let batch = model.batch();
        let view = &mut self.scene.sides[side as usize];
        let slice = Slice {
            step: model.steps(),
            generation: self.generation,
            center: view.loss.unwrap_or(f64::NAN),
            loss: grid.loss().into_iter().map(|loss| loss as f32).collect(),
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
            method: survey.method().name().to_owned(),
            sharpness: None,
        };
        (view.slice, view.drift) = (Some(Arc::new(slice)), None);
        self.missing.grids[side as usize] = (!finest).then(|| grid.clone());
        self.note_slicing();
        let shown = self.shown[side as usize].replace(Shown { survey: Arc::clone(survey), grid });
        let other = shown.is_none_or(|shown| !Arc::ptr_eq(&shown.survey, survey));
        if other && self.scene.place.is_some() {
            self.look(Sides::One(side));
        }
    }

    /// The weights at the place that is looked at; `None` where that is the model's own weights.
    fn weights_at_place(&self, side: Side) -> Result<Option<Params>> {
        // On the way from A to B it is A that changes.
        let stays = self.scene.plane == PlaneChoice::Through && side == Side::B;
        let (Some([alpha, beta]), Some(Shown { survey, .. }), false) =
            (self.scene.place, &self.shown[side as usize], stays)
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

    /// Reads the prompt where that is due, and shows what both say of it.
    fn refresh(&mut self) -> Result<()> {
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
        self.scene.between = Arc::new(between([a, b], [of_a, of_b], self.alike, self.scene.same_shape)?);
        Ok(())
    }

    fn begin_writing(&mut self, side: Side) {
        self.stop_painting();
        let weights = self.weights_at_place(side);
        let sampling = self.sampling;
        match weights.and_then(|weights| self.models[side as usize].write(weights, sampling)) {
            Ok(writer) => {
                // Whoever asks again wants another text, where chance has a say.
                self.sampling.seed = sampling.seed.wrapping_add(1);
                self.writers[side as usize] = Some(writer);
                self.scene.sides[side as usize].sample = Some(Sample { writing: true, ..Sample::default() });
            }
            Err(error) => self.warn(format!("{} can't write: {error}", side.name())),
        }
    }

    /// Has whoever writes write one more token.
    fn write(&mut self) {
        let mut ended = false;
        for side in Side::BOTH {
            let Some(writer) = &mut self.writers[side as usize] else { continue };
            match writer.next(&self.models[side as usize]) {
                Ok(sample) => {
                    if !sample.writing {
                        self.writers[side as usize] = None;
                        ended = true;
                    }
                    self.scene.sides[side as usize].sample = Some(sample);
                }
                Err(error) => {
                    self.silence(side);
                    self.warn(format!("{} can't write on: {error}", side.name()));
                }
            }
        }
        if ended {
            self.say(ends(&self.scene.sides));
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
        self.notes.push((text, false));
    }

    fn warn(&mut self, text: String) {
        self.notes.push((text, true));
    }
}

/// Whose texts are at an end, and by whom.
fn ends(sides: &[SideView; 2]) -> String {
    let end = |(side, view): (Side, &SideView)| {
        let sample = view.sample.as_ref().filter(|sample| !sample.writing)?;
        let end = if sample.cut { "has written as much as it may" } else { "has ended its text" };
        Some(format!("{} {end}", side.name()))
    };
    Side::BOTH.into_iter().zip(sides).filter_map(end).collect::<Vec<_>>().join(" · ")
}

/// Puts an input behind those that wait. Of places only the newest matters, and who goes back or wants silence takes
/// no more of the steps that were asked for.
fn queue(waiting: &mut VecDeque<Input>, input: Input) {
    match &input {
        Input::Ask(Ask::LookAt(_)) => {
            if matches!(waiting.back(), Some(Input::Ask(Ask::LookAt(_)))) {
                waiting.pop_back();
            }
        }
        Input::Ask(Ask::Back(_) | Ask::Hush) => waiting.retain(|input| !is_step(input)),
        _ => {}
    }
    waiting.push_back(input);
}

fn is_step(input: &Input) -> bool {
    matches!(input, Input::Ask(Ask::Step(_)))
}

/// The smallest side of a grid that is enough.
fn enough(side: usize) -> usize {
    SIDES.into_iter().find(|&enough| enough >= side).unwrap_or(SIDES[SIDES.len() - 1])
}
