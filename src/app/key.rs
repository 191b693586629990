//! One key, and the name people know it by.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A key, with or without Control. Shift shows in the character itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    control: bool,
}

/// The keys that are called by a word.
const WORDS: [(&str, KeyCode); 16] = [
    ("space", KeyCode::Char(' ')),
    ("tab", KeyCode::Tab),
    ("shift-tab", KeyCode::BackTab),
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("backspace", KeyCode::Backspace),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("pageup", KeyCode::PageUp),
    ("pagedown", KeyCode::PageDown),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
];

impl Key {
    /// What was pressed.
    pub(super) fn of(event: KeyEvent) -> Self {
        Self { code: event.code, control: event.modifiers.contains(KeyModifiers::CONTROL) }
    }

    /// The name people know it by.
    pub fn name(self) -> String {
        let word = WORDS.iter().find(|(_, code)| *code == self.code);
        let name = match (word, self.code) {
            (Some((word, _)), _) => (*word).to_owned(),
            (None, KeyCode::Char(character)) => character.to_string(),
            (None, other) => other.to_string().to_lowercase(),
        };
        if self.control { format!("ctrl-{name}") } else { name }
    }

    /// The key of this [name](Self::name), or why there is none.
    pub fn parse(name: &str) -> Result<Self, String> {
        let key = match name.strip_prefix("ctrl-") {
            Some("i") => return Err("a terminal sends it as tab".to_owned()),
            Some("m") => return Err("a terminal sends it as enter".to_owned()),
            Some(rest) => only(rest).filter(char::is_ascii_lowercase).map(control),
            None => plain(name).map(named),
        };
        key.ok_or_else(|| {
            let words: Vec<&str> = WORDS.iter().map(|(word, _)| *word).collect();
            let words = words.join(", ");
            format!(
                "a key is a letter, digit or sign, ctrl- and a small letter, f1 to f12, or one of {words}"
            )
        })
    }

    /// Whether it moves what has the focus, on every screen.
    pub(super) fn moves(self) -> bool {
        let arrows = matches!(self.code, KeyCode::Left | KeyCode::Right | KeyCode::Up | KeyCode::Down);
        !self.control && (arrows || matches!(self.code, KeyCode::Char('h' | 'j' | 'k' | 'l')))
    }
}

pub(super) const fn key(character: char) -> Key {
    Key { code: KeyCode::Char(character), control: false }
}

pub(super) const fn named(code: KeyCode) -> Key {
    Key { code, control: false }
}

pub(super) const fn control(character: char) -> Key {
    Key { code: KeyCode::Char(character), control: true }
}

/// The key of a name without `ctrl-`. What is no letter, digit or sign of ASCII might not be seen, or change how its
/// neighbours are.
fn plain(name: &str) -> Option<KeyCode> {
    let word = WORDS.iter().find(|(word, _)| *word == name).map(|(_, code)| *code);
    let function = || (1..=12).map(KeyCode::F).find(|code| named(*code).name() == name);
    let is_seen = |character: &char| character.is_alphanumeric() || character.is_ascii_punctuation();
    word.or_else(function).or_else(|| only(name).filter(is_seen).map(KeyCode::Char))
}

/// The character of a text that is no longer.
fn only(text: &str) -> Option<char> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Some(character),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Keys;

    #[test]
    fn the_name_of_every_built_in_key_is_read_as_that_key() {
        let built_in = Keys::default();
        let keys: Vec<Key> = built_in.commands().iter().flat_map(|command| command.keys.concat()).collect();
        assert!(keys.len() > 60, "both screens have more");
        for key in keys {
            assert_eq!(Key::parse(&key.name()), Ok(key));
        }
    }

    #[test]
    fn every_name_that_is_read_is_printed_again() {
        let words = WORDS.map(|(word, _)| word);
        for name in
            ["s", "S", "7", ":", "\"", "#", "-", "é", "f1", "f12", "ctrl-x", "ctrl-c"].iter().chain(&words)
        {
            assert_eq!(Key::parse(name).map(Key::name), Ok((*name).to_owned()));
        }
    }

    #[test]
    fn what_no_terminal_sends_is_no_key() {
        let names =
            ["", " ", "ss", "f0", "f13", "f01", "Esc", "ctrl-", "ctrl-X", "ctrl-ss", "\u{202e}", "\n"];
        for name in names {
            let why = Key::parse(name).unwrap_err();
            assert!(why.starts_with("a key is a letter") && why.contains("shift-tab"), "{name}: {why}");
        }
        assert_eq!(Key::parse("ctrl-i").unwrap_err(), "a terminal sends it as tab");
        assert_eq!(Key::parse("ctrl-m").unwrap_err(), "a terminal sends it as enter");
    }
}
