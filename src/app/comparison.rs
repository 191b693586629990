//! The state of the screen of a comparison: two models, one prompt, one cursor.
//!
//! Like [`App`](super::App) it does no I/O: keys and scenes come in, effects go out.

mod pointing;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::protocol::comparison::{Ask, Phase, Scene, Side, Sides, Template};
use crate::protocol::{OptimizerKind, Slice};

use super::key::{Key, control, key, named};
use super::keys::bindings;
use super::mouse::Grip;
use super::palette::Typed;
use super::tour::{Tour, Turn};
use super::{
    Binding, Bindings, Chosen, ExportFormat, Exported, Group, Hint, LandscapeView, LineEditor, Palette,
    Pointed, keys, next_theme,
};

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// One step.
    Step,
    /// Ten steps.
    StepTen,
    /// Back to the checkpoint.
    Back,
    /// A higher learning rate.
    Faster,
    /// A lower learning rate.
    Slower,
    /// The next optimizer.
    Optimizer,
    /// The next plane.
    Plane,
    /// New directions.
    NewPlane,
    /// Less of the plane.
    ZoomIn,
    /// More of the plane.
    ZoomOut,
    /// The next grid.
    Grid,
    /// Another text to read.
    Prompt,
    /// The prompt as a chat, or as it is.
    Template,
    /// Text that goes on from the prompt.
    Write,
    /// One colour scale or two.
    OneScale,
    /// How the colours are spread.
    LogScale,
    /// A surface or a map.
    Surface,
    /// The surface, turned to the left.
    TurnLeft,
    /// The surface, turned to the right.
    TurnRight,
    /// The surface, from nearer the ground.
    TiltDown,
    /// The surface, from farther above.
    TiltUp,
    /// The next colour map.
    ColorMap,
    /// The next kind of cells.
    MarkerStyle,
    /// The next theme.
    Theme,
    /// Both models, or one.
    Focus,
    /// Back to the plain view.
    Clear,
    /// A file of what is on the screen.
    Export,
    /// An action by its name.
    CommandLine,
    /// The whole screen again.
    Repaint,
    /// The shell, for a while.
    Suspend,
    /// End.
    Quit,
    /// This table.
    Help,
}

impl Action {
    /// Whether it goes on while its key is held down.
    fn repeats(self) -> bool {
        let moves = matches!(self, Self::TurnLeft | Self::TurnRight | Self::TiltDown | Self::TiltUp);
        moves || matches!(self, Self::Step | Self::Focus | Self::ZoomIn | Self::ZoomOut)
    }
}

bindings! {
    Training:
        [key('s'), key('.')] Step "step [N]" 2 "step" "take one step on the prompt with the focused models"
        [key('S')] StepTen "ten-steps" 0 "10 steps" "take ten steps likewise"
        [key('b')] Back "back" 8 "back" "go back to the weights of the checkpoint"
        [key('+'), key('=')] Faster "rate-up" 0 "rate up" "raise the learning rate of both by a quarter"
        [key('-')] Slower "rate-down" 0 "rate down" "lower the learning rate likewise"
        [key('o')] Optimizer "optimizer" 11 "optimizer" "go on with the next optimizer, its moments empty"
    Engine:
        [key('d'), key('P')] Plane "plane" 3 "plane" "same seeds for each, one plane for both, or the plane through both"
        [key('n')] NewPlane "new-plane" 9 "new plane" "draw new random directions"
        [key('[')] ZoomIn "zoom-in" 0 "closer" "zoom in on the plane"
        [key(']')] ZoomOut "zoom-out" 0 "wider" "zoom out"
        [key('g')] Grid "grid" 0 "grid" "at most 17, 33 or 65 points a side"
        [key('p')] Prompt "prompt [TEXT]" 4 "prompt" "edit the prompt; its last token is the target"
        [key('t')] Template "template" 6 "template" "put the prompt into the chat template, or take it out"
        [key('G')] Write "write" 5 "write" "let the focused models write on from the prompt, its target left out"
    Picture:
        [key('u')] OneScale "scale" 7 "scale" "one colour scale for both, or one for each"
        [key('L')] LogScale "log-scale" 0 "log scale" "colours linear, logarithmic or by rank"
        [key('x')] Surface "surface" 0 "surface" "the landscapes as surfaces seen from the side, or as maps"
        [key('<')] TurnLeft "turn-left" 0 "turn left" "turn the surfaces, their fronts to the left"
        [key('>')] TurnRight "turn-right" 0 "turn right" "turn them to the right"
        [key('{')] TiltDown "tilt-down" 0 "tilt down" "see them from nearer the ground"
        [key('}')] TiltUp "tilt-up" 0 "tilt up" "see them from farther above"
        [key('c')] ColorMap "colours" 10 "colours" "next colour map"
        [key('m')] MarkerStyle "marker" 0 "marker" "cells of braille dots, half blocks, octants or plain characters, or pictures"
        [key('T')] Theme "theme" 12 "theme" "next theme"
    Screen:
        [named(KeyCode::Tab)] Focus "side" 1 "side" "focus both models, A or B: whom the keys mean"
        [named(KeyCode::Esc)] Clear "clear" 0 "clear" "take no more steps; hide what was written, then the cursor, which arrows or hjkl move"
        [key('e')] Export "export [FILE]" 0 "export" "write the screen as a picture or text, or a slice as numbers, to a file"
        [key(':')] CommandLine "commands" 0 "commands" "type a command by its name"
        [control('l')] Repaint "repaint" 0 "repaint" "draw the whole screen again, where something has garbled it"
        [control('z')] Suspend "suspend" 0 "suspend" "give the terminal back to the shell; `fg` there comes back"
        [key('q'), control('c')] Quit "quit" 0 "quit" "leave at once: steps taken here are not kept"
        [key('?')] Help "help" 0 "help" "these keys"
}

/// Steps that one command can ask for: each is asked for by itself.
const STEPS_AT_ONCE: usize = 1000;

/// What lies over the screen and takes the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modal {
    /// The keys and what they do.
    Help {
        /// Lines above the first one on show, at most; negative, it is counted from the end, which is -1.
        scroll: isize,
    },
    /// The line editor of the prompt.
    Prompt(LineEditor),
    /// The command line.
    Commands(Palette),
    /// The line editor of the name of a file to write.
    Export(LineEditor),
}

/// The panes of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    /// The landscape of a model; that of A is the one landscape of the plane through both.
    Map(Side),
    /// What a model would say next, or what it writes.
    NextToken(Side),
}

/// What happens to the screen.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A key. Releases are ignored.
    Key(KeyEvent),
    /// The mouse, over a pane.
    Mouse(Pointed<Pane>),
    /// All there is to show, as it is now.
    Scene(Box<Scene>),
    /// What became of an export.
    Exported(Exported),
}

/// What the terminal's loop has to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Ask this of the engine.
    Ask(Ask),
    /// Draw with the theme of this name from now on.
    UseTheme(String),
    /// Write what is on the screen in this form, to a new file of this name, and tell what became of it.
    Export(ExportFormat, String),
    /// Draw the whole screen again.
    Repaint,
    /// Give the terminal back and stop, as the shell knows it.
    Suspend,
    /// Go on with the tour elsewhere.
    Turn(Turn),
    /// Close the screen.
    Leave,
}

/// Everything the screen knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// What the engine has told.
    pub scene: Scene,
    /// The models with the focus.
    pub sides: Sides,
    /// How both landscapes are drawn, and the one cursor.
    pub landscape: LandscapeView,
    /// The same colour is the same loss in both landscapes.
    pub one_scale: bool,
    /// The terminal can show pictures.
    pub pictures: bool,
    /// What lies over the screen.
    pub modal: Option<Modal>,
    /// The answer to the last key, or what the engine said since.
    pub hint: Option<Hint>,
    /// The keys.
    pub bindings: Bindings<Action>,
    /// The tour, where it has come here.
    pub tour: Option<Tour>,
    /// The commands that were typed and run, the newest last.
    history: Vec<String>,
    /// The themes that can be had, the one on show first.
    themes: Vec<String>,
    /// The text that was typed last, until it is what the models read.
    typed: Option<String>,
    /// Where the mouse's button went down on a pane.
    grip: Option<Grip<Pane>>,
}

impl Comparison {
    /// A screen that has heard nothing yet. The first of the themes is on show.
    pub fn new(themes: Vec<String>, bindings: Bindings<Action>) -> Self {
        Self {
            scene: Scene::default(),
            sides: Sides::default(),
            landscape: LandscapeView::default(),
            one_scale: true,
            pictures: false,
            modal: None,
            hint: None,
            bindings,
            tour: None,
            history: Vec::new(),
            themes,
            typed: None,
            grip: None,
        }
    }

    /// Takes one message in; what is to be done comes out.
    pub fn update(&mut self, message: Message) -> Vec<Effect> {
        match message {
            Message::Key(key) if key.kind == KeyEventKind::Release => Vec::new(),
            Message::Key(key) => self.key(key),
            Message::Mouse(pointed) => self.mouse(pointed),
            Message::Scene(scene) => {
                self.hear(*scene);
                Vec::new()
            }
            Message::Exported(exported) => {
                self.exported(exported);
                Vec::new()
            }
        }
    }

    /// Whether an action would do something now.
    pub fn allows(&self, action: Action) -> bool {
        let leaves = matches!(action, Action::Repaint | Action::Suspend | Action::Quit);
        let always = leaves || matches!(action, Action::Theme | Action::CommandLine | Action::Help);
        always || self.scene.phase == Phase::Live
    }

    /// Whether a number is the same token to both models. Losses a token of other tokens do not compare.
    pub fn same_tokens(&self) -> bool {
        self.scene.between.overlap.is_some()
    }

    fn hear(&mut self, scene: Scene) {
        let last = self.scene.note.as_ref().map(|note| note.number);
        if let Some(note) = scene.note.as_ref().filter(|note| last != Some(note.number)) {
            let hint = if note.warning { Hint::Warning } else { Hint::Answer };
            self.hint = Some(hint(note.text.clone()));
        }
        if scene.plane != self.scene.plane {
            // A place of one plane is none of another.
            self.landscape.chosen = None;
        }
        self.typed = self.typed.take().filter(|typed| *typed != scene.prompt);
        self.scene = scene;
    }

    fn key(&mut self, key: KeyEvent) -> Vec<Effect> {
        self.hint = None;
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return vec![Effect::Leave];
        }
        match &mut self.modal {
            Some(Modal::Help { scroll }) => {
                match keys::scroll_help(&self.bindings, *scroll, key) {
                    Some(lines) => *scroll = lines,
                    None => self.modal = None,
                }
                Vec::new()
            }
            Some(Modal::Prompt(_)) => self.prompt_key(key),
            Some(Modal::Commands(_)) => self.commands_key(key),
            Some(Modal::Export(_)) => self.export_key(key),
            None if self.tour.is_some()
                && let Some(turn) = Turn::of(Key::of(key)) =>
            {
                vec![Effect::Turn(turn)]
            }
            None => match keys::pressed(&self.bindings, key) {
                Some(action) if key.kind == KeyEventKind::Repeat && !action.repeats() => Vec::new(),
                Some(action) => self.run(action, String::new()),
                None => self.steer(key.code),
            },
        }
    }

    /// Does what was pressed or typed: an action, and what was typed after its name.
    fn run(&mut self, action: Action, more: String) -> Vec<Effect> {
        if !self.allows(action) {
            return self.say(Hint::Refused("the models are not there yet".into()));
        }
        match (action, more.parse::<usize>()) {
            _ if more.is_empty() => self.act(action),
            (Action::Prompt, _) => self.set_prompt(more),
            (Action::Export, _) => self.export(&more),
            (_, Ok(1)) => self.act(action),
            (_, Ok(steps @ 2..=STEPS_AT_ONCE)) => self.steps(steps),
            (_, _) => {
                let hint = format!("what may follow step is a number of steps, at most {STEPS_AT_ONCE}");
                self.say(Hint::Refused(hint))
            }
        }
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        let (sides, whom) = (self.sides, self.whom());
        let view = &mut self.landscape;
        match action {
            Action::Step => self.ask(Ask::Step(sides), format!("one step of {whom}")),
            Action::StepTen => self.steps(10),
            Action::Back => self.ask(Ask::Back(sides), format!("{whom} back to the checkpoint")),
            Action::Faster => self.ask(Ask::ScaleLearningRate(1.25), "learning rate x 1.25"),
            Action::Slower => self.ask(Ask::ScaleLearningRate(0.8), "learning rate / 1.25"),
            Action::Optimizer => match self.scene.optimizer.map(OptimizerKind::next) {
                Some(next) => {
                    // Asked twice before the engine has answered, it is the one after that.
                    self.scene.optimizer = Some(next);
                    self.ask(Ask::SetOptimizer(next), format!("going on with {}", next.name()))
                }
                None => Vec::new(),
            },
            Action::Plane => self.next_plane(),
            Action::NewPlane => self.without_cursor(Ask::NewPlane, "drawing new directions"),
            Action::ZoomIn => self.zoom(1.0 / 1.5, "showing less of the plane"),
            Action::ZoomOut => self.zoom(1.5, "showing more of the plane"),
            Action::Grid => {
                let points = view.next_grid(shown(&self.scene));
                self.ask(Ask::Grid(points), format!("at most {points}x{points} points"))
            }
            Action::Prompt => {
                // A text that was refused can be mended.
                let text = self.typed.as_ref().unwrap_or(&self.scene.prompt);
                self.modal = Some(Modal::Prompt(LineEditor::new(text)));
                Vec::new()
            }
            Action::Template => self.template(),
            Action::Write => {
                let end = self.bindings.shown("clear");
                self.ask(Ask::Write(sides), format!("writing on from the prompt: {end} ends it"))
            }
            Action::OneScale => self.next_scale(),
            Action::LogScale => self.picture(|view, _| view.next_stretch()),
            Action::Surface => self.picture(LandscapeView::switch),
            Action::TurnLeft => self.picture(|view, keys| view.turn(-1, 0, keys)),
            Action::TurnRight => self.picture(|view, keys| view.turn(1, 0, keys)),
            Action::TiltDown => self.picture(|view, keys| view.turn(0, -1, keys)),
            Action::TiltUp => self.picture(|view, keys| view.turn(0, 1, keys)),
            Action::ColorMap => {
                view.map = view.map.wrapping_add(1);
                Vec::new()
            }
            Action::MarkerStyle => {
                view.marker = view.marker.next(self.pictures);
                Vec::new()
            }
            Action::Theme => {
                let (name, hint) = next_theme(&mut self.themes);
                self.say(hint);
                name.into_iter().map(Effect::UseTheme).collect()
            }
            Action::Focus => {
                self.sides = match sides {
                    Sides::Both => Sides::One(Side::A),
                    Sides::One(Side::A) => Sides::One(Side::B),
                    Sides::One(Side::B) => Sides::Both,
                };
                self.say(Hint::Answer(format!("the keys mean {}", self.whom())))
            }
            Action::Clear if self.scene.steps_to_come > 0 => {
                self.ask(Ask::Hush, "no more of the steps that were asked for")
            }
            Action::Clear if self.scene.sides.iter().any(|side| side.sample.is_some()) => {
                vec![Effect::Ask(Ask::Hush)]
            }
            Action::Clear => self.drop_cursor(),
            Action::Export => self.begin_export(),
            Action::CommandLine => {
                self.modal = Some(Modal::Commands(Palette::default()));
                Vec::new()
            }
            Action::Repaint => vec![Effect::Repaint],
            Action::Suspend => vec![Effect::Suspend],
            Action::Quit => vec![Effect::Leave],
            Action::Help => {
                self.modal = Some(Modal::Help { scroll: 0 });
                Vec::new()
            }
        }
    }

    fn steps(&mut self, count: usize) -> Vec<Effect> {
        self.say(Hint::Asked(format!("{count} steps of {}", self.whom())));
        vec![Effect::Ask(Ask::Step(self.sides)); count]
    }

    fn whom(&self) -> &'static str {
        match self.sides {
            Sides::Both => "both",
            Sides::One(side) => side.name(),
        }
    }

    /// Draws both landscapes in another way, and says in which.
    fn picture(&mut self, change: impl FnOnce(&mut LandscapeView, &Bindings<Action>) -> Hint) -> Vec<Effect> {
        let hint = change(&mut self.landscape, &self.bindings);
        self.say(hint)
    }

    fn say(&mut self, hint: Hint) -> Vec<Effect> {
        self.hint = Some(hint);
        Vec::new()
    }

    fn ask(&mut self, ask: Ask, hint: impl Into<String>) -> Vec<Effect> {
        self.hint = Some(Hint::Asked(hint.into()));
        vec![Effect::Ask(ask)]
    }

    fn drop_cursor(&mut self) -> Vec<Effect> {
        let chosen = self.landscape.chosen.take();
        chosen.map(|_| Effect::Ask(Ask::LookAt(None))).into_iter().collect()
    }

    /// Asks for what makes the place of the cursor another place.
    fn without_cursor(&mut self, ask: Ask, hint: impl Into<String>) -> Vec<Effect> {
        let mut effects = self.drop_cursor();
        effects.extend(self.ask(ask, hint));
        effects
    }

    /// The cursor stays where it stays in sight.
    fn zoom(&mut self, factor: f64, hint: &str) -> Vec<Effect> {
        let chosen = self.landscape.chosen.zip(shown(&self.scene));
        let seen = chosen.is_none_or(|(chosen, slice)| {
            within(&slice.alphas, factor, chosen.alpha) && within(&slice.betas, factor, chosen.beta)
        });
        if seen { self.ask(Ask::Zoom(factor), hint) } else { self.without_cursor(Ask::Zoom(factor), hint) }
    }

    fn next_plane(&mut self) -> Vec<Effect> {
        // Both other planes add directions of one model to the weights of the other.
        if !self.scene.same_shape {
            return self.say(Hint::Refused("the models differ in shape: they share no plane".into()));
        }
        let plane = self.scene.plane.next();
        self.scene.plane = plane;
        self.without_cursor(Ask::ShowPlane(plane), plane.name())
    }

    fn next_scale(&mut self) -> Vec<Effect> {
        if !self.same_tokens() {
            let refusal = "the tokenizers differ: losses do not compare on one scale";
            return self.say(Hint::Refused(refusal.into()));
        }
        self.one_scale = !self.one_scale;
        let scales = if self.one_scale { "one colour scale for both" } else { "a colour scale for each" };
        self.say(Hint::Answer(scales.into()))
    }

    fn template(&mut self) -> Vec<Effect> {
        let sides = self.sides;
        let focused = || Side::BOTH.into_iter().filter(move |side| sides.include(*side));
        let turned: Vec<String> = focused()
            .filter_map(|side| match self.scene.sides[side as usize].template {
                Template::Absent | Template::Given => None,
                Template::Off => Some(format!("{} on", side.name())),
                Template::On => Some(format!("{} off", side.name())),
            })
            .collect();
        let given = |side: &Side| self.scene.sides[*side as usize].template == Template::Given;
        if let Some(side) = focused().find(given).filter(|_| turned.is_empty()) {
            let refusal = format!("the prompt has the form of {}'s template already", side.name());
            return self.say(Hint::Refused(refusal));
        }
        if turned.is_empty() {
            let names: Vec<&str> =
                focused().map(|side| self.scene.sides[side as usize].name.as_str()).collect();
            let verb = if names.len() == 1 { "has" } else { "have" };
            let refusal = format!("{} {verb} no chat template", names.join(" and "));
            return self.say(Hint::Refused(refusal));
        }
        self.ask(Ask::ToggleTemplate(sides), format!("chat template: {}", turned.join(", ")))
    }

    fn prompt_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Modal::Prompt(editor)) = &mut self.modal else { return Vec::new() };
        match key.code {
            KeyCode::Enter if editor.text().trim().is_empty() => {
                self.say(Hint::Refused("a prompt needs a text; its last token is the target".into()))
            }
            KeyCode::Enter => {
                let text = editor.text();
                self.modal = None;
                self.set_prompt(text)
            }
            KeyCode::Esc => {
                self.modal = None;
                Vec::new()
            }
            _ => {
                editor.key(key);
                Vec::new()
            }
        }
    }

    fn set_prompt(&mut self, text: String) -> Vec<Effect> {
        self.typed = Some(text.clone());
        self.ask(Ask::SetPrompt(text), "reading the new prompt with both")
    }

    fn commands_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Modal::Commands(palette)) = &mut self.modal else { return Vec::new() };
        match palette.key(&self.bindings, &mut self.history, key) {
            Typed::Line => Vec::new(),
            Typed::Refused(why) => self.say(Hint::Refused(why)),
            Typed::Closed => {
                self.modal = None;
                Vec::new()
            }
            Typed::Run(action, more) => {
                self.modal = None;
                self.run(action, more)
            }
        }
    }

    fn steer(&mut self, code: KeyCode) -> Vec<Effect> {
        let Some((right, up)) = keys::direction(code) else { return Vec::new() };
        let before = self.landscape.chosen;
        self.landscape.move_cursor(shown(&self.scene), right, up);
        self.look(before)
    }

    /// Has both models read where the cursor is, if it was elsewhere before.
    fn look(&self, before: Option<Chosen>) -> Vec<Effect> {
        let moved = self.landscape.chosen.filter(|chosen| Some(*chosen) != before);
        moved.map(|to| Effect::Ask(Ask::LookAt(Some([to.alpha, to.beta])))).into_iter().collect()
    }
}

/// The slice whose samples the cursor goes over.
fn shown(scene: &Scene) -> Option<&Slice> {
    scene.sides.iter().find_map(|side| side.slice.as_deref())
}

/// Whether a coordinate is among those of an axis once its range is multiplied.
fn within(axis: &[f64], factor: f64, value: f64) -> bool {
    match axis {
        [first, .., last] => (value - f64::midpoint(*first, *last)).abs() <= factor * (last - first) / 2.0,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
