//! Lines being typed: the editors of the prompt and of the name of a file, and the last row of the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Widget};

use crate::app::{ExportFormat, LineEditor};
use crate::protocol::comparison::Side;
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

/// A text being typed, whose last token is the target.
pub(super) struct PromptEditor<'a> {
    pub(super) editor: &'a LineEditor,
    pub(super) theme: &'a Theme,
}

impl Widget for PromptEditor<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { editor, theme } = self;
        let note = Line::styled("its last token is predicted from those before it", theme.palette.muted);
        let keys = "enter predicts · esc cancels · ctrl-u clears";
        Editor { title: "Prompt", line: editor, note, keys, theme }.render(area, buffer);
    }
}

/// The name of a file being typed, and what will be written to it.
pub(super) struct ExportEditor<'a> {
    pub(super) editor: &'a LineEditor,
    /// The model whose slice it may be, where there are two.
    pub(super) side: Option<Side>,
    /// A table is that of the layers.
    pub(super) is_of_layers: bool,
    pub(super) theme: &'a Theme,
}

impl Widget for ExportEditor<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { editor, side, is_of_layers, theme } = self;
        let palette = &theme.palette;
        let note = match (ExportFormat::of(&editor.text()), side) {
            (Some(ExportFormat::Csv), _) if is_of_layers => {
                Line::styled("the norms as lines of step, tensor, gradient, weight, update", palette.muted)
            }
            (None, _) => Line::styled(ExportFormat::KNOWN, palette.warn),
            (Some(format), Some(side)) if !format.is_of_screen() => {
                Line::styled(format!("{}: that of {}", format.content(), side.name()), palette.muted)
            }
            (Some(format), _) => Line::styled(format.content(), palette.muted),
        };
        let keys = "enter writes · tab changes the format · esc cancels";
        Editor { title: "Export", line: editor, note, keys, theme }.render(area, buffer);
    }
}

/// A frame with a line being typed, what becomes of it, and what can be done with it.
struct Editor<'a> {
    title: &'static str,
    line: &'a LineEditor,
    note: Line<'static>,
    keys: &'static str,
    theme: &'a Theme,
}

impl Widget for Editor<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let place = popup(area, (area.width * 3 / 4).max(60), 4, buffer);
        let block = Block::bordered()
            .border_type(self.theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(format!(" {} ", self.title), palette.title))
            .title_bottom(Line::styled(format!(" {} ", self.keys), palette.muted).right_aligned());
        let inner = block.inner(place);
        block.render(place, buffer);
        let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
        typed(self.line, usize::from(inner.width), palette).render(inner, buffer);
        let note = Rect { y: inner.y + 1, height: inner.height.saturating_sub(1), ..inner };
        self.note.render(note, buffer);
    }
}
