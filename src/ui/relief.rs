//! The landscape as a surface seen from the side: the loss as a height over the plane, in lines of dots.
//!
//! The projection is orthographic. The patches between four samples are drawn from back to front, and each wipes what
//! is behind it: what is left are the lines that one would see.

use std::f64::consts::{FRAC_PI_4, SQRT_2};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::{Chosen, Marker, Viewpoint};
use crate::theme::{ColorMap, LEVELS, Theme};

use super::braille::Dots;
use super::heatmap::{ASCII, Mark};
use super::surface::{Scale, Surface};
use super::text;

/// The height of the scale, in sides of the base.
const HEIGHT: f64 = 0.5;

/// How far a base is stretched at most.
const STRETCH: f64 = 2.0;

/// Dots that a stretched base leaves free on either side: the ends of the scale stand there.
const MARGIN: f64 = 12.0;

/// Dots from line to line on a side of the base, at least.
const GAP: f64 = 5.0;

/// The ink of the vertical edge; those below it are the levels.
const EDGE: usize = LEVELS;

/// A surface over an area of cells, seen from the side.
pub(super) struct Relief<'a> {
    pub(super) surface: &'a Surface<'a>,
    pub(super) map: &'a ColorMap,
    pub(super) theme: &'a Theme,
    pub(super) marker: Marker,
    pub(super) viewpoint: Viewpoint,
    /// Where the weights are, in units of alpha and beta.
    pub(super) weights: [f64; 2],
    /// Further places.
    pub(super) marks: &'a [Mark],
    /// The place to read.
    pub(super) chosen: Option<Chosen>,
}

/// From places to dots. A place has coordinates from 0 to 1: along both directions, and its height.
struct Projection {
    /// The dot of the middle of the base, from the left and from the top.
    middle: [f64; 2],
    /// Dots to the right for each coordinate of the base.
    right: [f64; 2],
    /// Dots upwards for each coordinate.
    up: [f64; 3],
    /// Whether what has the greater coordinate is farther away, for each coordinate of the base.
    farther: [bool; 2],
    /// Dots of a side of the base that is seen from above.
    side: f64,
}

impl Projection {
    /// As large as fits into so many columns and rows of dots, however the surface is turned: a base that turns stays
    /// as large as it is. Where there is more room beside it, it is stretched to the right, as the map is.
    fn new(Viewpoint { turn, tilt }: Viewpoint, (columns, rows): (usize, usize)) -> Self {
        let (turn_sin, turn_cos) = f64::from(turn).to_radians().sin_cos();
        let (tilt_sin, tilt_cos) = f64::from(tilt).to_radians().sin_cos();
        let room = [columns, rows].map(|dots| dots.saturating_sub(1) as f64);
        let side = (room[0] / SQRT_2).min(room[1] / (SQRT_2 * tilt_sin + HEIGHT * tilt_cos));
        let wide = ((room[0] - 2.0 * MARGIN) / SQRT_2).clamp(side, STRETCH * side);
        let top = side * HEIGHT * tilt_cos;
        Self {
            middle: [room[0] / 2.0, f64::midpoint(room[1], top)],
            right: [wide * turn_cos, -wide * turn_sin],
            up: [side * tilt_sin * turn_sin, side * tilt_sin * turn_cos, top],
            farther: [turn_sin >= 0.0, turn_cos >= 0.0],
            side,
        }
    }

    /// The dot of a place, from the left and from the top.
    fn dot(&self, [u, v, height]: [f64; 3]) -> [f64; 2] {
        let (x, y) = (u - 0.5, v - 0.5);
        [
            self.middle[0] + self.right[0] * x + self.right[1] * y,
            self.middle[1] - self.up[0] * x - self.up[1] * y - self.up[2] * height,
        ]
    }

    /// Lines are drawn through every so many-th of the samples of a side.
    fn spacing(&self, samples: usize) -> usize {
        let steps = samples.saturating_sub(1);
        let least = (GAP * steps as f64 / self.side.max(1.0)).ceil().max(1.0) as usize;
        // Rather a little fewer than a last one that is nearer to the one before.
        (least..=2 * least).find(|every| steps.is_multiple_of(*every)).unwrap_or(least)
    }

    /// The corner of the base that is farthest to the left.
    fn leftmost(&self) -> [f64; 2] {
        self.right.map(|right| if right < 0.0 { 1.0 } else { 0.0 })
    }
}

/// A sample where it is drawn.
#[derive(Clone, Copy)]
struct Corner {
    dot: [f64; 2],
    /// The place of its loss on the scale, from 0 to 1.
    color: f64,
}

/// Dots that can be wiped again, each with its ink.
#[derive(Debug, PartialEq)]
struct Raster {
    columns: usize,
    rows: usize,
    inks: Vec<Option<usize>>,
}

impl Raster {
    fn new((columns, rows): (usize, usize)) -> Self {
        Self { columns, rows, inks: vec![None; columns * rows] }
    }

    /// The dots that are set, from the left and from the top, and their inks.
    fn dots(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        let columns = self.columns;
        let dots = self.inks.iter().enumerate();
        dots.filter_map(move |(index, ink)| Some((index % columns, index / columns, (*ink)?)))
    }

    /// A straight line, both ends included; `ink` is asked what it has at each share of the way.
    fn line(&mut self, from: [f64; 2], to: [f64; 2], ink: impl Fn(f64) -> usize) {
        let along = [to[0] - from[0], to[1] - from[1]];
        let steps = along[0].abs().max(along[1].abs()).ceil().max(1.0);
        for step in 0..=steps as usize {
            let share = step as f64 / steps;
            let [x, y] = [0, 1].map(|axis| (from[axis] + share * along[axis]).round().max(0.0) as usize);
            if x < self.columns && y < self.rows {
                self.inks[y * self.columns + x] = Some(ink(share));
            }
        }
    }

    /// Wipes a triangle, its border included.
    fn wipe(&mut self, [a, b, c]: [[f64; 2]; 3]) {
        let span = |axis: usize, count: usize| {
            let low = a[axis].min(b[axis]).min(c[axis]).ceil().max(0.0) as usize;
            let end = (a[axis].max(b[axis]).max(c[axis]).floor() + 1.0).max(0.0) as usize;
            low..end.min(count)
        };
        // Positive on one side of the line through two points, negative on the other.
        let side = |from: [f64; 2], to: [f64; 2], [x, y]: [f64; 2]| {
            (to[0] - from[0]) * (y - from[1]) - (to[1] - from[1]) * (x - from[0])
        };
        for y in span(1, self.rows) {
            for x in span(0, self.columns) {
                let dot = [x as f64, y as f64];
                let sides = [side(a, b, dot), side(b, c, dot), side(c, a, dot)];
                if sides.iter().all(|side| *side >= 0.0) || sides.iter().all(|side| *side <= 0.0) {
                    self.inks[y * self.columns + x] = None;
                }
            }
        }
    }
}

/// Where the sample of this number is on a side with so many of them.
fn share(index: usize, samples: usize) -> f64 {
    if samples > 1 { index as f64 / (samples - 1) as f64 } else { 0.5 }
}

/// The numbers below `count`, falling or rising.
fn order(count: usize, falling: bool) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| if falling { count - 1 - index } else { index })
}

/// The lines of a surface that are seen, on so many columns and rows of dots.
fn mesh(surface: &Surface, view: &Projection, size: (usize, usize)) -> Raster {
    let (columns, rows) = (surface.slice.alphas.len(), surface.slice.betas.len());
    let corner = |column: usize, row: usize| {
        let loss = Some(surface.sample((column, row))).filter(|loss| loss.is_finite())?;
        let dot = view.dot([share(column, columns), share(row, rows), surface.height(loss)]);
        Some(Corner { dot, color: surface.scale.place(loss).clamp(0.0, 1.0) })
    };
    let every = [columns, rows].map(|samples| view.spacing(samples));
    let is_ruled =
        |axis: usize, index: usize, samples: usize| index.is_multiple_of(every[axis]) || index + 1 == samples;
    let mut raster = Raster::new(size);
    let [u, v] = view.leftmost();
    raster.line(view.dot([u, v, 0.0]), view.dot([u, v, 1.0]), |_| EDGE);
    // A slice of one row has patches without an extent, whose lines are the surface.
    for row in order((rows - 1).max(1), view.farther[1]) {
        for column in order((columns - 1).max(1), view.farther[0]) {
            let (right, above) = ((column + 1).min(columns - 1), (row + 1).min(rows - 1));
            let corners =
                (corner(column, row), corner(right, row), corner(column, above), corner(right, above));
            // Where a loss is not finite there is a hole.
            let (Some(a), Some(b), Some(c), Some(d)) = corners else { continue };
            raster.wipe([a.dot, b.dot, c.dot]);
            raster.wipe([b.dot, c.dot, d.dot]);
            let edges = [
                (a, b, is_ruled(1, row, rows)),
                (c, d, is_ruled(1, above, rows)),
                (a, c, is_ruled(0, column, columns)),
                (b, d, is_ruled(0, right, columns)),
            ];
            for (from, to, _) in edges.into_iter().filter(|(.., is_ruled)| *is_ruled) {
                let ink = |share: f64| Scale::level_at(from.color + share * (to.color - from.color));
                raster.line(from.dot, to.dot, ink);
            }
        }
    }
    raster
}

/// An arrow in about this direction.
fn arrow([right, up]: [f64; 2]) -> &'static str {
    const ARROWS: [&str; 8] = ["→", "↗", "↑", "↖", "←", "↙", "↓", "↘"];
    ARROWS[(up.atan2(right) / FRAC_PI_4).round().rem_euclid(8.0) as usize % ARROWS.len()]
}

/// Writes a text whose first column and row these are, if nothing is there yet; whether it did comes back.
fn write(text: &str, [column, row]: [f64; 2], style: Style, area: Rect, buffer: &mut Buffer) -> bool {
    let width = text::width(text) as u16;
    let is_inside = column >= 0.0
        && row >= 0.0
        && column.floor() + f64::from(width) <= f64::from(area.width)
        && row < f64::from(area.height);
    if !is_inside {
        return false;
    }
    let place = Rect { x: area.x + column as u16, y: area.y + row as u16, width, height: 1 };
    let is_free = place.positions().all(|cell| buffer[cell].symbol() == " ");
    if is_free {
        Line::styled(text, style).render(place, buffer);
    }
    is_free
}

impl Relief<'_> {
    fn is_plain(&self) -> bool {
        self.marker == Marker::Ascii
    }

    fn lines(&self, raster: &Raster, area: Rect, buffer: &mut Buffer) {
        let Self { map, theme, .. } = *self;
        let ink = |level| if theme.has_color { Style::new().fg(theme.ink(map, level)) } else { Style::new() };
        let mut styles: Vec<Style> = (0..LEVELS).map(ink).collect();
        styles.push(theme.palette.muted);
        if self.is_plain() {
            for (x, y, ink) in raster.dots() {
                // The lowest level is blank where characters fill an area; here it is a line.
                let character = if ink == EDGE { '|' } else { ASCII[ink.max(1)] };
                let cell = (area.x + (x / 2) as u16, area.y + (y / 4) as u16);
                buffer[cell].set_char(character).set_style(styles[ink]);
            }
            return;
        }
        let mut dots = Dots::new(area.width, area.height);
        for (x, y, ink) in raster.dots() {
            dots.set(x, y, ink);
        }
        dots.draw(area, &styles, buffer);
    }

    /// Puts a symbol on the surface over a place. A place outside goes to the edge, as an arrow that points to it.
    fn mark(
        &self,
        place: [f64; 2],
        symbol: &str,
        style: Style,
        (view, area): (&Projection, Rect),
        buffer: &mut Buffer,
    ) {
        let (u, v) = self.surface.place(place[0], place[1]);
        let [out_u, out_v] = [u, v].map(|share| i8::from(share > 1.0) - i8::from(share < 0.0));
        let height = self.surface.loss(u, v).map_or(0.0, |loss| self.surface.height(loss));
        let [x, y] = view.dot([u.clamp(0.0, 1.0), v.clamp(0.0, 1.0), height]);
        let symbol = if (out_u, out_v) == (0, 0) {
            symbol
        } else {
            let (u, v) = (f64::from(out_u), f64::from(out_v));
            arrow([view.right[0] * u + view.right[1] * v, view.up[0] * u + view.up[1] * v])
        };
        let cell = |dot: f64, dots: f64, cells: u16| ((dot.round() / dots) as u16).min(cells - 1);
        let at = (area.x + cell(x, 2.0, area.width), area.y + cell(y, 4.0, area.height));
        let style = if self.theme.has_color { style } else { Style::new().add_modifier(Modifier::REVERSED) };
        buffer[at].set_symbol(symbol).set_style(style.add_modifier(Modifier::BOLD));
    }

    fn marks(&self, on: (&Projection, Rect), buffer: &mut Buffer) {
        let (symbols, palette) = (&self.theme.symbols, &self.theme.palette);
        let plain = self.is_plain();
        if self.weights != [0.0, 0.0] {
            self.mark([0.0, 0.0], if plain { "." } else { &symbols.origin }, palette.title, on, buffer);
        }
        self.mark(self.weights, if plain { "O" } else { &symbols.weights }, palette.title, on, buffer);
        for mark in self.marks {
            self.mark(mark.place, mark.symbol, palette.title, on, buffer);
        }
        if let Some(chosen) = self.chosen {
            let place = [chosen.alpha, chosen.beta];
            self.mark(place, if plain { "X" } else { &symbols.cursor }, palette.accent, on, buffer);
        }
    }

    /// The names of the directions before the edges of the base in front, and the losses at both ends of the vertical
    /// edge, where there is room.
    fn labels(&self, view: &Projection, area: Rect, buffer: &mut Buffer) {
        let muted = self.theme.palette.muted;
        for (axis, name) in ["d1", "d2"].into_iter().enumerate() {
            let across = 1 - axis;
            let arrow = arrow([view.right[axis], view.up[axis]]);
            let text = if self.is_plain() { name.to_owned() } else { format!("{name} {arrow}") };
            for away in [0.1, 0.15, 0.2, 0.3, 0.4] {
                let mut place = [0.5, 0.5, 0.0];
                place[across] = if view.farther[across] { -away } else { 1.0 + away };
                let [x, y] = view.dot(place);
                let first = (x / 2.0 - text::width(&text) as f64 / 2.0).round();
                if write(&text, [first, (y / 4.0).floor()], muted, area, buffer) {
                    break;
                }
            }
        }
        let [u, v] = view.leftmost();
        let Scale { low, high, .. } = self.surface.scale;
        let ends = if high > low { 2 } else { 1 };
        for (height, loss) in [(0.0, low), (1.0, high)].into_iter().take(ends) {
            let [x, y] = view.dot([u, v, height]);
            let text = text::short_number(loss);
            let first = (x.round() / 2.0).floor() - text::width(&text) as f64 - 1.0;
            write(&text, [first, (y.round() / 4.0).floor()], muted, area, buffer);
        }
    }
}

impl Widget for Relief<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        let size = (2 * usize::from(area.width), 4 * usize::from(area.height));
        let view = Projection::new(self.viewpoint, size);
        self.lines(&mesh(self.surface, &view, size), area, buffer);
        self.labels(&view, area, buffer);
        self.marks((&view, area), buffer);
    }
}

#[cfg(test)]
mod tests;
