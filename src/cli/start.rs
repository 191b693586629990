//! A bare `llamascape`: come back to a run that is being trained, or train a new one.

use jiff::Timestamp;

use super::{attach, runs, screen, train};
use crate::app::start::{Choice, Row};
use crate::app::{Action, Bindings, Options};
use crate::ranks::Ranks;
use crate::run::dir::{RunDir, RunState, Summary, living};

/// Asks which run, where a person could come back to one; a screen on it has these keys. Otherwise it trains.
pub(super) fn start(train: train::Args, threads: usize, bindings: Bindings<Action>) -> anyhow::Result<()> {
    if train.is_headless() || rows().is_empty() {
        return train.run(threads, bindings, &Ranks::alone());
    }
    match screen::choose(train.look()?, rows)? {
        Choice::Run(folder) => {
            let options = Options { bindings, ..Options::default() };
            attach::come_back(&RunDir::open(&folder)?, train.look()?, options)
        }
        Choice::New => train.run(threads, bindings, &Ranks::alone()),
        Choice::Nothing => Ok(()),
    }
}

/// The runs that have an engine. Where they can't be listed there is none to come back to.
fn rows() -> Vec<Row> {
    let now = Timestamp::now();
    let row = |run: Summary| Row {
        age: runs::started(&run).map(|started| runs::age(started, now)),
        folder: run.path,
        name: run.name,
        is_paused: run.state == RunState::Paused,
        step: run.step,
        loss: run.loss,
        model: run.model,
    };
    living().unwrap_or_default().into_iter().map(row).collect()
}
