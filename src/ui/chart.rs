//! Lines over steps, in braille dots, with axes.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::theme::Theme;

use super::braille::Dots;
use super::text;

/// A line: points in the order of steps, and its style.
pub(super) struct Series {
    /// Step and value.
    pub(super) points: Vec<(f64, f64)>,
    pub(super) style: Style,
}

/// Lines in one frame of axes. The points of all but the first are beads, seen also where the lines meet. Where several points fall into one column of dots, the column shows their range.
pub(super) struct Chart<'a> {
    pub(super) theme: &'a Theme,
    pub(super) series: Vec<Series>,
    /// Points of the first line that stand out.
    pub(super) marks: Vec<(f64, f64)>,
    /// The values' logarithm is drawn.
    pub(super) log: bool,
}

/// What stands at a point that stands out.
const MARK: &str = "!";

/// Something that has a least and a greatest value.
#[derive(Clone, Copy)]
struct Range {
    low: f64,
    high: f64,
}

impl Range {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        values.filter(|value| value.is_finite()).fold(None, |range: Option<Self>, value| {
            let range = range.unwrap_or(Self { low: value, high: value });
            Some(Self { low: range.low.min(value), high: range.high.max(value) })
        })
    }

    /// Where a value lies, from 0 to 1.
    fn place(self, value: f64) -> f64 {
        if self.high > self.low { ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0) } else { 0.5 }
    }
}

impl Chart<'_> {
    fn value(&self, value: f64) -> f64 {
        if self.log { value.ln() } else { value }
    }

    fn label(&self, value: f64) -> String {
        text::short_number(if self.log { value.exp() } else { value })
    }

    fn draw(&self, steps: Range, values: Range, area: Rect, buffer: &mut Buffer) {
        let mut dots = Dots::new(area.width, area.height);
        let (columns, rows) = dots.size();
        let x = |step| (steps.place(step) * (columns - 1) as f64).round() as usize;
        let y = |value| ((1.0 - values.place(value)) * (rows - 1) as f64).round() as usize;
        for (layer, series) in self.series.iter().enumerate() {
            let mut last: Option<(usize, usize)> = None;
            for &(step, value) in &series.points {
                let value = self.value(value);
                if !value.is_finite() {
                    last = None;
                    continue;
                }
                let here = (x(step), y(value));
                dots.line(last.unwrap_or(here), here, layer);
                if layer > 0 {
                    dots.bead(here, layer);
                }
                last = Some(here);
            }
        }
        let styles: Vec<Style> = self.series.iter().map(|series| series.style).collect();
        dots.draw(area, &styles, buffer);
        let marks = self.marks.iter().map(|&(step, value)| (step, self.value(value)));
        for (step, value) in marks.filter(|(_, value)| value.is_finite()) {
            // A cell holds 2 x 4 dots.
            let place = (area.x + (x(step) / 2) as u16, area.y + (y(value) / 4) as u16);
            buffer[place].set_symbol(MARK).set_style(self.theme.palette.warn);
        }
    }
}

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let muted = self.theme.palette.muted;
        let points = || self.series.iter().flat_map(|series| &series.points);
        let steps = Range::of(points().map(|point| point.0));
        let values = Range::of(points().map(|point| self.value(point.1)));
        let (Some(steps), Some(values)) = (steps, values) else {
            Line::styled("no steps yet", muted).render(area, buffer);
            return;
        };
        let last = area.height.saturating_sub(2);
        let rows = [0, last / 2, last];
        let labels = rows.map(|row| {
            let down = f64::from(row) / f64::from(last.max(1));
            self.label(values.high - down * (values.high - values.low))
        });
        let gutter = labels.iter().map(|label| text::width(label)).max().unwrap_or(0) as u16 + 1;
        if area.width < gutter + 4 || area.height < 2 {
            return;
        }
        let plot = Rect { x: area.x + gutter, width: area.width - gutter, height: area.height - 1, ..area };
        for (index, (label, row)) in labels.iter().zip(rows).enumerate() {
            let repeated = labels[..index].contains(label) || rows[..index].contains(&row);
            if !repeated {
                let place = Rect { x: area.x, y: plot.y + row, width: gutter - 1, height: 1 };
                Line::from(Span::styled(label.as_str(), muted)).right_aligned().render(place, buffer);
            }
        }
        let below = Rect { y: plot.bottom(), height: 1, ..plot };
        Line::styled(format!("{:.0}", steps.low), muted).render(below, buffer);
        if steps.high > steps.low {
            Line::styled(format!("step {:.0}", steps.high), muted).right_aligned().render(below, buffer);
        }
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
        Chart { theme: &theme, series, marks: Vec::new(), log }.render(area, &mut buffer);
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
        let expected = picture(["8.0 ⠑⠢⢄⣀    ", "1.0     ⠉⠒⠤⣀", "    1 step 8"]);
        assert_eq!(drawn(points, false, Rect::new(0, 0, 12, 3)), expected);
    }

    #[test]
    fn many_points_in_one_column_show_their_range() {
        let points = (0..400).map(|step| (f64::from(step), if step % 2 == 0 { 1.0 } else { 3.0 })).collect();
        let buffer = drawn(points, false, Rect::new(0, 0, 20, 4));
        for x in 4..20 {
            for y in 0..3 {
                assert_eq!(buffer[(x, y)].symbol(), "⣿", "{x} {y}");
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
        Chart { theme: &theme, series, marks: Vec::new(), log: false }.render(buffer.area, &mut buffer);
        assert_eq!((Some(buffer[(4, 0)].fg), Some(buffer[(19, 2)].fg)), (second.fg, first.fg));
    }

    #[test]
    fn a_point_that_stands_out_is_marked_where_it_is() {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 4));
        let points = (0..=100).map(|step| (f64::from(step), if step == 50 { 9.0 } else { 1.0 })).collect();
        let series = vec![Series { points, style: theme.palette.train }];
        Chart { theme: &theme, series, marks: vec![(50.0, 9.0)], log: false }
            .render(buffer.area, &mut buffer);
        let marked: Vec<u16> = (0..20).filter(|x| buffer[(*x, 0)].symbol() == MARK).collect();
        assert_eq!(marked, [12]);
        assert_eq!(Some(buffer[(12, 0)].fg), theme.palette.warn.fg);
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
