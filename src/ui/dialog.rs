//! The question how to leave.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::{App, Link};
use crate::protocol::Phase;
use crate::theme::Theme;

use super::popup;

/// Leave it training, save and stop, or stay.
pub(super) struct LeaveDialog<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for LeaveDialog<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let paused = self.app.engine.status.as_ref().is_some_and(|status| status.phase == Phase::Paused);
        let detach = if paused { "leave it paused" } else { "leave it training" };
        let detach = format!("{detach}; `llamascape attach` comes back");
        let mut choices = vec![("d enter", detach.as_str())];
        if self.app.link != Link::Stopping {
            choices.push(("s", "save a checkpoint and stop"));
        }
        choices.push(("esc", "cancel"));
        let place = popup(area, 66, choices.len() as u16 + 4, buffer);
        let block = Block::bordered()
            .border_type(self.theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(" Leave ", palette.title))
            .title_bottom(
                Line::styled(" ctrl-c leaves at once; the engine goes on ", palette.muted).right_aligned(),
            );
        let inner = block.inner(place);
        block.render(place, buffer);
        for ((key, what), row) in choices.into_iter().zip(inner.rows().skip(1)) {
            let line =
                Line::from(vec![Span::styled(format!("  {key:<10}"), palette.accent), Span::raw(what)]);
            line.render(row, buffer);
        }
    }
}
