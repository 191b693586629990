//! The picture of a screen: a pure function of the state, the theme and the size.
//!
//! One widget a file. The widgets borrow what they show, keep nothing, and draw at any size without a panic.

mod bars;
mod braille;
mod chart;
pub mod comparison;
mod dialog;
mod footer;
mod gradient;
mod header;
mod heatmap;
mod help;
mod honesty;
mod landscape;
mod legend;
mod log;
mod loss;
mod panel;
mod picture;
mod preparing;
mod prompt;
mod status;
mod surface;
pub mod text;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Widget};

use crate::app::{Action, App, BINDINGS, Binding, Link, Modal, Pane};
use crate::protocol::{Phase, Stage};
use crate::theme::Theme;

/// The smallest screen that is drawn: columns and rows.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Rows from which the log is on show by default.
const ROWS_WITH_LOG: u16 = 34;

/// What a newcomer is about to see.
const NEXT: [&str; 4] = [
    "Then training starts, and here you will see",
    "  the loss landscape around the weights, as a slice in two directions",
    "  the loss, and what the model would say next, at every step",
    "  where the gradient is large",
];

/// Draws everything.
pub fn view(app: &App, theme: &Theme, frame: &mut Frame) {
    Screen { app, theme }.render(frame.area(), frame.buffer_mut());
}

struct Screen<'a> {
    app: &'a App,
    theme: &'a Theme,
}

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        Block::new().style(theme.palette.base).render(area, buffer);
        if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
            too_small(area, buffer);
            return;
        }
        let [top, middle, status, bottom] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(1),
            Constraint::Length(1),
        ])
        .areas(area);
        header::Header { app, theme }.render(top, buffer);
        let stages: Option<&[Stage]> = match app.engine.status.as_ref().map(|status| &status.phase) {
            None => Some(&[]),
            Some(Phase::Preparing(stages)) => Some(stages.as_slice()),
            Some(_) => None,
        };
        match stages {
            Some(stages) => preparing::Preparing { stages, next: &NEXT, theme }.render(middle, buffer),
            None => self.panes(middle, area.height, buffer),
        }
        status::StatusLine { app, theme }.render(status, buffer);
        let label = |binding: &Binding<Action>| self.label(binding);
        footer::Footer::new(BINDINGS, &[Action::Help, Action::Quit], label, theme).render(bottom, buffer);
        match &app.view.modal {
            Some(Modal::Help { scroll }) => {
                help::Help { bindings: BINDINGS, scroll: *scroll, theme }.render(area, buffer);
            }
            Some(Modal::Leave) => dialog::LeaveDialog { app, theme }.render(area, buffer),
            Some(Modal::Move) => dialog::MoveDialog { app, theme }.render(area, buffer),
            Some(Modal::Prompt(editor)) => prompt::PromptEditor { editor, theme }.render(area, buffer),
            None => {}
        }
    }
}

impl Screen<'_> {
    fn panes(&self, area: Rect, rows: u16, buffer: &mut Buffer) {
        let view = &self.app.view;
        if view.zoomed {
            self.pane(view.focus, area, buffer);
            return;
        }
        let log_shown = (rows >= ROWS_WITH_LOG) != view.log_flipped || view.focus == Pane::Log;
        let log_height = if log_shown { (area.height / 5).clamp(5, 10) } else { 0 };
        let [pictures, log] =
            Layout::vertical([Constraint::Min(0), Constraint::Length(log_height)]).areas(area);
        let right_width = (pictures.width * 37 / 100).clamp(33, 80);
        let [left, right] =
            Layout::horizontal([Constraint::Min(0), Constraint::Length(right_width)]).areas(pictures);
        let height = right.height;
        let layers = self.app.engine.layers.len() as u16;
        let gradient_height = (layers + 3).clamp(5, (height * 30 / 100).max(5));
        let bars_height = (height * 40 / 100).clamp(7, 15);
        let [loss, next_token, gradient] = Layout::vertical([
            Constraint::Min(0),
            Constraint::Length(bars_height),
            Constraint::Length(gradient_height),
        ])
        .areas(right);
        self.pane(Pane::Landscape, left, buffer);
        self.pane(Pane::Loss, loss, buffer);
        self.pane(Pane::NextToken, next_token, buffer);
        self.pane(Pane::Gradient, gradient, buffer);
        if log_shown {
            self.pane(Pane::Log, log, buffer);
        }
    }

    fn pane(&self, pane: Pane, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        match pane {
            Pane::Landscape => landscape::Landscape { app, theme }.render(area, buffer),
            Pane::Loss => loss::Loss { app, theme }.render(area, buffer),
            Pane::NextToken => bars::NextToken { app, theme }.render(area, buffer),
            Pane::Gradient => gradient::Gradient { app, theme }.render(area, buffer),
            Pane::Log => {
                log::Log { state: &app.log, focused: app.view.focus == pane, theme }.render(area, buffer);
            }
        }
    }

    /// What a key would do now; `None` when nothing.
    fn label(&self, binding: &Binding<Action>) -> Option<&'static str> {
        let app = self.app;
        let running = app.engine.status.as_ref().is_some_and(|status| status.phase == Phase::Running);
        let commands = !app.options.read_only && !matches!(app.link, Link::Ended(_) | Link::Stopping);
        match binding.action {
            action if !commands && action.commands() => None,
            Action::RunPause if running => Some("pause"),
            _ => Some(binding.label),
        }
    }
}

fn too_small(area: Rect, buffer: &mut Buffer) {
    let (columns, rows) = SMALLEST;
    let text = format!("terminal is {}x{}; llamascape needs {columns}x{rows}", area.width, area.height);
    let middle = Rect { y: area.y + area.height / 2, height: area.height.min(1), ..area };
    let line = Line::raw(text);
    // Clipped at its end, not at both: the size comes first.
    let line = if line.width() > usize::from(area.width) { line } else { line.centered() };
    line.render(middle, buffer);
}

/// The middle of an area, at most that large, wiped for what is drawn over the screen.
fn popup(area: Rect, width: u16, height: u16, buffer: &mut Buffer) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    Clear.render(place, buffer);
    place
}

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
