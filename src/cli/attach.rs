//! `attach`: come back to a run.

use crate::app::{Action, Bindings, Options};
use crate::cli::screen;
use crate::run::dir::RunDir;
use crate::terminal::Look;

/// Come back to a run that is being trained.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Its name, the beginning of its name, or its folder; the newest one that runs if not given
    run: Option<String>,
    /// Watch without being able to change anything
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    pub(super) screen: screen::Args,
}

impl Args {
    /// Opens a screen on the run.
    pub(super) fn run(self, bindings: Bindings<Action>) -> anyhow::Result<()> {
        let dir = RunDir::find(self.run.as_deref())?;
        let look = self.screen.look()?;
        let options = Options { read_only: self.read_only, bindings, ..Options::default() };
        come_back(&dir, look, options)
    }
}

/// Opens a screen on the run of this folder.
pub(super) fn come_back(dir: &RunDir, look: Look, options: Options) -> anyhow::Result<()> {
    let socket = dir.socket()?;
    let name = dir.settings()?.name;
    screen::watch(dir, &socket, &name, look, options)
}
