//! A run as `NumPy` arrays: its slices and its metrics in one npz.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, npy::NpzTensors};
use indexmap::{IndexMap, IndexSet};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::protocol::Slice;

/// The slices of the grid that most of them have, and of two grids that as many have, of the finer one: arrays have
/// one shape.
pub fn of_one_grid(slices: &[Slice]) -> Vec<&Slice> {
    let mut counts: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for slice in slices {
        *counts.entry(grid(slice)).or_default() += 1;
    }
    let commonest = counts.into_iter().max_by_key(|(_, count)| *count).map(|(grid, _)| grid);
    slices.iter().filter(|slice| Some(grid(slice)) == commonest).collect()
}

/// Rows and columns.
fn grid(slice: &Slice) -> (usize, usize) {
    (slice.betas.len(), slice.alphas.len())
}

/// Fills a file with the n slices, which share a grid, and the m steps among the lines of `metrics.jsonl`:
///
/// - `steps` and `generation` (n) of i64, `center` (n) of f64
/// - `alphas` (n, columns) and `betas` (n, rows) of f64
/// - `loss` (n, rows, columns) of f32: `loss[k, i, j]` is at `alphas[k, j]`, `betas[k, i]`
/// - `metrics/step` (m) of i64, and `metrics/NAME` (m) of f64 for every other name that any line has
///
/// What is missing or not finite is NaN. Without slices only the metrics are there.
pub fn npz(
    file: &NamedTempFile,
    slices: &[&Slice],
    lines: &[IndexMap<String, Value>],
) -> std::io::Result<()> {
    let slices = if slices.is_empty() { Ok(Vec::new()) } else { of_slices(slices) };
    let arrays = slices.and_then(|mut arrays| {
        arrays.append(&mut of_metrics(lines)?);
        Ok(arrays)
    });
    fill(file, &arrays.map_err(std::io::Error::other)?)
}

fn of_slices(slices: &[&Slice]) -> candle_core::Result<Vec<(String, Tensor)>> {
    let count = slices.len();
    let (rows, columns) = slices.first().map_or((0, 0), |slice| grid(slice));
    let steps: Vec<i64> = slices.iter().map(|slice| slice.step as i64).collect();
    let generations: Vec<i64> = slices.iter().map(|slice| slice.generation as i64).collect();
    let centers: Vec<f64> = slices.iter().map(|slice| slice.center).collect();
    let alphas: Vec<f64> = slices.iter().flat_map(|slice| slice.alphas.iter().copied()).collect();
    let betas: Vec<f64> = slices.iter().flat_map(|slice| slice.betas.iter().copied()).collect();
    let losses: Vec<f32> = slices.iter().flat_map(|slice| slice.loss.iter().copied()).collect();
    Ok(vec![
        ("steps".to_owned(), Tensor::from_vec(steps, count, &Device::Cpu)?),
        ("generation".to_owned(), Tensor::from_vec(generations, count, &Device::Cpu)?),
        ("center".to_owned(), Tensor::from_vec(centers, count, &Device::Cpu)?),
        ("alphas".to_owned(), Tensor::from_vec(alphas, (count, columns), &Device::Cpu)?),
        ("betas".to_owned(), Tensor::from_vec(betas, (count, rows), &Device::Cpu)?),
        ("loss".to_owned(), Tensor::from_vec(losses, (count, rows, columns), &Device::Cpu)?),
    ])
}

fn of_metrics(lines: &[IndexMap<String, Value>]) -> candle_core::Result<Vec<(String, Tensor)>> {
    let step = |line: &IndexMap<String, Value>| line.get("step").and_then(Value::as_i64);
    let lines: Vec<&IndexMap<String, Value>> = lines.iter().filter(|line| step(line).is_some()).collect();
    let steps: Vec<i64> = lines.iter().filter_map(|line| step(line)).collect();
    let count = steps.len();
    let mut arrays = vec![("metrics/step".to_owned(), Tensor::from_vec(steps, count, &Device::Cpu)?)];
    let names: IndexSet<&String> = lines.iter().flat_map(|line| line.keys()).collect();
    // A name from a file may hold anything.
    for name in names.into_iter().filter(|name| *name != "step" && !name.contains(char::is_control)) {
        let number = |line: &&IndexMap<String, Value>| line.get(name).and_then(Value::as_f64);
        let values: Vec<f64> = lines.iter().map(|line| number(line).unwrap_or(f64::NAN)).collect();
        arrays.push((format!("metrics/{name}"), Tensor::from_vec(values, count, &Device::Cpu)?));
    }
    Ok(arrays)
}

/// Fills a file with arrays under their names.
pub(super) fn fill<S: AsRef<str>>(file: &NamedTempFile, arrays: &[(S, Tensor)]) -> std::io::Result<()> {
    // A disk that fills at the very end shows only when the file is opened again.
    let written = Tensor::write_npz(arrays, file.path()).and_then(|()| NpzTensors::new(file.path()));
    written.map(|_| ()).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchInfo, PlaneInfo};

    fn slice(step: u64, columns: usize, rows: usize) -> Slice {
        Slice {
            step,
            generation: 2,
            alphas: (0..columns).map(|i| i as f64).collect(),
            betas: (0..rows).map(|i| -(i as f64)).collect(),
            loss: (0..columns * rows).map(|i| i as f32 + 100.0 * step as f32).collect(),
            center: f64::NAN,
            finest: true,
            plane: PlaneInfo::default(),
            batch: BatchInfo { tokens: 1, sha256: String::new(), source: String::new() },
            seconds: 0.0,
            method: String::new(),
            sharpness: None,
        }
    }

    #[test]
    fn the_slices_of_the_commonest_grid_are_chosen_and_of_two_the_finer_one() {
        let steps = |slices: &[Slice]| of_one_grid(slices).iter().map(|slice| slice.step).collect::<Vec<_>>();
        let coarse = [slice(1, 3, 3), slice(2, 5, 5), slice(3, 3, 3)];
        assert_eq!(steps(&coarse), [1, 3]);
        assert_eq!(steps(&coarse[..2]), [2]);
        assert_eq!(steps(&[]), Vec::<u64>::new());
    }

    #[test]
    fn a_slice_stands_at_its_number_and_a_missing_metric_is_no_number() {
        let line = |text: &str| serde_json::from_str(text).unwrap();
        let lines = [
            line(r#"{"step":1,"loss":null,"grad_norm/layer 0":2}"#),
            line(r#"{"note":"no step"}"#),
            line(r#"{"step":2,"loss":1.5,"\u001b[31m":1}"#),
        ];
        let file = NamedTempFile::new().unwrap();
        let (first, second) = (slice(1, 3, 2), slice(4, 3, 2));
        npz(&file, &[&first, &second], &lines).unwrap();

        let arrays: BTreeMap<String, Tensor> = Tensor::read_npz(file.path()).unwrap().into_iter().collect();
        let names: Vec<&str> = arrays.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "alphas",
                "betas",
                "center",
                "generation",
                "loss",
                "metrics/grad_norm/layer 0",
                "metrics/loss",
                "metrics/step",
                "steps"
            ]
        );
        assert_eq!(arrays["steps"].to_vec1::<i64>().unwrap(), [1, 4]);
        assert_eq!(arrays["alphas"].dims(), [2, 3]);
        assert_eq!(arrays["loss"].dims(), [2, 2, 3]);
        assert_eq!(arrays["loss"].to_vec3::<f32>().unwrap()[1][1], [403.0, 404.0, 405.0]);
        assert_eq!(arrays["metrics/step"].to_vec1::<i64>().unwrap(), [1, 2]);
        let losses = arrays["metrics/loss"].to_vec1::<f64>().unwrap();
        assert!(losses[0].is_nan() && (losses[1] - 1.5).abs() < 1e-12, "{losses:?}");
    }
}
