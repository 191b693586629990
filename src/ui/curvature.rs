//! Whether the weights are in a minimum, in plain words.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::App;
use crate::protocol::{self, Spectrum};
use crate::theme::Theme;

use super::dialog::Question;
use super::text;

/// A gradient of this norm or less counts as none, where the loss curves by about one.
const FLAT: f64 = 1e-3;

/// Columns of text.
const COLUMNS: usize = 60;

/// What is known of the curvature around the weights, at the lower left of the panes: their marker is in the middle of
/// the map, and what the model says is at its right.
pub(super) struct Curvature<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Curvature<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let lines = app.engine.curvature.as_ref().map_or_else(|| vec!["asking ..".to_owned()], told);
        let lines = lines.iter().flat_map(|line| paragraph(line)).map(Line::raw).collect();
        let title = "Are the weights in a minimum?";
        let question = Question { title, lines, foot: "esc closes", theme };
        let (width, height) = question.size();
        let [_, low] = Layout::vertical([Constraint::Min(0), Constraint::Length(height)]).areas(area);
        let across = [Constraint::Length(2), Constraint::Length(width), Constraint::Min(0)];
        let [_, place, _] = Layout::horizontal(across).areas(low);
        question.render(place, buffer);
    }
}

/// A paragraph in as many lines as it needs.
fn paragraph(text: &str) -> Vec<String> {
    let lines = text::wrap(text, COLUMNS);
    if lines.is_empty() {
        vec![String::new()]
    } else {
        lines.iter().map(|line| format!("  {line}")).collect()
    }
}

/// The verdict, what it rests on, and what it leaves open.
fn told(curvature: &protocol::Curvature) -> Vec<String> {
    let of_what = format!("step {}, {}", curvature.step, text::shorten(&text::one_line(&curvature.text), 48));
    if let Some(failure) = &curvature.failure {
        return vec![of_what, format!("can't be said: {}", text::escape(failure))];
    }
    let Some(Spectrum { greatest, least, probed, negative }) = curvature.spectrum else {
        return vec![of_what, format!("looking along {} more directions ..", curvature.to_come)];
    };
    vec![
        verdict(curvature.grad_norm, negative, probed),
        String::new(),
        of_what,
        format!("loss {}, gradient norm {}", text::number(curvature.loss), text::number(curvature.grad_norm)),
        format!(
            "steepest curve up {}, steepest down {}",
            text::number(greatest),
            text::number(least.min(0.0))
        ),
        String::new(),
        format!(
            "{probed} directions were looked along, those in which the loss curves most. A model has as many as it \
             has weights."
        ),
    ]
}

fn verdict(grad_norm: f64, negative: usize, probed: usize) -> String {
    let slope = grad_norm > FLAT;
    match (slope, negative) {
        (true, 0) => "No: there is a slope, and a step downhill.".to_owned(),
        (true, _) => {
            format!("No: there is a slope, and the loss bends down in {negative} of {probed} directions.")
        }
        (false, 0) => "It looks like one: flat, and up in every direction looked along.".to_owned(),
        (false, _) => {
            format!("No: flat, but the loss bends down in {negative} of {probed} directions: a saddle.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Modal, Pane};
    use crate::ui::tests::{drawn, text_of};
    use crate::ui::{fixture, layout};

    #[test]
    fn the_weights_on_the_map_and_what_the_model_says_stay_in_sight() {
        let mut app = fixture::app();
        app.engine.curvature = Some(protocol::Curvature {
            step: 412,
            text: "The capital of France is Paris".into(),
            loss: 2.0,
            grad_norm: 1.0,
            to_come: 0,
            spectrum: Some(Spectrum { greatest: 9.0, least: -2.0, probed: 16, negative: 5 }),
            failure: None,
        });
        let without = drawn(&app, 120, 40);
        app.view.modal = Some(Modal::Curvature);
        let with = drawn(&app, 120, 40);
        let text = text_of(&with);
        assert!(text.contains("the loss bends down in 5 of 16") && text.contains("esc closes"), "{text}");
        for (pane, area) in layout(&app, Rect::new(0, 0, 120, 40)) {
            let in_sight = match pane {
                Pane::Landscape => Rect { height: area.height / 2 + 1, ..area },
                Pane::Log => continue,
                _ => area,
            };
            assert!(in_sight.positions().all(|at| with[at] == without[at]), "{pane:?}\n{text}");
        }
    }
}
