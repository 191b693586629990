//! Training without a screen: progress on stderr, and what it came to on stdout.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::bail;
use serde::Serialize;

use crate::protocol::{Outcome, Phase, RunInfo, Status};
use crate::run::dir::RunDir;
use crate::run::host::{Begin, Mode, Report, host};
use crate::run::journal::printable;
use crate::settings::Settings;

/// Trains a run in this process to its end.
pub(super) fn train(
    dir: &RunDir,
    settings: &Settings,
    begin: Begin,
    json: bool,
    quiet: bool,
) -> anyhow::Result<()> {
    let mut progress = Progress::new(quiet);
    let show = &mut |info: &RunInfo, status: &Status| progress.show(info, status);
    let report = host(dir, settings, Mode::Headless, begin, |_| {}, show)?;
    if let Outcome::Failed { error } = &report.outcome {
        bail!("{error}");
    }
    if json {
        super::print(&format!("{}\n", serde_json::to_string(&Summary::of(&report))?))?;
    } else if !quiet {
        super::print(&format!("{}\n", printable(&Summary::of(&report).line())))?;
    }
    Ok(())
}

/// What a run without a screen came to.
#[derive(Serialize)]
struct Summary<'a> {
    name: &'a str,
    path: &'a str,
    model: &'a str,
    parameters: u64,
    step: u64,
    loss: Option<f64>,
    eval_loss: Option<f64>,
    grad_norm: Option<f64>,
    tokens: u64,
    seconds: f64,
    tokens_per_second: Option<f64>,
    checkpoint: Option<&'a str>,
}

impl<'a> Summary<'a> {
    fn of(report: &'a Report) -> Self {
        let status = &report.status;
        let finite = |x: Option<f64>| x.filter(|x| x.is_finite());
        Self {
            name: &report.info.name,
            path: &report.info.path,
            model: &report.info.model,
            parameters: report.info.parameters,
            step: status.step,
            loss: finite(status.loss),
            eval_loss: finite(status.held_out),
            grad_norm: finite(status.grad_norm),
            tokens: report.tokens,
            seconds: status.seconds,
            tokens_per_second: finite(status.tokens_per_second),
            checkpoint: match &report.outcome {
                Outcome::Stopped { checkpoint, .. } => checkpoint.as_deref(),
                Outcome::Failed { .. } => None,
            },
        }
    }

    fn line(&self) -> String {
        let loss = |loss: Option<f64>| loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}"));
        format!(
            "{}: {} steps in {:.1} s, loss {}, held-out {}; {}",
            self.name,
            self.step,
            self.seconds,
            loss(self.loss),
            loss(self.eval_loss),
            self.checkpoint.unwrap_or("nothing saved")
        )
    }
}

/// Progress on stderr: a line that renews itself on a terminal, plain lines otherwise.
struct Progress {
    quiet: bool,
    terminal: bool,
    shown: Option<Instant>,
    stage: String,
}

impl Progress {
    fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { quiet, terminal, shown: None, stage: String::new() }
    }

    fn show(&mut self, info: &RunInfo, status: &Status) {
        if self.quiet {
            return;
        }
        match &status.phase {
            Phase::Preparing(stages) => {
                let done = stages.iter().rfind(|stage| stage.progress >= 1.0);
                let Some(stage) = done.filter(|stage| stage.name != self.stage) else { return };
                self.stage.clone_from(&stage.name);
                self.line(&format!("{}: {}: {}", info.name, stage.name, stage.detail), true);
            }
            Phase::Running => {
                let interval = Duration::from_millis(if self.terminal { 100 } else { 5000 });
                if status.step == 0 || self.shown.is_some_and(|shown| shown.elapsed() < interval) {
                    return;
                }
                self.shown = Some(Instant::now());
                self.line(&Self::describe(info, status), false);
            }
            Phase::Paused | Phase::Finished | Phase::Stopping => {
                if self.shown.take().is_some() {
                    self.line(&Self::describe(info, status), true);
                }
            }
        }
    }

    fn describe(info: &RunInfo, status: &Status) -> String {
        let number = |x: Option<f64>| x.map_or_else(|| "-".to_owned(), |x| format!("{x:.4}"));
        let last = info.last_step.map_or_else(String::new, |last| format!("/{last}"));
        let rate = status.tokens_per_second.unwrap_or(0.0) / 1000.0;
        format!(
            "step {}{last}  loss {}  held-out {}  |g| {}  lr {:.2e}  {rate:.1}k tok/s",
            status.step,
            number(status.loss),
            number(status.held_out),
            number(status.grad_norm),
            status.learning_rate,
        )
    }

    fn line(&self, text: &str, lasting: bool) {
        let text = printable(text);
        let mut stderr = std::io::stderr().lock();
        // Nobody can be told where stderr itself is gone.
        let _ = if self.terminal {
            write!(stderr, "\r\x1b[K{text}{}", if lasting { "\n" } else { "" })
        } else {
            writeln!(stderr, "{text}")
        };
    }
}
