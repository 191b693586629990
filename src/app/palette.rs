//! The command line: the actions of a screen by their names.

use ratatui::crossterm::event::{KeyCode, KeyEvent};

use super::{Binding, LineEditor};

/// A command that is being typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Palette {
    /// The line.
    pub editor: LineEditor,
    /// The number of the match that the arrow keys have chosen.
    chosen: Option<usize>,
    /// How many commands back in the history the line is from; 0 where it is not from there.
    back: usize,
}

/// What a key makes of the command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed<A> {
    /// A line that is still being typed.
    Line,
    /// Nothing: it closes.
    Closed,
    /// An action, and what follows its name.
    Run(A, String),
    /// A line that is no command, and why.
    Refused(String),
}

impl Palette {
    /// The commands that the line may mean, the likeliest first.
    pub fn matches<'a, A>(&self, bindings: &'a [Binding<A>]) -> Vec<&'a Binding<A>> {
        let (name, _) = self.split();
        let fitting = |binding: &'a Binding<A>| Some((fit(binding.name(), &name)?, binding));
        let mut matches: Vec<(Fit, &Binding<A>)> = bindings.iter().filter_map(fitting).collect();
        // The sort is stable: what fits alike stays in the order of the table.
        matches.sort_by_key(|(fit, _)| *fit);
        matches.into_iter().map(|(_, binding)| binding).collect()
    }

    /// The number of the chosen one among so many matches. On an empty line there is none until an arrow key chooses.
    pub fn chosen(&self, matches: usize) -> Option<usize> {
        let first = if self.is_empty() { None } else { Some(0) };
        self.chosen.or(first).filter(|_| matches > 0).map(|chosen| chosen.min(matches - 1))
    }

    /// Takes a key; `history` holds the commands that were run, the newest last.
    pub(super) fn key<A: Copy>(
        &mut self,
        bindings: &[Binding<A>],
        history: &mut Vec<String>,
        key: KeyEvent,
    ) -> Typed<A> {
        let matches = self.matches(bindings);
        let chosen = self.chosen(matches.len());
        let binding = chosen.map(|chosen| matches[chosen]);
        let untouched = self.is_empty() && chosen.is_none();
        match key.code {
            KeyCode::Esc => return Typed::Closed,
            KeyCode::Enter if untouched => return Typed::Closed,
            KeyCode::Enter => return self.run(bindings, binding, history),
            KeyCode::Tab => {
                if let Some(binding) = binding.or(matches.first().copied()) {
                    self.complete(binding);
                }
            }
            KeyCode::Up if self.back > 0 || untouched => self.recall(history, self.back + 1),
            KeyCode::Down if self.back > 0 => self.recall(history, self.back - 1),
            KeyCode::Up => self.chosen = chosen.and_then(|chosen| chosen.checked_sub(1)),
            KeyCode::Down => self.chosen = Some(chosen.map_or(0, |chosen| chosen + 1)),
            _ => {
                if self.editor.changes(key) {
                    (self.chosen, self.back) = (None, 0);
                }
            }
        }
        Typed::Line
    }

    /// Whether nothing is typed yet.
    fn is_empty(&self) -> bool {
        self.split().0.is_empty()
    }

    /// The name, as far as it is typed, and what follows it.
    fn split(&self) -> (String, String) {
        let text = self.editor.text();
        let line = text.trim_start();
        let (name, more) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        (name.to_lowercase(), more.trim().to_owned())
    }

    fn run<A: Copy>(
        &self,
        bindings: &[Binding<A>],
        binding: Option<&Binding<A>>,
        history: &mut Vec<String>,
    ) -> Typed<A> {
        let (typed, more) = self.split();
        let Some(binding) = binding else {
            let nearest = nearest(bindings.iter().map(Binding::name), &typed);
            let nearest = nearest.map_or_else(
                || ": an empty line lists all".to_owned(),
                |name| format!("; the nearest is {name}"),
            );
            return Typed::Refused(format!("there is no such command{nearest}"));
        };
        let name = binding.name();
        if !more.is_empty() && !binding.takes_more() {
            return Typed::Refused(format!("nothing may follow {name}"));
        }
        let line = if more.is_empty() { name.to_owned() } else { format!("{name} {more}") };
        if history.last() != Some(&line) {
            history.push(line);
        }
        Typed::Run(binding.action, more)
    }

    /// Spells the name out.
    fn complete<A>(&mut self, binding: &Binding<A>) {
        let name = binding.name();
        let (_, more) = self.split();
        let ends = more.is_empty() && !binding.takes_more();
        let line = if ends { name.to_owned() } else { format!("{name} {more}") };
        *self = Self { editor: LineEditor::new(&line), ..Self::default() };
    }

    /// Takes the line from the history, that many commands back.
    fn recall(&mut self, history: &[String], back: usize) {
        let back = back.min(history.len());
        let line = history[history.len() - back..].first().map_or("", String::as_str);
        *self = Self { editor: LineEditor::new(line), chosen: None, back };
    }
}

/// How a name fits what is typed, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Whole,
    Beginning,
    /// The letters are in it in this order, with others between them.
    Letters,
}

fn fit(name: &str, typed: &str) -> Option<Fit> {
    let mut letters = name.chars();
    if name == typed {
        Some(Fit::Whole)
    } else if name.starts_with(typed) {
        Some(Fit::Beginning)
    } else if typed.chars().all(|wanted| letters.any(|letter| letter == wanted)) {
        Some(Fit::Letters)
    } else {
        None
    }
}

/// The name that is most like what is typed, where it is like it at all: what differs in more than a third of its
/// letters is another word.
pub(super) fn nearest<'a>(names: impl Iterator<Item = &'a str>, typed: &str) -> Option<&'a str> {
    // Neighbours that are swapped count as one.
    let far = names.map(|name| (strsim::osa_distance(name, typed), name));
    let (far, name) = far.min_by_key(|(far, _)| *far)?;
    let letters = name.chars().count().max(typed.chars().count());
    (far <= (letters / 3).max(1)).then_some(name)
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::KeyModifiers;

    use super::*;
    use crate::app::{Action, BINDINGS};

    fn press(palette: &mut Palette, history: &mut Vec<String>, code: KeyCode) -> Typed<Action> {
        palette.key(BINDINGS, history, KeyEvent::new(code, KeyModifiers::NONE))
    }

    fn typed(text: &str) -> Palette {
        Palette { editor: LineEditor::new(text), ..Palette::default() }
    }

    fn entered(text: &str) -> Typed<Action> {
        press(&mut typed(text), &mut Vec::new(), KeyCode::Enter)
    }

    fn names(text: &str) -> Vec<&'static str> {
        typed(text).matches(BINDINGS).into_iter().map(Binding::name).collect()
    }

    #[test]
    fn the_whole_name_comes_first_then_beginnings_then_letters() {
        assert_eq!(names("log"), ["log", "log-scale"]);
        assert_eq!(names("ste"), ["step", "ten-steps"]);
        assert_eq!(names("rd"), ["rate-down", "redraw", "grid"]);
        assert_eq!(names("").len(), BINDINGS.len());
        assert!(names("xyz").is_empty());
    }

    #[test]
    fn every_command_runs_by_its_name() {
        for binding in BINDINGS {
            assert_eq!(entered(binding.name()), Typed::Run(binding.action, String::new()));
        }
        assert_eq!(entered(" SAVE "), Typed::Run(Action::Save, String::new()));
    }

    #[test]
    fn what_follows_a_name_is_handed_on_where_something_may_follow() {
        assert_eq!(entered("step 12 "), Typed::Run(Action::Step, "12".into()));
        assert_eq!(entered("prompt Save the  day"), Typed::Run(Action::Prompt, "Save the  day".into()));
        assert_eq!(entered("save it"), Typed::Refused("nothing may follow save".into()));
    }

    #[test]
    fn what_is_no_command_names_the_nearest() {
        for (text, nearest) in [("qiut", "quit"), ("setp 3", "step"), ("zoom-inn", "zoom-in")] {
            let refused = format!("there is no such command; the nearest is {nearest}");
            assert_eq!(entered(text), Typed::Refused(refused), "{text}");
        }
        for text in ["foo", "qqq", "makecoffee"] {
            let refused = "there is no such command: an empty line lists all";
            assert_eq!(entered(text), Typed::Refused(refused.into()), "{text}: nothing is like it");
        }
    }

    #[test]
    fn tab_completes_and_keeps_what_follows() {
        for (text, completed) in
            [("the", "theme"), ("pro", "prompt "), ("ste 7", "step 7"), ("xyz", "xyz"), ("", "run")]
        {
            let mut palette = typed(text);
            assert_eq!(press(&mut palette, &mut Vec::new(), KeyCode::Tab), Typed::Line);
            assert_eq!(palette.editor.text(), completed);
        }
    }

    #[test]
    fn arrows_choose_and_typing_begins_anew() {
        let (mut palette, mut history) = (typed("zoom"), Vec::new());
        press(&mut palette, &mut history, KeyCode::Down);
        assert_eq!(palette.chosen(3), Some(1));
        let run = press(&mut palette, &mut history, KeyCode::Enter);
        assert_eq!(run, Typed::Run(Action::ZoomOut, String::new()));
        press(&mut palette, &mut history, KeyCode::Backspace);
        assert_eq!(palette.chosen(3), Some(0));
    }

    #[test]
    fn an_empty_line_runs_only_what_the_arrows_chose() {
        assert_eq!(entered("  "), Typed::Closed);
        let (mut palette, mut history) = (Palette::default(), Vec::new());
        press(&mut palette, &mut history, KeyCode::Down);
        let run = press(&mut palette, &mut history, KeyCode::Enter);
        assert_eq!(run, Typed::Run(Action::RunPause, String::new()));
    }

    #[test]
    fn the_history_is_gone_through_from_an_empty_line() {
        let mut history = Vec::new();
        for text in ["sav", "step 3", "step 3"] {
            press(&mut typed(text), &mut history, KeyCode::Enter);
        }
        assert_eq!(history, ["save", "step 3"]);
        let mut palette = Palette::default();
        let mut line = |code| {
            press(&mut palette, &mut history, code);
            palette.editor.text()
        };
        let keys = [KeyCode::Up, KeyCode::Up, KeyCode::Up, KeyCode::Down, KeyCode::Down];
        assert_eq!(keys.map(&mut line), ["step 3", "save", "save", "step 3", ""]);
    }
}
