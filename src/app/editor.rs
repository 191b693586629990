//! A one-line editor.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A line of text and a cursor in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LineEditor {
    characters: Vec<char>,
    cursor: usize,
}

impl LineEditor {
    /// Characters a line holds at most.
    const CAPACITY: usize = 4096;

    /// An editor that holds `text`, with the cursor at its end.
    pub fn new(text: &str) -> Self {
        let characters: Vec<char> = text.chars().take(Self::CAPACITY).collect();
        Self { cursor: characters.len(), characters }
    }

    /// The text.
    pub fn text(&self) -> String {
        self.characters.iter().collect()
    }

    /// The text before the cursor, the character under it, and the text after that.
    pub fn parts(&self) -> (String, Option<char>, String) {
        let (before, after) = self.characters.split_at(self.cursor);
        (before.iter().collect(), after.first().copied(), after.iter().skip(1).collect())
    }

    /// Edits, and tells whether the text is another now.
    pub(super) fn changes(&mut self, key: KeyEvent) -> bool {
        // A key puts characters in or takes some out; none replaces one.
        let before = self.characters.len();
        self.key(key);
        self.characters.len() != before
    }

    /// Edits. Keys that mean nothing here do nothing.
    pub(super) fn key(&mut self, key: KeyEvent) {
        let end = self.characters.len();
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('u') => {
                    self.characters.drain(..self.cursor);
                    self.cursor = 0;
                }
                KeyCode::Char('k') => self.characters.truncate(self.cursor),
                KeyCode::Char('w') => self.delete_word(),
                KeyCode::Char('a') => self.cursor = 0,
                KeyCode::Char('e') => self.cursor = end,
                _ => {}
            }
            return;
        }
        match key.code {
            KeyCode::Char(character)
                if end < Self::CAPACITY && !key.modifiers.contains(KeyModifiers::ALT) =>
            {
                self.characters.insert(self.cursor, character);
                self.cursor += 1;
            }
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.characters.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < end => {
                self.characters.remove(self.cursor);
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(end),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = end,
            _ => {}
        }
    }

    fn delete_word(&mut self) {
        let before = &self.characters[..self.cursor];
        let word = before.iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| {
            before[..last].iter().rposition(|c| c.is_whitespace()).map_or(0, |space| space + 1)
        });
        self.characters.drain(word..self.cursor);
        self.cursor = word;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str, keys: &[(KeyCode, KeyModifiers)]) -> (String, usize) {
        let mut editor = LineEditor::new(text);
        for (code, modifiers) in keys {
            editor.key(KeyEvent::new(*code, *modifiers));
        }
        (editor.text(), editor.cursor)
    }

    const NONE: KeyModifiers = KeyModifiers::NONE;
    const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

    #[test]
    fn text_goes_in_where_the_cursor_is() {
        let keys = [(KeyCode::Left, NONE), (KeyCode::Char('é'), NONE), (KeyCode::Char('ß'), NONE)];
        assert_eq!(typed("ab", &keys), ("aéßb".into(), 3));
    }

    #[test]
    fn deleting_at_the_ends_of_the_line_does_nothing() {
        assert_eq!(typed("ab", &[(KeyCode::Home, NONE), (KeyCode::Backspace, NONE)]), ("ab".into(), 0));
        assert_eq!(typed("ab", &[(KeyCode::Delete, NONE)]), ("ab".into(), 2));
    }

    #[test]
    fn control_keys_delete_to_the_ends_and_words() {
        assert_eq!(typed("a b", &[(KeyCode::Left, NONE), (KeyCode::Char('u'), CONTROL)]), ("b".into(), 0));
        assert_eq!(typed("ab", &[(KeyCode::Home, NONE), (KeyCode::Char('k'), CONTROL)]), (String::new(), 0));
        assert_eq!(typed("is Paris ", &[(KeyCode::Char('w'), CONTROL)]), ("is ".into(), 3));
        assert_eq!(typed("x", &[(KeyCode::Char('z'), CONTROL)]), ("x".into(), 1));
    }
}
