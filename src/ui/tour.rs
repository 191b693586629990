//! What the tour tells, below the screen that it is about.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::tour::{CHAPTERS, Tour};
use crate::theme::Theme;

use super::text;

/// Columns of text at most: longer lines are hard to read.
const WIDTH: u16 = 100;

/// The page of the tour that is told.
pub(super) struct Page<'a> {
    pub(super) tour: &'a Tour,
    pub(super) text: &'a str,
    /// A key puts it away.
    pub(super) goes_away: bool,
    pub(super) theme: &'a Theme,
}

/// The screen above the page, and the page.
pub(super) fn split(screen: Rect, text: Option<&str>) -> [Rect; 2] {
    let rows = text.map_or(0, |text| lines(text, screen.width).len() as u16 + 2);
    Layout::vertical([Constraint::Min(0), Constraint::Length(rows)]).areas(screen)
}

fn lines(words: &str, width: u16) -> Vec<String> {
    text::wrap(words, usize::from(width.saturating_sub(4).min(WIDTH)))
}

impl Widget for Page<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { tour, text, goes_away, theme } = self;
        let palette = &theme.palette;
        let title = format!(" {} of {} · {} ", tour.number(), CHAPTERS.len(), tour.chapter().title);
        let on = if tour.is_at_the_end() { "the end" } else { "space goes on" };
        let away = if goes_away { " · t puts the tour away" } else { "" };
        let keys = format!(" {on} · backspace goes back{away} ");
        let block = Block::bordered()
            .border_type(theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(title, palette.title))
            .title_bottom(Line::styled(keys, palette.muted).right_aligned());
        let inner = block.inner(area);
        block.render(area, buffer);
        let indented = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        for (line, row) in lines(text, area.width).into_iter().zip(indented.rows()) {
            Line::raw(line).render(row, buffer);
        }
    }
}
