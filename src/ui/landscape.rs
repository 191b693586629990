//! The pane of the landscape: heat map, axes, legend and honesty line.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::{App, Pane};
use crate::protocol::Slice;
use crate::theme::Theme;

use super::heatmap::Heatmap;
use super::legend::Legend;
use super::panel::Panel;
use super::surface::Surface;
use super::{honesty, text};

/// A slice of the loss landscape and everything one must know to read it.
pub(super) struct Landscape<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Landscape<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let inner = Panel { app, theme, pane: Pane::Landscape, title: "Landscape", right: self.right() }
            .draw(area, buffer);
        let slice = app.engine.slice.as_ref();
        let surface = slice.and_then(|slice| Surface::new(slice, app.view.landscape.log));
        match (&surface, slice) {
            (Some(surface), _) => self.picture(surface, inner, buffer),
            (None, Some(_)) => self.empty("no point of this slice has a finite loss", inner, buffer),
            (None, None) if self.slicing() => self.empty("evaluating the first slice ..", inner, buffer),
            (None, None) => self.empty("no slice yet: r draws one", inner, buffer),
        }
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

    fn empty(&self, message: &str, area: Rect, buffer: &mut Buffer) {
        let middle = Rect { y: area.y + area.height / 2, height: area.height.min(1), ..area };
        Line::styled(message, self.theme.palette.muted).centered().render(middle, buffer);
    }

    fn picture(&self, surface: &Surface, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        let (slice, view, status) = (surface.slice, &app.view, app.engine.status.as_ref());
        let parts = honesty::parts(slice, status);
        let honesty = honesty::lines(&parts, usize::from(area.width), if area.height >= 18 { 3 } else { 1 });
        let [map_area, axis, legend, below] = Layout::vertical([
            Constraint::Min(0),
            Constraint::Length(1),
            Constraint::Length(2),
            Constraint::Length(honesty.len() as u16),
        ])
        .areas(area);
        let [high, middle, low] = ends(&slice.betas).map(text::coordinate);
        let gutter =
            [&high, &middle, &low].map(|label| text::width(label)).into_iter().max().unwrap_or(0) as u16 + 1;
        let cells = Rect { x: map_area.x + gutter, width: map_area.width.saturating_sub(gutter), ..map_area };
        let Some(map) = theme.maps.get(view.landscape.map % theme.maps.len().max(1)) else { return };
        let drift = status.and_then(|status| status.drift.as_ref());
        let weights = drift.map_or([0.0; 2], |drift| drift.inside);
        Heatmap {
            surface,
            map,
            theme,
            marker: view.landscape.marker,
            weights,
            chosen: view.landscape.chosen,
        }
        .render(cells, buffer);
        self.vertical_axis([&high, &middle, &low], Rect { width: gutter - 1, ..map_area }, buffer);
        self.horizontal_axis(slice, Rect { x: cells.x, width: cells.width, ..axis }, buffer);
        Legend { surface, map, theme, marker: view.landscape.marker, drift, chosen: view.landscape.chosen }
            .render(legend, buffer);
        for (row, line) in below.rows().zip(honesty) {
            Line::styled(line, theme.palette.muted).render(row, buffer);
        }
    }

    fn vertical_axis(&self, [high, middle, low]: [&str; 3], area: Rect, buffer: &mut Buffer) {
        let last = area.height.saturating_sub(1);
        let mut rows = vec![(0, high), (last, low)];
        if last >= 4 {
            rows.push((last / 2, middle));
        }
        if last >= 10 {
            rows.extend([(last / 4, "d2"), (last / 4 + 1, "↑")]);
        }
        for (row, label) in rows {
            let place = Rect { y: area.y + row, height: 1, ..area }.intersection(area);
            Line::styled(label, self.theme.palette.muted).right_aligned().render(place, buffer);
        }
    }

    fn horizontal_axis(&self, slice: &Slice, area: Rect, buffer: &mut Buffer) {
        let muted = self.theme.palette.muted;
        let [high, middle, low] = ends(&slice.alphas).map(text::coordinate);
        Line::styled(low, muted).render(area, buffer);
        Line::styled(middle, muted).centered().render(area, buffer);
        Line::styled(high, muted).right_aligned().render(area, buffer);
        let quarter = Rect { width: area.width / 2, ..area };
        if quarter.width >= 16 {
            Line::styled("d1 →", muted).centered().render(quarter, buffer);
        }
    }
}

/// The highest coordinate, the middle one, the lowest.
fn ends(values: &[f64]) -> [f64; 3] {
    match values {
        [first, .., last] => [*last, f64::midpoint(*first, *last), *first],
        [only] => [*only; 3],
        [] => [0.0; 3],
    }
}
