//! A plane through the weights: two directions, and where the weights are on it.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor, bail};
use indexmap::IndexMap;
use rayon::prelude::*;

use crate::model::gaussian;
use crate::model::ops::{contiguous, dot};
use crate::model::params::Params;
use crate::protocol::PlaneInfo;

/// Two directions from a point in weight space.
#[derive(Debug, Clone)]
pub struct Plane {
    /// The tensors that move, each with its part of the first and of the second direction.
    directions: IndexMap<String, (Tensor, Tensor)>,
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
    /// Two random directions with filter normalisation (arXiv 1712.09913, section 4): standard normal numbers,
    /// each row scaled to the norm of the weights' row. They touch the matrices of the blocks and an untied
    /// head; norm gains, biases and the embedding stay where they are.
    pub fn random(params: &Params, seeds: [u64; 2]) -> Result<Self> {
        let mut directions = IndexMap::new();
        for (name, weight) in params.iter() {
            if weight.rank() != 2 || name == "model.embed_tokens.weight" {
                continue;
            }
            let direction = |seed| filter_normalised(name, weight, seed);
            directions.insert(name.to_owned(), (direction(seeds[0])?, direction(seeds[1])?));
        }
        if directions.is_empty() {
            bail!("the model has no matrix that a random direction could turn");
        }
        Self::new(directions, seeds)
    }

    /// The same directions with their rows scaled to the norms of these weights' rows: a plane keeps its unit
    /// while the weights grow.
    pub fn renormalised(&self, params: &Params) -> Result<Self> {
        let mut directions = IndexMap::new();
        for (name, (d1, d2)) in &self.directions {
            let Some(weight) = params.get(name) else { bail!("the weights lack {name}") };
            directions.insert(name.clone(), (scale_rows(d1, weight)?, scale_rows(d2, weight)?));
        }
        Self::new(directions, self.info.seeds)
    }

    fn new(directions: IndexMap<String, (Tensor, Tensor)>, seeds: [u64; 2]) -> Result<Self> {
        let [[d11, d12], [_, d22]] = gram(&directions)?;
        let info = PlaneInfo {
            kind: "random".to_owned(),
            normalization: "filter".to_owned(),
            seeds,
            tensors: directions.len(),
            parameters: directions.values().map(|(d1, _)| d1.elem_count() as u64).sum(),
            cosine: d12 / (d11 * d22).sqrt(),
            norms: [d11.sqrt(), d22.sqrt()],
        };
        Ok(Self { directions, info })
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
                let moved = match self.directions.get(name) {
                    Some((d1, d2)) => displace(weight, d1, d2, alpha as f32, beta as f32)?,
                    None => weight.clone(),
                };
                Ok((name.to_owned(), moved))
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
            if let Some((d1, d2)) = self.directions.get(name) {
                along[0] += dot(&moved, d1)?;
                along[1] += dot(&moved, d2)?;
            }
        }
        // The normal equations of the nearest point: gram * inside = along.
        let [d11, d22] = self.info.norms.map(|norm| norm * norm);
        let d12 = self.info.cosine * (d11 * d22).sqrt();
        let determinant = d11 * d22 - d12 * d12;
        let inside = [
            (d22 * along[0] - d12 * along[1]) / determinant,
            (d11 * along[1] - d12 * along[0]) / determinant,
        ];
        let projected = (inside[0] * along[0] + inside[1] * along[1]).max(0.0).sqrt();
        let distance = square.sqrt();
        let captured = (distance > 0.0).then(|| projected / distance);
        Ok(Position { distance, inside, captured })
    }
}

/// Standard normal numbers of the shape of `weight`, `(out, in)`, each row with the norm of the weight's row.
fn filter_normalised(name: &str, weight: &Tensor, seed: u64) -> Result<Tensor> {
    let numbers = gaussian::normal(seed, name, weight.elem_count());
    scale_rows(&Tensor::from_vec(numbers, weight.shape(), weight.device())?, weight)
}

/// `direction` with each row, `(in)`, scaled to the norm of the row of `weight`. Both are `(out, in)`.
fn scale_rows(direction: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let columns = weight.dim(1)?;
    let weights = weight.detach().flatten_all()?.to_vec1::<f32>()?;
    let mut numbers = direction.flatten_all()?.to_vec1::<f32>()?;
    numbers.par_chunks_mut(columns).zip(weights.par_chunks(columns)).for_each(|(row, weights)| {
        let norm = |x: &[f32]| x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
        let scale = norm(weights) / norm(row).max(f64::MIN_POSITIVE);
        for x in row {
            *x = (f64::from(*x) * scale) as f32;
        }
    });
    Tensor::from_vec(numbers, weight.shape(), weight.device())
}

/// Scalar products of the directions with each other.
fn gram(directions: &IndexMap<String, (Tensor, Tensor)>) -> Result<[[f64; 2]; 2]> {
    let mut gram = [[0.0; 2]; 2];
    for (d1, d2) in directions.values() {
        gram[0][0] += dot(d1, d1)?;
        gram[0][1] += dot(d1, d2)?;
        gram[1][1] += dot(d2, d2)?;
    }
    gram[1][0] = gram[0][1];
    Ok(gram)
}

/// `weight + alpha d1 + beta d2` in one pass on the CPU.
fn displace(weight: &Tensor, d1: &Tensor, d2: &Tensor, alpha: f32, beta: f32) -> Result<Tensor> {
    if weight.device().is_cpu() {
        return weight.apply_op3_no_bwd(d1, d2, &Displace { alpha, beta });
    }
    (weight + (d1 * f64::from(alpha))?)? + (d2 * f64::from(beta))?
}

struct Displace {
    alpha: f32,
    beta: f32,
}

impl CustomOp3 for Displace {
    fn name(&self) -> &'static str {
        "displace"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weight, d1, d2) = (contiguous(s1, l1)?, contiguous(s2, l2)?, contiguous(s3, l3)?);
        let moved =
            weight.iter().zip(d1).zip(d2).map(|((w, x), y)| w + self.alpha * x + self.beta * y).collect();
        Ok((CpuStorage::F32(moved), l1.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn a_random_plane_touches_the_matrices_of_the_blocks_only() {
        let plane = Plane::random(&params(), [11, 111]).unwrap();
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
        let plane = Plane::random(&params, [11, 111]).unwrap();
        let norms = |t: &Tensor| t.sqr().unwrap().sum(1).unwrap().sqrt().unwrap().to_vec1::<f32>().unwrap();
        for (name, (d1, d2)) in &plane.directions {
            let wanted = norms(params.get(name).unwrap());
            for direction in [d1, d2] {
                for (row, wanted) in norms(direction).iter().zip(&wanted) {
                    assert!((row / wanted - 1.0).abs() < 1e-6, "{name}: {row} for {wanted}");
                }
            }
        }
    }

    #[test]
    fn the_origin_displaced_by_nothing_is_itself_to_the_bit() {
        let params = params();
        let moved = Plane::random(&params, [1, 2]).unwrap().displace(&params, 0.0, 0.0).unwrap();
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
        let plane = Plane::random(&params, [11, 111]).unwrap();
        let position = plane.position(&params, &plane.displace(&params, 0.3, -0.7).unwrap()).unwrap();
        assert!((position.inside[0] - 0.3).abs() < 1e-5 && (position.inside[1] + 0.7).abs() < 1e-5);
        assert!((position.captured.unwrap() - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_move_outside_the_plane_is_not_captured() {
        let params = params();
        let plane = Plane::random(&params, [11, 111]).unwrap();
        let mut elsewhere = params.clone();
        elsewhere.insert("model.norm.weight", (params.get("model.norm.weight").unwrap() * 3.0).unwrap());
        let position = plane.position(&params, &elsewhere).unwrap();
        assert!((position.distance - 24.0_f64.sqrt()).abs() < 1e-6);
        assert_eq!((position.inside, position.captured), ([0.0, 0.0], Some(0.0)));
        assert_eq!(plane.position(&params, &params).unwrap().captured, None);
    }
}
