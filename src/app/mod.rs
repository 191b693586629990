//! The state of a screen and how it changes: a message comes in, effects go out.
//!
//! Nothing here reads a clock, draws or does I/O. The loop of the terminal turns key presses and frames of the
//! engine into [`Message`]s, hands each to [`App::update`], and carries out the [`Effect`]s.

mod bindings;
pub mod comparison;
mod curve;
mod editor;
mod engine_state;
mod export;
mod key;
mod keys;
mod layers;
mod modals;
mod mouse;
mod palette;
mod probe;
mod remembered;
mod search;
pub mod start;
mod state;
mod steps;
mod timeline;
mod toasts;
pub mod tour;
mod wormhole;

pub use bindings::{Bindings, Choice, CommandKeys, Keys, Misfit};
pub use curve::Curve;
pub use editor::LineEditor;
pub use engine_state::EngineState;
pub use export::{ExportFormat, Exported};
pub use key::Key;
pub use keys::{Action, BINDINGS, Binding, Group, VIEWS_RANK};
pub use layers::{LayersView, Quantity, Strip, StripKind, layer_of};
pub use mouse::{Gesture, Pointed, Spot};
pub use palette::Palette;
pub use probe::{ProbePane, ProbeView};
pub use remembered::Remembered;
pub use search::{Recent, Search};
pub use state::{
    Chosen, Cost, Hint, LandscapeView, Link, Marker, Modal, Pane, Stretch, View, ViewState, Viewpoint,
};
pub use steps::Steps;
pub use timeline::TimelineView;
pub use toasts::Toasts;
pub use wormhole::{WormholeStage, WormholeView};

use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind};
use tui_logger::{TuiWidgetEvent, TuiWidgetState};

use tour::{Tour, Turn};

use crate::protocol::{Command, LogLevel, LogLine, Outcome, Phase, PlaneKind, ToScreen};

/// How a screen starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Watch only: what would change the engine is refused on the spot.
    pub read_only: bool,
    /// The terminal can show pictures.
    pub pictures: bool,
    /// The themes that can be had, the one on show first.
    pub themes: Vec<String>,
    /// The time zone of the times in the log; UTC without one.
    pub zone: Option<TimeZone>,
    /// How the run was looked at the last time.
    pub remembered: Remembered,
    /// The keys.
    pub bindings: Bindings<Action>,
    /// The tour, where this is one.
    pub tour: Option<Tour>,
}

/// What happens to a screen.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A key. Releases are ignored.
    Key(KeyEvent),
    /// The mouse, over something.
    Mouse(Pointed<Spot>),
    /// The engine says something.
    Engine(ToScreen),
    /// The connection broke, and why.
    Lost(String),
    /// What became of an export.
    Exported(Exported),
    /// A page of the tour was turned elsewhere.
    Turn(Turn),
}

/// What the terminal's loop has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send this to the engine.
    Send(Command),
    /// Draw with the theme of this name from now on.
    UseTheme(String),
    /// Write what is on the screen in this form, to a new file of this name, and tell what became of it.
    Export(ExportFormat, String),
    /// Draw the whole screen again.
    Repaint,
    /// Give the terminal back and stop, as the shell knows it.
    Suspend,
    /// Close the screen.
    Leave(Leave),
}

/// Why a screen closes.
#[derive(Debug, Clone, PartialEq)]
pub enum Leave {
    /// The person leaves; the engine goes on.
    Detach,
    /// The engine ended.
    Closed(Outcome),
    /// The connection broke or was refused, and why.
    Lost(String),
    /// The tour goes on over two models side by side, and comes back.
    Compare,
}

/// Everything a screen knows.
pub struct App {
    /// How it was started.
    pub options: Options,
    /// How the connection stands.
    pub link: Link,
    /// What the engine has told.
    pub engine: EngineState,
    /// What the person looks at, and how.
    pub view: ViewState,
    /// Where the log is scrolled to.
    pub log: TuiWidgetState,
    /// The lines of the log that can be searched.
    pub recent: Recent,
    /// The tour, where this is one.
    pub tour: Option<Tour>,
    /// What the last picture cost.
    pub cost: Cost,
    /// That is told.
    pub tells_cost: bool,
    /// A theme was chosen on this screen.
    chose_theme: bool,
    /// Where the mouse's button went down on a pane.
    grip: Option<mouse::Grip<Pane>>,
}

impl App {
    /// A screen that has heard nothing yet.
    pub fn new(options: Options) -> Self {
        Self {
            link: Link::Opening,
            engine: EngineState::default(),
            view: options.remembered.clone().view(),
            tour: options.tour,
            cost: Cost::default(),
            tells_cost: false,
            chose_theme: false,
            grip: None,
            options,
            log: TuiWidgetState::new(),
            recent: Recent::default(),
        }
    }

    /// Takes one message in; what is to be done comes out.
    pub fn update(&mut self, message: Message) -> Vec<Effect> {
        match message {
            Message::Key(key) if key.kind == KeyEventKind::Release => Vec::new(),
            Message::Key(key) => self.key(key),
            Message::Mouse(pointed) => self.mouse(pointed),
            Message::Engine(said) => self.hear(said),
            Message::Lost(_) if matches!(self.link, Link::Ended(_)) => Vec::new(),
            Message::Lost(why) => vec![Effect::Leave(Leave::Lost(why))],
            Message::Exported(exported) => {
                self.exported(exported);
                Vec::new()
            }
            Message::Turn(turn) => self.turn_page(turn),
        }
    }

    /// How the run is looked at now, with the theme where one was chosen on this screen or earlier.
    pub fn remembered(&self) -> Remembered {
        let theme = if self.chose_theme { self.options.themes.first() } else { None };
        Remembered::of(&self.view, theme.or(self.options.remembered.theme.as_ref()).cloned())
    }

    /// A while has gone by.
    pub fn fade(&mut self) {
        self.view.toasts.drop_notice();
    }

    fn hear(&mut self, said: ToScreen) -> Vec<Effect> {
        match said {
            ToScreen::Welcome { .. } => self.link = Link::Live,
            ToScreen::Refused { reason } => return vec![Effect::Leave(Leave::Lost(reason))],
            ToScreen::Update(update) => {
                self.read_log(&update.log);
                let phase = |app: &Self| {
                    let (run, wormhole) = (app.engine.status.as_ref(), app.engine.wormhole.as_ref());
                    (run.map(|status| status.phase.clone()), wormhole.map(|scene| scene.phase.clone()))
                };
                let before = phase(self);
                if let Some(scene) = &update.probe {
                    self.meet_probe(scene);
                }
                self.engine.apply(*update);
                // What was asked for has come about.
                if phase(self) != before && matches!(self.view.hint, Some(Hint::Asked(_) | Hint::Awaited(_)))
                {
                    self.view.hint = None;
                }
                let begun = self.begin_tour();
                if !begun.is_empty() {
                    return begun;
                }
                // A place that is out of sight is no place to read.
                let slice = self.engine.slice.as_ref();
                if self.view.landscape.chosen.zip(slice).is_some_and(|(chosen, slice)| !chosen.is_on(slice)) {
                    self.view.modal = self.view.modal.take().filter(|modal| *modal != Modal::Move);
                    return self.drop_cursor();
                }
            }
            ToScreen::Closed(outcome @ (Outcome::Stopped { .. } | Outcome::Crashed { .. }))
                if self.link != Link::Stopping =>
            {
                self.view.modal = None;
                self.link = Link::Ended(outcome);
            }
            ToScreen::Closed(outcome) => return vec![Effect::Leave(Leave::Closed(outcome))],
        }
        Vec::new()
    }

    fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        self.view.hint = None;
        self.view.toasts.drop_alerts();
        if self.tour_listens()
            && let Some(turn) = Turn::of(Key::of(key))
        {
            return self.turn_page(turn);
        }
        match &mut self.view.modal {
            Some(Modal::Help { .. }) => self.help_key(key),
            Some(Modal::Leave) => self.leave_key(key),
            Some(Modal::Move) => self.move_key(key),
            Some(Modal::Prompt(_)) => self.prompt_key(key),
            Some(Modal::Commands(_)) => self.commands_key(key),
            Some(Modal::Search(_)) => self.search_key(key),
            Some(Modal::Export(_)) => self.export_key(key),
            Some(Modal::Curvature) => self.curvature_key(key),
            None => match keys::pressed(&self.options.bindings, key) {
                Some(action) if key.kind == KeyEventKind::Repeat && !action.repeats() => Vec::new(),
                Some(action) => self.act(action),
                None => self.steer(key.code),
            },
        }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        if let Some(reason) = self.refusal(action) {
            return self.refuse(reason);
        }
        if let Some(effects) = self.act_in_view(action) {
            return effects;
        }
        if action.commands() {
            return self.command(action);
        }
        let (view, keys) = (&mut self.view, &self.options.bindings);
        match action {
            Action::LogScale if view.focus == Pane::Loss && view.shown == View::Observatory => {
                view.log_charts = !view.log_charts;
            }
            Action::LogScale => view.hint = Some(view.landscape.next_stretch()),
            Action::Surface => view.hint = Some(view.landscape.switch(keys)),
            Action::TurnLeft => view.hint = Some(view.landscape.turn(-1, 0, keys)),
            Action::TurnRight => view.hint = Some(view.landscape.turn(1, 0, keys)),
            Action::TiltDown => view.hint = Some(view.landscape.turn(0, -1, keys)),
            Action::TiltUp => view.hint = Some(view.landscape.turn(0, 1, keys)),
            Action::ColorMap => view.landscape.map = view.landscape.map.wrapping_add(1),
            Action::MarkerStyle => view.landscape.marker = view.landscape.marker.next(self.options.pictures),
            Action::Theme => return self.next_theme(),
            Action::Observatory => view.shown = View::Observatory,
            Action::Layers => view.shown = View::Layers,
            Action::Timeline => view.shown = View::Timeline,
            Action::Wormhole => view.shown = View::Wormhole,
            Action::Probe => view.shown = View::Probe,
            Action::Log if view.shown != View::Observatory => {
                (view.shown, view.focus) = (View::Observatory, Pane::Log);
            }
            Action::Log if view.focus == Pane::Log => view.focus = Pane::Landscape,
            Action::Log => view.log_flipped = !view.log_flipped,
            Action::FocusNext => view.focus = view.focus.after(1),
            Action::FocusPrevious => view.focus = view.focus.after(Pane::ALL.len() - 1),
            Action::Zoom => view.zoomed = !view.zoomed,
            Action::Clear if view.zoomed => view.zoomed = false,
            Action::Clear => {
                view.steps = Steps::default();
                self.log.transition(TuiWidgetEvent::EscapeKey);
                return self.drop_cursor();
            }
            Action::Search => return self.begin_search(),
            Action::Export => return self.begin_export(),
            Action::Costs => self.tells_cost = !self.tells_cost,
            Action::CommandLine => view.modal = Some(Modal::Commands(Palette::default())),
            Action::Tour => return self.toggle_tour(None),
            Action::Detach => return vec![Effect::Leave(Leave::Detach)],
            Action::Repaint => return vec![Effect::Repaint],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Quit => return self.quit(),
            Action::Help => view.modal = Some(Modal::Help { scroll: 0 }),
            // Every other action is a command.
            _ => {}
        }
        Vec::new()
    }

    /// What an action does in the view that is shown and nowhere else; `None` where it means nothing of its own there.
    fn act_in_view(&mut self, action: Action) -> Option<Vec<Effect>> {
        match self.view.shown {
            View::Wormhole => return self.act_in_wormhole(action),
            View::Probe => return self.act_in_probe(action),
            _ => {}
        }
        let (view, engine) = (&mut self.view, &self.engine);
        let on_charts = view.shown == View::Observatory && view.focus == Pane::Loss;
        let (layers, timeline, steps) = (&mut view.layers, &mut view.timeline, &mut view.steps);
        match (view.shown, action) {
            (_, Action::Move) if on_charts => view.curve = view.curve.after(1),
            (_, Action::ZoomIn) if on_charts => steps.zoom(&engine.history, true),
            (_, Action::ZoomOut) if on_charts => steps.zoom(&engine.history, false),
            (_, Action::Clear) if on_charts && steps.is_narrowed() => *steps = Steps::default(),
            (View::Layers, Action::Move) => layers.fold(&engine.tensor_names),
            (View::Layers, Action::FocusNext) => layers.quantity = layers.quantity.after(1),
            (View::Layers, Action::FocusPrevious) => {
                layers.quantity = layers.quantity.after(Quantity::ALL.len() - 1);
            }
            (View::Layers, Action::Clear) => layers.step = None,
            (View::Timeline, Action::Move) => view.hint = Some(timeline.mark(&engine.timeline)),
            (View::Timeline, Action::FocusNext | Action::FocusPrevious) => {
                timeline.turn_over(&engine.timeline);
            }
            (View::Timeline, Action::Clear) => timeline.follow(),
            (View::Timeline, Action::LogScale) => view.hint = Some(timeline.next_stretch()),
            _ => return None,
        }
        Some(Vec::new())
    }

    /// Shows what the engine says in answer to a key, and what went wrong in any case. What it said before this
    /// screen came is in the log.
    fn read_log(&mut self, log: &[LogLine]) {
        self.recent.extend(log);
        let Some(last) = log.last() else { return };
        // It ends only once it has saved.
        if self.link == Link::Stopping && log.iter().any(|line| line.level == LogLevel::Error) {
            self.link = Link::Live;
        }
        let wrong = log.iter().rfind(|line| line.level <= LogLevel::Warn);
        if matches!(self.view.hint, Some(Hint::Asked(_))) {
            let answer = |line: &LogLine| Hint::Answer(line.message.clone());
            let told = log.iter().rfind(|line| line.level == LogLevel::Notice).unwrap_or(last);
            let warning = |line: &LogLine| Hint::Warning(line.message.clone());
            self.view.hint = Some(wrong.map_or_else(|| answer(told), warning));
        } else if self.engine.status.is_some() {
            self.view.toasts.extend(log.iter());
        }
    }

    /// An action that asks something of the engine.
    fn command(&mut self, action: Action) -> Vec<Effect> {
        if let Some(reason) = self.cannot_command() {
            self.view.hint = Some(Hint::Refused(reason));
            return Vec::new();
        }
        let status = self.engine.status.as_ref();
        let running = status.is_some_and(|status| status.phase == Phase::Running);
        let (command, hint) = match action {
            Action::RunPause if running => (Command::Pause, "pausing after this step".into()),
            Action::RunPause => (Command::Run, "running".into()),
            Action::Step => (Command::Step(1), "one step".into()),
            Action::StepTen => (Command::Step(10), "ten steps".into()),
            Action::Back => {
                let Some(step) = status.and_then(|status| status.back) else {
                    self.view.hint = Some(Hint::Refused("no earlier state is kept in memory".into()));
                    return Vec::new();
                };
                let moved = status.is_some_and(|status| status.step == step);
                let hint =
                    if moved { "back to before the move".into() } else { format!("back to step {step}") };
                (Command::Back, hint)
            }
            Action::Move => return self.ask_to_move(),
            Action::Redraw => (Command::RedrawSlice, "drawing the slice again".into()),
            Action::NewPlane => (Command::NewPlane, "drawing two new directions".into()),
            Action::Plane => {
                return self.set_plane(status.map(|status| status.plane).unwrap_or_default().next());
            }
            Action::ZoomOut => (Command::Zoom(1.5), "showing more of the plane".into()),
            Action::ZoomIn => (Command::Zoom(1.0 / 1.5), "showing less of the plane".into()),
            Action::Grid => {
                let points = self.view.landscape.next_grid(self.engine.slice.as_ref());
                (Command::Grid(points), format!("at most {points}x{points} points"))
            }
            Action::Faster => (Command::ScaleLearningRate(1.25), "learning rate x 1.25".into()),
            Action::Slower => (Command::ScaleLearningRate(0.8), "learning rate / 1.25".into()),
            Action::Optimizer => match status.map(|status| status.optimizer.next()) {
                Some(next) => (Command::SetOptimizer(next), format!("going on with {}", next.name())),
                None => return Vec::new(),
            },
            Action::Save => (Command::Save, "saving a checkpoint".into()),
            Action::Curvature => {
                self.view.modal = Some(Modal::Curvature);
                return if self.knows_curvature() {
                    Vec::new()
                } else {
                    vec![Effect::Send(Command::Curvature)]
                };
            }
            Action::Prompt => {
                let prompt = self.engine.prediction.as_ref().map_or("", |shown| &shown.prompt);
                self.view.modal = Some(Modal::Prompt(LineEditor::new(prompt)));
                return Vec::new();
            }
            // What remains does not command; `act` has dealt with it.
            _ => return Vec::new(),
        };
        // A place of one plane is none of another.
        let mut effects = if command == Command::NewPlane { self.drop_cursor() } else { Vec::new() };
        self.view.hint = Some(Hint::Asked(hint));
        effects.push(Effect::Send(command));
        effects
    }

    /// Has the landscape shown on a plane of this kind.
    fn set_plane(&mut self, kind: PlaneKind) -> Vec<Effect> {
        // A second key means the one after this.
        if let Some(status) = &mut self.engine.status {
            status.plane = kind;
        }
        let mut effects = self.drop_cursor();
        self.view.hint = Some(Hint::Asked(format!("a plane of the kind {}", kind.name())));
        effects.push(Effect::Send(Command::SetPlane(kind)));
        effects
    }

    /// Says why nothing happened.
    fn refuse(&mut self, why: impl Into<String>) -> Vec<Effect> {
        self.view.hint = Some(Hint::Refused(why.into()));
        Vec::new()
    }

    /// Whether the curvature around these weights, for this prompt, is known or on its way. Where the weights were moved
    /// by hand, the step does not tell which they are.
    fn knows_curvature(&self) -> bool {
        let (Some(known), Some(status)) = (&self.engine.curvature, &self.engine.status) else { return false };
        let prompt = self.engine.prediction.as_ref().is_none_or(|shown| shown.prompt == known.text);
        let moved = status.back == Some(status.step);
        known.step == status.step && prompt && !moved && known.failure.is_none()
    }

    /// Whether an action could do something on this screen, whatever it shows.
    pub fn allows(&self, action: Action) -> bool {
        self.refusal(action).is_none()
    }

    /// Why it could not.
    fn refusal(&self, action: Action) -> Option<String> {
        let reason = match (action, &self.tour) {
            (Action::Compare, _) => "two models side by side are a command: `llamascape compare A B`",
            (Action::Tour, None) => "the tour is a command of its own: `llamascape tour`",
            (Action::Save, Some(_)) => "a tour saves nothing: `llamascape train` makes a run that does",
            (Action::Detach, Some(_)) => {
                return Some(format!(
                    "a tour ends with its screen: {} leaves",
                    self.options.bindings.shown("quit")
                ));
            }
            _ => return None,
        };
        Some(reason.to_owned())
    }

    /// Why the engine cannot be asked for anything now.
    pub fn cannot_command(&self) -> Option<String> {
        let reason = match (&self.link, &self.engine.status) {
            (Link::Ended(_), _) => {
                return Some(format!("the engine has ended: {} leaves", self.options.bindings.shown("quit")));
            }
            _ if self.options.read_only => "this screen is read-only: it watches",
            (Link::Stopping, _) => "the engine is saving and will end",
            (_, None) => "the engine is still starting",
            (_, Some(status)) if status.phase == Phase::Stopping => "the engine is saving and will end",
            _ => return None,
        };
        Some(reason.to_owned())
    }

    fn next_theme(&mut self) -> Vec<Effect> {
        let (name, hint) = next_theme(&mut self.options.themes);
        self.view.hint = Some(hint);
        self.chose_theme |= name.is_some();
        name.into_iter().map(Effect::UseTheme).collect()
    }

    /// Moves the cursor of the landscape; the model that is there says what comes next.
    fn move_cursor(&mut self, right: i32, up: i32) -> Vec<Effect> {
        let before = self.view.landscape.chosen;
        self.view.landscape.move_cursor(self.engine.slice.as_ref(), right, up);
        self.moved(before)
    }

    /// The cursor may be elsewhere than it was.
    fn moved(&mut self, before: Option<Chosen>) -> Vec<Effect> {
        let chosen = self.view.landscape.chosen;
        let Some(to) = chosen.filter(|chosen| Some(*chosen) != before) else { return Vec::new() };
        if before.is_none() && self.cannot_command().is_none() {
            let [go, drop] = ["move", "clear"].map(|command| self.options.bindings.shown(command));
            self.view.hint =
                Some(Hint::Answer(format!("{go} moves the training here, {drop} drops the cursor")));
        }
        self.look_at(Some([to.alpha, to.beta]))
    }

    /// Drops the cursor. The bars are again those of the weights, whoever looked at a place.
    fn drop_cursor(&mut self) -> Vec<Effect> {
        let chosen = self.view.landscape.chosen.take();
        let shown = self.engine.prediction.as_ref().and_then(|prediction| prediction.at);
        if chosen.is_some() || shown.is_some() { self.look_at(None) } else { Vec::new() }
    }

    /// What all screens see is not for a read-only one to change: its cursor reads the losses alone.
    fn look_at(&mut self, place: Option<[f64; 2]>) -> Vec<Effect> {
        if self.cannot_command().is_none() {
            return vec![Effect::Send(Command::LookAt(place))];
        }
        if place.is_some() && self.options.read_only {
            self.view.hint = Some(Hint::Refused("this screen is read-only: the bars do not follow".into()));
        }
        Vec::new()
    }

    /// Arrows and hjkl: the cursor of the landscape or of the charts, or the log, whichever has the focus.
    fn steer(&mut self, code: KeyCode) -> Vec<Effect> {
        let Some((right, up)) = keys::direction(code) else { return Vec::new() };
        match self.view.shown {
            View::Observatory => {}
            View::Layers => {
                self.view.layers.steer(&self.engine, right, up);
                return Vec::new();
            }
            View::Timeline => {
                self.view.timeline.steer(&self.engine.timeline, right, up);
                return Vec::new();
            }
            View::Wormhole => return self.steer_wormhole(right, up),
            View::Probe => return self.steer_probe(right, up),
        }
        match self.view.focus {
            Pane::Landscape => return self.move_cursor(right, up),
            Pane::Loss => self.view.steps.step(&self.engine.history, right, up),
            Pane::Log if up > 0 => self.log.transition(TuiWidgetEvent::PrevPageKey),
            Pane::Log if up < 0 => self.log.transition(TuiWidgetEvent::NextPageKey),
            _ => {}
        }
        Vec::new()
    }
}

/// The theme after the one on show, if there is one, and what to say of it.
fn next_theme(themes: &mut [String]) -> (Option<String>, Hint) {
    if themes.len() < 2 {
        return (None, Hint::Refused("there is no other theme".into()));
    }
    themes.rotate_left(1);
    (Some(themes[0].clone()), Hint::Answer(format!("theme {}", themes[0])))
}

#[cfg(test)]
mod tests;
