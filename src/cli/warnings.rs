//! What a command without a screen logs while it computes, on stderr.

use std::io::{IsTerminal, Write};

use log::{Level, Log, Metadata, Record};

use super::LogLevel;
use crate::run::journal::{brief, is_told};

struct Stderr {
    /// A line of progress may stand there, which renews itself.
    is_terminal: bool,
}

/// Has what is logged from now on said on stderr: of this level and the graver ones, or errors alone where it is to be
/// quiet. A process has one logger: a second call changes nothing.
pub(super) fn say(level: LogLevel, quiet: bool) {
    let level = if quiet { LogLevel::Error } else { level };
    if log::set_boxed_logger(Box::new(Stderr { is_terminal: std::io::stderr().is_terminal() })).is_ok() {
        log::set_max_level(level.filter());
    }
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata) -> bool {
        is_told(metadata)
    }

    fn log(&self, record: &Record) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let level = match record.level() {
            Level::Error => "error",
            Level::Warn => "warning",
            Level::Info => "info",
            Level::Debug | Level::Trace => "debug",
        };
        let before = if self.is_terminal { "\r\x1b[K" } else { "" };
        // Nobody can be told where stderr itself is gone.
        let line = format!("{before}{level}: {}\n", brief(&record.args().to_string()));
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}
