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

/// The scalar product of two slices, in a fixed order.
#[inline(always)]
fn sum_of_products(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    lanes.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
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

/// Backward of [`rms_norm`] for the gradient `dy` of its output. With `r = 1 / sqrt(mean(x^2) + eps)`,
/// `out = residual + r * (gain * dy - x * r^2 * mean(gain * dy * x))` and `d_gain += sum over rows of dy * x * r`.
pub fn rms_norm_backward(
    x: &[f32],
    gain: &[f32],
    eps: f64,
    dy: &[f32],
    residual: &[f32],
    out: &mut [f32],
    d_gain: &mut [f32],
) {
    let width = gain.len();
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
            let outs = residual.chunks_exact(width).zip(out.chunks_exact_mut(width));
            for ((x, dy), (residual, out)) in rows.zip(outs) {
                let r = (sum(x, |x| x * x) / width as f32 + eps as f32).sqrt().recip();
                for ((((out, d_gain), x), dy), gain) in
                    out.iter_mut().zip(&mut *d_gain).zip(x).zip(dy).zip(gain)
                {
                    *d_gain += dy * x * r;
                    *out = gain * dy;
                }
                let common = sum_of_products(x, out) * r * r / width as f32;
                for ((out, x), residual) in out.iter_mut().zip(x).zip(residual) {
                    *out = residual + r * (*out - x * common);
                }
            }
        },
    );
}

/// Rotary embedding in place. `x` is `(rows, heads * head_dim)`, its rows texts of `seq` tokens one after
/// another; `cos` and `sin` are `(positions, head_dim / 2)`. Its backward is the rotation the other way.
pub fn rotate(x: &mut [f32], heads: usize, seq: usize, tables: &Rotary, turn: Turn) {
    let half = tables.half;
    let sign = if turn == Turn::Forward { 1.0 } else { -1.0 };
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, x) in x.chunks_exact_mut(heads * 2 * half).enumerate() {
                let at = row % seq * half;
                let (cos, sin) = (&tables.cos[at..at + half], &tables.sin[at..at + half]);
                for head in x.chunks_exact_mut(2 * half) {
                    let (re, im) = head.split_at_mut(half);
                    for (((re, im), cos), sin) in re.iter_mut().zip(im).zip(cos).zip(sin) {
                        let sin = sign * sin;
                        (*re, *im) = (*re * cos - *im * sin, *im * cos + *re * sin);
                    }
                }
            }
        },
    );
}

/// Cosines and sines of the rotary embedding, both `(positions, half)`.
#[derive(Debug, Clone)]
pub struct Rotary {
    /// Cosines.
    pub cos: Vec<f32>,
    /// Sines.
    pub sin: Vec<f32>,
    /// Rotations of a head: half its width.
    pub half: usize,
}

/// Which way [`rotate`] turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// As the forward pass does.
    Forward,
    /// As its backward does.
    Back,
}

/// Softmax of some rows of causal scores over the columns up to the diagonal, zero behind it. `scores` is
/// `(rows, columns)`, its first row that of position `first`; `log_sums`, one a row, receives
/// `log(sum(exp(scores)))`, from which [`causal_weights`] makes the same again.
pub fn causal_softmax(scores: &mut [f32], columns: usize, first: usize, log_sums: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, (scores, log_sum)) in scores.chunks_exact_mut(columns).zip(log_sums).enumerate() {
                let (seen, ahead) = scores.split_at_mut(first + row + 1);
                let max = max(seen);
                for x in &mut *seen {
                    *x = exp(*x - max);
                }
                let total = sum(seen, |x| x);
                let scale = total.recip();
                for x in seen {
                    *x *= scale;
                }
                ahead.fill(0.0);
                *log_sum = max + total.ln();
            }
        },
    );
}

/// The weights that [`causal_softmax`] made, from the scores and their `log_sums`.
pub fn causal_weights(scores: &mut [f32], columns: usize, first: usize, log_sums: &[f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (row, (scores, log_sum)) in scores.chunks_exact_mut(columns).zip(log_sums).enumerate() {
                let (seen, ahead) = scores.split_at_mut(first + row + 1);
                for x in seen {
                    *x = exp(*x - log_sum);
                }
                ahead.fill(0.0);
            }
        },
    );
}

/// Backward of a softmax `p` over each row of `(rows, columns)`: `d = p * (d - sum(p * d))`, in place.
pub fn softmax_backward(weights: &[f32], gradients: &mut [f32], columns: usize) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for (p, d) in weights.chunks_exact(columns).zip(gradients.chunks_exact_mut(columns)) {
                let common = sum_of_products(p, d);
                for (d, p) in d.iter_mut().zip(p) {
                    *d = p * (*d - common);
                }
            }
        },
    );
}

/// `out = gate / (1 + exp(-gate)) * up`.
pub fn swiglu(gate: &[f32], up: &[f32], out: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = *gate / (1.0 + exp(-*gate)) * up;
            }
        },
    );
}

/// Backward of [`swiglu`]. `d` is the gradient of its output on entry and the output itself on return; with
/// `s = 1 / (1 + exp(-gate))`, `d_gate = d * up * s * (1 + gate * (1 - s))` and `d_up = d * gate * s`.
pub fn swiglu_backward(gate: &[f32], up: &[f32], d: &mut [f32], d_gate: &mut [f32], d_up: &mut [f32]) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let inputs = gate.iter().zip(up);
            let gradients = d.iter_mut().zip(d_gate).zip(d_up);
            for ((gate, up), ((d, d_gate), d_up)) in inputs.zip(gradients) {
                let s = 1.0 / (1.0 + exp(-*gate));
                let silu = gate * s;
                *d_gate = *d * up * (s + silu * (1.0 - s));
                *d_up = *d * silu;
                *d = silu * up;
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

/// [`cross_entropy`], which leaves `scale` times its gradient in the place of the logits: the softmax, less one
/// at the target.
pub fn cross_entropy_backward(logits: &mut [f32], target: usize, scale: f32) -> f32 {
    let picked = logits[target];
    let loss = Arch::new().dispatch(
        #[inline(always)]
        || {
            let max = max(logits);
            for x in &mut *logits {
                *x = exp(*x - max);
            }
            let total = sum(logits, |x| x);
            let each = scale / total;
            for x in &mut *logits {
                *x *= each;
            }
            max + total.ln() - picked
        },
    );
    logits[target] -= scale;
    loss
}

/// `out = x'`. `x` is `(rows, columns)`; the rows of each begin so many numbers apart as its stride says.
pub fn transpose(
    (x, x_stride): (&[f32], usize),
    (rows, columns): (usize, usize),
    (out, stride): (&mut [f32], usize),
) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            for top in (0..rows).step_by(LANES) {
                for left in (0..columns).step_by(LANES) {
                    if top + LANES <= rows && left + LANES <= columns {
                        let mut square = [[0.0_f32; LANES]; LANES];
                        for (i, line) in square.iter_mut().enumerate() {
                            let at = (top + i) * x_stride + left;
                            line.copy_from_slice(&x[at..at + LANES]);
                        }
                        let turned: [[f32; LANES]; LANES] =
                            std::array::from_fn(|j| std::array::from_fn(|i| square[i][j]));
                        for (j, line) in turned.iter().enumerate() {
                            let at = (left + j) * stride + top;
                            out[at..at + LANES].copy_from_slice(line);
                        }
                    } else {
                        for i in top..rows.min(top + LANES) {
                            for j in left..columns.min(left + LANES) {
                                out[j * stride + i] = x[i * x_stride + j];
                            }
                        }
                    }
                }
            }
        },
    );
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

/// One step of Adam (arXiv 1412.6980) over a tensor. `g` is `clip` times the gradient:
/// `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g^2`, `w = keep w - rate m / (root sqrt(v) + epsilon)`.
#[derive(Debug, Clone, Copy)]
pub struct Adam {
    /// Decay of the mean of the gradients.
    pub beta1: f32,
    /// Decay of the mean of their squares.
    pub beta2: f32,
    /// What scales a gradient that is too long.
    pub clip: f32,
    /// The learning rate over the bias correction of the first moment.
    pub rate: f32,
    /// One over the root of the bias correction of the second moment.
    pub root: f32,
    /// What weight decay leaves.
    pub keep: f32,
    /// Keeps the division by a small root finite.
    pub epsilon: f32,
}

impl Adam {
    /// Turns one weight and returns by how much.
    #[inline(always)]
    fn turn(&self, w: &mut f32, m: &mut f32, v: &mut f32, g: f32) -> f32 {
        let g = self.clip * g;
        *m = self.beta1 * *m + (1.0 - self.beta1) * g;
        *v = self.beta2 * *v + (1.0 - self.beta2) * (g * g);
        let moved = self.keep * *w - self.rate * *m / (self.root * v.sqrt() + self.epsilon);
        let change = moved - *w;
        *w = moved;
        change
    }

    /// Takes the step in one pass. Returns the sums of the squares of what the weights moved, and of what they
    /// were.
    pub fn step(
        &self,
        weights: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
    ) -> [f64; 2] {
        Arch::new().dispatch(
            #[inline(always)]
            || {
                let (w, w_rest) = weights.as_chunks_mut::<LANES>();
                let (m, m_rest) = first.as_chunks_mut::<LANES>();
                let (v, v_rest) = second.as_chunks_mut::<LANES>();
                let (g, g_rest) = gradient.as_chunks::<LANES>();
                let mut sums = [[0.0_f32; LANES]; 2];
                for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
                    for i in 0..LANES {
                        sums[1][i] += w[i] * w[i];
                        let change = self.turn(&mut w[i], &mut m[i], &mut v[i], g[i]);
                        sums[0][i] += change * change;
                    }
                }
                for (((w, m), v), g) in w_rest.iter_mut().zip(m_rest).zip(v_rest).zip(g_rest) {
                    sums[1][0] += *w * *w;
                    let change = self.turn(w, m, v, *g);
                    sums[0][0] += change * change;
                }
                sums.map(|lanes| lanes.iter().map(|lane| f64::from(*lane)).sum())
            },
        )
    }
}

/// `weights -= rate * gradient`. Returns the sums of the squares of what the weights moved, and of what they were.
pub fn descend(weights: &mut [f32], rate: f32, gradient: &[f32]) -> [f64; 2] {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let sums = [sum(gradient, |g| rate * g * (rate * g)), sum(weights, |w| w * w)];
            for (w, g) in weights.iter_mut().zip(gradient) {
                *w -= rate * g;
            }
            sums.map(f64::from)
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
        let mut x = [0.0, 0.0];
        swiglu(&[f32::NAN, 1.0], &[1.0, 1.0], &mut x);
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
    fn rows_and_columns_are_exchanged_at_any_size() {
        for (rows, columns) in [(1, 1), (16, 16), (17, 33), (40, 15)] {
            let x: Vec<f32> = (0..rows * (columns + 2)).map(|i| i as f32).collect();
            let mut out = vec![0.0; columns * (rows + 1)];
            transpose((&x, columns + 2), (rows, columns), (&mut out, rows + 1));
            for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
                assert_eq!(out[j * (rows + 1) + i], x[i * (columns + 2) + j]);
            }
        }
    }

    #[test]
    fn no_position_sees_what_follows() {
        let mut scores = [0.0, 9.0, 9.0, 1.0, 1.0, 9.0, 0.0, 0.0, 0.0];
        causal_softmax(&mut scores, 3, 0, &mut [0.0; 3]);
        assert_eq!(scores[..6], [1.0, 0.0, 0.0, 0.5, 0.5, 0.0]);
        assert!((scores[6] - 1.0 / 3.0).abs() < 1e-6);
    }
}
