//! `state.json` of a run whose engine lives: where it stands, from time to time.

use std::time::{Duration, Instant};

use super::dir::{RunDir, RunState, StateFile};

/// It is written at most this often while training.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where a run stands.
#[derive(Debug)]
pub struct Standing<'a> {
    dir: &'a RunDir,
    file: StateFile,
    written: Instant,
    /// It could not be written the last time: this is spoken of once.
    failing: bool,
}

impl<'a> Standing<'a> {
    /// For a run of which `file` was written last.
    pub fn new(dir: &'a RunDir, file: StateFile) -> Self {
        Self { dir, file, written: Instant::now(), failing: false }
    }

    /// Takes note, and writes it where the state is another or the file is old.
    pub fn note(&mut self, state: RunState, step: u64, loss: Option<f64>) {
        let is_due = state != self.file.state || self.written.elapsed() > INTERVAL;
        (self.file.state, self.file.step, self.file.loss) = (state, step, loss);
        if !is_due {
            return;
        }
        self.written = Instant::now();
        match (self.dir.write_state(&self.file), self.failing) {
            (Err(error), false) => log::warn!("where the run stands can't be written: {error}"),
            (Ok(()), true) => log::info!("where the run stands is written again"),
            (Err(_), true) | (Ok(()), false) => return,
        }
        self.failing = !self.failing;
    }
}
