//! A poster: the loss around each of several models, as a picture to print. Data in, SVG out.
//!
//! Lengths are in millimetres. Text stays text, so that it can be searched and set in another font.

mod contour;
mod layout;
mod line;
pub mod raster;
mod scale;
mod surface;
mod text;
pub mod turning;

pub use contour::segments;
pub use layout::{Layout, Paper};

use layout::Frame;
use line::Chart;
use scale::Scale;
use surface::Surface;
use text::{FONT, Style, length, number, wrap};

use super::surface::Lines;
use super::xml::{escape, hex};

type Rgb = [u8; 3];

/// Why there is no poster.
#[derive(Debug, thiserror::Error)]
pub enum PosterError {
    /// The panels are too small to be read.
    #[error(
        "{count} panels in {columns} columns have {:.0} x {:.0} mm each, and {} x {} is the least: give a larger \
         --paper, or other --columns",
        size[0], size[1], least[0], least[1]
    )]
    TooSmall {
        /// Panels on the paper.
        count: usize,
        /// Columns of panels.
        columns: usize,
        /// Width and height of a panel in millimetres.
        size: [f64; 2],
        /// The least of each.
        least: [f64; 2],
    },
}

/// From where surfaces are seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum View {
    /// From the side.
    Surface {
        /// Degrees by which it is turned; seen from above, it turns against the clock.
        turn: f64,
        /// Degrees above the horizon.
        tilt: f64,
    },
    /// From above, as a map with hill shading.
    Relief,
    /// From above, in the bare colours of the losses.
    Map,
}

/// The colours of a poster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Colors {
    /// The ground.
    pub paper: Rgb,
    /// Titles and captions.
    pub ink: Rgb,
    /// Axes and explanations.
    pub muted: Rgb,
    /// Where the loss is not finite.
    pub bad: Rgb,
    /// At least two, from the least loss to the greatest.
    pub stops: Vec<Rgb>,
}

/// One model and the loss around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The model.
    pub name: String,
    /// What the losses are of: a line each.
    pub facts: Vec<String>,
    /// The coordinates along the first direction, at even distances, at least two.
    pub alphas: Vec<f64>,
    /// The coordinates along the second direction likewise; one alone makes a line.
    pub betas: Vec<f64>,
    /// Losses row by row, rows along beta; those that are not finite make holes.
    pub loss: Vec<f64>,
    /// In the place of one line, those along several directions.
    pub lines: Option<Lines>,
    /// The loss at (0, 0), where the weights are.
    pub weights: f64,
}

impl Panel {
    /// Whether there is one direction alone.
    fn is_line(&self) -> bool {
        self.betas.len() == 1
    }

    /// The losses that are drawn.
    fn drawn(&self) -> Vec<f64> {
        match &self.lines {
            Some(lines) => lines.loss.iter().flatten().map(|loss| loss.unwrap_or(f64::NAN)).collect(),
            None => self.loss.clone(),
        }
    }

    /// Where the weights are, in shares of the two sides; `None` outside.
    fn weights_place(&self) -> Option<[f64; 2]> {
        let share = |values: &[f64]| match *values {
            [only] => (only == 0.0).then_some(0.0),
            [low, .., high] => (low <= 0.0 && 0.0 <= high && low < high).then(|| -low / (high - low)),
            [] => None,
        };
        Some([share(&self.alphas)?, share(&self.betas)?])
    }
}

/// A poster.
#[derive(Debug, Clone, PartialEq)]
pub struct Poster {
    /// Its title.
    pub title: String,
    /// What stands at the foot.
    pub foot: String,
    /// Where the panels are; they are as many.
    pub layout: Layout,
    /// A model each.
    pub panels: Vec<Panel>,
    /// Its colours.
    pub colors: Colors,
    /// From where the surfaces are seen.
    pub view: View,
    /// Heights go by the logarithm.
    pub log: bool,
    /// Each panel has a scale of its own.
    pub own_scales: bool,
    /// The unit of the losses.
    pub unit: &'static str,
}

impl Poster {
    /// The document.
    pub fn svg(&self) -> String {
        let Self { layout, colors, .. } = self;
        let Paper { width, height } = layout.paper;
        let title = escape(&self.title);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}mm\" height=\"{height}mm\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n"
        );
        self.definitions(&mut svg);
        svg.push_str(&format!(
            "<rect width=\"{width}\" height=\"{height}\" fill=\"{}\"/>\n<g {FONT}>\n",
            hex(colors.paper)
        ));
        let [large, small] = layout.fonts;
        let style = Style { size: large, ink: colors.ink, anchor: "start", is_bold: true };
        let most = (width - 2.0 * layout.margin) / large;
        if let Some(line) = wrap(&self.title, most).first() {
            text::write(&mut svg, line, [layout.margin, layout.margin + large], style);
        }
        let shared = Scale::of(self.panels.iter().flat_map(Panel::drawn), self.log);
        for (panel, frame) in self.panels.iter().zip(&layout.panels) {
            let own = || Scale::of(panel.drawn().into_iter(), self.log);
            self.panel(&mut svg, panel, if self.own_scales { own() } else { shared }, *frame);
        }
        let style = Style { size: small, ink: colors.muted, anchor: "start", is_bold: false };
        let lines = wrap(&self.foot, (width - 2.0 * layout.margin) / small);
        let count = lines.len().min(Layout::FOOT);
        for (line, back) in lines.iter().take(count).zip((0..count).rev()) {
            let y = height - layout.margin - 1.4 * small * back as f64;
            text::write(&mut svg, line, [layout.margin, y], style);
        }
        svg.push_str("</g>\n</svg>\n");
        svg
    }

    /// The colour bar's gradient, the hatch of holes, and the two inks of contours.
    fn definitions(&self, svg: &mut String) {
        let Colors { stops, bad, paper, .. } = &self.colors;
        svg.push_str("<defs>\n<linearGradient id=\"loss\" x1=\"0\" y1=\"1\" x2=\"0\" y2=\"0\">\n");
        for (index, stop) in stops.iter().enumerate() {
            let offset = index as f64 / stops.len().saturating_sub(1).max(1) as f64;
            let (offset, color) = (format!("{offset:.4}"), hex(*stop));
            svg.push_str(&format!("<stop offset=\"{offset}\" stop-color=\"{color}\"/>\n"));
        }
        svg.push_str(&format!(
            "</linearGradient>\n<pattern id=\"hole\" width=\"1\" height=\"1\" patternUnits=\"userSpaceOnUse\">\
             <rect width=\"1\" height=\"1\" fill=\"{}\"/>\
             <path d=\"M0 1L1 0\" stroke=\"{}\" stroke-width=\".25\"/></pattern>\n</defs>\n",
            hex(*paper),
            hex(*bad)
        ));
        let font = self.layout.panels.first().map_or(1.0, |frame| font(*frame));
        let width = length((0.05 * font).max(0.05));
        svg.push_str(&format!(
            "<style>.d,.l{{fill:none;stroke-width:{width};stroke-linecap:round;stroke-opacity:.55}}\
             .d{{stroke:#000}}.l{{stroke:#fff}}</style>\n"
        ));
    }

    fn panel(&self, svg: &mut String, panel: &Panel, scale: Scale, frame: Frame) {
        let Colors { ink, muted, .. } = self.colors;
        let font = font(frame);
        let heading = Style { size: 1.8 * font, ink, anchor: "start", is_bold: true };
        if let Some(name) = wrap(&panel.name, frame.width / heading.size).first() {
            text::write(svg, name, [frame.x, frame.y + heading.size], heading);
        }
        let lines: Vec<String> =
            self.facts(panel, scale).iter().flat_map(|fact| wrap(fact, frame.width / font)).collect();
        let top = frame.y + frame.height - 1.4 * font * lines.len() as f64;
        let style = Style { size: font, ink: muted, anchor: "start", is_bold: false };
        for (line, number) in lines.iter().zip(1..) {
            text::write(svg, line, [frame.x, top + 1.4 * font * f64::from(number)], style);
        }
        let picture = Frame {
            y: frame.y + 1.5 * heading.size,
            height: (top - frame.y - 1.5 * heading.size).max(1.0),
            ..frame
        };
        if panel.is_line() {
            return Chart { panel, scale, colors: &self.colors, unit: self.unit, font }.draw(svg, picture);
        }
        let picture = Frame { width: (frame.width - 8.0 * font).max(1.0), ..picture };
        let surface = Surface { panel, scale, colors: &self.colors, view: self.view, font };
        surface.draw(svg, picture);
        let height = (0.5 * picture.height).min(40.0 * font);
        let bar = Frame {
            x: picture.x + picture.width + font,
            y: picture.y + (picture.height - height) / 2.0,
            width: 1.4 * font,
            height,
        };
        self.color_bar(svg, panel, scale, bar);
    }

    /// What the panel says of itself: what its losses are of, what they are, and how they are drawn.
    fn facts(&self, panel: &Panel, scale: Scale) -> Vec<String> {
        let mut facts = panel.facts.clone();
        let all = panel.drawn();
        let finite: Vec<f64> = all.iter().copied().filter(|loss| loss.is_finite()).collect();
        let (least, greatest) = finite.iter().fold((f64::MAX, f64::MIN), |(l, g), x| (l.min(*x), g.max(*x)));
        let mut losses = format!("loss {} at the weights", number(panel.weights));
        losses.push_str(if panel.weights_place().is_some() {
            " (the ring)"
        } else {
            ", which lie outside the picture"
        });
        if !finite.is_empty() {
            let place = if panel.is_line() { "line" } else { "plane" };
            losses.push_str(&format!("; on the {place} {} to {}", number(least), number(greatest)));
        }
        let holes = all.len() - finite.len();
        if holes > 0 {
            let look = if panel.is_line() { "gaps" } else { "hatched" };
            losses.push_str(&format!("; not finite at {holes} of {} points: {look}", all.len()));
        }
        facts.push(format!("{losses} ({})", self.unit));
        let what = match self.view {
            _ if panel.is_line() => "height",
            View::Map => "colour",
            View::Surface { .. } | View::Relief => "height and colour",
        };
        let mut drawn = format!("{what} from {} to {}", number(scale.low), number(scale.high));
        if scale.is_log {
            drawn.push_str(" by the logarithm");
        }
        let above = finite.iter().filter(|loss| **loss > scale.high).count();
        if above > 0 {
            drawn.push_str(&format!(", {above} points above are cut"));
        }
        if self.panels.len() > 1 {
            drawn.push_str(if self.own_scales {
                "; a scale of its own: do not compare it with the others"
            } else {
                "; one scale for all panels"
            });
        }
        if !panel.is_line() {
            drawn.push_str("; a contour at each mark of the colour bar");
        }
        if let Some(lines) = &panel.lines {
            let count = lines.loss.len();
            drawn.push_str(&format!("; {count} lines, and bold their median with half of them around it"));
        }
        drawn.push_str("; straight lines between the points");
        facts.push(drawn);
        facts
    }

    fn color_bar(&self, svg: &mut String, panel: &Panel, scale: Scale, bar: Frame) {
        let Colors { ink, muted, .. } = self.colors;
        let size = bar.width / 1.4;
        let style = Style { size, ink: muted, anchor: "start", is_bold: false };
        let [x, y, width, height] = [bar.x, bar.y, bar.width, bar.height].map(length);
        text::write(svg, self.unit, [bar.x, bar.y - size], style);
        svg.push_str(&format!(
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"url(#loss)\"/>\n"
        ));
        let (mut marks, mut last) = (String::new(), f64::MAX);
        for loss in scale.marks() {
            let Some(share) = scale.height(loss) else { continue };
            let y = bar.y + bar.height * (1.0 - share);
            marks.push_str(&format!("M{x} {}h{}", length(y), length(bar.width + 0.4 * size)));
            if last - y >= 1.2 * size {
                let place = [bar.x + bar.width + 0.8 * size, y + 0.35 * size];
                text::write(svg, &number(loss), place, Style { ink, ..style });
                last = y;
            }
        }
        svg.push_str(&format!(
            "<path d=\"{marks}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
            hex(ink),
            length(0.06 * size)
        ));
        if panel.loss.iter().any(|loss| !loss.is_finite()) {
            let y = bar.y + bar.height + size;
            svg.push_str(&format!(
                "<rect x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{width}\" fill=\"url(#hole)\"/>\n",
                length(y)
            ));
            let place = [bar.x + bar.width + 0.8 * size, y + bar.width / 2.0 + 0.35 * size];
            text::write(svg, "not finite", place, style);
        }
    }
}

/// The font size of a panel's captions.
fn font(frame: Frame) -> f64 {
    (frame.width.min(frame.height) / 68.0).max(1.1)
}
