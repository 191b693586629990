//! The keys as they are in force: the tables of the screens, with what a person has chosen for some of the commands.

use std::ops::Deref;

use super::key::{Key, control};
use super::palette::nearest;
use super::{Action, Binding, comparison};

/// The table of a screen as it is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bindings<A>(Vec<Binding<A>>);

/// The keys that a person has chosen for a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The command, as it is typed after `:`.
    pub command: String,
    /// Its keys on every screen that has it, the one to show first; it may be none.
    pub keys: Vec<Key>,
}

/// A choice that can't be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Its number among the choices.
    pub at: usize,
    /// The key, where it is one of several.
    pub key: Option<Key>,
    /// Why not.
    pub why: String,
}

/// The keys of both screens as they are in force; by default the built-in ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// Those of the training.
    pub training: Bindings<Action>,
    /// Those of a comparison.
    pub comparison: Bindings<comparison::Action>,
}

/// A command and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandKeys<'a> {
    /// What is typed for it after `:`.
    pub name: &'static str,
    /// What it does.
    pub help: &'static str,
    /// Its keys on the screens that have it; of both, the training is the first.
    pub keys: Vec<&'a [Key]>,
}

/// Commands that must have a key: whoever knows none of the keys finds the others by them.
const NEEDED: [&str; 3] = ["quit", "commands", "help"];

/// It leaves, whatever lies over a screen.
const LEAVE: Key = control('c');

impl<A> Deref for Bindings<A> {
    type Target = [Binding<A>];

    fn deref(&self) -> &[Binding<A>] {
        &self.0
    }
}

impl<A> Bindings<A> {
    /// What to press for a command: its first key, or else what is typed.
    pub fn shown(&self, command: &str) -> String {
        let binding = self.0.iter().find(|binding| binding.name() == command);
        let key = binding.and_then(|binding| binding.keys.first());
        key.map_or_else(|| format!(":{command}"), |key| key.name())
    }

    /// The same with the choices for commands of this screen. A built-in key that one of them takes is lost to its
    /// command.
    fn with(self, choices: &[Choice]) -> Result<Self, Misfit> {
        let mut bindings = self.0;
        let has = |choice: &Choice| bindings.iter().any(|binding| binding.name() == choice.command);
        let here: Vec<(usize, &Choice)> =
            choices.iter().enumerate().filter(|(_, choice)| has(choice)).collect();
        for (index, (at, choice)) in here.iter().enumerate() {
            for key in &choice.keys {
                let earlier = here[..index].iter().find(|(_, other)| other.keys.contains(key));
                if let Some((_, other)) = earlier {
                    let why = format!("keys.{} has it already", other.command);
                    return Err(Misfit { at: *at, key: Some(*key), why });
                }
            }
        }
        let taker = |key: &Key| here.iter().find(|(_, choice)| choice.keys.contains(key));
        for binding in &mut bindings {
            let name = binding.name();
            let own = here.iter().find(|(_, choice)| choice.command == name);
            let mut keys: Vec<Key> = match own {
                Some((_, choice)) => choice.keys.clone(),
                None => binding.keys.iter().copied().filter(|key| taker(key).is_none()).collect(),
            };
            if keys.is_empty()
                && NEEDED.contains(&name)
                && let Some((at, _)) = own.or_else(|| binding.keys.iter().find_map(taker))
            {
                return Err(Misfit { at: *at, key: None, why: format!("{name} must keep a key") });
            }
            if name == "quit" && !keys.contains(&LEAVE) {
                keys.push(LEAVE);
            }
            binding.keys = keys.into();
        }
        Ok(Self(bindings))
    }
}

impl<A: Clone> Bindings<A> {
    /// A table as it is built in.
    pub(super) fn of(table: &[Binding<A>]) -> Self {
        Self(table.to_vec())
    }
}

impl Keys {
    /// The built-in keys, but for what was chosen.
    pub fn new(choices: &[Choice]) -> Result<Self, Misfit> {
        let built_in = Self::default();
        let names: Vec<&str> = built_in.commands().iter().map(|command| command.name).collect();
        for (at, choice) in choices.iter().enumerate() {
            if !names.contains(&choice.command.as_str()) {
                let nearest = nearest(names.iter().copied(), &choice.command);
                let nearest = nearest.map_or_else(String::new, |name| format!("; the nearest is {name}"));
                let why = format!("there is no such command{nearest}");
                return Err(Misfit { at, key: None, why });
            }
            let reserved = choice.keys.iter().find_map(|key| Some((*key, reserved(*key, &choice.command)?)));
            if let Some((key, why)) = reserved {
                return Err(Misfit { at, key: Some(key), why: why.to_owned() });
            }
        }
        let Self { training, comparison } = built_in;
        Ok(Self { training: training.with(choices)?, comparison: comparison.with(choices)? })
    }

    /// Every command, in the order of the tables.
    pub fn commands(&self) -> Vec<CommandKeys<'_>> {
        let mut commands: Vec<CommandKeys> = self.training.iter().map(command).collect();
        for binding in &*self.comparison {
            match commands.iter_mut().find(|known| known.name == binding.name()) {
                Some(known) => known.keys.push(&binding.keys),
                None => commands.push(command(binding)),
            }
        }
        commands
    }
}

/// Why a command cannot have a key on any screen.
fn reserved(key: Key, command: &str) -> Option<&'static str> {
    if key.moves() {
        return Some("it moves: no command can have it");
    }
    (key == LEAVE && command != "quit").then_some("it always leaves: no other command can have it")
}

fn command<A>(binding: &Binding<A>) -> CommandKeys<'_> {
    CommandKeys { name: binding.name(), help: binding.help, keys: vec![&*binding.keys] }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::app::comparison::Comparison;
    use crate::app::{App, Effect, Hint, Leave, Message, Modal, Options};
    use crate::protocol::comparison::{Between, Phase};

    /// Commands and the names of keys.
    type Chosen<'a> = &'a [(&'a str, &'a [&'a str])];

    fn choices(chosen: Chosen) -> Vec<Choice> {
        let keys = |names: &[&str]| names.iter().map(|name| Key::parse(name).unwrap()).collect();
        let choice =
            |(command, names): &(&str, &[&str])| Choice { command: (*command).to_owned(), keys: keys(names) };
        chosen.iter().map(choice).collect()
    }

    fn chosen(chosen: Chosen) -> Keys {
        Keys::new(&choices(chosen)).unwrap()
    }

    fn training(keys: Keys) -> App {
        App::new(Options { bindings: keys.training, ..Options::default() })
    }

    fn key(code: KeyCode) -> KeyEvent {
        KeyEvent::new(code, KeyModifiers::NONE)
    }

    fn press(app: &mut App, character: char) -> Vec<Effect> {
        app.update(Message::Key(key(KeyCode::Char(character))))
    }

    #[test]
    fn a_chosen_key_acts_and_the_built_in_one_does_not() {
        let mut app = training(chosen(&[("log-scale", &["y", "Y"]), ("zoom-pane", &["L"])]));
        let stretch = |app: &App| app.view.landscape.stretch.name();
        press(&mut app, 'z');
        assert!(!app.view.zoomed, "z is bound to nothing");
        press(&mut app, 'L');
        assert_eq!((stretch(&app), app.view.zoomed), ("by rank", true), "L has a new command");
        press(&mut app, 'y');
        assert_eq!(stretch(&app), "linear");
        press(&mut app, 'Y');
        assert_eq!(stretch(&app), "logarithmic");
    }

    #[test]
    fn a_comparison_has_the_chosen_keys_too() {
        let keys = chosen(&[("scale", &["f5"]), ("step", &["u"])]);
        let mut app = Comparison::new(Vec::new(), keys.comparison);
        app.scene.phase = Phase::Live;
        app.scene.between = Arc::new(Between { overlap: Some(9), ..Between::default() });
        let mut press = |code| app.update(comparison::Message::Key(key(code)));
        assert_eq!(press(KeyCode::Char('s')), [], "s is bound to nothing");
        let step = press(KeyCode::Char('u'));
        assert!(matches!(step[..], [comparison::Effect::Ask(_)]), "{step:?}");
        assert_eq!(press(KeyCode::F(5)), []);
        assert!(!app.one_scale);
    }

    #[test]
    fn a_command_without_a_key_is_typed() {
        let keys = chosen(&[("theme", &[]), ("surface", &[])]);
        assert_eq!(keys.training.shown("surface"), ":surface");
        let mut app = training(keys);
        app.options.themes = vec!["dark".into(), "light".into()];
        assert_eq!(press(&mut app, 'T'), []);
        press(&mut app, '>');
        let refused = "this is the map: :surface shows the surface that can be turned";
        assert_eq!(app.view.hint, Some(Hint::Refused(refused.into())));
        for character in ":theme".chars() {
            press(&mut app, character);
        }
        let typed = app.update(Message::Key(key(KeyCode::Enter)));
        assert_eq!(typed, [Effect::UseTheme("light".into())]);
    }

    #[test]
    fn a_key_counts_on_the_screens_that_have_its_command() {
        // Only the training saves, and only a comparison has templates.
        let keys = chosen(&[("save", &["n"]), ("template", &["n"]), ("log", &["u"])]);
        let names = |command: &str| {
            let commands = keys.commands();
            let keys = &commands.iter().find(|known| known.name == command).unwrap().keys;
            keys.iter().map(|keys| keys.iter().map(|key| key.name()).collect()).collect::<Vec<String>>()
        };
        assert_eq!((names("save"), names("template")), (vec!["n".to_owned()], vec!["n".to_owned()]));
        assert_eq!(names("new-plane"), ["", ""]);
        assert_eq!(names("scale"), ["u"], "a comparison has no log");
    }

    #[test]
    fn control_c_leaves_whatever_the_keys_of_quit_are() {
        let mut app = training(chosen(&[("quit", &["Q"]), ("help", &["f1"]), ("step", &["q"])]));
        app.update(Message::Key(key(KeyCode::F(1))));
        assert!(matches!(app.view.modal, Some(Modal::Help { .. })));
        app.update(Message::Key(key(KeyCode::F(1))));
        assert_eq!(app.view.modal, None, "the key of the help closes it");
        let control_c = Message::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        app.update(control_c.clone());
        assert_eq!(app.view.modal, Some(Modal::Leave));
        assert_eq!(app.update(control_c), [Effect::Leave(Leave::Detach)]);
    }

    #[test]
    fn what_can_not_be_had_is_told_with_the_choice_and_the_key() {
        let cases: [(Chosen, usize, Option<&str>, &str); 9] = [
            (&[("run", &["r"]), ("stpe", &["s"])], 1, None, "there is no such command; the nearest is step"),
            (&[("step", &["x", "h"])], 0, Some("h"), "it moves: no command can have it"),
            (&[("step", &["up"])], 0, Some("up"), "it moves: no command can have it"),
            (&[("step", &["ctrl-c"])], 0, Some("ctrl-c"), "it always leaves: no other command can have it"),
            (&[("run", &["space", "y"]), ("step", &["y"])], 1, Some("y"), "keys.run has it already"),
            (&[("side", &["y"]), ("write", &["y"])], 1, Some("y"), "keys.side has it already"),
            (&[("quit", &[])], 0, None, "quit must keep a key"),
            (&[("save", &["w"]), ("step", &["s", "?"])], 1, None, "help must keep a key"),
            (&[("search", &[":"])], 0, None, "commands must keep a key"),
        ];
        for (chosen, at, key, why) in cases {
            let key = key.map(|name| Key::parse(name).unwrap());
            let misfit = Misfit { at, key, why: why.to_owned() };
            assert_eq!(Keys::new(&choices(chosen)), Err(misfit), "{chosen:?}");
        }
    }

    #[test]
    fn the_built_in_keys_may_be_chosen_as_they_are() {
        let built_in = Keys::default();
        let choice = |command: &CommandKeys| Choice {
            command: command.name.to_owned(),
            keys: command.keys[0].to_vec(),
        };
        let choices: Vec<Choice> = built_in.commands().iter().map(choice).collect();
        assert_eq!(Keys::new(&choices), Ok(built_in));
    }
}
