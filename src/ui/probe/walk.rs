//! How far tuning two parameters by turns gets, place by place, beside steps that turn all of them.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::protocol::probe::{Visit, Walk};
use crate::ui::chart;
use crate::ui::panel::Panel;
use crate::ui::series::Series;
use crate::ui::text;

use super::Shown;

/// Rows from which the losses have a chart.
const ROWS_WITH_CHART: u16 = 12;

/// Columns of a number.
const NUMBER: u16 = 8;

impl Shown<'_> {
    pub(super) fn walk(&self, area: Rect, buffer: &mut Buffer) {
        let Some(walk) = &self.scene.walk else { return };
        let theme = self.theme;
        let right = vec![Line::raw("each at its best"), Line::raw("loss")];
        let inner = Panel { theme, focused: false, title: "Tuned by turns", right }.draw(area, buffer);
        let chart = if inner.height >= ROWS_WITH_CHART { inner.height / 2 } else { 0 };
        let [table, chart] = Layout::vertical([Constraint::Min(0), Constraint::Length(chart)]).areas(inner);
        self.table(walk, table, buffer);
        if chart.height > 0 {
            self.losses(walk, chart, buffer);
        }
    }

    /// A row a visit: the round, which was tuned, its best value, the loss.
    fn table(&self, walk: &Walk, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let hidden = walk.visits.len().saturating_sub(usize::from(area.height));
        for ((number, visit), row) in walk.visits.iter().enumerate().zip(area.rows()) {
            let [name, value, loss] = Layout::horizontal([
                Constraint::Min(0),
                Constraint::Length(NUMBER),
                Constraint::Length(NUMBER),
            ])
            .areas(row);
            Line::raw(text::number(visit.loss)).right_aligned().render(loss, buffer);
            if row.y + 1 == area.bottom() && hidden > 0 && number > 0 {
                let left = walk.visits.len() - number;
                Line::styled(format!("and {left} more"), palette.muted).render(row, buffer);
                if let Some(last) = walk.visits.last() {
                    Line::raw(text::number(last.loss)).right_aligned().render(loss, buffer);
                }
                return;
            }
            let Some(which) = number.checked_sub(1).map(|tuned| tuned % 2) else {
                Line::styled("as they are", palette.muted).render(name, buffer);
                continue;
            };
            let round = Span::styled(format!("{:<3}", number.div_ceil(2)), palette.muted);
            let tuned = Span::styled(format!("best of {}", which + 1), palette.accent);
            Line::from(vec![round, tuned]).render(name, buffer);
            let start = self.chosen.get(which).map_or(0.0, |parameter| parameter.value);
            Line::raw(text::number(start + visit.moves[which])).right_aligned().render(value, buffer);
        }
    }

    /// The losses by turns and by steps of all, over rounds and steps.
    fn losses(&self, walk: &Walk, area: Rect, buffer: &mut Buffer) {
        let theme = self.theme;
        let palette = &theme.palette;
        let [names, plot] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        let legend = [
            Span::styled("two by turns", palette.train),
            Span::raw("  "),
            Span::styled(chart::further("all at once", theme), palette.held_out),
        ];
        Line::from(legend.to_vec()).render(names, buffer);
        let losses = |visits: &[Visit], each: f64| {
            visits.iter().enumerate().map(|(i, visit)| (i as f64 * each, visit.loss)).collect()
        };
        // A round tunes both.
        let series = vec![
            Series::new(losses(&walk.visits, 0.5), |palette| palette.train),
            Series::new(losses(&walk.descent, 1.0), |palette| palette.held_out),
        ];
        chart::whole(series, false, None, theme, plot, buffer);
    }
}
