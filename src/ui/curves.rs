//! The lines of what can be charted over steps.

use ratatui::text::{Line, Span};

use crate::app::{App, Curve};
use crate::protocol::{Point, Sharpness, Status};
use crate::theme::Theme;

use super::axis::Range;
use super::chart::{Lines, further};
use super::series::{Ink, Series};
use super::{gradient, text};

/// The lines of a curve over these steps.
pub(super) fn lines(app: &App, curve: Curve, steps: Range) -> Lines {
    let within = move |step: u64| steps.has(step as f64);
    let points = || app.engine.history.points().iter();
    let series = |ink: Ink, value: fn(&Point) -> Option<f64>| {
        Series::within(steps, points().filter_map(|point| Some((point.step as f64, value(point)?))), ink)
    };
    let sharpness = |ink: Ink, value: fn(Sharpness) -> f64| {
        let slices = app.engine.timeline.items().iter();
        let points = slices.filter_map(|slice| Some((slice.step as f64, value(slice.sharpness?))));
        Series::within(steps, points, ink)
    };
    let (series, marks, missing) = match curve {
        Curve::Loss => (
            vec![
                series(|palette| palette.train, |point| Some(point.loss)),
                series(|palette| palette.held_out, |point| point.held_out),
            ],
            points()
                .filter(|point| point.spike && within(point.step))
                .map(|point| (point.step as f64, point.loss))
                .collect(),
            "no steps here",
        ),
        Curve::GradientNorm => (
            vec![series(|palette| palette.layer, |point| Some(point.grad_norm))],
            Vec::new(),
            "no steps here",
        ),
        Curve::LearningRate => (
            vec![series(|palette| palette.history, |point| Some(point.learning_rate))],
            Vec::new(),
            "no steps here",
        ),
        Curve::Sharpness => (
            vec![
                sharpness(|palette| palette.warn, |sharpness| sharpness.edge),
                sharpness(|palette| palette.target, |sharpness| sharpness.critical),
            ],
            Vec::new(),
            "not measured here, or far below the edge",
        ),
    };
    Lines { series, marks, log: app.view.log_charts, steps, missing }
}

/// What the lines of a chart are, above it.
pub(super) fn heading(curve: Curve, log: bool, theme: &Theme) -> Line<'static> {
    let palette = &theme.palette;
    let muted = |text: &'static str| Span::styled(text, palette.muted);
    let mut line = match curve {
        Curve::Loss => Line::from(vec![
            muted("Loss: "),
            Span::styled("train", palette.train),
            muted(", "),
            Span::styled(further("held-out", theme), palette.held_out),
        ]),
        Curve::GradientNorm => Line::from(muted("Gradient norm before clipping")),
        Curve::LearningRate => Line::from(muted("Learning rate")),
        Curve::Sharpness => Line::from(vec![
            muted("Sharpness: "),
            Span::styled("critical", palette.target),
            muted(", "),
            Span::styled(further("edge of stability", theme), palette.warn),
        ]),
    };
    if log {
        line.push_span(muted(" (log)"));
    }
    line
}

/// The newest numbers of a curve, from the most to the least telling.
pub(super) fn newest(app: &App, curve: Curve, theme: &Theme) -> Vec<Line<'static>> {
    let palette = &theme.palette;
    let status = app.engine.status.as_ref();
    let value = |value: Option<f64>| value.map_or_else(|| "-".into(), text::number);
    match curve {
        Curve::Loss => {
            let train = value(status.and_then(|status| status.loss));
            let held_out = value(status.and_then(|status| status.held_out));
            let legend = |train_name: &'static str, gap: &'static str, held_out_name: &str| {
                Line::from(vec![
                    Span::styled(train_name, palette.train),
                    Span::styled(format!("{train}{gap}"), palette.train),
                    Span::styled(format!("{held_out_name}{held_out}"), palette.held_out),
                ])
            };
            let name = format!("{} ", further("held-out", theme));
            let mut lines = vec![legend("train ", "  ", &name), legend("", " ", &name), legend("", " ", "")];
            // The train loss is that of the newest step.
            if let Some(step) = status.and_then(|status| measured_before(app, status)) {
                let mut line = lines[0].clone();
                line.push_span(Span::styled(format!(" at {step}"), palette.held_out));
                lines.insert(0, line);
            }
            lines
        }
        Curve::GradientNorm => {
            let norm = status.and_then(|status| status.grad_norm);
            norm.map_or_else(Vec::new, |norm| vec![Line::styled(text::norm(norm), palette.layer)])
        }
        Curve::LearningRate => status.map_or_else(Vec::new, |status| {
            vec![Line::styled(format!("{:.1e}", status.learning_rate), palette.history)]
        }),
        Curve::Sharpness => app.engine.sharpness.map_or_else(Vec::new, |sharpness| {
            let numbers = [sharpness.critical, sharpness.edge].map(text::short_number);
            let [critical, edge] = numbers;
            let both = Line::from(vec![
                Span::styled(format!("critical {critical}"), palette.target),
                Span::styled(format!("  edge {edge}"), palette.warn),
            ]);
            let [_, _, share] = gradient::sharpness(sharpness);
            vec![both, Line::styled(share, palette.target)]
        }),
    }
}

/// The step of the newest held-out loss, where that is known and before the newest step.
fn measured_before(app: &App, status: &Status) -> Option<u64> {
    let measured = app.engine.history.points().iter().rev().find(|point| point.held_out.is_some())?;
    (measured.held_out == status.held_out && measured.step < status.step).then_some(measured.step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Slice;
    use crate::ui::fixture;

    const ALL: Range = Range { low: 1.0, high: 412.0 };

    #[test]
    fn the_sharpness_has_a_point_for_each_slice_that_measured_it_and_the_edge_beside_it() {
        let mut app = fixture::app();
        assert!(lines(&app, Curve::Sharpness, ALL).series.iter().all(|series| series.points.is_empty()));
        let sharpness = Some(Sharpness { critical: 30.0, edge: 200.0 });
        let film = fixture::film(3).into_iter().enumerate();
        app.engine.timeline = crate::protocol::Timeline::default();
        for (index, slice) in film {
            app.engine.timeline.push(Slice { sharpness: sharpness.filter(|_| index != 1), ..slice });
        }
        let drawn = lines(&app, Curve::Sharpness, ALL).series;
        assert_eq!(drawn[0].points, [(406.0, 200.0), (412.0, 200.0)]);
        assert_eq!(drawn[1].points, [(406.0, 30.0), (412.0, 30.0)]);
    }

    #[test]
    fn a_held_out_loss_that_is_older_than_the_train_loss_says_of_which_step_it_is() {
        let theme = crate::theme::Theme::named("dark", crate::theme::ColorDepth::True).unwrap();
        let mut app = fixture::app();
        let newest = |app: &App| newest(app, Curve::Loss, &theme)[0].to_string();
        assert_eq!(newest(&app), "train 2.113  held-out 2.207", "no step has this one");
        let last = app.engine.history.points().iter().rev().find_map(|point| point.held_out);
        app.engine.status.as_mut().unwrap().held_out = last;
        assert_eq!(newest(&app), "train 2.113  held-out 2.134 at 400");
        app.engine.status.as_mut().unwrap().step = 400;
        assert!(newest(&app).ends_with("2.134"));
    }

    #[test]
    fn what_is_outside_the_steps_on_show_is_not_there() {
        let app = fixture::app();
        for curve in [Curve::Loss, Curve::GradientNorm, Curve::LearningRate] {
            let shown = lines(&app, curve, Range { low: 101.0, high: 120.0 });
            assert_eq!(shown.series[0].points.len(), 20);
        }
    }
}
