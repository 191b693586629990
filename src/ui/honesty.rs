//! The honesty line: which loss a slice shows, over which plane, and how little of the movement that plane holds.

use crate::protocol::{Drift, PlaneInfo, PlaneKind, Slice};

use super::text;

/// What a slice says about itself, the most telling part first. Each part stands or falls as a whole.
pub(super) fn parts(slice: &Slice, drift: Option<&Drift>) -> Vec<String> {
    let (batch, plane) = (&slice.batch, &slice.plane);
    let hash: String = batch.sha256.chars().take(4).collect();
    let mut parts = vec![
        format!("mean of {} {} tokens #{}", batch.tokens, text::escape(&batch.source), text::escape(&hash)),
        directions(plane),
    ];
    // A random plane of a space of N dimensions holds sqrt(2/N) of any movement.
    let chance = (2.0 / plane.parameters.max(1) as f64).sqrt();
    let captured = drift.and_then(|drift| drift.captured);
    parts.push(match captured {
        Some(captured) => format!("in plane {}, chance {}", text::percent(captured), text::percent(chance)),
        None => format!("in plane by chance {}", text::percent(chance)),
    });
    parts.push(format!("{}x{} samples, interpolated", slice.alphas.len(), slice.betas.len()));
    parts.push(format!("{} tensors, {} weights", plane.tensors, text::count(plane.parameters as f64)));
    parts
}

/// What the directions are.
fn directions(plane: &PlaneInfo) -> String {
    let kind = text::escape(&plane.kind);
    let [_, second] = plane.seeds;
    match (PlaneKind::named(&plane.kind), plane.explained, plane.spectrum) {
        (Some(PlaneKind::Gradient | PlaneKind::Update), ..) => {
            format!("d1 {kind}, d2 random, seed {second}")
        }
        (Some(PlaneKind::Trajectory), Some(explained), _) => {
            let [first, second] = explained.shares.map(|share| 100.0 * share);
            let [walk, _] = explained.random_walk.map(|share| 100.0 * share);
            format!("{kind}: {first:.0} + {second:.0} % of the path, a random walk {walk:.0} %")
        }
        (Some(PlaneKind::Hessian), _, Some(spectrum)) => {
            let [greatest, least] = [spectrum.greatest, spectrum.least].map(text::short_number);
            format!("{kind}: curvature {greatest} along d1, {least} along d2")
        }
        _ => {
            // Most directions that are not random are as long as they are.
            let norm = match plane.normalization.as_str() {
                "none" => String::new(),
                name => format!(", {} norm", text::escape(name)),
            };
            format!("{kind}{norm}, seeds {} {second}", plane.seeds[0])
        }
    }
}

/// What must be said wherever there is room for it: the loss, the plane, what the plane captures.
const ESSENTIAL: usize = 3;

/// Lays the parts out in at most `rows` lines, no more than the essential ones need. What does not fit is left out
/// from the end, in whole parts.
pub(super) fn lines(parts: &[String], width: usize, rows: usize) -> Vec<String> {
    let rows = wrap(&parts[..parts.len().min(ESSENTIAL)], width).len().min(rows);
    let layouts = (0..=parts.len()).rev().map(|count| wrap(&parts[..count], width));
    layouts.into_iter().find(|lines| fits(lines, width, rows)).unwrap_or_default()
}

fn fits(lines: &[String], width: usize, rows: usize) -> bool {
    lines.len() <= rows && lines.iter().all(|line| text::width(line) <= width)
}

fn wrap(parts: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        match lines.last_mut() {
            Some(line) if text::width(line) + 3 + text::width(part) <= width => {
                line.push_str(" · ");
                line.push_str(part);
            }
            _ => lines.push(part.clone()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::protocol::{Explained, Spectrum};

    #[test]
    fn a_slice_says_what_it_is() {
        let app = fixture::app();
        let drift = fixture::status().drift;
        let parts = parts(app.engine.slice.as_ref().unwrap(), drift.as_ref());
        assert_eq!(
            parts[..3],
            [
                "mean of 512 held-out tokens #a41f",
                "random, filter norm, seeds 11 111",
                "in plane 0.1 %, chance 0.1 %"
            ]
        );
    }

    #[test]
    fn directions_say_what_they_are_made_of() {
        let plane = |kind: &str| PlaneInfo {
            kind: kind.to_owned(),
            normalization: "none".into(),
            seeds: [11, 111],
            explained: Some(Explained { shares: [0.8, 0.1], random_walk: [0.61, 0.15] }),
            spectrum: Some(Spectrum { greatest: 31.0, least: -2.5, probed: 20, negative: 7 }),
            ..PlaneInfo::default()
        };
        for (kind, said) in [
            ("gradient", "d1 gradient, d2 random, seed 111"),
            ("update", "d1 update, d2 random, seed 111"),
            ("trajectory", "trajectory: 80 + 10 % of the path, a random walk 61 %"),
            ("hessian", "hessian: curvature 31.0 along d1, -2.5 along d2"),
            ("to:a\u{1b}b", "to:a<0x1B>b, seeds 11 111"),
        ] {
            assert_eq!(directions(&plane(kind)), said);
        }
    }

    #[test]
    fn parts_are_never_cut_in_the_middle() {
        let parts = ["mean of 512".to_string(), "random".into(), "chance".into()];
        assert_eq!(lines(&parts, 40, 1), ["mean of 512 · random · chance"]);
        assert_eq!(lines(&parts, 20, 2), ["mean of 512 · random", "chance"]);
        assert_eq!(lines(&parts, 20, 1), ["mean of 512 · random"]);
        assert_eq!(lines(&parts, 5, 3), Vec::<String>::new());
        let more = [parts.as_slice(), &["17x17 samples".into()]].concat();
        assert_eq!(lines(&more, 30, 3), ["mean of 512 · random · chance"]);
    }
}
