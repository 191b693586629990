//! Ranges of values, and round numbers along them.

use super::text;

/// Something that has a least and a greatest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Range {
    /// The range of those values that are finite; `None` where none is.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        values.filter(|value| value.is_finite()).fold(None, |range: Option<Self>, value| {
            let range = range.unwrap_or(Self { low: value, high: value });
            Some(Self { low: range.low.min(value), high: range.high.max(value) })
        })
    }

    /// Whether it is one value: what rounding alone makes differ is not spread over a whole chart.
    pub(super) fn is_flat(self) -> bool {
        self.high - self.low <= 1e-12 * self.low.abs().max(self.high.abs())
    }

    /// Whether a value lies in it.
    pub(super) fn has(self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Where a value lies, from 0 to 1.
    pub(super) fn place(self, value: f64) -> f64 {
        if self.is_flat() {
            return 0.5;
        }
        // In halves the largest numbers do not overflow.
        let (low, high) = (self.low / 2.0, self.high / 2.0);
        ((value / 2.0 - low) / (high - low)).clamp(0.0, 1.0)
    }

    /// The row of dots where a value lies, of so many from the top.
    pub(super) fn dot(self, value: f64, dots: usize) -> usize {
        ((1.0 - self.place(value)) * dots.saturating_sub(1) as f64).round() as usize
    }

    /// The row of cells where a value lies, of so many from the top. A cell has four rows of dots.
    fn row(self, value: f64, rows: u16) -> u16 {
        (self.dot(value, 4 * usize::from(rows)) / 4) as u16
    }
}

/// A round number, and the power of ten of its last digit.
type Tick = (f64, i32);

/// Round numbers for the rows of an axis, from the top, in even steps. Where the logarithm is drawn, `drawn` is its
/// range, and the numbers are those that it is of. Where there is no room for three, there are the first and the last
/// of them.
pub(super) fn labels(drawn: Range, log: bool, rows: u16) -> Vec<(u16, String)> {
    if rows == 0 {
        return Vec::new();
    }
    if drawn.is_flat() {
        let value = if log { drawn.low.exp() } else { drawn.low };
        return vec![(drawn.row(drawn.low, rows), text::short_number(value))];
    }
    let label = |tick: &Tick| {
        let row = drawn.row(if log { tick.0.ln() } else { tick.0 }, rows);
        (row, text::tick(tick.0, tick.1))
    };
    let is_apart = |labels: &Vec<(u16, String)>| labels.windows(2).all(|pair| pair[0].0 < pair[1].0);
    let fits = |ticks: &Vec<Tick>| (3..=usize::from(rows)).contains(&ticks.len());
    let every = |ticks: Vec<Tick>| ticks.iter().map(label).collect::<Vec<_>>();
    let ends = |ticks: Vec<Tick>| match &ticks[..] {
        [first, .., last] if rows > 1 => vec![label(first), label(last)],
        [first, ..] if rows == 1 => vec![label(first)],
        _ => Vec::new(),
    };
    let all = sets(drawn, log).filter(fits).map(every).find(is_apart);
    let few = || sets(drawn, log).map(ends).find(|labels| !labels.is_empty() && is_apart(labels));
    all.or_else(few).unwrap_or_default()
}

/// What is times a power of ten on a logarithmic axis, the rounder numbers first.
const DECADES: [&[f64]; 2] = [&[1.0], &[1.0, 2.0, 5.0]];

/// Numbers in even steps, the roundest first.
fn sets(drawn: Range, log: bool) -> impl Iterator<Item = Vec<Tick>> {
    let (low, high) = ends(drawn, log);
    DECADES
        .into_iter()
        .filter(move |_| log)
        .map(move |digits| decade_ticks(low, high, digits))
        .chain(steps(high - low).map(move |step| multiples(low, high, step)))
}

/// The numbers at the ends of a range. A logarithm's are kept positive and finite.
fn ends(drawn: Range, log: bool) -> (f64, f64) {
    let value = |drawn: f64| if log { drawn.exp().clamp(f64::MIN_POSITIVE, f64::MAX) } else { drawn };
    (value(drawn.low), value(drawn.high))
}

/// Steps between the numbers of an axis of this length, the largest first: 5, 2 and 1 times powers of ten.
fn steps(length: f64) -> impl Iterator<Item = Tick> {
    // Further down there would be more numbers than rows on any screen.
    let largest = length.min(f64::MAX).log10().ceil() as i32;
    (0..5)
        .flat_map(move |below| [5.0, 2.0, 1.0].map(|digit| (digit, largest.saturating_sub(below))))
        .map(|(digit, power)| (digit * 10_f64.powi(power), power))
        .filter(|(step, _)| step.is_finite() && *step > 0.0)
}

/// The multiples of a step from `low` to `high`, the greatest first.
fn multiples(low: f64, high: f64, (step, power): Tick) -> Vec<Tick> {
    // What is a multiple but for rounding counts as one.
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    if !(0.0..1e3).contains(&(last - first)) {
        return Vec::new();
    }
    (0..=(last - first) as usize).map(|down| ((last - down as f64) * step, power)).collect()
}

/// These digits times the powers of ten from `low` to `high`, the greatest first.
fn decade_ticks(low: f64, high: f64, digits: &[f64]) -> Vec<Tick> {
    let power = |value: f64| value.log10().floor() as i32;
    let between = low * (1.0 - 1e-9)..=(high * (1.0 + 1e-9)).min(f64::MAX);
    let decade = move |power: i32| digits.iter().rev().map(move |digit| (digit * 10_f64.powi(power), power));
    (power(low)..=power(high) + 1).rev().flat_map(decade).filter(|tick| between.contains(&tick.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(low: f64, high: f64, log: bool, rows: u16) -> Vec<String> {
        let drawn = if log { Range { low: low.ln(), high: high.ln() } } else { Range { low, high } };
        labels(drawn, log, rows).into_iter().map(|label| label.1).collect()
    }

    #[test]
    fn labels_are_round_and_in_even_steps_where_these_fit() {
        assert_eq!(texts(0.3, 9.7, false, 10), ["8", "6", "4", "2"]);
        assert_eq!(texts(2.04, 2.31, false, 12), ["2.3", "2.2", "2.1"]);
        assert_eq!(texts(0.0, 0.05, false, 12), [".04", ".02", "0"]);
        assert_eq!(texts(0.0, 3e6, false, 12), ["3e6", "2e6", "1e6", "0"]);
    }

    #[test]
    fn few_rows_have_two_round_numbers_that_lie_on_them() {
        assert_eq!(texts(3.3, 10.2, false, 3), ["10", "5"]);
        assert_eq!(texts(0.0133, 0.0143, false, 4), [".0140", ".0135"]);
        assert_eq!(texts(1.0, 8.0, false, 2), ["8", "2"]);
        assert_eq!(texts(1.0, 8.0, false, 1), ["5"]);
    }

    #[test]
    fn rows_between_two_labels_are_as_many_as_their_difference_says() {
        for rows in 2..30 {
            let range = Range { low: 3.3, high: 10.2 };
            let labels = labels(range, false, rows);
            for pair in labels.windows(3) {
                let steps = [pair[1].0 - pair[0].0, pair[2].0 - pair[1].0];
                assert!(steps[0].abs_diff(steps[1]) <= 1, "{labels:?}");
            }
        }
    }

    #[test]
    fn a_logarithmic_axis_has_powers_of_ten_and_what_is_round_between() {
        assert_eq!(texts(0.01, 20.0, true, 12), ["10", "1", ".1", ".01"]);
        assert_eq!(texts(0.3, 9.0, true, 12), ["5", "2", "1", ".5"]);
    }

    #[test]
    fn three_rows_or_more_have_two_labels_and_ten_have_three() {
        for (low, high) in [(1.0, 8.0), (1.9, 2.1), (0.07, 11.3), (2.0, 7.3), (1e-9, 3e-7), (0.5, 2e6)] {
            for log in [false, true] {
                for rows in 3..60 {
                    let labels = texts(low, high, log, rows);
                    let fewest = if rows < 10 { 2 } else { 3 };
                    assert!(labels.len() >= fewest, "{low} {high} {log} {rows}: {labels:?}");
                }
            }
        }
    }

    #[test]
    fn labels_stand_on_rows_of_their_own_from_the_top() {
        let labels = labels(Range { low: -2.0, high: 3.0 }, false, 9);
        assert!(labels.windows(2).all(|pair| pair[0].0 < pair[1].0), "{labels:?}");
        assert!(labels.iter().any(|label| label.1 == "0"), "{labels:?}");
    }

    #[test]
    fn one_value_has_one_label() {
        assert_eq!(labels(Range { low: 2.5, high: 2.5 }, false, 9), [(4, "2.5".to_owned())]);
        assert_eq!(texts(1.0, 1.0 + f64::EPSILON, false, 9).len(), 1);
    }

    #[test]
    fn the_largest_and_the_smallest_numbers_have_a_place() {
        for (low, high) in [(f64::MIN, f64::MAX), (5e-324, 1e-310), (-1e300, 1e-300)] {
            let range = Range { low, high };
            assert!((0.0..=1.0).contains(&range.place(low)) && (0.0..=1.0).contains(&range.place(high)));
            for rows in 0..5 {
                labels(range, false, rows);
            }
        }
        for rows in 0..5 {
            labels(Range { low: -745.0, high: 709.7 }, true, rows);
        }
    }
}
