//! The pane of the loss, and of the gradient norm where there is room below it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Pane};
use crate::theme::Theme;

use super::chart::{Chart, Series};
use super::panel::Panel;
use super::text;

/// Rows from which the gradient norm has a chart of its own.
const ROWS_WITH_NORM: u16 = 18;

/// Training and held-out loss over steps.
pub(super) struct Loss<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Loss<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let palette = &theme.palette;
        let status = app.engine.status.as_ref();
        let value = |value: Option<f64>| value.map_or_else(|| "-".into(), text::number);
        let train = value(status.and_then(|status| status.loss));
        let held_out = value(status.and_then(|status| status.held_out));
        let legend = |train_name: &'static str, gap: &'static str, held_out_name: &'static str| {
            Line::from(vec![
                Span::styled(train_name, palette.train),
                Span::styled(format!("{train}{gap}"), palette.train),
                Span::styled(format!("{held_out_name}{held_out}"), palette.held_out),
            ])
        };
        let right =
            vec![legend("train ", "  ", "held-out "), legend("", " ", "held-out "), legend("", " ", "")];
        let title = if app.view.log_loss { "Loss (log)" } else { "Loss" };
        let inner = Panel { theme, focused: app.view.focus == Pane::Loss, title, right }.draw(area, buffer);
        let points = app.engine.history.points();
        let train =
            Series { points: points.iter().map(|p| (p.step as f64, p.loss)).collect(), style: palette.train };
        let held_out = Series {
            points: points.iter().filter_map(|p| Some((p.step as f64, p.held_out?))).collect(),
            style: palette.held_out,
        };
        let norm_rows = if inner.height >= ROWS_WITH_NORM { inner.height * 2 / 5 } else { 0 };
        let [above, below] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(norm_rows)]).areas(inner);
        let marks = points.iter().filter(|p| p.spike).map(|p| (p.step as f64, p.loss)).collect();
        let series = vec![train, held_out];
        Chart { theme, series, marks, log: app.view.log_loss }.render(above, buffer);
        if norm_rows > 0 {
            let [name, chart] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(below);
            Line::styled("Gradient norm before clipping", palette.muted).render(name, buffer);
            let points = points.iter().map(|p| (p.step as f64, p.grad_norm)).collect();
            let series = vec![Series { points, style: palette.layer }];
            Chart { theme, series, marks: Vec::new(), log: app.view.log_loss }.render(chart, buffer);
        }
    }
}
