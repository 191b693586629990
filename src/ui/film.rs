//! Slices as a strip of small pictures, and the scales that slices share.

use std::collections::BTreeSet;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::{LandscapeView, Marker, Stretch};
use crate::protocol::Slice;
use crate::theme::Theme;

use super::axis::Range;
use super::heatmap::{ASCII, Heatmap};
use super::surface::{Scale, Surface};
use super::text;

/// Columns of a small picture; between two there is one more.
const COLUMNS: u16 = 12;

/// Rows of a small picture and its label.
pub(super) const ROWS: u16 = 5;

/// Samples by which the colours of all slices are chosen, about.
const SAMPLES: usize = 8192;

/// A scale for the slices of each plane.
#[derive(Default)]
pub(super) struct Scales(Vec<(u64, Scale)>);

impl Scales {
    /// The scales of all these slices.
    pub(super) fn of(slices: &[Slice], stretch: Stretch) -> Self {
        let generations = generations(slices.iter());
        let scale = |generation: u64| {
            let alike: Vec<&[f32]> = slices
                .iter()
                .filter(|slice| slice.generation == generation)
                .map(|slice| slice.loss.as_slice())
                .collect();
            Some((generation, shared(&alike, stretch)?))
        };
        Self(generations.into_iter().filter_map(scale).collect())
    }

    /// The scale of a plane that stays, for what it becomes too: no film of it changes its colours.
    pub(super) fn staying(plane: &Slice, film: &[Slice], stretch: Stretch) -> Self {
        let scale = Scale::staying(plane.loss.iter().copied(), stretch);
        let scale = scale.map(|scale| scale.with(film.iter().flat_map(|slice| slice.loss.iter().copied())));
        let generations = generations(film.iter().chain([plane]));
        Self(generations.into_iter().filter_map(|generation| Some((generation, scale?))).collect())
    }

    /// The scale of the slices of this generation; `None` where none has a finite loss.
    pub(super) fn get(&self, generation: u64) -> Option<Scale> {
        self.0.iter().find(|(known, _)| *known == generation).map(|(_, scale)| *scale)
    }
}

/// The generations of slices, each once.
fn generations<'a>(slices: impl Iterator<Item = &'a Slice>) -> Vec<u64> {
    let mut generations: Vec<u64> = slices.map(|slice| slice.generation).collect();
    generations.sort_unstable();
    generations.dedup();
    generations
}

/// The scale of many losses: its ends are those of all, what lies between is known from some of each slice.
fn shared(losses: &[&[f32]], stretch: Stretch) -> Option<Scale> {
    let count: usize = losses.iter().map(|slice| slice.len()).sum();
    let every = count.div_ceil(SAMPLES).max(1);
    // Each slice begins elsewhere, so that no column of the grids is left out.
    let some = losses
        .iter()
        .enumerate()
        .flat_map(|(index, slice)| slice.iter().copied().skip(index % every).step_by(every));
    let ends = Range::of(losses.iter().flat_map(|slice| slice.iter().copied().map(f64::from)))?;
    Scale::of(some.chain([ends.low as f32, ends.high as f32]), stretch)
}

/// Some of the slices, each with its step. While the newest is selected they tell the whole film; while one goes through
/// it they are the page that the selected one is on, and stay where they are.
pub(super) struct Strip<'a> {
    pub(super) slices: &'a [Slice],
    pub(super) selected: usize,
    pub(super) compared: Option<usize>,
    /// The selected one is A, and the one that it is compared with is B.
    pub(super) has_letters: bool,
    pub(super) scales: &'a Scales,
    pub(super) view: &'a LandscapeView,
    pub(super) theme: &'a Theme,
}

/// Where the small pictures are.
fn places(area: Rect) -> impl ExactSizeIterator<Item = Rect> {
    let place = move |place| Rect { x: area.x + 1 + place * (COLUMNS + 1), width: COLUMNS, ..area };
    (0..area.width.saturating_sub(1) / (COLUMNS + 1)).map(place)
}

/// The numbers of the slices that have a small picture where there is room for so many, ascending.
fn shown(slices: &[Slice], selected: usize, compared: Option<usize>, room: usize) -> Vec<usize> {
    let newest = slices.len().saturating_sub(1);
    if slices.len() <= room {
        (0..slices.len()).collect()
    } else if selected == newest {
        spread(slices, compared, room)
    } else {
        // The last page is as full as the others.
        let last = slices.len() - room;
        let first = if selected >= last { last } else { selected / room.max(1) * room };
        (first..first + room).collect()
    }
}

/// Slices from all of a film that has more than there is room for: the newest, the first and the one that is compared,
/// and as many others as lie equally far apart along [`ways`]. Strides are powers of two, the longest first, so that
/// those on show stay as the film goes on.
fn spread(slices: &[Slice], compared: Option<usize>, room: usize) -> Vec<usize> {
    let ways = ways(slices);
    let newest = slices.len() - 1;
    let always = std::iter::once(newest).chain([0]).chain(compared);
    let mut shown: BTreeSet<usize> = always.take(room).collect();
    let longest = ways[newest].log2().ceil();
    for halved in 0..f64::MANTISSA_DIGITS {
        let strides = |index: usize| (ways[index] / (longest - f64::from(halved)).exp2()) as u64;
        for index in (1..newest).filter(|index| strides(*index) > strides(index - 1)) {
            if shown.len() >= room {
                return shown.into_iter().collect();
            }
            shown.insert(index);
        }
    }
    shown.into_iter().collect()
}

/// How far each slice is from the first: by what the logarithm of the loss of the weights has changed on the way, in
/// either direction, and a little by the logarithm of the time.
fn ways(slices: &[Slice]) -> Vec<f64> {
    const TIME: f64 = 0.25;
    // Below it a loss is nothing to see.
    const LEAST: f64 = 0.01;
    let log = |slice: &Slice| (slice.center.max(0.0) + LEAST).ln();
    let change = |pair: &[Slice]| (log(&pair[1]) - log(&pair[0])).abs();
    let changes = slices.windows(2).map(change).map(|change| if change.is_finite() { change } else { 0.0 });
    let changed = std::iter::once(0.0).chain(changes).scan(0.0, |sum, change| {
        *sum += change;
        Some(*sum)
    });
    let step = |slice: &Slice| slice.step.saturating_sub(slices[0].step) as f64;
    changed.zip(slices).map(|(changed, slice)| changed + TIME * step(slice).ln_1p()).collect()
}

/// The number of the slice whose small picture is at this cell, if one is.
pub(super) fn at(
    slices: &[Slice],
    selected: usize,
    compared: Option<usize>,
    area: Rect,
    at: Position,
) -> Option<usize> {
    let mut places = places(area);
    let shown = shown(slices, selected, compared, places.len());
    shown.get(places.position(|place| place.contains(at))?).copied()
}

impl Widget for Strip<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let (places, palette) = (places(area), &self.theme.palette);
        let shown = shown(self.slices, self.selected, self.compared, places.len());
        let mut framed = None;
        for (whole, index) in places.zip(shown) {
            let slice = &self.slices[index];
            let label = Rect { y: whole.bottom().saturating_sub(1), height: whole.height.min(1), ..whole };
            let picture = Rect { height: whole.height - label.height, ..whole };
            self.picture(slice, picture, buffer);
            self.label(index, slice, label, buffer);
            if !self.theme.has_color {
                // Dots alone have no edge.
                self.frame(picture, palette.border, buffer);
            }
            if index == self.selected {
                framed = Some(whole);
            }
        }
        if let Some(whole) = framed {
            self.frame(whole, palette.focus, buffer);
        }
    }
}

impl Strip<'_> {
    fn picture(&self, slice: &Slice, area: Rect, buffer: &mut Buffer) {
        let theme = self.theme;
        let Some(map) = theme.maps.get(self.view.map % theme.maps.len().max(1)) else { return };
        let scale = self.scales.get(slice.generation);
        let Some(surface) = scale.and_then(|scale| Surface::scaled(slice, scale)) else {
            for place in area.positions() {
                buffer[place].set_char('×').set_style(theme.palette.invalid);
            }
            return;
        };
        let marker = if self.view.marker == Marker::Ascii { Marker::Ascii } else { Marker::HalfBlock };
        let (surface, characters, weights) = (&surface, &ASCII, [0.0; 2]);
        Heatmap { surface, map, theme, marker, characters, weights, marks: &[], chosen: None }
            .cells(area, buffer);
    }

    /// The step, and which of the two it is.
    fn label(&self, index: usize, slice: &Slice, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let is_other = self.compared == Some(index);
        let (letter, style) = match (index == self.selected, is_other) {
            (true, _) if !self.has_letters => ("", palette.accent),
            (true, false) => ("A ", palette.accent),
            (true, true) => ("A B ", palette.accent),
            (false, true) => ("B ", palette.title),
            (false, false) => ("", palette.muted),
        };
        let long = format!("{letter}step {}", slice.step);
        let fits = text::width(&long) <= usize::from(COLUMNS);
        let label = if fits { long } else { format!("{letter}{}", slice.step) };
        Line::styled(text::shorten(&label, usize::from(COLUMNS)), style).render(area, buffer);
    }

    /// A line on both sides.
    fn frame(&self, area: Rect, style: Style, buffer: &mut Buffer) {
        let side = if self.view.marker == Marker::Ascii { '|' } else { '│' };
        for row in area.rows() {
            for x in [row.x - 1, row.right()] {
                buffer[(x, row.y)].set_char(side).set_style(style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::ColorDepth;
    use crate::ui::fixture;

    /// A film of a loss that falls within thirty steps and stays, a picture at every step or every so many.
    fn fallen(steps: u64, every: usize) -> Vec<Slice> {
        let loss = |step: u64| 10.0 * (-(step as f64) / 6.0).exp() + 1e-3;
        let frame = |step| Slice { step, center: loss(step), ..fixture::slice(2, |_, _| 1.0) };
        (0..=steps).step_by(every).map(frame).collect()
    }

    fn spread_steps(film: &[Slice], room: usize) -> Vec<u64> {
        shown(film, film.len() - 1, None, room).into_iter().map(|index| film[index].step).collect()
    }

    #[test]
    fn while_the_newest_is_selected_the_whole_film_is_told_and_most_of_it_where_the_loss_fell() {
        let steps = spread_steps(&fallen(384, 8), 15);
        assert_eq!((steps.len(), steps[0], steps[14]), (15, 0, 384));
        assert!(steps.is_sorted() && steps.contains(&8) && steps.contains(&16), "{steps:?}");
        let steps = spread_steps(&fallen(60, 1), 15);
        assert!(steps.iter().filter(|step| **step <= 30).count() >= 9, "{steps:?}");
        for room in 0..20 {
            let steps = spread_steps(&fallen(100, 1), room);
            assert_eq!((steps.len(), steps.contains(&100)), (room, room > 0), "{steps:?}");
        }
        let same = vec![Slice { center: f64::NAN, ..fixture::slice(2, |_, _| 1.0) }; 9];
        assert!(shown(&same, 8, Some(7), 3).ends_with(&[7, 8]));
    }

    #[test]
    fn the_pictures_of_a_film_that_goes_on_stay_but_for_a_few() {
        for newest in 20..60 {
            let [before, after] = [newest, newest + 1].map(|newest| spread_steps(&fallen(newest, 1), 9));
            let gone = before[..8].iter().filter(|step| !after.contains(step)).count();
            assert!(gone <= 1, "{before:?} {after:?}");
        }
    }

    #[test]
    fn without_colours_a_bar_stands_between_two_pictures() {
        let film = fixture::film(3);
        let scales = Scales::of(&film, Stretch::Linear);
        let drawn = |name: &str, depth| {
            let theme = Theme::named(name, depth).unwrap();
            let (slices, view, scales) = (&film[..], &LandscapeView::default(), &scales);
            let (selected, compared, has_letters, theme) = (2, None, false, &theme);
            let mut buffer = Buffer::empty(Rect::new(0, 0, 40, 5));
            Strip { slices, selected, compared, has_letters, scales, view, theme }
                .render(buffer.area, &mut buffer);
            [0, 13, 26, 39].map(|x| buffer[(x, 1)].symbol().to_owned())
        };
        assert_eq!(drawn("mono", ColorDepth::None), ["│"; 4]);
        assert_eq!(drawn("dark", ColorDepth::True), [" ", " ", "│", "│"]);
    }
}
