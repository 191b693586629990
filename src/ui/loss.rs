//! The pane of the charts over steps: the loss or another curve, and more of them below it where there is room.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Curve, Pane};
use crate::theme::Theme;

use super::axis::Range;
use super::chart::{Chart, Lines, NARROWEST};
use super::panel::{Panel, inside};
use super::reading::{self, Part};
use super::steps::{Marks, draw_steps};
use super::{curves, text};

/// Rows of the first chart and what goes with it, before others get any.
const ROWS_OF_FIRST: u16 = 12;

/// Rows from which each of the others has a place.
const ROWS_OF_OTHER: u16 = 6;

/// Rows from which checkpoints and slices are marked.
const ROWS_WITH_MARKS: u16 = 7;

/// Rows from which it is said what the marks are.
const ROWS_WITH_LEGEND: u16 = 12;

/// The charts over steps.
pub(super) struct Loss<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// Where the charts lie on the screen, without the axis of their values.
pub(super) fn cells(app: &App, area: Rect) -> Option<Rect> {
    Plan::of(app, inside(area))?.plots()
}

/// What goes where in the pane.
struct Plan {
    inner: Rect,
    steps: Range,
    charts: Vec<Placed>,
    /// Columns for the axes of the values.
    gutter: u16,
    marks: Marks,
    read: Vec<Vec<Part>>,
    marks_row: Rect,
    axis: Rect,
    legend: Rect,
    reading: Rect,
}

/// A chart, and its heading where it is not the first.
struct Placed {
    curve: Curve,
    lines: Lines,
    heading: Rect,
    place: Rect,
}

impl Plan {
    /// `None` before the first step.
    fn of(app: &App, inner: Rect) -> Option<Self> {
        let (first, last) = app.view.steps.shown(&app.engine.history)?;
        let steps = Range { low: first as f64, high: last as f64 };
        let marks = Marks::of(app, steps);
        let read = reading::rows(app, inner);
        let marked = u16::from(inner.height >= ROWS_WITH_MARKS && !marks.is_empty());
        let legend = if inner.height >= ROWS_WITH_LEGEND { marked } else { 0 };
        let below = [marked, u16::from(inner.height > 1), legend, read.len() as u16];
        let [above, marks_row, axis, legend, reading] =
            Layout::vertical(std::iter::once(Constraint::Min(0)).chain(below.map(Constraint::Length)))
                .areas(inner);
        let charts = placed(app, steps, inner.height, above);
        let gutter = charts.iter().map(|chart| chart.lines.gutter(chart.place.height)).max().unwrap_or(0);
        Some(Self { inner, steps, charts, gutter, marks, read, marks_row, axis, legend, reading })
    }

    /// The columns of the charts that have steps.
    fn plots(&self) -> Option<Rect> {
        let columns = self.columns(self.inner);
        (columns.width >= NARROWEST && columns.height > 0).then_some(columns)
    }

    /// The same part of a row.
    fn columns(&self, row: Rect) -> Rect {
        let gutter = self.gutter.min(row.width);
        Rect { x: row.x + gutter, width: row.width - gutter, ..row }
    }

    fn draw(self, cursor: Option<f64>, theme: &Theme, buffer: &mut Buffer) {
        for chart in &self.charts {
            curves::heading(chart.curve, chart.lines.is_log(), theme).render(chart.heading, buffer);
            let (lines, gutter) = (&chart.lines, self.gutter);
            Chart { theme, lines, gutter, cursor }.render(chart.place, buffer);
        }
        if self.plots().is_some() {
            self.marks.draw(theme, self.columns(self.marks_row), buffer);
            draw_steps(self.steps, theme, self.columns(self.axis), buffer);
        }
        self.marks.legend(theme).right_aligned().render(self.legend, buffer);
        for (row, place) in self.read.into_iter().zip(self.reading.rows()) {
            reading::line(row, theme).render(place, buffer);
        }
    }
}

/// The charts that have a place in a pane of so many rows, and where that is.
fn placed(app: &App, steps: Range, rows: u16, area: Rect) -> Vec<Placed> {
    let others = (rows.saturating_sub(ROWS_OF_FIRST) / ROWS_OF_OTHER).min(Curve::ALL.len() as u16 - 1);
    let each = if others > 0 { rows * 2 / (2 * others + 3) } else { 0 };
    let curves = (0..=usize::from(others)).map(|i| app.view.curve.after(i));
    let charts: Vec<_> = curves.map(|curve| (curve, curves::lines(app, curve, steps))).collect();
    let constraints = charts.iter().enumerate().map(|(i, (_, lines))| match i {
        0 => Constraint::Min(0),
        // What there is to say instead of a line takes one row.
        _ if lines.is_empty() => Constraint::Length(each.min(2)),
        _ => Constraint::Length(each),
    });
    let areas = Layout::vertical(constraints).split(area);
    let chart = |(i, ((curve, lines), area)): (usize, ((Curve, Lines), &Rect))| {
        let heading = u16::from(i > 0);
        let [heading, place] =
            Layout::vertical([Constraint::Length(heading), Constraint::Min(0)]).areas(*area);
        Placed { curve, lines, heading, place }
    };
    charts.into_iter().zip(areas.iter()).enumerate().map(chart).collect()
}

impl Widget for Loss<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let plan = Plan::of(app, inside(area));
        let focused = app.view.focus == Pane::Loss;
        let log =
            plan.as_ref().and_then(|plan| plan.charts.first()).is_some_and(|chart| chart.lines.is_log());
        let title = format!("{}{}", name(app.view.curve), if log { " (log)" } else { "" });
        let right = self.right(focused);
        let inner = Panel { theme, focused, title: &title, right }.draw(area, buffer);
        let Some(plan) = plan else {
            Line::styled("no steps yet", theme.palette.muted).render(inner, buffer);
            return;
        };
        let reading = app.view.steps.reading(&app.engine.history);
        let read = reading.and_then(|index| app.engine.history.points().get(index));
        let cursor = read.map(|point| point.step as f64).filter(|step| plan.steps.has(*step));
        plan.draw(cursor, theme, buffer);
    }
}

impl Loss<'_> {
    /// The newest numbers, and the key to the next curve while the pane has the focus.
    fn right(&self, focused: bool) -> Vec<Line<'static>> {
        let (app, theme) = (self.app, self.theme);
        let newest = curves::newest(app, app.view.curve, theme);
        if !focused {
            return newest;
        }
        let key = app.options.bindings.shown("move");
        let hint = format!("{}: {}", text::escape(&key), app.view.curve.after(1).name());
        let both = newest.first().map(|newest| {
            let mut line = newest.clone();
            line.push_span(Span::raw(format!(" · {hint}")));
            line
        });
        // The numbers are the key to the colours too.
        let alone = [Line::raw(hint), Line::raw(format!("{}: next", text::escape(&key)))];
        both.into_iter().chain(newest).chain(alone).collect()
    }
}

/// The name of a curve as a title.
fn name(curve: Curve) -> &'static str {
    match curve {
        Curve::Loss => "Loss",
        Curve::GradientNorm => "Gradient norm",
        Curve::LearningRate => "Learning rate",
        Curve::Sharpness => "Sharpness",
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
        app.view.steps.read = step;
        drawn(&app, ("dark", ColorDepth::True), width, height)
    }

    fn drawn(app: &App, (name, depth): (&str, ColorDepth), width: u16, height: u16) -> Vec<String> {
        let theme = Theme::named(name, depth).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        Loss { app, theme: &theme }.render(buffer.area, &mut buffer);
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    const DARK: (&str, ColorDepth) = ("dark", ColorDepth::True);

    #[test]
    fn the_numbers_of_the_step_that_is_read_stand_in_the_last_row() {
        let rows = rows(Some(200), 80, 16);
        let expected = "step 200 · train 2.410 · held-out 2.510 · |g| 0.80 · lr 3.0e-3";
        assert!(rows[14].contains(expected), "{}", rows[14]);
        // The frame has one on either side.
        let with_cursor = rows[1..13].iter().filter(|row| row.matches('│').count() == 3).count();
        assert!(with_cursor >= 8, "{rows:#?}");
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

    #[test]
    fn charts_that_have_room_share_their_steps_and_the_one_that_is_read() {
        let mut app = fixture::app();
        app.view.steps.read = Some(300);
        let names = ["Gradient norm before clipping", "Learning rate", "Sharpness: critical, edge"];
        for (height, count) in [(16, 0), (20, 1), (26, 2), (32, 3), (50, 3)] {
            let rows = drawn(&app, DARK, 80, height);
            let text = rows.join("\n");
            let there: Vec<bool> = names.iter().map(|name| text.contains(name)).collect();
            assert_eq!(there, [count > 0, count > 1, count > 2], "{text}");
            assert_eq!(text.matches("step 412").count(), 1, "one axis for all: {text}");
        }
        app.view.curve = Curve::LearningRate;
        let rows = drawn(&app, DARK, 80, 26);
        assert!(rows[0].contains(" Learning rate ") && rows.join("").contains("Loss: train, held-out"));
        app.view.curve = Curve::Loss;
        let rows = drawn(&app, DARK, 80, 26);
        // The frame, and the cursor in all three.
        let cursor = rows[1].chars().enumerate().filter(|(_, symbol)| *symbol == '│').nth(1).unwrap().0;
        let with_cursor = rows.iter().filter(|row| row.chars().nth(cursor) == Some('│')).count();
        assert!(with_cursor > 12, "{rows:#?}");
    }

    #[test]
    fn a_constant_learning_rate_is_a_flat_line() {
        let mut app = fixture::app();
        app.view.curve = Curve::LearningRate;
        for log in [false, true] {
            app.view.log_charts = log;
            let rows = drawn(&app, DARK, 40, 9);
            let drawn = |row: &String| row.chars().any(|symbol| ('⠁'..='⣿').contains(&symbol));
            let lines: Vec<&String> = rows.iter().filter(|row| drawn(row)).collect();
            assert_eq!(lines.len(), 1, "{rows:#?}");
            assert!(lines[0].contains("0.003"), "{rows:#?}");
        }
    }

    #[test]
    fn a_window_has_its_own_steps_below_it() {
        let mut app = fixture::app();
        app.view.focus = Pane::Loss;
        app.update(crate::app::Message::Key(ratatui::crossterm::event::KeyCode::Char('[').into()));
        let rows = drawn(&app, DARK, 60, 12);
        assert!(rows[0].contains("held-out"), "{}", rows[0]);
        assert!(rows[10].contains("207") && rows[10].contains("step 412"), "{rows:#?}");
        assert!(rows[9].contains('·') && !rows[9].contains('▲'), "both checkpoints are out of sight");
    }

    #[test]
    fn checkpoints_and_slices_are_marked_where_there_is_room() {
        let app = fixture::app();
        let high = drawn(&app, DARK, 60, 20).join("\n");
        assert!(high.contains("▲ checkpoint · slice"), "{high}");
        let low = drawn(&app, DARK, 60, 6).join("\n");
        assert!(!low.contains('▲'), "{low}");
    }

    #[test]
    fn without_colours_the_held_out_loss_is_made_of_other_characters() {
        let mut app = fixture::app();
        let mono = ("mono", ColorDepth::None);
        let with = drawn(&app, mono, 60, 14)[1..11].join("");
        assert!(with.matches('o').count() >= 6, "{with}");
        app.view.curve = Curve::GradientNorm;
        let without = drawn(&app, mono, 60, 14)[1..11].join("");
        assert!(!without.contains('o'), "{without}");
    }

    #[test]
    fn the_steps_under_the_mouse_are_those_that_are_drawn_there() {
        let app = fixture::app();
        let area = Rect::new(5, 5, 60, 14);
        let cells = cells(&app, area).unwrap();
        assert_eq!((cells.right(), cells.height), (area.right() - 2, 12));
        assert!(cells.x > area.x + 2);
        assert_eq!(super::cells(&app, Rect::new(0, 0, 4, 4)), None);
        assert_eq!(super::cells(&App::new(crate::app::Options::default()), area), None);
    }
}
