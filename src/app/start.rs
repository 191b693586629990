//! The list that a bare `llamascape` opens while runs are being trained: come back to one, or train another.

use std::path::PathBuf;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A run that has an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its folder, by which it is known: names may come twice.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// Its engine waits for a command.
    pub is_paused: bool,
    /// Steps taken.
    pub step: u64,
    /// The last loss.
    pub loss: Option<f64>,
    /// The model in words.
    pub model: String,
    /// Seconds since it began, if its files tell.
    pub age: Option<u64>,
}

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// To come back to the run of this folder.
    Run(PathBuf),
    /// To train another one.
    New,
    /// Nothing of this.
    Nothing,
}

/// What the terminal's loop has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Give the terminal back and stop, as the shell knows it.
    Suspend,
    /// Draw the whole screen again.
    Repaint,
    /// Close the list.
    Leave(Choice),
}

/// The list. Its last entry is a new run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Start {
    rows: Vec<Row>,
    /// The entry under the cursor, at most the number of the runs.
    chosen: usize,
    /// The keys lie over the list.
    helps: bool,
}

impl Start {
    /// A list of these runs, the cursor on the first.
    pub fn new(rows: Vec<Row>) -> Self {
        Self { rows, chosen: 0, helps: false }
    }

    /// The runs.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Whether the keys are on show.
    pub fn helps(&self) -> bool {
        self.helps
    }

    /// The number of the entry under the cursor, from 0; that of a new run comes after all others.
    pub fn chosen(&self) -> usize {
        self.chosen
    }

    /// The runs as they are now. The cursor goes along with its run, and stays where it is once that has ended.
    pub fn refresh(&mut self, rows: Vec<Row>) {
        let place = match self.rows.get(self.chosen) {
            Some(run) => rows.iter().position(|row| row.folder == run.folder).unwrap_or(self.chosen),
            None => rows.len(),
        };
        self.chosen = place.min(rows.len());
        self.rows = rows;
    }

    /// A key. Releases and keys that mean nothing here do nothing.
    pub fn press(&mut self, key: KeyEvent) -> Option<Effect> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Some(Effect::Leave(Choice::Nothing)),
                KeyCode::Char('z') => Some(Effect::Suspend),
                KeyCode::Char('l') => Some(Effect::Repaint),
                _ => None,
            };
        }
        if self.helps {
            self.helps = !matches!(key.code, KeyCode::Char('?' | 'q') | KeyCode::Esc | KeyCode::Enter);
            return None;
        }
        match key.code {
            KeyCode::Char('?') => self.helps = true,
            KeyCode::Up | KeyCode::Char('k') => self.chosen = self.chosen.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.chosen = (self.chosen + 1).min(self.rows.len()),
            KeyCode::Enter => return Some(Effect::Leave(self.entry(self.chosen))),
            KeyCode::Char('n') => return Some(Effect::Leave(Choice::New)),
            KeyCode::Char('q') | KeyCode::Esc => return Some(Effect::Leave(Choice::Nothing)),
            KeyCode::Char(digit @ '1'..='9') => {
                let place = digit as usize - '1' as usize;
                return (place < self.rows.len()).then(|| Effect::Leave(self.entry(place)));
            }
            _ => {}
        }
        None
    }

    fn entry(&self, place: usize) -> Choice {
        self.rows.get(place).map_or(Choice::New, |row| Choice::Run(row.folder.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str) -> Row {
        Row {
            folder: PathBuf::from("/runs").join(name),
            name: name.to_owned(),
            is_paused: false,
            step: 1,
            loss: None,
            model: String::new(),
            age: None,
        }
    }

    fn list(names: &[&str]) -> Start {
        Start::new(names.iter().map(|name| row(name)).collect())
    }

    /// What comes of the last of these keys.
    fn pressed(start: &mut Start, keys: &[KeyCode]) -> Option<Effect> {
        let mut effect = None;
        for code in keys {
            effect = start.press(KeyEvent::new(*code, KeyModifiers::NONE));
        }
        effect
    }

    fn run(name: &str) -> Effect {
        Effect::Leave(Choice::Run(row(name).folder))
    }

    const NEW: Option<Effect> = Some(Effect::Leave(Choice::New));
    const NOTHING: Option<Effect> = Some(Effect::Leave(Choice::Nothing));

    #[test]
    fn enter_comes_back_to_the_run_under_the_cursor_and_the_last_entry_is_a_new_one() {
        use KeyCode::{Char, Down, Enter, Up};
        assert_eq!(pressed(&mut list(&["a", "b"]), &[Enter]), Some(run("a")));
        assert_eq!(pressed(&mut list(&["a", "b"]), &[Down, Enter]), Some(run("b")));
        assert_eq!(pressed(&mut list(&["a", "b"]), &[Char('j'), Char('j'), Enter]), NEW);
        assert_eq!(pressed(&mut list(&["a", "b"]), &[Down, Down, Down, Down, Up, Enter]), Some(run("b")));
        assert_eq!(pressed(&mut list(&["a", "b"]), &[Char('j'), Char('k'), Up, Enter]), Some(run("a")));
    }

    #[test]
    fn a_digit_comes_back_to_its_run_and_n_trains_a_new_one_at_once() {
        let press = |key| pressed(&mut list(&["a", "b"]), &[KeyCode::Char(key)]);
        assert_eq!(['1', '2', '3', '0', 'n'].map(press), [Some(run("a")), Some(run("b")), None, None, NEW]);
    }

    #[test]
    fn it_is_left_without_doing_anything() {
        let mut start = list(&["a"]);
        assert_eq!(pressed(&mut start, &[KeyCode::Char('q')]), NOTHING);
        assert_eq!(pressed(&mut start, &[KeyCode::Esc]), NOTHING);
        let mut control = |key| start.press(KeyEvent::new(KeyCode::Char(key), KeyModifiers::CONTROL));
        assert_eq!([control('c'), control('z'), control('n')], [NOTHING, Some(Effect::Suspend), None]);
        let release = KeyEvent::new_with_kind(KeyCode::Enter, KeyModifiers::NONE, KeyEventKind::Release);
        assert_eq!(start.press(release), None);
    }

    #[test]
    fn the_keys_are_shown_until_they_are_closed_and_open_nothing_meanwhile() {
        let mut start = list(&["a"]);
        assert_eq!(pressed(&mut start, &[KeyCode::Char('?')]), None);
        assert!(start.helps());
        assert_eq!(pressed(&mut start, &[KeyCode::Char('1'), KeyCode::Char('n')]), None);
        assert!(start.helps());
        assert_eq!(pressed(&mut start, &[KeyCode::Esc]), None);
        assert!(!start.helps());
        assert_eq!(pressed(&mut start, &[KeyCode::Char('1')]), Some(run("a")));
    }

    #[test]
    fn the_cursor_goes_along_with_its_run_and_stays_in_the_list() {
        let mut start = list(&["a", "b"]);
        pressed(&mut start, &[KeyCode::Down]);
        start.refresh(list(&["c", "a", "b"]).rows);
        assert_eq!(start.chosen(), 2);
        start.refresh(list(&["c"]).rows);
        assert_eq!(start.chosen(), 1, "its run has ended");
        start.refresh(list(&["d", "c"]).rows);
        assert_eq!(start.chosen(), 2, "a new run stays chosen");
        start.refresh(Vec::new());
        assert_eq!(pressed(&mut start, &[KeyCode::Enter]), NEW);
    }
}
