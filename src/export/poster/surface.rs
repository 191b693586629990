//! The loss as a height over the plane, seen from the side or from above: shaded quadrangles with contours.
//!
//! The projection is orthographic. The quadrangles between four samples are painted from back to front, each with its
//! part of the contours, and so cover what is behind them. Seen from above, with the light from the upper left, the
//! same is a map with hill shading; without a light, a plain map.

use super::contour::segments;
use super::layout::Frame;
use super::scale::{Scale, round_numbers};
use super::text::{self, Style, length, number};
use super::{Colors, Panel, Rgb, View};
use crate::export::xml::hex;
use crate::theme::{interpolate, luminance, mix};

/// The height of the scale, in sides of the base.
const HEIGHT: f64 = 0.55;
/// How steep an edge is on the paper that is as good as upright.
const STEEP: f64 = 1.5;
/// Light that comes from everywhere, and light of the lamp.
const LIGHT: [f64; 2] = [0.5, 0.68];

/// A panel's surface and how it looks.
pub(super) struct Surface<'a> {
    pub(super) panel: &'a Panel,
    pub(super) scale: Scale,
    pub(super) colors: &'a Colors,
    pub(super) view: View,
    /// The font size of its axes.
    pub(super) font: f64,
}

/// From places to the paper. A place has coordinates from 0 to 1: along both directions, and its height.
struct Projection {
    /// The middle of the base.
    middle: [f64; 2],
    /// Millimetres to the right for each coordinate of the base.
    right: [f64; 2],
    /// Millimetres upwards for each coordinate.
    up: [f64; 3],
    /// Whether what has the greater coordinate is farther away, for each coordinate of the base.
    farther: [bool; 2],
    /// From a place towards the lamp, of length 1.
    light: [f64; 3],
}

impl Projection {
    /// As large as fits into a frame.
    fn new(view: View, frame: Frame) -> Self {
        let (turn, tilt, is_flat) = match view {
            View::Surface { turn, tilt } => (turn, tilt, false),
            View::Relief | View::Map => (0.0, 90.0, true),
        };
        let (turn_sin, turn_cos) = turn.to_radians().sin_cos();
        let (tilt_sin, tilt_cos) = tilt.to_radians().sin_cos();
        let height = HEIGHT * tilt_cos;
        let spread = turn_sin.abs() + turn_cos.abs();
        let side = (frame.width / spread).min(frame.height / (tilt_sin * spread + height)).max(0.0);
        // From the left; from the front where heights are seen from the side, from behind on a map, as maps have it.
        let away = if is_flat { 0.4 } else { -0.25 };
        let light = [-0.6 * turn_cos + away * turn_sin, 0.6 * turn_sin + away * turn_cos, 0.75];
        let size = light.iter().map(|x| x * x).sum::<f64>().sqrt();
        Self {
            middle: [frame.x + frame.width / 2.0, frame.y + f64::midpoint(frame.height, side * height)],
            right: [side * turn_cos, -side * turn_sin],
            up: [side * tilt_sin * turn_sin, side * tilt_sin * turn_cos, side * height],
            farther: [turn_sin >= 0.0, turn_cos >= 0.0],
            light: light.map(|x| x / size),
        }
    }

    fn at(&self, [u, v, height]: [f64; 3]) -> [f64; 2] {
        let (x, y) = (u - 0.5, v - 0.5);
        [
            self.middle[0] + self.right[0] * x + self.right[1] * y,
            self.middle[1] - self.up[0] * x - self.up[1] * y - self.up[2] * height,
        ]
    }

    /// The coordinate of the edge of the base in front, across each of the two directions.
    fn front(&self, across: usize) -> f64 {
        if self.farther[across] { 0.0 } else { 1.0 }
    }

    /// The corner of the base that the axis of the losses stands on, and whether it is at the left: it is, unless the
    /// edge from there to the front, which has numbers too, is as good as upright on the paper.
    fn axis(&self) -> ([f64; 2], bool) {
        let leftwards = usize::from(self.right[0] * (1.0 - 2.0 * self.front(0)) >= 0.0);
        let is_left = self.up[leftwards].abs() <= STEEP * self.right[leftwards].abs();
        (self.right.map(|right| if (right < 0.0) == is_left { 1.0 } else { 0.0 }), is_left)
    }

    /// How bright a quadrangle is, whose corners these are, around it: Lambert's law.
    fn brightness(&self, [a, b, c, d]: [[f64; 3]; 4]) -> f64 {
        let between =
            |from: [f64; 3], to: [f64; 3]| [to[0] - from[0], to[1] - from[1], HEIGHT * (to[2] - from[2])];
        let (p, q) = (between(a, c), between(b, d));
        let normal = [p[1] * q[2] - p[2] * q[1], p[2] * q[0] - p[0] * q[2], p[0] * q[1] - p[1] * q[0]];
        let size = normal.iter().map(|x| x * x).sum::<f64>().sqrt();
        let lit =
            normal.iter().zip(self.light).map(|(n, l)| n * l).sum::<f64>() / size.max(f64::MIN_POSITIVE);
        LIGHT[0] + LIGHT[1] * lit.max(0.0)
    }
}

/// The numbers below `count`, falling or rising.
fn order(count: usize, falling: bool) -> impl Iterator<Item = usize> {
    (0..count).map(move |index| if falling { count - 1 - index } else { index })
}

/// A closed line through these places.
fn outline(places: &[[f64; 2]]) -> String {
    let places: Vec<String> = places.iter().map(|[x, y]| format!("{} {}", length(*x), length(*y))).collect();
    format!("M{}z", places.join("L"))
}

/// A colour in more or less light. What is brighter than the colour can be goes towards white.
fn lit(color: Rgb, brightness: f64) -> Rgb {
    if brightness > 1.0 {
        return mix(color, [255; 3], (0.6 * (brightness - 1.0)).min(1.0) as f32);
    }
    color.map(|channel| (f64::from(channel) * brightness).round() as u8)
}

impl Surface<'_> {
    /// Draws the surface, its axes and the place of the weights.
    pub(super) fn draw(&self, svg: &mut String, frame: Frame) {
        // Room for the numbers of the axes.
        let (across, below) = (5.0 * self.font, 4.5 * self.font);
        let inner = Frame {
            x: frame.x + across,
            y: frame.y + 2.0 * self.font,
            width: (frame.width - 2.0 * across).max(1.0),
            height: (frame.height - 2.0 * self.font - below).max(1.0),
        };
        let view = Projection::new(self.view, inner);
        self.base(svg, &view);
        self.quads(svg, &view);
        self.weights(svg, &view);
        self.axes(svg, &view);
    }

    fn height(&self, column: usize, row: usize) -> Option<f64> {
        let loss = self.panel.loss.get(row * self.panel.alphas.len() + column);
        loss.and_then(|loss| self.scale.height(*loss))
    }

    /// The corners of a quadrangle on the base, around it, and the heights over them.
    fn corners(&self, column: usize, row: usize) -> ([[f64; 2]; 4], [Option<f64>; 4]) {
        let Panel { alphas, betas, .. } = self.panel;
        let share = |index: usize, samples: usize| index as f64 / (samples - 1) as f64;
        let corners = [(0, 0), (1, 0), (1, 1), (0, 1)].map(|(right, up)| (column + right, row + up));
        (
            corners.map(|(column, row)| [share(column, alphas.len()), share(row, betas.len())]),
            corners.map(|(column, row)| self.height(column, row)),
        )
    }

    /// Columns and rows of quadrangles.
    fn size(&self) -> (usize, usize) {
        (self.panel.alphas.len().saturating_sub(1), self.panel.betas.len().saturating_sub(1))
    }

    /// The edges of the base, and what is not finite as holes in it.
    fn base(&self, svg: &mut String, view: &Projection) {
        let muted = hex(self.colors.muted);
        let edges = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]].map(|[u, v]| view.at([u, v, 0.0]));
        let width = length(0.07 * self.font);
        svg.push_str(&format!(
            "<path d=\"{}\" fill=\"none\" stroke=\"{muted}\" stroke-width=\"{width}\"/>\n",
            outline(&edges)
        ));
        let (columns, rows) = self.size();
        let mut holes = String::new();
        for (column, row) in (0..rows).flat_map(|row| (0..columns).map(move |column| (column, row))) {
            let (places, heights) = self.corners(column, row);
            if heights.contains(&None) {
                holes.push_str(&outline(&places.map(|[u, v]| view.at([u, v, 0.0]))));
            }
        }
        if !holes.is_empty() {
            svg.push_str(&format!("<path d=\"{holes}\" fill=\"url(#hole)\"/>\n"));
        }
    }

    fn quads(&self, svg: &mut String, view: &Projection) {
        let levels: Vec<(f64, &str)> = self
            .scale
            .marks()
            .into_iter()
            .filter_map(|mark| self.scale.height(mark))
            .map(|height| (height, if luminance(self.color(height)) < 0.2 { "l" } else { "d" }))
            .collect();
        // A line of its own colour closes the gap that smooth edges leave between two quadrangles.
        svg.push_str(&format!(
            "<g stroke-width=\"{}\" stroke-linejoin=\"round\">\n",
            length((0.06 * self.font).max(0.05))
        ));
        let (columns, rows) = self.size();
        for row in order(rows, view.farther[1]) {
            for column in order(columns, view.farther[0]) {
                let (places, heights) = self.corners(column, row);
                let [Some(a), Some(b), Some(c), Some(d)] = heights else { continue };
                let heights = [a, b, c, d];
                let corners = std::array::from_fn(|i| [places[i][0], places[i][1], heights[i]]);
                let color = self.color(heights.iter().sum::<f64>() / 4.0);
                let color =
                    hex(if self.view == View::Map { color } else { lit(color, view.brightness(corners)) });
                let path = outline(&corners.map(|corner| view.at(corner)));
                svg.push_str(&format!("<path d=\"{path}\" fill=\"{color}\" stroke=\"{color}\"/>\n"));
                let [low, high] = [places[0], places[2]];
                let place = |[s, t]: [f64; 2], height: f64| {
                    let [x, y] =
                        view.at([low[0] + s * (high[0] - low[0]), low[1] + t * (high[1] - low[1]), height]);
                    format!("{} {}", length(x), length(y))
                };
                for (level, class) in &levels {
                    let mut lines = String::new();
                    for [from, to] in segments(heights, *level) {
                        lines.push_str(&format!("M{}L{}", place(from, *level), place(to, *level)));
                    }
                    if !lines.is_empty() {
                        svg.push_str(&format!("<path class=\"{class}\" d=\"{lines}\"/>\n"));
                    }
                }
            }
        }
        svg.push_str("</g>\n");
    }

    fn color(&self, height: f64) -> Rgb {
        interpolate(&self.colors.stops, height as f32)
    }

    /// A ring where the weights are, and from the side a stem by which it is found behind a hill.
    fn weights(&self, svg: &mut String, view: &Projection) {
        let (Some([u, v]), Some(height)) =
            (self.panel.weights_place(), self.scale.height(self.panel.weights))
        else {
            return;
        };
        let Colors { ink, paper, .. } = *self.colors;
        let [x, y] = view.at([u, v, height]);
        if let View::Surface { .. } = self.view {
            let [_, top] = view.at([u, v, 1.06]);
            svg.push_str(&format!(
                "<path d=\"M{0} {1}V{2}\" stroke=\"{3}\" stroke-width=\"{4}\"/>\n",
                length(x),
                length(y),
                length(top),
                hex(ink),
                length(0.08 * self.font)
            ));
        }
        svg.push_str(&format!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
            length(x),
            length(y),
            length(0.4 * self.font),
            hex(paper),
            hex(ink),
            length(0.18 * self.font)
        ));
    }

    /// Numbers along the edges of the base in front, and the losses at both ends of an upright one.
    fn axes(&self, svg: &mut String, view: &Projection) {
        let font = self.font;
        let muted = self.colors.muted;
        let style = Style { size: font, ink: muted, anchor: "middle", is_bold: false };
        let mut ticks = String::new();
        for (axis, values) in [&self.panel.alphas, &self.panel.betas].into_iter().enumerate() {
            let (Some(&low), Some(&high)) = (values.first(), values.last()) else { continue };
            let front = view.front(1 - axis);
            let at = |share: f64| {
                let mut place = [0.0; 3];
                (place[axis], place[1 - axis]) = (share, front);
                view.at(place)
            };
            // Away from the base, at a right angle to it on the paper where the edge is seen from above.
            let outwards =
                [view.right[1 - axis], -view.up[1 - axis]].map(|x| if front > 0.5 { x } else { -x });
            let size = outwards[0].hypot(outwards[1]).max(f64::MIN_POSITIVE);
            let out = |share: f64, away: f64| {
                let [x, y] = at(share);
                [x + away * outwards[0] / size, y + away * outwards[1] / size]
            };
            let centered = |[x, y]: [f64; 2]| [x, y + 0.35 * font];
            for value in round_numbers(low, high, 5.0) {
                let share = (value - low) / (high - low);
                let ([x, y], [to_x, to_y]) = (at(share), out(share, 0.6 * font));
                ticks.push_str(&format!("M{} {}L{} {}", length(x), length(y), length(to_x), length(to_y)));
                text::write(svg, &number(value), centered(out(share, 1.6 * font)), style);
            }
            let name = Style { ink: self.colors.ink, is_bold: true, ..style };
            text::write(svg, ["d1", "d2"][axis], centered(out(0.5, 3.6 * font)), name);
        }
        if let View::Surface { .. } = self.view {
            let ([u, v], is_left) = view.axis();
            let ([x, bottom], [_, top]) = (view.at([u, v, 0.0]), view.at([u, v, 1.0]));
            ticks.push_str(&format!("M{} {}V{}", length(x), length(bottom), length(top)));
            let (anchor, away) = if is_left { ("end", -0.6 * font) } else { ("start", 0.6 * font) };
            let style = Style { anchor, ..style };
            let Scale { low, high, .. } = self.scale;
            // The lower one stands above the numbers of the base.
            for (y, loss) in
                [(bottom - 0.9 * font, low), (top, high)].into_iter().take(if high > low { 2 } else { 1 })
            {
                text::write(svg, &number(loss), [x + away, y + 0.35 * font], style);
            }
        }
        svg.push_str(&format!(
            "<path d=\"{ticks}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
            hex(muted),
            length(0.07 * font)
        ));
    }
}
