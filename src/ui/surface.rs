//! A slice as a surface: the loss anywhere between its samples, and its level on the colour scale.

use crate::protocol::Slice;
use crate::theme::LEVELS;

/// From losses to levels of colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// The loss at the bottom of the scale.
    pub(super) low: f64,
    /// The loss at its top.
    pub(super) high: f64,
    /// Some samples lie above the top.
    pub(super) clipped: bool,
    /// The scale is logarithmic.
    pub(super) log: bool,
}

impl Scale {
    /// The share of samples that the colours must be able to tell apart.
    const ROBUST: f64 = 0.98;
    /// The top is the greatest loss, unless that stretches the robust range by more than this factor.
    const STRETCH: f64 = 2.0;

    /// The scale of the finite ones among these losses; `None` when there is none.
    pub(super) fn of(losses: impl Iterator<Item = f32>, log: bool) -> Option<Self> {
        let mut finite: Vec<f32> = losses.filter(|loss| loss.is_finite()).collect();
        finite.sort_by(f32::total_cmp);
        let (low, highest) = (f64::from(*finite.first()?), f64::from(*finite.last()?));
        let robust = f64::from(finite[((finite.len() - 1) as f64 * Self::ROBUST) as usize]);
        let clipped = robust > low && highest - low > Self::STRETCH * (robust - low);
        Some(Self { low, high: if clipped { robust } else { highest }, clipped, log: log && low > 0.0 })
    }

    /// Where a loss lies, from 0 at the bottom to 1 at the top, and beyond.
    pub(super) fn place(&self, loss: f64) -> f64 {
        let (value, low, high) =
            if self.log { (loss.ln(), self.low.ln(), self.high.ln()) } else { (loss, self.low, self.high) };
        if high > low { (value - low) / (high - low) } else { 0.0 }
    }

    /// The level of a loss, from 0 to `LEVELS - 1`.
    pub(super) fn level(&self, loss: f64) -> usize {
        ((self.place(loss) * LEVELS as f64) as usize).min(LEVELS - 1)
    }

    /// The loss in the middle of the scale.
    pub(super) fn middle(&self) -> f64 {
        if self.log { (self.low * self.high).sqrt() } else { f64::midpoint(self.low, self.high) }
    }
}

/// A slice that fits together, and its scale.
pub(super) struct Surface<'a> {
    pub(super) slice: &'a Slice,
    pub(super) scale: Scale,
}

impl<'a> Surface<'a> {
    /// `None` when the slice has no finite loss, or its parts do not fit together.
    pub(super) fn new(slice: &'a Slice, log: bool) -> Option<Self> {
        Self::scaled(slice, Scale::of(slice.loss.iter().copied(), log)?)
    }

    /// The same on a scale that others share.
    pub(super) fn scaled(slice: &'a Slice, scale: Scale) -> Option<Self> {
        let fits = slice.loss.len() == slice.alphas.len() * slice.betas.len();
        let shown = fits && slice.loss.iter().any(|loss| loss.is_finite());
        shown.then_some(Self { slice, scale })
    }

    /// The loss at a place, from (0, 0) at the lowest coordinates to (1, 1) at the highest, interpolated
    /// bilinearly between the four samples around it. `None` where one of those is not finite.
    pub(super) fn loss(&self, u: f64, v: f64) -> Option<f64> {
        let (columns, rows) = (self.slice.alphas.len(), self.slice.betas.len());
        let split = |place: f64, count: usize| {
            let place = place.clamp(0.0, 1.0) * (count - 1) as f64;
            let index = (place as usize).min(count.saturating_sub(2));
            (index, place - index as f64)
        };
        let ((column, right), (row, up)) = (split(u, columns), split(v, rows));
        let mut sum = 0.0;
        for (row, weight) in [(row, 1.0 - up), (row + 1, up)] {
            for (column, weight) in [(column, weight * (1.0 - right)), (column + 1, weight * right)] {
                if weight > 0.0 {
                    sum += weight * f64::from(self.slice.loss[row * columns + column]);
                }
            }
        }
        sum.is_finite().then_some(sum)
    }

    /// Coordinates as a place, from 0 to 1 inside the slice.
    pub(super) fn place(&self, alpha: f64, beta: f64) -> (f64, f64) {
        (fraction(&self.slice.alphas, alpha), fraction(&self.slice.betas, beta))
    }

    /// The sample in this column and row.
    pub(super) fn sample(&self, (column, row): (usize, usize)) -> f64 {
        f64::from(self.slice.loss[row * self.slice.alphas.len() + column])
    }
}

fn fraction(values: &[f64], value: f64) -> f64 {
    match values {
        [first, .., last] if last > first => (value - first) / (last - first),
        [only] if value > *only => f64::INFINITY,
        [only] if value < *only => f64::NEG_INFINITY,
        _ => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn samples_are_met_and_what_is_between_is_between() {
        let slice = fixture::slice(3, |alpha, beta| (2.0 * alpha + beta) as f32 + 5.0);
        let surface = Surface::new(&slice, false).unwrap();
        assert_eq!(surface.loss(0.0, 0.0), Some(2.0));
        assert_eq!(surface.loss(1.0, 0.0), Some(6.0));
        assert_eq!(surface.loss(0.25, 0.5), Some(4.0));
        assert_eq!(surface.place(-1.0, 0.5), (0.0, 0.75));
        assert_eq!(Some(surface.sample((2, 0))), Some(6.0));
    }

    #[test]
    fn one_spike_does_not_take_the_colours_from_the_rest() {
        let spike = |alpha: f64, _| if alpha > 0.99 { 1e6 } else { 2.0 + alpha as f32 };
        let mut slice = fixture::slice(17, |alpha, _| 2.0 + alpha as f32);
        slice.loss[16] = spike(1.0, 0.0);
        let surface = Surface::new(&slice, false).unwrap();
        assert!(surface.scale.clipped);
        assert!(surface.scale.high <= 3.0);
        let honest = fixture::slice(17, |alpha, beta| (alpha * alpha + beta * beta) as f32);
        assert!(!Surface::new(&honest, false).unwrap().scale.clipped);
    }

    #[test]
    fn losses_that_are_not_finite_have_no_value_and_do_not_spread_far() {
        let mut slice = fixture::slice(5, |_, _| 1.0);
        slice.loss[12] = f32::NAN;
        let surface = Surface::new(&slice, false).unwrap();
        assert_eq!(surface.loss(0.5, 0.5), None);
        assert_eq!(surface.loss(0.6, 0.5), None);
        assert_eq!(surface.loss(0.75, 0.5), Some(1.0));
    }

    #[test]
    fn a_slice_that_does_not_fit_together_is_not_drawn() {
        let mut slice = fixture::slice(3, |_, _| 1.0);
        slice.loss.pop();
        assert!(Surface::new(&slice, false).is_none());
        assert!(Surface::new(&fixture::slice(3, |_, _| f32::NAN), false).is_none());
    }

    #[test]
    fn a_logarithmic_scale_gives_small_losses_more_levels() {
        let slice = fixture::slice(5, |alpha, _| 10_f64.powf(alpha) as f32 * 1.01);
        let level = |log| Surface::new(&slice, log).unwrap().scale.level(1.1);
        assert_eq!((level(false), level(true)), (1, 6));
    }
}
