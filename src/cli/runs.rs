//! `runs`: the runs of this user.

use serde::Serialize;

use crate::run::dir::{RunState, Summary, list, runs_folder};

/// List the runs of this user, newest first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Listing {
    runs: Vec<Summary>,
}

impl Args {
    /// Prints the list.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let runs = list()?;
        if self.json {
            super::print(&format!("{}\n", serde_json::to_string(&Listing { runs })?))?;
        } else if runs.is_empty() {
            super::print(&format!(
                "no runs in {}; `llamascape train` starts one\n",
                runs_folder()?.display()
            ))?;
        } else {
            super::print(&table(&runs))?;
        }
        Ok(())
    }
}

/// A line a run under a line of headings.
fn table(runs: &[Summary]) -> String {
    let width = |heading: &str, column: fn(&Summary) -> &str| {
        runs.iter().map(|run| column(run).chars().count()).chain([heading.len()]).max().unwrap_or(0)
    };
    let (name, model) = (width("NAME", |run| &run.name), width("MODEL", |run| &run.model));
    let mut table = format!(
        "{:name$}  {:7}  {:>8}  {:>8}  {:model$}  {:20}  {:>8}\n",
        "NAME", "STATE", "STEP", "LOSS", "MODEL", "STARTED", "SIZE"
    );
    for run in runs {
        let state = match run.state {
            RunState::Running => "running",
            RunState::Paused => "paused",
            RunState::Stopped => "stopped",
            RunState::Crashed => "crashed",
        };
        let loss = run.loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}"));
        table.push_str(&format!(
            "{:name$}  {state:7}  {:>8}  {loss:>8}  {:model$}  {:20}  {:>5.1} MB\n",
            run.name,
            run.step,
            run.model,
            run.started,
            run.bytes as f64 / 1e6
        ));
    }
    table
}
