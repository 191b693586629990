//! A slice as a picture: heat map and axes or surface, legend and honesty line.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::LandscapeView;
use crate::protocol::{Drift, Slice};
use crate::theme::Theme;

use super::heatmap::{ASCII, Heatmap, Mark};
use super::legend::Legend;
use super::relief::Relief;
use super::surface::Surface;
use super::{honesty, text};

/// A surface and everything one must know to read it.
pub(super) struct Picture<'a> {
    pub(super) surface: &'a Surface<'a>,
    pub(super) theme: &'a Theme,
    pub(super) view: &'a LandscapeView,
    pub(super) drift: Option<&'a Drift>,
    /// What the slice says about itself, the most telling part first.
    pub(super) honesty: Vec<String>,
    /// Further places.
    pub(super) marks: &'a [Mark],
    /// A line below the axis; without it the losses stand beside the colour bar.
    pub(super) readout: Option<Line<'a>>,
}

/// Rows from which there is more than the map and an axis.
pub(super) const ROWS: u16 = 11;

/// Rows from which a picture with a line of its own below the axis has a colour bar too.
const ROWS_WITH_BAR: u16 = 16;

/// Says in the middle of an area why there is no picture.
pub(super) fn missing(why: &str, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let middle = Rect { y: area.y + area.height / 2, height: area.height.min(1), ..area };
    Line::styled(why, theme.palette.muted).centered().render(middle, buffer);
}

/// Where the parts of a picture are.
pub(super) struct Places {
    /// The cells of the map.
    pub(super) cells: Rect,
    /// The map and its axes, or the surface.
    pub(super) whole: Rect,
    betas: Rect,
    alphas: Rect,
    readout: Rect,
    /// The colour bar and its values.
    pub(super) legend: Rect,
    /// The lines below.
    pub(super) honesty: Rect,
    /// What of the honesty fits.
    lines: Vec<String>,
}

/// Lays out the picture of a slice that says this about itself.
pub(super) fn places(slice: &Slice, honesty: &[String], has_readout: bool, area: Rect) -> Places {
    let honesty_rows = match area.height {
        ..ROWS => 0,
        ROWS..18 => 1,
        _ => 3,
    };
    let lines = honesty::lines(honesty, usize::from(area.width), honesty_rows);
    let rows_with_bar = if has_readout { ROWS_WITH_BAR } else { ROWS };
    let [map, axis, readout, legend, below] = Layout::vertical([
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(u16::from(has_readout && area.height >= ROWS)),
        Constraint::Length(if area.height >= rows_with_bar { 2 } else { 0 }),
        Constraint::Length(lines.len() as u16),
    ])
    .areas(area);
    let whole = Rect { height: map.height + axis.height, ..map };
    Places { readout, legend, honesty: below, lines, ..bare(slice, whole) }
}

/// Lays out a map and its axes alone.
fn bare(slice: &Slice, whole: Rect) -> Places {
    let [map, axis] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(whole);
    let labels = ends(&slice.betas).map(|beta| text::width(&text::coordinate(beta)) as u16);
    let gutter = labels.into_iter().max().unwrap_or(0) + 1;
    let cells = Rect { x: map.x + gutter, width: map.width.saturating_sub(gutter), ..map };
    let betas = Rect { width: map.width.min(gutter - 1), ..map };
    let alphas = Rect { x: cells.x, width: cells.width, ..axis };
    let [readout, legend, honesty] = [Rect::ZERO; 3];
    Places { cells, whole, betas, alphas, readout, legend, honesty, lines: Vec::new() }
}

/// The map and its axes or the surface, and nothing that explains the colours.
pub(super) struct Bare<'a> {
    pub(super) surface: &'a Surface<'a>,
    pub(super) theme: &'a Theme,
    pub(super) view: &'a LandscapeView,
    /// Where the weights are, in units of alpha and beta.
    pub(super) weights: [f64; 2],
    /// Further places.
    pub(super) marks: &'a [Mark],
}

impl Bare<'_> {
    fn draw(self, places: &Places, buffer: &mut Buffer) {
        let Self { surface, theme, view, weights, marks } = self;
        let (marker, viewpoint, chosen) = (view.marker, view.viewpoint, view.chosen);
        let Some(map) = theme.maps.get(view.map % theme.maps.len().max(1)) else { return };
        if view.relief {
            Relief { surface, map, theme, marker, viewpoint, weights, marks, chosen }
                .render(places.whole, buffer);
            return;
        }
        let characters = &ASCII;
        Heatmap { surface, map, theme, marker, characters, weights, marks, chosen }
            .render(places.cells, buffer);
        places.axes(surface.slice, theme, buffer);
    }
}

impl Widget for Bare<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let places = bare(self.surface.slice, area.intersection(buffer.area));
        self.draw(&places, buffer);
    }
}

impl Widget for Picture<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { surface, theme, view, drift, .. } = self;
        let (slice, marker, chosen) = (surface.slice, view.marker, view.chosen);
        let Some(map) = theme.maps.get(view.map % theme.maps.len().max(1)) else { return };
        let places = places(slice, &self.honesty, self.readout.is_some(), area);
        let weights = drift.map_or([0.0; 2], |drift| drift.inside);
        Bare { surface, theme, view, weights, marks: self.marks }.draw(&places, buffer);
        let beside = self.readout.is_none();
        let (marks, relief) = (self.marks, view.relief);
        Legend { surface, map, theme, marker, drift, chosen, marks, relief, beside }
            .render(places.legend, buffer);
        if let Some(line) = self.readout {
            line.render(places.readout, buffer);
        }
        for (row, line) in places.honesty.rows().zip(places.lines) {
            Line::styled(line, theme.palette.muted).render(row, buffer);
        }
    }
}

impl Places {
    /// Draws the axes of the map.
    pub(super) fn axes(&self, slice: &Slice, theme: &Theme, buffer: &mut Buffer) {
        vertical_axis(slice, theme, self.betas, buffer);
        horizontal_axis(slice, theme, self.alphas, buffer);
    }
}

fn vertical_axis(slice: &Slice, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let [high, middle, low] = ends(&slice.betas).map(text::coordinate);
    let last = area.height.saturating_sub(1);
    let mut rows = vec![(0, high.as_str()), (last, low.as_str())];
    if last >= 4 {
        // The row of the marker that is there.
        rows.push((area.height / 2, middle.as_str()));
    }
    if last >= 10 {
        rows.extend([(last / 4, "d2"), (last / 4 + 1, "↑")]);
    }
    for (row, label) in rows {
        let place = Rect { y: area.y + row, height: 1, ..area }.intersection(area);
        Line::styled(label, theme.palette.muted).right_aligned().render(place, buffer);
    }
}

fn horizontal_axis(slice: &Slice, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let muted = theme.palette.muted;
    let [high, middle, low] = ends(&slice.alphas).map(text::coordinate);
    Line::styled(low, muted).render(area, buffer);
    Line::styled(middle, muted).centered().render(area, buffer);
    Line::styled(high, muted).right_aligned().render(area, buffer);
    let quarter = Rect { width: area.width / 2, ..area };
    if quarter.width >= 16 {
        Line::styled("d1 →", muted).centered().render(quarter, buffer);
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
