//! The list of runs before any of them is on show. Who has opened it tells which runs there are.

use std::time::Duration;

use ratatui::crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Rect;
use tokio::time::Instant;

use super::{Exported, Look, Next, Shown, Slice, Terminal, TerminalError, Theme, run};
use crate::app::start::{Choice, Effect, Row, Start};
use crate::ui;

/// How often the runs are looked at.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows the runs that `rows` tells, again and again, until the person chooses. Where the terminal is gone, nothing is
/// chosen.
pub async fn choose(
    terminal: &mut Terminal,
    look: Look,
    mut rows: impl FnMut() -> Vec<Row>,
) -> Result<Choice, TerminalError> {
    let mut look = look.on(terminal.background.is_light);
    let start = Start::new(rows());
    let mut listing = Listing { start, rows, due: Instant::now() + REFRESH };
    Ok(run(terminal, &mut listing, &mut look).await?.unwrap_or(Choice::Nothing))
}

/// The list, and where its runs come from.
struct Listing<F> {
    start: Start,
    rows: F,
    /// When they are looked at next.
    due: Instant,
}

impl<F: FnMut() -> Vec<Row>> Shown for Listing<F> {
    type News = Vec<Row>;
    type Leave = Choice;

    async fn news(&mut self) -> Vec<Row> {
        tokio::time::sleep_until(self.due).await;
        self.due = Instant::now() + REFRESH;
        (self.rows)()
    }

    fn hear(&mut self, rows: Vec<Row>) -> Vec<Next<Choice>> {
        self.start.refresh(rows);
        Vec::new()
    }

    fn press(&mut self, key: KeyEvent) -> Vec<Next<Choice>> {
        let carry_out = |effect| match effect {
            Effect::Suspend => Next::Suspend,
            Effect::Repaint => Next::Repaint,
            Effect::Leave(choice) => Next::Leave(choice),
        };
        self.start.press(key).map(carry_out).into_iter().collect()
    }

    fn point(&mut self, _mouse: MouseEvent, _screen: Rect) -> Vec<Next<Choice>> {
        Vec::new()
    }

    fn draw(&self, theme: &Theme, frame: &mut ratatui::Frame) {
        ui::start::view(&self.start, theme, frame);
    }

    fn title(&self) -> String {
        "llamascape: runs".to_owned()
    }

    fn slice(&self) -> Option<(String, &Slice)> {
        None
    }

    // No key of the list exports anything.
    fn exported(&mut self, _exported: Exported) {}
}
