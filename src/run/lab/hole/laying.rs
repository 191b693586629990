//! What an experiment needs before it begins: a setting that makes sense, memory, and two directions.

use super::Ground;
use crate::landscape::directions::bytes;
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Normalization, Plane};
use crate::landscape::selection::Selection;
use crate::landscape::survey::Survey;
use crate::model::memory::available;
use crate::protocol::wormhole::Setting;
use crate::protocol::{BatchInfo, Slice};
use crate::run::pictures::{RANGES, SIDES};
use crate::run::wormhole::Descent;

/// Refuses a setting that no experiment can have, in one line of what and what to do.
pub(in crate::run::lab) fn check(setting: &Setting) -> Result<(), String> {
    let Setting { seeds, learning_rate, range, finest, every, .. } = *setting;
    if !RANGES.contains(&range) {
        return Err(format!("a range of {range}: give one from {} to {}", RANGES.start(), RANGES.end()));
    }
    if !SIDES.contains(&finest) {
        return Err(format!("{finest} points a side: give one of {SIDES:?}"));
    }
    if seeds[0] == seeds[1] {
        return Err(format!("seed {} for both directions: give two that differ", seeds[0]));
    }
    if learning_rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
        return Err("the learning rate must be greater than 0 and finite".to_owned());
    }
    if every == 0 {
        return Err("no steps from one picture to the next: give 1 at least".to_owned());
    }
    Ok(())
}

/// A plane through the weights of a run.
#[derive(Debug)]
pub(super) struct Laid {
    /// The two directions.
    pub(super) plane: Plane,
    /// The plane through the weights of the run.
    pub(super) survey: Survey,
    /// What a picture of it says besides the losses.
    pub(super) caption: Slice,
}

impl Laid {
    /// Draws the directions where there is memory for them and for the training; else says so in one line.
    pub(super) fn new(
        setting: &Setting,
        ground: &Ground,
        descent: &Descent,
        generation: u64,
    ) -> Result<Self, String> {
        let Ground { llama, weights, device, .. } = ground;
        let config = llama.config();
        let selection =
            if setting.film { Selection::first_half(config.num_hidden_layers) } else { Selection::default() };
        let names = selection.names(weights).map_err(|error| error.to_string())?;
        // The memory of a GPU is its own.
        let budget = if device.is_cpu() { available() } else { u64::MAX };
        enough("the two directions", 2 * bytes(weights, &names), budget)?;
        let in_words = |error: candle_core::Error| format!("no plane can be laid: {error}");
        let plane = Plane::random(weights, &names, setting.seeds, Normalization::Layer).map_err(in_words)?;
        let batch = ground.batch();
        let (origin, through) = (weights.clone(), plane.clone());
        let survey = Survey::new(llama.clone(), origin, through, &batch, Objective::Mean, None, device)
            .map_err(in_words)?;
        let workers = survey.bytes(survey.points_at_once()) * descent.threads;
        let needed = descent.bytes(config, weights, &plane, &batch) + workers;
        enough("the training with its directions", needed, budget)?;
        let source = "prompt".to_owned();
        let caption = Slice {
            step: ground.step,
            generation,
            alphas: Vec::new(),
            betas: Vec::new(),
            loss: Vec::new(),
            center: survey.loss(0.0, 0.0).map_err(in_words)?,
            finest: false,
            plane: plane.info().clone(),
            batch: BatchInfo { tokens: batch.predicted(), sha256: batch.sha256(), source },
            method: survey.method().name().to_owned(),
            seconds: 0.0,
            sharpness: None,
        };
        Ok(Self { plane, survey, caption })
    }
}

/// Refuses what takes more memory than there is.
pub(super) fn enough(what: &str, needed: usize, budget: u64) -> Result<(), String> {
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    if needed as u64 > budget {
        return Err(format!(
            "{what} would take {:.2} GB, {:.2} GB can be had: close other programs, or take a smaller model",
            gigabytes(needed as u64),
            gigabytes(budget)
        ));
    }
    Ok(())
}
