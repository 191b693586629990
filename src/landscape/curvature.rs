//! How sharply the loss curves along an optimizer's own step.

use candle_core::Result;

/// Loss evaluations at most.
const EVALUATIONS: usize = 6;

/// The smallest multiple of an update at which the loss is above where it started, to within a fifth; `None` where
/// it is still lower at sixteen times the update, or higher already at a thirty-second.
///
/// With `c` that multiple and `eta` the learning rate, the critical sharpness is `2 / (c eta)`: the curvature of
/// the parabola that comes back up there (arXiv 2601.16979). Against the edge of stability, `2 / eta`, it is
/// `1 / c`. `loss_at` gives the loss after `c` times the update.
pub fn critical_multiple(mut loss_at: impl FnMut(f64) -> Result<f64>, start: f64) -> Result<Option<f64>> {
    let mut raises = |multiple: f64| {
        let loss = loss_at(multiple)?;
        Ok::<_, candle_core::Error>(loss > start || loss.is_nan())
    };
    let (mut below, mut above) = (0.0, f64::INFINITY);
    let mut multiple: f64 = 1.0;
    for _ in 0..EVALUATIONS {
        if raises(multiple)? {
            above = multiple;
        } else {
            below = multiple;
        }
        multiple = match (below, above) {
            (below, above) if above.is_infinite() && below >= 16.0 => return Ok(None),
            (below, above) if above.is_infinite() => 2.0 * below,
            (0.0, above) => above / 2.0,
            (below, above) => (below * above).sqrt(),
        };
    }
    Ok((below > 0.0 && above.is_finite()).then_some((below * above).sqrt()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parabola that falls along the update and is back at its start after `back` times it.
    fn found(back: f64) -> Option<f64> {
        let mut asked = 0;
        let found = critical_multiple(
            |c| {
                asked += 1;
                Ok(5.0 + c * (c - back))
            },
            5.0,
        );
        assert!(asked <= EVALUATIONS);
        found.unwrap()
    }

    #[test]
    fn where_a_parabola_comes_back_up_is_found() {
        for back in [0.15, 0.3, 0.9, 1.4, 2.5, 7.0] {
            let multiple = found(back).unwrap();
            assert!((multiple / back).ln().abs() < 0.2, "{multiple} for {back}");
        }
    }

    #[test]
    fn a_loss_that_only_falls_or_only_rises_has_no_critical_step_and_one_that_is_not_finite_has_risen() {
        assert_eq!((found(1e9), found(1e-3), found(-1.0)), (None, None, None));
        let wall = critical_multiple(|c| Ok(if c > 1.5 { f64::NAN } else { 1.0 - c }), 1.0).unwrap().unwrap();
        assert!((1.2..1.9).contains(&wall), "{wall}");
    }
}
