//! Characters that are pictures, as paths of SVG: what a font makes of them seldom meets from cell to cell.

/// Units of a cell's width and height, so that its dots, eighths and halves lie on whole numbers.
pub(super) const WIDTH: u32 = 8;
pub(super) const HEIGHT: u32 = 16;

/// Where the dots of a braille character are, in the order of its bits.
const DOTS: [(u32, u32); 8] = [(2, 2), (2, 6), (2, 10), (6, 2), (6, 6), (6, 10), (2, 14), (6, 14)];

/// The quadrants of `▖` to `▟`: bits for the upper left one, the upper right, the lower left, the lower right.
const QUADRANTS: [u32; 10] = [4, 8, 1, 13, 9, 7, 11, 2, 6, 14];

/// The lines of frames: across, down, and the corners at the upper left, upper right, lower left and lower right.
const LINES: [(&str, Stroke); 4] = [
    ("─│┌┐└┘", Stroke::Light),
    ("─│╭╮╰╯", Stroke::Round),
    ("━┃┏┓┗┛", Stroke::Heavy),
    ("═║╔╗╚╝", Stroke::Double),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stroke {
    Light,
    /// Light, with round corners.
    Round,
    Heavy,
    /// Two light ones.
    Double,
}

/// What is drawn in one colour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Paths {
    /// Areas to fill.
    pub(super) filled: String,
    /// Light lines.
    pub(super) light: Pen,
    /// Heavy lines.
    pub(super) heavy: Pen,
    /// Dots, as lines without length.
    pub(super) dots: String,
}

/// Lines being drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Pen {
    /// The path so far.
    pub(super) path: String,
    /// Where a line across has ended: the next one may go on from there.
    at: Option<(u32, u32)>,
}

impl Pen {
    fn across(&mut self, x: u32, y: u32) {
        if self.at != Some((x, y)) {
            self.path.push_str(&format!("M{x} {y}"));
        }
        self.path.push_str(&format!("h{WIDTH}"));
        self.at = Some((x + WIDTH, y));
    }

    fn draw(&mut self, path: &str) {
        self.path.push_str(path);
        self.at = None;
    }

    fn down(&mut self, x: u32, y: u32) {
        self.draw(&format!("M{x} {y}v{HEIGHT}"));
    }

    /// From `(from, y)` across to x, and from there down or up.
    fn bend(&mut self, from: u32, (x, y): (u32, u32), to: u32) {
        self.draw(&format!("M{from} {y}H{x}V{to}"));
    }
}

impl Paths {
    /// Draws what is in the cell whose upper left corner is there, if it is a picture; tells whether it is one.
    pub(super) fn add(&mut self, symbol: &str, x: u32, y: u32) -> bool {
        let mut characters = symbol.chars();
        let (Some(character), None) = (characters.next(), characters.next()) else { return false };
        match character {
            '\u{2800}'..='\u{28ff}' => self.dots(character as u32 - 0x2800, x, y),
            '▖'..='▟' => self.quadrants(QUADRANTS[(character as u32 - 0x2596) as usize], x, y),
            _ => {
                if let Some([left, top, width, height]) = block(character) {
                    rectangle(&mut self.filled, [x + left, y + top, width, height]);
                } else if let Some((stroke, place)) = line(character) {
                    self.line(stroke, place, x, y);
                } else {
                    return false;
                }
            }
        }
        true
    }

    fn dots(&mut self, pattern: u32, x: u32, y: u32) {
        for (bit, (right, down)) in DOTS.into_iter().enumerate() {
            if pattern & (1 << bit) != 0 {
                self.dots.push_str(&format!("M{} {}h0", x + right, y + down));
            }
        }
    }

    fn quadrants(&mut self, set: u32, x: u32, y: u32) {
        let (width, height) = (WIDTH / 2, HEIGHT / 2);
        for bit in (0..4).filter(|bit| set & (1 << bit) != 0) {
            rectangle(&mut self.filled, [x + bit % 2 * width, y + bit / 2 * height, width, height]);
        }
    }

    /// The line at this place of its row in [`LINES`].
    fn line(&mut self, stroke: Stroke, place: usize, x: u32, y: u32) {
        let (middle, double) = ((x + WIDTH / 2, y + HEIGHT / 2), stroke == Stroke::Double);
        let pen = if stroke == Stroke::Heavy { &mut self.heavy } else { &mut self.light };
        match place {
            0 if double => {
                pen.across(x, y + 6);
                pen.across(x, y + 10);
            }
            0 => pen.across(x, middle.1),
            1 if double => {
                pen.down(x + 2, y);
                pen.down(x + 6, y);
            }
            1 => pen.down(middle.0, y),
            _ => {
                // The corner at the upper left has its lines to the right and down, and so on.
                let (right, down) = (place.is_multiple_of(2), place < 4);
                let (from, to) = (x + if right { WIDTH } else { 0 }, y + if down { HEIGHT } else { 0 });
                match stroke {
                    Stroke::Light | Stroke::Heavy => pen.bend(from, middle, to),
                    Stroke::Round => {
                        let (x, y) = middle;
                        let end = if down { y + 4 } else { y - 4 };
                        pen.draw(&format!("M{from} {y}Q{x} {y} {x} {end}V{to}"));
                    }
                    Stroke::Double => {
                        let (near, far) = ((x + 2, y + 6), (x + 6, y + 10));
                        let outer = (if right { near.0 } else { far.0 }, if down { near.1 } else { far.1 });
                        let inner = (if right { far.0 } else { near.0 }, if down { far.1 } else { near.1 });
                        pen.bend(from, outer, to);
                        pen.bend(from, inner, to);
                    }
                }
            }
        }
    }
}

/// Adds a rectangle to a path: left, top, width and height.
pub(super) fn rectangle(path: &mut String, [left, top, width, height]: [u32; 4]) {
    path.push_str(&format!("M{left} {top}h{width}v{height}h-{width}z"));
}

/// How much of a cell a shade covers with its ink.
pub(super) fn shade(symbol: &str) -> Option<f32> {
    match symbol {
        "░" => Some(0.25),
        "▒" => Some(0.5),
        "▓" => Some(0.75),
        _ => None,
    }
}

/// The part of a cell that a block fills: left, top, width and height.
fn block(character: char) -> Option<[u32; 4]> {
    let code = character as u32;
    match character {
        '▀' => Some([0, 0, WIDTH, HEIGHT / 2]),
        '▁'..='█' => {
            let height = (code - 0x2580) * HEIGHT / 8;
            Some([0, HEIGHT - height, WIDTH, height])
        }
        '▉'..='▏' => Some([0, 0, (0x2590 - code) * WIDTH / 8, HEIGHT]),
        '▐' => Some([WIDTH / 2, 0, WIDTH / 2, HEIGHT]),
        '▔' => Some([0, 0, WIDTH, HEIGHT / 8]),
        '▕' => Some([WIDTH * 7 / 8, 0, WIDTH / 8, HEIGHT]),
        _ => None,
    }
}

/// The stroke of a line, and its place in the row of [`LINES`].
fn line(character: char) -> Option<(Stroke, usize)> {
    LINES.iter().find_map(|(characters, stroke)| {
        let place = characters.chars().position(|known| known == character)?;
        Some((*stroke, place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(symbols: &str) -> Paths {
        let mut paths = Paths::default();
        for (column, symbol) in (0..).zip(symbols.chars()) {
            assert!(paths.add(&symbol.to_string(), column * WIDTH, HEIGHT), "{symbol}");
        }
        paths
    }

    #[test]
    fn a_braille_cell_becomes_its_dots() {
        assert_eq!(drawn("⠁⢀").dots, "M2 18h0M14 30h0");
        assert_eq!(drawn("⣿").dots.matches("h0").count(), 8);
        assert_eq!(drawn("\u{2800}"), Paths::default());
    }

    #[test]
    fn blocks_fill_their_part_of_a_cell() {
        let filled = [
            ("█", "M0 16h8v16h-8z"),
            ("▀", "M0 16h8v8h-8z"),
            ("▁", "M0 30h8v2h-8z"),
            ("▇", "M0 18h8v14h-8z"),
            ("▉", "M0 16h7v16h-7z"),
            ("▏", "M0 16h1v16h-1z"),
            ("▐", "M4 16h4v16h-4z"),
            ("▕", "M7 16h1v16h-1z"),
            ("▚", "M0 16h4v8h-4zM4 24h4v8h-4z"),
        ];
        for (symbol, path) in filled {
            assert_eq!(drawn(symbol).filled, path, "{symbol}");
        }
    }

    #[test]
    fn lines_go_on_from_cell_to_cell_and_corners_bend() {
        assert_eq!(drawn("┌──┐").light.path, "M8 24H4V32M8 24h8h8M24 24H28V32");
        assert_eq!(drawn("╰").light.path, "M8 24Q4 24 4 20V16");
        assert_eq!(drawn("┃┛").heavy.path, "M4 16v16M8 24H12V16");
        assert_eq!(drawn("╔").light.path, "M8 22H2V32M8 26H6V32");
        assert_eq!(drawn("║").light.path, "M2 16v16M6 16v16");
    }

    #[test]
    fn text_is_no_picture() {
        for symbol in ["a", "", "漢", "◉", "e\u{301}", "█\u{301}"] {
            assert!(!Paths::default().add(symbol, 0, 0), "{symbol}");
        }
    }
}
