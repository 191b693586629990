//! What a panic leaves behind: a report in a file, for whoever mends the bug. It tells nothing of the environment.

use std::any::Any;
use std::backtrace::Backtrace;
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::panic::{Location, PanicHookInfo};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::dir::{RunError, io, reports_folder};
use crate::escape::{printable, without_backtrace};

/// A file of this many bytes takes no more reports: what panics over and over says nothing new.
const LARGEST: u64 = 1 << 20;

/// The run that this process is about. A panic hook can't be handed anything else than the panic.
static RUN: Mutex<Option<Run>> = Mutex::new(None);

#[derive(Debug, Clone)]
struct Run {
    name: String,
    folder: Option<PathBuf>,
}

/// What is reported of a panic.
#[derive(Debug)]
struct Report<'a> {
    time: Timestamp,
    command: &'a str,
    run: Option<&'a str>,
    thread: &'a str,
    location: Option<&'a Location<'a>>,
    message: &'a str,
    backtrace: &'a Backtrace,
}

/// From here on this process is about that run; an engine's reports go into the run's folder.
pub fn concern(name: &str, folder: Option<&Path>) {
    let run = Run { name: name.to_owned(), folder: folder.map(Path::to_owned) };
    *RUN.lock().unwrap_or_else(PoisonError::into_inner) = Some(run);
}

/// Makes every panic of this process leave a report. First `rescue` gives the terminal back, if there is a screen; then
/// the report is written, Rust says what it says about a panic, and a last line names the report.
pub fn install(command: &str, rescue: fn()) {
    let command = command.to_owned();
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        rescue();
        let left = leave(&command, panic);
        say(panic);
        let line = match left {
            Ok(path) => format!("llamascape: this is a bug; its report is {}", path.display()),
            Err(error) => format!("llamascape: this is a bug, and its report can't be written: {error}"),
        };
        // Where stderr is gone, the file has to do. Another panic here would end the process at once.
        let _ = writeln!(std::io::stderr(), "{}", printable(&line));
    }));
}

/// What a panic said, from what it carries.
pub fn message(payload: &dyn Any) -> &str {
    let fixed = payload.downcast_ref::<&'static str>().copied();
    let message = fixed.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    message.map_or("no reason given", without_backtrace)
}

/// Writes the report and returns where it is. It does not log: the thread that panicked may hold what the log needs.
fn leave(command: &str, panic: &PanicHookInfo) -> Result<PathBuf, RunError> {
    let time = Timestamp::now();
    let run = RUN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let report = Report {
        time,
        command,
        run: run.as_ref().map(|run| run.name.as_str()),
        thread: std::thread::current().name().unwrap_or("without a name"),
        location: panic.location(),
        message: message(panic.payload()),
        backtrace: &Backtrace::force_capture(),
    }
    .to_string();
    let path = if let Some(folder) = run.and_then(|run| run.folder) {
        folder.join("panic.txt")
    } else {
        let folder = reports_folder()?;
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(io(&folder))?;
        folder.join(format!("{}-{command}-{}.txt", time.strftime("%Y%m%d-%H%M%S"), std::process::id()))
    };
    append(&path, &report).map_err(io(&path))?;
    Ok(path)
}

fn append(path: &Path, report: &str) -> std::io::Result<()> {
    let mut file = File::options().create(true).append(true).mode(0o600).open(path)?;
    if file.metadata()?.len() < LARGEST {
        file.write_all(report.as_bytes())?;
    }
    Ok(())
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "llamascape {} panicked", env!("CARGO_PKG_VERSION"))?;
        writeln!(f, "time: {:.0}", self.time)?;
        writeln!(f, "command: {}", self.command)?;
        if let Some(run) = self.run {
            writeln!(f, "run: {}", printable(run))?;
        }
        writeln!(f, "thread: {}", self.thread)?;
        if let Some(location) = self.location {
            writeln!(f, "location: {location}")?;
        }
        writeln!(f, "message: {}", printable(self.message))?;
        writeln!(f, "backtrace:\n{}", self.backtrace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_tells_what_where_when_and_of_which_run_in_lines_of_its_own() {
        let backtrace = Backtrace::force_capture();
        let report = Report {
            time: "2026-01-02T03:04:05Z".parse().unwrap(),
            command: "engine",
            run: Some("overnight"),
            thread: "main",
            location: Some(Location::caller()),
            message: "a \u{1b}[31m\nb",
            backtrace: &backtrace,
        };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], format!("llamascape {} panicked", env!("CARGO_PKG_VERSION")));
        assert_eq!(
            lines[1..5],
            ["time: 2026-01-02T03:04:05Z", "command: engine", "run: overnight", "thread: main"]
        );
        assert!(lines[5].starts_with("location: ") && lines[5].contains("panics.rs:"), "{}", lines[5]);
        assert_eq!(lines[6..8], ["message: a <0x1B>[31m\\nb", "backtrace:"]);
        assert!(lines.len() > 8);
    }

    #[test]
    fn a_file_takes_several_reports_but_does_not_grow_without_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("panic.txt");
        append(&path, "first\n").unwrap();
        append(&path, "second\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\nsecond\n");
        let full = "x".repeat(LARGEST as usize);
        append(&path, &full).unwrap();
        append(&path, "too much").unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().ends_with('x'));
    }
}
