//! The search of the log: its newest lines are kept, and those that hold a text are shown alone.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::protocol::{LogLine, Phase};

use super::{App, Effect, Hint, LineEditor, Modal, Pane, View};

/// The newest lines of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    lines: VecDeque<LogLine>,
    /// Lines that had to make room, and so the number of the first one that is kept.
    gone: usize,
}

impl Recent {
    /// Lines that are kept at most.
    const CAPACITY: usize = 1000;

    /// Adds lines that are newer.
    pub(super) fn extend(&mut self, lines: &[LogLine]) {
        self.lines.extend(lines.iter().cloned());
        let over = self.lines.len().saturating_sub(Self::CAPACITY);
        self.lines.drain(..over);
        self.gone += over;
    }

    /// How many lines are kept.
    pub fn count(&self) -> usize {
        self.lines.len()
    }

    /// The lines that hold a text in whatever case, the newest last, each with its number.
    pub fn holding(&self, text: &str) -> Vec<(usize, &LogLine)> {
        let text = text.to_lowercase();
        let numbered = (self.gone..).zip(&self.lines);
        numbered.filter(|(_, line)| line.message.to_lowercase().contains(&text)).collect()
    }
}

/// A search of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    /// The text that is looked for.
    pub editor: LineEditor,
    /// The number of the line that was gone to; without one it is the newest.
    at: Option<usize>,
    /// The pane that had the focus before.
    from: Pane,
}

impl Search {
    /// Which one of these lines, which [`Recent::holding`] has found, is gone to.
    pub fn place(&self, found: &[(usize, &LogLine)]) -> usize {
        let reached = |(number, _): &(usize, &LogLine)| self.at.is_none_or(|at| *number <= at);
        found.iter().rposition(reached).unwrap_or(0)
    }
}

impl App {
    /// Begins a search; the focus is lent to the log, which shows it.
    pub(super) fn begin_search(&mut self) -> Vec<Effect> {
        self.view.shown = View::Observatory;
        let phase = self.engine.status.as_ref().map(|status| &status.phase);
        if matches!(phase, None | Some(Phase::Preparing(_))) {
            self.view.hint = Some(Hint::Refused("the log is not on show yet".into()));
            return Vec::new();
        }
        let from = self.view.focus;
        self.view.focus = Pane::Log;
        self.view.modal = Some(Modal::Search(Search { editor: LineEditor::default(), at: None, from }));
        Vec::new()
    }

    pub(super) fn search_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Modal::Search(search)) = &mut self.view.modal else { return Vec::new() };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let older = match key.code {
            KeyCode::Enter | KeyCode::Up => true,
            KeyCode::Down => false,
            KeyCode::Esc => {
                self.view.focus = search.from;
                self.view.modal = None;
                return Vec::new();
            }
            KeyCode::Char('c') if control => {
                self.view.focus = search.from;
                self.view.modal = None;
                return self.quit();
            }
            _ => {
                if search.editor.changes(key) {
                    search.at = None;
                }
                return Vec::new();
            }
        };
        let found = self.recent.holding(&search.editor.text());
        let here = search.place(&found);
        let there = if older { here.checked_sub(1) } else { Some(here + 1) };
        if let Some((number, _)) = there.and_then(|there| found.get(there)) {
            search.at = Some(*number);
        } else {
            let which = match (found.is_empty(), older) {
                (true, _) => "no line of the log",
                (false, true) => "no older line",
                (false, false) => "no newer line",
            };
            self.view.hint = Some(Hint::Refused(format!("{which} has it")));
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::LogLevel;

    fn lines(messages: &[&str]) -> Vec<LogLine> {
        let line = |message: &&str| LogLine {
            milliseconds: 0,
            level: LogLevel::Info,
            message: (*message).to_owned(),
        };
        messages.iter().map(line).collect()
    }

    fn numbers(found: &[(usize, &LogLine)]) -> Vec<usize> {
        found.iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn lines_are_found_whatever_their_case() {
        let mut recent = Recent::default();
        recent.extend(&lines(&["Checkpoint-1 saved", "a spike", "CHECKPOINT-2 saved"]));
        assert_eq!(numbers(&recent.holding("checkPoint")), [0, 2]);
        assert_eq!(numbers(&recent.holding("")), [0, 1, 2]);
        assert!(recent.holding("loss").is_empty());
    }

    #[test]
    fn the_oldest_lines_make_room_and_the_others_keep_their_numbers() {
        let mut recent = Recent::default();
        for i in 0..1200 {
            recent.extend(&lines(&[format!("line {i}.").as_str()]));
        }
        assert_eq!(recent.count(), Recent::CAPACITY);
        assert_eq!(numbers(&recent.holding("line 200.")), [200]);
        assert!(recent.holding("line 199.").is_empty());
    }

    #[test]
    fn the_line_gone_to_stays_where_it_is_when_others_come_and_go() {
        let mut recent = Recent::default();
        recent.extend(&lines(&["a1", "a2", "b", "a3"]));
        let search = |at| Search { editor: LineEditor::new("a"), at, from: Pane::Loss };
        let place = |recent: &Recent, at| search(at).place(&recent.holding("a"));
        assert_eq!(place(&recent, None), 2);
        assert_eq!(place(&recent, Some(1)), 1);
        recent.extend(&lines(&["a4"]));
        assert_eq!((place(&recent, None), place(&recent, Some(1))), (3, 1));
        // Line 1 makes room; the oldest of the others is next to it.
        recent.extend(&lines(&["b"; 997]));
        assert_eq!(place(&recent, Some(1)), 0);
    }
}
