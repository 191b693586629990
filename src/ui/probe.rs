//! The view of single parameters: the list, the curve of one or the map of two, and what the model says there.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::app::App;
use crate::theme::Theme;

use super::picture;

/// Single parameters, turned by hand.
pub(super) struct Probe<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Probe<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let _ = self.app;
        picture::missing("no parameter yet", self.theme, area, buffer);
    }
}
