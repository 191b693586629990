//! What a checkpoint of a run holds besides the model, so that training goes on from it as if it had not stopped.
//!
//! `optimizer.safetensors` has two tensors for each trained parameter, `NAME.exp_avg` and `NAME.exp_avg_sq`;
//! `trainer_state.json` is a [`State`].

use std::path::Path;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::trainer::{Progress, Snapshot};
use crate::model::chat::ChatTemplate;
use crate::model::checkpoint::{self, Checkpoint, Error, quoted};
use crate::model::config::LlamaConfig;
use crate::model::params::Params;
use crate::model::tokenizer::Tokenizer;

const MOMENTS: &str = "optimizer.safetensors";
const STATE: &str = "trainer_state.json";
/// No run has more steps: they would take longer than the machine lasts.
const LAST: u64 = 1 << 53;

/// `trainer_state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// How far the run was.
    #[serde(flatten)]
    pub progress: Progress,
    /// SHA-256 of the tokens it is trained on.
    pub data_sha256: String,
    /// The held-out loss of these weights, where anything is held out.
    pub eval_loss: Option<f64>,
    /// The best held-out loss so far.
    pub best: Option<Best>,
}

/// A held-out loss and when it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The step.
    pub step: u64,
    /// The loss.
    pub eval_loss: f64,
}

/// Saves a state as a folder that transformers opens and [`load`] goes on from. It is there in full or not at all.
pub fn save(
    folder: &Path,
    config: &LlamaConfig,
    tokenizer: &Tokenizer,
    chat: Option<&ChatTemplate>,
    snapshot: &Snapshot,
    state: &State,
) -> Result<(), Error> {
    checkpoint::write_folder(folder, |staging| {
        checkpoint::write_model(staging, config, &snapshot.params, tokenizer, chat)?;
        checkpoint::write_tensors(&staging.join(MOMENTS), &snapshot.moments)?;
        let path = staging.join(STATE);
        let text = serde_json::to_string_pretty(state)
            .map_err(|cause| Error::unsupported(&path, format!("can't be written: {cause}")))?;
        std::fs::write(&path, text + "\n").map_err(Error::io(&path))
    })
}

/// What a checkpoint says of the run that it is from.
pub fn state(folder: &Path) -> Result<State, Error> {
    let path = folder.join(STATE);
    let text = match std::fs::read_to_string(&path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            let problem = "is not there, so the run can't go on from this checkpoint: begin a new run from its \
                           weights with --model";
            return Err(Error::unsupported(&path, problem));
        }
        text => text.map_err(Error::io(&path))?,
    };
    let state: State = serde_json::from_str(&text).map_err(|cause| {
        Error::damaged(&path, format!("is no state of a run ({})", quoted(&cause.to_string())))
    })?;
    let Progress { step, learning_rate_factor, optimizer_updates, .. } = state.progress;
    let named = folder.file_name().and_then(|name| name.to_str()).and_then(checkpoint::step_of);
    if named != Some(step) || step == 0 || step > LAST || optimizer_updates > step {
        return Err(Error::damaged(&path, format!("says that it is of step {step}, the folder does not")));
    }
    if !(learning_rate_factor > 0.0 && learning_rate_factor.is_finite()) {
        return Err(Error::damaged(&path, format!("says learning_rate_factor {learning_rate_factor}")));
    }
    Ok(state)
}

/// Opens a checkpoint to go on from: the model, its state as the trainer wants it, and what else is known.
pub fn load(
    folder: &Path,
    device: &Device,
    progress: &mut dyn FnMut(f32),
) -> Result<(Checkpoint, Snapshot, State), Error> {
    let state = state(folder)?;
    let model = Checkpoint::open(folder, device, progress)?;
    let path = folder.join(MOMENTS);
    let moments = if state.progress.optimizer_updates > 0 {
        checkpoint::read_tensors(&path, device)?
    } else {
        Params::default()
    };
    let snapshot = Snapshot { progress: state.progress, params: model.params.clone(), moments };
    Ok((model, snapshot, state))
}
