//! The wormhole on a screen: which picture of it is shown, and what keys ask of it.

use crate::protocol::wormhole::{Ask, Film, Moment, PLATEAU, Phase, Scene, Setting};
use crate::protocol::{Command, Slice};

use super::tour::Turn;
use super::{Action, App, Chosen, Effect, Hint, LandscapeView, View};

/// How the wormhole is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WormholeView {
    /// Where the start is to be; a plateau until an arrow moves it.
    cursor: Option<Chosen>,
    /// There is a start, and another one is being chosen.
    again: bool,
    /// The step of the selected picture; without one it is the newest, whichever that is.
    step: Option<u64>,
    /// The plane that travels has all the room.
    pub alone: bool,
    /// The learning rate of the next experiment, where a key has changed it.
    learning_rate: Option<f64>,
}

/// What there is to see of the wormhole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WormholeStage {
    /// No plane.
    Nothing,
    /// The plane that stays, and where the start is to be.
    Choosing,
    /// Both planes.
    Descending,
}

impl WormholeView {
    /// Pictures that a key passes that goes far.
    const FAR: isize = 10;

    /// What is shown of this experiment.
    pub fn stage(&self, scene: Option<&Scene>) -> WormholeStage {
        let Some(scene) = scene else { return WormholeStage::Nothing };
        match &scene.phase {
            Phase::Failed(_) => WormholeStage::Nothing,
            Phase::Ended if scene.offset.is_none() => WormholeStage::Nothing,
            Phase::Laying | Phase::Choosing => WormholeStage::Choosing,
            Phase::Running | Phase::Paused if self.again => WormholeStage::Choosing,
            Phase::Ended | Phase::Running | Phase::Paused => WormholeStage::Descending,
        }
    }

    /// Where the start is to be, on the plane that stays.
    pub fn start(&self, frozen: Option<&Slice>) -> Chosen {
        let [alpha, beta] = frozen.and_then(plateau).unwrap_or(PLATEAU);
        let start = self.cursor.unwrap_or(Chosen { alpha, beta });
        let Some(plane) = frozen else { return start };
        let on = |axis: &[f64], value: f64| match axis {
            [first, .., last] if first <= last => value.clamp(*first, *last),
            _ => value,
        };
        Chosen { alpha: on(&plane.alphas, start.alpha), beta: on(&plane.betas, start.beta) }
    }

    /// What the next experiment is made with: what the last one was, or else what the film was.
    pub fn setting(&self, scene: Option<&Scene>) -> Setting {
        let setting = scene.map_or_else(Setting::default, |scene| scene.setting);
        Setting { learning_rate: self.learning_rate.or(setting.learning_rate), ..setting }
    }

    /// Whether the newest picture is selected, and the next one will be.
    pub fn follows(&self) -> bool {
        self.step.is_none()
    }

    /// The index of the selected picture. Where that of its step is gone it is the nearest one.
    pub fn selected(&self, film: &Film) -> Option<usize> {
        let frames = film.items();
        match self.step {
            Some(step) => (0..frames.len()).min_by_key(|index| frames[*index].step.abs_diff(step)),
            None => frames.len().checked_sub(1),
        }
    }

    /// The step whose numbers are read: that of the selected picture, or the newest.
    pub fn moment(&self, scene: &Scene) -> Option<Moment> {
        let moments = scene.moments.items();
        match self.step {
            Some(step) => moments.iter().min_by_key(|moment| moment.step.abs_diff(step)).copied(),
            None => moments.last().copied(),
        }
    }

    /// Shows what comes of what is asked next.
    pub(super) fn follow(&mut self) {
        (self.again, self.step) = (false, None);
    }

    /// Goes to a later picture, or far up to a much later one. From the newest one on it follows.
    fn scrub(&mut self, film: &Film, right: i32, up: i32) {
        let frames = film.items();
        let Some(now) = self.selected(film) else { return };
        let newest = frames.len() - 1;
        let by = right as isize + up as isize * Self::FAR;
        let index = now.saturating_add_signed(by).min(newest);
        self.step = (index < newest).then(|| frames[index].step);
    }

    /// One step back to the plain view.
    fn clear(&mut self, scene: Option<&Scene>) {
        if self.again {
            self.again = false;
        } else if self.stage(scene) == WormholeStage::Choosing {
            self.cursor = None;
        } else if self.step.is_some() {
            self.step = None;
        } else {
            self.alone = false;
        }
    }
}

/// The place of the film's start where that is on high ground. Else, of the places that are at least half-way out, the one
/// around which the lowest loss is highest: high, and no mere peak. All this on nine samples a side, so that it stays when
/// the picture gets finer; `None` where there are none.
fn plateau(plane: &Slice) -> Option<[f64; 2]> {
    const SIDE: usize = 9;
    let Slice { alphas, betas, loss, .. } = plane;
    if alphas.len() < SIDE || betas.len() < SIDE || loss.len() != alphas.len() * betas.len() {
        return None;
    }
    let at = |axis: &[f64], place: usize| axis[place * (axis.len() - 1) / (SIDE - 1)];
    let lattice = |index: usize| {
        let (row, column) = (index / SIDE, index % SIDE);
        let (row, column) = (row * (betas.len() - 1) / (SIDE - 1), column * (alphas.len() - 1) / (SIDE - 1));
        f64::from(loss[row * alphas.len() + column])
    };
    let losses: Vec<f64> = (0..SIDE * SIDE).map(lattice).collect();
    let lowest_around = |row: usize, column: usize| {
        let rows = losses.chunks(SIDE).skip(row - 1).take(3);
        rows.flat_map(|row| &row[column - 1..=column + 1]).copied().fold(f64::INFINITY, f64::min)
    };
    let finite = || losses.iter().copied().filter(|loss| loss.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let [film_alpha, film_beta] = PLATEAU;
    let nearest = |axis: &[f64], wanted: f64| {
        (0..SIDE).min_by(|a, b| (at(axis, *a) - wanted).abs().total_cmp(&(at(axis, *b) - wanted).abs()))
    };
    let (film_row, film_column) = (nearest(betas, film_beta)?, nearest(alphas, film_alpha)?);
    if losses[film_row * SIDE + film_column] >= f64::midpoint(low, high) {
        return Some(PLATEAU);
    }
    let far_out = |place: usize| place <= SIDE / 4 || place >= SIDE - 1 - SIDE / 4;
    let places = (1..SIDE - 1).flat_map(|row| (1..SIDE - 1).map(move |column| (row, column)));
    let far = places.filter(|(row, column)| far_out(*row) || far_out(*column));
    let heights = far.map(|(row, column)| (lowest_around(row, column), row, column)).collect::<Vec<_>>();
    let highest =
        heights.into_iter().filter(|(lowest, ..)| lowest.is_finite()).max_by(|a, b| a.0.total_cmp(&b.0));
    highest.map(|(_, row, column)| [at(alphas, column), at(betas, row)])
}

impl App {
    /// What an action does in this view; `None` where it means nothing of its own here.
    pub(super) fn act_in_wormhole(&mut self, action: Action) -> Option<Vec<Effect>> {
        let view = &mut self.view.wormhole;
        match action {
            Action::Clear => view.clear(self.engine.wormhole.as_ref()),
            Action::FocusNext | Action::FocusPrevious | Action::Zoom => view.alone = !view.alone,
            Action::Plane => return Some(self.refuse("the plane of an experiment is random")),
            Action::Move
            | Action::RunPause
            | Action::Step
            | Action::StepTen
            | Action::Back
            | Action::Redraw
            | Action::NewPlane
            | Action::ZoomIn
            | Action::ZoomOut
            | Action::Grid
            | Action::Faster
            | Action::Slower
            | Action::Optimizer => return Some(self.command_wormhole(action)),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// Arrows and hjkl in this view: the cursor, or the pictures of the film.
    pub(super) fn steer_wormhole(&mut self, right: i32, up: i32) -> Vec<Effect> {
        let (view, engine) = (&mut self.view.wormhole, &self.engine);
        match view.stage(engine.wormhole.as_ref()) {
            WormholeStage::Nothing => {}
            WormholeStage::Choosing => {
                let frozen = engine.frozen.as_ref();
                let moved = frozen.and_then(|plane| view.start(frozen).moved(plane, right, up));
                view.cursor = moved.or(view.cursor);
            }
            WormholeStage::Descending => view.scrub(&engine.film, right, up),
        }
        Vec::new()
    }

    /// What was typed after the name of this view.
    pub(super) fn wormhole_named(&mut self, word: &str) -> Vec<Effect> {
        self.view.shown = View::Wormhole;
        let learning_rate = self.view.wormhole.learning_rate;
        let setting = |film| Setting { film, learning_rate, ..Setting::default() };
        match word {
            "film" => self.lay(setting(true), "laying the film's plane: the first half of the layers"),
            "all" => self.lay(setting(false), "laying a plane through all layers"),
            "end" if self.has_plane() => {
                self.ask_wormhole(Ask::End, "forgetting the experiment: its memory is given back")
            }
            "end" => self.refuse("there is no experiment to end"),
            _ => self.refuse("what may follow wormhole is film, all or end"),
        }
    }

    /// Takes so many steps of the experiment.
    pub(super) fn step_wormhole(&mut self, steps: u64) -> Vec<Effect> {
        if let Some(reason) = self.cannot_step() {
            return self.refuse(reason);
        }
        let told = match steps {
            1 => "one step".to_owned(),
            steps => format!("{steps} steps"),
        };
        self.ask_wormhole(Ask::Step(steps), told)
    }

    fn command_wormhole(&mut self, action: Action) -> Vec<Effect> {
        if let Some(reason) = self.cannot_command() {
            return self.refuse(reason);
        }
        match action {
            Action::Move => self.enter_wormhole(),
            Action::RunPause => self.run_wormhole(),
            Action::Step => self.step_wormhole(1),
            Action::StepTen => self.step_wormhole(10),
            Action::Back => self.back_in_wormhole(),
            Action::Faster => self.scale_rate(1.25),
            Action::Slower => self.scale_rate(0.8),
            Action::Optimizer => self.refuse("the weights here are trained with adam, as in the film"),
            _ => self.lay_anew(action),
        }
    }

    /// Lays a plane where there is none, jumps where a start is chosen, and goes back to choosing one otherwise.
    fn enter_wormhole(&mut self) -> Vec<Effect> {
        let (view, scene) = (&self.view.wormhole, self.engine.wormhole.as_ref());
        let ended = scene.is_some_and(|scene| scene.phase == Phase::Ended);
        match view.stage(scene) {
            WormholeStage::Choosing if scene.is_some_and(|scene| scene.plane.is_none()) => {
                self.refuse("the two directions are still being drawn")
            }
            WormholeStage::Choosing if self.move_goes_on() => self.turn_page(Turn::On),
            WormholeStage::Choosing => {
                let Chosen { alpha, beta } = view.start(self.engine.frozen.as_ref());
                self.ask_wormhole(Ask::Jump([alpha, beta]), "jumping to the cursor")
            }
            WormholeStage::Descending if !ended => {
                self.view.wormhole.again = true;
                let [go, back] = ["move", "clear"].map(|command| self.options.bindings.shown(command));
                self.view.hint = Some(Hint::Answer(format!(
                    "arrows choose another start, {go} jumps there, {back} goes back"
                )));
                Vec::new()
            }
            WormholeStage::Nothing | WormholeStage::Descending => {
                let setting = view.setting(scene);
                self.lay(setting, "laying a plane through the weights as they are now")
            }
        }
    }

    fn run_wormhole(&mut self) -> Vec<Effect> {
        if let Some(reason) = self.cannot_step() {
            return self.refuse(reason);
        }
        if self.engine.wormhole.as_ref().is_some_and(|scene| scene.phase == Phase::Running) {
            return self.ask_wormhole(Ask::Pause, "pausing after this step");
        }
        self.ask_wormhole(Ask::Run, "training all weights")
    }

    fn back_in_wormhole(&mut self) -> Vec<Effect> {
        if let Some(reason) = self.cannot_step() {
            return self.refuse(reason);
        }
        let moments = self.engine.wormhole.as_ref().map(|scene| scene.moments.items());
        if moments.and_then(<[Moment]>::last).is_none_or(|newest| newest.step == 0) {
            return self.refuse("this is the start: there is no step before it");
        }
        self.ask_wormhole(Ask::Back, "back to before the last step")
    }

    /// Lays another plane in place of the one that there is.
    fn lay_anew(&mut self, action: Action) -> Vec<Effect> {
        const RANGES: [f64; 2] = [0.5, 4.0];
        let Some(scene) = &self.engine.wormhole else {
            let key = self.options.bindings.shown("move");
            return self.refuse(format!("nothing is laid yet: {key} lays a plane"));
        };
        let mut setting = self.view.wormhole.setting(Some(scene));
        let before = setting.range;
        let told = match action {
            Action::NewPlane => {
                setting.seeds = setting.seeds.map(|seed| seed.wrapping_add(1));
                format!("laying the plane of seeds {} and {}", setting.seeds[0], setting.seeds[1])
            }
            Action::ZoomIn | Action::ZoomOut => {
                let factor = if action == Action::ZoomIn { 1.0 / 1.5 } else { 1.5 };
                let [least, most] = RANGES;
                setting.range = (before * factor).max(least).min(most);
                if (setting.range - before).abs() < 1e-9 {
                    return self.refuse("the plane is seen from half a unit to four units away");
                }
                format!("laying the plane up to {:.2} units away", setting.range)
            }
            Action::Grid => {
                let finer = LandscapeView::GRIDS.into_iter().find(|grid| *grid > setting.finest);
                setting.finest = finer.unwrap_or(LandscapeView::GRIDS[0]);
                format!("laying the plane with at most {0}x{0} points", setting.finest)
            }
            _ => "laying the plane through the weights as they are now".into(),
        };
        self.lay(setting, told)
    }

    fn scale_rate(&mut self, factor: f64) -> Vec<Effect> {
        if self.has_plane() {
            return self.refuse("the rate stays as long as the plane: `:wormhole end` gives it up");
        }
        let known = self.engine.wormhole.as_ref().map(|scene| scene.learning_rate).filter(|rate| *rate > 0.0);
        let Some(rate) = self.view.wormhole.learning_rate.or(known) else {
            return self.refuse("the first plane has the rate that suits the model: lay it first");
        };
        let rate = rate * factor;
        self.view.wormhole.learning_rate = Some(rate);
        self.view.hint = Some(Hint::Answer(format!("the next plane is trained from with lr {rate:.1e}")));
        Vec::new()
    }

    /// Whether there is an experiment that holds memory.
    fn has_plane(&self) -> bool {
        let gone = |phase: &Phase| matches!(phase, Phase::Ended | Phase::Failed(_));
        self.engine.wormhole.as_ref().is_some_and(|scene| !gone(&scene.phase))
    }

    /// Why no step can be taken, or taken back.
    fn cannot_step(&self) -> Option<String> {
        let key = || self.options.bindings.shown("move");
        match self.engine.wormhole.as_ref().map(|scene| &scene.phase) {
            Some(Phase::Running | Phase::Paused) => None,
            Some(Phase::Laying | Phase::Choosing) => {
                Some(format!("there is no start yet: {} jumps to the cursor", key()))
            }
            None | Some(Phase::Ended | Phase::Failed(_)) => {
                Some(format!("nothing is laid: {} lays a plane", key()))
            }
        }
    }

    fn lay(&mut self, setting: Setting, told: impl Into<String>) -> Vec<Effect> {
        self.view.wormhole.learning_rate = None;
        self.ask_wormhole(Ask::Lay(setting), told)
    }

    /// Asks, and shows what comes of it.
    fn ask_wormhole(&mut self, ask: Ask, told: impl Into<String>) -> Vec<Effect> {
        self.view.wormhole.follow();
        self.view.hint = Some(Hint::Asked(told.into()));
        vec![Effect::Send(Command::Wormhole(ask))]
    }
}

#[cfg(test)]
mod tests;
