//! A plane through the weights: two directions, and where the weights are on it.

use candle_core::{Device, Result, Storage, Tensor, bail};
use indexmap::IndexMap;
use rayon::prelude::*;

use crate::model::gaussian;
use crate::model::kernels;
use crate::model::ops::{contiguous, dot};
use crate::model::params::Params;
use crate::protocol::{PlaneInfo, PlaneKind};

/// How one tensor moves along one direction.
#[derive(Debug, Clone)]
pub enum Delta {
    /// Every number by the number at its place. Of the tensor's shape.
    Dense(Tensor),
    /// The number at this index alone, counted through the tensor row by row, by one.
    Entry(usize),
}

/// How the random numbers of a direction are scaled to the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Normalization {
    /// Each row of a matrix to the norm of the weights' row, a vector as one row (arXiv 1712.09913, section 4).
    Filter,
    /// Each tensor to the norm of the weights' tensor.
    Layer,
    /// Not at all.
    None,
}

impl Normalization {
    /// What a person types.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Layer => "layer",
            Self::None => "none",
        }
    }
}

/// A direction in weight space: the tensors that it touches, each with its part.
pub type Direction = IndexMap<String, Tensor>;

/// Two directions from a point in weight space.
#[derive(Debug, Clone)]
pub struct Plane {
    /// The tensors that move, with their parts of the first and of the second direction.
    deltas: IndexMap<String, [Option<Delta>; 2]>,
    info: PlaneInfo,
}

/// Where some weights lie, seen from the origin of a plane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Position {
    /// Norm of the difference to the origin, over all parameters.
    pub distance: f64,
    /// The point of the plane that is nearest, in units of alpha and beta.
    pub inside: [f64; 2],
    /// Its distance from the origin over `distance`; `None` at the origin.
    pub captured: Option<f64>,
}

impl Plane {
    /// Two random directions: standard normal numbers drawn from each seed and the tensors' names, scaled to the
    /// weights.
    pub fn random(
        params: &Params,
        names: &[String],
        seeds: [u64; 2],
        normalization: Normalization,
    ) -> Result<Self> {
        let [d1, d2] = seeds.map(|seed| random_direction(params, names, seed, normalization));
        let info = PlaneInfo {
            kind: PlaneKind::Random.name().to_owned(),
            normalization: normalization.name().to_owned(),
            seeds,
            ..PlaneInfo::default()
        };
        Self::new(d1?, d2?, info)
    }

    /// A random direction alone: a line.
    pub fn line(params: &Params, names: &[String], seed: u64, normalization: Normalization) -> Result<Self> {
        let info = PlaneInfo {
            kind: PlaneKind::Random.name().to_owned(),
            normalization: normalization.name().to_owned(),
            seeds: [seed; 2],
            ..PlaneInfo::default()
        };
        Self::new(random_direction(params, names, seed, normalization)?, Direction::default(), info)
    }

    /// A plane through `d1` and, at a right angle to it and as long, a random direction drawn from the second
    /// seed over the same tensors.
    pub fn along(d1: Direction, kind: &str, seeds: [u64; 2]) -> Result<Self> {
        let names: Vec<String> = d1.keys().cloned().collect();
        let like: Params = d1.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        let mut d2 = random_direction(&like, &names, seeds[1], Normalization::None)?;
        let square = product(&d1, &d1)?;
        if !square.is_finite() {
            bail!("the direction `{kind}` is not finite: one of the models holds a number that is not");
        }
        if square == 0.0 {
            bail!("the direction `{kind}` has no length: the weights do not differ there");
        }
        orthogonalise(&mut d2, &d1)?;
        let scale = (square / product(&d2, &d2)?).sqrt();
        rescale(&mut d2, scale)?;
        let info = PlaneInfo {
            kind: kind.to_owned(),
            normalization: Normalization::None.name().to_owned(),
            seeds,
            ..PlaneInfo::default()
        };
        Self::new(d1, d2, info)
    }

    /// A plane through two directions that are given, described by `info` but for its measures.
    pub fn new(d1: Direction, mut d2: Direction, info: PlaneInfo) -> Result<Self> {
        let mut deltas = IndexMap::new();
        for (name, d1) in d1 {
            let second = d2.shift_remove(&name).map(Delta::Dense);
            deltas.insert(name, [Some(Delta::Dense(d1)), second]);
        }
        deltas.extend(d2.into_iter().map(|(name, d2)| (name, [None, Some(Delta::Dense(d2))])));
        let mut plane = Self { deltas, info };
        plane.measure()?;
        Ok(plane)
    }

    /// Directions that turn one number each: a tensor and the place in it, counted row by row.
    pub fn entries(params: &Params, first: (&str, usize), second: Option<(&str, usize)>) -> Result<Self> {
        let mut deltas: IndexMap<String, [Option<Delta>; 2]> = IndexMap::new();
        for (direction, (name, index)) in
            [Some(first), second].into_iter().enumerate().filter_map(|(i, e)| Some((i, e?)))
        {
            let Some(tensor) = params.get(name) else { bail!("the model has no tensor {name}") };
            if index >= tensor.elem_count() {
                bail!("{name} has {} numbers, there is no number {index}", tensor.elem_count());
            }
            deltas.entry(name.to_owned()).or_default()[direction] = Some(Delta::Entry(index));
        }
        let kind = "parameters".to_owned();
        let normalization = Normalization::None.name().to_owned();
        let mut plane = Self { deltas, info: PlaneInfo { kind, normalization, ..PlaneInfo::default() } };
        plane.measure()?;
        Ok(plane)
    }

    /// Turns the second direction to a right angle to the first, and keeps its length.
    pub fn orthogonalise(self) -> Result<Self> {
        let [d1, mut d2] = [0, 1].map(|direction| self.direction(direction));
        let square = product(&d2, &d2)?;
        orthogonalise(&mut d2, &d1)?;
        let left = product(&d2, &d2)?;
        if left <= square * 1e-12 {
            bail!("the two directions are the same but for their length");
        }
        rescale(&mut d2, (square / left).sqrt())?;
        Self::new(d1, d2, self.info)
    }

    /// One of the two directions, as far as it turns whole tensors.
    pub fn direction(&self, which: usize) -> Direction {
        let part = |(name, deltas): (&String, &[Option<Delta>; 2])| match &deltas[which] {
            Some(Delta::Dense(tensor)) => Some((name.clone(), tensor.clone())),
            _ => None,
        };
        self.deltas.iter().filter_map(part).collect()
    }

    /// How a tensor moves along the two directions; `None` where it stays.
    pub fn deltas(&self, name: &str) -> Option<&[Option<Delta>; 2]> {
        self.deltas.get(name)
    }

    /// Fills in what can be measured of the directions.
    fn measure(&mut self) -> Result<()> {
        let mut gram = [[0.0; 2]; 2];
        for deltas in self.deltas.values() {
            for (i, j) in [(0, 0), (0, 1), (1, 1)] {
                if let (Some(a), Some(b)) = (&deltas[i], &deltas[j]) {
                    gram[i][j] += match (a, b) {
                        (Delta::Dense(a), Delta::Dense(b)) => dot(a, b)?,
                        (Delta::Entry(a), Delta::Entry(b)) => f64::from(a == b),
                        _ => bail!("a direction of whole tensors and one of single numbers share no plane"),
                    };
                }
            }
        }
        let [[d11, d12], [_, d22]] = gram;
        self.info.tensors = self.deltas.len();
        let count = |deltas: &[Option<Delta>; 2]| match (&deltas[0], &deltas[1]) {
            (Some(Delta::Dense(tensor)), _) | (_, Some(Delta::Dense(tensor))) => tensor.elem_count() as u64,
            (Some(Delta::Entry(a)), Some(Delta::Entry(b))) if a != b => 2,
            _ => 1,
        };
        self.info.parameters = self.deltas.values().map(count).sum();
        self.info.norms = [d11.sqrt(), d22.sqrt()];
        self.info.cosine = if d11 > 0.0 && d22 > 0.0 { d12 / (d11 * d22).sqrt() } else { 0.0 };
        if !(d11 + d22).is_finite() {
            bail!("a direction is not finite: the weights it is scaled to hold a number that is not");
        }
        Ok(())
    }

    /// What the directions are.
    pub fn info(&self) -> &PlaneInfo {
        &self.info
    }

    /// `origin + alpha d1 + beta d2`. Tensors that the plane does not touch are shared, not copied.
    pub fn displace(&self, origin: &Params, alpha: f64, beta: f64) -> Result<Params> {
        origin
            .iter()
            .map(|(name, weight)| {
                let mut moved = weight.clone();
                for (delta, scale) in self.deltas.get(name).into_iter().flatten().zip([alpha, beta]) {
                    match delta {
                        Some(_) if scale == 0.0 => {}
                        Some(Delta::Dense(direction)) => moved = (moved.detach() + (direction * scale)?)?,
                        Some(Delta::Entry(index)) => {
                            moved = turned(&moved, *index, scale)?;
                        }
                        None => {}
                    }
                }
                Ok((name.to_owned(), moved))
            })
            .collect()
    }

    /// [`Self::displace`] at several points. Tensors that the plane touches have the points as their first dimension.
    pub fn stack(&self, origin: &Params, points: &[[f64; 2]]) -> Result<Params> {
        let each = points.iter().map(|[alpha, beta]| self.displace(origin, *alpha, *beta));
        let each = each.collect::<Result<Vec<_>>>()?;
        origin
            .iter()
            .map(|(name, weight)| {
                let moved = self.deltas.contains_key(name).then(|| {
                    let of_points: Vec<&Tensor> = each.iter().filter_map(|params| params.get(name)).collect();
                    Tensor::stack(&of_points, 0)
                });
                Ok((name.to_owned(), moved.unwrap_or_else(|| Ok(weight.clone()))?))
            })
            .collect()
    }

    /// Where `weights` lie, seen from `origin`. The directions need not be at a right angle.
    pub fn position(&self, origin: &Params, weights: &Params) -> Result<Position> {
        let (mut square, mut along) = (0.0, [0.0; 2]);
        for (name, start) in origin.iter() {
            let Some(now) = weights.get(name) else { bail!("the weights lack {name}") };
            let moved = (now.detach() - start)?;
            square += dot(&moved, &moved)?;
            for (delta, along) in self.deltas.get(name).into_iter().flatten().zip(&mut along) {
                if let Some(Delta::Dense(direction)) = delta {
                    *along += dot(&moved, direction)?;
                }
            }
        }
        // The normal equations of the nearest point: gram * inside = along.
        let [d11, d22] = self.info.norms.map(|norm| norm * norm);
        let d12 = self.info.cosine * (d11 * d22).sqrt();
        let determinant = d11 * d22 - d12 * d12;
        let inside = if determinant > 0.0 {
            [(d22 * along[0] - d12 * along[1]) / determinant, (d11 * along[1] - d12 * along[0]) / determinant]
        } else {
            [along[0] / d11, 0.0]
        };
        let projected = (inside[0] * along[0] + inside[1] * along[1]).max(0.0).sqrt();
        let distance = square.sqrt();
        let captured = (distance > 0.0).then(|| projected / distance);
        Ok(Position { distance, inside, captured })
    }
}

/// A copy of `weight` with the number at `index` moved by `scale`.
fn turned(weight: &Tensor, index: usize, scale: f64) -> Result<Tensor> {
    let copy = weight.detach().contiguous()?.copy()?;
    let numbers = copy.flatten_all()?; // shares the copy's storage
    let number = (numbers.narrow(0, index, 1)? + scale)?;
    numbers.slice_set(&number, 0, index)?;
    Ok(copy)
}

/// Standard normal numbers for the tensors of these names, drawn from the seed and each name, and scaled to the
/// weights.
pub fn random_direction(
    params: &Params,
    names: &[String],
    seed: u64,
    normalization: Normalization,
) -> Result<Direction> {
    names
        .iter()
        .map(|name| {
            let Some(weight) = params.get(name) else { bail!("the weights lack {name}") };
            let mut numbers = gaussian::normal(seed, name, weight.elem_count());
            let row = match normalization {
                Normalization::Filter => weight.dims().last().copied().unwrap_or(1),
                Normalization::Layer => weight.elem_count(),
                Normalization::None => 0,
            };
            if row > 0 {
                let weight = weight.to_device(&Device::Cpu)?;
                let (storage, layout) = weight.storage_and_layout();
                let Storage::Cpu(storage) = &*storage else { bail!("{name} is not on the CPU") };
                let weights = contiguous(storage, layout)?;
                numbers.par_chunks_mut(row).zip(weights.par_chunks(row)).for_each(|(row, weights)| {
                    let norm = |x: &[f32]| kernels::dot(x, x).sqrt();
                    let scale = norm(weights) / norm(row).max(f64::MIN_POSITIVE);
                    for x in row {
                        *x = (f64::from(*x) * scale) as f32;
                    }
                });
            }
            Ok((name.clone(), Tensor::from_vec(numbers, weight.shape(), weight.device())?))
        })
        .collect()
}

/// Scalar product of two directions; a tensor that one of them leaves alone adds nothing.
pub fn product(a: &Direction, b: &Direction) -> Result<f64> {
    a.iter().filter_map(|(name, a)| Some((a, b.get(name)?))).map(|(a, b)| dot(a, b)).sum()
}

/// `a += scale b`, over the tensors that either touches.
pub fn add_scaled(a: &mut Direction, scale: f64, b: &Direction) -> Result<()> {
    for (name, b) in b {
        let scaled = (b * scale)?;
        let sum = match a.get(name) {
            Some(a) => (a + scaled)?,
            None => scaled,
        };
        a.insert(name.clone(), sum);
    }
    Ok(())
}

/// Multiplies a direction by a number.
pub fn rescale(direction: &mut Direction, scale: f64) -> Result<()> {
    for tensor in direction.values_mut() {
        *tensor = (&*tensor * scale)?;
    }
    Ok(())
}

/// Takes from `d2` what lies along `d1`; twice, since once leaves a rest of rounding.
pub fn orthogonalise(d2: &mut Direction, d1: &Direction) -> Result<()> {
    let square = product(d1, d1)?;
    for _ in 0..2 {
        let along = product(d1, d2)?;
        add_scaled(d2, -along / square, d1)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::landscape::selection::Selection;
    use candle_core::Device;

    fn params() -> Params {
        let matrix = |seed, shape: (usize, usize)| {
            Tensor::from_vec(gaussian::normal(seed, "w", shape.0 * shape.1), shape, &Device::Cpu).unwrap()
        };
        Params::from_iter([
            ("model.embed_tokens.weight".to_owned(), matrix(1, (10, 6))),
            ("model.layers.0.mlp.up_proj.weight".to_owned(), matrix(2, (30, 6))),
            ("model.layers.0.mlp.down_proj.weight".to_owned(), matrix(3, (6, 30))),
            ("model.norm.weight".to_owned(), Tensor::ones(6, candle_core::DType::F32, &Device::Cpu).unwrap()),
        ])
    }

    fn random(seeds: [u64; 2]) -> Plane {
        let names = Selection::default().names(&params()).unwrap();
        Plane::random(&params(), &names, seeds, Normalization::Filter).unwrap()
    }

    #[test]
    fn a_random_plane_touches_the_matrices_of_the_blocks_only() {
        let plane = random([11, 111]);
        assert_eq!((plane.info().tensors, plane.info().parameters), (2, 360));
        let moved = plane.displace(&params(), 0.5, -0.5).unwrap();
        for (name, before) in params().iter() {
            let change = (moved.get(name).unwrap() - before).unwrap().abs().unwrap().sum_all().unwrap();
            let changed = change.to_scalar::<f32>().unwrap() > 0.0;
            assert_eq!(changed, name.contains("mlp"), "{name}");
        }
    }

    #[test]
    fn every_row_of_a_direction_has_the_norm_of_the_weights_row() {
        let params = params();
        let plane = random([11, 111]);
        let norms = |t: &Tensor| t.sqr().unwrap().sum(1).unwrap().sqrt().unwrap().to_vec1::<f32>().unwrap();
        for (name, direction) in plane.direction(0).into_iter().chain(plane.direction(1)) {
            let wanted = norms(params.get(&name).unwrap());
            for (row, wanted) in norms(&direction).iter().zip(&wanted) {
                assert!((row / wanted - 1.0).abs() < 1e-6, "{name}: {row} for {wanted}");
            }
        }
    }

    #[test]
    fn the_origin_displaced_by_nothing_is_itself_to_the_bit() {
        let params = params();
        let moved = random([1, 2]).displace(&params, 0.0, 0.0).unwrap();
        for ((_, before), (_, after)) in params.iter().zip(moved.iter()) {
            let bits = |t: &Tensor| -> Vec<u32> {
                t.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
            };
            assert_eq!(bits(before), bits(after));
        }
    }

    #[test]
    fn a_point_of_the_plane_is_found_again_and_wholly_captured() {
        let params = params();
        let plane = random([11, 111]);
        let position = plane.position(&params, &plane.displace(&params, 0.3, -0.7).unwrap()).unwrap();
        assert!((position.inside[0] - 0.3).abs() < 1e-5 && (position.inside[1] + 0.7).abs() < 1e-5);
        assert!((position.captured.unwrap() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_move_outside_the_plane_is_not_captured() {
        let params = params();
        let plane = random([11, 111]);
        let mut elsewhere = params.clone();
        elsewhere.insert("model.norm.weight", (params.get("model.norm.weight").unwrap() * 3.0).unwrap());
        let position = plane.position(&params, &elsewhere).unwrap();
        assert!((position.distance - 24.0_f64.sqrt()).abs() < 1e-6);
        assert_eq!((position.inside, position.captured), ([0.0, 0.0], Some(0.0)));
        assert_eq!(plane.position(&params, &params).unwrap().captured, None);
    }
}
