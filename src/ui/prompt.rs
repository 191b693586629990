//! Lines being typed: the editor of the prompt, and the last row of the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use crate::app::LineEditor;
use crate::theme::{Palette, Theme};

use super::{popup, text};

/// A line being typed in so many columns, its cursor in sight: what is far before it gives way.
fn typed(editor: &LineEditor, room: usize, palette: &Palette) -> Line<'static> {
    let (before, under, after) = editor.parts();
    let under = under.map_or_else(|| " ".into(), |character| text::one_line(&character.to_string()));
    let room = room.saturating_sub(text::width(&under));
    let before = text::shorten_start(&text::one_line(&before), room);
    let room = room.saturating_sub(text::width(&before));
    let after = text::shorten(&text::one_line(&after), room);
    Line::from(vec![Span::raw(before), Span::styled(under, palette.cursor), Span::raw(after)])
}

/// A line being typed in the last row of the screen, after a symbol and before what can be done with it.
pub(super) struct BottomLine<'a> {
    pub(super) symbol: &'static str,
    pub(super) editor: &'a LineEditor,
    pub(super) keys: &'static str,
    pub(super) theme: &'a Theme,
}

impl Widget for BottomLine<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let row = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
        Clear.render(row, buffer);
        buffer.set_style(row, palette.base.patch(palette.popup));
        let symbol = Span::styled(format!(" {}", self.symbol), palette.accent);
        let keys = Span::styled(format!("  {} ", self.keys), palette.muted);
        let room = usize::from(row.width).saturating_sub(symbol.width() + keys.width());
        let mut line = Line::from(symbol);
        line.extend(typed(self.editor, room, palette).spans);
        line.render(row, buffer);
        Line::from(keys).right_aligned().render(row, buffer);
    }
}

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
        typed(self.editor, usize::from(inner.width), palette).render(inner, buffer);
        let note = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        Line::styled("its last token is predicted from those before it", palette.muted).render(note, buffer);
    }
}
