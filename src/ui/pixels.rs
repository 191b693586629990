//! The map of a slice in pixels, for terminals that show pictures.

use std::hash::{DefaultHasher, Hash, Hasher};

use ratatui::layout::Rect;
use ratatui::style::Color;

use super::heatmap::Mark;
use super::surface::{Dot, Surface};
use crate::app::Chosen;
use crate::theme::{ColorMap, LEVELS, Theme, rgb};

type Rgb = [u8; 3];

/// Pixels from one line of a hatch to the next.
const HATCH: usize = 8;

/// A map to be drawn in pixels over the cells that show it: the level of the loss, thin contours and markers.
pub struct PixelMap<'a> {
    /// Which of the maps of a screen it is: the same from frame to frame.
    pub number: u8,
    /// The cells on the screen.
    pub cells: Rect,
    surface: Surface<'a>,
    inks: Inks,
    /// Places in units of alpha and beta, the one on top last.
    marks: Vec<([f64; 2], Shape)>,
}

/// The colours of a map.
#[derive(Hash)]
struct Inks {
    levels: [Rgb; LEVELS],
    lines: [Rgb; LEVELS],
    marks: [Rgb; LEVELS],
    /// Where the loss is not finite: between the lines of the hatch, and on them.
    invalid: [Rgb; 2],
}

impl Inks {
    fn new(map: &ColorMap, theme: &Theme) -> Self {
        // The levels of a theme with colours are never the terminal's own.
        let black = |color| rgb(color, [0; 3]);
        let (invalid, base) = (theme.palette.invalid, theme.palette.base);
        Self {
            levels: std::array::from_fn(|level| black(map.background(level))),
            lines: std::array::from_fn(|level| black(map.line(level))),
            marks: std::array::from_fn(|level| black(map.mark(level))),
            invalid: [
                black(invalid.bg.or(base.bg).unwrap_or(Color::Reset)),
                rgb(invalid.fg.or(base.fg).unwrap_or(Color::Reset), [128; 3]),
            ],
        }
    }
}

/// What marks a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Shape {
    /// A ring: where the weights were.
    Origin,
    /// A disc in a ring: where they are.
    Weights,
    /// A cross: the place to read.
    Cursor,
    /// An arrow on the edge, to the right and down: the place is outside.
    Arrow(i8, i8),
    /// A letter, five columns in seven rows: a further place.
    Letter([u8; 7]),
}

impl Shape {
    /// A further place of this symbol; the letters are those of two models.
    fn of(symbol: &str) -> Self {
        match symbol {
            "A" => Self::Letter([0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001]),
            "B" => Self::Letter([0b11110, 0b10001, 0b10001, 0b11110, 0b10001, 0b10001, 0b11110]),
            _ => Self::Origin,
        }
    }

    /// Whether the shape is drawn at this distance from its place, in units of its size; `None` outside of it.
    fn covers(self, right: f64, down: f64) -> Option<bool> {
        let distance = right.hypot(down);
        match self {
            Self::Origin => (distance < 1.2).then_some((0.6..=1.0).contains(&distance)),
            Self::Weights => (distance < 1.2).then_some(distance <= 0.45 || (0.7..=1.0).contains(&distance)),
            Self::Cursor => {
                let (near, far) = (right.abs().min(down.abs()), right.abs().max(down.abs()));
                (near <= 0.2 && far <= 1.0).then_some(true)
            }
            Self::Arrow(x, y) => {
                let along = right * f64::from(x) + down * f64::from(y);
                let across = right * f64::from(y) - down * f64::from(x);
                (-2.0..=0.0).contains(&along).then_some(true).filter(|_| across.abs() <= -along / 2.0)
            }
            Self::Letter(rows) => {
                // A blank column and row around it.
                let (column, row) = (right * 3.5 + 3.5, down * 4.5 + 4.5);
                let inside = (0.0..7.0).contains(&column) && (0.0..9.0).contains(&row);
                let row = (row as usize).checked_sub(1).and_then(|row| rows.get(row)).copied().unwrap_or(0);
                inside.then(|| (row << column as u32) & 0b10_0000 != 0)
            }
        }
    }
}

impl<'a> PixelMap<'a> {
    /// The map of this number of a surface, with the weights at this place in units of alpha and beta, and further
    /// places.
    pub(super) fn new(
        (number, cells): (u8, Rect),
        surface: Surface<'a>,
        (map, theme): (&ColorMap, &Theme),
        weights: [f64; 2],
        further: &[Mark],
        chosen: Option<Chosen>,
    ) -> Self {
        let mut marks = Vec::new();
        if weights != [0.0, 0.0] {
            marks.push(([0.0; 2], Shape::Origin));
        }
        marks.push((weights, Shape::Weights));
        marks.extend(further.iter().map(|mark| (mark.place, Shape::of(mark.symbol))));
        marks.extend(chosen.map(|chosen| ([chosen.alpha, chosen.beta], Shape::Cursor)));
        Self { number, cells, surface, inks: Inks::new(map, theme), marks }
    }

    /// A number that is another one where the pixels would be others. It costs little beside them.
    pub fn fingerprint(&self, width: u32, height: u32) -> u64 {
        let mut hasher = DefaultHasher::new();
        let slice = self.surface.slice;
        (width, height, slice.alphas.len(), self.surface.scale.stretch() as u8).hash(&mut hasher);
        for loss in &slice.loss {
            loss.to_bits().hash(&mut hasher);
        }
        self.inks.hash(&mut hasher);
        for (place, shape) in &self.marks {
            self.spot(*place, *shape, width as usize, height as usize).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The pixels, `width * height * 3` bytes: red, green, blue, row by row from the upper left.
    pub fn pixels(&self, width: u32, height: u32) -> Vec<u8> {
        let (columns, rows) = (width as usize, height as usize);
        let field = self.surface.dots(columns, rows);
        let level = |x: usize, y: usize| {
            if x < columns && y < rows { field[y * columns + x].level() } else { None }
        };
        let mut pixels = Vec::with_capacity(3 * field.len());
        for (at, dot) in field.iter().enumerate() {
            let (x, y) = (at % columns, at / columns);
            // Lines that fall, and lines that rise.
            let (falls, rises) = ((x + (HATCH - 1) * y).is_multiple_of(HATCH), (x + y).is_multiple_of(HATCH));
            let around = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
            let is_line =
                |here: usize| around.into_iter().any(|(x, y)| level(x, y).is_some_and(|level| level < here));
            pixels.extend(match *dot {
                Dot::NotFinite => self.inks.invalid[usize::from(falls || rises)],
                Dot::Clipped(here) if rises || is_line(here) => self.inks.lines[here],
                Dot::Level(here) if is_line(here) => self.inks.lines[here],
                Dot::Clipped(here) | Dot::Level(here) => self.inks.levels[here],
            });
        }
        for (place, shape) in &self.marks {
            let (x, y, shape) = self.spot(*place, *shape, columns, rows);
            self.mark((x, y), shape, level(x, y).unwrap_or(0), columns, &mut pixels);
        }
        pixels
    }

    /// The pixel of a place, and what is drawn there: a place outside is an arrow on the edge.
    fn spot(
        &self,
        [alpha, beta]: [f64; 2],
        shape: Shape,
        columns: usize,
        rows: usize,
    ) -> (usize, usize, Shape) {
        let (u, v) = self.surface.place(alpha, beta);
        let pixel = |place: f64, count: usize| {
            ((place.clamp(0.0, 1.0) * count as f64) as usize).min(count.saturating_sub(1))
        };
        let shape = match (u, v) {
            (u, _) if u < 0.0 => Shape::Arrow(-1, 0),
            (u, _) if u > 1.0 => Shape::Arrow(1, 0),
            (_, v) if v < 0.0 => Shape::Arrow(0, 1),
            (_, v) if v > 1.0 => Shape::Arrow(0, -1),
            _ => shape,
        };
        (pixel(u, columns), pixel(1.0 - v, rows), shape)
    }

    /// Draws a shape around a pixel, on a ground of its own: contours would be taken for a part of it.
    fn mark(&self, (x, y): (usize, usize), shape: Shape, level: usize, columns: usize, pixels: &mut [u8]) {
        let rows = (pixels.len() / 3).checked_div(columns).unwrap_or(0);
        let size = (columns.min(rows) as f64 / 40.0).clamp(2.0, 9.0);
        let reach = (2.0 * size) as usize;
        for row in y.saturating_sub(reach)..(y + reach + 1).min(rows) {
            for column in x.saturating_sub(reach)..(x + reach + 1).min(columns) {
                let away = |to: usize, from: usize| (to as f64 - from as f64) / size;
                let color = match shape.covers(away(column, x), away(row, y)) {
                    Some(true) => self.inks.marks[level],
                    Some(false) => self.inks.levels[level],
                    None => continue,
                };
                let at = 3 * (row * columns + column);
                pixels[at..at + 3].copy_from_slice(&color);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::fixture;
    use super::*;
    use crate::app::Stretch;
    use crate::protocol::Slice;
    use crate::theme::ColorDepth;

    fn theme() -> Theme {
        Theme::named("dark", ColorDepth::True).unwrap()
    }

    fn map(slice: &Slice, weights: [f64; 2], chosen: Option<Chosen>) -> PixelMap<'_> {
        let (theme, surface) = (theme(), Surface::new(slice, Stretch::Linear).unwrap());
        PixelMap::new((0, Rect::new(0, 0, 10, 5)), surface, (&theme.maps[0], &theme), weights, &[], chosen)
    }

    fn bowl() -> Slice {
        fixture::slice(17, |alpha, beta| 2.0 + (alpha * alpha + beta * beta) as f32)
    }

    /// The colour of a pixel of a picture that wide.
    fn pixel(pixels: &[u8], width: usize, x: usize, y: usize) -> Rgb {
        let at = 3 * (y * width + x);
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    }

    fn colors(pixels: &[u8]) -> BTreeSet<Rgb> {
        pixels.chunks(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
    }

    #[test]
    fn pictures_of_any_size_have_all_their_pixels() {
        let (slice, chosen) = (bowl(), Chosen { alpha: 1.0, beta: -1.0 });
        for (width, height) in [(0, 0), (1, 1), (1, 7), (7, 1), (3, 2), (64, 64), (600, 400)] {
            for weights in [[0.0, 0.0], [0.3, -0.2], [9.0, 0.0], [0.0, -9.0]] {
                let pixels = map(&slice, weights, Some(chosen)).pixels(width, height);
                assert_eq!(pixels.len(), (3 * width * height) as usize, "{width}x{height}");
            }
        }
    }

    #[test]
    fn a_bowl_has_the_colours_of_its_levels_and_contours_between_them() {
        let slice = bowl();
        let map = map(&slice, [0.0, 0.0], None);
        let (pixels, inks) = (map.pixels(200, 200), &map.inks);
        let found = colors(&pixels);
        assert!(inks.levels.iter().all(|level| found.contains(level)), "every level is there");
        assert_eq!(pixel(&pixels, 200, 0, 0), inks.levels[LEVELS - 1], "the corners are highest");
        let row: Vec<Rgb> = (100..200).map(|x| pixel(&pixels, 200, x, 100)).collect();
        let lines = row.iter().filter(|color| inks.lines.contains(color)).count();
        assert!((5..=LEVELS).contains(&lines), "thin contours to the right of the middle: {lines}");
        let known = inks.levels.iter().chain(&inks.lines).chain(&inks.marks).copied().collect();
        assert!(found.is_subset(&known), "few colours: they are what keeps it small");
    }

    #[test]
    fn beta_points_up_and_alpha_to_the_right() {
        let slice = fixture::slice(9, |alpha, beta| 10.0 + (alpha + 2.0 * beta) as f32);
        let map = map(&slice, [0.0, 0.0], None);
        let pixels = map.pixels(90, 90);
        assert_eq!(pixel(&pixels, 90, 0, 89), map.inks.levels[0]);
        assert_eq!(pixel(&pixels, 90, 89, 0), map.inks.levels[LEVELS - 1]);
        let level = |x, y| map.inks.levels.iter().position(|level| *level == pixel(&pixels, 90, x, y));
        assert_eq!((level(4, 4), level(85, 85)), (Some(7), Some(4)));
    }

    #[test]
    fn the_weights_their_origin_and_the_cursor_are_where_they_are() {
        let slice = bowl();
        let chosen = Chosen { alpha: -0.5, beta: 0.5 };
        let map = map(&slice, [0.5, 0.5], Some(chosen));
        let pixels = map.pixels(400, 400);
        let marked = |x, y| map.inks.marks.contains(&pixel(&pixels, 400, x, y));
        assert!(marked(300, 100), "a disc");
        assert!(marked(100, 100) && marked(107, 100) && marked(100, 107) && !marked(107, 107), "a cross");
        assert!(!marked(200, 200) && marked(207, 200) && marked(200, 193), "a ring");
        assert!(!marked(350, 350));
    }

    #[test]
    fn further_places_are_letters() {
        let (slice, theme) = (bowl(), theme());
        let picture = |marks: &[Mark]| {
            let surface = Surface::new(&slice, Stretch::Linear).unwrap();
            let on = ((0, Rect::default()), (&theme.maps[0], &theme));
            PixelMap::new(on.0, surface, on.1, [0.0; 2], marks, None).pixels(400, 400)
        };
        let marked = |symbol| {
            let pixels = picture(&[Mark { place: [0.5, 0.5], symbol }]);
            let marks = map(&slice, [0.0; 2], None).inks.marks;
            let ink = |x, y| marks.contains(&pixel(&pixels, 400, x, y));
            // The middle column of the letter, and its left one.
            let column = |x: usize| (88..113).filter(|y| ink(x, *y)).count();
            (column(300), column(295))
        };
        let ((a, a_left), (b, b_left)) = (marked("A"), marked("B"));
        assert!(a > 0 && b > a, "two bars and three: {a} {b}");
        assert!(a_left > a && b_left > a_left, "a stem that is whole in one of them: {a_left} {b_left}");
    }

    #[test]
    fn weights_outside_are_an_arrow_on_the_edge() {
        let slice = bowl();
        let map = map(&slice, [5.0, 0.0], None);
        let pixels = map.pixels(400, 400);
        let marked = |x, y| map.inks.marks.contains(&pixel(&pixels, 400, x, y));
        assert!(marked(399, 200) && marked(390, 203) && !marked(399, 203), "its tip points out");
    }

    #[test]
    fn what_is_not_finite_is_hatched_and_looks_like_nothing_else() {
        let mut slice = bowl();
        slice.loss[0] = f32::NAN;
        slice.loss[16] = f32::INFINITY;
        let map = map(&slice, [0.0, 0.0], None);
        let pixels = map.pixels(160, 160);
        let corner = |left: usize| -> BTreeSet<Rgb> {
            (0..8)
                .flat_map(|x| (152..160).map(move |y| (left + x, y)))
                .map(|(x, y)| pixel(&pixels, 160, x, y))
                .collect()
        };
        let hatched = BTreeSet::from(map.inks.invalid);
        assert_eq!(hatched.len(), 2);
        assert_eq!((corner(0), corner(152)), (hatched.clone(), hatched.clone()));
        let above: BTreeSet<Rgb> = (0..160).map(|x| pixel(&pixels, 160, x, 3)).collect();
        assert!(above.is_disjoint(&hatched));
    }

    #[test]
    fn the_fingerprint_changes_with_what_is_seen_and_with_nothing_else() {
        let slice = bowl();
        let number = |slice: &Slice, weights, chosen| map(slice, weights, chosen).fingerprint(300, 200);
        let plain = number(&slice, [0.0; 2], None);
        let later = Slice { step: 900, seconds: 7.0, ..bowl() };
        assert_eq!(number(&later, [0.0; 2], None), plain, "another step with the same losses");
        let moved = number(&slice, [0.105, 0.105], None);
        assert_ne!(moved, plain);
        assert_eq!(number(&slice, [0.1051, 0.1051], None), moved, "less than a pixel");
        assert_ne!(number(&slice, [0.0; 2], Some(Chosen { alpha: 0.5, beta: 0.0 })), plain);
        assert_ne!(map(&slice, [0.0; 2], None).fingerprint(200, 300), plain);
        let mut broken = bowl();
        broken.loss[3] = f32::NAN;
        assert_ne!(number(&broken, [0.0; 2], None), plain);
        assert_eq!(number(&broken, [0.0; 2], None), number(&broken, [0.0; 2], None), "NaN is NaN");
        let (light, surface) = (
            Theme::named("light", ColorDepth::True).unwrap(),
            Surface::new(&slice, Stretch::Linear).unwrap(),
        );
        let light =
            PixelMap::new((0, Rect::default()), surface, (&light.maps[0], &light), [0.0; 2], &[], None);
        assert_ne!(light.fingerprint(300, 200), plain);
    }
}
