//! What an engine is at.

/// What the engine does when no command waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Training until told otherwise.
    Running,
    /// This many steps are still to be taken; none means waiting.
    Stepping(u64),
    /// The last step is done.
    Finished,
}

impl Activity {
    /// Whether a step is taken next.
    pub fn trains(self) -> bool {
        matches!(self, Self::Running | Self::Stepping(1..))
    }
}
