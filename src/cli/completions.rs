//! `completions` and `man`: for shells and packagers.

use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use crate::escape::printable;

/// The name under which the program is installed.
const NAME: &str = "llamascape";

/// What a shell needs to complete the commands and flags, on standard output
///
/// For instance `llamascape completions bash > ~/.local/share/bash-completion/completions/llamascape`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Prints the script.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), NAME, &mut script);
        super::print(&String::from_utf8(script).context("the script is no text")?)
    }
}

/// The manual page, on standard output; with a folder, one page for it and one for each command
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write the pages into this folder
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl ManArgs {
    /// Prints or writes the pages.
    pub(super) fn run(&self) -> anyhow::Result<()> {
        if let Some(folder) = &self.folder {
            let told = || folder.display().to_string();
            std::fs::create_dir_all(folder).with_context(told)?;
            clap_mangen::generate_to(Cli::command(), folder).with_context(told)?;
            return super::print(&format!(
                "{NAME}.1 and a page for each command are in {}\n",
                printable(&told())
            ));
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(Cli::command()).render(&mut page)?;
        super::print(&String::from_utf8(page).context("the page is no text")?)
    }
}
