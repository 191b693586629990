//! Notes over the lower right corner of the panes, above the status line: the titles and what is read from the top
//! stay in sight.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use crate::app;
use crate::protocol::LogLevel;
use crate::theme::Theme;

use super::text;

/// One row a note, in a frame.
pub(super) struct Toasts<'a> {
    pub(super) toasts: &'a app::Toasts,
    pub(super) theme: &'a Theme,
}

impl Widget for Toasts<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { toasts, theme } = self;
        let palette = &theme.palette;
        let room = usize::from(area.width.saturating_sub(8));
        let lines: Vec<Line> = toasts
            .lines()
            .map(|line| {
                let (sign, style) = match line.level {
                    LogLevel::Error => ("✗ ", palette.bad),
                    LogLevel::Warn => ("! ", palette.warn),
                    _ => ("✓ ", palette.good),
                };
                let message = text::shorten(&text::escape(&line.message), room);
                Line::from(vec![Span::styled(sign, style), Span::raw(message)])
            })
            .collect();
        let Some(width) = lines.iter().map(Line::width).max() else { return };
        let (width, height) = (width as u16 + 4, lines.len() as u16 + 2);
        if area.width < width || area.height < height {
            return;
        }
        let place = Rect { x: area.right() - width, y: area.bottom() - height, width, height };
        Clear.render(place, buffer);
        let block = Block::bordered()
            .border_type(theme.border)
            .border_style(palette.border)
            .style(palette.base.patch(palette.popup));
        let inner = block.inner(place);
        block.render(place, buffer);
        let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        for (line, row) in lines.into_iter().zip(inner.rows()) {
            line.render(row, buffer);
        }
    }
}
