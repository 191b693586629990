//! A slice as a surface: the loss anywhere between its samples, and its level on the colour scale.

use crate::app::{Chosen, Stretch};
use crate::protocol::Slice;
use crate::theme::LEVELS;

/// From losses to levels of colour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    /// The loss at the bottom of the scale.
    pub(super) low: f64,
    /// The loss at its top.
    pub(super) high: f64,
    /// Some samples lie above the top; on a scale of changes, or below the bottom.
    pub(super) clipped: bool,
    spread: Spread,
}

/// What lies between the bottom and the top.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Spread {
    Linear,
    Log,
    /// The losses between one level and the next, in rising order. So many of the lowest levels lie below all that is
    /// ranked.
    Rank {
        borders: [f64; LEVELS - 1],
        below: usize,
    },
}

impl Scale {
    /// The share of samples that the colours must be able to tell apart.
    const ROBUST: f64 = 0.98;
    /// The top is the greatest loss, unless that stretches the robust range by more than this factor.
    const STRETCH: f64 = 2.0;
    /// Of a plane that stays, the levels for losses below its own.
    const BELOW: usize = LEVELS / 3;
    /// Of a plane that stays, the loss from which ratios are told apart: below it a loss is nothing to see.
    const LEAST: f32 = 0.01;

    /// The scale of the finite ones among these losses; `None` when there is none.
    pub(super) fn of(losses: impl Iterator<Item = f32>, stretch: Stretch) -> Option<Self> {
        let mut finite: Vec<f32> = losses.filter(|loss| loss.is_finite()).collect();
        finite.sort_by(f32::total_cmp);
        let (low, highest) = (f64::from(*finite.first()?), f64::from(*finite.last()?));
        let robust = f64::from(finite[((finite.len() - 1) as f64 * Self::ROBUST) as usize]);
        let stretched = robust > low && highest - low > Self::STRETCH * (robust - low);
        // A rank is not stretched by how high the highest loss is.
        let clipped = stretched && stretch != Stretch::Rank;
        let spread = match stretch {
            Stretch::Rank => Spread::Rank { borders: borders(&finite, 0), below: 0 },
            Stretch::Log if low > 0.0 => Spread::Log,
            Stretch::Log | Stretch::Linear => Spread::Linear,
        };
        Some(Self { low, high: if clipped { robust } else { highest }, clipped, spread })
    }

    /// The scale of a plane that stays while another one sinks: it depends on the plane that stays alone, and has
    /// levels for losses below those too. By rank they are equal differences down to 0.
    pub(super) fn staying(losses: impl Iterator<Item = f32> + Clone, stretch: Stretch) -> Option<Self> {
        let own = Self::of(losses.clone(), stretch)?;
        match stretch {
            Stretch::Linear => Self::of(losses.chain([0.0]), stretch),
            Stretch::Log => Self::of(losses.chain([Self::LEAST]), stretch),
            Stretch::Rank if own.low <= 0.0 => Some(own),
            Stretch::Rank => {
                let mut finite: Vec<f32> = losses.filter(|loss| loss.is_finite()).collect();
                finite.sort_by(f32::total_cmp);
                let mut borders = borders(&finite, Self::BELOW);
                // What is the lowest loss but for rounding is not below it.
                let lowest = own.low * (1.0 - 1e-6);
                for (level, border) in borders.iter_mut().enumerate().take(Self::BELOW) {
                    *border = lowest * (level + 1) as f64 / Self::BELOW as f64;
                }
                Some(Self { low: 0.0, spread: Spread::Rank { borders, below: Self::BELOW }, ..own })
            }
        }
    }

    /// The loss above which this scale goes by rank, where the levels below it do not.
    pub(super) fn ranked_above(&self) -> Option<f64> {
        match &self.spread {
            Spread::Rank { borders, below } => Some(borders[below.checked_sub(1)?]),
            Spread::Linear | Spread::Log => None,
        }
    }

    /// The scale of the finite ones among these changes: as far below 0 as above.
    pub(super) fn around_zero(changes: impl Iterator<Item = f32>) -> Option<Self> {
        let mut sizes: Vec<f32> = changes.map(f32::abs).filter(|size| size.is_finite()).collect();
        if sizes.is_empty() {
            return None;
        }
        sizes.push(0.0);
        let sizes = Self::of(sizes.into_iter(), Stretch::Linear)?;
        // Where nothing changed, 0 is in the middle all the same.
        let high = sizes.high.max(f64::MIN_POSITIVE);
        Some(Self { low: -high, high, ..sizes })
    }

    /// The same scale for these losses too: those above its top are cut off there.
    pub(super) fn with(self, mut losses: impl Iterator<Item = f32>) -> Self {
        Self { clipped: self.clipped || losses.any(|loss| f64::from(loss) > self.high), ..self }
    }

    /// Where a loss lies, from 0 at the bottom to 1 at the top, and beyond.
    pub(super) fn place(&self, loss: f64) -> f64 {
        let between =
            |value: f64, low: f64, high: f64| if high > low { (value - low) / (high - low) } else { 0.0 };
        match &self.spread {
            Spread::Linear => between(loss, self.low, self.high),
            Spread::Log => between(loss.ln(), self.low.ln(), self.high.ln()),
            Spread::Rank { borders, .. } => {
                let level = rank(borders, loss);
                let low = if level > 0 { borders[level - 1] } else { self.low };
                let high = borders.get(level).copied().unwrap_or(self.high);
                (level as f64 + between(loss, low, high)) / LEVELS as f64
            }
        }
    }

    /// Whether a loss lies beyond an end, but for rounding.
    pub(super) fn cuts_off(&self, loss: f64) -> bool {
        self.clipped && (loss > self.high || self.place(loss) < -1e-9)
    }

    /// The level of a loss, from 0 to `LEVELS - 1`.
    pub(super) fn level(&self, loss: f64) -> usize {
        match &self.spread {
            // Exact on the borders, where the place is rounded.
            Spread::Rank { borders, .. } => rank(borders, loss),
            Spread::Linear | Spread::Log => Self::level_at(self.place(loss)),
        }
    }

    /// The level at a place of the scale.
    pub(super) fn level_at(place: f64) -> usize {
        ((place * LEVELS as f64) as usize).min(LEVELS - 1)
    }

    /// What there is to show of a loss, if there is one.
    fn dot(&self, loss: Option<f64>) -> Dot {
        match loss {
            None => Dot::NotFinite,
            Some(loss) if self.cuts_off(loss) => Dot::Clipped(self.level(loss)),
            Some(loss) => Dot::Level(self.level(loss)),
        }
    }

    /// The loss in the middle of the scale.
    pub(super) fn middle(&self) -> f64 {
        match &self.spread {
            Spread::Linear => f64::midpoint(self.low, self.high),
            Spread::Log => (self.low * self.high).sqrt(),
            Spread::Rank { borders, .. } => borders[LEVELS / 2 - 1],
        }
    }

    /// How the scale is stretched.
    pub(super) fn stretch(&self) -> Stretch {
        match self.spread {
            Spread::Linear => Stretch::Linear,
            Spread::Log => Stretch::Log,
            Spread::Rank { .. } => Stretch::Rank,
        }
    }
}

/// The losses that part these sorted ones into levels with equally many samples, above so many levels without one.
fn borders(sorted: &[f32], below: usize) -> [f64; LEVELS - 1] {
    std::array::from_fn(|level| {
        let above = (level + 1).saturating_sub(below) * sorted.len() / (LEVELS - below);
        f64::midpoint(f64::from(sorted[above.saturating_sub(1)]), f64::from(sorted[above]))
    })
}

/// How many borders lie below a loss. So few are sooner compared all at once than searched.
fn rank(borders: &[f64; LEVELS - 1], loss: f64) -> usize {
    borders.iter().map(|border| usize::from(*border < loss)).sum()
}

/// What a point of a surface shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dot {
    Level(usize),
    /// Beyond an end of the scale, whose level this is.
    Clipped(usize),
    NotFinite,
}

impl Dot {
    pub(super) fn level(self) -> Option<usize> {
        match self {
            Self::Level(level) | Self::Clipped(level) => Some(level),
            Self::NotFinite => None,
        }
    }
}

/// A place between two samples of a row or column.
#[derive(Clone, Copy)]
struct Between {
    /// The one before it.
    sample: usize,
    /// The way from there to the next one, from 0 to 1.
    share: f64,
}

impl Between {
    /// The samples around a place, from 0 at the first of `count` to 1 at the last.
    fn samples(place: f64, count: usize) -> Self {
        let place = place.clamp(0.0, 1.0) * (count - 1) as f64;
        // What is a sample but for rounding takes nothing from its neighbours.
        let place = if (place - place.round()).abs() < 1e-9 { place.round() } else { place };
        let sample = (place as usize).min(count.saturating_sub(2));
        Self { sample, share: place - sample as f64 }
    }
}

/// A slice that fits together, and its scale.
pub(super) struct Surface<'a> {
    pub(super) slice: &'a Slice,
    pub(super) scale: Scale,
}

impl<'a> Surface<'a> {
    /// `None` when the slice has no finite loss, or its parts do not fit together.
    pub(super) fn new(slice: &'a Slice, stretch: Stretch) -> Option<Self> {
        Self::scaled(slice, Scale::of(slice.loss.iter().copied(), stretch)?)
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
        self.between(Between::samples(u, columns), Between::samples(v, rows))
    }

    fn between(&self, across: Between, upwards: Between) -> Option<f64> {
        let columns = self.slice.alphas.len();
        let (Between { sample: column, share: right }, Between { sample: row, share: up }) =
            (across, upwards);
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

    /// What there is to show at a place, as [`Self::loss`] has it.
    pub(super) fn dot(&self, u: f64, v: f64) -> Dot {
        self.scale.dot(self.loss(u, v))
    }

    /// What there is to show in the middle of each dot of a picture of so many columns and rows, row by row from the
    /// upper left.
    pub(super) fn dots(&self, columns: usize, rows: usize) -> Vec<Dot> {
        let middle = |index: usize, count: usize| (index as f64 + 0.5) / count as f64;
        let (samples, lines) = (self.slice.alphas.len(), self.slice.betas.len());
        let across: Vec<_> = (0..columns).map(|x| Between::samples(middle(x, columns), samples)).collect();
        let mut dots = Vec::with_capacity(columns * rows);
        for y in 0..rows {
            let upwards = Between::samples(1.0 - middle(y, rows), lines);
            dots.extend(across.iter().map(|across| self.scale.dot(self.between(*across, upwards))));
        }
        dots
    }

    /// How high a loss stands on a surface, from 0 to 1; what is beyond an end is at that end. A rank is a colour, and
    /// no height.
    pub(super) fn height(&self, loss: f64) -> f64 {
        let Scale { low, high, spread, .. } = &self.scale;
        let place = match spread {
            Spread::Rank { .. } if high > low => (loss - low) / (high - low),
            _ => self.scale.place(loss),
        };
        place.clamp(0.0, 1.0)
    }

    /// Coordinates as a place, from 0 to 1 inside the slice.
    pub(super) fn place(&self, alpha: f64, beta: f64) -> (f64, f64) {
        (fraction(&self.slice.alphas, alpha), fraction(&self.slice.betas, beta))
    }

    /// The loss under the cursor, interpolated as everywhere; not a number where none is known.
    pub(super) fn under(&self, cursor: Chosen) -> f64 {
        let (u, v) = self.place(cursor.alpha, cursor.beta);
        self.loss(u, v).filter(|_| cursor.is_on(self.slice)).unwrap_or(f64::NAN)
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
        let surface = Surface::new(&slice, Stretch::Linear).unwrap();
        assert_eq!(surface.loss(0.0, 0.0), Some(2.0));
        assert_eq!(surface.loss(1.0, 0.0), Some(6.0));
        assert_eq!(surface.loss(0.25, 0.5), Some(4.0));
        assert_eq!(surface.place(-1.0, 0.5), (0.0, 0.75));
    }

    #[test]
    fn one_spike_does_not_take_the_colours_from_the_rest() {
        let spike = |alpha: f64, _| if alpha > 0.99 { 1e6 } else { 2.0 + alpha as f32 };
        let mut slice = fixture::slice(17, |alpha, _| 2.0 + alpha as f32);
        slice.loss[16] = spike(1.0, 0.0);
        let surface = Surface::new(&slice, Stretch::Linear).unwrap();
        assert!(surface.scale.clipped);
        assert!(surface.scale.high <= 3.0);
        let honest = fixture::slice(17, |alpha, beta| (alpha * alpha + beta * beta) as f32);
        assert!(!Surface::new(&honest, Stretch::Linear).unwrap().scale.clipped);
    }

    #[test]
    fn the_scale_of_changes_has_0_in_its_middle() {
        let scale = |changes: &[f32]| Scale::around_zero(changes.iter().copied()).unwrap();
        let uneven = scale(&[-3.0, -2.0, 0.5, f32::NAN]);
        assert_eq!((uneven.low, uneven.high, uneven.middle()), (-3.0, 3.0, 0.0));
        assert_eq!(
            (uneven.level(-3.0), uneven.level(-0.1), uneven.level(3.0)),
            (0, LEVELS / 2 - 1, LEVELS - 1)
        );
        assert_eq!(scale(&[0.0, 0.0]).level(0.0), LEVELS / 2, "no change at all");
        let spike = scale(&[&[0.1; 100][..], &[-9.0]].concat());
        assert!(spike.cuts_off(-9.0) && !spike.cuts_off(-0.1), "as below 0, so above");
        assert!(Scale::around_zero([f32::NAN].into_iter()).is_none());
    }

    #[test]
    fn losses_that_are_not_finite_have_no_value_and_do_not_spread_far() {
        let mut slice = fixture::slice(5, |_, _| 1.0);
        slice.loss[12] = f32::NAN;
        let surface = Surface::new(&slice, Stretch::Linear).unwrap();
        assert_eq!(surface.loss(0.5, 0.5), None);
        assert_eq!(surface.loss(0.6, 0.5), None);
        assert_eq!(surface.loss(0.75, 0.5), Some(1.0));
    }

    #[test]
    fn a_slice_that_does_not_fit_together_is_not_drawn() {
        let mut slice = fixture::slice(3, |_, _| 1.0);
        slice.loss.pop();
        assert!(Surface::new(&slice, Stretch::Linear).is_none());
        assert!(Surface::new(&fixture::slice(3, |_, _| f32::NAN), Stretch::Linear).is_none());
    }

    #[test]
    fn a_logarithmic_scale_gives_small_losses_more_levels() {
        let slice = fixture::slice(5, |alpha, _| 10_f64.powf(alpha) as f32 * 1.01);
        let level = |stretch| Surface::new(&slice, stretch).unwrap().scale.level(1.1);
        assert_eq!((level(Stretch::Linear), level(Stretch::Log)), (1, 6));
    }

    #[test]
    fn by_rank_every_level_has_the_same_share_of_the_samples() {
        let slice = fixture::slice(12, |alpha, beta| (20.0 * alpha + beta).exp() as f32);
        let scale = Surface::new(&slice, Stretch::Rank).unwrap().scale;
        let mut counts = [0; LEVELS];
        for loss in &slice.loss {
            counts[scale.level(f64::from(*loss))] += 1;
        }
        assert_eq!(counts, [12; LEVELS]);
        assert!(!scale.clipped, "the highest loss takes no colour from the others");
    }

    #[test]
    fn by_rank_the_median_is_in_the_middle_and_the_ends_are_the_ends() {
        let slice = fixture::slice(12, |alpha, beta| (alpha + 2.0 * beta).exp() as f32);
        let scale = Surface::new(&slice, Stretch::Rank).unwrap().scale;
        for (loss, place) in [(scale.low, 0.0), (scale.middle(), 0.5), (scale.high, 1.0)] {
            assert!((scale.place(loss) - place).abs() < 1e-9, "{loss}");
        }
        let below = slice.loss.iter().filter(|loss| f64::from(**loss) < scale.middle()).count();
        assert_eq!(2 * below, slice.loss.len());
    }

    #[test]
    fn of_a_plane_that_stays_a_third_of_the_ranks_is_left_to_what_sinks_below_it() {
        let losses = || (0..240_u16).map(|sample| 3.0 + f32::from(sample) / 100.0);
        let scale = Scale::staying(losses(), Stretch::Rank).unwrap();
        let mut counts = [0; LEVELS];
        losses().for_each(|loss| counts[scale.level(f64::from(loss))] += 1);
        assert_eq!(counts, [0, 0, 0, 0, 30, 30, 30, 30, 30, 30, 30, 30]);
        assert_eq!([0.0, 0.7, 0.8, 1.6, 2.9].map(|loss| scale.level(loss)), [0, 0, 1, 2, 3]);
        assert_eq!((scale.low, scale.ranked_above().map(f64::round)), (0.0, Some(3.0)));
        assert_eq!(Scale::staying(losses(), Stretch::Log).unwrap().level(0.01), 0);
        let linear = Scale::staying(losses(), Stretch::Linear).unwrap();
        assert_eq!((linear.low, linear.clipped), (0.0, false));
        assert_eq!(Scale::staying([f32::NAN].into_iter(), Stretch::Linear), None);
    }

    #[test]
    fn by_rank_the_place_rises_with_the_loss_and_agrees_with_the_level() {
        let mut slice = fixture::slice(5, |alpha, beta| (alpha * alpha + beta).round() as f32);
        for sides in [5, 1] {
            (slice.alphas, slice.betas) = (vec![0.0; sides], vec![0.0; sides]);
            slice.loss.truncate(sides * sides);
            let scale = Surface::new(&slice, Stretch::Rank).unwrap().scale;
            let mut losses: Vec<f64> = slice.loss.iter().copied().map(f64::from).collect();
            losses.sort_by(f64::total_cmp);
            assert_eq!(scale.level(losses[0]), 0);
            assert!(losses.is_sorted_by_key(|loss| scale.place(*loss)));
            for loss in losses {
                let (place, level) = (scale.place(loss) * LEVELS as f64, scale.level(loss) as f64);
                assert!((level - 1e-9..level + 1.0 + 1e-9).contains(&place), "{loss}: {place} {level}");
            }
        }
    }
}
