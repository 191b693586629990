//! The wormhole experiment as files: arrays for `NumPy`, and a film of the plane that travels.

use std::io::Write;
use std::path::Path;

use candle_core::{Device, Tensor};
use tempfile::NamedTempFile;

use super::film::Film;
use super::picture::Scale;
use super::{series, surface};
use crate::protocol::wormhole::{Moment, Pictures, Record, Surface};
use crate::protocol::{BatchInfo, PlaneInfo, Slice};

/// Pixels of the width and the height of a film.
const SIDE: u16 = 480;
/// Surfaces a second.
const FRAMES_A_SECOND: u16 = 4;

/// Fills a file with the n steps and the k surfaces:
///
/// - `metrics/step` (n) of i64, and of f64 `metrics/loss`, `metrics/loss_target`, `metrics/distance`,
///   `metrics/captured` (n) and `metrics/inside` (n, 2)
/// - `offset` (2) and `chance` (1) of f64, and `note`, the bytes of `note`
/// - with surfaces `alphas` (columns) and `betas` (rows) of f64, `steps` (k) of i64 and `loss` (k, rows, columns) of
///   f64: `loss[k, i, j]` is at `alphas[j]`, `betas[i]` after `steps[k]` steps
///
/// What is missing or not finite is NaN.
pub fn npz(file: &NamedTempFile, record: &Record, note: &str) -> std::io::Result<()> {
    super::arrays::fill(file, &arrays(record, note).map_err(std::io::Error::other)?)
}

fn arrays(record: &Record, note: &str) -> candle_core::Result<Vec<(&'static str, Tensor)>> {
    let count = record.steps.len();
    let steps: Vec<i64> = record.steps.iter().map(|moment| moment.step as i64).collect();
    let inside: Vec<f64> = record.steps.iter().flat_map(|moment| moment.inside).collect();
    let column = |value: fn(&Moment) -> f64| {
        let values: Vec<f64> = record.steps.iter().map(value).collect();
        Tensor::from_vec(values, count, &Device::Cpu)
    };
    let mut arrays = vec![
        ("metrics/step", Tensor::from_vec(steps, count, &Device::Cpu)?),
        ("metrics/loss", column(|moment| moment.loss)?),
        ("metrics/loss_target", column(|moment| moment.loss_target)?),
        ("metrics/distance", column(|moment| moment.distance)?),
        ("metrics/inside", Tensor::from_vec(inside, (count, 2), &Device::Cpu)?),
        ("metrics/captured", column(|moment| moment.captured.unwrap_or(f64::NAN))?),
        ("offset", Tensor::new(&record.offset, &Device::Cpu)?),
        ("chance", Tensor::new(&[record.chance], &Device::Cpu)?),
        ("note", Tensor::new(note.as_bytes(), &Device::Cpu)?),
    ];
    if let Some(Pictures { alphas, betas, surfaces }) = &record.pictures {
        let steps: Vec<i64> = surfaces.iter().map(|surface| surface.step as i64).collect();
        let losses: Vec<f64> =
            surfaces.iter().flat_map(|surface| surface.loss.iter().flatten().copied()).collect();
        let shape = (surfaces.len(), betas.len(), alphas.len());
        arrays.extend([
            ("alphas", Tensor::new(alphas.as_slice(), &Device::Cpu)?),
            ("betas", Tensor::new(betas.as_slice(), &Device::Cpu)?),
            ("steps", Tensor::from_vec(steps, surfaces.len(), &Device::Cpu)?),
            ("loss", Tensor::from_vec(losses, shape, &Device::Cpu)?),
        ]);
    }
    Ok(arrays)
}

/// Writes the surfaces as an animated GIF, in one scale of a colour map of these stops.
pub fn film(file: impl Write, pictures: &Pictures, stops: Vec<[u8; 3]>) -> std::io::Result<()> {
    let slices: Vec<Slice> = pictures.surfaces.iter().map(|surface| slice(pictures, surface)).collect();
    let scale = Scale::shared(&slices, stops);
    let mut film = Film::begin(file, SIDE, FRAMES_A_SECOND, &scale)?;
    for slice in &slices {
        film.show(slice)?;
    }
    film.end()
}

/// Writes the surfaces for `ParaView`: see [`series::series`].
pub fn series(path: &Path, pictures: &Pictures, note: &str) -> std::io::Result<()> {
    let shown = |at: &Surface| {
        let mut shown = surface::Surface::shown(String::new(), &slice(pictures, at));
        shown.caption.note = format!("{note}; the plane that travels, after {} steps", at.step);
        (at.step, shown)
    };
    series::series(path, pictures.surfaces.iter().map(shown))
}

/// A surface as what a film shows, which asks for the grid and its losses alone.
fn slice(pictures: &Pictures, surface: &Surface) -> Slice {
    Slice {
        step: surface.step,
        generation: 1,
        alphas: pictures.alphas.clone(),
        betas: pictures.betas.clone(),
        loss: surface.loss.iter().flatten().map(|loss| *loss as f32).collect(),
        center: f64::NAN,
        finest: true,
        plane: PlaneInfo::default(),
        batch: BatchInfo { tokens: 0, sha256: String::new(), source: String::new() },
        seconds: 0.0,
        method: String::new(),
        sharpness: None,
    }
}
