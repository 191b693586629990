//! What the other processes of a job do: they wait for what the first one asks of them. It alone has a command to run.

use std::sync::atomic::Ordering;

use anyhow::Context;
use candle_core::{DType, Device};
use serde::{Deserialize, Serialize};

use super::{interrupt, memory};
use crate::landscape::evaluator::Objective;
use crate::landscape::shared;
use crate::landscape::survey::Survey;
use crate::model::config::LlamaConfig;
use crate::ranks::Ranks;
use crate::train::corpus::Batch;
use crate::train::trainer::together;

/// What the first process asks for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Errand {
    /// To train with it.
    Train,
    /// To take a survey, for which a process may use so many bytes.
    Survey { memory: Option<u64> },
    /// To evaluate that survey with it.
    Evaluate,
    /// Nothing any more.
    End,
}

/// Runs the errands of the first process until it ends them. What goes wrong here the others can't know.
pub(super) fn follow(ranks: &Ranks, threads: usize) -> anyhow::Result<()> {
    let called = interrupt::flag()?;
    let mut survey: Option<Survey> = None;
    loop {
        match ranks.hear()? {
            Errand::Train => together::follow(ranks, threads, &called)?,
            Errand::Survey { memory } => {
                drop(survey.take());
                let budget = memory::budget(memory, ranks);
                let taken = shared::take(ranks)?.and_then(|survey| {
                    let most = points_at_once(&survey, budget).map_err(|error| error.to_string())?;
                    Ok((survey, most))
                });
                // What fails is said by the first process.
                if let Ok((taken, most)) = ranks.settle(taken) {
                    ranks.least(most);
                    survey = Some(taken);
                }
            }
            Errand::Evaluate => {
                let survey = survey.as_ref().context("there is no survey to evaluate")?;
                survey.help(ranks, &|| called.load(Ordering::Relaxed))?;
            }
            Errand::End => return Ok(()),
        }
    }
}

/// Gives the others a survey, and returns the points that a worker takes on at once within the memory of all of them.
pub(super) fn give(
    ranks: &Ranks,
    survey: &Survey,
    (config, batch, objective): (&LlamaConfig, &Batch, Objective),
    device: &Device,
    most: usize,
    memory: Option<u64>,
) -> anyhow::Result<usize> {
    if !ranks.are_several() {
        return Ok(most);
    }
    ranks.tell(&Errand::Survey { memory })?;
    shared::give(ranks, survey, config, batch, objective, device)?;
    ranks.settle(Ok(())).map_err(anyhow::Error::msg)?;
    Ok(ranks.least(most))
}

/// Points that a worker takes on at once within the budget.
pub(super) fn points_at_once(survey: &Survey, budget: u64) -> anyhow::Result<usize> {
    let taken = 2 * survey.plane().info().parameters * DType::F32.size_in_bytes() as u64;
    memory::points_at_once(survey, "the directions", taken, budget)
}
