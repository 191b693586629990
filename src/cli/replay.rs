//! `replay`: a run as its folder tells it.

use crate::app::{Action, Bindings};
use crate::cli::screen;
use crate::run::dir::RunDir;

/// Look through what a run has written: its slices, its losses and its log. No engine is asked and no model is read
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name, the beginning of its name, or its folder; the newest one if not given
    run: Option<String>,
    #[command(flatten)]
    screen: screen::Args,
}

impl Args {
    /// Opens a screen on the folder of the run.
    pub(super) fn run(self, bindings: Bindings<Action>) -> anyhow::Result<()> {
        let dir = RunDir::find(self.run.as_deref())?;
        screen::replay(&dir, self.screen.look()?, bindings)
    }
}
