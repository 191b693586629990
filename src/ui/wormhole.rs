//! The view of the wormhole: the plane that stays, the plane that travels, and how far the weights have moved.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::app::App;
use crate::theme::Theme;

use super::picture;

/// Weights that are trained off a plateau.
pub(super) struct Wormhole<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Wormhole<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let _ = self.app;
        picture::missing("no plane yet", self.theme, area, buffer);
    }
}
