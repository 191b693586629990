//! Causal attention with grouped keys and values over plain slices, forward and backward: no graph, and never
//! more than a strip of the scores at a time.
//!
//! The formula is that of [`super::ops::causal_attention`]. A strip is `STRIP` queries against the keys that the
//! last of them may see, so about half the square is never computed. The backward pass computes the weights of a
//! strip again from the logarithms of their sums, as in arXiv 2205.14135, section 3.1.

use super::kernels;
use super::matmul::{Into, Matrix, MatrixMut, multiply};

/// Queries in a strip.
const STRIP: usize = 64;

/// The shape of the attention over one text.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, which divide those of queries.
    pub kv_heads: usize,
    /// Numbers in a head.
    pub head_dim: usize,
    /// Tokens of the text.
    pub seq: usize,
}

/// Room for a strip of scores and of their gradients.
#[derive(Debug, Default)]
pub struct Strip {
    scores: Vec<f32>,
    gradients: Vec<f32>,
}

/// One head's part of a strip.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// The first query.
    first: usize,
    /// Queries.
    rows: usize,
    /// Keys: all up to the last query.
    columns: usize,
    /// Where the head's numbers begin in a row of queries.
    at: usize,
    /// Where they begin in a row of keys or values.
    kv_at: usize,
    /// Where its sums begin.
    sums_at: usize,
}

impl Attention {
    /// Numbers in a row of queries.
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }

    /// Numbers in a row of keys or values.
    pub fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim
    }

    /// Numbers that a [`Strip`] holds.
    pub fn strip_len(&self) -> usize {
        self.seq.saturating_mul(2 * STRIP.min(self.seq))
    }

    /// `out = softmax(q k^T / sqrt(head_dim)) v` for one text. `q` and `out` are `(seq, heads * head_dim)`, `k` and
    /// `v` `(seq, kv_heads * head_dim)`; `log_sums`, `(heads, seq)`, is what [`Self::backward`] needs besides.
    pub fn forward(&self, [q, k, v]: [&[f32]; 3], out: &mut [f32], log_sums: &mut [f32], strip: &mut Strip) {
        for place in self.places() {
            let sums = &mut log_sums[place.sums_at..place.sums_at + place.rows];
            let scores = self.scores(&place, q, k, &mut strip.scores);
            kernels::causal_softmax(scores, place.columns, place.first, sums);
            multiply(
                self.strip_mut(&place, out),
                Into::Overwrite,
                Matrix::new(scores, place.rows, place.columns, place.columns),
                self.keys(&place, v),
                1.0,
            );
        }
    }

    /// The gradients of the queries, keys and values from `d_out`, that of the output. `log_sums` are those of
    /// [`Self::forward`].
    pub fn backward(
        &self,
        [q, k, v]: [&[f32]; 3],
        d_out: &[f32],
        log_sums: &[f32],
        [d_q, d_k, d_v]: [&mut [f32]; 3],
        strip: &mut Strip,
    ) {
        d_k.fill(0.0);
        d_v.fill(0.0);
        let scale = self.scale();
        for place in self.places() {
            let Place { rows, columns, .. } = place;
            let sums = &log_sums[place.sums_at..place.sums_at + rows];
            let weights = self.scores(&place, q, k, &mut strip.scores);
            kernels::causal_weights(weights, columns, place.first, sums);
            let transposed = Matrix::new(weights, rows, columns, columns).transposed();
            multiply(self.keys_mut(&place, d_v), Into::Add, transposed, self.strip(&place, d_out), 1.0);

            strip.gradients.resize(self.strip_len() / 2, 0.0);
            let gradients = &mut strip.gradients[..rows * columns];
            multiply(
                MatrixMut::new(gradients, rows, columns, columns),
                Into::Overwrite,
                self.strip(&place, d_out),
                self.keys(&place, v).transposed(),
                1.0,
            );
            kernels::softmax_backward(weights, gradients, columns);
            let gradients = Matrix::new(gradients, rows, columns, columns);
            multiply(self.strip_mut(&place, d_q), Into::Overwrite, gradients, self.keys(&place, k), scale);
            let transposed = gradients.transposed();
            multiply(self.keys_mut(&place, d_k), Into::Add, transposed, self.strip(&place, q), scale);
        }
    }

    fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let Self { heads, kv_heads, head_dim, seq } = *self;
        (0..heads).flat_map(move |head| {
            (0..seq).step_by(STRIP).map(move |first| {
                let rows = STRIP.min(seq - first);
                Place {
                    first,
                    rows,
                    columns: first + rows,
                    at: first * heads * head_dim + head * head_dim,
                    kv_at: head * kv_heads / heads * head_dim,
                    sums_at: head * seq + first,
                }
            })
        })
    }

    /// `q k^T / sqrt(head_dim)` of a strip, `(rows, columns)`.
    fn scores<'a>(&self, place: &Place, q: &[f32], k: &[f32], scores: &'a mut Vec<f32>) -> &'a mut [f32] {
        scores.resize(self.strip_len() / 2, 0.0);
        let scores = &mut scores[..place.rows * place.columns];
        multiply(
            MatrixMut::new(scores, place.rows, place.columns, place.columns),
            Into::Overwrite,
            self.strip(place, q),
            self.keys(place, k).transposed(),
            self.scale(),
        );
        scores
    }

    fn strip<'a>(&self, place: &Place, values: &'a [f32]) -> Matrix<'a> {
        Matrix::new(&values[place.at..], place.rows, self.head_dim, self.width())
    }

    fn strip_mut<'a>(&self, place: &Place, values: &'a mut [f32]) -> MatrixMut<'a> {
        MatrixMut::new(&mut values[place.at..], place.rows, self.head_dim, self.width())
    }

    fn keys<'a>(&self, place: &Place, values: &'a [f32]) -> Matrix<'a> {
        Matrix::new(&values[place.kv_at..], place.columns, self.head_dim, self.kv_width())
    }

    fn keys_mut<'a>(&self, place: &Place, values: &'a mut [f32]) -> MatrixMut<'a> {
        MatrixMut::new(&mut values[place.kv_at..], place.columns, self.head_dim, self.kv_width())
    }
}
