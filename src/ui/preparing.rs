//! What is on the screen before the first picture: the stages of the preparation, and what comes after them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::protocol::Stage;
use crate::theme::Theme;

use super::bars::draw_bar;
use super::text;

/// The stages with their progress.
pub(super) struct Preparing<'a> {
    pub(super) stages: &'a [Stage],
    /// What a newcomer is about to see.
    pub(super) next: &'a [&'a str],
    pub(super) theme: &'a Theme,
}

impl Widget for Preparing<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { stages, next, theme } = self;
        let palette = &theme.palette;
        let block = Block::bordered()
            .border_type(theme.border)
            .border_style(palette.border)
            .title(Span::styled(" Getting ready ", palette.title));
        let inner = block.inner(area);
        block.render(area, buffer);
        let wide = inner.width.saturating_sub(4).min(88);
        let dense = usize::from(inner.height) < 2 * stages.len() + 2 + next.len();
        let spacing = if dense { 1 } else { 2 };
        let height = (spacing * stages.len().max(1) + 2 + next.len()) as u16;
        let place = Rect {
            x: inner.x + (inner.width - wide) / 2,
            y: inner.y + inner.height.saturating_sub(height) / 2,
            width: wide,
            height: height.min(inner.height),
        };
        let mut rows = place.rows();
        if stages.is_empty()
            && let Some(row) = rows.next()
        {
            Line::styled("starting the engine ..", palette.warn).render(row, buffer);
        }
        let name_width =
            stages.iter().map(|stage| text::width(&text::escape(&stage.name))).max().unwrap_or(0);
        let stage_rows: Vec<Rect> = rows.by_ref().take(spacing * stages.len()).step_by(spacing).collect();
        for (stage, row) in stages.iter().zip(stage_rows) {
            self.stage(stage, name_width.clamp(8, 24) as u16, row, buffer);
        }
        for (line, row) in next.iter().zip(rows.skip(1)) {
            Line::styled(*line, palette.muted).render(row, buffer);
        }
    }
}

impl Preparing<'_> {
    fn stage(&self, stage: &Stage, name_width: u16, row: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let progress = f64::from(stage.progress).clamp(0.0, 1.0);
        let (mark, style) = match progress {
            p if p >= 1.0 => ("✓", palette.good),
            p if p > 0.0 => (self.theme.symbols.target.as_str(), palette.accent),
            _ => ("·", palette.muted),
        };
        let name = text::shorten(&text::escape(&stage.name), usize::from(name_width));
        let name_style = if progress > 0.0 { Style::new() } else { palette.muted };
        let line = Line::from(vec![Span::styled(format!("{mark} "), style), Span::styled(name, name_style)]);
        line.render(row, buffer);
        let bar_width = (row.width / 3).min(30);
        let bar = Rect { x: row.x + name_width + 4, width: bar_width, ..row }.intersection(row);
        draw_bar(bar, progress, None, palette.history, self.theme, buffer);
        let rest = Rect { x: bar.right() + 1, width: row.right().saturating_sub(bar.right() + 1), ..row };
        let percent = if progress > 0.0 && progress < 1.0 {
            format!("{:3.0} %  ", 100.0 * progress)
        } else {
            String::new()
        };
        let detail = format!("{percent}{}", text::escape(&stage.detail));
        Line::styled(text::shorten(&detail, usize::from(rest.width)), palette.muted).render(rest, buffer);
    }
}
