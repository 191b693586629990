//! The frame around a pane.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::theme::Theme;

use super::text;

/// A border with a title on the left and, where both fit, something on the right.
pub(super) struct Panel<'a> {
    pub(super) theme: &'a Theme,
    /// The keys mean what is inside.
    pub(super) focused: bool,
    pub(super) title: &'a str,
    /// From the most to the least telling; the first that fits is shown.
    pub(super) right: Vec<Line<'a>>,
}

impl Panel<'_> {
    /// Draws the frame; what is left inside comes back.
    pub(super) fn draw(self, area: Rect, buffer: &mut Buffer) -> Rect {
        let Self { theme, focused, title, right } = self;
        let palette = &theme.palette;
        let border = if focused { palette.focus } else { palette.border };
        let mut block = Block::bordered().border_type(theme.border).border_style(border);
        let room = usize::from(area.width).saturating_sub(4);
        let title = text::shorten(title, room.saturating_sub(2));
        let left = room.saturating_sub(text::width(&title) + 4);
        if !title.is_empty() {
            // Titles lie on the border and would take over its weight.
            let style = palette.title.remove_modifier(Modifier::DIM);
            block = block.title(Span::styled(format!(" {title} "), style));
        }
        if let Some(line) = right.into_iter().find(|line| line.width() > 0 && line.width() <= left) {
            let muted = palette.muted.remove_modifier(Modifier::BOLD);
            let mut spans = vec![Span::raw(" ")];
            spans.extend(
                line.spans
                    .into_iter()
                    .map(|span| Span::styled(span.content, muted.patch(line.style).patch(span.style))),
            );
            spans.push(Span::raw(" "));
            block = block.title(Line::from(spans).right_aligned());
        }
        block.render(area, buffer);
        inside(area)
    }
}

/// What is left of an area inside the frame.
pub(super) fn inside(area: Rect) -> Rect {
    let inner = Block::bordered().inner(area);
    // A column of air on each side, where there is room for it.
    let air = u16::from(inner.width > 8);
    Rect { x: inner.x + air, width: inner.width - 2 * air, ..inner }
}
