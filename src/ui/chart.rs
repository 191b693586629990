//! Lines over steps, in braille dots, beside the axis of their values.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::theme::Theme;

use super::axis::{self, Range};
use super::braille::Dots;
use super::series::{Series, scaled};
use super::steps::{self, draw_cursor};
use super::text;

/// Lines over the same steps.
pub(super) struct Lines {
    pub(super) series: Vec<Series>,
    /// Points of the first line that stand out.
    pub(super) marks: Vec<(f64, f64)>,
    /// The values' logarithm is asked for.
    pub(super) log: bool,
    /// The steps from the left to the right.
    pub(super) steps: Range,
    /// What is said where there is no point.
    pub(super) missing: &'static str,
}

impl Lines {
    fn points(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.series.iter().flat_map(|series| &series.points)
    }

    /// Whether there is nothing to draw.
    pub(super) fn is_empty(&self) -> bool {
        self.values(self.is_log()).is_none()
    }

    /// Whether the logarithm is drawn: where no value has one, it is not.
    pub(super) fn is_log(&self) -> bool {
        self.log && self.points().any(|point| point.1 > 0.0)
    }

    /// The range of the values as they are drawn.
    fn values(&self, log: bool) -> Option<Range> {
        let crossings = self.series.iter().flat_map(|series| series.crossings(self.steps, log));
        let ends = crossings.flatten().map(|end| end.1);
        Range::of(self.points().map(|point| scaled(point.1, log)).chain(ends))
    }

    /// The numbers beside so many rows.
    fn labels(&self, rows: u16) -> Vec<(u16, String)> {
        let log = self.is_log();
        self.values(log).map_or_else(Vec::new, |values| axis::labels(values, log, rows))
    }

    /// Columns of the numbers beside so many rows, with a gap.
    pub(super) fn gutter(&self, rows: u16) -> u16 {
        self.labels(rows).iter().map(|label| text::width(&label.1)).max().unwrap_or(0) as u16 + 1
    }
}

/// Lines beside the axis of their values. Where lines share a cell, which has one colour, one of them has it, by turns.
/// Without colours the points of all but the first are characters. Where several points of the first fall into one
/// column of dots, the column shows their whole range; where they are more than three a column, a smoothed line stands
/// out from the ranges.
pub(super) struct Chart<'a> {
    pub(super) theme: &'a Theme,
    pub(super) lines: &'a Lines,
    /// Columns for the axis of the values.
    pub(super) gutter: u16,
    /// The step that is read.
    pub(super) cursor: Option<f64>,
}

/// Columns of a plot at least.
pub(super) const NARROWEST: u16 = 4;

/// What stands above a point that stands out.
const MARK: &str = "▾";

/// What a point of a further line is without colours, and the one point of any line.
const POINT: &str = "o";

/// What a further line is called beside a chart: without colours its name shows what its points are.
pub(super) fn further(name: &str, theme: &Theme) -> String {
    if theme.has_color { name.to_owned() } else { format!("{POINT} {name}") }
}

/// Columns of cells from one point of a further line that stands out to the next, at least: the first line is to be seen
/// between them.
const POINTS_APART: usize = 3;

/// Points in a column of dots from which the line is smoothed.
const MANY: usize = 3;

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
    /// Of the ranges below a smoothed line every other dot is left out: no colour tells them from it.
    sparse: bool,
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

    /// The dots of the points of a further line, as far as they leave room for the first line between them.
    fn apart(&self, places: &[(usize, f64)]) -> Vec<(usize, usize)> {
        let mut free = 0;
        let finite = places.iter().filter(|place| place.1.is_finite());
        finite
            .filter(|place| {
                let column = place.0 / 2;
                let fits = column >= free;
                free = if fits { column + POINTS_APART } else { free };
                fits
            })
            .map(|&(x, value)| (x, self.row(value)))
            .collect()
    }

    /// The range of every column.
    fn ranges(&mut self, places: &[(usize, f64)], layer: usize) {
        for column in places.chunk_by(|a, b| a.0 == b.0) {
            let Some((top, bottom)) = self.rows(column) else { continue };
            for row in top..=bottom {
                let (x, cell) = (column[0].0, row / 4 * 4);
                if layer == RANGES && self.sparse && (x + row) % 2 == 1 {
                    continue;
                }
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

/// Draws lines over each other, each dot in the colour of its own.
fn draw_lines(plots: &[Plot], styles: &[Style], area: Rect, buffer: &mut Buffer) {
    for (row, places) in area.rows().enumerate() {
        for (column, place) in places.columns().enumerate() {
            let here = plots.iter().filter_map(|plot| {
                let layer = plot.dots.layer((2 * column, 4 * row))?;
                Some((plot.dots.character(column, row)?, layer))
            });
            // Ranges give way to lines.
            let (lines, ranges): (Vec<_>, Vec<_>) = here.partition(|(_, layer)| *layer != RANGES);
            // By turns along a line that lies, stands or slants.
            let turn = (column + row / 2) % lines.len().max(1);
            if let Some((character, layer)) = lines.get(turn).or(ranges.first()) {
                let style = styles.get(*layer).copied().unwrap_or_default();
                buffer[(place.x, place.y)].set_char(*character).set_style(style);
            }
        }
    }
}

impl Chart<'_> {
    fn draw(&self, values: Range, area: Rect, buffer: &mut Buffer) {
        let Lines { series, marks, steps, .. } = self.lines;
        let (theme, log) = (self.theme, self.lines.is_log());
        let sparse = !theme.has_color;
        let empty = || Plot { dots: Dots::new(area.width, area.height), values, sparse };
        let columns = 2 * usize::from(area.width);
        let x = |step| steps::dot(*steps, step, columns);
        let (mut plots, mut points) = (Vec::new(), Vec::new());
        for (index, series) in series.iter().enumerate() {
            let (layer, mut plot) = (LINE + index, empty());
            let places: Places =
                series.points.iter().map(|&(step, value)| (x(step), scaled(value, log))).collect();
            let [enters, leaves] =
                series.crossings(*steps, log).map(|end| end.map(|(step, value)| (x(step), value)));
            let line: Places = enters.into_iter().chain(places.iter().copied()).chain(leaves).collect();
            if index > 0 && !theme.has_color || line.len() == 1 {
                points.push((plot.apart(&places), layer));
            }
            if index > 0 {
                if theme.has_color {
                    plot.line(&line, layer);
                }
            } else if places.len() > MANY * columns {
                plot.smooth(&places);
            } else {
                plot.line(&line, layer);
                plot.ranges(&line, layer);
            }
            plots.push(plot);
        }
        let inks = series.iter().map(|series| (series.ink)(&theme.palette));
        let styles: Vec<Style> = std::iter::once(theme.palette.muted).chain(inks).collect();
        draw_lines(&plots, &styles, area, buffer);
        // The first lies over the others.
        for (dots, layer) in points.into_iter().rev() {
            for (x, row) in dots {
                let place = (area.x + (x / 2) as u16, area.y + (row / 4) as u16);
                buffer[place].set_symbol(POINT).set_style(styles[layer]);
            }
        }
        // A cell holds 2 x 4 dots.
        let column = |step| area.x + (x(step) / 2) as u16;
        if let Some(step) = self.cursor {
            draw_cursor(Rect { x: column(step), width: 1, ..area }, theme, buffer);
        }
        for &(step, value) in marks {
            let value = scaled(value, log);
            let row = if value.is_finite() {
                (values.dot(value, 4 * usize::from(area.height)) / 4) as u16
            } else {
                0
            };
            buffer[(column(step), area.y + row.saturating_sub(1))]
                .set_symbol(MARK)
                .set_style(theme.palette.warn);
        }
    }
}

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let muted = self.theme.palette.muted;
        let Some(values) = self.lines.values(self.lines.is_log()) else {
            let none = self.lines.points().next().is_none();
            let missing = if none { self.lines.missing } else { "no value is finite" };
            Line::styled(missing, muted).render(area, buffer);
            return;
        };
        let gutter = self.gutter;
        if area.width < gutter + NARROWEST || area.height == 0 {
            return;
        }
        let plot = Rect { x: area.x + gutter, width: area.width - gutter, ..area };
        for (row, label) in &self.lines.labels(area.height) {
            let place = Rect { x: area.x, y: plot.y + row, width: gutter.saturating_sub(1), height: 1 };
            Line::from(Span::styled(label.as_str(), muted)).right_aligned().render(place, buffer);
        }
        self.draw(values, plot, buffer);
    }
}

/// Lines over all their steps, with the axis of the steps below.
pub(super) fn whole(
    series: Vec<Series>,
    log: bool,
    cursor: Option<f64>,
    theme: &Theme,
    area: Rect,
    buffer: &mut Buffer,
) {
    let steps = Range::of(series.iter().flat_map(|series| &series.points).map(|point| point.0));
    let Some(steps) = steps else { return };
    let lines = Lines { series, marks: Vec::new(), log, steps, missing: "" };
    let rows = u16::from(area.height > 2);
    let [above, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(rows)]).areas(area);
    let gutter = lines.gutter(above.height);
    Chart { theme, lines: &lines, gutter, cursor }.render(above, buffer);
    let axis =
        Rect { x: below.x + gutter.min(below.width), width: below.width.saturating_sub(gutter), ..below };
    steps::draw_steps(steps, theme, axis, buffer);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::ColorDepth;
    use crate::ui::series::Ink;

    const MONO: (&str, ColorDepth) = ("mono", ColorDepth::None);
    const DARK: (&str, ColorDepth) = ("dark", ColorDepth::True);

    fn theme((name, depth): (&str, ColorDepth)) -> Theme {
        Theme::named(name, depth).unwrap()
    }

    /// Training loss, and held-out loss where there is a second line.
    fn lines(series: Vec<Vec<(f64, f64)>>, log: bool) -> Lines {
        let steps = Range::of(series.iter().flatten().map(|point| point.0));
        let inks: [Ink; 2] = [|palette| palette.train, |palette| palette.held_out];
        let series = series.into_iter().zip(inks).map(|(points, ink)| Series::new(points, ink)).collect();
        let steps = steps.unwrap_or(Range { low: 0.0, high: 0.0 });
        Lines { series, marks: Vec::new(), log, steps, missing: "no steps yet" }
    }

    fn chart(lines: &Lines, cursor: Option<f64>, look: (&str, ColorDepth), area: Rect) -> Buffer {
        let theme = theme(look);
        let mut buffer = Buffer::empty(area);
        let gutter = lines.gutter(area.height);
        Chart { theme: &theme, lines, gutter, cursor }.render(area, &mut buffer);
        buffer
    }

    fn drawn(points: Vec<(f64, f64)>, log: bool, area: Rect) -> Buffer {
        let mut buffer = chart(&lines(vec![points], log), None, MONO, area);
        for place in area.positions() {
            buffer[place].set_style(Style::reset());
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
        let expected = picture(["8 ⠉⠒⠤⢄⣀     ", "2      ⠉⠑⠢⠤⣀"]);
        assert_eq!(drawn(points, false, Rect::new(0, 0, 12, 2)), expected);
    }

    #[test]
    fn many_points_in_one_column_show_their_range() {
        let points = (0..400).map(|step| (f64::from(step), if step % 2 == 0 { 1.0 } else { 3.0 })).collect();
        let lines = lines(vec![points], false);
        // Without colours every other dot of the ranges is left out.
        for (look, range) in [(DARK, "⣿"), (MONO, "⢕")] {
            let buffer = chart(&lines, None, look, Rect::new(0, 0, 20, 3));
            for x in 2..20 {
                for y in [0, 2] {
                    assert_eq!(buffer[(x, y)].symbol(), range, "{x} {y}");
                }
                assert!(
                    ![range, " "].contains(&buffer[(x, 1)].symbol()),
                    "the smoothed line is seen in the middle"
                );
            }
        }
    }

    #[test]
    fn a_spike_of_one_step_is_seen_however_many_there_are() {
        for spike in [0, 1, 4001, 7999] {
            let loss = |step| if step == spike { 9.0 } else { 1.0 };
            let points = (0..8000).map(|step| (f64::from(step), loss(step))).collect();
            let buffer = drawn(points, false, Rect::new(0, 0, 20, 5));
            let seen = (2..20).filter(|x| (0..5).all(|y| buffer[(*x, y)].symbol() != " ")).count();
            assert_eq!(seen, 1, "{spike}");
        }
    }

    #[test]
    fn what_is_constant_is_one_flat_line_at_any_width() {
        for log in [false, true] {
            for width in 8..60 {
                let points = (0..500).map(|step| (f64::from(step), 0.7)).collect();
                let buffer = drawn(points, log, Rect::new(0, 0, width, 3));
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
        let theme = theme(DARK);
        let points = (0..4000).map(|step| (f64::from(step), f64::from(step % 7))).collect();
        let buffer = chart(&lines(vec![points], false), None, DARK, Rect::new(0, 0, 20, 6));
        let colours = [0, 1, 2, 3, 4, 5].map(|y| Some(buffer[(12, y)].fg));
        assert_eq!((colours[0], colours[5]), (theme.palette.muted.fg, theme.palette.muted.fg));
        assert!(colours.contains(&theme.palette.train.fg));
    }

    #[test]
    fn the_cursor_stands_at_its_step_and_leaves_the_dots() {
        let points = (0..=10).map(|step| (f64::from(step), 1.0)).collect();
        let buffer = chart(&lines(vec![points], false), Some(10.0), DARK, Rect::new(0, 0, 20, 4));
        let free = (0..4).filter(|y| buffer[(19, *y)].symbol() == "│").count();
        assert_eq!(free, 3);
        assert!((0..4).all(|y| Some(buffer[(19, y)].fg) == theme(DARK).palette.accent.fg));
    }

    #[test]
    fn values_that_are_not_finite_leave_the_scale_alone() {
        let points = |odd: f64| -> Vec<(f64, f64)> {
            (0..9).map(|i| (f64::from(i), if i == 4 { odd } else { f64::from(i) })).collect()
        };
        let labels = |buffer: &Buffer| (0..4).map(|y| buffer[(0, y)].symbol().to_owned()).collect::<Vec<_>>();
        let area = Rect::new(0, 0, 20, 4);
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
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, 0.0, 5e-324, -1.0, 3.0];
        let sizes = (0..24).flat_map(|w| (0..8).flat_map(move |h| [1, 7, 300].map(|n| (w, h, n))));
        for (width, height, count) in sizes {
            let value = |step: usize| odd[(step * step + usize::from(width)) % odd.len()];
            let points: Vec<(f64, f64)> = (0..count).map(|step| (step as f64, value(step))).collect();
            for (log, look) in [(false, DARK), (true, MONO)] {
                let series = vec![points.clone(), points.clone()];
                let lines = Lines { marks: points.clone(), ..lines(series, log) };
                chart(&lines, Some(1e9), look, Rect::new(0, 0, width, height));
            }
        }
    }

    #[test]
    fn two_lines_in_one_row_of_cells_keep_their_own_colours_along_their_whole_way() {
        let theme = theme(DARK);
        let flat = |value: f64| (0..40).map(|step| (f64::from(step), value)).collect::<Vec<_>>();
        // Points that are far apart, as those of the held-out loss are.
        let seldom: Vec<_> = flat(1.3).into_iter().step_by(13).collect();
        let lines = lines(vec![flat(1.0), seldom], false);
        let buffer = chart(&lines, None, DARK, Rect::new(0, 0, 24, 1));
        let of = |style: Style, dots: &str| {
            let is_of = |x: &u16| Some(buffer[(*x, 0)].fg) == style.fg && buffer[(*x, 0)].symbol() == dots;
            (0..24).filter(is_of).count()
        };
        let (train, held_out) = (of(theme.palette.train, "⣀"), of(theme.palette.held_out, "⠉"));
        assert_eq!(train + held_out, 24 - usize::from(lines.gutter(1)), "{buffer:?}");
        assert!(train.abs_diff(held_out) <= 1, "{buffer:?}");
    }

    #[test]
    fn a_line_that_has_no_point_on_show_passes_by() {
        let steps = Range { low: 10.0, high: 20.0 };
        let series = Series::within(steps, [(0.0, 2.0), (40.0, 2.0)].into_iter(), |palette| palette.train);
        let lines = Lines { steps, series: vec![series], ..lines(Vec::new(), false) };
        let buffer = chart(&lines, None, DARK, Rect::new(0, 0, 12, 1));
        assert!((4..12).all(|x| buffer[(x, 0)].symbol() == "⠤"), "{buffer:?}");
    }

    #[test]
    fn without_colours_a_second_line_is_made_of_characters() {
        let line: Vec<_> = (0..100).map(|step| (f64::from(step), f64::from(100 - step))).collect();
        let lines = lines(vec![line.clone(), line], false);
        let buffer = chart(&lines, None, MONO, Rect::new(0, 0, 40, 6));
        let seen: String = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
        let points = seen.matches(POINT).count();
        assert!((8..=13).contains(&points), "{points}");
        let dots = seen.chars().filter(|character| ('⠁'..='⣿').contains(character)).count();
        assert!(dots > points, "the first line is seen between them");
    }

    #[test]
    fn where_no_value_has_a_logarithm_none_is_drawn() {
        let points = (0..9).map(|step| (f64::from(step), 0.0)).collect();
        let lines = lines(vec![points], true);
        assert!(!lines.is_log() && lines.values(lines.is_log()).is_some());
    }

    #[test]
    fn a_point_that_stands_out_is_marked_at_the_top_of_its_column() {
        let points = (0..=100).map(|step| (f64::from(step), if step == 50 { 9.0 } else { 1.0 })).collect();
        let lines = Lines { marks: vec![(50.0, 9.0)], ..lines(vec![points], false) };
        let buffer = chart(&lines, None, DARK, Rect::new(0, 0, 20, 3));
        let marked: Vec<u16> = (0..20).filter(|x| buffer[(*x, 0)].symbol() == MARK).collect();
        assert_eq!(marked, [11]);
        assert_eq!(Some(buffer[(11, 0)].fg), theme(DARK).palette.warn.fg);
    }

    #[test]
    fn points_that_are_not_finite_leave_a_gap() {
        let points = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 1.0)];
        let buffer = drawn(points, false, Rect::new(0, 0, 20, 1));
        assert_ne!(buffer[(4, 0)].symbol(), " ");
        assert_eq!(buffer[(12, 0)].symbol(), " ");
        assert_ne!(buffer[(19, 0)].symbol(), " ");
    }

    #[test]
    fn no_points_are_said_to_be_none() {
        assert_eq!(drawn(Vec::new(), false, Rect::new(0, 0, 12, 1)), picture(["no steps yet"]));
    }
}
