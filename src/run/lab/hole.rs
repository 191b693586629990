//! The wormhole beside a run: the plane through its weights, a start on a plateau, and the plane that travels.

mod laying;
mod picture;
#[cfg(test)]
mod tests;

use super::Ground;
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::Plane;
use crate::landscape::survey::Grid;
use crate::predict::Prompt;
use crate::protocol::wormhole::{Ask, Moment, Moments, Phase, RUN, Scene, Setting};
use crate::protocol::{OptimizerKind, Slice};
use crate::run::board::Board;
use crate::run::wormhole::{Descent, View, Wormhole, chance};
use laying::Laid;
pub(super) use laying::check;
use picture::Picture;

/// A coarse picture that takes more seconds than this holds up the steps.
const PATIENCE: f64 = 0.3;
/// Steps from one such picture to the next, at least.
const SPARSE: u64 = 4;

/// An experiment, as far as it has come.
#[derive(Debug)]
pub(super) struct Hole {
    ground: Ground,
    plane: Plane,
    /// What all its pictures say of themselves.
    caption: Slice,
    scene: Scene,
    /// The scene that was published last.
    told: Option<Scene>,
    /// None before there is a start.
    traveller: Option<Traveller>,
    /// The last step that a screen knows. After [`Ask::Back`] those up to it are taken again.
    known: u64,
    /// The step to come to rest at.
    goal: u64,
    /// What is still to be drawn of the plane that stays.
    frozen: Option<Picture>,
    /// What is still to be drawn of the weights as they are.
    travelling: Option<Picture>,
    /// Whether a picture of the weights as they are was begun.
    pictured: bool,
    /// Seconds that the newest coarse picture took.
    coarse_seconds: f64,
}

/// The weights that move.
#[derive(Debug)]
struct Traveller {
    wormhole: Wormhole,
    /// Where they started, in units of the directions.
    offset: [f64; 2],
    /// Where they are.
    moment: Moment,
    /// It knows what they said at the start.
    prompt: Prompt,
}

impl Hole {
    /// Draws the directions and publishes what is known; `None` where it can't be, which is published too. Pictures
    /// carry the generation, a number that no other experiment has.
    pub(super) fn lay(setting: Setting, ground: Ground, generation: u64, board: &Board) -> Option<Self> {
        let scene = Scene {
            phase: Phase::Laying,
            setting,
            learning_rate: setting.learning_rate.unwrap_or(ground.learning_rate()),
            of_step: ground.step,
            text: ground.prompt.text().to_owned(),
            plane: None,
            offset: None,
            chance: chance(&ground.weights),
            moments: Moments::default(),
            prediction: None,
            drawing: true,
        };
        board.rewind_film(None);
        board.set_wormhole(scene.clone());
        let descent = descent(&ground, scene.learning_rate, [0.0; 2]);
        let Laid { plane, survey, caption } = match Laid::new(&setting, &ground, &descent, generation) {
            Ok(laid) => laid,
            Err(reason) => {
                board.set_wormhole(Scene { phase: Phase::Failed(reason), drawing: false, ..scene });
                return None;
            }
        };
        // Through the model it is the same surface as through any start, with the same coordinates.
        let frozen = Picture::new(survey, [0.0; 2], setting.range, setting.finest, caption.clone());
        let mut hole = Self {
            ground,
            caption,
            scene: Scene { plane: Some(plane.info().clone()), ..scene },
            plane,
            told: None,
            traveller: None,
            known: 0,
            goal: 0,
            frozen: Some(frozen),
            travelling: None,
            pictured: false,
            coarse_seconds: 0.0,
        };
        hole.tell(board);
        Some(hole)
    }

    /// Whether there is more to do without being asked: steps to take, a picture to draw.
    pub(super) fn is_busy(&self) -> bool {
        self.is_moving() || self.next_picture().is_some()
    }

    /// Does what is asked for. Steps and pictures are left to [`Self::work`].
    pub(super) fn obey(&mut self, ask: &Ask, board: &Board) {
        match ask {
            Ask::Jump(place) => self.jump(*place, board),
            Ask::Pause => self.pause(board),
            Ask::Run | Ask::Step(_) | Ask::Back if self.traveller.is_none() => {
                log::warn!("the wormhole has no start yet: choose a place of its plane");
            }
            Ask::Run => self.goal = self.known.saturating_add(RUN),
            Ask::Step(count) => {
                self.goal = self.goal.saturating_add(*count);
            }
            Ask::Back => self.back(board),
            // The thread's own.
            Ask::Lay(_) | Ask::End => {}
        }
        self.settle();
        self.tell(board);
    }

    /// Publishes that it has ended.
    pub(super) fn end(self, board: &Board) {
        board.set_wormhole(Scene { phase: Phase::Ended, drawing: false, ..self.scene });
    }

    /// Takes a step or draws a level of a picture, and publishes it. A picture is left once `go_on` says no; the next
    /// call goes on with it.
    pub(super) fn work(&mut self, board: &Board, go_on: &(dyn Fn() -> bool + Sync)) {
        match self.next_picture() {
            Some(view) => self.draw(view, board, go_on),
            None if self.is_moving() => self.step(board),
            None => {}
        }
        self.settle();
        self.tell(board);
    }

    /// Whether there are steps to take.
    fn is_moving(&self) -> bool {
        self.traveller.as_ref().is_some_and(|traveller| traveller.moment.step < self.goal)
    }

    /// What is drawn next: the coarser of the two; between steps only a coarse one of the moving weights.
    fn next_picture(&self) -> Option<View> {
        let travelling = self.travelling.as_ref().map(Picture::side);
        let frozen = self.frozen.as_ref().map(Picture::side);
        match (travelling, frozen) {
            _ if self.is_moving() => (travelling == Some(Grid::COARSE)).then_some(View::Travelling),
            (Some(travelling), Some(frozen)) if frozen < travelling => Some(View::Frozen),
            (Some(_), _) => Some(View::Travelling),
            (None, _) => frozen.map(|_| View::Frozen),
        }
    }

    fn jump(&mut self, place: [f64; 2], board: &Board) {
        let range = self.scene.setting.range;
        if !place.iter().all(|x| x.abs() <= range) {
            let [alpha, beta] = place;
            log::warn!(
                "{alpha}, {beta} is no place of the wormhole's plane: \
                 start from -{range} to {range} in both directions"
            );
            return;
        }
        self.forget(board);
        self.start(place, board);
    }

    /// Forgets the start and what followed.
    fn forget(&mut self, board: &Board) {
        board.rewind_film(None);
        (self.goal, self.known) = (0, 0);
        let scene = &mut self.scene;
        (scene.moments, scene.offset, scene.prediction) = (Moments::default(), None, None);
    }

    /// Puts the weights at a place of the plane.
    fn start(&mut self, offset: [f64; 2], board: &Board) {
        // The memory of those before.
        (self.travelling, self.traveller, self.pictured) = (None, None, false);
        match Traveller::new(&self.ground, &self.plane, self.scene.learning_rate, offset) {
            Ok(traveller) => {
                let moment = traveller.moment;
                self.traveller = Some(traveller);
                self.scene.offset = Some(offset);
                self.note(moment);
                // On the way back to a step that is known, its numbers stay.
                if moment.step >= self.known {
                    self.predict();
                }
            }
            Err(error) => {
                log::error!("the wormhole can't start there: {error}");
                self.forget(board);
            }
        }
    }

    /// Notes where the weights are, unless that is known.
    fn note(&mut self, moment: Moment) {
        let moments = &mut self.scene.moments;
        if moments.items().last().is_none_or(|last| last.step < moment.step) {
            moments.push(moment);
        }
    }

    /// Asks the weights as they are for the text, beside what they said at the start.
    fn predict(&mut self) {
        let Some(Traveller { wormhole, moment, prompt, .. }) = &self.traveller else { return };
        let Ground { llama, tokenizer, device, .. } = &self.ground;
        match prompt.beside(llama, &wormhole.weights(View::Travelling), tokenizer, device, moment.step) {
            Ok(prediction) => self.scene.prediction = Some(prediction),
            Err(error) => log::error!("the moving weights can't be asked for the text: {error}"),
        }
    }

    fn step(&mut self, board: &Board) {
        let Some(traveller) = &mut self.traveller else { return };
        let moment = match traveller.wormhole.step() {
            Ok(moment) => moment,
            Err(error) => {
                log::error!("the wormhole stays where it is: {error}");
                return self.pause(board);
            }
        };
        traveller.moment = moment;
        (self.travelling, self.pictured) = (None, false);
        self.note(moment);
        if moment.step >= self.known {
            self.predict();
        }
        let every = self.scene.setting.every;
        let every = if self.coarse_seconds > PATIENCE { every.max(SPARSE) } else { every };
        if moment.step > self.known {
            self.known = moment.step;
            if moment.step.is_multiple_of(every) {
                self.picture();
            }
        }
    }

    /// Comes to rest where the weights are. What was to be taken again from there is forgotten.
    fn pause(&mut self, board: &Board) {
        let Some(moment) = self.traveller.as_ref().map(|traveller| traveller.moment) else { return };
        if moment.step < self.known {
            board.rewind_film(Some(moment.step));
            self.scene.moments.rewind(moment.step);
            self.note(moment);
            self.predict();
        }
        (self.goal, self.known) = (moment.step, moment.step);
    }

    /// Goes to before the last step: from the start, since no state but that is kept.
    fn back(&mut self, board: &Board) {
        let Some(Traveller { offset, moment, .. }) = &self.traveller else { return };
        let (offset, at) = (*offset, moment.step);
        let Some(before) = self.known.checked_sub(1) else {
            log::warn!("the wormhole is at its start: there is no step to take back");
            return;
        };
        board.rewind_film(Some(before));
        self.scene.moments.rewind(before);
        (self.goal, self.known) = (before, before);
        if at > before {
            self.start(offset, board);
        }
    }

    /// Weights that rest get a picture.
    fn settle(&mut self) {
        if !self.is_moving() && !self.pictured {
            self.picture();
        }
    }

    /// Begins the picture of the weights as they are.
    fn picture(&mut self) {
        let Some(Traveller { wormhole, offset, moment, .. }) = &self.traveller else { return };
        self.pictured = true;
        let Setting { range, finest, .. } = self.scene.setting;
        let caption = Slice { step: moment.step, center: moment.loss, ..self.caption.clone() };
        match wormhole.survey(View::Travelling, Objective::Mean, None) {
            Ok(survey) => {
                self.travelling = Some(Picture::new(survey, *offset, range, finest, caption));
            }
            Err(error) => log::error!("the plane of step {} can't be drawn: {error}", moment.step),
        }
    }

    fn draw(&mut self, view: View, board: &Board, go_on: &(dyn Fn() -> bool + Sync)) {
        let picture = match view {
            View::Frozen => &mut self.frozen,
            View::Travelling => &mut self.travelling,
        };
        let Some(drawn) = picture.as_mut().map(|picture| picture.draw(go_on)) else { return };
        match drawn {
            Ok(None) => {}
            Ok(Some(slice)) => {
                if slice.finest {
                    *picture = None;
                }
                if slice.alphas.len() == Grid::COARSE {
                    self.coarse_seconds = slice.seconds;
                }
                match view {
                    View::Frozen => board.set_frozen(slice),
                    View::Travelling => board.push_frame(slice),
                }
            }
            Err(error) => {
                *picture = None;
                log::error!("the plane of the wormhole can't be drawn: {error}");
            }
        }
    }

    /// Publishes the scene where it has changed.
    fn tell(&mut self, board: &Board) {
        let is_laid = self.frozen.as_ref().is_none_or(|picture| picture.side() > Grid::COARSE);
        self.scene.phase = match &self.traveller {
            Some(_) if self.is_moving() => Phase::Running,
            Some(_) => Phase::Paused,
            None if is_laid => Phase::Choosing,
            None => Phase::Laying,
        };
        self.scene.drawing = self.next_picture().is_some();
        if self.told.as_ref() != Some(&self.scene) {
            board.set_wormhole(self.scene.clone());
            self.told = Some(self.scene.clone());
        }
    }
}

impl Traveller {
    /// The weights at a place of the plane.
    fn new(
        ground: &Ground,
        plane: &Plane,
        learning_rate: f64,
        offset: [f64; 2],
    ) -> candle_core::Result<Self> {
        let Ground { llama, weights, tokenizer, device, .. } = ground;
        let descent = descent(ground, learning_rate, offset);
        let wormhole =
            Wormhole::begin(llama.clone(), weights, plane.clone(), ground.batch(), descent, device)?;
        let (moment, mut prompt) = (wormhole.moment()?, ground.prompt.clone());
        prompt.predict(llama, &wormhole.weights(View::Travelling), tokenizer, device, moment.step)?;
        Ok(Self { wormhole, offset, moment, prompt })
    }
}

fn descent(ground: &Ground, learning_rate: f64, offset: [f64; 2]) -> Descent {
    Descent { offset, optimizer: OptimizerKind::Adam, learning_rate, threads: ground.threads }
}
