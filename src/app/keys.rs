//! The keys, as one table a screen: it decides what a key or a typed command does, and the footer, the help and the
//! list of commands are printed from it.

use std::borrow::Cow;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::key::{Key, control, key, named};

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Train, or stop training.
    RunPause,
    /// One step.
    Step,
    /// Ten steps.
    StepTen,
    /// Back to an earlier state.
    Back,
    /// The weights under the cursor, or the next chart.
    Move,
    /// A higher learning rate.
    Faster,
    /// A lower learning rate.
    Slower,
    /// The next optimizer.
    Optimizer,
    /// A checkpoint.
    Save,
    /// Another text to predict.
    Prompt,
    /// The slice again.
    Redraw,
    /// New directions.
    NewPlane,
    /// The next kind of plane.
    Plane,
    /// Less of the plane, or of the steps.
    ZoomIn,
    /// More of the plane, or of the steps.
    ZoomOut,
    /// The next grid.
    Grid,
    /// How the colours, or the charts, are spread.
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
    /// The landscape and what goes with it.
    Observatory,
    /// Two models: a screen of its own.
    Compare,
    /// Every parameter over time.
    Layers,
    /// The slices of the run.
    Timeline,
    /// Weights that are trained off a plateau.
    Wormhole,
    /// Single parameters.
    Probe,
    /// Whether the weights are in a minimum.
    Curvature,
    /// The next pane.
    FocusNext,
    /// The pane before.
    FocusPrevious,
    /// One pane or all.
    Zoom,
    /// The log.
    Log,
    /// The next theme.
    Theme,
    /// Back to the plain view.
    Clear,
    /// A text in the log.
    Search,
    /// A file of what is on the screen.
    Export,
    /// What pictures cost.
    Costs,
    /// An action by its name.
    CommandLine,
    /// The tour, away or back.
    Tour,
    /// Leave the engine alone.
    Detach,
    /// The whole screen again.
    Repaint,
    /// The shell, for a while.
    Suspend,
    /// End, somehow.
    Quit,
    /// This table.
    Help,
}

impl Action {
    /// Whether it asks something of the engine.
    pub fn commands(self) -> bool {
        let binding = BINDINGS.iter().find(|binding| binding.action == self);
        matches!(binding, Some(Binding { group: Group::Training | Group::Engine, .. }))
    }

    /// Whether it goes on while its key is held down.
    pub(super) fn repeats(self) -> bool {
        let moves = matches!(self, Self::TurnLeft | Self::TurnRight | Self::TiltDown | Self::TiltUp);
        let zooms = matches!(self, Self::ZoomIn | Self::ZoomOut);
        moves || zooms || matches!(self, Self::Step | Self::FocusNext | Self::FocusPrevious)
    }
}

/// Chapters of the help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// The optimizer at work.
    Training,
    /// The slice and the prompt: what the engine evaluates.
    Engine,
    /// How the pictures look.
    Picture,
    /// What the screen shows.
    Views,
    /// Panes, help, leaving.
    Screen,
}

impl Group {
    /// All of them, in the order of the help.
    pub const ALL: [Self; 5] = [Self::Training, Self::Engine, Self::Picture, Self::Views, Self::Screen];

    /// The title of the chapter.
    pub fn title(self) -> &'static str {
        match self {
            Self::Training => "Training",
            Self::Engine => "Landscape and prompt",
            Self::Picture => "Pictures",
            Self::Views => "Views",
            Self::Screen => "Screen",
        }
    }
}

/// The place in the footer of all views together.
pub const VIEWS_RANK: u8 = 5;

/// One row of the table of a screen with these actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding<A> {
    /// The keys, the one to show first. A command that has none is typed.
    pub keys: Cow<'static, [Key]>,
    /// What they do.
    pub action: A,
    /// What is typed for it after `:`, such as `step [N]`: its name and, in brackets, what may follow.
    pub command: &'static str,
    /// A word or two for the footer.
    pub label: &'static str,
    /// Place in the footer, from 1; 0 is none. The last ones are dropped first. All views together have [`VIEWS_RANK`].
    pub rank: u8,
    /// One line for the help.
    pub help: &'static str,
    /// Its chapter.
    pub group: Group,
}

impl<A> Binding<A> {
    /// The name of its command.
    pub fn name(&self) -> &'static str {
        self.command.split_once(' ').map_or(self.command, |(name, _)| name)
    }

    /// The names of its keys in a row.
    pub fn key_names(&self) -> String {
        self.keys.iter().map(|key| key.name()).collect::<Vec<_>>().join("  ")
    }

    /// Whether something may follow the name.
    pub(super) fn takes_more(&self) -> bool {
        self.command.contains(' ')
    }
}

/// The table `BINDINGS` of the `Action`s in scope, chapter by chapter: keys, action, command, rank, label, help.
macro_rules! bindings {
    ($($group:ident:
        $([$($key:expr),+] $action:ident $command:literal $rank:literal $label:literal $help:literal)+
    )+) => {
        /// All keys that work when nothing lies over the screen, but for the arrows and hjkl; as they are built in.
        pub const BINDINGS: &[Binding<Action>] = &[$($(Binding {
            keys: {
                const KEYS: &[$crate::app::Key] = &[$($key),+];
                std::borrow::Cow::Borrowed(KEYS)
            },
            action: Action::$action,
            command: $command,
            label: $label,
            rank: $rank,
            help: $help,
            group: Group::$group,
        },)+)+];

        impl Default for $crate::app::Bindings<Action> {
            fn default() -> Self {
                Self::of(BINDINGS)
            }
        }
    };
}
pub(super) use bindings;

bindings! {
    Training:
        [key(' ')] RunPause "run" 1 "run" "run, or pause after the step in hand"
        [key('s'), key('.')] Step "step [N]" 2 "step" "take one step, then pause"
        [key('S')] StepTen "ten-steps" 0 "10 steps" "take ten steps, then pause"
        [key('b')] Back "back" 3 "back" "go back to before the last step, or the last state that is kept in memory"
        [named(KeyCode::Enter)] Move "move" 0 "move" "move the training to the cursor on the landscape; it asks first (charts: the next)"
        [key('+'), key('=')] Faster "rate-up" 0 "rate up" "raise the learning rate by a quarter"
        [key('-')] Slower "rate-down" 0 "rate down" "lower the learning rate likewise"
        [key('o')] Optimizer "optimizer" 20 "optimizer" "go on with the next optimizer, its moments empty"
        [key('W')] Save "save" 17 "save" "write a checkpoint"
    Engine:
        [key('r')] Redraw "redraw" 14 "redraw" "evaluate the slice around the weights as they are now"
        [key('n')] NewPlane "new-plane" 11 "new plane" "two new directions of the same kind, made at the weights as they are now"
        [key('d'), key('P')] Plane "plane [KIND]" 0 "kind of plane" "the next kind of plane, or KIND: random, gradient, update, trajectory, hessian"
        [key('[')] ZoomIn "zoom-in" 15 "closer" "zoom in on the plane; on the steps of the focused charts"
        [key(']')] ZoomOut "zoom-out" 16 "wider" "zoom out"
        [key('g')] Grid "grid" 0 "grid" "at most 17, 33 or 65 points a side"
        [key('i')] Curvature "minimum" 0 "minimum" "whether the weights are in a minimum: how the loss of the prompt curves around them"
        [key('p')] Prompt "prompt [TEXT]" 8 "prompt" "edit the prompt; its last token is the target"
    Picture:
        [key('L')] LogScale "log-scale" 0 "log scale" "colours linear, logarithmic or by rank; the focused charts by the logarithm"
        [key('x')] Surface "surface" 6 "3-D" "the landscape as a surface seen from the side, or as a map"
        [key('<')] TurnLeft "turn-left" 0 "turn left" "turn the surface, its front to the left"
        [key('>')] TurnRight "turn-right" 0 "turn right" "turn it to the right"
        [key('{')] TiltDown "tilt-down" 0 "tilt down" "see it from nearer the ground"
        [key('}')] TiltUp "tilt-up" 0 "tilt up" "see it from farther above"
        [key('c')] ColorMap "colours" 19 "colours" "next colour map"
        [key('m')] MarkerStyle "marker" 0 "marker" "cells of braille dots, half blocks, octants or plain characters, or a picture"
        [key('T')] Theme "theme" 21 "theme" "next theme"
    Views:
        [key('1')] Observatory "observatory" 4 "observatory" "the landscape, the loss, the next token and the gradient"
        [key('2'), key('w')] Wormhole "wormhole [WORD]" 9 "wormhole" "train weights off a plateau, beside the run; WORD: film, all or end"
        [key('3')] Probe "probe [NAME]" 10 "probe" "turn one parameter or two by hand, and tune them against the gradient"
        [key('4')] Compare "compare" 0 "compare" "two models side by side: another command, `llamascape compare A B`"
        [key('5')] Layers "layers" 12 "layers" "gradient, weights and update of every parameter, over time"
        [key('6')] Timeline "timeline" 13 "timeline" "the slices of the run, one after another; enter marks one, tab: how two differ"
        [key('7')] Log "log" 18 "log" "show or hide the log"
    Screen:
        [named(KeyCode::Tab)] FocusNext "next-pane" 0 "focus" "focus the next pane; arrows or hjkl move in it (charts: steps)"
        [named(KeyCode::BackTab)] FocusPrevious "previous-pane" 0 "focus back" "focus the pane before"
        [key('z')] Zoom "zoom-pane" 0 "zoom pane" "give the focused pane the whole screen, or take it back"
        [named(KeyCode::Esc)] Clear "clear" 0 "clear" "all panes and all steps again; no cursor; the newest log lines"
        [key('/')] Search "search" 0 "search" "search the log: enter goes to older lines, esc ends it"
        [key('e')] Export "export [FILE]" 0 "export" "write the screen as a picture or text, or the slice as numbers, to a file"
        [named(KeyCode::F(12))] Costs "costs" 0 "costs" "what the last picture cost: bytes to the terminal, milliseconds, pictures a second"
        [key(':')] CommandLine "commands" 7 "commands" "type a command by its name"
        [key('t')] Tour "tour [N]" 0 "tour" "put the guided tour away, or take it up again; only in `llamascape tour`"
        [key('D')] Detach "detach" 0 "detach" "leave the screen; the engine goes on, `attach` comes back"
        [control('l')] Repaint "repaint" 0 "repaint" "draw the whole screen again, where something has garbled it"
        [control('z')] Suspend "suspend" 0 "suspend" "give the terminal back to the shell; `fg` there comes back"
        [key('q'), control('c')] Quit "quit" 0 "quit" "leave: go on training, or save and stop"
        [key('?')] Help "help" 0 "help" "these keys"
}

/// What a key press means when nothing lies over the screen.
pub(super) fn pressed<A: Copy>(bindings: &[Binding<A>], event: KeyEvent) -> Option<A> {
    bound(bindings, event).map(|binding| binding.action)
}

fn bound<A>(bindings: &[Binding<A>], event: KeyEvent) -> Option<&Binding<A>> {
    if event.modifiers.contains(KeyModifiers::ALT) {
        return None;
    }
    bindings.iter().find(|binding| binding.keys.contains(&Key::of(event)))
}

/// Where arrows and hjkl lead: to the right and up.
pub(super) fn direction(code: KeyCode) -> Option<(i32, i32)> {
    match code {
        KeyCode::Left | KeyCode::Char('h') => Some((-1, 0)),
        KeyCode::Right | KeyCode::Char('l') => Some((1, 0)),
        KeyCode::Up | KeyCode::PageUp | KeyCode::Char('k') => Some((0, 1)),
        KeyCode::Down | KeyCode::PageDown | KeyCode::Char('j') => Some((0, -1)),
        _ => None,
    }
}

/// How far the help of these keys is scrolled after a key; `None` when the key closes it. What is negative is counted
/// from the end, which is -1: how many lines there are depends on the screen.
pub(super) fn scroll_help<A>(bindings: &[Binding<A>], scroll: isize, key: KeyEvent) -> Option<isize> {
    // No screen that is drawn leaves out more lines than two a binding.
    let most = 1 + 2 * bindings.len() as isize;
    let [low, high] = if scroll < 0 { [-most, -1] } else { [0, most] };
    let by = |lines: isize| Some(scroll.saturating_add(lines).clamp(low, high));
    let closes = |binding: &Binding<A>| matches!(binding.name(), "help" | "quit");
    match key.code {
        KeyCode::Down | KeyCode::Char('j') => by(1),
        KeyCode::Up | KeyCode::Char('k') => by(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => by(10),
        KeyCode::PageUp => by(-10),
        KeyCode::Home => Some(0),
        KeyCode::End => Some(-1),
        KeyCode::Esc => None,
        _ if bound(bindings, key).is_some_and(closes) => None,
        _ => Some(scroll),
    }
}

/// Checks that every command has a name of its own, in kebab case.
#[cfg(test)]
pub(super) fn assert_names<A>(bindings: &[Binding<A>]) {
    for (i, binding) in bindings.iter().enumerate() {
        let name = binding.name();
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
        assert!(bindings[..i].iter().all(|other| other.name() != name), "{name} is there twice");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_l_draws_the_screen_again_and_l_alone_moves() {
        let pressed = |modifiers| pressed(BINDINGS, KeyEvent::new(KeyCode::Char('l'), modifiers));
        assert_eq!(pressed(KeyModifiers::CONTROL), Some(Action::Repaint));
        assert_eq!(pressed(KeyModifiers::NONE), None);
    }

    #[test]
    fn no_key_is_bound_twice() {
        let all: Vec<Key> = BINDINGS.iter().flat_map(|binding| binding.keys.iter()).copied().collect();
        for (i, key) in all.iter().enumerate() {
            assert!(!all[..i].contains(key), "{} is bound twice", key.name());
        }
    }

    #[test]
    fn arrows_and_hjkl_stay_free_for_moving() {
        for code in "hjkl".chars().map(KeyCode::Char).chain([KeyCode::Left, KeyCode::Up]) {
            assert_eq!(pressed(BINDINGS, KeyEvent::new(code, KeyModifiers::NONE)), None);
        }
    }

    #[test]
    fn every_action_has_one_row_with_a_key_and_help() {
        // The last variant closes the list: a new action without a row fails here.
        for number in 0..=Action::Help as usize {
            let rows: Vec<_> = BINDINGS.iter().filter(|binding| binding.action as usize == number).collect();
            assert_eq!(rows.len(), 1, "action {number}");
            assert!(!rows[0].keys.is_empty() && !rows[0].help.is_empty() && !rows[0].label.is_empty());
        }
    }

    #[test]
    fn every_command_has_a_name_of_its_own() {
        assert_names(BINDINGS);
    }

    #[test]
    fn ranks_of_the_footer_are_not_shared() {
        let own = BINDINGS.iter().map(|binding| binding.rank).filter(|rank| *rank > 0);
        let ranks: Vec<u8> = own.chain([VIEWS_RANK]).collect();
        for (i, rank) in ranks.iter().enumerate() {
            assert!(!ranks[..i].contains(rank), "{rank}");
        }
    }

    #[test]
    fn shift_does_not_matter_beside_the_character_itself() {
        let event = |modifiers| KeyEvent::new(KeyCode::Char('S'), modifiers);
        let action = |modifiers| pressed(BINDINGS, event(modifiers));
        assert_eq!(action(KeyModifiers::SHIFT), Some(Action::StepTen));
        assert_eq!(action(KeyModifiers::NONE), Some(Action::StepTen));
        assert_eq!(action(KeyModifiers::ALT), None);
    }
}
