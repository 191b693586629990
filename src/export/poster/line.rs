//! The loss along one direction: a chart. Of several directions also where half of their lines lie.

use super::layout::Frame;
use super::scale::{Scale, round_numbers};
use super::text::{self, Style, length, number};
use super::{Colors, Panel};
use crate::export::surface::Lines;
use crate::export::xml::hex;
use crate::theme::interpolate;

/// A panel's line and how it looks.
pub(super) struct Chart<'a> {
    pub(super) panel: &'a Panel,
    pub(super) scale: Scale,
    pub(super) colors: &'a Colors,
    /// The unit of the losses.
    pub(super) unit: &'a str,
    /// The font size of its axes.
    pub(super) font: f64,
}

impl Chart<'_> {
    /// Draws the axes, the lines and the place of the weights.
    pub(super) fn draw(&self, svg: &mut String, frame: Frame) {
        let Self { font, .. } = *self;
        let plot = Frame {
            x: frame.x + 7.0 * font,
            y: frame.y + 2.5 * font,
            width: (frame.width - 8.0 * font).max(1.0),
            height: (frame.height - 7.0 * font).max(1.0),
        };
        self.axes(svg, plot);
        let Colors { ink, muted, .. } = *self.colors;
        let bold = format!("stroke=\"{}\" stroke-width=\"{}\"", hex(ink), length(0.25 * font));
        if let Some(Lines { loss, median, low, high, .. }) = &self.panel.lines {
            self.band(svg, plot, low, high);
            let thin = format!("stroke=\"{}\" stroke-width=\"{}\"", hex(muted), length(0.07 * font));
            for line in loss {
                self.line(svg, plot, line.iter().copied(), &thin);
            }
            self.line(svg, plot, median.iter().copied(), &bold);
        } else {
            self.line(svg, plot, self.panel.loss.iter().copied().map(Some), &bold);
        }
        self.weights(svg, plot);
    }

    /// Where a point is; `None` where the loss is not finite.
    fn place(&self, plot: Frame, index: usize, loss: f64) -> Option<[f64; 2]> {
        let share = index as f64 / self.panel.alphas.len().saturating_sub(1).max(1) as f64;
        let height = self.scale.height(loss)?;
        Some([plot.x + plot.width * share, plot.y + plot.height * (1.0 - height)])
    }

    /// A line that breaks where the loss is not finite. A point between two breaks is a dot.
    fn line(&self, svg: &mut String, plot: Frame, losses: impl Iterator<Item = Option<f64>>, look: &str) {
        let mut path = String::new();
        let mut is_down = false;
        for (index, loss) in losses.enumerate() {
            let Some([x, y]) = loss.and_then(|loss| self.place(plot, index, loss)) else {
                is_down = false;
                continue;
            };
            let (x, y) = (length(x), length(y));
            path.push_str(&if is_down { format!("L{x} {y}") } else { format!("M{x} {y}h0") });
            is_down = true;
        }
        if !path.is_empty() {
            svg.push_str(&format!(
                "<path d=\"{path}\" fill=\"none\" {look} stroke-linecap=\"round\" stroke-linejoin=\"round\"/>\n"
            ));
        }
    }

    /// What lies between the two quartiles.
    fn band(&self, svg: &mut String, plot: Frame, low: &[Option<f64>], high: &[Option<f64>]) {
        let fill = hex(interpolate(&self.colors.stops, 0.5));
        let at = |losses: &[Option<f64>], index: usize| {
            let [x, y] = self.place(plot, index, (*losses.get(index)?)?)?;
            Some(format!("{} {}", length(x), length(y)))
        };
        let mut path = String::new();
        for index in 1..low.len() {
            let corners = [at(low, index - 1), at(low, index), at(high, index), at(high, index - 1)];
            if let [Some(a), Some(b), Some(c), Some(d)] = corners {
                path.push_str(&format!("M{a}L{b}L{c}L{d}z"));
            }
        }
        if !path.is_empty() {
            svg.push_str(&format!("<path d=\"{path}\" fill=\"{fill}\" fill-opacity=\".35\"/>\n"));
        }
    }

    /// A ring where the weights are.
    fn weights(&self, svg: &mut String, plot: Frame) {
        let (Some([share, _]), Some(height)) =
            (self.panel.weights_place(), self.scale.height(self.panel.weights))
        else {
            return;
        };
        let Colors { ink, paper, .. } = *self.colors;
        svg.push_str(&format!(
            "<circle cx=\"{}\" cy=\"{}\" r=\"{}\" fill=\"{}\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
            length(plot.x + plot.width * share),
            length(plot.y + plot.height * (1.0 - height)),
            length(0.4 * self.font),
            hex(paper),
            hex(ink),
            length(0.18 * self.font)
        ));
    }

    fn axes(&self, svg: &mut String, plot: Frame) {
        let Self { font, scale, .. } = *self;
        let style = Style { size: font, ink: self.colors.muted, anchor: "middle", is_bold: false };
        let name = Style { ink: self.colors.ink, is_bold: true, ..style };
        let (bottom, right) = (plot.y + plot.height, plot.x + plot.width);
        let [x, y] = [plot.x, bottom].map(length);
        let mut lines = format!("M{x} {}V{y}H{}", length(plot.y), length(right));
        if let [Some(&low), Some(&high)] = [self.panel.alphas.first(), self.panel.alphas.last()] {
            for value in round_numbers(low, high, 10.0) {
                let at = plot.x + plot.width * (value - low) / (high - low);
                lines.push_str(&format!("M{} {y}v{}", length(at), length(0.6 * font)));
                text::write(svg, &number(value), [at, bottom + 1.8 * font], style);
            }
        }
        text::write(svg, "d1", [f64::midpoint(plot.x, right), bottom + 3.6 * font], name);
        let mut last = f64::MAX;
        for loss in scale.marks() {
            let Some(share) = scale.height(loss) else { continue };
            let at = bottom - plot.height * share;
            lines.push_str(&format!("M{x} {}h-{}", length(at), length(0.6 * font)));
            if last - at >= 1.5 * font {
                let style = Style { anchor: "end", ..style };
                text::write(svg, &number(loss), [plot.x - font, at + 0.35 * font], style);
                last = at;
            }
        }
        text::write(svg, self.unit, [plot.x, plot.y - font], Style { anchor: "start", ..style });
        svg.push_str(&format!(
            "<path d=\"{lines}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{}\"/>\n",
            hex(self.colors.muted),
            length(0.07 * font)
        ));
    }
}
