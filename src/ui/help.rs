//! The help: the table of keys, chapter by chapter.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::{Binding, Group};
use crate::theme::Theme;

use super::{popup, text};

/// All keys and what they do.
pub(super) struct Help<'a, A> {
    pub(super) bindings: &'a [Binding<A>],
    /// What keys do as the screen is now; those that do nothing are left out.
    pub(super) told: &'a dyn Fn(&Binding<A>) -> Option<&'static str>,
    /// What is on the screen, and what to look for.
    pub(super) about: [&'static str; 2],
    /// Lines above the first one, at most.
    pub(super) scroll: usize,
    pub(super) theme: &'a Theme,
}

/// Columns that the keys of a command take at most.
const MOST_COLUMNS: usize = 24;

/// Columns for the keys of each command, and for a gap beside them.
pub(super) fn key_columns<A>(bindings: &[Binding<A>]) -> usize {
    let widest = bindings.iter().map(|binding| text::width(&binding.key_names())).max().unwrap_or(0);
    widest.min(MOST_COLUMNS) + 2
}

/// The keys of a command in so many columns, a gap at their end.
pub(super) fn keys<A>(binding: &Binding<A>, columns: usize) -> String {
    // Without a key it is typed.
    let names = match binding.key_names() {
        names if names.is_empty() => format!(":{}", binding.name()),
        names => names,
    };
    let names = text::shorten(&names, columns.saturating_sub(2));
    let gap = columns.saturating_sub(text::width(&names));
    names + &" ".repeat(gap)
}

impl<A> Help<'_, A> {
    fn lines(&self) -> Vec<Line<'static>> {
        let palette = &self.theme.palette;
        let columns = key_columns(self.bindings);
        let mut lines: Vec<Line> = self.about.map(|line| Line::styled(line, palette.muted)).to_vec();
        for group in Group::ALL {
            let of_group = self.bindings.iter().filter(|binding| binding.group == group);
            let mut told = of_group.filter_map(|binding| Some((binding, (self.told)(binding)?))).peekable();
            if told.peek().is_none() {
                continue;
            }
            lines.push(Line::default());
            lines.push(Line::styled(group.title(), palette.title));
            for (binding, help) in told {
                lines.push(Line::from(vec![
                    Span::styled(format!("  {}", keys(binding, columns)), palette.accent),
                    Span::raw(help),
                ]));
            }
        }
        lines
    }
}

impl<A> Widget for Help<'_, A> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let lines = self.lines();
        let wide = lines.iter().map(Line::width).max().unwrap_or(0) as u16 + 6;
        let place = popup(area, wide, (lines.len() as u16 + 2).min(area.height.saturating_sub(2)), buffer);
        let palette = &self.theme.palette;
        let rows = usize::from(place.height.saturating_sub(2));
        let first = self.scroll.min(lines.len().saturating_sub(rows));
        let below = lines.len() - (first + rows).min(lines.len());
        let foot = match (first, below) {
            (0, 0) => " esc closes ".to_string(),
            (_, 0) => format!(" ↑ {first} more · esc closes "),
            _ => format!(" ↓ {below} more · esc closes "),
        };
        let block = Block::bordered()
            .border_type(self.theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(" Keys ", palette.title))
            .title_bottom(Line::styled(foot, palette.muted).right_aligned());
        let inner = block.inner(place);
        block.render(place, buffer);
        for (mut line, row) in lines.into_iter().skip(first).zip(inner.rows()) {
            let row = Rect { x: row.x + 2, width: row.width.saturating_sub(2), ..row };
            if let [keys, help] = line.spans.as_mut_slice() {
                let room = usize::from(row.width).saturating_sub(keys.width());
                help.content = text::shorten(&help.content, room).into();
            }
            line.render(row, buffer);
        }
    }
}
