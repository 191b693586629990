//! The picture of a screen: a pure function of the state, the theme and the size.
//!
//! One widget a file. The widgets borrow what they show, keep nothing, and draw at any size without a panic.

mod axis;
mod bars;
mod braille;
mod chart;
pub mod comparison;
mod curvature;
mod curves;
mod dialog;
mod film;
mod footer;
mod gradient;
mod header;
mod heatmap;
mod help;
mod honesty;
mod landscape;
mod layers;
mod legend;
mod log;
mod loss;
mod palette;
mod panel;
mod picture;
mod pixels;
mod pointer;
mod preparing;
mod probe;
mod prompt;
mod reading;
mod relief;
mod series;
pub mod start;
mod status;
mod steps;
mod surface;
pub mod text;
mod timeline;
mod toasts;
mod tour;
mod wormhole;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::MouseEvent;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, Widget};

use crate::app::tour::Tour;
use crate::app::{Action, App, Binding, Gesture, Link, Marker, Modal, Pane, Pointed, Spot, View};
use crate::protocol::{Phase, Stage};
use crate::theme::Theme;

pub use pixels::PixelMap;

/// The smallest screen that is drawn: columns and rows.
pub const SMALLEST: (u16, u16) = (80, 24);

/// Rows from which the log is on show by default.
const ROWS_WITH_LOG: u16 = 34;

/// Rows that the charts have at least.
const LEAST_CHARTS: u16 = 6;

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

/// The panes of the observatory on a screen of this size, and where they are; none while the engine prepares and in
/// other views.
pub fn layout(app: &App, screen: Rect) -> Vec<(Pane, Rect)> {
    if is_too_small(screen) || preparation(app).is_some() || app.view.shown != View::Observatory {
        return Vec::new();
    }
    let view = &app.view;
    let [stage, _] = tour::split(screen, told(app));
    let [_, area, ..] = bands(stage);
    if view.zoomed {
        return vec![(view.focus, area)];
    }
    let log_shown = (screen.height >= ROWS_WITH_LOG) != view.log_flipped || view.focus == Pane::Log;
    let log_height = if log_shown { (area.height / 5).clamp(5, 10) } else { 0 };
    let [pictures, log] = Layout::vertical([Constraint::Min(0), Constraint::Length(log_height)]).areas(area);
    let right_width = (pictures.width * 37 / 100).clamp(33, 80);
    let [left, right] =
        Layout::horizontal([Constraint::Min(0), Constraint::Length(right_width)]).areas(pictures);
    let height = right.height;
    let layers = app.engine.layers.len() as u16;
    let gradient_height = (layers + 3).clamp(5, (height * 30 / 100).max(5));
    // Where it is low, the bars give way to the charts.
    let most = height.saturating_sub(gradient_height + LEAST_CHARTS).max(5);
    let bars_height = (height * 40 / 100).clamp(7, 15).min(most);
    let [loss, next_token, gradient] = Layout::vertical([
        Constraint::Min(0),
        Constraint::Length(bars_height),
        Constraint::Length(gradient_height),
    ])
    .areas(right);
    let mut panes = vec![
        (Pane::Landscape, left),
        (Pane::Loss, loss),
        (Pane::NextToken, next_token),
        (Pane::Gradient, gradient),
    ];
    if log_shown {
        panes.push((Pane::Log, log));
    }
    panes
}

/// What the mouse does on a screen of this size; `None` where it means nothing.
pub fn pointed(app: &App, screen: Rect, event: MouseEvent) -> Option<Pointed<Spot>> {
    let (shown, at) = (app.view.shown, Position::new(event.column, event.row));
    if matches!(shown, View::Layers | View::Timeline) {
        let [stage, _] = tour::split(screen, told(app));
        let [_, area, ..] = bands(stage);
        if is_too_small(screen) || preparation(app).is_some() || !area.contains(at) {
            return None;
        }
        let gesture = Gesture::of(event)?;
        let pane = if shown == View::Layers {
            layers::spot(app, area, at)
        } else {
            Spot::Timeline { slice: timeline::slice_at(app, area, at) }
        };
        return Some(Pointed { gesture, pane, place: None });
    }
    let over = pointer::over(event, &layout(app, screen), |pane, area| match pane {
        Pane::Landscape if app.view.landscape.relief => landscape::relief(app, area),
        Pane::Landscape => landscape::cells(app, area),
        Pane::Loss => loss::cells(app, area),
        _ => None,
    });
    over.map(|Pointed { gesture, pane, place }| Pointed { gesture, pane: Spot::Pane(pane), place })
}

/// The map of the landscape on a screen of this size, to be drawn in pixels over what [`view`] draws; none where the
/// person has not chosen that, there is no map, or something lies over the screen.
pub fn pixel_maps<'a>(app: &'a App, theme: &Theme, screen: Rect) -> Vec<PixelMap<'a>> {
    // What lies over the map would be under the picture.
    let covered = app.view.modal.is_some() || app.view.toasts.lines().len() > 0;
    if app.view.landscape.marker != Marker::Picture || covered || !theme.has_color {
        return Vec::new();
    }
    let panes = layout(app, screen).into_iter().filter(|(pane, _)| *pane == Pane::Landscape);
    panes.filter_map(|(_, area)| landscape::pixel_map(app, theme, area)).collect()
}

/// The tour, where it is told.
fn told(app: &App) -> Option<&Tour> {
    app.tour.as_ref().filter(|tour| tour.shown)
}

/// The header, the panes, the status line and the keys.
fn bands(screen: Rect) -> [Rect; 4] {
    Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(screen)
}

/// What the engine does before it can train, while that is so.
fn preparation(app: &App) -> Option<&[Stage]> {
    match app.engine.status.as_ref().map(|status| &status.phase) {
        None => Some(&[]),
        Some(Phase::Preparing(stages)) => Some(stages.as_slice()),
        Some(_) => None,
    }
}

/// What a view shows, and what to look for.
fn about(view: View) -> [&'static str; 2] {
    match view {
        View::Observatory => [
            "the loss around the weights in two directions, what comes next, the gradient",
            "look for: the picture changes shape while the weights hardly move within it",
        ],
        View::Layers => [
            "the norms of every parameter over time: gradient, weights, update/weight",
            "look for: a ratio near 1e-3; a row that fades has stopped learning",
        ],
        View::Timeline => [
            "the slices of the run, one after another, on the same batch",
            "look for: the whole plane sinks, not only the place of the weights",
        ],
        View::Wormhole => [
            "weights trained off a plateau; left the plane that stays, right the one that travels (tab: alone)",
            "look for: a pit opens at right while the weights hardly move within the picture",
        ],
        View::Probe => [
            "one parameter or two, turned by hand: the loss and what comes next; the run is not changed",
            "look for: tuned by turns, the best of one moves with the other; a step of all gets further",
        ],
    }
}

struct Screen<'a> {
    app: &'a App,
    theme: &'a Theme,
}

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        Block::new().style(theme.palette.base).render(area, buffer);
        if is_too_small(area) {
            too_small(area, buffer);
            return;
        }
        let screen = area;
        let [area, page] = tour::split(screen, told(app));
        if let Some(tour) = told(app) {
            let (text, keys) = (tour.text(), tour::keys(app));
            tour::Page { tour, text, keys, theme }.render(page, buffer);
        }
        let [top, middle, status, bottom] = bands(area);
        header::Header { app, theme }.render(top, buffer);
        if let Some(stages) = preparation(app) {
            preparing::Preparing { stages, next: &NEXT, theme }.render(middle, buffer);
        } else if app.view.shown == View::Layers {
            layers::Layers { app, theme }.render(middle, buffer);
        } else if app.view.shown == View::Timeline {
            timeline::Timeline { app, theme }.render(middle, buffer);
        } else if app.view.shown == View::Wormhole {
            wormhole::Wormhole { app, theme }.render(middle, buffer);
        } else if app.view.shown == View::Probe {
            probe::Probe { app, theme }.render(middle, buffer);
        }
        let panes = layout(app, screen);
        for (pane, place) in &panes {
            self.pane(*pane, *place, buffer);
        }
        status::StatusLine { app, theme }.render(status, buffer);
        let bindings = &app.options.bindings;
        // An open log says itself how it is hidden.
        let has_log = panes.iter().any(|(pane, _)| *pane == Pane::Log);
        let label = |binding: &Binding<Action>| {
            self.label(binding).filter(|_| !has_log || binding.action != Action::Log)
        };
        let told = |binding: &Binding<Action>| self.told(binding);
        footer::Footer::new(bindings, &[Action::Help, Action::Quit], label, theme).render(bottom, buffer);
        toasts::Toasts { toasts: &app.view.toasts, theme }.render(middle, buffer);
        match &app.view.modal {
            Some(Modal::Help { scroll }) => {
                let (about, scroll) = (about(app.view.shown), *scroll);
                help::Help { bindings, told: &told, about, scroll, theme }.render(area, buffer);
            }
            Some(Modal::Leave) => dialog::LeaveDialog { app, theme }.render(area, buffer),
            Some(Modal::Move) => dialog::MoveDialog { app, theme }.render(area, buffer),
            Some(Modal::Prompt(editor)) => prompt::PromptEditor { editor, theme }.render(area, buffer),
            Some(Modal::Commands(typed)) => {
                palette::CommandLine { typed, bindings, theme }.render(area, buffer);
            }
            Some(Modal::Search(search)) => {
                let keys = "enter goes to an older line · esc ends";
                prompt::BottomLine { symbol: "/", editor: &search.editor, keys, theme }.render(area, buffer);
            }
            Some(Modal::Curvature) => curvature::Curvature { app, theme }.render(middle, buffer),
            Some(Modal::Export(editor)) => {
                let is_of_layers = app.view.shown == View::Layers;
                prompt::ExportEditor { editor, side: None, is_of_layers, theme }.render(area, buffer);
            }
            None => {}
        }
    }
}

impl Screen<'_> {
    fn pane(&self, pane: Pane, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        match pane {
            Pane::Landscape => landscape::Landscape { app, theme }.render(area, buffer),
            Pane::Loss => loss::Loss { app, theme }.render(area, buffer),
            Pane::NextToken => bars::NextToken { app, theme }.render(area, buffer),
            Pane::Gradient => gradient::Gradient { app, theme }.render(area, buffer),
            Pane::Log => log::Log { app, theme }.render(area, buffer),
        }
    }

    /// Whether an action does anything on this screen, in the view that is shown.
    fn is_of_use(&self, action: Action) -> bool {
        let Self { app, theme } = *self;
        let here = (app.view.shown, action);
        let turns = matches!(
            action,
            Action::Surface
                | Action::LogScale
                | Action::TurnLeft
                | Action::TurnRight
                | Action::TiltDown
                | Action::TiltUp
        );
        let is_idle = matches!(here, (View::Layers | View::Timeline, Action::Zoom))
            || app.view.shown == View::Layers && turns;
        let is_seen = action != Action::ColorMap || theme.has_color;
        // Without an engine nothing can be tried, and there is nobody to leave alone.
        let ended = matches!(app.link, Link::Ended(_));
        let is_gone = ended && matches!(action, Action::Wormhole | Action::Probe | Action::Detach);
        let is_asked = !action.commands() || self.commands() || self.reads(action);
        app.allows(action) && !is_idle && is_seen && !is_gone && is_asked
    }

    /// Whether the engine can be asked for anything from here.
    fn commands(&self) -> bool {
        !self.app.options.read_only && !matches!(self.app.link, Link::Ended(_) | Link::Stopping)
    }

    /// Whether a command of the engine does something on the pictures too, whoever watches.
    fn reads(&self, action: Action) -> bool {
        let charts = matches!(action, Action::Move | Action::ZoomIn | Action::ZoomOut);
        match self.app.view.shown {
            View::Observatory => charts && self.app.view.focus == Pane::Loss,
            View::Timeline | View::Layers => action == Action::Move,
            View::Wormhole | View::Probe => false,
        }
    }

    /// What the help says of a key as the screen is now; `None` where it does nothing.
    fn told(&self, binding: &Binding<Action>) -> Option<&'static str> {
        let action = binding.action;
        // What else the key that moves the training does is said where it does it.
        let moves = action == Action::Move && !self.commands();
        if !self.is_of_use(action) || moves {
            return None;
        }
        tour::help(self.app, binding).or_else(|| match self.app.view.shown {
            View::Wormhole => wormhole::told(action, binding.help),
            View::Probe => probe::told(action, binding.help),
            _ => Some(binding.help),
        })
    }

    /// What a key would do now; `None` when nothing.
    fn label(&self, binding: &Binding<Action>) -> Option<&'static str> {
        let app = self.app;
        let running = app.engine.status.as_ref().is_some_and(|status| status.phase == Phase::Running);
        match binding.action {
            action if !self.is_of_use(action) => None,
            Action::RunPause if app.is_touring() => None,
            action if app.view.shown == View::Wormhole && action.commands() => wormhole::label(app, binding),
            Action::Probe if app.view.shown == View::Probe => None,
            action if app.view.shown == View::Probe => probe::label(app, action, binding.label),
            Action::RunPause if running => Some("pause"),
            Action::Surface if app.view.landscape.relief => Some("map"),
            Action::Log if app.view.shown != View::Observatory => None,
            Action::Observatory if app.view.shown == View::Observatory => None,
            Action::Layers if app.view.shown == View::Layers => None,
            Action::Timeline if app.view.shown == View::Timeline => None,
            Action::Wormhole if app.view.shown == View::Wormhole => None,
            _ => Some(binding.label),
        }
    }
}

fn is_too_small(screen: Rect) -> bool {
    screen.width < SMALLEST.0 || screen.height < SMALLEST.1
}

fn too_small(area: Rect, buffer: &mut Buffer) {
    let (columns, rows) = SMALLEST;
    let parts = [
        format!("terminal is {}x{};", area.width, area.height),
        format!("llamascape needs {columns}x{rows}"),
    ];
    let whole = parts.join(" ");
    let lines = if text::width(&whole) <= usize::from(area.width) { vec![whole] } else { parts.to_vec() };
    let top = area.height.saturating_sub(lines.len() as u16) / 2;
    let rows = Rect { y: area.y + top, height: area.height - top, ..area }.rows();
    for (line, row) in lines.into_iter().zip(rows) {
        let line = Line::raw(line);
        // Clipped at its end, not at both.
        let line = if line.width() > usize::from(area.width) { line } else { line.centered() };
        line.render(row, buffer);
    }
}

/// Draws lines in the middle of an area, so many columns wide.
fn centered(lines: Vec<Line>, width: u16, area: Rect, buffer: &mut Buffer) {
    let (width, height) = (width.min(area.width), area.height.min(lines.len() as u16));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    for (line, row) in lines.into_iter().zip(place.rows()) {
        line.render(row, buffer);
    }
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
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
