//! How two slices of the same directions differ: at each place of the plane the loss of one minus that of the other.
//!
//! The places are the samples of the coarser of both grids; the loss of the other slice is interpolated there, unless
//! it has the same sample.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::{Marker, Stretch};
use crate::protocol::Slice;
use crate::theme::{LEVELS, Theme};
use crate::ui::heatmap::{ASCII, Heatmap};
use crate::ui::legend;
use crate::ui::picture;
use crate::ui::surface::{Scale, Surface};
use crate::ui::{honesty, text};

/// Falls and rises of rising weight, where colours alone do not tell them apart.
const SIGNS: [char; LEVELS] = ['=', '-', ':', ',', '.', ' ', ' ', '+', 'x', '*', '#', '@'];

/// Samples along a direction from which there is something to see.
const FEWEST: usize = 3;

/// Nats below which a change says nothing of the shape.
const SLIGHT: f64 = 0.02;

/// Nats below which the losses are the same for every reader.
const SMALL: f64 = 5e-4;

/// Slice A minus slice B.
pub(super) struct Difference {
    /// Steps of A and B.
    steps: [u64; 2],
    /// Losses at the weights of both.
    centers: [f64; 2],
    /// The change at each place, as the loss of a slice.
    plane: Slice,
    scale: Scale,
    /// The mean change over the plane.
    mean: f64,
    /// The change that is farthest from 0.
    largest: f64,
}

impl Difference {
    /// What changed from the earlier of A and B to the later, or why that can't be said.
    pub(super) fn between(a: &Slice, b: &Slice) -> Result<Self, &'static str> {
        const NOT_FINITE: &str = "no place where both losses are finite";
        if a.generation != b.generation {
            return Err("B has other directions: slices of two planes are not compared");
        }
        if a.batch.sha256 != b.batch.sha256 {
            return Err("B has another batch: its losses are those of other tokens");
        }
        let (a, b) = if a.step < b.step { (b, a) } else { (a, b) };
        let surface = |slice| Surface::new(slice, Stretch::Linear).ok_or(NOT_FINITE);
        let (of_a, of_b) = (surface(a)?, surface(b)?);
        let axes = shared(&a.alphas, &b.alphas).zip(shared(&a.betas, &b.betas));
        let (alphas, betas) = axes.ok_or("A and B share too little of the plane")?;
        let change = |alpha: f64, beta: f64| {
            let [a, b] = [&of_a, &of_b].map(|surface| {
                let (u, v) = surface.place(alpha, beta);
                surface.loss(u, v).unwrap_or(f64::NAN)
            });
            (a - b) as f32
        };
        let loss: Vec<f32> =
            betas.iter().flat_map(|beta| alphas.iter().map(|alpha| change(*alpha, *beta))).collect();
        let scale = Scale::around_zero(loss.iter().copied()).ok_or(NOT_FINITE)?;
        let finite: Vec<f64> = loss.iter().copied().filter(|c| c.is_finite()).map(f64::from).collect();
        Ok(Self {
            steps: [a.step, b.step],
            centers: [a.center, b.center],
            scale,
            mean: finite.iter().sum::<f64>() / finite.len() as f64,
            largest: finite.into_iter().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or(0.0),
            plane: Slice { alphas, betas, loss, center: a.center - b.center, ..a.clone() },
        })
    }

    /// Whether the weights went down by themselves or with the plane, in as many words as fit.
    pub(super) fn sentence(&self, columns: usize) -> String {
        let (center, plane) = (self.plane.center, self.mean);
        if !center.is_finite() {
            return format!("a center has no finite loss; the plane {} on average", moved(plane));
        }
        if center.abs().max(plane.abs()) < SMALL {
            return "the loss is as it was, at the center and on average".into();
        }
        let verdict = verdict(center, plane);
        let of_plane = moved(plane);
        let alike = (center < 0.0) == (plane < 0.0);
        let of_plane = if alike { of_plane.split_once(' ').map_or("", |(_, by)| by) } else { &of_plane };
        let long = format!("the center {}, the plane {of_plane} on average: {verdict}", moved(center));
        if text::width(&long) <= columns {
            return long;
        }
        format!("center {}, plane {}: {verdict}", signed(center), signed(plane))
    }

    /// The numbers, the most telling ones first.
    fn numbers(&self) -> Vec<String> {
        let ([a, b], [step_a, step_b]) = (self.centers.map(text::number), self.steps);
        let (columns, rows) = (self.plane.alphas.len(), self.plane.betas.len());
        vec![
            format!("center {b} at step {step_b}, {a} at step {step_a}"),
            format!("mean {}, largest {}", signed(self.mean), signed(self.largest)),
            format!("{columns}x{rows} samples, interpolated"),
        ]
    }
}

/// The places along a direction where two slices are compared, evenly spaced.
fn shared(a: &[f64], b: &[f64]) -> Option<Vec<f64>> {
    let (low, high) = (a.first()?.max(*b.first()?), a.last()?.min(*b.last()?));
    let gap = |axis: &[f64]| Some((axis.last()? - axis.first()?) / (axis.len() as f64 - 1.0));
    let (coarser, finer) = if gap(a)? >= gap(b)? { (a, b) } else { (b, a) };
    // What is the same end but for rounding counts.
    let rounding = 1e-9 * (high - low);
    let both = low - rounding..=high + rounding;
    let inside =
        |axis: &[f64]| axis.iter().copied().filter(|place| both.contains(place)).collect::<Vec<f64>>();
    [coarser, finer].map(inside).into_iter().find(|places| places.len() >= FEWEST)
}

fn moved(change: f64) -> String {
    let direction = if change < 0.0 { "fell" } else { "rose" };
    format!("{direction} by {}", text::norm(change.abs()))
}

fn signed(change: f64) -> String {
    let plus = if change > 0.0 { "+" } else { "" };
    format!("{plus}{}", text::norm(change))
}

/// What became of the landscape, given the changes at the weights and over the plane.
fn verdict(center: f64, plane: f64) -> &'static str {
    if center.abs().max(plane.abs()) < SLIGHT {
        "hardly a change"
    } else if (center - plane).abs() <= center.abs().max(plane.abs()) / 4.0 {
        if plane < 0.0 { "the whole plane sank" } else { "the whole plane rose" }
    } else if center < plane {
        "a deeper center"
    } else {
        "a shallower center"
    }
}

/// The picture of a difference.
pub(super) struct Change<'a> {
    pub(super) difference: &'a Difference,
    pub(super) theme: &'a Theme,
    pub(super) marker: Marker,
    /// What slice A says about itself: the picture is laid out as that of the slice.
    pub(super) honesty: &'a [String],
}

impl Widget for Change<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { difference, theme, .. } = self;
        let slice = &difference.plane;
        let Some(surface) = Surface::scaled(slice, difference.scale) else { return };
        let places = picture::places(slice, self.honesty, false, area);
        let (marker, characters) =
            if self.has_signs() { (Marker::Ascii, &SIGNS) } else { (self.marker, &ASCII) };
        let (surface, map, weights) = (&surface, &theme.diverging, [0.0; 2]);
        Heatmap { surface, map, theme, marker, characters, weights, marks: &[], chosen: None }
            .render(places.cells, buffer);
        places.axes(slice, theme, buffer);
        self.legend(places.legend, buffer);
        let (width, rows) = (usize::from(places.honesty.width), usize::from(places.honesty.height));
        let lines = honesty::lines(&difference.numbers(), width, rows);
        for (line, row) in lines.into_iter().zip(places.honesty.rows()) {
            Line::styled(line, theme.palette.muted).render(row, buffer);
        }
    }
}

impl Change<'_> {
    /// Whether characters say what rose and what fell.
    fn has_signs(&self) -> bool {
        self.marker == Marker::Ascii || !self.theme.has_shades
    }

    /// The colours of falls and rises, their ends, and the change at the weights, which is marked among them.
    fn legend(&self, area: Rect, buffer: &mut Buffer) {
        let Self { difference, theme, .. } = self;
        let Some(bar) = legend::bar(area.intersection(buffer.area), true) else { return };
        let symbol = if self.has_signs() { "O" } else { &theme.symbols.weights };
        let here = legend::column(&difference.scale, difference.plane.center, usize::from(bar.width));
        for (column, place) in bar.columns().enumerate() {
            let level = legend::level(column, usize::from(bar.width));
            let cell = &mut buffer[(place.x, place.y)];
            cell.set_char(if self.has_signs() { SIGNS[level] } else { ' ' });
            if theme.has_color {
                let map = &theme.diverging;
                cell.set_style(Style::new().bg(map.background(level)).fg(map.line(level)));
            }
            if column == here {
                cell.set_symbol(symbol).modifier.insert(Modifier::BOLD);
                if theme.has_color {
                    cell.set_fg(theme.diverging.mark(level));
                } else {
                    cell.modifier.insert(Modifier::REVERSED);
                }
            }
        }
        let palette = &theme.palette;
        // The scale of what did not change has ends all the same.
        let size = if difference.largest == 0.0 { 0.0 } else { difference.scale.high };
        let more = if difference.scale.clipped { "+" } else { "" };
        let size = format!("{}{more}", text::short_number(size));
        let values = Rect { y: bar.y + 1, ..bar };
        Line::styled(format!("fell {size}"), palette.muted).render(values, buffer);
        Line::styled("0", palette.muted).centered().render(values, buffer);
        Line::styled(format!("{size} rose"), palette.muted).right_aligned().render(values, buffer);
        let beside = Rect { x: bar.right() + 2, width: area.right().saturating_sub(bar.right() + 2), ..bar };
        Line::styled(format!("{symbol} {} nats", signed(difference.plane.center)), palette.title)
            .render(beside, buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::ColorDepth;
    use crate::ui::fixture;

    fn between(a: &Slice, b: &Slice) -> Difference {
        Difference::between(a, b).unwrap()
    }

    fn why_not(a: &Slice, b: &Slice) -> &'static str {
        Difference::between(a, b).err().unwrap()
    }

    fn bowl(alpha: f64, beta: f64) -> f32 {
        2.0 + (alpha * alpha + 0.3 * beta) as f32
    }

    fn dish(alpha: f64, beta: f64) -> f32 {
        3.1 + (0.7 * alpha * beta) as f32
    }

    #[test]
    fn nested_grids_are_subtracted_sample_by_sample() {
        for (coarse, fine) in [(9, 33), (9, 17), (7, 13), (17, 17)] {
            let (a, mut b) = (fixture::slice(coarse, bowl), fixture::slice(fine, dish));
            let every = (fine - 1) / (coarse - 1);
            if every > 1 {
                b.loss[1] = f32::NAN;
            }
            let plane = between(&a, &b).plane;
            assert_eq!((&plane.alphas, &plane.betas), (&a.alphas, &a.betas));
            for row in 0..coarse {
                for column in 0..coarse {
                    let (at_a, at_b) = (row * coarse + column, (row * fine + column) * every);
                    let expected = (f64::from(a.loss[at_a]) - f64::from(b.loss[at_b])) as f32;
                    assert_eq!(plane.loss[at_a].to_bits(), expected.to_bits(), "{coarse} {fine} {at_a}");
                }
            }
            let back = between(&b, &a).plane;
            assert!(back.loss.iter().zip(&plane.loss).all(|(back, there)| (back + there).abs() < 1e-9));
        }
    }

    /// A slice of a tilted plane, from `-range` to `range`.
    fn tilted(range: f64, loss: f64) -> Slice {
        let mut slice = fixture::slice(17, |alpha, beta| (loss + range * (alpha + 2.0 * beta)) as f32);
        for axis in [&mut slice.alphas, &mut slice.betas] {
            for place in axis {
                *place *= range;
            }
        }
        slice
    }

    #[test]
    fn of_different_ranges_what_both_have_is_compared() {
        for (range, samples) in [(0.5, 9), (1.0 / 1.5, 11), (0.05, 17)] {
            let plane = between(&tilted(1.0, 5.0), &tilted(range, 4.0)).plane;
            assert_eq!(plane.alphas.len(), samples, "{range}");
            assert!(plane.alphas.iter().all(|alpha| alpha.abs() <= range));
            assert!(plane.loss.iter().all(|change| (change - 1.0).abs() < 1e-5), "{range}");
        }
    }

    #[test]
    fn what_has_little_in_common_is_not_compared() {
        let a = fixture::slice(9, bowl);
        let mut b = fixture::slice(9, dish);
        b.alphas.iter_mut().for_each(|alpha| *alpha += 5.0);
        assert_eq!(why_not(&a, &b), "A and B share too little of the plane");
        b = Slice { generation: 2, ..fixture::slice(9, dish) };
        assert!(why_not(&a, &b).contains("other directions"));
        b = fixture::slice(9, dish);
        b.batch.sha256 = "0b".into();
        assert!(why_not(&a, &b).contains("another batch"));
        b = fixture::slice(9, |_, _| f32::INFINITY);
        assert_eq!(why_not(&a, &b), "no place where both losses are finite");
        b = fixture::slice(9, dish);
        b.loss.pop();
        assert_eq!(why_not(&a, &b), "no place where both losses are finite");
        assert!(Difference::between(&fixture::slice(1, bowl), &fixture::slice(1, dish)).is_err());
    }

    #[test]
    fn it_says_whether_the_plane_went_along() {
        let sentence = |center: f64, rest: f64| {
            let a = fixture::slice(9, |alpha, _| (5.0 + if alpha == 0.0 { center } else { rest }) as f32);
            between(&a, &fixture::slice(9, |_, _| 5.0)).sentence(78)
        };
        let whole = sentence(-0.42, -0.40);
        assert_eq!(whole, "the center fell by 0.42, the plane by 0.40 on average: the whole plane sank");
        assert!(
            sentence(-0.42, 0.5).starts_with("the center fell by 0.42, the plane rose by 0.40 on average")
        );
        assert!(sentence(-0.42, -0.1).ends_with(": a deeper center"));
        assert!(sentence(0.5, 0.1).ends_with(": a shallower center"));
        assert!(sentence(0.0, 0.0).contains("as it was"));
        let short = between(&fixture::slice(9, |_, _| 4.0), &fixture::slice(9, |_, _| 5.0)).sentence(40);
        assert_eq!(short, "center -1.00, plane -1.00: the whole plane sank");
    }

    const AREA: Rect = Rect::new(0, 0, 60, 20);

    /// What fell on the left by 1, rose on the right by 1, and has no number in the lower left corner.
    fn drawn(theme: &Theme, marker: Marker) -> (Buffer, Rect) {
        let mut a = fixture::slice(17, |alpha, _| 5.0 + alpha as f32);
        a.loss[0] = f32::NAN;
        let difference = between(&a, &fixture::slice(17, |_, _| 5.0));
        let mut buffer = Buffer::empty(AREA);
        Change { difference: &difference, theme, marker, honesty: &[] }.render(AREA, &mut buffer);
        (buffer, picture::places(&a, &[], false, AREA).cells)
    }

    fn text(buffer: &Buffer) -> String {
        buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect()
    }

    #[test]
    fn the_change_at_the_weights_is_marked_among_the_colours() {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let a = fixture::slice(17, |alpha, _| 4.0 + alpha as f32);
        let difference = between(&a, &fixture::slice(17, |_, _| 5.0));
        let mut buffer = Buffer::empty(AREA);
        Change { difference: &difference, theme: &theme, marker: Marker::HalfBlock, honesty: &[] }
            .render(AREA, &mut buffer);
        let places = picture::places(&a, &[], false, AREA);
        let bar = legend::bar(places.legend, true).unwrap();
        let marked: Vec<u16> =
            bar.positions().filter(|at| buffer[*at].symbol() == "◉").map(|at| at.x).collect();
        assert_eq!(marked.len(), 1, "{buffer:?}");
        assert!(marked[0] < bar.x + bar.width / 2, "it fell");
    }

    #[test]
    fn falls_and_rises_have_the_colours_of_both_ends() {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let (buffer, cells) = drawn(&theme, Marker::HalfBlock);
        assert_eq!(buffer[(cells.x, cells.y)].bg, theme.diverging.background(0));
        assert_eq!(buffer[(cells.right() - 1, cells.y)].bg, theme.diverging.background(LEVELS - 1));
        assert_eq!(buffer[(cells.x, cells.bottom() - 1)].symbol(), "×");
        let text = text(&buffer);
        assert!(
            text.contains("fell 1.0 ") && text.contains(" 1.0 rose") && text.contains("◉ 0 nats"),
            "{text}"
        );
    }

    #[test]
    fn without_shades_characters_say_what_fell_and_what_rose() {
        let colors = [("mono", ColorDepth::True), ("dark", ColorDepth::None), ("dark", ColorDepth::Ansi16)];
        let themes = colors.map(|(name, depth)| (Theme::named(name, depth).unwrap(), Marker::Braille));
        let plain = (Theme::named("dark", ColorDepth::True).unwrap(), Marker::Ascii);
        for (theme, marker) in themes.into_iter().chain([plain]) {
            let (buffer, cells) = drawn(&theme, marker);
            let symbol = |x: u16, y: u16| buffer[(x, y)].symbol();
            assert_eq!((symbol(cells.x, cells.y), symbol(cells.right() - 1, cells.y)), ("=", "@"));
            assert_eq!(symbol(cells.x, cells.bottom() - 1), "×");
            let text = text(&buffer);
            assert!(text.contains("===") && text.contains("@@@ "), "the bar explains them: {text}");
        }
    }
}
