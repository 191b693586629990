//! The picture of a comparison: two landscapes with one cursor, what both models would say next, and what is between
//! them.

mod between;
mod side;

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::MouseEvent;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::comparison::{Action, Comparison, Modal, Pane};
use crate::app::tour::WAITING;
use crate::app::{Binding, Chosen, Marker, Pointed};
use crate::protocol::Slice;
use crate::protocol::comparison::{Phase, PlaneChoice, Side};
use crate::theme::Theme;

use super::footer::Footer;
use super::help::Help;
use super::palette::CommandLine;
use super::preparing::Preparing;
use super::prompt::{ExportEditor, PromptEditor};
use super::surface::{Scale, Surface};
use super::{PixelMap, is_too_small, pointer, status, text, too_small, tour};

/// The smallest screen on which the models stand side by side: columns and rows. On a smaller one A is above B.
const WIDE: (u16, u16) = (110, 30);

/// What a newcomer is about to see.
const NEXT: [&str; 4] = [
    "Then you will see, side by side",
    "  the loss landscape around the weights of both, with one cursor",
    "  what each would say next, there and here, and where they differ",
    "  the loss on the way from one to the other",
];

/// What it shows, and what to look for.
const ABOUT: [&str; 2] = [
    "two models on one prompt: their landscapes, what each says next, what is between",
    "look for: where the bars part, and the barrier: how high the loss on the straight way rises above the line \
     between its ends",
];

/// Draws everything.
pub fn view(app: &Comparison, theme: &Theme, frame: &mut Frame) {
    Screen { app, theme }.render(frame.area(), frame.buffer_mut());
}

/// The panes on a screen of this size, and where they are; none while the models are not there.
pub fn layout(app: &Comparison, screen: Rect) -> Vec<(Pane, Rect)> {
    if is_too_small(screen) || app.scene.phase != Phase::Live {
        return Vec::new();
    }
    let [stage, _] = tour::split(screen, app.tour.as_ref());
    let [_, area, ..] = bands(app, stage);
    panes(app, area, stage.width >= WIDE.0 && stage.height >= WIDE.1)
}

/// What the mouse does on a screen of this size; `None` where it means nothing.
pub fn pointed(app: &Comparison, screen: Rect, event: MouseEvent) -> Option<Pointed<Pane>> {
    pointer::over(event, &layout(app, screen), |pane, area| match pane {
        Pane::Map(side) => side::cells(app, side, area),
        Pane::NextToken(_) => None,
    })
}

/// The maps on a screen of this size, to be drawn in pixels over what [`view`] draws, each with the number of its
/// model; none where the person has not chosen that, there is no map, or something lies over the screen.
pub fn pixel_maps<'a>(app: &'a Comparison, theme: &Theme, screen: Rect) -> Vec<PixelMap<'a>> {
    let chosen = app.landscape.marker == Marker::Picture && !app.landscape.relief;
    if !chosen || app.modal.is_some() || !theme.has_color {
        return Vec::new();
    }
    let mut surfaces = surfaces(app);
    let map = |(pane, area)| match pane {
        Pane::Map(side) => side::pixel_map(app, theme, (side, area), surfaces[side as usize].take()?),
        Pane::NextToken(_) => None,
    };
    layout(app, screen).into_iter().filter_map(map).collect()
}

/// The header, the panes, what is between the models, the status line and the keys.
fn bands(app: &Comparison, screen: Rect) -> [Rect; 5] {
    let live = app.scene.phase == Phase::Live;
    let strip_rows = if live { between::rows(screen.height, &app.scene.between) } else { 0 };
    Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(strip_rows),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(screen)
}

/// The panes in an area, side by side where it is wide.
fn panes(app: &Comparison, area: Rect, wide: bool) -> Vec<(Pane, Rect)> {
    let bars_height = (area.height * 7 / 20).clamp(8, 14);
    let over = Layout::vertical([Constraint::Min(0), Constraint::Length(bars_height)]);
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    if app.scene.plane == PlaneChoice::Through {
        // One map holds both.
        let [above, below] = over.areas(area);
        let [a, b] = Layout::horizontal(halves).areas(below);
        return vec![
            (Pane::Map(Side::A), above),
            (Pane::NextToken(Side::A), a),
            (Pane::NextToken(Side::B), b),
        ];
    }
    let bars_width = (area.width * 9 / 20).clamp(36, 60);
    let beside = Layout::horizontal([Constraint::Min(0), Constraint::Length(bars_width)]);
    // Of an odd number of rows one stays empty: what fits into one band fits into the other.
    let bands = [Constraint::Length(area.height / 2); 2];
    let (split, inside) =
        if wide { (Layout::horizontal(halves), over) } else { (Layout::vertical(bands), beside) };
    let places: [Rect; 2] = split.areas(area);
    let pair = |(side, place): (Side, Rect)| {
        let [map, bars] = inside.areas(place);
        [(Pane::Map(side), map), (Pane::NextToken(side), bars)]
    };
    Side::BOTH.into_iter().zip(places).flat_map(pair).collect()
}

/// Whether the same colour is the same loss in both landscapes.
fn one_scale(app: &Comparison) -> bool {
    app.one_scale && app.same_tokens()
}

/// The slices that are there.
fn slices(app: &Comparison) -> [Option<&Slice>; 2] {
    app.scene.sides.each_ref().map(|side| side.slice.as_deref())
}

/// The scale that both slices share, if they do.
fn shared_scale(app: &Comparison) -> Option<Scale> {
    let losses = slices(app).into_iter().flatten().flat_map(|slice| slice.loss.iter().copied());
    Scale::of(losses, app.landscape.stretch).filter(|_| one_scale(app))
}

/// Both slices as surfaces, on one scale or on two.
fn surfaces(app: &Comparison) -> [Option<Surface<'_>>; 2] {
    match shared_scale(app) {
        Some(scale) => slices(app).map(|slice| Surface::scaled(slice?, scale)),
        None => slices(app).map(|slice| Surface::new(slice?, app.landscape.stretch)),
    }
}

struct Screen<'a> {
    app: &'a Comparison,
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
        let [area, page] = tour::split(screen, app.tour.as_ref());
        if let Some(tour) = &app.tour {
            let preparing = matches!(app.scene.phase, Phase::Preparing(_));
            let text = if preparing { WAITING } else { tour.text() };
            let keys = app.modal.is_none().then(|| "space goes on · backspace goes back".to_owned());
            tour::Page { tour, text, keys, theme }.render(page, buffer);
        }
        let [top, middle, strip, status, bottom] = bands(app, area);
        self.header(top, buffer);
        match &app.scene.phase {
            Phase::Preparing(stages) => Preparing { stages, next: &NEXT, theme }.render(middle, buffer),
            Phase::Live => {
                self.panes(&layout(app, screen), buffer);
                between::Strip { app, theme }.render(strip, buffer);
            }
            // Whoever shows this is about to leave.
            Phase::Failed(_) => {}
        }
        let hint = |room| app.hint.as_ref().map(|hint| status::hint(hint, room, theme));
        status::draw(self.facts(area.height), hint, status, buffer);
        let label = |binding: &Binding<Action>| app.allows(binding.action).then_some(binding.label);
        let bindings = &app.bindings;
        Footer::new(bindings, &[Action::Help, Action::Quit], label, theme).render(bottom, buffer);
        match &app.modal {
            Some(Modal::Help { scroll }) => {
                let told = &|binding: &Binding<Action>| app.allows(binding.action).then_some(binding.help);
                Help { bindings, told, about: ABOUT, scroll: *scroll, theme }.render(area, buffer);
            }
            Some(Modal::Prompt(editor)) => PromptEditor { editor, theme }.render(area, buffer),
            Some(Modal::Commands(typed)) => {
                CommandLine { typed, bindings, theme }.render(area, buffer);
            }
            Some(Modal::Export(editor)) => {
                let side = Some(app.exported_side());
                ExportEditor { editor, side, is_of_layers: false, theme }.render(area, buffer);
            }
            None => {}
        }
    }
}

impl Screen<'_> {
    /// `llamascape compare · cpu, 2 threads · same seeds, scaled to each · one scale 1.2 to 6.1`; the device is the first
    /// to give way.
    fn header(&self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        let scene = &app.scene;
        let mut parts = vec![text::escape(&scene.device)];
        parts.retain(|device| !device.is_empty());
        let right = match scene.phase {
            Phase::Preparing(_) => format!("{} preparing", theme.symbols.phase),
            Phase::Failed(_) => String::new(),
            Phase::Live => {
                parts.push(scene.plane.name().into());
                let ends = |scale: Scale| format!(" {}", text::range(scale.low, scale.high));
                let one = || shared_scale(app).map_or_else(String::new, ends);
                if scene.plane != PlaneChoice::Through {
                    let one_scale = one_scale(app);
                    parts.push(if one_scale { format!("one scale{}", one()) } else { "own scales".into() });
                }
                self.place(area.width >= WIDE.0)
            }
        };
        let room = usize::from(area.width).saturating_sub(text::width(&right) + " llamascape ".len() + 3);
        let left = |skipped: usize| {
            let shown = parts[skipped..].iter().map(String::as_str);
            std::iter::once("compare").chain(shown).collect::<Vec<_>>().join(" · ")
        };
        let left = (0..=parts.len()).map(left).find(|left| text::width(left) <= room).unwrap_or_default();
        Line::from(vec![
            Span::styled(" llamascape ", theme.palette.accent),
            Span::styled(left, theme.palette.muted),
        ])
        .render(area, buffer);
        let place = Rect { width: area.width.saturating_sub(1), ..area };
        Line::from(Span::styled(right, theme.palette.muted)).right_aligned().render(place, buffer);
    }

    /// Where the models are read.
    fn place(&self, wide: bool) -> String {
        let scene = &self.app.scene;
        let Some(Chosen { alpha, beta }) = self.app.landscape.chosen else {
            return if wide { "both at their weights".into() } else { String::new() };
        };
        let symbol = &self.theme.symbols.cursor;
        let place = format!("{symbol} α {} β {}", text::coordinate(alpha), text::coordinate(beta));
        match (wide, scene.plane) {
            (false, _) => place,
            (true, _) if scene.place != Some([alpha, beta]) => format!("going to {place} .."),
            (true, PlaneChoice::Through) => format!("A read at {place}"),
            (true, _) => format!("both read at {place}"),
        }
    }

    /// What the status line tells; on a low screen also what the strip has no room for.
    fn facts(&self, rows: u16) -> Vec<Line<'static>> {
        let scene = &self.app.scene;
        if scene.phase != Phase::Live {
            return Vec::new();
        }
        let palette = &self.theme.palette;
        let [a, b] = [Side::A, Side::B].map(|side| scene.sides[side as usize].steps);
        let rate = format!("{:.1e}", scene.learning_rate);
        let to_come = match scene.steps_to_come {
            0 => String::new(),
            count => format!(" · {count} to come"),
        };
        let mut facts = vec![
            Line::from(vec![
                Span::styled(format!("step A {a} · B {b}"), palette.title),
                Span::styled(to_come, palette.muted),
            ]),
            Line::from(vec![Span::styled("lr ", palette.muted), Span::raw(rate)]),
        ];
        if let Some(optimizer) = scene.optimizer {
            facts.push(Line::from(Span::styled(optimizer.name(), palette.muted)));
        }
        if between::rows(rows, &scene.between) == 1 {
            facts.extend(between::facts(&scene.between, self.theme));
        }
        facts
    }

    fn panes(&self, panes: &[(Pane, Rect)], buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        let surfaces = surfaces(app);
        for &(pane, area) in panes {
            match pane {
                Pane::Map(side) => {
                    let surface = surfaces[side as usize].as_ref();
                    side::Map { app, theme, side, surface }.render(area, buffer);
                }
                Pane::NextToken(side) => side::NextToken { app, theme, side }.render(area, buffer),
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
