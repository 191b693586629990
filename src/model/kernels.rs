//! The operations of a Llama over plain slices, for evaluation on the CPU: no graph, no allocation.
//!
//! Each is written as plain loops that the compiler turns into vector instructions, and runs in the widest ones
//! this processor has: pulp asks at run time, so a program built anywhere runs anywhere. The formulas are those
//! of [`super::ops`].

#![expect(clippy::inline_always, reason = "vector instructions reach only what is inlined into the dispatch")]

use pulp::Arch;

/// Independent sums in a reduction: as many numbers as the widest vector holds.
const LANES: usize = 16;

/// `exp(x)` to within a few units in the last place between -87.3 and 88, and its value at the nearer end beyond.
///
/// `exp(x) = 2^n exp(r)` with `n` the nearest integer to `x / ln 2` and `|r| <= ln(2) / 2`, where the Taylor
/// polynomial of degree 7 is exact to f32. `ln 2` is split in two, so that `n ln 2` loses nothing (Cody and Waite).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// Adding it leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.0);
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    let polynomial = 1.0 / 5040.0;
    let polynomial = polynomial * r + 1.0 / 720.0;
    let polynomial = polynomial * r + 1.0 / 120.0;
    let polynomial = polynomial * r + 1.0 / 24.0;
    let polynomial = polynomial * r + 1.0 / 6.0;
    let polynomial = polynomial * r + 0.5;
    let polynomial = polynomial * r + 1.0;
    let polynomial = polynomial * r + 1.0;
    let exponent = (rounded.to_bits().wrapping_sub(ROUND.to_bits())).wrapping_add(127) << 23;
    polynomial * f32::from_bits(exponent)
}

/// The sum of `f(x)` over a slice, in a fixed order.
#[inline(always)]
fn sum(values: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&x| f(x)).sum::<f32>()
}

#[inline(always)]
fn max(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `out = x / sqrt(mean(x^2) + eps) * gain`, row by row. `x` and `out` are `(rows, gain.len())`.
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f64, out: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (x, out) in x.chunks_exact(gain.len()).zip(out.chunks_exact_mut(gain.len())) {
                let scale = (sum(x, |x| x * x) / x.len() as f32 + eps as f32).sqrt().recip();
                for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
                    *out = x * scale * gain;
                }
            }
        },
    );
}

/// Rotary embedding in place. `x` is `(rows, heads * head_dim)`, its rows texts of `seq` tokens one after
/// another; `cos` and `sin` are `(positions, head_dim / 2)`.
pub fn rotate(x: &mut [f32], heads: usize, seq: usize, cos: &[f32], sin: &[f32], half: usize) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, x) in x.chunks_exact_mut(heads * 2 * half).enumerate() {
                let at = row % seq * half;
                let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
                for head in x.chunks_exact_mut(2 * half) {
                    let (re, im) = head.split_at_mut(half);
                    for (((re, im), cos), sin) in re.iter_mut().zip(im).zip(cos).zip(sin) {
                        (*re, *im) = (*re * cos - *im * sin, *im * cos + *re * sin);
                    }
                }
            }
        },
    );
}

/// Softmax of each row of a square of scores over the columns up to the diagonal, zero behind it.
pub fn causal_softmax(scores: &mut [f32], seq: usize) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, scores) in scores.chunks_exact_mut(seq).enumerate() {
                let (seen, ahead) = scores.split_at_mut(row % seq + 1);
                let max = max(seen);
                for x in &mut *seen {
                    *x = exp(*x - max);
                }
                let scale = sum(seen, |x| x).recip();
                for x in seen {
                    *x *= scale;
                }
                ahead.fill(0.0);
            }
        },
    );
}

/// `gate = gate / (1 + exp(-gate)) * up`.
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (gate, up) in gate.iter_mut().zip(up) {
                *gate = *gate / (1.0 + exp(-*gate)) * up;
            }
        },
    );
}

/// Cross-entropy in nats of one row of logits, `log(sum(exp(logits))) - logits[target]`. Not finite where a logit
/// is infinite or not a number.
pub fn cross_entropy(logits: &[f32], target: usize) -> f32 {
    let (max, total) = Arch::new().dispatch(
        #[inline(always)]
        || {
            let max = max(logits);
            (max, sum(logits, |x| exp(x - max)))
        },
    );
    max + total.ln() - logits[target]
}

/// Scalar product in `f64`, in a fixed order.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            let mut lanes = [0.0; LANES];
            for (a, b) in a.iter().zip(b) {
                for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                    *lane += f64::from(*a) * f64::from(*b);
                }
            }
            let rest = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(*a) * f64::from(*b));
            lanes.iter().sum::<f64>() + rest.sum::<f64>()
        },
    )
}

/// `x += scale y`.
pub fn add_scaled(x: &mut [f32], scale: f32, y: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (x, y) in x.iter_mut().zip(y) {
                *x += scale * y;
            }
        },
    );
}

/// `out = scale x`.
pub fn scale_into(out: &mut [f32], scale: f32, x: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (out, x) in out.iter_mut().zip(x) {
                *out = scale * x;
            }
        },
    );
}

/// `out = x + scale y`.
pub fn sum_into(out: &mut [f32], x: &[f32], scale: f32, y: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((out, x), y) in out.iter_mut().zip(x).zip(y) {
                *out = x + scale * y;
            }
        },
    );
}

/// `out = x + scales[0] y[0] + scales[1] y[1]`.
pub fn sum_of_two_into(out: &mut [f32], x: &[f32], scales: [f32; 2], y: [&[f32]; 2]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (((out, x), y0), y1) in out.iter_mut().zip(x).zip(y[0]).zip(y[1]) {
                *out = x + scales[0] * y0 + scales[1] * y1;
            }
        },
    );
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_a_few_units_in_the_last_place() {
        let worst = (-870_000..880_000)
            .map(|i| i as f32 * 1e-4)
            .map(|x| (f64::from(exp(x)) / f64::from(x).exp() - 1.0).abs())
            .fold(0.0, f64::max);
        assert!(worst < 3e-7, "{worst}");
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn a_loss_is_that_of_the_formula_for_any_length() {
        for length in [1, 3, 16, 17, 100] {
            let logits: Vec<f32> = (0..length).map(|i| (i * 7 % 13) as f32 - 5.0).collect();
            let total: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
            let wanted = total.ln() - f64::from(logits[length / 2]);
            let got = f64::from(cross_entropy(&logits, length / 2));
            assert!((got - wanted).abs() < 1e-5, "{length}: {got} for {wanted}");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_visible() {
        assert!(!cross_entropy(&[1.0, f32::NAN, 2.0], 0).is_finite());
        assert!(!cross_entropy(&[1.0, f32::INFINITY, 2.0], 0).is_finite());
        let mut x = [f32::NAN, 1.0];
        swiglu(&mut x, &[1.0, 1.0]);
        assert!(x[0].is_nan() && x[1].is_finite());
    }

    #[test]
    fn a_scalar_product_takes_every_number_once() {
        for length in [0, 1, 15, 16, 17, 100] {
            let a: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let wanted: usize = (0..length).map(|i| i * i).sum();
            assert_eq!(dot(&a, &a), wanted as f64);
        }
    }

    #[test]
    fn no_position_sees_what_follows() {
        let mut scores = [0.0, 9.0, 9.0, 1.0, 1.0, 9.0, 0.0, 0.0, 0.0];
        causal_softmax(&mut scores, 3);
        assert_eq!(scores[..6], [1.0, 0.0, 0.0, 0.5, 0.5, 0.0]);
        assert!((scores[6] - 1.0 / 3.0).abs() < 1e-6);
    }
}
