//! Single parameters beside a run: which have the largest gradients, what turning one or two of them does, and how
//! far tuning one after another gets.

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests;
mod walking;

use std::ops::RangeInclusive;

use candle_core::{Error, Result};

use super::{Ground, plain};
use crate::landscape::directions::{LossFunction, bytes};
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Direction, Plane, product};
use crate::landscape::probe::{self, Entry};
use crate::landscape::selection::Selection;
use crate::landscape::survey::{Control, Grid, Method, Survey, evenly};
use crate::model::backprop;
use crate::protocol::probe::{Ask, Parameter, Phase, Scene, Sweep, Turned, Visit, Walk};
use crate::protocol::{OptimizerKind, Prediction};
use crate::run::board::Board;
use walking::Walking;

/// Parameters that are listed unasked.
const LISTED: usize = 24;
/// How far the first sweep goes. Weights are of the size of 0.1 and less, but one alone must go far to matter.
const RANGE: f64 = 2.0;
/// How far a sweep may go.
const RANGES: RangeInclusive<f64> = 1e-3..=100.0;
/// Rounds of a walk.
const ROUNDS: RangeInclusive<usize> = 1..=64;

/// The parameters of a run's weights, and those that are turned.
#[derive(Debug)]
pub(super) struct Turning {
    ground: Ground,
    /// The parameters of the scene's list.
    entries: Vec<Entry>,
    /// The directions that turn what is chosen.
    plane: Plane,
    /// The same around the weights, once a sweep or a walk has needed it.
    survey: Option<Survey>,
    range: f64,
    /// Where the parameters are to be turned next.
    turn: Option<[f64; 2]>,
    /// The sweep in hand.
    sweep: Option<Grid>,
    /// The walk in hand.
    walking: Option<Walking>,
    /// The probability of the target with the weights as they are.
    p_target: f64,
    scene: Scene,
}

impl Turning {
    /// Computes the gradient and publishes the list; `None` where it can't be, which is published too.
    pub(super) fn open(ground: Ground, board: &Board) -> Option<Self> {
        let scene = Scene {
            phase: Phase::Ranking,
            of_step: ground.step,
            text: ground.prompt.text().to_owned(),
            loss: f64::NAN,
            grad_norm: f64::NAN,
            listed: Vec::new(),
            chosen: Vec::new(),
            sweep: None,
            turned: None,
            walk: None,
            refusal: None,
        };
        board.set_probe(scene.clone());
        match Self::rank(ground, scene.clone()) {
            Ok(mut turning) => {
                turning.publish(board);
                Some(turning)
            }
            Err(error) => {
                board.set_probe(Scene { phase: Phase::Failed(plain(&error)), ..scene });
                None
            }
        }
    }

    fn rank(mut ground: Ground, mut scene: Scene) -> Result<Self> {
        let names: Vec<String> = ground.weights.iter().map(|(name, _)| name.to_owned()).collect();
        let gradient = gradient(&ground, &names)?;
        scene.grad_norm = product(&gradient, &gradient)?.sqrt();
        // What a slice turns, too: a number of the embedding belongs to one token alone.
        let inner = Selection::default().names(&ground.weights).map_err(Error::wrap)?;
        let gradient = gradient.into_iter().filter(|(name, _)| inner.contains(name)).collect();
        let entries = probe::rank(&ground.weights, &gradient, LISTED)?;
        drop(gradient);
        scene.listed = listed(&ground, &entries);
        // From here on the prompt compares with the weights as they are.
        let Ground { llama, weights, prompt, tokenizer, device, step, .. } = &mut ground;
        let prediction = prompt.predict(llama, weights, tokenizer, device, *step)?;
        (scene.loss, scene.chosen) = (prediction.loss, vec![0]);
        let mut turning = Self {
            plane: plane(&ground, &entries, &scene.chosen)?,
            ground,
            entries,
            survey: None,
            range: RANGE,
            turn: Some([0.0; 2]),
            sweep: None,
            walking: None,
            p_target: prediction.probability,
            scene,
        };
        turning.sweep = Some(turning.grid());
        Ok(turning)
    }

    /// Whether there is more to do without being asked.
    pub(super) fn is_busy(&self) -> bool {
        self.turn.is_some() || self.sweep.is_some() || self.walking.is_some()
    }

    /// Notes what is asked for. What takes long is done by [`Self::work`], but for the derivative of a parameter
    /// that is named: what is asked next may count on its place in the list.
    pub(super) fn obey(&mut self, ask: Ask, board: &Board) {
        let heeded = match ask {
            Ask::Choose { first, second } => self.choose(first, second),
            Ask::Name(text) => self.name(&text),
            Ask::Turn(moves) => self.turn_to(moves),
            Ask::Zoom(factor) => self.zoom(factor),
            Ask::Walk(rounds) => self.set_out(rounds),
            // These are for whoever owns this.
            Ask::Open | Ask::End => Ok(()),
        };
        self.scene.refusal = heeded.err();
        self.publish(board);
    }

    /// Publishes that it has ended.
    pub(super) fn end(self, board: &Board) {
        board.set_probe(Scene { phase: Phase::Ended, ..self.scene });
    }

    /// Does the next piece and publishes it: reads where the parameters are turned to, sweeps, or goes on with the
    /// walk. A sweep is left once `go_on` says no; what is known of it is kept.
    pub(super) fn work(&mut self, board: &Board, go_on: &(dyn Fn() -> bool + Sync)) {
        match self.piece(go_on) {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => {
                (self.turn, self.sweep, self.walking) = (None, None, None);
                self.scene.refusal = Some(plain(&error));
            }
        }
        self.publish(board);
    }

    /// Returns whether something has come of it.
    fn piece(&mut self, go_on: &(dyn Fn() -> bool + Sync)) -> Result<bool> {
        if let Some(moves) = self.turn.take() {
            self.scene.turned = Some(self.read(moves)?);
            return Ok(true);
        }
        let survey = match self.survey.take() {
            Some(survey) => survey,
            None => self.survey()?,
        };
        let survey = self.survey.insert(survey);
        if let Some(grid) = &mut self.sweep {
            if !fill(grid, survey, go_on)? {
                return Ok(false);
            }
            self.scene.sweep = self.sweep.take().map(|grid| swept(&grid));
            return Ok(true);
        }
        let (Some(walking), Some(walk), [first, second]) =
            (&mut self.walking, &mut self.scene.walk, &self.scene.chosen[..])
        else {
            return Ok(false);
        };
        let pair = [&self.entries[*first], &self.entries[*second]];
        let came = walking.advance(walk, &self.ground, survey, pair, go_on)?;
        if walk.descent.len() > walk.rounds {
            self.walking = None;
        }
        Ok(came)
    }

    fn choose(&mut self, first: usize, second: Option<usize>) -> std::result::Result<(), String> {
        let (count, chosen) = (self.entries.len(), [Some(first), second]);
        if chosen.iter().flatten().any(|place| *place >= count) {
            return Err(format!(
                "the list has {count} parameters and none at that place: choose one of them"
            ));
        }
        if second == Some(first) {
            return Err("both are the same parameter; a pair needs two: choose another one".to_owned());
        }
        let chosen: Vec<usize> = chosen.into_iter().flatten().collect();
        self.plane = plane(&self.ground, &self.entries, &chosen).map_err(|error| plain(&error))?;
        self.scene.chosen = chosen;
        (self.survey, self.turn, self.walking) = (None, Some([0.0; 2]), None);
        (self.scene.sweep, self.scene.turned, self.scene.walk) = (None, None, None);
        self.sweep = Some(self.grid());
        Ok(())
    }

    /// Its derivative takes a gradient of its tensor alone, which is cheap beside that of all.
    fn name(&mut self, text: &str) -> std::result::Result<(), String> {
        let (name, flat) = probe::place(text, &self.ground.weights)?;
        let entry = match self.entries.iter().position(|entry| entry.name == name && entry.flat == flat) {
            Some(place) => self.entries.remove(place),
            None => gradient(&self.ground, std::slice::from_ref(&name))
                .and_then(|gradient| Entry::read(&self.ground.weights, &gradient, name, flat))
                .map_err(|error| plain(&error))?,
        };
        self.entries.insert(0, entry);
        self.scene.listed = listed(&self.ground, &self.entries);
        self.choose(0, None)
    }

    fn turn_to(&mut self, moves: [f64; 2]) -> std::result::Result<(), String> {
        if !moves.iter().all(|moved| moved.abs() <= self.range) {
            // As f32, a product of zooms is as short as what was meant.
            let range = self.range as f32;
            return Err(format!("the sweep goes {range} to either side: turn no farther, or zoom out"));
        }
        if self.scene.chosen.len() < 2 && moves[1] != 0.0 {
            return Err("one parameter is turned: choose a second one to turn two".to_owned());
        }
        self.turn = Some(moves);
        Ok(())
    }

    fn zoom(&mut self, factor: f64) -> std::result::Result<(), String> {
        if !(factor.is_finite() && factor > 0.0) {
            return Err("a zoom multiplies the range: give a number above 0".to_owned());
        }
        let range = (self.range * factor).clamp(*RANGES.start(), *RANGES.end());
        if range.total_cmp(&self.range).is_eq() {
            return Err(format!(
                "the sweep goes {range} to either side, which is the end: zoom the other way"
            ));
        }
        self.range = range;
        self.sweep = Some(self.grid());
        Ok(())
    }

    fn set_out(&mut self, rounds: usize) -> std::result::Result<(), String> {
        if !ROUNDS.contains(&rounds) {
            let (least, most) = (ROUNDS.start(), ROUNDS.end());
            return Err(format!("{rounds} rounds: a walk takes {least} to {most}"));
        }
        if self.scene.chosen.len() < 2 {
            return Err("a walk tunes two parameters in turns: choose a second one".to_owned());
        }
        let start = Visit { moves: [0.0; 2], loss: self.scene.loss, p_target: self.p_target };
        let optimizer = format!("{}, lr {:e}", OptimizerKind::Adam.name(), self.ground.learning_rate());
        self.scene.walk = Some(Walk { rounds, visits: vec![start], descent: vec![start], optimizer });
        self.walking = Some(Walking::new(self.range));
        Ok(())
    }

    /// What the model says with the parameters turned.
    fn read(&self, moves: [f64; 2]) -> Result<Turned> {
        let Ground { llama, weights, prompt, tokenizer, device, step, .. } = &self.ground;
        let turned = self.plane.displace(weights, moves[0], moves[1])?;
        let said = prompt.beside(llama, &turned, tokenizer, device, *step)?;
        Ok(Turned { moves, prediction: Prediction { at: Some(moves), ..said } })
    }

    fn survey(&self) -> Result<Survey> {
        let Ground { llama, weights, device, .. } = &self.ground;
        let (plane, batch) = (self.plane.clone(), self.ground.batch());
        let (objective, method) = (Objective::Mean, Some(Method::Stack));
        Survey::new(llama.clone(), weights.clone(), plane, &batch, objective, method, device)
    }

    /// A grid of the range over what is chosen, of which nothing is known.
    fn grid(&self) -> Grid {
        let places = |count| evenly(-self.range, self.range, count);
        match self.scene.chosen.len() {
            2 => Grid::new(places(probe::SIDE), places(probe::SIDE)),
            _ => Grid::new(places(probe::POINTS), vec![0.0]),
        }
    }

    fn publish(&mut self, board: &Board) {
        self.scene.phase = match (&self.sweep, &self.walking) {
            (Some(_), _) => Phase::Sweeping,
            (None, Some(_)) => Phase::Walking,
            (None, None) => Phase::Ready,
        };
        board.set_probe(self.scene.clone());
    }
}

/// The gradient of the mean loss of the text over the tensors of these names.
fn gradient(ground: &Ground, names: &[String]) -> Result<Direction> {
    let Ground { llama, weights, device, .. } = ground;
    let batch = ground.batch();
    let activations = backprop::bytes(llama.config(), batch.rows().len(), batch.seq());
    ground.check_memory("the gradient", bytes(weights, names).saturating_add(activations))?;
    let function = LossFunction { llama, batch: &batch, objective: Objective::Mean, device };
    function.gradient(weights, names)
}

/// The directions that turn one or two of the list.
fn plane(ground: &Ground, entries: &[Entry], chosen: &[usize]) -> Result<Plane> {
    let mut turned = chosen.iter().filter_map(|place| entries.get(*place)).map(|e| (e.name.as_str(), e.flat));
    let Some(first) = turned.next() else { candle_core::bail!("the model has no parameters") };
    Plane::entries(&ground.weights, first, turned.next())
}

/// What a screen is told of a list.
fn listed(ground: &Ground, entries: &[Entry]) -> Vec<Parameter> {
    let parameter = |entry: &Entry| {
        let Entry { name, index, value, grad, .. } = entry.clone();
        Parameter { trained: !ground.frozen.contains(&name), name, index, value, grad }
    };
    entries.iter().map(parameter).collect()
}

/// Evaluates what is missing of a grid. Returns whether it is complete.
fn fill(grid: &mut Grid, survey: &Survey, go_on: &(dyn Fn() -> bool + Sync)) -> Result<bool> {
    grid.fill(survey, survey.points_at_once(), &Control { go_on, ..Control::QUIET })
}

/// A complete grid as a screen is told of it.
fn swept(grid: &Grid) -> Sweep {
    let numbers = |number: fn(f64, f64) -> f64| {
        let points = grid.points().iter();
        points.map(|point| point.map_or(f32::NAN, |at| number(at.loss, at.last) as f32)).collect()
    };
    Sweep {
        first: grid.alphas().to_vec(),
        second: grid.betas().to_vec(),
        loss: numbers(|loss, _| loss),
        p_target: numbers(|_, last| (-last).exp()),
    }
}
