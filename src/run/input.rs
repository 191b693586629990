//! What an engine obeys.

use tokio::sync::OwnedSemaphorePermit;

use super::slicer::Report;
use crate::protocol::Command;

/// What an engine is told by the threads around it.
#[derive(Debug)]
pub enum Input {
    /// A person at a screen asks for something. The screen's turn is over once it is done.
    Command(Command, Option<OwnedSemaphorePermit>),
    /// The slicer has finished a level.
    Slice(Report),
    /// A screen came or went.
    ViewersChanged,
    /// A signal asks to save and end.
    Stop,
}
