//! Tensors that move with the points of a plane, and products with them.
//!
//! What the points of a stack share is added to the weights, and what they do not is a product of its own; see
//! [`super::evaluator`].

use std::ops::Range;

use candle_core::{Result, Tensor, bail};

use super::plane::{Delta, Plane};
use crate::model::host::Numbers;
use crate::model::kernels;
use crate::model::matmul::{Into, Matrix, MatrixMut, multiply, padded};
use crate::model::params::Params;

/// Points by their alpha and beta.
pub(super) struct Points<'a>(pub(super) &'a [[f32; 2]]);

impl Points<'_> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The coordinate along a direction, if all points have the same.
    fn shared(&self, direction: usize) -> Option<f32> {
        let (first, rest) = self.0.split_first()?;
        let same = |point: &[f32; 2]| point[direction].to_bits() == first[direction].to_bits();
        rest.iter().all(same).then_some(first[direction])
    }
}

/// A tensor, and how it moves along the two directions.
#[derive(Debug)]
pub(super) struct Moving {
    origin: Tensor,
    deltas: [Option<Delta>; 2],
}

impl Moving {
    pub(super) fn new(origin: &Params, plane: &Plane, name: &str) -> Result<Self> {
        let Some(tensor) = origin.get(name) else { bail!("the parameters lack {name}") };
        let deltas = plane.deltas(name).cloned().unwrap_or_default();
        let moving = Self { origin: tensor.detach(), deltas };
        moving.open()?;
        Ok(moving)
    }

    pub(super) fn moves(&self) -> bool {
        self.deltas.iter().any(Option::is_some)
    }

    /// Numbers in it.
    pub(super) fn elements(&self) -> usize {
        self.origin.elem_count()
    }

    pub(super) fn rows(&self) -> usize {
        self.origin.dims().first().copied().unwrap_or(0)
    }

    pub(super) fn open<'a>(&'a self) -> Result<Open<'a>> {
        let columns = self.origin.dims().last().copied().unwrap_or(0);
        let [d1, d2] = &self.deltas;
        let open = |delta: &'a Option<Delta>| delta.as_ref().map(OpenDelta::of).transpose();
        let deltas = [open(d1)?, open(d2)?];
        Ok(Open { origin: Numbers::of(&self.origin)?, deltas, columns })
    }
}

/// A [`Moving`] with its numbers at hand.
pub(super) struct Open<'a> {
    origin: Numbers<'a>,
    deltas: [Option<OpenDelta<'a>>; 2],
    columns: usize,
}

enum OpenDelta<'a> {
    Dense(Numbers<'a>),
    Entry(usize),
}

impl<'a> OpenDelta<'a> {
    fn of(delta: &'a Delta) -> Result<Self> {
        Ok(match delta {
            Delta::Entry(index) => Self::Entry(*index),
            Delta::Dense(tensor) => Self::Dense(Numbers::of(tensor)?),
        })
    }
}

impl Open<'_> {
    /// The directions that turn all numbers, by their scale, which is not zero.
    fn dense(&self, scales: [f32; 2]) -> [Option<(f32, &[f32])>; 2] {
        let [d1, d2] = [(0, scales[0]), (1, scales[1])].map(|(index, scale)| match &self.deltas[index] {
            Some(OpenDelta::Dense(values)) if scale != 0.0 => Some((scale, &**values)),
            _ => None,
        });
        [d1, d2]
    }

    /// The numbers that are turned alone: direction, row, column.
    fn entries(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.deltas.iter().enumerate().filter_map(|(direction, delta)| match delta {
            Some(OpenDelta::Entry(index)) => Some((direction, index / self.columns, index % self.columns)),
            _ => None,
        })
    }

    /// The numbers of `range` at a point.
    pub(super) fn read(&self, range: Range<usize>, point: [f32; 2], out: &mut [f32]) {
        let origin = &self.origin[range.clone()];
        match self.dense(point) {
            [None, None] => out.copy_from_slice(origin),
            [Some((scale, y)), None] | [None, Some((scale, y))] => {
                kernels::sum_into(out, origin, scale, &y[range.clone()]);
            }
            [Some((s1, y1)), Some((s2, y2))] => {
                let y = [&y1[range.clone()], &y2[range.clone()]];
                kernels::sum_of_two_into(out, origin, [s1, s2], y);
            }
        }
        for (delta, scale) in self.deltas.iter().zip(point) {
            if let Some(OpenDelta::Entry(index)) = delta
                && range.contains(index)
            {
                out[index - range.start] += scale;
            }
        }
    }
}

/// `x weight' + bias`, weight `(out, in)` and bias `(out)` moving with the points.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: Moving,
    pub(super) bias: Option<Moving>,
}

impl Linear {
    pub(super) fn moves(&self) -> bool {
        self.weight.moves() || self.bias.as_ref().is_some_and(Moving::moves)
    }

    /// Writes to `out`, `(points * tokens, out)`, for `x`, `(points * tokens, in)`.
    pub(super) fn apply(
        &self,
        points: &Points,
        x: &[f32],
        out: &mut Vec<f32>,
        staging: &mut Staging,
    ) -> Result<()> {
        let weight = self.weight.open()?;
        out.resize(x.len() / weight.columns * self.weight.rows(), 0.0);
        self.product(&weight, points, x, out, Into::Overwrite, staging)
    }

    /// The same, added to `out`.
    pub(super) fn apply_onto(
        &self,
        points: &Points,
        x: &[f32],
        out: &mut [f32],
        staging: &mut Staging,
    ) -> Result<()> {
        self.product(&self.weight.open()?, points, x, out, Into::Add, staging)
    }

    fn product(
        &self,
        weight: &Open,
        points: &Points,
        x: &[f32],
        out: &mut [f32],
        into: Into,
        staging: &mut Staging,
    ) -> Result<()> {
        let rows = x.len() / weight.columns;
        let tokens = rows / points.len();
        let width = self.weight.rows();
        staging.stage(weight, points).apply(points, 0..rows, 0..width, tokens, x, out, into);
        let Some(bias) = &self.bias else { return Ok(()) };
        let bias = bias.open()?;
        let mut moved = vec![0.0; bias.columns];
        for (out, point) in out.chunks_exact_mut(tokens * bias.columns).zip(points.0) {
            bias.read(0..bias.columns, *point, &mut moved);
            for row in out.chunks_exact_mut(bias.columns) {
                kernels::add_scaled(row, 1.0, &moved);
            }
        }
        Ok(())
    }
}

/// Buffers in which weights are built.
#[derive(Debug, Default)]
pub(super) struct Staging {
    base: Vec<f32>,
    directions: [Vec<f32>; 2],
    scaled: Vec<f32>,
}

impl Staging {
    /// Makes the weights of these points ready: `W` with what they share added, and the directions along which
    /// they differ.
    pub(super) fn stage<'a>(&'a mut self, weight: &'a Open, points: &Points) -> Staged<'a> {
        let columns = weight.columns;
        let stride = padded(columns);
        let shared = [points.shared(0), points.shared(1)];
        let dense = weight.dense(shared.map(|scale| scale.unwrap_or(0.0)));
        let base = if dense.iter().any(Option::is_some) {
            self.base.resize(weight.origin.len() / columns * stride, 0.0);
            for (row, out) in self.base.chunks_exact_mut(stride).enumerate() {
                let at = row * columns..(row + 1) * columns;
                let (origin, out) = (&weight.origin[at.clone()], &mut out[..columns]);
                match dense {
                    [Some((s1, y1)), Some((s2, y2))] => {
                        kernels::sum_of_two_into(out, origin, [s1, s2], [&y1[at.clone()], &y2[at]]);
                    }
                    [Some((scale, y)), None] | [None, Some((scale, y))] => {
                        kernels::sum_into(out, origin, scale, &y[at]);
                    }
                    [None, None] => {}
                }
            }
            (&*self.base, stride)
        } else {
            (&*weight.origin, columns)
        };
        let [first, second] = &mut self.directions;
        let direction = |which: usize, buffer: &'a mut Vec<f32>| match &weight.deltas[which] {
            Some(OpenDelta::Dense(values)) if shared[which].is_none() => {
                if stride == columns {
                    return Some((&**values, columns));
                }
                buffer.resize(values.len() / columns * stride, 0.0);
                let rows = buffer.chunks_exact_mut(stride).zip(values.chunks_exact(columns));
                rows.for_each(|(out, row)| out[..columns].copy_from_slice(row));
                Some((&**buffer, stride))
            }
            _ => None,
        };
        let directions = [direction(0, first), direction(1, second)];
        Staged { weight, base, directions, scaled: &mut self.scaled }
    }
}

/// Weights that are ready for a product. Each comes with the distance of its rows.
pub(super) struct Staged<'a> {
    weight: &'a Open<'a>,
    base: (&'a [f32], usize),
    directions: [Option<(&'a [f32], usize)>; 2],
    scaled: &'a mut Vec<f32>,
}

impl Staged<'_> {
    /// The product of these rows of `x`, `(rows, in)`, and these outputs; `tokens` rows belong to one point. `out`
    /// begins with the first of the rows and has all outputs, `(rows, out)`.
    #[expect(
        clippy::too_many_arguments,
        reason = "a piece of a product takes its rows, its columns, and what it is of"
    )]
    pub(super) fn apply(
        &mut self,
        points: &Points,
        rows: Range<usize>,
        outputs: Range<usize>,
        tokens: usize,
        x: &[f32],
        out: &mut [f32],
        into: Into,
    ) {
        let columns = self.weight.columns;
        let width = self.weight.origin.len() / columns;
        let count = rows.len();
        let point = |row: usize| points.0[(rows.start + row) / tokens];
        let x = &x[rows.start * columns..rows.end * columns];
        let (base, stride) = self.base;
        multiply(
            MatrixMut::new(&mut out[outputs.start..], count, outputs.len(), width),
            into,
            Matrix::new(x, count, columns, columns),
            Matrix::new(&base[outputs.start * stride..], outputs.len(), columns, stride).transposed(),
            1.0,
        );
        for (which, direction) in self.directions.iter().enumerate() {
            let Some((direction, stride)) = direction else { continue };
            self.scaled.resize(x.len(), 0.0);
            let scaled = self.scaled.chunks_exact_mut(columns).zip(x.chunks_exact(columns));
            for (row, (scaled, x)) in scaled.enumerate() {
                kernels::scale_into(scaled, point(row)[which], x);
            }
            multiply(
                MatrixMut::new(&mut out[outputs.start..], count, outputs.len(), width),
                Into::Add,
                Matrix::new(self.scaled, count, columns, columns),
                Matrix::new(&direction[outputs.start * stride..], outputs.len(), columns, *stride)
                    .transposed(),
                1.0,
            );
        }
        for (which, to, from) in self.weight.entries().filter(|(_, to, _)| outputs.contains(to)) {
            for (row, x) in x.chunks_exact(columns).enumerate() {
                out[row * width + to] += point(row)[which] * x[from];
            }
        }
    }
}

/// Normalises `x` into `y`, both `(points * tokens, hidden_size)`, by gains that may move with the points.
pub(super) fn norm(gain: &Moving, eps: f64, points: &Points, x: &[f32], y: &mut Vec<f32>) -> Result<()> {
    let gain = gain.open()?;
    y.resize(x.len(), 0.0);
    if gain.deltas.iter().all(Option::is_none) {
        kernels::rms_norm(x, &gain.origin, eps, y);
        return Ok(());
    }
    let mut moved = vec![0.0; gain.columns];
    let each = x.len() / points.len();
    for ((x, y), point) in x.chunks_exact(each).zip(y.chunks_exact_mut(each)).zip(points.0) {
        gain.read(0..gain.columns, *point, &mut moved);
        kernels::rms_norm(x, &moved, eps, y);
    }
    Ok(())
}
