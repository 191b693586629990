//! Training without a screen: progress and the log on stderr, and what it came to on stdout.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use log::Level;
use serde::Serialize;

use super::LogLevel;
use super::follow::Errand;
use super::progress::Console;
use crate::escape::printable;
use crate::protocol::{Outcome, Phase, RunInfo, Status};
use crate::ranks::Ranks;
use crate::run::dir::RunDir;
use crate::run::host::{Begin, HostError, Report, Work, host};
use crate::run::journal::Logs;
use crate::run::mode::Mode;
use crate::settings::Settings;
use crate::train::trainer::together;
use crate::ui::text;

/// Time between two lines where they renew themselves, and where they stay.
const RENEWED: Duration = Duration::from_millis(100);
const APART: Duration = Duration::from_secs(10);
/// Lines of a run that is over sooner than that takes.
const LINES: u64 = 20;

/// Trains a run to its end, with the other processes of the job where there are some.
pub(super) fn train(
    dir: &RunDir,
    settings: &Settings,
    begin: Begin,
    log_level: LogLevel,
    json: bool,
    quiet: bool,
    ranks: &Ranks,
) -> anyhow::Result<()> {
    ranks.tell(&Errand::Train)?;
    let console = Arc::new(Console::new());
    let listener = Arc::clone(&console);
    let tell = move |level: Level, line: &str| {
        if !quiet || level == Level::Error {
            listener.say(line);
        }
    };
    let logs = Logs { level: log_level.filter(), listener: Some(Box::new(tell)) };
    let mut progress = (!quiet).then(|| Progress::new(&console));
    let show = &mut |info: &RunInfo, status: &Status| {
        if let Some(progress) = &mut progress {
            progress.show(info, status);
        }
    };
    let work = Work { dir, settings, mode: Mode::Headless, begin, ranks };
    let report = host(&work, logs, |_| {}, show);
    if let Err(HostError::Panicked { .. }) = &report {
        ranks.lose();
    } else if !ranks.is_lost() {
        together::end(ranks)?;
    }
    if let (Some(progress), Ok(report)) = (&mut progress, &report) {
        progress.catch_up(&report.info, &report.status);
    }
    // What is said from here on stands below.
    console.leave();
    let report = report?;
    if let Outcome::Failed { error } = &report.outcome {
        bail!("{error}");
    }
    if json {
        super::print(&format!("{}\n", serde_json::to_string(&Summary::of(&report))?))?;
    } else if !quiet {
        super::print(&Summary::of(&report).lines())?;
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
                Outcome::Stopped { checkpoint, .. } | Outcome::Crashed { checkpoint, .. } => {
                    checkpoint.as_deref()
                }
                Outcome::Failed { .. } => None,
            },
        }
    }

    /// What a person wants to know, and where the run and its newest checkpoint are.
    fn lines(&self) -> String {
        format!(
            "{}: {} steps in {:.1} s, loss {}, held-out {}\nfolder      {}\ncheckpoint  {}\n",
            printable(self.name),
            self.step,
            self.seconds,
            number(self.loss),
            number(self.eval_loss),
            printable(self.path),
            printable(self.checkpoint.unwrap_or("none: nothing was saved"))
        )
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"))
}

/// Where a run is, on stderr.
struct Progress<'a> {
    console: &'a Console,
    /// The step from which this process trains, and when it began with it.
    begun: Option<(u64, Instant)>,
    due: Due,
    /// The stage of the preparation that was told last.
    stage: String,
}

impl<'a> Progress<'a> {
    fn new(console: &'a Console) -> Self {
        let due = Due { renews: console.renews(), last: None };
        Self { console, begun: None, due, stage: String::new() }
    }

    fn show(&mut self, info: &RunInfo, status: &Status) {
        match &status.phase {
            Phase::Preparing(stages) => {
                let done = stages.iter().rfind(|stage| stage.progress >= 1.0);
                let Some(stage) = done.filter(|stage| stage.name != self.stage) else { return };
                self.stage.clone_from(&stage.name);
                self.console.say(&format!("{}: {}: {}", info.name, stage.name, stage.detail));
            }
            Phase::Running => {
                let (from, since) = *self.begun.get_or_insert_with(|| (status.step, Instant::now()));
                let elapsed = since.elapsed();
                if status.step > from && self.due.is_due(status.step, info.last_step, elapsed) {
                    self.console.renew(&describe(info, status, left(from, info, status, elapsed)));
                }
            }
            Phase::Paused | Phase::Finished | Phase::Stopping => {
                self.catch_up(info, status);
                self.console.leave();
            }
        }
    }

    /// Tells of the newest step, unless that is done.
    fn catch_up(&mut self, info: &RunInfo, status: &Status) {
        let Some((from, since)) = self.begun else { return };
        if status.step > from && self.due.last.is_none_or(|(said, _)| said != status.step) {
            self.due.last = Some((status.step, since.elapsed()));
            self.console.renew(&describe(info, status, None));
        }
    }
}

/// Seconds until the last step, at the pace of the steps since `from`.
fn left(from: u64, info: &RunInfo, status: &Status, elapsed: Duration) -> Option<f64> {
    let to_go = info.last_step?.checked_sub(status.step).filter(|to_go| *to_go > 0)?;
    let taken = status.step.checked_sub(from).filter(|taken| *taken > 0)?;
    Some(elapsed.as_secs_f64() / taken as f64 * to_go as f64)
}

/// What matters most comes first: a terminal may be too narrow for all.
fn describe(info: &RunInfo, status: &Status, left: Option<f64>) -> String {
    let last = info.last_step.map_or_else(String::new, |last| format!("/{last}"));
    let rate = status.tokens_per_second.map_or_else(|| "-".to_owned(), |rate| format!("{:.1}k", rate / 1e3));
    let left = left.map_or_else(String::new, |left| format!("  {} left", text::clock(left)));
    format!(
        "step {}{last}  loss {}  {rate} tok/s{left}  held-out {}  |g| {}  lr {:.2e}",
        status.step,
        number(status.loss),
        number(status.held_out),
        number(status.grad_norm),
        status.learning_rate,
    )
}

/// When a step has a line.
struct Due {
    /// A line takes the place of the one before.
    renews: bool,
    /// The step that had one, and the time of it.
    last: Option<(u64, Duration)>,
}

impl Due {
    /// Whether this step of a run of so many has a line at this time since the first. From then on it has had one.
    fn is_due(&mut self, step: u64, of: Option<u64>, now: Duration) -> bool {
        let due = self.last.is_none_or(|(said, then)| {
            let waited = now.saturating_sub(then);
            if self.renews {
                return waited >= RENEWED;
            }
            waited >= APART || of.is_some_and(|of| step.abs_diff(said) >= of.div_ceil(LINES))
        });
        if due {
            self.last = Some((step, now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps that have a line, of so many that take a time each.
    fn lines(renews: bool, steps: u64, of: Option<u64>, each: Duration) -> Vec<u64> {
        let mut due = Due { renews, last: None };
        (1..=steps).filter(|step| due.is_due(*step, of, each * *step as u32)).collect()
    }

    #[test]
    fn a_log_has_the_first_step_and_then_one_line_in_ten_seconds_or_a_twentieth_of_the_run() {
        let moment = Duration::from_millis(1);
        assert_eq!(lines(false, 6, Some(6), moment), [1, 2, 3, 4, 5, 6]);
        assert_eq!(lines(false, 200, Some(1000), moment), [1, 51, 101, 151]);
        assert_eq!(lines(false, 35, Some(1000), Duration::from_secs(1)), [1, 11, 21, 31]);
        assert_eq!(lines(false, 200, None, moment), [1], "no end is known");
    }

    #[test]
    fn a_terminal_sees_ten_lines_a_second_at_most() {
        assert_eq!(lines(true, 30, Some(30), Duration::from_millis(10)), [1, 11, 21]);
    }
}
