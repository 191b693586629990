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
    pub(super) theme: &'a Theme,
}

/// The screen above the page, and the page.
pub(super) fn split(screen: Rect, tour: Option<&Tour>) -> [Rect; 2] {
    let rows = match tour.filter(|tour| tour.shown) {
        Some(tour) => lines(tour, screen.width).len() as u16 + 2,
        None => 0,
    };
    Layout::vertical([Constraint::Min(0), Constraint::Length(rows)]).areas(screen)
}

fn lines(tour: &Tour, width: u16) -> Vec<String> {
    text::wrap(tour.beat().text, usize::from(width.saturating_sub(4).min(WIDTH)))
}

impl Widget for Page<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { tour, theme } = self;
        let palette = &theme.palette;
        let title = format!(" {} of {} · {} ", tour.number(), CHAPTERS.len(), tour.chapter().title);
        let on = if tour.is_at_the_end() { "the end" } else { "space goes on" };
        let keys = format!(" {on} · backspace goes back · t puts the tour away ");
        let block = Block::bordered()
            .border_type(theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(title, palette.title))
            .title_bottom(Line::styled(keys, palette.muted).right_aligned());
        let inner = block.inner(area);
        block.render(area, buffer);
        let indented = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        for (line, row) in lines(tour, area.width).into_iter().zip(indented.rows()) {
            Line::raw(line).render(row, buffer);
        }
    }
}
