//! The engine's logger: every line goes to the run's `engine.log`, to the board, and, in the foreground, to whoever
//! tells people.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::board::Board;
use crate::escape::{printable, without_backtrace};
use crate::protocol::{LogLevel, LogLine};

/// The file's name in the folder of a run.
pub const FILE: &str = "engine.log";
/// Characters of a message at most. What is longer quotes a text that somebody sent.
const LONGEST: usize = 4096;

/// The target of lines that are to be seen at once: see [`LogLevel::Notice`].
pub const NOTICE: &str = "llamascape::notice";
/// Hears a line of the log as the file has it, without its end.
pub type Listener = Box<dyn Fn(Level, &str) + Send + Sync>;

/// What is logged, and who hears it besides the run's folder and its screens.
pub struct Logs {
    /// What is less grave is not logged.
    pub level: LevelFilter,
    /// Hears every line.
    pub listener: Option<Listener>,
}

impl Default for Logs {
    fn default() -> Self {
        Self { level: LevelFilter::Info, listener: None }
    }
}

struct Journal {
    file: Mutex<File>,
    board: Arc<Board>,
    listener: Option<Listener>,
}

/// Makes this process log to `path` and the board. A process has one logger: a second call changes nothing.
pub fn install(path: &Path, board: Arc<Board>, logs: Logs) -> std::io::Result<()> {
    let file = Mutex::new(File::options().create(true).append(true).open(path)?);
    let Logs { level, listener } = logs;
    if log::set_boxed_logger(Box::new(Journal { file, board, listener })).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

/// A message as [`printable`] has it, which may quote a text of any length: at most `LONGEST` characters of it.
pub fn brief(text: &str) -> String {
    let text = printable(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

/// A line of the file; `None` where it is none.
pub fn line(text: &str) -> Option<LogLine> {
    let (time, rest) = text.trim_end().split_once(' ')?;
    let (level, message) = rest.split_at_checked(6)?;
    let level = match level.trim_end() {
        "ERROR" => LogLevel::Error,
        "WARN" => LogLevel::Warn,
        "INFO" => LogLevel::Info,
        "DEBUG" | "TRACE" => LogLevel::Debug,
        _ => return None,
    };
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(LogLine { milliseconds: time.as_millisecond(), level, message: brief(message) })
}

/// Whether a record is for people: other crates speak up only when something is wrong.
pub fn is_told(metadata: &Metadata) -> bool {
    metadata.level() <= Level::Warn || metadata.target().starts_with("llamascape")
}

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata) -> bool {
        is_told(metadata)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = jiff::Timestamp::now();
        let message = brief(without_backtrace(&record.args().to_string()));
        let mut line = format!("{now:.0} {:5} {message}", record.level());
        if let Some(listener) = &self.listener {
            listener(record.level(), &line);
        }
        line.push('\n');
        // Where the journal can't be written there is no better place to say so.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(line.as_bytes());
        let level = match record.level() {
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info if record.target() == NOTICE => LogLevel::Notice,
            Level::Info => LogLevel::Info,
            Level::Debug | Level::Trace => LogLevel::Debug,
        };
        self.board.push_log(LogLine { milliseconds: now.as_millisecond(), level, message });
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let line = line("2026-11-25T22:50:31Z WARN  step 7: the loss jumped\n").unwrap();
        assert_eq!((line.level, line.message.as_str()), (LogLevel::Warn, "step 7: the loss jumped"));
        assert_eq!(line.milliseconds % 60_000, 31_000);
    }

    #[test]
    fn a_message_is_one_line_that_a_terminal_may_see_and_not_longer_than_a_screen() {
        let text = format!("2026-11-25T22:50:31Z WARN  \u{1b}[31m{}\n", "x".repeat(100_000));
        let line = line(&text).unwrap();
        assert!(line.message.starts_with("<0x1B>[31mxxx") && line.message.ends_with("xxx.."));
        assert_eq!(line.message.chars().count(), LONGEST + 2);
        assert_eq!(brief("short"), "short");
    }

    #[test]
    fn what_is_no_line_is_none() {
        for text in [
            "",
            "2026-11-25T22:50:31Z",
            "now WARN  x",
            "2026-11-25T22:50:31Z é",
            "2026-11-25T22:50:31Z LOUD  x",
        ] {
            assert_eq!(line(text), None, "{text}");
        }
    }
}
