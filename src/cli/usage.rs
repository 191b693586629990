//! Wrong usage that a command sees by itself, where clap could not.

use std::fmt::Display;

/// The command line is wrong, and what to write: one line, with exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

impl Usage {
    /// The same as the end of a command.
    pub(super) fn error(problem: impl Display) -> anyhow::Error {
        Self(problem.to_string()).into()
    }
}
