//! From losses to heights and colours, and the round numbers to mark on the way.

/// The share of losses that heights and colours must be able to tell apart.
const ROBUST: f64 = 0.98;
/// The top of a scale is the greatest loss, unless that stretches the robust range by more than this factor.
const STRETCH: f64 = 2.0;
/// Contours at most.
const CONTOURS: f64 = 20.0;

/// Where losses lie between the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// The loss at the bottom.
    pub(super) low: f64,
    /// The loss at the top; what is above it is cut.
    pub(super) high: f64,
    /// Heights go by the logarithm.
    pub(super) is_log: bool,
}

impl Scale {
    /// The scale of the finite ones among these losses. By the logarithm only where all are positive.
    pub(super) fn of(losses: impl Iterator<Item = f64>, by_log: bool) -> Self {
        let mut finite: Vec<f64> = losses.filter(|loss| loss.is_finite()).collect();
        finite.sort_unstable_by(f64::total_cmp);
        let (Some(&low), Some(&highest)) = (finite.first(), finite.last()) else {
            return Self { low: 0.0, high: 0.0, is_log: false };
        };
        let is_log = by_log && low > 0.0;
        let seen = |loss: f64| if is_log { loss.ln() } else { loss };
        let robust = finite[((finite.len() - 1) as f64 * ROBUST) as usize];
        let stretched = robust > low && seen(highest) - seen(low) > STRETCH * (seen(robust) - seen(low));
        Self { low, high: if stretched { robust } else { highest }, is_log }
    }

    /// The height of a loss, from 0 to 1; `None` where it is not finite.
    pub(super) fn height(&self, loss: f64) -> Option<f64> {
        if !loss.is_finite() {
            return None;
        }
        let Self { low, high, is_log } = *self;
        let loss = loss.clamp(low, high);
        let share = match high > low {
            true if is_log => (loss.ln() - low.ln()) / (high.ln() - low.ln()),
            true => (loss - low) / (high - low),
            false => 0.0,
        };
        Some(share)
    }

    /// The losses that have a contour and a mark on the colour bar.
    pub(super) fn marks(&self) -> Vec<f64> {
        let Self { low, high, is_log } = *self;
        if is_log {
            let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
            let marks = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10_f64.powi(power)));
            let marks: Vec<f64> = marks.filter(|mark| (low..=high).contains(mark)).collect();
            if marks.len() >= 4 {
                return marks;
            }
        }
        round_numbers(low, high, CONTOURS)
    }
}

/// Multiples of 1, 2 or 5 times a power of ten in a range: at most so many, and at least about half as many.
pub(super) fn round_numbers(low: f64, high: f64, most: f64) -> Vec<f64> {
    let least = (high - low) / most;
    let power = 10_f64.powi(least.log10().floor().clamp(-300.0, 300.0) as i32);
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= least);
    let Some(step) = step.filter(|step| high > low && step.is_normal()) else { return Vec::new() };
    // A rounding error decides nothing at the ends.
    let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
    (first..=last).map(|count| count as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: &[f64], b: &[f64]) {
        assert!(a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9), "{a:?} for {b:?}");
    }

    #[test]
    fn marks_are_round_and_inside() {
        near(&round_numbers(-1.0, 1.0, 5.0), &[-1.0, -0.5, 0.0, 0.5, 1.0]);
        near(
            &round_numbers(2.9, 14.2, 12.0),
            &[3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0],
        );
        assert!(round_numbers(1.0, 1.0, 5.0).is_empty() && round_numbers(0.0, f64::NAN, 5.0).is_empty());
        near(&Scale { low: 0.03, high: 3.0, is_log: true }.marks(), &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0]);
        assert!(!Scale { low: 2.0, high: 3.0, is_log: true }.marks().is_empty());
    }

    #[test]
    fn heights_go_from_the_least_to_the_greatest_but_for_a_spike() {
        let losses = || (0..100).map(f64::from);
        let scale = Scale::of(losses(), false);
        near(&[0.0, 49.5, 99.0].map(|loss| scale.height(loss).unwrap()), &[0.0, 0.5, 1.0]);
        assert_eq!(scale.height(f64::INFINITY), None);
        let spiked = Scale::of(losses().chain([1e9, f64::NAN]), false);
        assert!(spiked.high < 100.0);
        near(&[spiked.height(1e9).unwrap()], &[1.0]);
        let log = Scale::of([0.1, 1.0, 10.0, 10.0].into_iter(), true);
        near(&[log.height(1.0).unwrap()], &[0.5]);
        assert!(!Scale::of([-1.0, 1.0].into_iter(), true).is_log);
        near(&[Scale::of([2.0].into_iter(), true).height(2.0).unwrap()], &[0.0]);
        assert_eq!(Scale::of([f64::NAN].into_iter(), false).marks(), Vec::<f64>::new());
    }
}
