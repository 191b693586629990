//! Slices as a strip of small pictures, and the scales that slices share.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
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

    /// The scale of a plane that stays, for what it becomes too: no film of it changes its colours. From where the
    /// loss can't go on it reaches as far up as the plane does; on a scale by ratios or by rank there is no such place,
    /// and those are spread over the film as well.
    pub(super) fn staying(plane: &Slice, film: &[Slice], stretch: Stretch) -> Self {
        let scale = if stretch == Stretch::Linear {
            let floor = std::iter::once(0.0).filter(|_| plane.loss.iter().any(|loss| loss.is_finite()));
            let scale = Scale::of(plane.loss.iter().copied().chain(floor), stretch);
            scale.map(|scale| scale.with(film.iter().flat_map(|slice| slice.loss.iter().copied())))
        } else {
            let losses: Vec<&[f32]> = film.iter().chain([plane]).map(|slice| slice.loss.as_slice()).collect();
            shared(&losses, stretch)
        };
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

/// The slices of the page that the selected one is on: it moves through them, and they stay where they are.
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

/// The number of the first slice on the page of the selected one, and where the small pictures of a page are.
fn page(slices: usize, selected: usize, area: Rect) -> (usize, impl Iterator<Item = Rect>) {
    let places = area.width.saturating_sub(1) / (COLUMNS + 1);
    let page = usize::from(places).max(1);
    let newest = slices.saturating_sub(page);
    // The last page is as full as the others.
    let first = if selected >= newest { newest } else { selected / page * page };
    let place = move |place| Rect { x: area.x + 1 + place * (COLUMNS + 1), width: COLUMNS, ..area };
    (first, (0..places).map(place))
}

/// The number of the slice whose small picture is at this cell, if one is.
pub(super) fn at(slices: usize, selected: usize, area: Rect, at: Position) -> Option<usize> {
    let (first, mut places) = page(slices, selected, area);
    let index = first + places.position(|place| place.contains(at))?;
    (index < slices).then_some(index)
}

impl Widget for Strip<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let (first, places) = page(self.slices.len(), self.selected, area);
        for (whole, (index, slice)) in places.zip(self.slices.iter().enumerate().skip(first)) {
            let label = Rect { y: whole.bottom().saturating_sub(1), height: whole.height.min(1), ..whole };
            self.picture(slice, Rect { height: whole.height - label.height, ..whole }, buffer);
            self.label(index, slice, label, buffer);
            if index == self.selected {
                self.frame(whole, buffer);
            }
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
    fn frame(&self, area: Rect, buffer: &mut Buffer) {
        let side = if self.view.marker == Marker::Ascii { '|' } else { '│' };
        for row in area.rows() {
            for x in [row.x - 1, row.right()] {
                buffer[(x, row.y)].set_char(side).set_style(self.theme.palette.focus);
            }
        }
    }
}
