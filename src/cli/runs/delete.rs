//! `runs --delete`: what will go is shown first, and a person says yes.

use std::io::{IsTerminal, Write};

use anyhow::{Context, anyhow, bail};
use clap::error::ErrorKind;

use super::size;
use crate::cli::{print, print_error};
use crate::run::dir::{Doomed, list, sweep};
use crate::ui::text;

/// Deletes the runs of these names. If one of them can't be meant or may not go, none does.
pub(super) fn delete(names: &[String], yes: bool) -> anyhow::Result<()> {
    if !yes && !std::io::stdin().is_terminal() {
        let problem = "runs --delete asks first, and standard input is no terminal: add --yes\n";
        let usage: clap::Error = clap::Error::raw(ErrorKind::MissingRequiredArgument, problem);
        return Err(usage.into());
    }
    let listing = list()?;
    let mut runs: Vec<Doomed> = Vec::new();
    for name in names {
        let run = listing.doomed(name).map_err(|error| anyhow!("--delete {name}: {error}"))?;
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    if !yes && !agreed(&runs)? {
        return print("nothing is deleted\n");
    }
    let mut deleted = Vec::new();
    for run in &runs {
        match run.dir.delete() {
            Ok(()) => deleted.push(run.bytes),
            Err(error) => print_error(&anyhow!("--delete {}: {error}", run.name)),
        }
    }
    sweep()?;
    if !deleted.is_empty() {
        print(&format!("deleted {}\n", sum(&deleted)))?;
    }
    if deleted.len() < runs.len() {
        bail!("not all is deleted: {} of {}", deleted.len(), runs.len());
    }
    Ok(())
}

/// Asks on stderr, as stdout may lead elsewhere.
fn agreed(runs: &[Doomed]) -> anyhow::Result<bool> {
    let mut question = String::new();
    for run in runs {
        let (name, folder) = (text::escape(&run.name), run.dir.path().display().to_string());
        question.push_str(&format!("{name}  {}  {}\n", size(run.bytes), text::escape(&folder)));
    }
    let bytes: Vec<u64> = runs.iter().map(|run| run.bytes).collect();
    question.push_str(&format!("delete {}? [y/N] ", sum(&bytes)));
    let mut stderr = std::io::stderr();
    stderr.write_all(question.as_bytes()).context("standard error can't be written")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("standard input can't be read")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// How many runs, and how much they take.
fn sum(bytes: &[u64]) -> String {
    let runs = if bytes.len() == 1 { "run" } else { "runs" };
    format!("{} {runs}, {}", bytes.len(), size(bytes.iter().sum()))
}
