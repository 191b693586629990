//! A raster of dots, eight a cell, as the Braille patterns of Unicode have them.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

/// The bit of the dot at `[row][column]` of a cell: U+2800 plus the bits is the character.
const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Dots over an area of cells: two columns and four rows a cell.
pub(super) struct Dots {
    cells: (usize, usize),
    bits: Vec<u8>,
    /// Which layer last added a dot to the cell.
    layers: Vec<usize>,
}

impl Dots {
    /// No dots yet, over `width` x `height` cells.
    pub(super) fn new(width: u16, height: u16) -> Self {
        let cells = (usize::from(width), usize::from(height));
        Self { cells, bits: vec![0; cells.0 * cells.1], layers: vec![0; cells.0 * cells.1] }
    }

    /// Columns and rows of dots.
    pub(super) fn size(&self) -> (usize, usize) {
        (2 * self.cells.0, 4 * self.cells.1)
    }

    /// Sets the dot in column `x` of row `y`, from the top. Its cell takes the style of `layer`.
    pub(super) fn set(&mut self, x: usize, y: usize, layer: usize) {
        if x / 2 < self.cells.0 && y / 4 < self.cells.1 {
            let cell = y / 4 * self.cells.0 + x / 2;
            self.layers[cell] = layer;
            self.bits[cell] |= BITS[y % 4][x % 2];
        }
    }

    /// Sets a dot below what is there: the cell keeps the style that it has.
    pub(super) fn under(&mut self, (x, y): (usize, usize), layer: usize) {
        let kept = self.layer((x, y)).unwrap_or(layer);
        self.set(x, y, kept);
    }

    /// The layer whose style the cell of a dot has, if the cell has any dot.
    pub(super) fn layer(&self, (x, y): (usize, usize)) -> Option<usize> {
        self.character(x / 2, y / 4)?;
        self.layers.get(y / 4 * self.cells.0 + x / 2).copied()
    }

    /// A straight line, both ends included.
    pub(super) fn line(&mut self, from: (usize, usize), to: (usize, usize), layer: usize) {
        let (dx, dy) = (to.0 as f64 - from.0 as f64, to.1 as f64 - from.1 as f64);
        let steps = dx.abs().max(dy.abs()).max(1.0);
        for i in 0..=steps as usize {
            let t = i as f64 / steps;
            let place = |start: usize, d: f64| (start as f64 + t * d).round() as usize;
            self.set(place(from.0, dx), place(from.1, dy), layer);
        }
    }

    /// The character of a cell, if it has a dot.
    pub(super) fn character(&self, column: usize, row: usize) -> Option<char> {
        let bits = *self.bits.get(row * self.cells.0 + column)?;
        if bits == 0 { None } else { char::from_u32(0x2800 + u32::from(bits)) }
    }

    /// Draws the cells that have dots, each in the style of its layer.
    pub(super) fn draw(&self, area: Rect, styles: &[Style], buffer: &mut Buffer) {
        for (row, y) in area.rows().take(self.cells.1).enumerate() {
            for (column, place) in y.columns().take(self.cells.0).enumerate() {
                if let Some(character) = self.character(column, row) {
                    let layer = self.layers[row * self.cells.0 + column];
                    let style = styles.get(layer).copied().unwrap_or_default();
                    buffer[(place.x, place.y)].set_char(character).set_style(style);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_land_in_their_cells() {
        let mut dots = Dots::new(2, 1);
        dots.set(0, 0, 0);
        dots.set(3, 3, 0);
        dots.set(4, 0, 0);
        assert_eq!((dots.character(0, 0), dots.character(1, 0)), (Some('⠁'), Some('⢀')));
    }

    #[test]
    fn a_dot_below_leaves_the_style_of_its_cell() {
        let mut dots = Dots::new(2, 1);
        dots.set(0, 0, 1);
        dots.under((1, 3), 0);
        dots.under((2, 0), 0);
        assert_eq!((dots.layer((0, 0)), dots.layer((3, 3))), (Some(1), Some(0)));
        assert_eq!((dots.character(0, 0), dots.character(1, 0)), (Some('⢁'), Some('⠁')));
    }

    #[test]
    fn a_line_has_no_gaps() {
        let mut dots = Dots::new(2, 1);
        dots.line((0, 3), (3, 0), 0);
        assert_eq!((dots.character(0, 0), dots.character(1, 0)), (Some('⡠'), Some('⠊')));
    }
}
