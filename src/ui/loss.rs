//! The pane of the loss, and of the gradient norm where there is room below it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Pane};
use crate::protocol::Point;
use crate::theme::Theme;

use super::axis::Range;
use super::chart::{self, Chart, Series};
use super::panel::{self, Panel};
use super::text;

/// Rows from which the gradient norm has a chart of its own.
const ROWS_WITH_NORM: u16 = 18;

/// Rows from which the numbers of a step may take more than one.
const ROWS_FOR_READING: u16 = 9;

/// Training and held-out loss over steps.
pub(super) struct Loss<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// Rows of the gradient norm in a pane of so many.
fn norm_rows(height: u16) -> u16 {
    if height >= ROWS_WITH_NORM { height * 2 / 5 } else { 0 }
}

/// The columns of the steps on the chart in the pane of this area, and all its rows; `None` where there is no chart.
pub(super) fn plot(app: &App, area: Rect) -> Option<Rect> {
    let (inner, log) = (panel::inside(area), app.view.log_loss);
    let losses = app.engine.history.points().iter().flat_map(|point| [Some(point.loss), point.held_out]);
    let values = Range::of(losses.flatten().map(|loss| if log { loss.ln() } else { loss }))?;
    let chart = Rect { height: inner.height - norm_rows(inner.height), ..inner };
    let plot = chart::plot(values, log, chart)?;
    Some(Rect { y: inner.y, height: inner.height, ..plot })
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
        let reading = app.view.reading(&app.engine.history).map(|index| &points[..=index]);
        let read = reading.map_or_else(Vec::new, |until| self.reading(until, inner));
        let [charts, below] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(read.len() as u16)]).areas(inner);
        for (line, row) in read.into_iter().zip(below.rows()) {
            line.render(row, buffer);
        }
        let cursor = reading.and_then(|until| until.last()).map(|point| point.step as f64);
        let train =
            Series { points: points.iter().map(|p| (p.step as f64, p.loss)).collect(), style: palette.train };
        let held_out = Series {
            points: points.iter().filter_map(|p| Some((p.step as f64, p.held_out?))).collect(),
            style: palette.held_out,
        };
        let norm_rows = norm_rows(inner.height);
        let [above, below] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(norm_rows)]).areas(charts);
        let marks = points.iter().filter(|p| p.spike).map(|p| (p.step as f64, p.loss)).collect();
        let (series, log) = (vec![train, held_out], app.view.log_loss);
        Chart { theme, series, marks, log, cursor }.render(above, buffer);
        if norm_rows > 0 {
            let [name, chart] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(below);
            Line::styled("Gradient norm before clipping", palette.muted).render(name, buffer);
            let points = points.iter().map(|p| (p.step as f64, p.grad_norm)).collect();
            let series = vec![Series { points, style: palette.layer }];
            Chart { theme, series, marks: Vec::new(), log, cursor }.render(chart, buffer);
        }
    }
}

impl Loss<'_> {
    /// What was recorded of the last of these steps, in as many rows and words as there is room for.
    fn reading(&self, until: &[Point], inner: Rect) -> Vec<Line<'static>> {
        let rows = if inner.height >= ROWS_FOR_READING { 3 } else { usize::from(inner.height >= 4) };
        let columns = usize::from(inner.width);
        let full = self.lines(self.parts(until, false), columns);
        let mut lines = if full.len() <= rows { full } else { self.lines(self.parts(until, true), columns) };
        lines.truncate(rows);
        lines
    }

    /// The numbers of the last of these steps. The held-out loss may be that of an earlier one, and says so.
    fn parts(&self, until: &[Point], short: bool) -> Vec<Span<'static>> {
        let Some(point) = until.last() else { return Vec::new() };
        let palette = &self.theme.palette;
        let name = |name: &'static str| if short { "" } else { name };
        let measured = until.iter().rev().find_map(|earlier| Some((earlier.step, earlier.held_out?)));
        let held_out = measured.and_then(|(step, loss)| {
            let text = format!("{}{}", name("held-out "), text::number(loss));
            let here = step == point.step;
            let text = if here { text } else { format!("{text} at {step}") };
            (here || !short).then(|| Span::styled(text, palette.held_out))
        });
        let step = Span::styled(format!("{}{}", name("step "), point.step), palette.accent);
        let train = Span::styled(format!("{}{}", name("train "), text::number(point.loss)), palette.train);
        let norm = Span::raw(format!("|g| {}", text::norm(point.grad_norm)));
        let rate = Span::raw(format!("lr {:.1e}", point.learning_rate));
        [Some(step), Some(train), held_out, Some(norm), Some(rate)].into_iter().flatten().collect()
    }

    /// Puts parts beside each other, and into the next row where one has no more room.
    fn lines(&self, parts: Vec<Span<'static>>, columns: usize) -> Vec<Line<'static>> {
        let gap = Span::styled(" · ", self.theme.palette.muted);
        let mut lines: Vec<Line<'static>> = Vec::new();
        for part in parts {
            match lines.last_mut() {
                Some(line) if line.width() + gap.width() + part.width() <= columns => {
                    line.spans.extend([gap.clone(), part]);
                }
                _ => lines.push(Line::from(part)),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::ColorDepth;
    use crate::ui::fixture;

    /// The rows of the pane while a step is read.
    fn rows(step: Option<u64>, width: u16, height: u16) -> Vec<String> {
        let mut app = fixture::app();
        app.view.step = step;
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        Loss { app: &app, theme: &theme }.render(buffer.area, &mut buffer);
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    #[test]
    fn the_numbers_of_the_step_that_is_read_stand_in_the_last_row() {
        let rows = rows(Some(200), 80, 16);
        let expected = "step 200 · train 2.410 · held-out 2.510 · |g| 0.80 · lr 3.0e-3";
        assert!(rows[14].contains(expected), "{}", rows[14]);
        // The frame has one on either side.
        let with_cursor = rows[1..13].iter().filter(|row| row.matches('│').count() == 3).count();
        assert!(with_cursor >= 9, "{rows:#?}");
    }

    #[test]
    fn a_held_out_loss_of_an_earlier_step_says_so() {
        let rows = rows(Some(212), 80, 16);
        let expected = "step 212 · train 2.353 · held-out 2.510 at 200 · |g| 0.80 · lr 3.0e-3";
        assert!(rows[14].contains(expected), "{}", rows[14]);
        assert!(!rows.join("").contains("step 200"));
    }

    #[test]
    fn a_narrow_pane_takes_more_rows_and_a_low_one_fewer_words() {
        let narrow = rows(Some(200), 34, 16).join("");
        for part in ["step 200 · train 2.410", "held-out 2.510 · |g| 0.80", "lr 3.0e-3"] {
            assert!(narrow.contains(part), "{part} is missing: {narrow}");
        }
        let low = rows(Some(200), 33, 7);
        assert!(low[5].contains("200 · 2.410 · 2.510"), "{}", low[5]);
    }

    #[test]
    fn a_step_is_read_at_any_size() {
        for width in 0..60 {
            for height in 0..30 {
                rows(Some(100), width, height);
            }
        }
    }

    #[test]
    fn nothing_is_read_before_a_step_is_chosen() {
        assert!(!rows(None, 80, 16).join("").contains("train 2.4"));
    }
}
