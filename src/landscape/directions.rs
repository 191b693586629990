//! Directions that are not random: the gradient, where the weights came from, where they could go, and how the
//! loss curves.

use std::borrow::Cow;

use candle_core::{DType, Device, Result, Tensor, bail};
use nalgebra::DMatrix;

use super::evaluator::Objective;
use super::plane::{
    Direction, Normalization, Plane, add_scaled, orthogonalise, product, random_direction, rescale,
};
use crate::model::backprop::{Backprop, Texts};
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::protocol::{Explained, PlaneInfo, PlaneKind, Spectrum};
use crate::train::corpus::Batch;

/// A loss as a function of the weights.
#[derive(Debug)]
pub struct LossFunction<'a> {
    /// The model.
    pub llama: &'a Llama,
    /// The batch.
    pub batch: &'a Batch,
    /// Which loss.
    pub objective: Objective,
    /// Where to compute.
    pub device: &'a Device,
}

impl LossFunction<'_> {
    /// The gradient at `params`, over the tensors of these names.
    pub fn gradient(&self, params: &Params, names: &[String]) -> Result<Direction> {
        let batch = match self.objective {
            Objective::Mean => Cow::Borrowed(self.batch),
            Objective::Last => Cow::Owned(self.batch.clone().of_last()),
        };
        if self.device.is_cpu() {
            let turned = |name: &str| names.iter().any(|other| other == name);
            let mut backprop = Backprop::new(self.llama, params, turned, rayon::current_num_threads())?;
            let (inputs, targets) = batch.flat();
            let texts = Texts { inputs: &inputs, targets: &targets, seq: batch.seq() };
            backprop.gradient(params, &[texts], (batch.predicted() as f32).recip())?;
            let gradients = params.iter().zip(backprop.into_gradients());
            let turned = gradients.filter_map(|((name, tensor), gradient)| Some((name, tensor, gradient?)));
            return turned
                .map(|(name, tensor, gradient)| {
                    Ok((name.to_owned(), Tensor::from_vec(gradient, tensor.dims(), self.device)?))
                })
                .collect();
        }
        let mut weights: Params =
            params.iter().map(|(name, weight)| (name.to_owned(), weight.detach())).collect();
        let turned = names.iter().filter_map(|name| Some((name.clone(), params.get(name)?.clone())));
        let vars = turned.collect::<Params>().into_vars()?;
        for (name, var) in vars.iter() {
            weights.insert(name, var.as_tensor().clone());
        }
        let (inputs, targets) = batch.tensors(self.device)?;
        let loss = self.llama.loss(&weights, &inputs, &targets)?;
        let grads = vars.gradients(&loss.backward()?)?;
        Ok(vars.iter().map(|(name, _)| name.to_owned()).zip(grads).collect())
    }

    /// The Hessian at `params` times `v`, by central differences of the gradient,
    /// `(g(params + e v) - g(params - e v)) / 2e`.
    pub fn hessian_product(&self, params: &Params, names: &[String], v: &Direction) -> Result<Direction> {
        /// The length of the move: f32 loses the difference below, the curve bends above.
        const LENGTH: f64 = 2e-3;
        let length = LENGTH / product(v, v)?.sqrt().max(f64::MIN_POSITIVE);
        let mut ahead = self.gradient(&moved(params, v, length)?, names)?;
        add_scaled(&mut ahead, -1.0, &self.gradient(&moved(params, v, -length)?, names)?)?;
        rescale(&mut ahead, 0.5 / length)?;
        Ok(ahead)
    }
}

/// `params + scale v`.
fn moved(params: &Params, v: &Direction, scale: f64) -> Result<Params> {
    let moved = |(name, weight): (&str, &Tensor)| {
        let weight = match v.get(name) {
            Some(v) => (weight.detach() + (v * scale)?)?,
            None => weight.detach(),
        };
        Ok((name.to_owned(), weight))
    };
    params.iter().map(moved).collect()
}

/// The plane through the gradient, as a unit vector, and a random direction at a right angle to it.
pub fn gradient_plane(
    function: &LossFunction,
    params: &Params,
    names: &[String],
    seeds: [u64; 2],
) -> Result<Plane> {
    let mut gradient = function.gradient(params, names)?;
    unit(&mut gradient)?;
    Plane::along(gradient, PlaneKind::Gradient.name(), seeds)
}

/// The plane through `to - from` and a random direction at a right angle to it, as long.
pub fn difference_plane(
    from: &Params,
    to: &Params,
    names: &[String],
    kind: &str,
    seeds: [u64; 2],
) -> Result<Plane> {
    Plane::along(difference(from, to, names)?, kind, seeds)
}

/// `to - from`, over the tensors of these names.
pub fn difference(from: &Params, to: &Params, names: &[String]) -> Result<Direction> {
    names
        .iter()
        .map(|name| match (from.get(name), to.get(name)) {
            (Some(a), Some(b)) if a.dims() == b.dims() => Ok((name.clone(), (b.detach() - a.detach())?)),
            (Some(a), Some(b)) => {
                bail!("{name} is {:?} in one model and {:?} in the other", a.dims(), b.dims())
            }
            _ => bail!("one of the models has no {name}"),
        })
        .collect()
}

/// The plane of the two principal components of states of a training run around its newest, `origin`: each
/// direction as long as the farthest state's part along it, so that the path lies within -1 to 1.
pub fn trajectory_plane(
    states: &[Params],
    origin: &Params,
    names: &[String],
    seeds: [u64; 2],
) -> Result<Plane> {
    if states.len() < 2 {
        bail!(
            "a trajectory needs two checkpoints before this one, there are {}: train with --save-every and a larger \
             --keep-last",
            states.len()
        );
    }
    let moves = states.iter().map(|state| difference(origin, state, names)).collect::<Result<Vec<_>>>()?;
    // With the newest state, whose move is nothing, among them.
    let count = moves.len() + 1;
    let mut gram = DMatrix::<f64>::zeros(count, count);
    for i in 0..moves.len() {
        for j in 0..=i {
            let value = product(&moves[i], &moves[j])?;
            (gram[(i, j)], gram[(j, i)]) = (value, value);
        }
    }
    // The components of the centred states, by way of the small matrix of their scalar products.
    let centre = DMatrix::identity(count, count) - DMatrix::from_element(count, count, 1.0 / count as f64);
    let eigen = (&centre * &gram * &centre).symmetric_eigen();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let total: f64 = eigen.eigenvalues.iter().map(|value| value.max(0.0)).sum();
    if total <= 0.0 {
        bail!("the states of the trajectory do not differ");
    }
    let component = |which: usize| -> Result<Direction> {
        let weights = eigen.eigenvectors.column(order[which]);
        let mean = weights.sum() / count as f64;
        let mut direction = moves[0].clone();
        rescale(&mut direction, weights[0] - mean)?;
        for (index, other) in moves.iter().enumerate().skip(1) {
            add_scaled(&mut direction, weights[index] - mean, other)?;
        }
        unit(&mut direction)?;
        let farthest =
            moves.iter().map(|m| Ok(product(&direction, m)?.abs())).collect::<Result<Vec<f64>>>()?;
        rescale(&mut direction, farthest.into_iter().fold(0.0, f64::max).max(f64::MIN_POSITIVE))?;
        Ok(direction)
    };
    let share = |which: usize| eigen.eigenvalues[order[which]].max(0.0) / total;
    let info = PlaneInfo {
        kind: PlaneKind::Trajectory.name().to_owned(),
        normalization: Normalization::None.name().to_owned(),
        seeds,
        explained: Some(Explained { shares: [share(0), share(1)], random_walk: random_walk(count) }),
        ..PlaneInfo::default()
    };
    Plane::new(component(0)?, component(1)?, info)
}

/// Shares of the variance that the first two principal components of a random walk of `count` states in very
/// many dimensions explain: `1 / sin^2(pi k / 2 count)` over their sum; 61 and 15 % for long ones
/// (arXiv 1806.08805).
pub fn random_walk(count: usize) -> [f64; 2] {
    let value = |k: usize| (std::f64::consts::PI * k as f64 / (2.0 * count as f64)).sin().powi(-2);
    let total: f64 = (1..count).map(value).sum();
    [value(1) / total, if count > 2 { value(2) / total } else { 0.0 }]
}

/// The plane of the directions of greatest and least curvature, as unit vectors, by `iterations` steps of
/// Lanczos' method, each of which takes two gradients and keeps a vector.
pub fn hessian_plane(
    function: &LossFunction,
    params: &Params,
    names: &[String],
    seeds: [u64; 2],
    iterations: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Plane> {
    let start = random_direction(params, names, seeds[0], Normalization::None)?;
    let product = |v: &Direction| function.hessian_product(params, names, v);
    let Lanczos { values, top, bottom } = lanczos(product, start, iterations, go_on)?;
    let negative = values.iter().filter(|value| **value < 0.0).count();
    let (Some(least), Some(greatest)) = (values.first(), values.last()) else {
        bail!("no eigenvalue was found");
    };
    let info = PlaneInfo {
        kind: PlaneKind::Hessian.name().to_owned(),
        normalization: Normalization::None.name().to_owned(),
        seeds,
        spectrum: Some(Spectrum { greatest: *greatest, least: *least, probed: values.len(), negative }),
        ..PlaneInfo::default()
    };
    Plane::new(top, bottom, info)
}

/// What Lanczos' method finds of a symmetric operator.
#[derive(Debug)]
pub struct Lanczos {
    /// Ritz values, ascending. Those at the ends are eigenvalues; those between are spread as the spectrum is.
    pub values: Vec<f64>,
    /// The eigenvector of the greatest, of length one.
    pub top: Direction,
    /// The eigenvector of the least, of length one.
    pub bottom: Direction,
}

/// Lanczos' method with every vector made orthogonal to all before it, from `start`. `go_on` is told the number
/// of products taken before each; once it says no, an error comes back.
pub fn lanczos(
    mut product_with: impl FnMut(&Direction) -> Result<Direction>,
    start: Direction,
    iterations: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Lanczos> {
    let mut basis = vec![start];
    unit(&mut basis[0])?;
    let (mut diagonal, mut beside) = (Vec::<f64>::new(), Vec::<f64>::new());
    for iteration in 0..iterations.max(2) {
        if !go_on(iteration) {
            bail!("interrupted");
        }
        let mut next = product_with(&basis[iteration])?;
        diagonal.push(product(&next, &basis[iteration])?);
        let length = product(&next, &next)?.sqrt();
        for earlier in &basis {
            orthogonalise(&mut next, earlier)?;
        }
        let rest = product(&next, &next)?.sqrt();
        if !rest.is_finite() {
            bail!("the Hessian is not finite here: the weights or the loss hold a number that is not");
        }
        // Nothing new: the basis spans all that the start can reach.
        if rest <= 1e-6 * length || iteration + 1 == iterations.max(2) {
            break;
        }
        beside.push(rest);
        rescale(&mut next, 1.0 / rest)?;
        basis.push(next);
    }
    let count = diagonal.len();
    let tridiagonal = DMatrix::from_fn(count, count, |i, j| match i.abs_diff(j) {
        0 => diagonal[i],
        1 => beside[i.min(j)],
        _ => 0.0,
    });
    let eigen = tridiagonal.symmetric_eigen();
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*a].total_cmp(&eigen.eigenvalues[*b]));
    let vector = |index: usize| -> Result<Direction> {
        let weights = eigen.eigenvectors.column(index);
        let mut direction = basis[0].clone();
        rescale(&mut direction, weights[0])?;
        for (vector, weight) in basis.iter().zip(weights.iter()).skip(1) {
            add_scaled(&mut direction, *weight, vector)?;
        }
        unit(&mut direction)?;
        Ok(direction)
    };
    Ok(Lanczos {
        top: vector(order[count - 1])?,
        bottom: vector(order[0])?,
        values: order.into_iter().map(|index| eigen.eigenvalues[index]).collect(),
    })
}

/// Scales a direction to length one.
fn unit(direction: &mut Direction) -> Result<()> {
    let length = product(direction, direction)?.sqrt();
    if length == 0.0 || !length.is_finite() {
        bail!(
            "a direction has no length, or one that is not finite: the gradient vanishes or the weights hold a number that is not finite"
        );
    }
    rescale(direction, 1.0 / length)
}

/// Bytes of one direction over the tensors of these names.
pub fn bytes(params: &Params, names: &[String]) -> usize {
    let count = |name: &String| params.get(name).map_or(0, Tensor::elem_count);
    names.iter().map(count).sum::<usize>() * DType::F32.size_in_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f32]) -> Direction {
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        [("w".to_owned(), tensor)].into_iter().collect()
    }

    fn numbers(direction: &Direction) -> Vec<f32> {
        direction["w"].to_vec1().unwrap()
    }

    #[test]
    fn lanczos_finds_the_ends_of_a_known_spectrum() {
        let spectrum: [f32; 6] = [-2.0, 0.5, 1.0, 3.0, 4.0, 9.0];
        let times = |v: &Direction| {
            Ok(vector(&numbers(v).iter().zip(spectrum).map(|(x, s)| x * s).collect::<Vec<_>>()))
        };
        let found = lanczos(times, vector(&[1.0, -1.0, 0.7, 1.0, 0.9, 1.2]), 6, &mut |_| true).unwrap();
        for (found, wanted) in found.values.iter().zip(spectrum) {
            assert!((found - f64::from(wanted)).abs() < 1e-4, "{found} for {wanted}");
        }
        assert!((numbers(&found.top)[5].abs() - 1.0).abs() < 1e-4);
        assert!((numbers(&found.bottom)[0].abs() - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_long_random_walk_puts_61_percent_on_its_first_component() {
        let [first, second] = random_walk(10_000);
        assert!(
            (first - 6.0 / std::f64::consts::PI.powi(2)).abs() < 1e-3 && (second - first / 4.0).abs() < 1e-3
        );
    }

    #[test]
    fn a_path_on_a_line_is_all_on_the_first_component() {
        let state = |a: f32, b: f32| -> Params {
            [("w".to_owned(), Tensor::new(&[[a, b, 0.0]], &Device::Cpu).unwrap())].into_iter().collect()
        };
        let names = ["w".to_owned()];
        let states = [state(2.0, 0.1), state(4.0, -0.1), state(8.0, 0.0)];
        let plane = trajectory_plane(&states, &state(0.0, 0.0), &names, [11, 111]).unwrap();
        let explained = plane.info().explained.as_ref().unwrap();
        assert!(explained.shares[0] > 0.999 && explained.shares[1] < 1e-3);
        assert!((plane.info().norms[0] - 8.0).abs() < 1e-2, "the farthest state lies at 1");
        assert!(plane.info().cosine.abs() < 1e-3);
    }

    #[test]
    fn a_direction_without_length_is_refused() {
        let zero: Params = [("w".to_owned(), Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap())]
            .into_iter()
            .collect();
        let error = difference_plane(&zero, &zero, &["w".to_owned()], "to:itself", [1, 2]).unwrap_err();
        assert!(error.to_string().contains("no length"), "{error}");
    }
}
