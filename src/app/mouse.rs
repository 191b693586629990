//! The mouse: what it does, over which pane, and where on the map in it.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};

/// What the mouse does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gesture {
    /// Its left button goes down.
    Click,
    /// Its wheel turns away from the person.
    WheelUp,
    /// Its wheel turns towards the person.
    WheelDown,
}

impl Gesture {
    /// What an event of the terminal is; `None` where it means nothing to a screen.
    pub fn of(event: MouseEvent) -> Option<Self> {
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Self::Click),
            MouseEventKind::ScrollUp => Some(Self::WheelUp),
            MouseEventKind::ScrollDown => Some(Self::WheelDown),
            _ => None,
        }
    }
}

/// The mouse over one of the panes of a screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pointed<P> {
    /// What it does.
    pub gesture: Gesture,
    /// The pane.
    pub pane: P,
    /// Where on the map in that pane, from (0, 0) at the lowest coordinates to (1, 1) at the highest; `None` beside a
    /// map.
    pub place: Option<[f64; 2]>,
}
