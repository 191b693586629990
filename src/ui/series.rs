//! A line over steps: its points, and where it enters and leaves the steps on show.

use ratatui::style::Style;

use crate::theme::Palette;

use super::axis::Range;

/// What something is drawn with: its style in a theme.
pub(super) type Ink = fn(&Palette) -> Style;

/// A line: points in the order of steps, and its ink.
pub(super) struct Series {
    /// Step and value.
    pub(super) points: Vec<(f64, f64)>,
    /// The points before and after the steps on show: the line comes from the one and goes on to the other.
    pub(super) beyond: [Option<(f64, f64)>; 2],
    pub(super) ink: Ink,
}

impl Series {
    /// A line with an end on either side.
    pub(super) fn new(points: Vec<(f64, f64)>, ink: Ink) -> Self {
        Self { points, beyond: [None; 2], ink }
    }

    /// What of a line lies within some steps.
    pub(super) fn within(steps: Range, points: impl Iterator<Item = (f64, f64)>, ink: Ink) -> Self {
        let mut series = Self::new(Vec::new(), ink);
        for point in points {
            if steps.has(point.0) {
                series.points.push(point);
            } else if point.0 < steps.low {
                series.beyond[0] = Some(point);
            } else {
                series.beyond[1] = Some(point);
                break;
            }
        }
        series
    }

    /// Where the line enters the steps on show and where it leaves them, as it is drawn; the points that are there
    /// already are left out. Values are those of [`scaled`].
    pub(super) fn crossings(&self, steps: Range, log: bool) -> [Option<(f64, f64)>; 2] {
        let [before, after] = self.beyond;
        let (first, last) = (self.points.first().copied(), self.points.last().copied());
        let crossing = |edge: f64, one: Option<(f64, f64)>, other: Option<(f64, f64)>| {
            let ((one, a), (other, b)) = (one?, other?);
            let (a, b) = (scaled(a, log), scaled(b, log));
            (one < edge && edge < other).then(|| (edge, a + (b - a) * (edge - one) / (other - one)))
        };
        [crossing(steps.low, before, first.or(after)), crossing(steps.high, last.or(before), after)]
    }
}

/// A value as it is drawn.
pub(super) fn scaled(value: f64, log: bool) -> f64 {
    if log { value.ln() } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_from_the_point_before_the_steps_on_show_and_goes_on_to_the_one_after() {
        let steps = Range { low: 10.0, high: 20.0 };
        let ink: Ink = |palette| palette.train;
        let within = |points: &[(f64, f64)]| Series::within(steps, points.iter().copied(), ink);
        let series = within(&[(0.0, 1.0), (8.0, 4.0), (12.0, 2.0), (30.0, 11.0), (40.0, 1.0)]);
        assert_eq!(series.points, [(12.0, 2.0)]);
        assert_eq!(series.crossings(steps, false), [Some((10.0, 3.0)), Some((20.0, 6.0))]);
        let log = series.crossings(steps, true).map(|end| end.unwrap().1.exp());
        assert!((log[0] - 8f64.sqrt()).abs() < 1e-12, "{log:?}");

        let nothing_between = within(&[(0.0, 2.0), (40.0, 2.0)]);
        assert_eq!(nothing_between.crossings(steps, false), [Some((10.0, 2.0)), Some((20.0, 2.0))]);

        let points_at_the_ends = within(&[(9.0, 9.0), (10.0, 1.0), (20.0, 1.0), (21.0, 9.0)]);
        assert_eq!(points_at_the_ends.crossings(steps, false), [None, None]);
    }
}
