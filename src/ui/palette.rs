//! The command line: in the last row what is being typed, and above the status line the commands it may mean.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use crate::app::{Binding, Palette};
use crate::theme::Theme;

use super::prompt::BottomLine;
use super::{help, text};

/// A command that is being typed, and those it may mean.
pub(super) struct CommandLine<'a, A> {
    pub(super) typed: &'a Palette,
    pub(super) bindings: &'a [Binding<A>],
    pub(super) theme: &'a Theme,
}

/// Rows of the list at most.
const MOST_ROWS: usize = 12;

impl<A> Widget for CommandLine<'_, A> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { typed, bindings, theme } = self;
        let keys = "tab completes · enter runs · esc closes";
        BottomLine { symbol: ":", editor: &typed.editor, keys, theme }.render(area, buffer);
        let matches = typed.matches(bindings);
        let chosen = typed.chosen(matches.len());
        // The status line stays in sight: it says why a command is refused.
        let room = area.height.saturating_sub(2);
        let height = room.min(matches.len().clamp(1, MOST_ROWS) as u16 + 2);
        let columns = columns(bindings);
        let widest = bindings.iter().map(|binding| text::width(binding.help)).max().unwrap_or(0);
        let width = area.width.min((columns.iter().sum::<usize>() + widest + 3) as u16);
        let place = Rect { x: area.x, y: area.y + room - height, width, height };
        Clear.render(place, buffer);
        let palette = &theme.palette;
        let block = Block::bordered()
            .border_type(theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(" Commands ", palette.title))
            .title_bottom(
                Line::styled(format!(" {} of {} ", matches.len(), bindings.len()), palette.muted)
                    .right_aligned(),
            );
        let inner = block.inner(place);
        block.render(place, buffer);
        if matches.is_empty() {
            Line::styled(" no such command", palette.muted).render(inner, buffer);
        }
        let last = chosen.map_or(0, |chosen| chosen + 1);
        let first = last.saturating_sub(usize::from(inner.height));
        for ((index, binding), row) in matches.into_iter().enumerate().skip(first).zip(inner.rows()) {
            let line = entry(binding, columns, usize::from(row.width), theme);
            if chosen == Some(index) {
                buffer.set_style(row, palette.cursor);
                Line::raw(line.to_string()).render(row, buffer);
            } else {
                line.render(row, buffer);
            }
        }
    }
}

/// Columns of the commands and of their keys, each with a gap.
fn columns<A>(bindings: &[Binding<A>]) -> [usize; 2] {
    let widest = bindings.iter().map(|binding| text::width(binding.command)).max().unwrap_or(0);
    [widest + 2, help::key_columns(bindings)]
}

/// `prompt [TEXT]   p   edit the prompt; its last token is the target`.
fn entry<A>(
    binding: &Binding<A>,
    [command, keys]: [usize; 2],
    columns: usize,
    theme: &Theme,
) -> Line<'static> {
    let room = columns.saturating_sub(1 + command + keys);
    Line::from(vec![
        Span::raw(format!(" {:<command$}", binding.command)),
        Span::styled(help::keys(binding, keys), theme.palette.accent),
        Span::styled(text::shorten(binding.help, room), theme.palette.muted),
    ])
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use crate::app::{BINDINGS, Message};
    use crate::ui::fixture;
    use crate::ui::tests::{drawn, press, text_of, typed};

    #[test]
    fn the_command_line_lists_what_may_be_meant() {
        let mut app = fixture::app();
        press(&mut app, ':');
        let text = text_of(&drawn(&app, 80, 24));
        for part in [" Commands ", "step [N]", "take one step, then pause", "enter runs", "step 412"] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        typed(&mut app, "zoom");
        let text = text_of(&drawn(&app, 80, 24));
        assert!(text.contains(" :zoom ") && text.contains(" 3 of "), "{text}");
        assert!(text.contains("zoom-out") && !text.contains("new-plane"));
        typed(&mut app, "xyz");
        app.update(Message::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)));
        let text = text_of(&drawn(&app, 80, 24));
        assert!(text.contains(" no such command ") && text.contains(": an empty line lists all"), "{text}");
    }

    #[test]
    fn what_a_command_does_is_said_to_its_end_where_there_is_room() {
        for binding in BINDINGS {
            let mut app = fixture::app();
            press(&mut app, ':');
            typed(&mut app, binding.name());
            let text = text_of(&drawn(&app, 120, 40));
            assert!(text.contains(&format!("  {}", binding.help)), "{}:\n{text}", binding.help);
            assert!(text.contains(&format!(" {}  ", binding.command)), "{}:\n{text}", binding.command);
        }
    }

    #[test]
    fn the_chosen_command_is_in_sight_and_stands_out() {
        let mut app = fixture::app();
        press(&mut app, ':');
        for _ in 0..100 {
            app.update(Message::Key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE)));
        }
        let buffer = drawn(&app, 80, 24);
        let text = text_of(&buffer);
        let row =
            text.lines().position(|line| line.contains(" help ") && line.contains("these keys")).unwrap();
        let style = |row: usize| buffer[(2, row as u16)].style();
        assert_ne!(style(row), style(row - 1));
    }
}
