//! `engine`: the process behind a screen, started by `train` and not by a person.

use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::LogLevel;
use crate::ranks::Ranks;
use crate::run::dir::RunDir;
use crate::run::host::{Begin, Work, host};
use crate::run::journal::Logs;
use crate::run::mode::Mode;
use crate::settings::Settings;

/// How far an engine stands back behind what a person waits for, of 19.
const NICENESS: i32 = 5;

/// Own a run folder and train it, for screens that connect.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run folder; the settings come through standard input
    dir: PathBuf,
    #[arg(long, value_parser = super::threads)]
    threads: Option<NonZero<usize>>,
    /// Go on with a run that is there: from this step's checkpoint, or from the beginning with 0
    #[arg(long)]
    from: Option<u64>,
    #[arg(long, default_value = "info")]
    log_level: LogLevel,
    /// End with the last screen, and leave nothing behind
    #[arg(long)]
    passing: bool,
}

/// The one line that an engine prints: where it listens, or why it can't begin.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Greeting {
    /// Screens can connect here.
    Socket(PathBuf),
    /// It ends, and why.
    Error(String),
}

impl Args {
    /// The threads it was told to compute with.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.threads
    }

    /// Leaves the terminal it was started from, then hosts the run.
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Fails only for the leader of a process group, which has no terminal to leave.
        let _ = rustix::process::setsid();
        // The screen stays quick beside it. Threads take this on from the one that starts them.
        let _ = rustix::process::nice(NICENESS);
        let mut greeted = false;
        let ready = |socket: &std::path::Path| {
            greeted = true;
            greet(&Greeting::Socket(socket.to_owned()));
        };
        let result = serde_json::from_reader(std::io::stdin()).context("the settings can't be read");
        let result = result.and_then(|settings: Settings| {
            let dir = RunDir::open(&self.dir)?;
            let logs = Logs { level: self.log_level.filter(), ..Logs::default() };
            let begin = Begin::of(self.from);
            let mode = if self.passing { Mode::Passing } else { Mode::ForScreens };
            let work = Work { dir: &dir, settings: &settings, mode, begin, ranks: &Ranks::alone() };
            Ok(host(&work, logs, ready, &mut |_, _| {})?)
        });
        match result {
            // A screen that is connected has been told.
            Err(error) if !greeted => {
                greet(&Greeting::Error(error.to_string()));
                Err(error)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(()),
        }
    }
}

fn greet(greeting: &Greeting) {
    if let Ok(line) = serde_json::to_string(greeting) {
        // Whoever started the engine may be gone already; the engine stays.
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
