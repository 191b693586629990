//! The view of the layers: what is measured of every parameter, over time.

mod strips;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Link, Marker, Quantity, Spot, Strip, StripKind, layer_of};
use crate::protocol::TensorNorms;
use crate::theme::Theme;

use super::axis::Range;
use super::panel::{self, Panel};
use super::steps::draw_steps;
use super::{picture, text};
use strips::{Look, Norms, Strips, column_of, digits, step_of};

/// Columns from which all quantities stand beside each other.
const WIDE: u16 = 110;

/// Columns of a number beside a row.
const NUMBER: u16 = 7;

/// What is shown and what to look for, from the most to the fewest words.
const INTRODUCTION: [&str; 3] = [
    "each row is a parameter, each column a step: update/weight near 1e-3 is healthy; a row that fades has stopped \
     learning, a column that stands out is a shock",
    "a row a parameter, a column a step: update/weight is healthy near 1e-3; a fading row has stopped learning",
    "a row a parameter, a column a step; update/weight is healthy near 1e-3",
];

/// Every parameter a row, and its norms over time.
pub(super) struct Layers<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// The rows of the view, and what is read of them.
struct Shown<'a> {
    names: &'a [String],
    rows: Vec<Strip>,
    selected: usize,
    steps: &'a [TensorNorms],
    /// The place of the step that is read.
    read: usize,
    /// It is the one that was chosen.
    chosen: bool,
}

/// Where the parts of the view are.
struct Places {
    introduction: Rect,
    headings: Rect,
    rows: Rect,
    steps: Rect,
    legends: Rect,
    readout: Rect,
}

/// Where the parts of a band across the view are.
struct Band {
    names: Rect,
    /// For each quantity the cells, and the number at their right.
    quantities: Vec<[Rect; 2]>,
}

impl Widget for Layers<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let Self { app, theme } = self;
        let (view, shown) = (&app.view, Shown::of(app));
        let right = shown.as_ref().map_or_else(Vec::new, Shown::right);
        let inner = Panel { theme, focused: true, title: "Layers", right }.draw(area, buffer);
        let (Some(shown), Some(map)) = (shown, theme.maps.get(view.landscape.map % theme.maps.len().max(1)))
        else {
            let ended = matches!(app.link, Link::Ended(_));
            let why = if ended {
                "only a living engine tells the norms of each parameter"
            } else {
                "the picture follows with the first step"
            };
            picture::missing(why, theme, inner, buffer);
            return;
        };
        let look = Look { theme, map, marker: view.landscape.marker };
        let places = places(inner, shown.rows.len());
        introduction(theme, places.introduction, buffer);
        shown.draw(&quantities(app, inner), look, &places, buffer);
        shown.readout(theme, places.readout, buffer);
    }
}

/// What is under the mouse at this cell of the view.
pub(super) fn spot(app: &App, area: Rect, at: Position) -> Spot {
    let (inner, nowhere) = (panel::inside(area), Spot::Layers { row: None, step: None });
    let Some(shown) = Shown::of(app) else { return nowhere };
    let rows = places(inner, shown.rows.len()).rows;
    if !rows.contains(at) {
        return nowhere;
    }
    let index = shown.first(rows) + usize::from(at.y - rows.y);
    let band = band(rows, shown.label_columns(app.view.landscape.marker), quantities(app, inner).len());
    let cells = band.quantities.into_iter().map(|[cells, _]| cells).find(|cells| cells.contains(at));
    let step = cells.and_then(|cells| {
        let column = usize::from(at.x - cells.x);
        shown.steps.get(step_of(column, shown.steps.len(), cells.width)).map(|norms| norms.step)
    });
    Spot::Layers { row: Some(index).filter(|index| *index < shown.rows.len()), step }
}

/// What is shown in the inside of the pane.
fn quantities(app: &App, inner: Rect) -> Vec<Quantity> {
    if inner.width >= WIDE { Quantity::ALL.to_vec() } else { vec![app.view.layers.quantity] }
}

/// What goes where for so many rows: what is below them follows the last one.
fn places(area: Rect, count: usize) -> Places {
    let row = |from: u16| u16::from(area.height >= from);
    let readout = if area.height >= 12 && area.width < WIDE { 2 } else { row(3) };
    let [above, below] = [[row(8), row(4)], [row(6), row(7)]];
    let others = above.iter().chain(&below).sum::<u16>() + readout;
    let rows = count.min(usize::from(area.height - others)) as u16;
    let heights = [above[0], above[1], rows, below[0], below[1], readout].map(Constraint::Length);
    let [introduction, headings, rows, steps, legends, readout] = Layout::vertical(heights).areas(area);
    Places { introduction, headings, rows, steps, legends, readout }
}

fn band(area: Rect, names: u16, quantities: usize) -> Band {
    let names = Rect { width: names.min(area.width), ..area };
    let each = (area.width - names.width) / quantities as u16;
    let quantity = |place: u16| {
        let end = names.right() + (place + 1) * each;
        let cells = each.saturating_sub(NUMBER + 2);
        let number = NUMBER.min(each);
        [
            Rect { x: end - number - u16::from(cells > 0) - cells, width: cells, ..area },
            Rect { x: end - number, width: number, ..area },
        ]
    };
    Band { names, quantities: (0..quantities as u16).map(quantity).collect() }
}

fn introduction(theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let fits = |words: &&&str| text::width(words) <= usize::from(area.width);
    let words = INTRODUCTION.iter().find(fits).or(INTRODUCTION.last());
    Line::styled(words.copied().unwrap_or_default(), theme.palette.muted).render(area, buffer);
}

/// The first of the rows on show: the selected one is always among them, and most of its moves scroll nothing.
fn first_row(selected: usize, rows: usize, room: usize) -> usize {
    let half = (room / 2).max(1);
    (selected / half * half).saturating_sub(half / 2).min(rows.saturating_sub(room))
}

/// What a parameter is called where there is little room: `0 attn.q`.
pub(super) fn short_name(name: &str) -> String {
    let (number, rest) = match layer_of(name) {
        Some(layer) => (number_of(layer), &name[layer.len() + 1..]),
        None => ("", name.strip_prefix("model.").unwrap_or(name)),
    };
    let rest = match rest.strip_suffix(".weight").unwrap_or(rest) {
        "embed_tokens" => "embed".to_owned(),
        "lm_head" => "head".to_owned(),
        "input_layernorm" => "attn.norm".to_owned(),
        "post_attention_layernorm" => "mlp.norm".to_owned(),
        other => other.replace("self_attn", "attn").replace("_proj", ""),
    };
    let gap = if number.is_empty() { "" } else { " " };
    text::escape(&format!("{number}{gap}{rest}"))
}

/// The number of a layer, such as `model.layers.0`.
fn number_of(layer: &str) -> &str {
    layer.rsplit_once('.').map_or(layer, |(_, number)| number)
}

impl<'a> Shown<'a> {
    /// `None` before the first step.
    fn of(app: &'a App) -> Option<Self> {
        let (view, steps, names) = (&app.view.layers, app.engine.tensors.items(), &app.engine.tensor_names);
        let rows = view.strips(names);
        let read = view.reading(steps).filter(|_| !rows.is_empty())?;
        let selected = view.selected(&rows);
        Some(Self { names, rows, selected, steps, read, chosen: view.step.is_some() })
    }

    /// What stands at the right of the title, from the most to the least telling.
    fn right(&self) -> Vec<Line<'static>> {
        let (folded, step) = (self.rows.len() < self.names.len(), self.steps[self.read].step);
        let enter = if folded { "enter unfolds a layer" } else { "enter folds a layer" };
        vec![Line::raw(format!("{enter} · as of step {step}")), Line::raw(format!("as of step {step}"))]
    }

    /// What the numbers beside the rows are.
    fn of_numbers(&self) -> String {
        if self.chosen { format!("at {}", self.steps[self.read].step) } else { "newest".to_owned() }
    }

    /// The first of the rows in an area.
    fn first(&self, area: Rect) -> usize {
        first_row(self.selected, self.rows.len(), usize::from(area.height))
    }

    /// Columns of the labels, a gap included.
    fn label_columns(&self, marker: Marker) -> u16 {
        let longest = self.rows.iter().map(|row| text::width(&self.label(row, marker))).max().unwrap_or(0);
        (longest + 1).clamp(8, 20) as u16
    }

    /// The name of the first parameter of a row.
    fn name(&self, row: &Strip) -> &str {
        self.names.get(row.tensors().start).map_or("", String::as_str)
    }

    fn label(&self, row: &Strip, marker: Marker) -> String {
        let name = self.name(row);
        let [folded, unfolded] = if marker == Marker::Ascii { ["+", "-"] } else { ["▸", "▾"] };
        let layer = layer_of(name).map_or("", number_of);
        match row.kind {
            StripKind::Alone => format!("  {}", short_name(name)),
            StripKind::Within => format!("    {}", short_name(name)),
            StripKind::Folded => format!("{folded} layer {layer}"),
            StripKind::Unfolded => format!("{unfolded} layer {layer}"),
        }
    }

    fn draw(&self, quantities: &[Quantity], look: Look<'_>, places: &Places, buffer: &mut Buffer) {
        let theme = look.theme;
        let labels: Vec<String> = self.rows.iter().map(|row| self.label(row, look.marker)).collect();
        let names = self.label_columns(look.marker);
        let across = |area| band(area, names, quantities.len());
        let columns = across(places.rows).quantities.first().map_or(0, |[cells, _]| cells.width);
        let all: Vec<Strips> = quantities
            .iter()
            .map(|quantity| Strips::new(&self.rows, self.steps, *quantity, columns))
            .collect();
        let room = usize::from(places.rows.height);
        let first = self.first(places.rows);
        let marked = if self.chosen { column_of(self.read, self.steps.len(), columns) } else { None };
        for (index, area) in (first..self.rows.len()).zip(places.rows.rows()) {
            let band = across(area);
            let style = if index == self.selected {
                theme.palette.accent.add_modifier(Modifier::REVERSED)
            } else {
                theme.palette.base
            };
            let label = text::shorten(&labels[index], usize::from(names - 1));
            Line::from(Span::styled(label, style)).render(band.names, buffer);
            let norms = Norms::of(&self.rows[index], &self.steps[self.read]);
            for ((strips, quantity), [cells, number]) in all.iter().zip(quantities).zip(band.quantities) {
                strips.draw(index, marked, look, cells, buffer);
                draw_number(norms.get(*quantity), theme, number, buffer);
            }
        }
        let scrolled = self.rows.len() > room && room > 0;
        let headings = across(places.headings);
        if scrolled {
            let shown = format!("{}-{} of {}", first + 1, first + room, self.rows.len());
            Line::styled(text::shorten(&shown, usize::from(names)), theme.palette.muted)
                .render(headings.names, buffer);
        }
        let (headings, legends) = (headings.quantities, across(places.legends).quantities);
        for ((strips, heading), legend) in all.iter().zip(headings).zip(legends) {
            let mut line = Line::from(Span::styled(strips.heading(look), theme.palette.title));
            if let [quantity] = quantities {
                let next = format!(" · tab: {}", quantity.after(1).name());
                line.push_span(Span::styled(next, theme.palette.muted));
            }
            let whole = heading[0].union(heading[1]);
            let of = self.of_numbers();
            if line.width() + 1 + text::width(&of) <= usize::from(whole.width) {
                Line::from(Span::styled(of, theme.palette.muted)).right_aligned().render(whole, buffer);
            }
            line.render(whole, buffer);
            strips.legend(look, legend[0], buffer);
        }
        if let Some(ends) = Range::of(self.steps.iter().map(|norms| norms.step as f64)) {
            for [area, _] in across(places.steps).quantities {
                draw_steps(ends, theme, area, buffer);
            }
        }
    }

    /// Everything that is known of the selected row at the step that is read.
    fn readout(&self, theme: &Theme, area: Rect, buffer: &mut Buffer) {
        let (Some(row), Some(at)) = (self.rows.get(self.selected), self.steps.get(self.read)) else { return };
        let norms = Norms::of(row, at);
        let name = self.name(row);
        let name = match row.kind {
            StripKind::Alone | StripKind::Within => text::escape(name),
            StripKind::Folded | StripKind::Unfolded => {
                let layer = text::escape(layer_of(name).unwrap_or(name));
                format!("{layer}, {} parameters", row.tensors().len())
            }
        };
        let numbers = format!(
            "step {} · gradient {} · weight {} · update {} · ratio {}",
            at.step,
            digits(norms.gradient),
            digits(norms.weight),
            digits(norms.update),
            digits(norms.get(Quantity::Ratio)),
        );
        let width = usize::from(area.width);
        let style = theme.palette.accent;
        if area.height > 1 {
            let [above, below] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
            Line::from(Span::styled(text::shorten_start(&name, width), style)).render(above, buffer);
            Line::raw(numbers).render(below, buffer);
        } else {
            let gap = " · ";
            let room = width.saturating_sub(text::width(&numbers) + text::width(gap));
            let name = Span::styled(text::shorten_start(&name, room), style);
            Line::from(vec![name, Span::raw(gap), Span::raw(numbers)]).render(area, buffer);
        }
    }
}

fn draw_number(value: f64, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let style = if value == 0.0 {
        theme.palette.muted
    } else if value.is_finite() {
        theme.palette.base
    } else {
        theme.palette.bad
    };
    Line::from(Span::styled(digits(value), style)).right_aligned().render(area, buffer);
}

#[cfg(test)]
mod tests;
