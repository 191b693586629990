//! Rows of cells over time: a colour for the level of a norm.

use std::ops;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{Marker, Quantity, Strip};
use crate::protocol::TensorNorms;
use crate::theme::{ColorMap, LEVELS, Theme};
use crate::ui::axis::Range;
use crate::ui::braille::Dots;
use crate::ui::heatmap::{ASCII, dithered};
use crate::ui::surface::Scale;
use crate::ui::text;

/// The update of a step over the weights that is a good sign, by a rule of thumb: the course notes of `CS231n`, Neural
/// Networks Part 3, "Ratio of weights:updates".
const HEALTHY: f64 = 1e-3;

/// The least logarithm of the highest colour over the lowest: what rounding alone makes differ has no colours.
const LEAST: f64 = 0.1;

/// The norms of a row at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Norms {
    pub(super) gradient: f64,
    pub(super) weight: f64,
    pub(super) update: f64,
}

impl Norms {
    /// The norm of tensors taken together is the root of the sum of the squares of theirs. It is not finite where one
    /// is missing.
    pub(super) fn of(row: &Strip, at: &TensorNorms) -> Self {
        let together = |norms: &[f32]| {
            let square = |norm: &f32| f64::from(*norm).powi(2);
            norms.get(row.tensors()).map_or(f64::NAN, |norms| norms.iter().map(square).sum::<f64>().sqrt())
        };
        Self {
            gradient: together(&at.gradients),
            weight: together(&at.weights),
            update: together(&at.updates),
        }
    }

    /// One of what is shown.
    pub(super) fn get(&self, quantity: Quantity) -> f64 {
        match quantity {
            Quantity::Gradient => self.gradient,
            Quantity::Weight => self.weight,
            // What is zero and stays so has not moved.
            Quantity::Ratio if self.update == 0.0 => 0.0,
            Quantity::Ratio => self.update / self.weight,
        }
    }
}

/// A number in about two digits: `1.2e-3`, `.83`, `250`.
pub(super) fn digits(value: f64) -> String {
    let is_plain = value == 0.0 || !value.is_finite() || (0.095..1e4).contains(&value);
    if is_plain { text::short_number(value) } else { format!("{value:.1e}") }
}

/// What cells are drawn with.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) theme: &'a Theme,
    pub(super) map: &'a ColorMap,
    pub(super) marker: Marker,
}

/// What a cell shows.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shade {
    Level(usize),
    Zero,
    NotFinite,
}

impl Look<'_> {
    /// Draws a row of cells, and a line through the marked one.
    fn paint(&self, shades: &[Shade], marked: Option<usize>, area: Rect, buffer: &mut Buffer) {
        let (palette, has_color) = (&self.theme.palette, self.theme.has_color);
        let is_ascii = self.marker == Marker::Ascii;
        let dither = dither(shades);
        for (column, (shade, place)) in shades.iter().zip(area.columns()).enumerate() {
            let cell = &mut buffer[(place.x, place.y)];
            let (character, style) = match *shade {
                Shade::NotFinite => ('×', palette.invalid),
                Shade::Zero => (if is_ascii { '0' } else { '·' }, palette.muted),
                // Without an ink of their own, neighbours of a level are one run of spaces.
                Shade::Level(level) if has_color && !is_ascii => (' ', self.ground(level)),
                Shade::Level(level) if has_color => {
                    (ASCII[level], self.ground(level).fg(self.map.line(level)))
                }
                Shade::Level(level) if is_ascii => (ASCII[level], Style::new()),
                Shade::Level(_) => (dither.character(column, 0).unwrap_or(' '), Style::new()),
            };
            cell.set_char(character).set_style(style);
            if marked != Some(column) {
                continue;
            }
            match *shade {
                Shade::Level(level) => {
                    let ink = if has_color { Style::new().fg(self.map.mark(level)) } else { palette.title };
                    cell.set_symbol(self.line()).set_style(ink);
                }
                Shade::Zero | Shade::NotFinite => cell.modifier.insert(Modifier::REVERSED),
            }
        }
    }

    fn ground(&self, level: usize) -> Style {
        Style::new().bg(self.map.background(level))
    }

    /// What marks a cell.
    fn line(&self) -> &'static str {
        if self.marker == Marker::Ascii { "|" } else { "│" }
    }
}

/// The levels as dots, for a screen without colours.
fn dither(shades: &[Shade]) -> Dots {
    let mut dots = Dots::new(shades.len() as u16, 1);
    for (column, shade) in shades.iter().enumerate() {
        let Shade::Level(level) = *shade else { continue };
        for x in 2 * column..2 * column + 2 {
            for y in (0..4).filter(|y| dithered(level, x, *y)) {
                dots.set(x, y, 0);
            }
        }
    }
    dots
}

/// One quantity of all rows over time.
pub(super) struct Strips {
    quantity: Quantity,
    /// By row and column; 0 where there is none, and not finite where it is not.
    cells: Vec<Vec<f64>>,
    /// The logarithms at the bottom and at the top of the colours; `None` where nothing is above 0.
    scale: Option<Range>,
    /// Some values above 0 lie below the bottom.
    clipped: bool,
}

/// Which of so many steps a column shows, of so many columns: some that follow each other where there are more steps
/// than columns, and one else.
fn span(steps: usize, columns: usize, column: usize) -> ops::Range<usize> {
    let first = column * steps / columns;
    first..((column + 1) * steps / columns).max(first + 1)
}

/// The last of the steps that a column shows.
pub(super) fn step_of(column: usize, steps: usize, columns: u16) -> usize {
    span(steps, usize::from(columns).max(1), column).end - 1
}

/// The column in which the line through a step stands: the middle one of its own.
pub(super) fn column_of(step: usize, steps: usize, columns: u16) -> Option<usize> {
    let columns = usize::from(columns);
    let own: Vec<usize> =
        (0..columns).filter(|column| span(steps, columns, *column).contains(&step)).collect();
    own.get(own.len() / 2).copied()
}

impl Strips {
    /// The greatest of the values that share a cell is shown: a shock of one step must not vanish among its
    /// neighbours. One that is not finite is greater than all.
    pub(super) fn new(rows: &[Strip], steps: &[TensorNorms], quantity: Quantity, columns: u16) -> Self {
        let columns = usize::from(columns);
        let greater = |a: f64, b: f64| if a.is_finite() && b.is_finite() { a.max(b) } else { f64::NAN };
        let values = |row: &Strip| steps.iter().map(|at| Norms::of(row, at).get(quantity)).collect();
        let values: Vec<Vec<f64>> = rows.iter().map(values).collect();
        let row = |values: &Vec<f64>| -> Vec<f64> {
            let cell = |column| {
                values
                    .get(span(values.len(), columns, column))
                    .map_or(f64::NAN, |shared| shared.iter().copied().fold(0.0, greater))
            };
            (0..columns).map(cell).collect()
        };
        let cells: Vec<Vec<f64>> = values.iter().map(row).collect();
        let scale = scale(&cells);
        let is_below = |value: f64| value > 0.0 && scale.is_some_and(|scale| value.ln() < scale.low - 1e-9);
        let clipped = values.into_iter().flatten().any(is_below);
        Self { quantity, cells, scale, clipped }
    }

    fn shade(&self, value: f64) -> Shade {
        match self.scale {
            _ if !value.is_finite() => Shade::NotFinite,
            Some(scale) if value > 0.0 => Shade::Level(Scale::level_at(scale.place(value.ln()))),
            _ => Shade::Zero,
        }
    }

    /// Draws a row.
    pub(super) fn draw(
        &self,
        row: usize,
        marked: Option<usize>,
        look: Look<'_>,
        area: Rect,
        buffer: &mut Buffer,
    ) {
        let Some(cells) = self.cells.get(row) else { return };
        let shades: Vec<Shade> = cells.iter().map(|value| self.shade(*value)).collect();
        look.paint(&shades, marked, area, buffer);
    }

    /// What it is, and the sign of what is healthy where that is among the colours.
    pub(super) fn heading(&self, look: Look<'_>) -> String {
        let name = self.quantity.name();
        match self.healthy() {
            Some(_) => format!("{name}, {} is {HEALTHY:.0e}", look.line()),
            None => name.to_owned(),
        }
    }

    /// Where on the colours the healthy ratio is, from 0 to 1.
    fn healthy(&self) -> Option<f64> {
        let scale = self.scale.filter(|_| self.quantity == Quantity::Ratio)?;
        let log = HEALTHY.ln();
        (scale.low..=scale.high).contains(&log).then(|| scale.place(log))
    }

    /// One row: the lowest number, the colours, the highest. Values below the lowest have its colour.
    pub(super) fn legend(&self, look: Look<'_>, area: Rect, buffer: &mut Buffer) {
        let muted = look.theme.palette.muted;
        let Some(scale) = self.scale else {
            Line::from(Span::styled("nothing above 0", muted)).render(area, buffer);
            return;
        };
        let [low, high] = [scale.low, scale.high].map(|log| digits(log.exp()));
        let below = match look.marker {
            _ if !self.clipped => "",
            Marker::Ascii => "<=",
            _ => "≤",
        };
        let low = format!("{below}{low}");
        let (before, after) = (text::width(&low) as u16 + 1, text::width(&high) as u16 + 1);
        if area.is_empty() || area.width < before + after + 2 {
            return;
        }
        let bar = Rect { x: area.x + before, width: area.width - before - after, ..area };
        let columns = usize::from(bar.width);
        let shades: Vec<Shade> = (0..columns).map(|column| Shade::Level(column * LEVELS / columns)).collect();
        let mark = self.healthy().map(|place| ((place * columns as f64) as usize).min(columns - 1));
        look.paint(&shades, mark, bar, buffer);
        Line::from(Span::styled(low, muted)).render(area, buffer);
        Line::from(Span::styled(high, muted)).right_aligned().render(area, buffer);
    }
}

/// From the 2nd percentile to the greatest, in logarithms: what is next to nothing for a moment takes no colours from
/// the others.
fn scale(cells: &[Vec<f64>]) -> Option<Range> {
    let positive = cells.iter().flatten().copied().filter(|value| value.is_finite() && *value > 0.0);
    let mut logs: Vec<f64> = positive.map(f64::ln).collect();
    logs.sort_unstable_by(f64::total_cmp);
    let (low, high) = (*logs.get(logs.len().saturating_sub(1) * 2 / 100)?, *logs.last()?);
    let more = (LEAST - (high - low)).max(0.0) / 2.0;
    Some(Range { low: low - more, high: high + more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_has_a_cell_and_every_cell_a_step() {
        for steps in 1..60 {
            for columns in 1..60 {
                let spans: Vec<_> = (0..columns).map(|column| span(steps, columns, column)).collect();
                assert_eq!((spans[0].start, spans[columns - 1].end), (0, steps));
                assert!(spans.iter().all(|span| !span.is_empty()));
                assert!(spans.windows(2).all(|pair| [pair[0].start, pair[0].end].contains(&pair[1].start)));
                for step in 0..steps {
                    let column = column_of(step, steps, columns as u16).unwrap();
                    assert!(spans[column].contains(&step), "{step} of {steps} in {columns}");
                }
            }
        }
        assert_eq!(column_of(0, 5, 0), None);
        assert_eq!(column_of(1, 3, 30), Some(15));
    }

    #[test]
    fn the_colours_go_from_the_second_percentile_to_the_greatest() {
        let mut cells =
            vec![(1..=100).map(f64::from).collect::<Vec<_>>(), vec![0.0, f64::NAN, f64::INFINITY]];
        let range = scale(&cells).unwrap();
        assert!((range.low.exp() - 2.0).abs() < 1e-9 && (range.high.exp() - 100.0).abs() < 1e-9);
        cells[0].clear();
        assert_eq!(scale(&cells), None);
        let alike = scale(&[vec![2.0, 2.000_000_1]]).unwrap();
        assert!((alike.high - alike.low - LEAST).abs() < 1e-9);
    }

    #[test]
    fn numbers_have_two_digits() {
        let values = [0.001_23, 0.83, 4.14, 250.0, 41_000.0, 0.0, f64::NAN, f64::INFINITY];
        assert_eq!(values.map(digits), ["1.2e-3", ".83", "4.1", "250", "4.1e4", "0", "NaN", "inf"]);
    }

    #[test]
    fn what_does_not_move_has_no_ratio_and_what_is_missing_is_not_finite() {
        let at = |weight, update| Norms { gradient: 1.0, weight, update }.get(Quantity::Ratio);
        assert_eq!((at(0.0, 0.0), at(4.0, 0.0), at(4.0, 1.0)), (0.0, 0.0, 0.25));
        assert!(at(0.0, 1.0).is_infinite() && at(f64::NAN, 1.0).is_nan());
    }
}
