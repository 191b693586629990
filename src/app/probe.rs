//! Single parameters on a screen: which are chosen, how far they are turned, and what keys ask of the engine.

use crate::protocol::Command;
use crate::protocol::probe::{Ask, Parameter, Phase, Scene, Sweep};

use super::state::nearest;
use super::{Action, App, Effect, Hint, View};

/// Rounds of tuning that a key asks for, and as many optimizer steps.
const ROUNDS: usize = 8;

/// Presses of a key that goes far, from one end of a curve to the other.
const FAR: usize = 8;

/// What takes the arrows up and down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProbePane {
    /// The list of parameters.
    #[default]
    List,
    /// The curve or the map.
    Picture,
}

/// How single parameters are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeView {
    /// What takes the arrows up and down.
    pub focus: ProbePane,
    /// The number of the selected row of the list.
    row: usize,
    /// The point of the sweep that this screen has turned to; without one it is where the engine stands.
    turned: Option<[usize; 2]>,
}

impl ProbeView {
    /// The number of the selected row of the list.
    pub fn selected(&self, scene: &Scene) -> usize {
        self.row.min(scene.listed.len().saturating_sub(1))
    }

    /// The point of the sweep under the cursor: its column and row. `None` where there is no sweep that fits together.
    pub fn cursor(&self, scene: &Scene) -> Option<[usize; 2]> {
        let sweep = Self::sweep(scene)?;
        let told = || {
            let moves = scene.turned.as_ref().map_or([0.0; 2], |turned| turned.moves);
            [nearest(&sweep.first, moves[0]), nearest(&sweep.second, moves[1])]
        };
        let [column, row] = self.turned.unwrap_or_else(told);
        Some([column.min(sweep.first.len() - 1), row.min(sweep.second.len() - 1)])
    }

    /// The newest sweep, where its parts fit together and there is at least one point.
    pub fn sweep(scene: &Scene) -> Option<&Sweep> {
        let points = |sweep: &Sweep| sweep.first.len().checked_mul(sweep.second.len());
        let fits = |sweep: &&Sweep| !sweep.loss.is_empty() && points(sweep) == Some(sweep.loss.len());
        scene.sweep.as_ref().filter(fits)
    }

    /// The point of a sweep where the parameters are as they are.
    pub fn origin(sweep: &Sweep) -> [usize; 2] {
        [nearest(&sweep.first, 0.0), nearest(&sweep.second, 0.0)]
    }

    /// A place on a sweep is none on another one, and a row of a list none of another list.
    fn meet(&mut self, before: Option<&Scene>, now: &Scene) {
        let alike = |a: &Parameter, b: &Parameter| a.name == b.name && a.index == b.index;
        let same_list = |before: &&Scene| {
            let pairs = || before.listed.iter().zip(&now.listed);
            before.listed.len() == now.listed.len() && pairs().all(|(a, b)| alike(a, b))
        };
        let axes =
            |scene: &Scene| scene.sweep.as_ref().map(|sweep| [sweep.first.clone(), sweep.second.clone()]);
        let Some(before) = before.filter(same_list) else {
            self.row = now.chosen.first().copied().unwrap_or(0);
            self.turned = None;
            return;
        };
        if (before.of_step, &before.chosen, axes(before)) != (now.of_step, &now.chosen, axes(now)) {
            self.turned = None;
        }
    }
}

/// Which are turned after enter on a row: it is turned too, in place of the second where there are two, or no longer.
/// `None` where that would leave none.
fn toggled(chosen: &[usize], row: usize) -> Option<Ask> {
    match *chosen {
        [] => Some(Ask::Choose { first: row, second: None }),
        [only] if only == row => None,
        [first, second, ..] if first == row => Some(Ask::Choose { first: second, second: None }),
        [first, second, ..] if second == row => Some(Ask::Choose { first, second: None }),
        [first, ..] => Some(Ask::Choose { first, second: Some(row) }),
    }
}

impl App {
    /// What is told of the probe, while it is open.
    pub fn probed(&self) -> Option<&Scene> {
        let gone = |phase: &Phase| matches!(phase, Phase::Ended | Phase::Failed(_));
        self.engine.probe.as_ref().filter(|scene| !gone(&scene.phase))
    }

    /// Hears what the engine tells of the probe, before it takes the place of what it told last.
    pub(super) fn meet_probe(&mut self, scene: &Scene) {
        let before = self.engine.probe.as_ref();
        self.view.probe.meet(before, scene);
        if self.view.shown != View::Probe {
            return;
        }
        let asked = matches!(self.view.hint, Some(Hint::Asked(_)));
        let is_new = before.is_none_or(|before| before.refusal != scene.refusal);
        match &scene.refusal {
            Some(refusal) if asked || is_new => self.view.hint = Some(Hint::Refused(refusal.clone())),
            None if asked && scene.phase == Phase::Ready => self.view.hint = None,
            _ => {}
        }
    }

    /// What an action does in this view; `None` where it means nothing of its own here.
    pub(super) fn act_in_probe(&mut self, action: Action) -> Option<Vec<Effect>> {
        let effects = match action {
            Action::FocusNext | Action::FocusPrevious => {
                let focus = &mut self.view.probe.focus;
                *focus = if *focus == ProbePane::List { ProbePane::Picture } else { ProbePane::List };
                Vec::new()
            }
            Action::Clear => self.turn_back(),
            Action::Move => self.choose(),
            Action::RunPause => self.walk(),
            Action::Redraw => self.open_probe(),
            Action::ZoomIn => self.zoom_probe(1.0 / 1.5),
            Action::ZoomOut => self.zoom_probe(1.5),
            Action::Step
            | Action::StepTen
            | Action::Back
            | Action::Faster
            | Action::Slower
            | Action::Optimizer => self.elsewhere("the training is stepped and steered"),
            Action::NewPlane | Action::Plane | Action::Grid => self.elsewhere("planes are drawn"),
            Action::Surface | Action::TurnLeft | Action::TurnRight | Action::TiltDown | Action::TiltUp => {
                self.elsewhere("this stays a map: a surface is shown")
            }
            _ => return None,
        };
        Some(effects)
    }

    /// Arrows and hjkl in this view: along the list, or over the curve or the map.
    pub(super) fn steer_probe(&mut self, right: i32, up: i32) -> Vec<Effect> {
        let Some(scene) = self.probed() else { return Vec::new() };
        let view = &self.view.probe;
        if view.focus == ProbePane::List && up != 0 {
            let last = scene.listed.len().saturating_sub(1);
            self.view.probe.row = view.selected(scene).saturating_add_signed(-up as isize).min(last);
            return Vec::new();
        }
        let Some((cursor, sweep)) = view.cursor(scene).zip(ProbeView::sweep(scene)) else {
            return Vec::new();
        };
        let [columns, rows] = [sweep.first.len(), sweep.second.len()];
        let far = if rows > 1 { 0 } else { (columns / FAR).max(1) as isize };
        let moved = |index: usize, by: isize, count: usize| index.saturating_add_signed(by).min(count - 1);
        let column = moved(cursor[0], right as isize + up as isize * far, columns);
        let to = [column, moved(cursor[1], up as isize, rows)];
        if to == cursor { Vec::new() } else { self.turn_to(to) }
    }

    /// Turns the parameter of this name and index; `end` gives the memory back.
    pub(super) fn probe_named(&mut self, name: String) -> Vec<Effect> {
        self.view.shown = View::Probe;
        let opened = self.probed().is_some();
        if name == "end" {
            if opened {
                return self.ask_probe(vec![Ask::End], "giving the memory back".into());
            }
            return self.refuse("no parameters are open");
        }
        let hint = format!("looking for {name}");
        let open = (!opened).then_some(Ask::Open);
        self.ask_probe(open.into_iter().chain([Ask::Name(name)]).collect(), hint)
    }

    /// Sends what is asked for, or says why it can't be.
    fn ask_probe(&mut self, asks: Vec<Ask>, hint: String) -> Vec<Effect> {
        if let Some(reason) = self.cannot_command() {
            return self.refuse(reason);
        }
        self.view.hint = Some(Hint::Asked(hint));
        asks.into_iter().map(|ask| Effect::Send(Command::Probe(ask))).collect()
    }

    /// Turns to where the loss of the sweep is least.
    pub(super) fn turn_to_best(&mut self) -> Vec<Effect> {
        let Some(sweep) = self.probed().and_then(ProbeView::sweep) else { return Vec::new() };
        let finite = sweep.loss.iter().enumerate().filter(|(_, loss)| loss.is_finite());
        let Some((best, _)) = finite.min_by(|(_, a), (_, b)| a.total_cmp(b)) else { return Vec::new() };
        let columns = sweep.first.len();
        self.turn_to([best % columns, best / columns])
    }

    /// Says what is done in the first view and not in this one.
    fn elsewhere(&mut self, what: &str) -> Vec<Effect> {
        let view = self.options.bindings.shown("observatory");
        self.refuse(format!("{what} in view {view}"))
    }

    fn open_probe(&mut self) -> Vec<Effect> {
        self.ask_probe(vec![Ask::Open], "taking the weights as they are, for the largest gradients".into())
    }

    /// Opens it; or, on a row of the list, turns that parameter too, or no longer.
    fn choose(&mut self) -> Vec<Effect> {
        let Some(scene) = self.probed() else { return self.open_probe() };
        if scene.listed.is_empty() {
            return self.refuse("there is no parameter yet");
        }
        if self.view.probe.focus == ProbePane::Picture {
            let list = self.options.bindings.shown("next-pane");
            return self.refuse(format!("{list} goes to the list, where parameters are chosen"));
        }
        let row = self.view.probe.selected(scene);
        match toggled(&scene.chosen, row) {
            Some(ask @ Ask::Choose { second: Some(_), .. }) => {
                self.ask_probe(vec![ask], "evaluating the loss over both".into())
            }
            Some(ask) => self.ask_probe(vec![ask], "evaluating the loss over this one".into()),
            None => self.refuse("this one is turned already: enter on another one turns both"),
        }
    }

    /// Tunes two by turns, beside steps of all. Where one is turned the next of the list is the second.
    fn walk(&mut self) -> Vec<Effect> {
        let Some(scene) = self.probed() else {
            let open = self.options.bindings.shown("move");
            return self.refuse(format!("nothing to tune yet: {open} opens"));
        };
        let count = scene.listed.len();
        let hint = format!("{ROUNDS} rounds of two by turns, and {ROUNDS} steps of all");
        let asks = match scene.chosen[..] {
            _ if scene.phase == Phase::Walking => return self.refuse("it is being tuned already"),
            [_, _, ..] => vec![Ask::Walk(ROUNDS)],
            _ if count < 2 => return self.refuse("two parameters are tuned by turns: there are not two yet"),
            [first] => {
                let second = Some(if first + 1 < count { first + 1 } else { 0 });
                vec![Ask::Choose { first, second }, Ask::Walk(ROUNDS)]
            }
            [] => vec![Ask::Choose { first: 0, second: Some(1) }, Ask::Walk(ROUNDS)],
        };
        self.ask_probe(asks, hint)
    }

    /// Shows more or less of the curve or the map. Its points are others: the parameters go back to their values.
    fn zoom_probe(&mut self, factor: f64) -> Vec<Effect> {
        if self.probed().is_none_or(|scene| scene.chosen.is_empty()) {
            return self.refuse("no parameter is turned yet");
        }
        let hint = if factor < 1.0 { "turning less far" } else { "turning farther" };
        if let Some(reason) = self.cannot_command() {
            return self.refuse(reason);
        }
        let mut effects = self.turn_back();
        effects.extend(self.ask_probe(vec![Ask::Zoom(factor)], hint.into()));
        effects
    }

    /// Back to the values as they are.
    fn turn_back(&mut self) -> Vec<Effect> {
        let Some(scene) = self.probed() else { return Vec::new() };
        let Some((cursor, sweep)) = self.view.probe.cursor(scene).zip(ProbeView::sweep(scene)) else {
            return Vec::new();
        };
        let origin = ProbeView::origin(sweep);
        if cursor == origin { Vec::new() } else { self.turn_to(origin) }
    }

    /// Moves the cursor to a point of the sweep; the model that is there says what comes next. What all screens see
    /// is not for a read-only one to change: its cursor reads the losses alone.
    fn turn_to(&mut self, [column, row]: [usize; 2]) -> Vec<Effect> {
        let moves =
            self.probed().and_then(ProbeView::sweep).map(|sweep| [sweep.first[column], sweep.second[row]]);
        self.view.probe.turned = Some([column, row]);
        if self.cannot_command().is_none() {
            return moves.map(|moves| Effect::Send(Command::Probe(Ask::Turn(moves)))).into_iter().collect();
        }
        if self.options.read_only {
            return self.refuse("this screen is read-only: the bars do not follow");
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
