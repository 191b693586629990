//! The directions of a slice as a file: safetensors `d1.NAME` and `d2.NAME`.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use candle_core::{DType, Device, Tensor};

use crate::export::replace;
use crate::landscape::plane::{Direction, Normalization, Plane};
use crate::model::checkpoint::Checkpoint;
use crate::protocol::PlaneInfo;

/// Writes both directions of a plane.
pub(super) fn save(plane: &Plane, path: &Path) -> anyhow::Result<()> {
    let at = || format!("--save-directions {}", path.display());
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    for which in [0, 1] {
        for (name, tensor) in plane.direction(which) {
            tensors.insert(format!("d{}.{name}", which + 1), tensor);
        }
    }
    let write = |file: &mut tempfile::NamedTempFile| {
        candle_core::safetensors::save(&tensors, file.path()).map_err(std::io::Error::other)
    };
    replace(path, write).with_context(at)
}

/// Refuses two directions that span no plane.
pub(super) fn check(plane: &Plane) -> anyhow::Result<()> {
    let cosine = plane.info().cosine;
    if cosine.abs() > 1.0 - 1e-6 {
        bail!("the two directions are the same but for their length (cosine {cosine}): give other --seeds");
    }
    Ok(())
}

/// Reads a plane through a model's weights; a line needs the first direction alone.
pub(super) fn load(
    path: &Path,
    checkpoint: &Checkpoint,
    line: bool,
    device: &Device,
) -> anyhow::Result<Plane> {
    let at = || format!("--load-directions {}", path.display());
    let tensors = candle_core::safetensors::load(path, device).with_context(at)?;
    let mut directions: [Direction; 2] = Default::default();
    for (which, prefix) in ["d1.", "d2."].into_iter().enumerate() {
        for (name, weight) in checkpoint.params.iter() {
            let Some(direction) = tensors.get(&format!("{prefix}{name}")) else { continue };
            if direction.dims() != weight.dims() {
                bail!(
                    "{}: {prefix}{name} is {:?}, the model's {name} is {:?}",
                    at(),
                    direction.dims(),
                    weight.dims()
                );
            }
            let direction = direction.to_dtype(DType::F32)?.contiguous()?;
            directions[which].insert(name.to_owned(), direction);
        }
    }
    let known = |name: &str| {
        let name = name.strip_prefix("d1.").or(name.strip_prefix("d2."));
        name.is_some_and(|name| checkpoint.params.get(name).is_some())
    };
    if let Some(unknown) = tensors.keys().filter(|name| !known(name)).min() {
        bail!("{}: the model has no tensor for {unknown}; names read d1.model.layers.0..", at());
    }
    let [d1, d2] = directions;
    if d1.is_empty() {
        bail!("{}: it holds no first direction", at());
    }
    if d2.is_empty() && !line {
        bail!("{}: it holds no second direction, which only a line can do without: add --grid Nx1", at());
    }
    let info = PlaneInfo {
        kind: "loaded".to_owned(),
        normalization: Normalization::None.name().to_owned(),
        ..PlaneInfo::default()
    };
    Plane::new(d1, d2, info).with_context(at)
}
