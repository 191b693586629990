//! The picture of the list that a bare `llamascape` opens while runs are being trained.

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::start::{Row, Start};
use crate::theme::Theme;

use super::{is_too_small, popup, text, too_small};

/// Headings of the columns; numbers stand right in theirs.
const HEADINGS: [&str; 6] = ["name", "state", "step", "loss", "model", "age"];
const TO_THE_RIGHT: [bool; 6] = [false, false, true, true, false, true];
/// Columns that all but a name and a model take; what is left is shared by these.
const BESIDE: u16 = 42;

/// The keys and what they do.
const KEYS: [(&str, &str); 8] = [
    ("↑ ↓  j k", "move the cursor"),
    ("enter", "come back to the run under the cursor, or train a new one"),
    ("1-9", "come back to the run of this number"),
    ("n", "train a new one"),
    ("ctrl-l", "draw the whole screen again"),
    ("ctrl-z", "give the terminal back to the shell; `fg` there comes back"),
    ("q  ctrl-c", "leave; the runs go on"),
    ("?", "these keys"),
];

/// Draws everything.
pub fn view(start: &Start, theme: &Theme, frame: &mut Frame) {
    Screen { start, theme }.render(frame.area(), frame.buffer_mut());
}

struct Screen<'a> {
    start: &'a Start,
    theme: &'a Theme,
}

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        Block::new().style(palette.base).render(area, buffer);
        if is_too_small(area) {
            too_small(area, buffer);
            return;
        }
        let bands = [Constraint::Length(1), Constraint::Min(0), Constraint::Length(1)];
        let [top, middle, bottom] = Layout::vertical(bands).areas(area);
        Line::styled(" llamascape", palette.accent).render(top, buffer);
        let block = Block::bordered()
            .border_type(self.theme.border)
            .border_style(palette.focus)
            .title(Span::styled(" Runs ", palette.title));
        let inner = block.inner(middle);
        block.render(middle, buffer);
        let bands = [Constraint::Length(3), Constraint::Length(1), Constraint::Min(0)];
        let [about, headings, entries] = Layout::vertical(bands).areas(inner);
        let about = Rect { x: about.x + 2, y: about.y + 1, width: about.width - 2, height: 1 };
        Line::raw(headline(self.start.rows().len())).render(about, buffer);
        self.list(headings, entries, buffer);
        self.keys(bottom, buffer);
        if self.start.helps() {
            self.help(area, buffer);
        }
    }
}

/// What this is.
fn headline(runs: usize) -> String {
    match runs {
        0 => "No run is being trained any more. n trains a new one.".to_owned(),
        1 => "1 run is being trained. Enter comes back to it, n trains a new one.".to_owned(),
        runs => format!("{runs} runs are being trained. Enter comes back to one, n trains a new one."),
    }
}

impl Screen<'_> {
    fn list(&self, headings: Rect, entries: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let widest = usize::from(entries.width.saturating_sub(BESIDE)) / 2;
        let rows: Vec<[String; 6]> = self.start.rows().iter().map(|row| cells(row, widest)).collect();
        let widths: [usize; 6] = std::array::from_fn(|column| {
            let widest = rows.iter().map(|row| text::width(&row[column])).max().unwrap_or(0);
            widest.max(HEADINGS[column].len())
        });
        if !rows.is_empty() {
            let line = line("", &HEADINGS.map(str::to_owned), widths);
            Line::styled(line, palette.muted).render(headings, buffer);
        }
        let chosen = self.start.chosen();
        // The entry under the cursor is in sight.
        let first = (chosen + 1).saturating_sub(usize::from(entries.height));
        let runs = rows.iter().enumerate().map(|(place, row)| line(&key(place), row, widths));
        let lines = runs.chain([format!("{}a new run", before("n"))]);
        for ((place, line), row) in lines.enumerate().skip(first).zip(entries.rows()) {
            if place == chosen {
                buffer.set_style(row, palette.cursor);
            }
            Line::raw(line).render(row, buffer);
        }
    }

    /// All keys and what they do.
    fn help(&self, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let place = popup(area, 76, KEYS.len() as u16 + 2, buffer);
        let block = Block::bordered()
            .border_type(self.theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(" Keys ", palette.title))
            .title_bottom(Line::styled(" esc closes ", palette.muted).right_aligned());
        let inner = block.inner(place);
        block.render(place, buffer);
        for ((keys, what), row) in KEYS.into_iter().zip(inner.rows()) {
            Line::from(vec![Span::styled(format!("  {keys:10}"), palette.accent), Span::raw(what)])
                .render(row, buffer);
        }
    }

    fn keys(&self, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let hint = |key: &'static str, what: &'static str| {
            [Span::styled(key, palette.accent), Span::styled(what, palette.muted)]
        };
        let mut left = Line::raw(" ");
        for (key, what) in [("↑ ↓", " move  "), ("enter", " open  "), ("1-9", " open  "), ("n", " new run")]
        {
            left.extend(hint(key, what));
        }
        left.render(area, buffer);
        let place = Rect { width: area.width.saturating_sub(1), ..area };
        let right = [hint("?", " help  "), hint("q", " leave")].concat();
        Line::from(right).right_aligned().render(place, buffer);
    }
}

/// The key that opens a run, where it has one.
fn key(place: usize) -> String {
    if place < 9 { (place + 1).to_string() } else { String::new() }
}

/// What stands before an entry.
fn before(key: &str) -> String {
    format!("  {key:1}  ")
}

/// What is known of a run, its name and its model in so many columns.
fn cells(row: &Row, widest: usize) -> [String; 6] {
    let unknown = || "-".to_owned();
    [
        text::shorten(&text::escape(&row.name), widest),
        if row.is_paused { "paused" } else { "running" }.to_owned(),
        row.step.to_string(),
        row.loss.map_or_else(unknown, text::number),
        text::shorten(&text::escape(&row.model), widest),
        row.age.map_or_else(unknown, text::span),
    ]
}

/// A key and the cells of a row, in columns of these widths.
fn line(key: &str, cells: &[String; 6], widths: [usize; 6]) -> String {
    let cells = cells.iter().zip(widths).zip(TO_THE_RIGHT).map(|((cell, width), to_the_right)| {
        let space = " ".repeat(width.saturating_sub(text::width(cell)));
        if to_the_right { format!("{space}{cell}") } else { format!("{cell}{space}") }
    });
    before(key) + &cells.collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use ratatui::style::Modifier;

    use super::*;
    use crate::theme::ColorDepth;

    fn row(name: &str, step: u64, is_paused: bool) -> Row {
        Row {
            folder: PathBuf::from(format!("/runs/{name}-{step}")),
            name: name.to_owned(),
            is_paused,
            step,
            loss: Some(2.1131),
            model: "nano 1.0M".to_owned(),
            age: Some(step),
        }
    }

    fn drawn(start: &Start, width: u16, height: u16) -> Buffer {
        let theme = Theme::named("mono", ColorDepth::None).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        Screen { start, theme: &theme }.render(buffer.area, &mut buffer);
        buffer
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let symbol = |x: u16, y: u16| buffer[(x, y)].symbol();
        let row = |y| (0..buffer.area.width).map(|x| symbol(x, y)).collect::<String>();
        (0..buffer.area.height).map(|y| row(y).trim_end_matches([' ', '│']).to_owned()).collect()
    }

    /// The row that is drawn as the one under the cursor.
    fn under_cursor(buffer: &Buffer) -> Option<usize> {
        let is_reversed = |y: &u16| buffer[(5, *y)].modifier.contains(Modifier::REVERSED);
        (0..buffer.area.height).find(is_reversed).map(usize::from)
    }

    #[test]
    fn the_smallest_screen_says_what_it_is_and_lists_the_runs_and_a_new_one() {
        let start = Start::new(vec![row("tidy-otter", 412, false), row("\u{1b}[2J", 7200, true)]);
        let buffer = drawn(&start, 80, 24);
        let picture = lines(&buffer);
        assert_eq!(picture[0], " llamascape");
        assert!(picture[1].starts_with("┌ Runs ───"), "{}", picture[1]);
        assert_eq!(
            picture[2..9],
            [
                "",
                "│  2 runs are being trained. Enter comes back to one, n trains a new one.",
                "",
                "│     name        state    step   loss  model        age",
                "│  1  tidy-otter  running   412  2.113  nano 1.0M  6 min",
                "│  2  <0x1B>[2J   paused   7200  2.113  nano 1.0M    2 h",
                "│  n  a new run",
            ]
        );
        assert!(picture[23].starts_with(" ↑ ↓ move  enter open  1-9 open  n new run"), "{}", picture[23]);
        assert!(picture[23].ends_with("? help  q leave"), "{}", picture[23]);
        assert_eq!(under_cursor(&buffer), Some(6));
    }

    #[test]
    fn the_entry_under_the_cursor_is_in_sight_however_many_there_are() {
        let mut start = Start::new((0..40).map(|step| row("many", step, false)).collect());
        assert!(lines(&drawn(&start, 80, 24))[3].contains("40 runs are being trained"));
        for _ in 0..40 {
            start.press(KeyEvent::new(KeyCode::Char('j'), KeyModifiers::NONE));
        }
        let buffer = drawn(&start, 80, 24);
        let picture = lines(&buffer);
        let place = under_cursor(&buffer).unwrap();
        assert_eq!(picture[place], "│  n  a new run");
        assert!(picture[place - 1].starts_with("│     many  running    39"), "{}", picture[place - 1]);
    }

    #[test]
    fn a_question_mark_shows_all_keys() {
        let mut start = Start::new(vec![row("tidy-otter", 412, false)]);
        start.press(KeyEvent::new(KeyCode::Char('?'), KeyModifiers::NONE));
        let text = lines(&drawn(&start, 80, 24)).join("\n");
        for (keys, what) in KEYS {
            assert!(text.contains(keys) && text.contains(what), "{keys}: {text}");
        }
    }

    #[test]
    fn without_a_run_a_new_one_is_left() {
        let picture = lines(&drawn(&Start::default(), 80, 24));
        assert_eq!(picture[3], "│  No run is being trained any more. n trains a new one.");
        assert_eq!(picture[5..7], ["", "│  n  a new run"]);
    }

    #[test]
    fn a_screen_that_is_too_small_says_so_and_no_size_makes_it_panic() {
        let start = Start::new(vec![row(&"long".repeat(20), u64::MAX, true)]);
        assert!(lines(&drawn(&start, 79, 24)).concat().contains("terminal is 79x24; llamascape needs 80x24"));
        for (width, height) in [(0, 0), (1, 1), (3, 50), (130, 1), (80, 24), (200, 60)] {
            drawn(&start, width, height);
        }
    }
}
