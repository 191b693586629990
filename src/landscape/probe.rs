//! Single parameters of a model: how people name them, and which of them have the largest gradients.

use candle_core::{Device, Error, Result, Tensor};
use serde::Serialize;

use super::plane::Direction;
use crate::model::host::Numbers;
use crate::model::params::Params;

/// Points of a sweep of one parameter, where nobody says how many. The middle one is the model's own.
pub const POINTS: usize = 101;
/// Points a side of a sweep of two.
pub const SIDE: usize = 25;

/// A single number of a model, and the derivative of a loss by it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its tensor.
    pub name: String,
    /// Its place there: row and column of a matrix, one number for a vector.
    pub index: Vec<usize>,
    /// What it is.
    pub value: f64,
    /// The derivative.
    pub grad: f64,
    /// Its place counted through the tensor row by row.
    #[serde(skip)]
    pub flat: usize,
}

impl Entry {
    /// The number at a place of the tensor of this name, counted row by row. Its derivative is 0 where the gradient
    /// lacks the tensor.
    pub fn read(params: &Params, gradient: &Direction, name: String, flat: usize) -> Result<Self> {
        let tensor =
            params.get(&name).ok_or_else(|| Error::msg(format!("the model has no tensor {name}")))?;
        let index = match tensor.dims() {
            [_, columns] => vec![flat / columns, flat % columns],
            _ => vec![flat],
        };
        let grad = gradient.get(&name).map_or(Ok(0.0), |tensor| number(tensor, flat))?;
        Ok(Self { index, value: number(tensor, flat)?, grad, flat, name })
    }
}

/// The number of a tensor at a place counted row by row.
pub fn number(tensor: &Tensor, flat: usize) -> Result<f64> {
    let number = tensor.detach().flatten_all()?.narrow(0, flat, 1)?.to_device(&Device::Cpu)?;
    Ok(f64::from(number.to_vec1::<f32>()?[0]))
}

/// Reads `NAME[I,J]` of a matrix, `NAME[I]` of a vector: the name and the index. Fails with one line for the person who
/// typed it.
pub fn parts(text: &str) -> std::result::Result<(&str, Vec<usize>), String> {
    let form = || format!("{text}: write it as model.layers.0.mlp.up_proj.weight[12,34]");
    let (name, index) = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')).ok_or_else(form)?;
    let index = index.split(',').map(|i| i.trim().parse().ok()).collect::<Option<_>>();
    Ok((name, index.ok_or_else(form)?))
}

/// The name and the place that [`parts`] reads, counted row by row. Fails with one line, also where the model has no such
/// number.
pub fn place(text: &str, params: &Params) -> std::result::Result<(String, usize), String> {
    let (name, index) = parts(text)?;
    let Some(tensor) = params.get(name) else {
        /// Characters that are compared: longer than any name.
        const COMPARED: usize = 100;
        let names = params.iter().map(|(name, _)| name);
        let typed: String = name.chars().take(COMPARED).collect();
        let nearest = names.min_by_key(|other| strsim::levenshtein(other, &typed)).unwrap_or("none");
        return Err(format!("{name}: the model has no such tensor; the nearest is {nearest}"));
    };
    let dims = tensor.dims();
    if index.len() != dims.len() || index.iter().zip(dims).any(|(i, d)| i >= d) {
        return Err(format!("{text}: the tensor is {dims:?}, counted from 0"));
    }
    Ok((name.to_owned(), index.iter().zip(dims).fold(0, |flat, (i, d)| flat * d + i)))
}

/// The parameters with the largest gradients, largest first. What is not a number counts as largest of all.
pub fn rank(params: &Params, gradient: &Direction, count: usize) -> Result<Vec<Entry>> {
    /// Numbers that are looked through at a time: of each lot, only so many are worth keeping.
    const LOT: usize = 1 << 16;
    let mut largest: Vec<(f32, &String, usize)> = Vec::new();
    // The smallest of those that are kept, once they are as many as are wanted.
    let mut least = f32::NEG_INFINITY;
    for (name, tensor) in gradient {
        let tensor = tensor.to_device(&Device::Cpu)?;
        let numbers = Numbers::of(&tensor)?;
        for (lot, numbers) in numbers.chunks(LOT).enumerate() {
            let sizes = numbers.iter().enumerate().map(|(i, x)| (x.abs(), name, lot * LOT + i));
            largest.extend(sizes.filter(|(size, ..)| size.total_cmp(&least).is_gt()));
            if largest.len() > count {
                largest.select_nth_unstable_by(count.saturating_sub(1), |a, b| b.0.total_cmp(&a.0));
                largest.truncate(count);
                least = largest.last().map_or(f32::INFINITY, |last| last.0);
            }
        }
    }
    largest.sort_by(|a, b| b.0.total_cmp(&a.0));
    largest.into_iter().map(|(_, name, flat)| Entry::read(params, gradient, name.clone(), flat)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(numbers: Vec<f32>, columns: usize) -> Tensor {
        let rows = numbers.len() / columns;
        Tensor::from_vec(numbers, (rows, columns), &Device::Cpu).unwrap()
    }

    #[test]
    fn the_largest_gradients_are_found_wherever_they_are_in_tensors_of_any_size() {
        const COUNT: usize = 200_000;
        let mut first: Vec<f32> = (0..COUNT).map(|i| (i % 7) as f32 * 0.01).collect();
        (first[3], first[70_001], first[COUNT - 1]) = (-4.0, 5.0, 3.0);
        let second = vec![0.5, -6.0, 0.0, 3.5];
        let gradient: Direction =
            [("a".to_owned(), tensor(first, 10)), ("b".to_owned(), tensor(second, 2))].into_iter().collect();
        let params: Params =
            gradient.iter().map(|(name, g)| (name.clone(), g.affine(2.0, 1.0).unwrap())).collect();
        let ranked = rank(&params, &gradient, 4).unwrap();
        let seen: Vec<_> = ranked.iter().map(|e| (&*e.name, &e.index[..], e.grad, e.value)).collect();
        assert_eq!(
            seen,
            [
                ("b", &[0, 1][..], -6.0, -11.0),
                ("a", &[7000, 1], 5.0, 11.0),
                ("a", &[0, 3], -4.0, -7.0),
                ("b", &[1, 1], 3.5, 8.0)
            ]
        );
        assert_eq!(rank(&params, &gradient, 0).unwrap(), []);
    }

    #[test]
    fn a_parameter_is_named_by_its_tensor_and_its_place_there() {
        let params: Params = [
            ("model.layers.0.mlp.up_proj.weight".to_owned(), tensor(vec![0.0; 12], 4)),
            ("model.norm.weight".to_owned(), Tensor::new(&[0.0_f32; 4], &Device::Cpu).unwrap()),
        ]
        .into_iter()
        .collect();
        let place = |text| place(text, &params);
        assert_eq!(
            place("model.layers.0.mlp.up_proj.weight[2, 1]").unwrap(),
            ("model.layers.0.mlp.up_proj.weight".to_owned(), 9)
        );
        assert_eq!(place("model.norm.weight[3]").unwrap().1, 3);
        for (text, words) in [
            (
                "model.norm.wieght[3]",
                "model.norm.wieght: the model has no such tensor; the nearest is model.norm.weight",
            ),
            ("model.layers.0.mlp.up_proj[2,1]", "the nearest is model.layers.0.mlp.up_proj.weight"),
            ("model.norm.weight[4]", "model.norm.weight[4]: the tensor is [4], counted from 0"),
            ("model.norm.weight[0,0]", "the tensor is [4], counted from 0"),
            ("model.norm.weight", "write it as"),
            ("model.norm.weight[-1]", "write it as"),
            ("", "write it as"),
        ] {
            let problem = place(text).unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }
}
