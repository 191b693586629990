//! The editor of the prompt.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::LineEditor;
use crate::theme::Theme;

use super::{popup, text};

/// A line of text being typed.
pub(super) struct PromptEditor<'a> {
    pub(super) editor: &'a LineEditor,
    pub(super) theme: &'a Theme,
}

impl Widget for PromptEditor<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let place = popup(area, (area.width * 3 / 4).max(60), 4, buffer);
        let block = Block::bordered()
            .border_type(self.theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(" Prompt ", palette.title))
            .title_bottom(
                Line::styled(" enter predicts · esc cancels · ctrl-u clears ", palette.muted).right_aligned(),
            );
        let inner = block.inner(place);
        block.render(place, buffer);
        let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        let (before, under, after) = self.editor.parts();
        let under = under.map_or_else(|| " ".into(), |character| text::one_line(&character.to_string()));
        // The cursor stays in sight: what is far before it gives way.
        let room = usize::from(inner.width).saturating_sub(text::width(&under));
        let before = text::shorten_start(&text::one_line(&before), room);
        let room = room.saturating_sub(text::width(&before));
        let after = text::shorten(&text::one_line(&after), room);
        let line = Line::from(vec![Span::raw(before), Span::styled(under, palette.cursor), Span::raw(after)]);
        line.render(inner, buffer);
        let note = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        Line::styled("its last token is predicted from those before it", palette.muted).render(note, buffer);
    }
}
