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

/// Columns of the list at most, and rows of its commands.
const LARGEST: (u16, usize) = (100, 12);

impl<A> Widget for CommandLine<'_, A> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { typed, bindings, theme } = self;
        let keys = "tab completes · enter runs · esc closes";
        BottomLine { symbol: ":", editor: &typed.editor, keys, theme }.render(area, buffer);
        let matches = typed.matches(bindings);
        let chosen = typed.chosen(matches.len());
        // The status line stays in sight: it says why a command is refused.
        let room = area.height.saturating_sub(2);
        let height = room.min(matches.len().clamp(1, LARGEST.1) as u16 + 2);
        let width = area.width.min(LARGEST.0);
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
        let columns = help::key_columns(bindings);
        let last = chosen.map_or(0, |chosen| chosen + 1);
        let first = last.saturating_sub(usize::from(inner.height));
        for ((index, binding), row) in matches.into_iter().enumerate().skip(first).zip(inner.rows()) {
            let keys = help::keys(binding, columns);
            let line = entry(binding, keys, usize::from(row.width), theme);
            if chosen == Some(index) {
                buffer.set_style(row, palette.cursor);
                Line::raw(line.to_string()).render(row, buffer);
            } else {
                line.render(row, buffer);
            }
        }
    }
}

/// `prompt [TEXT]   p   edit the prompt; its last token is the target`.
fn entry<A>(binding: &Binding<A>, keys: String, columns: usize, theme: &Theme) -> Line<'static> {
    let command = format!(" {:<15}", binding.command);
    let room = columns.saturating_sub(command.len() + text::width(&keys));
    Line::from(vec![
        Span::raw(command),
        Span::styled(keys, theme.palette.accent),
        Span::styled(text::shorten(binding.help, room), theme.palette.muted),
    ])
}
