//! What turning two parameters does: the loss as a map, with the way of tuning them by turns drawn over it.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::{Chosen, Marker, ProbeView};
use crate::protocol::probe::{Parameter, Sweep, Visit};
use crate::protocol::{BatchInfo, PlaneInfo, Slice};
use crate::theme::ColorMap;
use crate::ui::axis::Range;
use crate::ui::braille::Dots;
use crate::ui::heatmap::{ASCII, Heatmap, Mark, SOLID};
use crate::ui::legend::Legend;
use crate::ui::surface::Surface;
use crate::ui::{picture, text};

use super::Shown;
use super::curve::draw_values;

/// Rows from which the colours are explained.
const ROWS_WITH_LEGEND: u16 = 10;

/// Rows from which the lines are explained too.
const ROWS_WITH_KEY: u16 = 14;

/// The share of the map that the arrow down the slope is long.
const ARROW: f64 = 0.3;

/// Where the walk has ended.
const END: &str = SOLID;

/// The heads of the arrow down the slope, by eighths of a turn from the right and against the clock.
const HEADS: [&str; 8] = ["→", "↗", "↑", "↖", "←", "↙", "↓", "↘"];

/// Where the parts of a map are.
struct Places {
    cells: Rect,
    second: Rect,
    first: Rect,
    legend: Rect,
    key: Rect,
}

impl Shown<'_> {
    /// The map of the loss over the pair that is turned.
    pub(super) fn map(
        &self,
        [first, second]: [&Parameter; 2],
        sweep: &Sweep,
        [column, row]: [usize; 2],
        area: Rect,
        buffer: &mut Buffer,
    ) {
        let (theme, view) = (self.theme, &self.app.view.landscape);
        let slice = self.slice(sweep);
        let (Some(surface), Some(map)) =
            (Surface::new(&slice, view.stretch), theme.maps.get(view.map % theme.maps.len().max(1)))
        else {
            picture::missing("no point of this map has a finite loss", theme, area, buffer);
            return;
        };
        let ends = |values: &[f64], value: f64| Range::of(values.iter().map(|by| value + by));
        let (along, up) = (ends(&sweep.first, first.value), ends(&sweep.second, second.value));
        let places = places(up, area);
        let walked = self.walked();
        let end = walked.last().map(|visit| Mark { place: visit.moves, symbol: END });
        let marks: Vec<Mark> = end.into_iter().collect();
        let chosen = Some(Chosen { alpha: sweep.first[column], beta: sweep.second[row] });
        let chosen = chosen.filter(|_| [column, row] != ProbeView::origin(sweep));
        let (surface, marker) = (&surface, view.marker);
        let (characters, weights) = (&ASCII, [0.0; 2]);
        Heatmap { surface, map, theme, marker, characters, weights, marks: &marks, chosen }
            .render(places.cells, buffer);
        let mut overlay = Overlay::new(surface, places.cells);
        overlay.arrow([first, second]);
        overlay.walk(walked);
        let kept: Vec<[f64; 2]> = [weights]
            .into_iter()
            .chain(marks.iter().map(|mark| mark.place))
            .chain(chosen.map(|chosen| [chosen.alpha, chosen.beta]))
            .collect();
        let ink = Ink { map, has_color: theme.has_color, ascii: marker == Marker::Ascii };
        overlay.draw(&kept, &ink, buffer);
        if let Some(along) = along {
            draw_values(along, theme, places.first, buffer);
        }
        if let Some(up) = up {
            self.draw_second(up, places.second, buffer);
        }
        Legend { surface, map, theme, marker, drift: None, chosen, marks: &[], relief: false, beside: true }
            .render(places.legend, buffer);
        let walked = if walked.is_empty() { "" } else { "the line: by turns, to ■ · " };
        let key = format!("{walked}the dots: down the slope of both");
        Line::styled(key, theme.palette.muted).render(places.key, buffer);
    }

    /// The sweep as a slice of two directions.
    fn slice(&self, sweep: &Sweep) -> Slice {
        Slice {
            step: self.scene.of_step,
            generation: 0,
            alphas: sweep.first.clone(),
            betas: sweep.second.clone(),
            loss: sweep.loss.clone(),
            center: self.scene.loss,
            finest: true,
            plane: PlaneInfo::default(),
            batch: BatchInfo { tokens: 0, sha256: String::new(), source: "prompt".into() },
            method: String::new(),
            seconds: 0.0,
            sharpness: None,
        }
    }

    /// Where tuning by turns has led.
    fn walked(&self) -> &[Visit] {
        self.scene.walk.as_ref().map_or(&[], |walk| &walk.visits)
    }

    /// The values of the second parameter, from the top.
    fn draw_second(&self, up: Range, area: Rect, buffer: &mut Buffer) {
        let last = area.height.saturating_sub(1);
        let [high, middle, low] = [up.high, f64::midpoint(up.low, up.high), up.low].map(text::number);
        let mut rows = vec![(0, high), (last, low)];
        if last >= 4 {
            rows.push((area.height / 2, middle));
        }
        if last >= 6 {
            rows.push((last / 4, "2 ↑".to_owned()));
        }
        for (row, label) in rows {
            let place = Rect { y: area.y + row, height: 1, ..area }.intersection(area);
            Line::styled(label, self.theme.palette.muted).right_aligned().render(place, buffer);
        }
    }
}

fn places(up: Option<Range>, area: Rect) -> Places {
    let legend = if area.height >= ROWS_WITH_LEGEND { 2 } else { 0 };
    let key = u16::from(area.height >= ROWS_WITH_KEY);
    let [map, axis, legend, key] = Layout::vertical([
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(legend),
        Constraint::Length(key),
    ])
    .areas(area);
    let labels = up.map_or_else(Vec::new, |up| vec![up.low, f64::midpoint(up.low, up.high), up.high]);
    let widest = labels.into_iter().map(|value| text::width(&text::number(value))).max().unwrap_or(0);
    let gutter = (widest as u16 + 1).min(area.width);
    let cells = Rect { x: map.x + gutter, width: map.width - gutter, ..map };
    let second = Rect { width: gutter.saturating_sub(1), ..map };
    Places { cells, second, first: Rect { x: cells.x, width: cells.width, ..axis }, legend, key }
}

/// What lines are drawn with.
struct Ink<'a> {
    map: &'a ColorMap,
    has_color: bool,
    /// In plain characters.
    ascii: bool,
}

/// Lines over a map.
struct Overlay<'a> {
    surface: &'a Surface<'a>,
    area: Rect,
    dots: Dots,
    /// The cell and the head of the arrow.
    head: Option<(Position, &'static str)>,
}

impl<'a> Overlay<'a> {
    fn new(surface: &'a Surface<'a>, area: Rect) -> Self {
        Self { surface, area, dots: Dots::new(area.width, area.height), head: None }
    }

    /// The dot of a place, from the left and from the top, on the map or at its edge. `None` where there is none.
    fn dot(&self, [first, second]: [f64; 2]) -> Option<(usize, usize)> {
        let (u, v) = self.surface.place(first, second);
        let (columns, rows) = self.dots.size();
        let along = |share: f64, dots: usize| (share.clamp(0.0, 1.0) * dots as f64).min(dots as f64 - 1.0);
        let is_dot = first.is_finite() && second.is_finite() && columns > 0 && rows > 0;
        is_dot.then(|| (along(u, columns) as usize, along(1.0 - v, rows) as usize))
    }

    fn cell(&self, place: [f64; 2]) -> Option<Position> {
        let (x, y) = self.dot(place)?;
        Some(Position::new(self.area.x + (x / 2) as u16, self.area.y + (y / 4) as u16))
    }

    /// The way from visit to visit.
    fn walk(&mut self, visits: &[Visit]) {
        for pair in visits.windows(2) {
            if let Some((from, to)) = self.dot(pair[0].moves).zip(self.dot(pair[1].moves)) {
                self.dots.line(from, to, 0);
            }
        }
    }

    /// The steepest way down from the values as they are, every third dot of it. It points against the gradient, as
    /// long as the map allows.
    fn arrow(&mut self, pair: [&Parameter; 2]) {
        let spans = [&self.surface.slice.alphas, &self.surface.slice.betas].map(|axis| match axis[..] {
            [first, .., last] if last > first => last - first,
            _ => f64::INFINITY,
        });
        // In shares of the map.
        let way = [0, 1].map(|i| -pair[i].grad / spans[i]);
        let long = way[0].abs().max(way[1].abs());
        if !long.is_finite() || long <= 0.0 {
            return;
        }
        let to = [0, 1].map(|i| way[i] / long * ARROW * spans[i]);
        let to = to.map(|to| if to.is_finite() { to } else { 0.0 });
        let Some((from, end)) = self.dot([0.0; 2]).zip(self.dot(to)) else { return };
        let (dx, dy) = (end.0 as f64 - from.0 as f64, from.1 as f64 - end.1 as f64);
        let count = (dx.abs().max(dy.abs()) / 3.0) as usize;
        for i in 1..=count {
            let t = i as f64 / count as f64;
            let at = |start: usize, by: f64| (start as f64 + t * by).round().max(0.0) as usize;
            self.dots.set(at(from.0, dx), at(from.1, -dy), 0);
        }
        let eighth = (dy.atan2(dx) / std::f64::consts::FRAC_PI_4).round() as i32;
        self.head = self.cell(to).map(|cell| (cell, HEADS[eighth.rem_euclid(8) as usize]));
    }

    /// Draws the lines, but not over the cells of these places.
    fn draw(&self, kept: &[[f64; 2]], ink: &Ink<'_>, buffer: &mut Buffer) {
        let kept: Vec<Position> = kept.iter().filter_map(|place| self.cell(*place)).collect();
        let Rect { width, height, .. } = self.area;
        for place in self.area.positions().filter(|place| !kept.contains(place)) {
            let (column, row) = (usize::from(place.x - self.area.x), usize::from(place.y - self.area.y));
            let Some(dots) = self.dots.character(column, row) else { continue };
            let head = self.head.filter(|(cell, _)| *cell == place).map(|(_, head)| head);
            let (u, v) =
                ((column as f64 + 0.5) / f64::from(width), 1.0 - (row as f64 + 0.5) / f64::from(height));
            let level = self.surface.dot(u, v).level().unwrap_or(0);
            let style = if ink.has_color {
                Style::new()
                    .fg(ink.map.mark(level))
                    .bg(ink.map.background(level))
                    .add_modifier(Modifier::BOLD)
            } else {
                Style::new().add_modifier(Modifier::BOLD)
            };
            let line = if ink.ascii { '/' } else { dots };
            let cell = &mut buffer[place];
            match head {
                Some(head) => cell.set_symbol(head),
                None => cell.set_char(line),
            };
            cell.set_style(style);
        }
    }
}
