//! The pane of the gradient: its norm over the last steps, and layer by layer.

use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Pane};
use crate::protocol::{LayerNorm, Sharpness};
use crate::theme::Theme;

use super::bars::draw_bar;
use super::panel::Panel;
use super::steps::draw_cursor;
use super::text;

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
        let history_rows = if inner.height >= 9 { 2 } else { u16::from(inner.height >= 3) };
        let (history, layers) = (
            Rect { height: history_rows, ..inner },
            Rect { y: inner.y + history_rows, height: inner.height - history_rows, ..inner },
        );
        let norms: Vec<f64> = app.engine.history.points().iter().map(|point| point.grad_norm).collect();
        let reading = app.view.steps.reading(&app.engine.history);
        let shown = window(norms.len(), usize::from(history.width), reading);
        sparkline(&norms[shown.clone()], theme.palette.history, history, buffer);
        if let Some(index) = reading.filter(|index| shown.contains(index)) {
            let x = history.x + (index - shown.start) as u16;
            draw_cursor(Rect { x, width: 1, ..history }, theme, buffer);
        }
        if app.engine.layers.is_empty() {
            Line::styled("layers follow with the first step", theme.palette.muted).render(layers, buffer);
        }
        Layers { norms: &app.engine.layers, theme }.render(layers, buffer);
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
fn window(steps: usize, columns: usize, reading: Option<usize>) -> Range<usize> {
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
            draw_bar(bar, share, None, self.theme.palette.layer, self.theme, buffer);
            Line::raw(text::norm(*norm)).right_aligned().render(place, buffer);
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
            "embed   ███████████████   6.00",
            "layer 0 ███████▌          3.00",
            "norm    ███▊              1.50",
        ]);
        expected.set_style(expected.area, Style::reset());
        assert_eq!(buffer, expected);
    }
}
