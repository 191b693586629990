//! Progress on stderr: a line that renews itself on a terminal that can take one back, plain lines otherwise.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::escape::printable;
use crate::ui::text;

/// Stderr: on a terminal that can take it back a line that renews itself below lines that stay, elsewhere lines that all stay.
#[derive(Debug)]
pub(super) struct Console {
    renews: bool,
    /// The line that renews itself, as it is on the terminal now.
    renewed: Mutex<String>,
}

impl Console {
    /// Nothing is said yet.
    pub(super) fn new() -> Self {
        // Shells inside editors say that they obey nothing.
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { renews: std::io::stderr().is_terminal() && !is_dumb, renewed: Mutex::default() }
    }

    /// Whether a line can take the place of another.
    pub(super) fn renews(&self) -> bool {
        self.renews
    }

    /// Says a line that takes the place of the last one like it, where that can be.
    pub(super) fn renew(&self, text: &str) {
        let text = printable(text);
        let mut renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.renews {
            // What goes over two rows could not be taken back.
            *renewed = text::shorten(&text, columns().saturating_sub(1));
            put(&format!("\r\x1b[K{renewed}"));
        } else {
            put(&format!("{text}\n"));
        }
    }

    /// Says a line that stays, above the one that renews itself.
    pub(super) fn say(&self, text: &str) {
        let text = printable(text);
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.renews {
            put(&format!("\r\x1b[K{text}\n{renewed}"));
        } else {
            put(&format!("{text}\n"));
        }
    }

    /// Leaves the line that renews itself as it is, and goes below it.
    pub(super) fn leave(&self) {
        if !self.take().is_empty() {
            put("\n");
        }
    }

    /// Takes the line back that renews itself.
    pub(super) fn clear(&self) {
        if !self.take().is_empty() {
            put("\r\x1b[K");
        }
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.renewed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Columns of the terminal behind stderr, where it has a width.
fn columns() -> usize {
    let columns = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(0, |size| size.ws_col);
    if columns == 0 { usize::MAX } else { usize::from(columns) }
}

fn put(text: &str) {
    // Nobody can be told where stderr itself is gone.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Where a command is.
#[derive(Debug)]
pub(super) struct Progress {
    quiet: bool,
    console: Console,
    shown: Mutex<Option<Instant>>,
}

impl Progress {
    /// Nothing shown yet; nothing ever where it is to be quiet.
    pub(super) fn new(quiet: bool) -> Self {
        let console = Console::new();
        // In a log, what is over soon needs no line.
        let shown = Mutex::new((!console.renews()).then(Instant::now));
        Self { quiet, console, shown }
    }

    /// Shows a line if the last one has stood long enough.
    pub(super) fn show_if_due(&self, text: impl FnOnce() -> String) {
        let interval = Duration::from_millis(if self.console.renews() { 100 } else { 5000 });
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
        if !self.quiet {
            self.console.renew(text);
        }
    }

    /// Makes room for what follows.
    pub(super) fn end(&self) {
        self.console.clear();
    }
}
