//! The landscape itself: a colour for the level of the loss, contours between levels, and markers.
//!
//! A cell of braille has two colours: the background carries the quantised loss, the dots carry the contours.
//! Without colour an ordered dither carries the loss.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::symbols::pixel::OCTANTS;
use ratatui::widgets::Widget;

use crate::app::{Chosen, Marker};
use crate::theme::{ColorMap, LEVELS, Theme};

use super::braille::Dots;
use super::surface::{Dot, Surface};

/// Thresholds of an ordered dither: the Bayer matrix of order 4.
const BAYER: [[usize; 4]; 4] = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]];

/// Characters of rising weight, for cells of plain text.
pub(super) const ASCII: [char; LEVELS] = [' ', '.', ',', ':', '-', '=', '+', '*', 'o', '%', '#', '@'];

/// Levels from one contour to the next: where contours would cover the picture, there are fewer.
const SPACINGS: [usize; 5] = [1, 2, 3, 4, 6];

/// Whether the dot in column `x` of row `y` is set where the loss has this level.
pub(super) fn dithered(level: usize, x: usize, y: usize) -> bool {
    level * 16 > BAYER[y % 4][x % 4] * (LEVELS - 1)
}

/// A surface over an area of cells.
pub(super) struct Heatmap<'a> {
    pub(super) surface: &'a Surface<'a>,
    pub(super) map: &'a ColorMap,
    pub(super) theme: &'a Theme,
    pub(super) marker: Marker,
    /// The levels in cells of plain text.
    pub(super) characters: &'a [char; LEVELS],
    /// Where the weights are, in units of alpha and beta.
    pub(super) weights: [f64; 2],
    /// Further places.
    pub(super) marks: &'a [Mark],
    /// The place to read.
    pub(super) chosen: Option<Chosen>,
}

/// A place with a symbol of its own.
pub(super) struct Mark {
    /// In units of alpha and beta.
    pub(super) place: [f64; 2],
    /// One column wide.
    pub(super) symbol: &'static str,
}

/// A mark that fills its cell.
pub(super) const SOLID: &str = "■";

impl Heatmap<'_> {
    /// Draws the cells of an area inside the buffer, and nothing over them.
    pub(super) fn cells(&self, area: Rect, buffer: &mut Buffer) {
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let contours = self.contours(area);
        let middles = self.surface.dots(width, height);
        // The parts of a cell, where it has some.
        let (across, down) = match self.marker {
            Marker::HalfBlock if self.theme.has_color => (1, 2),
            Marker::Octant if self.theme.has_color => (2, 4),
            _ => (0, 0),
        };
        let parts = self.surface.dots(across * width, down * height);
        for row in 0..height {
            for column in 0..width {
                let middle = middles[row * width + column];
                let level = |right: usize, below: usize| {
                    let part = parts[(down * row + below) * across * width + across * column + right];
                    part.level().or(middle.level()).unwrap_or(0)
                };
                let cell = &mut buffer[(area.x + column as u16, area.y + row as u16)];
                let (character, style) = match (middle, self.marker) {
                    (Dot::NotFinite, _) => ('×', self.theme.palette.invalid),
                    (dot, Marker::Ascii) => self.ascii(dot),
                    (dot, Marker::HalfBlock) if self.theme.has_color => {
                        self.halves(level(0, 0), level(0, 1), dot)
                    }
                    (dot, Marker::Octant) if self.theme.has_color => {
                        // From the left to the right, then down.
                        self.octants(std::array::from_fn(|bit| level(bit % 2, bit / 2)), dot)
                    }
                    (dot, _) => {
                        let level = dot.level().unwrap_or(0);
                        let style = self.over(level, self.map.line(level));
                        (contours.character(column, row).unwrap_or(' '), style)
                    }
                };
                cell.set_char(character).set_style(style);
            }
        }
    }

    fn over(&self, level: usize, ink: ratatui::style::Color) -> Style {
        if self.theme.has_color { Style::new().fg(ink).bg(self.map.background(level)) } else { Style::new() }
    }

    fn ascii(&self, dot: Dot) -> (char, Style) {
        let level = dot.level().unwrap_or(0);
        let character = match dot {
            Dot::Clipped(0) => 'v',
            Dot::Clipped(_) => '^',
            _ => self.characters[level],
        };
        (character, self.over(level, self.map.line(level)))
    }

    fn clipped(&self, level: usize) -> (char, Style) {
        ('░', self.over(level, self.map.line(level)))
    }

    /// Two colours have to do for the eight levels of a cell: the lowest and the highest of them.
    fn octants(&self, levels: [usize; 8], dot: Dot) -> (char, Style) {
        if let Dot::Clipped(level) = dot {
            return self.clipped(level);
        }
        let (low, high) =
            levels.iter().fold((LEVELS, 0), |(low, high), level| (low.min(*level), high.max(*level)));
        let is_high = |level: usize| low < high && level >= (low + high).div_ceil(2);
        let bits = levels.iter().rfold(0, |bits, level| bits << 1 | usize::from(is_high(*level)));
        (OCTANTS[bits], self.over(low, self.map.background(high)))
    }

    fn halves(&self, upper: usize, lower: usize, dot: Dot) -> (char, Style) {
        if let Dot::Clipped(level) = dot {
            self.clipped(level)
        } else if upper == lower {
            (' ', self.over(lower, self.map.line(lower)))
        } else {
            ('▀', self.over(lower, self.map.background(upper)))
        }
    }

    /// The dots: those of the contours, as many of them as leave most dots free. Without colour, the dither.
    fn contours(&self, area: Rect) -> Dots {
        let mut dots = Dots::new(area.width, area.height);
        let dotted = matches!(self.marker, Marker::Braille | Marker::Picture);
        if !dotted && self.theme.has_color || self.marker == Marker::Ascii {
            return dots;
        }
        let (columns, rows) = dots.size();
        let field = self.surface.dots(columns, rows);
        // On a small picture every second contour is enough.
        let closest = if area.height < 18 { 2 } else { 1 };
        let mut contours = Vec::new();
        for every in SPACINGS.into_iter().filter(|every| self.theme.has_color && *every >= closest) {
            contours = crossings(&field, columns, every);
            if 3 * contours.iter().filter(|is_set| **is_set).count() <= contours.len() {
                break;
            }
        }
        for y in 0..rows {
            for x in 0..columns {
                let here = field[y * columns + x];
                let Some(level) = here.level() else { continue };
                // Beyond an end there is nothing to tell apart; a sparse hatch says so.
                let hatched = matches!(here, Dot::Clipped(_)) && (x + y) % 4 == 0;
                let set = if self.theme.has_color {
                    hatched || contours[y * columns + x]
                } else {
                    dithered(level, x, y) && !hatched
                };
                if set {
                    dots.set(x, y, 0);
                }
            }
        }
        dots
    }

    /// Where the weights are drawn. A movement of less than half a cell is none that can be seen.
    fn weights_on(&self, area: Rect) -> [f64; 2] {
        let (here, origin) =
            (self.surface.place(self.weights[0], self.weights[1]), self.surface.place(0.0, 0.0));
        let is_near = |a: f64, b: f64, cells: u16| (a - b).abs() * f64::from(cells) < 0.5;
        let stays = is_near(here.0, origin.0, area.width) && is_near(here.1, origin.1, area.height);
        if stays { [0.0, 0.0] } else { self.weights }
    }

    /// Puts a symbol over the cell of a place. A place outside goes to the edge, as an arrow that points to it.
    fn mark(&self, [alpha, beta]: [f64; 2], symbol: &str, area: Rect, buffer: &mut Buffer) {
        let (u, v) = self.surface.place(alpha, beta);
        let cell = |place: f64, count: u16| {
            (place.clamp(0.0, 1.0) * f64::from(count)).min(f64::from(count) - 1.0).max(0.0) as u16
        };
        let symbol = match (u, v) {
            (u, _) if u < 0.0 => "←",
            (u, _) if u > 1.0 => "→",
            (_, v) if v < 0.0 => "↓",
            (_, v) if v > 1.0 => "↑",
            _ => symbol,
        };
        let (column, row) = (cell(u, area.width), cell(1.0 - v, area.height));
        let level = self.surface.loss(u, v).map_or(0, |loss| self.surface.scale.level(loss));
        let style = if self.theme.has_color {
            self.over(level, self.map.mark(level)).add_modifier(Modifier::BOLD)
        } else if symbol == SOLID {
            // Reversed it would be a hole.
            Style::reset().add_modifier(Modifier::BOLD)
        } else {
            Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED)
        };
        buffer[(area.x + column, area.y + row)].set_symbol(symbol).set_style(style);
    }
}

/// Where the contours are in a field of so many columns, one every so many levels: at the higher one of two dots
/// between which the level changes.
fn crossings(field: &[Dot], columns: usize, every: usize) -> Vec<bool> {
    let is_higher = |(index, dot): (usize, &Dot)| {
        let Some(level) = dot.level() else { return false };
        let (x, y) = (index % columns, index / columns);
        let lower = |x: usize, y: usize| {
            let other = if x < columns { field.get(y * columns + x) } else { None };
            other.and_then(|other| other.level()).is_some_and(|other| other / every < level / every)
        };
        let above = y > 0 && lower(x, y - 1);
        above || lower(x.wrapping_sub(1), y) || lower(x + 1, y) || lower(x, y + 1)
    };
    field.iter().enumerate().map(is_higher).collect()
}

impl Widget for Heatmap<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        self.cells(area, buffer);
        let symbols = &self.theme.symbols;
        let ascii = self.marker == Marker::Ascii;
        let weights = self.weights_on(area);
        if weights != [0.0, 0.0] {
            self.mark([0.0, 0.0], if ascii { "." } else { &symbols.origin }, area, buffer);
        }
        self.mark(weights, if ascii { "O" } else { &symbols.weights }, area, buffer);
        for mark in self.marks {
            self.mark(mark.place, mark.symbol, area, buffer);
        }
        if let Some(chosen) = self.chosen {
            let place = [chosen.alpha, chosen.beta];
            self.mark(place, if ascii { "X" } else { &symbols.cursor }, area, buffer);
        }
    }
}

#[cfg(test)]
mod tests;
