//! TODO

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::app::App;
use crate::theme::Theme;

pub(super) struct Timeline<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Timeline<'_> {
    fn render(self, _area: Rect, _buffer: &mut Buffer) {}
}
