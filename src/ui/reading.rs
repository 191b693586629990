//! What was recorded of the step that is read on the charts.

use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::app::{App, Curve};
use crate::protocol::Point;
use crate::theme::Theme;

use super::series::Ink;
use super::{gradient, text};

/// Rows from which the numbers of a step may take more than one.
const ROWS_FOR_MORE: u16 = 9;

/// What stands between two parts.
const GAP: &str = " · ";

/// A number and its ink.
pub(super) struct Part {
    ink: Ink,
    text: String,
}

/// The numbers of the step that is read, in as many rows and words as there is room for in a pane; none where no step
/// is read. What the first chart shows comes first.
pub(super) fn rows(app: &App, inner: Rect) -> Vec<Vec<Part>> {
    let points = app.engine.history.points();
    let Some(index) = app.view.steps.reading(&app.engine.history) else { return Vec::new() };
    let until = points.get(..=index).unwrap_or_default();
    let most = if inner.height >= ROWS_FOR_MORE { 3 } else { usize::from(inner.height >= 4) };
    let columns = usize::from(inner.width);
    let full = wrapped(parts(app, until, false), columns);
    let mut rows = if full.len() <= most { full } else { wrapped(parts(app, until, true), columns) };
    rows.truncate(most);
    rows
}

/// One of these rows.
pub(super) fn line(row: Vec<Part>, theme: &Theme) -> Line<'static> {
    let mut line = Line::default();
    for part in row {
        if !line.spans.is_empty() {
            line.push_span(Span::styled(GAP, theme.palette.muted));
        }
        line.push_span(Span::styled(part.text, (part.ink)(&theme.palette)));
    }
    line
}

/// The numbers of the last of these steps. What was measured at an earlier one says so.
fn parts(app: &App, until: &[Point], short: bool) -> Vec<Part> {
    let Some(point) = until.last() else { return Vec::new() };
    let name = |name: &'static str| if short { "" } else { name };
    let part = |ink: Ink, text: String| Part { ink, text };
    let measured = |ink: Ink, step: u64, text: String| {
        let here = step == point.step;
        let text = if here { text } else { format!("{text} at {step}") };
        (here || !short).then(|| part(ink, text))
    };
    let held_out = until.iter().rev().find_map(|earlier| Some((earlier.step, earlier.held_out?)));
    let held_out = held_out.and_then(|(step, loss)| {
        measured(|palette| palette.held_out, step, format!("{}{}", name("held-out "), text::number(loss)))
    });
    let slices = app.engine.timeline.items().iter().rev();
    let mut sharp = slices.filter(|slice| slice.step <= point.step);
    let sharpness = sharp.find_map(|slice| Some((slice.step, slice.sharpness?))).and_then(|(step, found)| {
        let [long, _, brief] = gradient::sharpness(found);
        measured(|palette| palette.target, step, if short { brief } else { long })
    });
    let train = format!("{}{}", name("train "), text::number(point.loss));
    let norm = part(|palette| palette.base, format!("|g| {}", text::norm(point.grad_norm)));
    let rate = part(|palette| palette.base, format!("lr {:.1e}", point.learning_rate));
    let mut of_curves = [
        (Curve::Loss, Some(part(|palette| palette.train, train))),
        (Curve::Loss, held_out),
        (Curve::GradientNorm, Some(norm)),
        (Curve::LearningRate, Some(rate)),
        (Curve::Sharpness, sharpness),
    ];
    let first = app.view.curve as usize;
    of_curves.sort_by_key(|(curve, _)| (*curve as usize + Curve::ALL.len() - first) % Curve::ALL.len());
    let step = part(|palette| palette.accent, format!("{}{}", name("step "), point.step));
    std::iter::once(step).chain(of_curves.into_iter().filter_map(|(_, part)| part)).collect()
}

/// Puts parts beside each other, and into the next row where one has no more room.
fn wrapped(parts: Vec<Part>, columns: usize) -> Vec<Vec<Part>> {
    let mut rows: Vec<Vec<Part>> = Vec::new();
    let mut taken = 0;
    for part in parts {
        let wide = text::width(&part.text);
        match rows.last_mut() {
            Some(row) if taken + text::width(GAP) + wide <= columns => {
                taken += text::width(GAP) + wide;
                row.push(part);
            }
            _ => {
                taken = wide;
                rows.push(vec![part]);
            }
        }
    }
    rows
}
