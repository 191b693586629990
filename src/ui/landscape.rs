//! The pane of the landscape.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::{App, Pane};
use crate::protocol::{Drift, Slice};
use crate::theme::Theme;

use super::panel::{self, Panel};
use super::picture::{self, Picture, Places};
use super::pixels::PixelMap;
use super::surface::Surface;
use super::{honesty, text};

/// A slice of the loss landscape and everything one must know to read it.
pub(super) struct Landscape<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// The cells of the map in the pane of this area, where there is a map.
pub(super) fn cells(app: &App, area: Rect) -> Option<Rect> {
    if app.view.landscape.relief { None } else { Some(places(app, area)?.cells) }
}

/// The cells of the surface in the pane of this area, where there is one.
pub(super) fn relief(app: &App, area: Rect) -> Option<Rect> {
    if app.view.landscape.relief { Some(places(app, area)?.whole) } else { None }
}

fn places(app: &App, area: Rect) -> Option<Places> {
    let surface = Surface::new(app.engine.slice.as_ref()?, app.view.landscape.stretch)?;
    let drift = app.engine.status.as_ref().and_then(|status| status.drift.as_ref());
    let honesty = parts(surface.slice, drift);
    Some(picture::places(surface.slice, &honesty, false, panel::inside(area)))
}

/// What the slice of a run says about itself. The held-out loss that stands beside it is that of more tokens.
fn parts(slice: &Slice, drift: Option<&Drift>) -> Vec<String> {
    let mut parts = honesty::parts(slice, drift);
    if slice.batch.source == "held-out" {
        parts[0] = parts[0].replacen(" held-out ", " of the held-out ", 1);
    }
    parts
}

/// The map in the pane of this area, to be drawn in pixels, where there is a map.
pub(super) fn pixel_map<'a>(app: &'a App, theme: &Theme, area: Rect) -> Option<PixelMap<'a>> {
    let (cells, view) = (cells(app, area)?, &app.view.landscape);
    let surface = Surface::new(app.engine.slice.as_ref()?, view.stretch)?;
    let map = theme.maps.get(view.map % theme.maps.len().max(1))?;
    let drift = app.engine.status.as_ref().and_then(|status| status.drift.as_ref());
    let weights = drift.map_or([0.0; 2], |drift| drift.inside);
    Some(PixelMap::new((0, cells), surface, (map, theme), weights, &[], view.chosen))
}

impl Widget for Landscape<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let (focused, right) = (app.view.focus == Pane::Landscape, self.right());
        let inner = Panel { theme, focused, title: "Landscape", right }.draw(area, buffer);
        let slice = app.engine.slice.as_ref();
        let surface = slice.and_then(|slice| Surface::new(slice, app.view.landscape.stretch));
        let drift = app.engine.status.as_ref().and_then(|status| status.drift.as_ref());
        let missing = match (&surface, slice) {
            (Some(surface), _) => {
                let honesty = parts(surface.slice, drift);
                let view = &app.view.landscape;
                Picture { surface, theme, view, drift, honesty, marks: &[], readout: None }
                    .render(inner, buffer);
                return;
            }
            (None, Some(_)) => "no point of this slice has a finite loss".to_owned(),
            (None, None) if self.slicing() => "evaluating the first slice ..".to_owned(),
            (None, None) => format!("no slice yet: {} draws one", app.options.bindings.shown("redraw")),
        };
        picture::missing(&missing, theme, inner, buffer);
    }
}

impl Landscape<'_> {
    fn slicing(&self) -> bool {
        self.app.engine.status.as_ref().is_some_and(|status| status.slicing)
    }

    fn right(&self) -> Vec<Line<'static>> {
        let Some(slice) = &self.app.engine.slice else { return Vec::new() };
        let as_of = format!("as of step {}", slice.step);
        let refining = if self.slicing() { "refining · " } else { "" };
        let mut right = Vec::new();
        if let Some(chosen) = self.app.view.landscape.chosen {
            let place = format!("α {} β {}", text::coordinate(chosen.alpha), text::coordinate(chosen.beta));
            right.push(Line::raw(format!("{} {place} · {refining}{as_of}", self.theme.symbols.cursor)));
            right.push(Line::raw(format!("{} {place} · {as_of}", self.theme.symbols.cursor)));
        }
        right.push(Line::raw(format!("{refining}{as_of}")));
        right.push(Line::raw(as_of));
        right
    }
}
