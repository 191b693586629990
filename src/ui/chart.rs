//! Lines over steps, in braille dots, with axes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::theme::Theme;

use super::axis::{self, Range};
use super::braille::Dots;
use super::text;

/// A line: points in the order of steps, and its style.
pub(super) struct Series {
    /// Step and value.
    pub(super) points: Vec<(f64, f64)>,
    pub(super) style: Style,
}

/// Lines in one frame of axes. The points of all but the first are beads, seen also where the lines meet. Where
/// several points of the first fall into one column of dots, the column shows their whole range; where they are more
/// than three a column, a smoothed line stands out from the ranges.
pub(super) struct Chart<'a> {
    pub(super) theme: &'a Theme,
    pub(super) series: Vec<Series>,
    /// Points of the first line that stand out.
    pub(super) marks: Vec<(f64, f64)>,
    /// The values' logarithm is drawn.
    pub(super) log: bool,
    /// The step that is read.
    pub(super) cursor: Option<f64>,
}

/// What stands above a point that stands out.
const MARK: &str = "▾";

/// What the step that is read is marked with where nothing is drawn.
const CURSOR: &str = "│";

/// Points in a column of dots from which the line is smoothed.
const MANY: usize = 3;

/// Columns of dots for each point of a further line, from which its points are seen on the first line.
const APART: usize = 8;

/// The layer of the ranges below a smoothed line. Each series has the layer above that of the one before.
const RANGES: usize = 0;

/// The layer of the first line.
const LINE: usize = 1;

/// The exponential moving average of the finite values; the others stay what they are.
///
/// With `b = 1 - 1 / span`, the average of `x_1 .. x_t` is `m_t / (1 - b^t)`, where `m_t = b m_(t-1) + (1 - b) x_t`
/// and `m_0 = 0`: the division corrects the bias towards zero, as in Adam (Kingma and Ba 2015, section 3). It is
/// computed as `s_t = s_(t-1) + (1 - b) / (1 - b^t) (x_t - s_(t-1))`, which is the same and keeps what is constant
/// constant to the bit.
fn smoothed(values: impl Iterator<Item = f64>, span: f64) -> Vec<f64> {
    let new = 1.0 / span.max(1.0);
    let (mut average, mut unseen) = (None, 1.0);
    values
        .map(|value| {
            if !value.is_finite() {
                return value;
            }
            unseen *= 1.0 - new;
            let before = average.unwrap_or(value);
            let now = before + new / (1.0 - unseen) * (value - before);
            average = Some(now);
            now
        })
        .collect()
}

/// Where the points of a chart lie: the column of dots, and the value as it is drawn.
type Places = Vec<(usize, f64)>;

/// The raster of a chart and the range of values from its bottom to its top.
struct Plot {
    dots: Dots,
    values: Range,
}

impl Plot {
    fn row(&self, value: f64) -> usize {
        self.values.dot(value, self.dots.size().1)
    }

    /// The rows from the greatest value of a column to the least.
    fn rows(&self, column: &[(usize, f64)]) -> Option<(usize, usize)> {
        let range = Range::of(column.iter().map(|place| place.1))?;
        Some((self.row(range.high), self.row(range.low)))
    }

    /// A line through points, with gaps where they are not finite.
    fn line(&mut self, places: &[(usize, f64)], layer: usize) {
        let mut last = None;
        for &(x, value) in places {
            let here = value.is_finite().then(|| (x, self.row(value)));
            if let Some(here) = here {
                self.dots.line(last.unwrap_or(here), here, layer);
            }
            last = here;
        }
    }

    /// The points of a line, each to be seen.
    fn beads(&mut self, places: &[(usize, f64)], layer: usize) {
        for &(x, value) in places.iter().filter(|place| place.1.is_finite()) {
            let row = self.row(value);
            self.dots.bead((x, row), layer);
        }
    }

    /// The range of every column.
    fn ranges(&mut self, places: &[(usize, f64)], layer: usize) {
        for column in places.chunk_by(|a, b| a.0 == b.0) {
            let Some((top, bottom)) = self.rows(column) else { continue };
            for row in top..=bottom {
                let (x, cell) = (column[0].0, row / 4 * 4);
                // A range that goes on above and below a cell with the smoothed line leaves the line alone there.
                let goes_on = top < cell && bottom > cell + 3;
                if layer != RANGES || !goes_on || self.dots.layer((x, row)) != Some(LINE) {
                    self.dots.under((x, row), layer);
                }
            }
        }
    }

    /// A smoothed line over the ranges. It averages over about two columns: more would come late where the values
    /// fall, and less would not be smooth.
    fn smooth(&mut self, places: &[(usize, f64)]) {
        let span = 2.0 * places.len() as f64 / self.dots.size().0.max(1) as f64;
        let averages = smoothed(places.iter().map(|place| place.1), span);
        let line: Places = places.iter().zip(averages).map(|(place, average)| (place.0, average)).collect();
        // Of a column the last average that there is.
        let ends: Places = line
            .chunk_by(|a, b| a.0 == b.0)
            .map(|column| {
                let end = column.iter().rev().find(|place| place.1.is_finite());
                end.map_or((column[0].0, f64::NAN), |end| *end)
            })
            .collect();
        self.line(&ends, LINE);
        self.ranges(places, RANGES);
    }
}

impl Chart<'_> {
    fn value(&self, value: f64) -> f64 {
        if self.log { value.ln() } else { value }
    }

    fn draw(&self, steps: Range, values: Range, area: Rect, buffer: &mut Buffer) {
        let mut plot = Plot { dots: Dots::new(area.width, area.height), values };
        let columns = plot.dots.size().0;
        let x = |step| (steps.place(step) * columns.saturating_sub(1) as f64).round() as usize;
        let mut beads = Vec::new();
        // The first one lies over the others: where they share a cell it is the one to follow.
        for (index, series) in self.series.iter().enumerate().rev() {
            let layer = LINE + index;
            let places: Places =
                series.points.iter().map(|&(step, value)| (x(step), self.value(value))).collect();
            if index > 0 {
                plot.line(&places, layer);
                // Few enough to leave most of the first line to be seen.
                if places.len() * APART <= columns {
                    beads.push((places, layer));
                }
            } else if places.len() > MANY * columns {
                plot.smooth(&places);
            } else {
                plot.line(&places, layer);
                plot.ranges(&places, layer);
            }
        }
        for (places, layer) in beads {
            plot.beads(&places, layer);
        }
        let lines = self.series.iter().map(|series| series.style);
        let styles: Vec<Style> = std::iter::once(self.theme.palette.muted).chain(lines).collect();
        plot.dots.draw(area, &styles, buffer);
        // A cell holds 2 x 4 dots.
        let column = |step| area.x + (x(step) / 2) as u16;
        if let Some(step) = self.cursor {
            draw_cursor(Rect { x: column(step), width: 1, ..area }, self.theme, buffer);
        }
        for &(step, value) in &self.marks {
            let value = self.value(value);
            let row = if value.is_finite() { (plot.row(value) / 4) as u16 } else { 0 };
            buffer[(column(step), area.y + row.saturating_sub(1))]
                .set_symbol(MARK)
                .set_style(self.theme.palette.warn);
        }
    }
}

/// The first step, the middle one and the last, as far as there is room.
pub(super) fn draw_steps(steps: Range, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let muted = theme.palette.muted;
    let first = format!("{:.0}", steps.low);
    Line::styled(first.as_str(), muted).render(area, buffer);
    if steps.high <= steps.low {
        return;
    }
    let last = format!("step {:.0}", steps.high);
    Line::styled(last.as_str(), muted).right_aligned().render(area, buffer);
    let step = f64::midpoint(steps.low, steps.high).round();
    let middle = format!("{step:.0}");
    let wide = text::width(&middle) as u16;
    let center = (steps.place(step) * f64::from(area.width.saturating_sub(1))).round() as u16;
    let start = center.saturating_sub(wide / 2);
    let free = text::width(&first) as u16 + 1..area.width.saturating_sub(text::width(&last) as u16);
    if middle != first && free.contains(&start) && free.contains(&(start + wide)) {
        let place = Rect { x: area.x + start, width: wide, ..area };
        Line::styled(middle, muted).render(place, buffer);
    }
}

/// Makes the column of the step that is read stand out, and leaves what is drawn in it.
pub(super) fn draw_cursor(column: Rect, theme: &Theme, buffer: &mut Buffer) {
    for place in column.positions() {
        let cell = &mut buffer[place];
        if cell.symbol() == " " {
            cell.set_symbol(CURSOR);
        }
        cell.set_style(theme.palette.accent);
    }
}

/// The part of an area in which the lines of these values are drawn, beside the labels and above the steps; `None`
/// where there is no room.
pub(super) fn plot(values: Range, log: bool, area: Rect) -> Option<Rect> {
    let gutter = gutter(&axis::labels(values, log, area.height.saturating_sub(1)));
    let fits = area.width >= gutter + 4 && area.height >= 2;
    fits.then(|| Rect { x: area.x + gutter, width: area.width - gutter, height: area.height - 1, ..area })
}

/// Columns for labels, and for a gap beside them.
fn gutter(labels: &[(u16, String)]) -> u16 {
    labels.iter().map(|label| text::width(&label.1)).max().unwrap_or(0) as u16 + 1
}

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let muted = self.theme.palette.muted;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let steps = Range::of(points().map(|point| point.0));
        let values = Range::of(points().map(|point| self.value(point.1)));
        let (Some(steps), Some(values)) = (steps, values) else {
            let missing = if steps.is_some() { "no value is finite" } else { "no steps yet" };
            Line::styled(missing, muted).render(area, buffer);
            return;
        };
        let Some(plot) = plot(values, self.log, area) else { return };
        for (row, label) in &axis::labels(values, self.log, plot.height) {
            let place = Rect { x: area.x, y: plot.y + row, width: plot.x - area.x - 1, height: 1 };
            Line::from(Span::styled(label.as_str(), muted)).right_aligned().render(place, buffer);
        }
        draw_steps(steps, self.theme, Rect { y: plot.bottom(), height: 1, ..plot }, buffer);
        self.draw(steps, values, plot, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::ColorDepth;

    fn drawn(points: Vec<(f64, f64)>, log: bool, area: Rect) -> Buffer {
        let theme = Theme::named("mono", ColorDepth::None).unwrap();
        let mut buffer = Buffer::empty(area);
        let series = vec![Series { points, style: Style::new() }];
        Chart { theme: &theme, series, marks: Vec::new(), log, cursor: None }.render(area, &mut buffer);
        for y in 0..area.height {
            for x in 0..area.width {
                buffer[(x, y)].set_style(Style::reset());
            }
        }
        buffer
    }

    fn picture<const N: usize>(lines: [&str; N]) -> Buffer {
        let mut buffer = Buffer::with_lines(lines);
        buffer.set_style(buffer.area, Style::reset());
        buffer
    }

    #[test]
    fn a_falling_loss_falls_from_corner_to_corner() {
        let points = (1..=8).map(|step| (f64::from(step), 9.0 - f64::from(step))).collect();
        let expected = picture(["5 ⠉⠒⠤⢄⣀     ", "2      ⠉⠑⠢⠤⣀", "  1   step 8"]);
        assert_eq!(drawn(points, false, Rect::new(0, 0, 12, 3)), expected);
    }

    #[test]
    fn many_points_in_one_column_show_their_range() {
        let points = (0..400).map(|step| (f64::from(step), if step % 2 == 0 { 1.0 } else { 3.0 })).collect();
        let buffer = drawn(points, false, Rect::new(0, 0, 20, 4));
        for x in 2..20 {
            for y in [0, 2] {
                assert_eq!(buffer[(x, y)].symbol(), "⣿", "{x} {y}");
            }
            assert!(
                !["⣿", " "].contains(&buffer[(x, 1)].symbol()),
                "the smoothed line is seen in the middle"
            );
        }
    }

    #[test]
    fn a_spike_of_one_step_is_seen_however_many_there_are() {
        for spike in [0, 1, 4001, 7999] {
            let loss = |step| if step == spike { 9.0 } else { 1.0 };
            let points = (0..8000).map(|step| (f64::from(step), loss(step))).collect();
            let buffer = drawn(points, false, Rect::new(0, 0, 20, 6));
            let seen = (2..20).filter(|x| (0..5).all(|y| buffer[(*x, y)].symbol() != " ")).count();
            assert_eq!(seen, 1, "{spike}");
        }
    }

    #[test]
    fn what_is_constant_is_one_flat_line_at_any_width() {
        for log in [false, true] {
            for width in 8..60 {
                let points = (0..500).map(|step| (f64::from(step), 0.7)).collect();
                let buffer = drawn(points, log, Rect::new(0, 0, width, 4));
                for x in 4..width {
                    let column = [0, 1, 2].map(|y| buffer[(x, y)].symbol());
                    assert_eq!(column, [" ", "⠤", " "], "{width} {x}");
                }
                assert!((0..4).any(|x| buffer[(x, 1)].symbol() == "7"));
            }
        }
    }

    #[test]
    fn smoothing_keeps_what_is_constant_and_skips_what_is_not_finite() {
        let constant = [0.1, 0.1, f64::NAN, 0.1, 0.1];
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&smoothed(constant.into_iter(), 7.3)), bits(&constant));
    }

    #[test]
    fn smoothing_is_the_average_with_its_bias_corrected() {
        let values = [3.0, 1.0, 4.0, 1.0, 5.0];
        let b = 1.0 - 1.0 / 2.5;
        let (mut m, mut power) = (0.0, 1.0);
        for (value, average) in values.into_iter().zip(smoothed(values.into_iter(), 2.5)) {
            m = b * m + (1.0 - b) * value;
            power *= b;
            assert!((average - m / (1.0 - power)).abs() < 1e-12, "{average}");
        }
    }

    #[test]
    fn a_smoothed_line_stands_out_from_the_ranges() {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 7));
        let points = (0..4000).map(|step| (f64::from(step), f64::from(step % 7))).collect();
        let series = vec![Series { points, style: theme.palette.train }];
        Chart { theme: &theme, series, marks: Vec::new(), log: false, cursor: None }
            .render(buffer.area, &mut buffer);
        let colours = [0, 1, 2, 3, 4, 5].map(|y| Some(buffer[(12, y)].fg));
        assert_eq!((colours[0], colours[5]), (theme.palette.muted.fg, theme.palette.muted.fg));
        assert!(colours.contains(&theme.palette.train.fg));
    }

    #[test]
    fn the_axis_below_has_the_first_the_middle_and_the_last_step() {
        let points = (1..=101).map(|step| (f64::from(step), f64::from(step))).collect();
        let buffer = drawn(points, false, Rect::new(0, 0, 40, 5));
        let below: String = (0..40).map(|x| buffer[(x, 4)].symbol()).collect();
        assert_eq!(below.split_whitespace().collect::<Vec<_>>(), ["1", "51", "step", "101"]);
    }

    #[test]
    fn the_cursor_stands_at_its_step_and_leaves_the_dots() {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 5));
        let points = (0..=10).map(|step| (f64::from(step), 1.0)).collect();
        let series = vec![Series { points, style: theme.palette.train }];
        Chart { theme: &theme, series, marks: Vec::new(), log: false, cursor: Some(10.0) }
            .render(buffer.area, &mut buffer);
        let lines = (0..4).filter(|y| buffer[(19, *y)].symbol() == CURSOR).count();
        assert_eq!(lines, 3);
        assert!((0..4).all(|y| Some(buffer[(19, y)].fg) == theme.palette.accent.fg));
    }

    #[test]
    fn values_that_are_not_finite_leave_the_scale_alone() {
        let points = |odd: f64| -> Vec<(f64, f64)> {
            (0..9).map(|i| (f64::from(i), if i == 4 { odd } else { f64::from(i) })).collect()
        };
        let labels = |buffer: &Buffer| (0..4).map(|y| buffer[(0, y)].symbol().to_owned()).collect::<Vec<_>>();
        let area = Rect::new(0, 0, 20, 5);
        let finite = labels(&drawn(points(4.0), false, area));
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(labels(&drawn(points(odd), false, area)), finite);
        }
    }

    #[test]
    fn a_history_without_a_finite_value_says_so() {
        let points = (0..100).map(|step| (f64::from(step), f64::NAN)).collect();
        assert_eq!(drawn(points, false, Rect::new(0, 0, 18, 1)), picture(["no value is finite"]));
    }

    #[test]
    fn any_values_are_drawn_in_any_area() {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, 5e-324, -1.0, 3.0];
        let sizes = (0..24).flat_map(|w| (0..8).flat_map(move |h| [1, 7, 300].map(|n| (w, h, n))));
        for (width, height, count) in sizes {
            let value = |step: usize| odd[(step * step + usize::from(width)) % odd.len()];
            let points: Vec<(f64, f64)> = (0..count).map(|step| (step as f64, value(step))).collect();
            for log in [false, true] {
                let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
                let (marks, cursor) = (points.clone(), Some(1e9));
                let series = vec![Series { points: points.clone(), style: Style::new() }];
                Chart { theme: &theme, series, marks, log, cursor }.render(buffer.area, &mut buffer);
            }
        }
    }

    #[test]
    fn points_of_a_second_line_are_seen_on_the_first() {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 4));
        let (first, second) = (theme.palette.train, theme.palette.held_out);
        let line = (0..400).map(|step| (f64::from(step), f64::from(400 - step))).collect();
        let bead = vec![(0.0, 400.0)];
        let series = vec![Series { points: line, style: first }, Series { points: bead, style: second }];
        Chart { theme: &theme, series, marks: Vec::new(), log: false, cursor: None }
            .render(buffer.area, &mut buffer);
        assert_eq!((Some(buffer[(4, 0)].fg), Some(buffer[(19, 2)].fg)), (second.fg, first.fg));
    }

    #[test]
    fn a_point_that_stands_out_is_marked_at_the_top_of_its_column() {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 4));
        let points = (0..=100).map(|step| (f64::from(step), if step == 50 { 9.0 } else { 1.0 })).collect();
        let series = vec![Series { points, style: theme.palette.train }];
        Chart { theme: &theme, series, marks: vec![(50.0, 9.0)], log: false, cursor: None }
            .render(buffer.area, &mut buffer);
        let marked: Vec<u16> = (0..20).filter(|x| buffer[(*x, 0)].symbol() == MARK).collect();
        assert_eq!(marked, [11]);
        assert_eq!(Some(buffer[(11, 0)].fg), theme.palette.warn.fg);
    }

    #[test]
    fn points_that_are_not_finite_leave_a_gap() {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 1.0)];
        let buffer = drawn(points, false, Rect::new(0, 0, 20, 2));
        assert_ne!(buffer[(4, 0)].symbol(), " ");
        assert_eq!(buffer[(12, 0)].symbol(), " ");
        assert_ne!(buffer[(19, 0)].symbol(), " ");
    }

    #[test]
    fn no_points_are_said_to_be_none() {
        assert_eq!(drawn(Vec::new(), false, Rect::new(0, 0, 12, 1)), picture(["no steps yet"]));
    }
}
