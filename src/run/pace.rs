//! How often something that takes time is done beside training.

use std::time::{Duration, Instant};

/// Lets something be done again and again in a fiftieth of the time, and not oftener than a screen shows it.
#[derive(Debug, Default)]
pub struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    const SHORTEST: Duration = Duration::from_millis(100);

    /// Whether it may be done again.
    pub fn due(&self) -> bool {
        self.last.is_none_or(|(ended, took)| ended.elapsed() >= Self::SHORTEST.max(50 * took))
    }

    /// Notes that it was done, and how long that took.
    pub fn took(&mut self, took: Duration) {
        self.last = Some((Instant::now(), took));
    }
}
