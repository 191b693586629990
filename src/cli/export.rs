//! `export`: what a run has written, for other programs.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use indexmap::IndexMap;
use serde_json::Value;

use crate::export::{metrics, replace};
use crate::run;
use crate::run::dir::RunDir;

/// The metrics of a run as CSV: a row a step
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name, beginning of a name or folder of a run [default: the newest]
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE.csv")]
    out: Option<PathBuf>,
}

impl Args {
    /// Writes the table.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let dir = RunDir::find(self.run.as_deref())?;
        let path = dir.path().join(run::metrics::FILE);
        let lines = run::metrics::lines(&path).with_context(|| path.display().to_string())?;
        let table = metrics::csv(&lines.collect::<Vec<IndexMap<String, Value>>>());
        match &self.out {
            None => super::print(&table),
            Some(path) if path.canonicalize().is_ok_and(|path| path.starts_with(dir.path())) => {
                bail!("--out {}: is a file of the run: choose another", path.display())
            }
            Some(path) => {
                let written = replace(path, |file| file.write_all(table.as_bytes()));
                written.with_context(|| path.display().to_string())
            }
        }
    }
}
