//! Settings of a run that nobody has to wait for.

use llamascape::model::device::DeviceChoice;
use llamascape::protocol::{OptimizerKind, PlaneKind};
use llamascape::settings::{DataSource, ModelSource, Settings};
use llamascape::train::schedule::Shape;

/// A run of that name.
pub(crate) fn settings(name: &str) -> Settings {
    Settings {
        name: name.to_owned(),
        model: ModelSource::Preset("nano".to_owned()),
        data: DataSource::Builtin,
        steps: Some(1),
        optimizer: OptimizerKind::AdamW,
        learning_rate: 1e-2,
        weight_decay: 0.1,
        schedule: Shape::Cosine,
        warmup: 20,
        decay_steps: 100,
        batch_size: 8,
        context: Some(64),
        accumulate: 1,
        clip: 1.0,
        seed: 0,
        eval_every: 50,
        save_every: None,
        keep_last: 2,
        slice_every: None,
        grid: 9,
        plane: PlaneKind::Random,
        device: DeviceChoice::Cpu,
        threads: 1,
        paused: false,
        answers_only: false,
        freeze: Vec::new(),
        early_stop: None,
        sample_every: None,
        precision: None,
    }
}
