//! The pane of the gradient: its norm over the last steps, and layer by layer.

use std::ops;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Curve, Pane};
use crate::protocol::{LayerNorm, Sharpness};
use crate::theme::Theme;

use super::axis::Range;
use super::chart::Chart;
use super::panel::Panel;
use super::steps::{draw_cursor, draw_steps};
use super::{curves, text};

/// Rows from which the norm has a chart.
const ROWS_WITH_CHART: u16 = 17;

/// A cell of a bar.
const BAR: &str = "▆";

/// The gradient norm of the newest step and where it comes from.
pub(super) struct Gradient<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Gradient<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let status = app.engine.status.as_ref();
        let norm = status.and_then(|status| status.grad_norm);
        let title =
            norm.map_or_else(|| "Gradient norm".into(), |norm| format!("Gradient norm {}", text::norm(norm)));
        let clipping = match (norm, status.map_or(0.0, |status| status.clip)) {
            (_, clip) if clip <= 0.0 => Vec::new(),
            (Some(norm), clip) if norm > clip => {
                let mark =
                    Span::styled(format!("clipped to {}", text::short_number(clip)), theme.palette.warn);
                vec![Line::from(mark), Line::styled("clipped", theme.palette.warn)]
            }
            (_, clip) => vec![Line::raw(format!("clip {}", text::short_number(clip)))],
        };
        let sharpness = app.engine.sharpness.map_or_else(Vec::new, |found| sharpness(found).to_vec());
        let both = sharpness.first().zip(clipping.first()).map(|(sharpness, clipping)| {
            let spans = [Span::raw(sharpness.clone()), Span::raw(" · ")].into_iter();
            spans.chain(clipping.spans.iter().cloned()).collect::<Line>()
        });
        let right = both.into_iter().chain(sharpness.into_iter().map(Line::raw)).chain(clipping).collect();
        let inner = Panel { theme, focused: app.view.focus == Pane::Gradient, title: &title, right }
            .draw(area, buffer);
        let [history, layers] = places(inner, &app.engine.layers);
        if inner.height >= ROWS_WITH_CHART {
            self.chart(history, buffer);
        } else {
            self.sparkline(history, buffer);
        }
        if app.engine.layers.is_empty() {
            let lines = text::wrap("layers follow with the first step", usize::from(layers.width));
            for (line, row) in lines.into_iter().zip(layers.rows()) {
                Line::styled(line, theme.palette.muted).render(row, buffer);
            }
        }
        Layers { norms: &app.engine.layers, theme }.render(layers, buffer);
    }
}

/// Where the norm over the steps is, and below it these layers; between them is an empty row where there is room.
fn places(inner: Rect, layers: &[LayerNorm]) -> [Rect; 2] {
    if inner.height >= ROWS_WITH_CHART {
        let bars = Constraint::Length((layers.len() as u16).max(2).min(inner.height / 2));
        return Layout::vertical([Constraint::Min(0), bars]).spacing(1).areas(inner);
    }
    let history = if inner.height >= 9 { 2 } else { u16::from(inner.height >= 3) };
    let room = usize::from(inner.height - history);
    let gap = u16::from(history > 0 && !layers.is_empty() && binned(layers, room).len() < room);
    Layout::vertical([Constraint::Length(history), Constraint::Fill(1)]).spacing(gap).areas(inner)
}

impl Gradient<'_> {
    /// The norm over the steps that the charts show, with its axes.
    fn chart(&self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        let history = &app.engine.history;
        let Some((first, last)) = app.view.steps.shown(history) else { return };
        let steps = Range { low: first as f64, high: last as f64 };
        let lines = curves::lines(app, Curve::GradientNorm, steps);
        let [plot, axis] = Layout::vertical([Constraint::Min(0), Constraint::Length(1)]).areas(area);
        let gutter = lines.gutter(plot.height).min(area.width);
        let read = app.view.steps.reading(history).and_then(|index| history.points().get(index));
        let cursor = read.map(|point| point.step as f64).filter(|step| steps.has(*step));
        Chart { theme, lines: &lines, gutter, cursor }.render(plot, buffer);
        let axis = Rect { x: axis.x + gutter, width: axis.width - gutter, ..axis };
        draw_steps(steps, theme, axis, buffer);
    }

    /// The norms of the newest steps, one a column.
    fn sparkline(&self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        let norms: Vec<f64> = app.engine.history.points().iter().map(|point| point.grad_norm).collect();
        let reading = app.view.steps.reading(&app.engine.history);
        let shown = window(norms.len(), usize::from(area.width), reading);
        sparkline(&norms[shown.clone()], theme.palette.history, area, buffer);
        if let Some(index) = reading.filter(|index| shown.contains(index)) {
            let x = area.x + (index - shown.start) as u16;
            draw_cursor(Rect { x, width: 1, ..area }, theme, buffer);
        }
    }
}

/// How near the last step was to the edge of stability, in words of any length: at 1 the loss of its batch stays
/// where it was.
pub(super) fn sharpness(sharpness: Sharpness) -> [String; 3] {
    let share = text::short_number(sharpness.critical / sharpness.edge);
    [format!("sharpness {share} of edge"), format!("sharp {share} of edge"), format!("{share} of edge")]
}

/// The newest values, one a column, from the least of them to the greatest.
pub(super) fn sparkline(values: &[f64], style: Style, area: Rect, buffer: &mut Buffer) {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(usize::from(area.width))..];
    let finite = || shown.iter().copied().filter(|value| value.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    for (value, column) in shown.iter().zip(area.columns()) {
        // A norm that is not finite fills its column.
        let share = if !value.is_finite() {
            1.0
        } else if high > low {
            (value - low) / (high - low)
        } else {
            0.0
        };
        let eighths = ((share * f64::from(area.height) * 8.0).round() as usize).max(1);
        for (row, place) in column.rows().enumerate() {
            let below = 8 * (usize::from(area.height) - 1 - row);
            buffer[(place.x, place.y)]
                .set_char(EIGHTHS[eighths.saturating_sub(below).min(8)])
                .set_style(style);
        }
    }
}

/// Which of so many steps have a column: the newest, or those around the one that is read where it is older.
fn window(steps: usize, columns: usize, reading: Option<usize>) -> ops::Range<usize> {
    let newest = steps.saturating_sub(columns);
    let older = reading.filter(|index| *index < newest);
    let first = older.map_or(newest, |index| index.saturating_sub(columns / 2));
    first..(first + columns).min(steps)
}

/// A bar for each layer; neighbours share one where there are more layers than rows.
struct Layers<'a> {
    norms: &'a [LayerNorm],
    theme: &'a Theme,
}

impl Widget for Layers<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.width < 24 {
            return;
        }
        let rows = binned(self.norms, usize::from(area.height));
        let top = rows.iter().map(|row| row.1).filter(|norm| norm.is_finite()).fold(0.0, f64::max);
        let label_width = rows.iter().map(|row| text::width(&row.0)).max().unwrap_or(0).clamp(6, 14) as u16;
        for ((name, norm), place) in rows.iter().zip(area.rows()) {
            let label = text::shorten(name, usize::from(label_width));
            Line::from(Span::styled(label, self.theme.palette.muted)).render(place, buffer);
            let bar = Rect {
                x: place.x + label_width + 1,
                width: place.width.saturating_sub(label_width + 1 + 7),
                ..place
            };
            let share = if top > 0.0 { norm / top } else { 0.0 };
            self.bar(bar, share, buffer);
            Line::raw(text::norm(*norm)).right_aligned().render(place, buffer);
        }
    }
}

impl Layers<'_> {
    /// A bar that leaves a gap to the row above it. Something is more than nothing.
    fn bar(&self, area: Rect, share: f64, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let area = area.intersection(buffer.area);
        let length = (share.clamp(0.0, 1.0) * f64::from(area.width)).round() as u16;
        let length = length.max(u16::from(share > 0.0));
        for (column, place) in (0..).zip(area.positions()) {
            let symbol = if column < length { BAR } else { " " };
            buffer[place].set_symbol(symbol).set_style(palette.track.patch(palette.layer));
        }
    }
}

/// At most `rows` names and norms. Neighbours that share a row are named `layers 0-3`, and their norm is that of
/// their gradients taken together.
fn binned(norms: &[LayerNorm], rows: usize) -> Vec<(String, f64)> {
    if rows == 0 {
        return Vec::new();
    }
    // Embedding, norm and head keep rows of their own as long as the layers leave any.
    let is_layer = |norm: &LayerNorm| norm.name.starts_with("layer ");
    let others = norms.iter().filter(|norm| !is_layer(norm)).count();
    let layers = norms.len() - others;
    let size = if norms.len() <= rows {
        1
    } else if rows > others && layers > 0 {
        layers.div_ceil(rows - others)
    } else {
        norms.len().div_ceil(rows)
    };
    let keep_others = norms.len() <= rows || rows > others && layers > 0;
    let mut bins: Vec<Vec<&LayerNorm>> = Vec::new();
    for norm in norms {
        match bins.last_mut() {
            Some(bin) if bin.len() < size && (!keep_others || is_layer(norm) && is_layer(bin[0])) => {
                bin.push(norm);
            }
            _ => bins.push(vec![norm]),
        }
    }
    bins.iter()
        .map(|bin| (bin_name(bin), bin.iter().map(|norm| norm.grad_norm.powi(2)).sum::<f64>().sqrt()))
        .collect()
}

fn bin_name(bin: &[&LayerNorm]) -> String {
    let name = match bin {
        [first, .., last] => match (first.name.strip_prefix("layer "), last.name.strip_prefix("layer ")) {
            (Some(first), Some(last)) => format!("layers {first}-{last}"),
            _ => format!("{}-{}", first.name, last.name),
        },
        [only] => only.name.clone(),
        [] => String::new(),
    };
    text::escape(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::ColorDepth;
    use crate::ui::fixture;

    /// The rows of the pane.
    fn rows(app: &App, width: u16, height: u16) -> Vec<String> {
        let theme = Theme::named("mono", ColorDepth::None).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        Gradient { app, theme: &theme }.render(buffer.area, &mut buffer);
        (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect()).collect()
    }

    fn is_empty(row: &str) -> bool {
        row.chars().all(|symbol| " │".contains(symbol))
    }

    #[test]
    fn where_there_is_room_the_norm_has_a_chart_with_its_axes_above_the_bars() {
        let app = fixture::app();
        for height in [19, 40] {
            let rows = rows(&app, 78, height);
            let axis = rows.iter().position(|row| row.contains("step 412")).unwrap();
            let dots = |row: &&String| row.contains(|symbol| ('⠁'..='⣿').contains(&symbol));
            assert_eq!(rows[..axis].iter().filter(dots).count(), 1, "one flat line: {rows:#?}");
            assert!(rows[..axis].iter().any(|row| row.contains(".80")), "{rows:#?}");
            assert!(is_empty(&rows[axis + 1]) && rows[axis + 2].contains("embed"), "{rows:#?}");
            assert!(rows[axis + 7].contains("norm") && axis + 9 == usize::from(height), "{rows:#?}");
        }
    }

    #[test]
    fn an_empty_row_parts_the_newest_norms_from_the_bars_where_all_layers_have_room() {
        let app = fixture::app();
        let rows_of = |height| rows(&app, 40, height);
        assert!(rows_of(9)[2].contains("embed"), "two rows would be needed");
        let shared = rows_of(8);
        assert!(is_empty(&shared[2]) && shared[3].contains("embed"), "layers that share a row leave one");
        let roomy = rows_of(11);
        assert!(is_empty(&roomy[3]) && roomy[4].contains("embed"), "{roomy:#?}");
        assert!(roomy[9].contains("norm"), "{roomy:#?}");
    }

    #[test]
    fn what_follows_is_said_to_its_end_in_a_narrow_pane() {
        let mut app = fixture::app();
        app.engine.layers.clear();
        let text = rows(&app, 33, 5).join("");
        assert!(text.contains("layers follow with the first") && text.contains(" step "), "{text}");
    }

    #[test]
    fn it_is_drawn_at_any_size() {
        let app = fixture::app();
        for width in 0..50 {
            for height in 0..30 {
                rows(&app, width, height);
            }
        }
    }

    fn norms(layers: usize) -> Vec<LayerNorm> {
        let layer = |i| LayerNorm { name: format!("layer {i}"), grad_norm: 3.0 };
        let mut norms = vec![LayerNorm { name: "embed".into(), grad_norm: 6.0 }];
        norms.extend((0..layers).map(layer));
        norms.push(LayerNorm { name: "norm".into(), grad_norm: 1.5 });
        norms
    }

    fn names(norms: &[LayerNorm], rows: usize) -> Vec<String> {
        binned(norms, rows).into_iter().map(|row| row.0).collect()
    }

    #[test]
    fn layers_that_fit_have_a_row_each() {
        assert_eq!(names(&norms(2), 4), ["embed", "layer 0", "layer 1", "norm"]);
    }

    #[test]
    fn neighbours_share_a_row_where_there_are_too_many() {
        assert_eq!(names(&norms(8), 5), ["embed", "layers 0-2", "layers 3-5", "layers 6-7", "norm"]);
        assert_eq!(names(&norms(8), 2), ["embed-layer 3", "layer 4-norm"]);
        assert_eq!(names(&norms(8), 0), Vec::<String>::new());
        for rows in 1..12 {
            assert!(binned(&norms(30), rows).len() <= rows);
        }
    }

    #[test]
    fn the_norm_of_a_shared_row_is_that_of_all_its_gradients() {
        let rows = binned(&norms(8), 5);
        assert!((rows[3].1 - 18.0_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_step_that_is_read_is_among_those_shown() {
        assert_eq!(window(400, 30, None), 370..400);
        assert_eq!(window(400, 30, Some(380)), 370..400);
        assert_eq!(window(400, 30, Some(100)), 85..115);
        assert_eq!(window(400, 30, Some(3)), 0..30);
        assert_eq!(window(10, 30, Some(3)), 0..10);
        for reading in (0..400).map(Some) {
            assert!(reading.is_some_and(|index| window(400, 30, reading).contains(&index)));
            assert!(window(400, 0, reading).is_empty());
        }
    }

    #[test]
    fn the_sharpness_is_told_as_a_share_of_the_edge_in_as_many_words_as_fit() {
        let words = sharpness(Sharpness { critical: 30.0, edge: 200.0 });
        assert_eq!(words, ["sharpness .15 of edge", "sharp .15 of edge", ".15 of edge"]);
    }

    #[test]
    fn bars_are_as_long_as_the_norms_are_large() {
        let theme = Theme::named("mono", ColorDepth::None).unwrap();
        let mut buffer = Buffer::empty(Rect::new(0, 0, 30, 3));
        Layers { norms: &norms(1), theme: &theme }.render(buffer.area, &mut buffer);
        buffer.set_style(buffer.area, Style::reset());
        let mut expected = Buffer::with_lines([
            "embed   ▆▆▆▆▆▆▆▆▆▆▆▆▆▆▆   6.00",
            "layer 0 ▆▆▆▆▆▆▆▆          3.00",
            "norm    ▆▆▆▆              1.50",
        ]);
        expected.set_style(expected.area, Style::reset());
        assert_eq!(buffer, expected);
    }
}
