//! For whom an engine runs.

/// How an engine is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Without a screen of its own: it ends with its last step.
    Headless,
    /// For a screen: after its last step it stays until nobody watches.
    ForScreens,
    /// For a screen, and with it: it ends once nobody watches, saves nothing and leaves no folder.
    Passing,
}

impl Mode {
    /// Whether somebody may watch it and command it.
    pub fn has_screens(self) -> bool {
        self != Self::Headless
    }
}
