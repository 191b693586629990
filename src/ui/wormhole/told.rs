//! What is told of the experiment in words and numbers.

use ratatui::text::{Line, Span};

use crate::protocol::Slice;
use crate::protocol::wormhole::{Moment, Scene};
use crate::theme::Theme;
use crate::ui::text;

/// What the pictures say about themselves, the most telling part first.
pub(super) fn parts(scene: &Scene, slice: &Slice) -> Vec<String> {
    let plane = &slice.plane;
    let layers = if scene.setting.film { "first half of the layers" } else { "all layers" };
    let norm = text::escape(&plane.normalization);
    vec![
        format!("mean loss of \"{}\", trained and drawn", text::shorten(&text::one_line(&scene.text), 40)),
        format!("{norm} norm, seeds {} {}, {layers}", plane.seeds[0], plane.seeds[1]),
        format!("adam, lr {:.1e}", scene.learning_rate),
        format!("(0, 0) is step {} of the run", scene.of_step),
        "1 is as large as the weights".into(),
        format!("{}x{} samples, interpolated", slice.alphas.len(), slice.betas.len()),
        format!("{} tensors, {} weights", plane.tensors, text::count(plane.parameters as f64)),
    ]
}

/// The numbers of a step: what the weights say, how far they have moved, and how little of that the plane shows.
pub(super) fn numbers(scene: &Scene, moment: &Moment, theme: &Theme) -> [Line<'static>; 3] {
    let palette = &theme.palette;
    let target = scene.prediction.as_ref().and_then(|shown| shown.tokens.last());
    let name = target.map_or("target", |token| token.text.trim());
    let target = text::shorten(&text::one_line(name), 12);
    let gap = || Span::styled(" · ", palette.muted);
    // The loss of a token is minus the logarithm of its probability.
    let probability = text::probability((-moment.loss_target).exp());
    let losses = Line::from(vec![
        Span::styled(format!("step {}", moment.step), palette.accent),
        gap(),
        Span::styled(format!("loss {}", text::number(moment.loss)), palette.train),
        gap(),
        Span::styled(
            format!("{target} {} (p {probability})", text::number(moment.loss_target)),
            palette.held_out,
        ),
    ]);
    let Some(captured) = moment.captured else {
        let chance = format!("of any movement a plane holds {:.1e} by chance", scene.chance);
        return [losses, Line::raw("nothing has moved yet"), Line::styled(chance, palette.muted)];
    };
    let [d1, d2] = moment.inside.map(tiny);
    let moved = format!("moved {} in all, inside d1 {d1}, d2 {d2}", text::norm(moment.distance));
    let captured = format!(
        "captured {}, chance {}: {}",
        tiny(captured),
        tiny(scene.chance),
        verdict(captured, scene.chance)
    );
    [losses, Line::raw(moved), Line::styled(captured, palette.title)]
}

/// A small number in two digits.
fn tiny(value: f64) -> String {
    if value == 0.0 { "0".into() } else { format!("{value:.1e}") }
}

/// Whether the plane holds more of the movement than a plane that has nothing to do with it. That share is a length in
/// two dimensions: twice its root mean square is passed by chance once in fifty times.
fn verdict(captured: f64, chance: f64) -> String {
    if captured <= 2.0 * chance {
        return "no more than chance".into();
    }
    let times = captured / chance;
    if times.is_finite() { format!("{times:.0} times chance") } else { "more than chance".into() }
}
