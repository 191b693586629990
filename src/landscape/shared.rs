//! A survey that one process has made, for all processes of its job.

use candle_core::{DType, Device, Error, Result};
use serde::{Deserialize, Serialize};

use super::evaluator::Objective;
use super::plane::{Direction, Plane};
use super::survey::{Method, Survey};
use crate::model::config::LlamaConfig;
use crate::model::device::{self, DeviceChoice};
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::model::sharing;
use crate::protocol::PlaneInfo;
use crate::ranks::Ranks;
use crate::train::corpus::Batch;

/// A survey without its tensors.
#[derive(Debug, Serialize, Deserialize)]
struct Outline {
    config: LlamaConfig,
    batch: Batch,
    objective: Objective,
    method: Method,
    device: DeviceChoice,
}

/// Gives a survey of the first process to the others, which have to [take] it.
pub fn give(
    ranks: &Ranks,
    survey: &Survey,
    config: &LlamaConfig,
    batch: &Batch,
    objective: Objective,
    device: &Device,
) -> Result<()> {
    let outline = Outline {
        config: config.clone(),
        batch: batch.clone(),
        objective,
        method: survey.method(),
        device: device::choice(device),
    };
    ranks.tell(&outline).map_err(Error::wrap)?;
    sharing::give(ranks, survey.origin())?;
    for which in [0, 1] {
        sharing::give(ranks, &survey.plane().direction(which).into_iter().collect())?;
    }
    Ok(())
}

/// Takes the survey that the first process gives. The inner error is this process's own, which the others do not know.
pub fn take(ranks: &Ranks) -> Result<std::result::Result<Survey, String>> {
    let outline: Outline = ranks.hear().map_err(Error::wrap)?;
    let [origin, d1, d2] = [sharing::take(ranks)?, sharing::take(ranks)?, sharing::take(ranks)?];
    Ok(outline.survey(&origin, [&d1, &d2], ranks.on_node().0))
}

impl Outline {
    fn survey(
        self,
        origin: &Params,
        directions: [&Params; 2],
        nth: usize,
    ) -> std::result::Result<Survey, String> {
        let Self { config, batch, objective, method, device } = self;
        let device = device::open_nth(device, nth).map_err(|error| error.to_string())?;
        let survey = || {
            let origin = sharing::on(&device, origin)?;
            let direction = |params: &Params| -> Result<Direction> {
                let params = sharing::on(&device, params)?;
                Ok(params.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect())
            };
            let [d1, d2] = directions.map(direction);
            let plane = Plane::new(d1?, d2?, PlaneInfo::default())?;
            let llama = Llama::new(&config, DType::F32, &device)?;
            Survey::new(llama, origin, plane, &batch, objective, Some(method), &device)
        };
        survey().map_err(|error: Error| error.to_string())
    }
}
