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
        let wide = inner.width.saturating_sub(4).min(110);
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
        let name_width = name_width.clamp(8, 24) as u16;
        let longest = stages.iter().map(|stage| text::width(&detail(stage))).max().unwrap_or(0) as u16;
        // What is said of a stage is worth more than a long bar.
        let bar_width = wide.saturating_sub(name_width + 5 + longest).min(30).max(8.min(wide / 3));
        for (stage, row) in stages.iter().zip(stage_rows) {
            self.stage(stage, (name_width, bar_width), row, buffer);
        }
        for (line, row) in next.iter().zip(rows.skip(1)) {
            Line::styled(*line, palette.muted).render(row, buffer);
        }
    }
}

/// How far a stage is, and what is known of it.
fn detail(stage: &Stage) -> String {
    let detail = text::escape(&stage.detail);
    if stage.progress > 0.0 && stage.progress < 1.0 {
        format!("{:3.0} %  {detail}", 100.0 * stage.progress)
    } else {
        detail
    }
}

impl Preparing<'_> {
    /// A stage, its name and its bar in so many columns.
    fn stage(&self, stage: &Stage, (name_width, bar_width): (u16, u16), row: Rect, buffer: &mut Buffer) {
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
        let bar = Rect { x: row.x + name_width + 4, width: bar_width, ..row }.intersection(row);
        draw_bar(bar, progress, None, palette.history, self.theme, buffer);
        let rest = Rect { x: bar.right() + 1, width: row.right().saturating_sub(bar.right() + 1), ..row };
        let detail = text::shorten(&detail(stage), usize::from(rest.width));
        Line::styled(detail, palette.muted).render(rest, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::ColorDepth;

    #[test]
    fn a_long_detail_takes_the_room_of_the_bars() {
        let told = "org/name-of-a-model@main: model-00001-of-00002.safetensors, 1.2 of 4.8 GB";
        let stage = |detail: &str| Stage { name: "model".into(), detail: detail.into(), progress: 0.25 };
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let drawn = |width, detail: &str| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, 20));
            let stages = [stage(detail), stage("")];
            Preparing { stages: &stages, next: &[], theme: &theme }.render(buffer.area, &mut buffer);
            buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()
        };
        assert!(drawn(120, told).contains(told) && drawn(108, told).contains(told));
        assert!(drawn(80, told).contains(" 25 %  org/name-of-a-model@main"), "it is cut at its end alone");
        assert!(drawn(120, "").contains("25 %"));
        (0..40).for_each(|width| drop(drawn(width, told)));
    }
}
