//! Progress on stderr: a line that renews itself on a terminal, plain lines otherwise.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Where a command is.
#[derive(Debug)]
pub(super) struct Progress {
    quiet: bool,
    terminal: bool,
    shown: Mutex<Option<Instant>>,
}

impl Progress {
    /// Nothing shown yet; nothing ever where it is to be quiet.
    pub(super) fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        // In a log, what is over soon needs no line.
        Self { quiet, terminal, shown: Mutex::new((!terminal).then(Instant::now)) }
    }

    /// Shows a line if the last one has stood long enough.
    pub(super) fn show_if_due(&self, text: impl FnOnce() -> String) {
        let interval = Duration::from_millis(if self.terminal { 100 } else { 5000 });
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if self.quiet || shown.is_some_and(|shown| shown.elapsed() < interval) {
            return;
        }
        *shown = Some(Instant::now());
        drop(shown);
        self.show(&text());
    }

    /// Shows a line.
    pub(super) fn show(&self, text: &str) {
        if self.quiet {
            return;
        }
        let mut stderr = std::io::stderr().lock();
        // Nobody can be told where stderr itself is gone.
        let _ = if self.terminal { write!(stderr, "\r\x1b[K{text}") } else { writeln!(stderr, "{text}") };
    }

    /// Makes room for what follows.
    pub(super) fn end(&self) {
        if self.terminal && !self.quiet {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
