//! What the colours of the landscape mean, and what the loss is where the weights are.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{Chosen, Marker, Stretch};
use crate::protocol::Drift;
use crate::theme::{ColorMap, LEVELS, Theme};

use super::braille::Dots;
use super::heatmap::{ASCII, Mark, dithered};
use super::surface::{Scale, Surface};
use super::text;

/// Two rows: the colour bar and its values; beside them, if wanted, the loss at the weights and the size of a step.
pub(super) struct Legend<'a> {
    pub(super) surface: &'a Surface<'a>,
    pub(super) map: &'a ColorMap,
    pub(super) theme: &'a Theme,
    pub(super) marker: Marker,
    pub(super) drift: Option<&'a Drift>,
    pub(super) chosen: Option<Chosen>,
    /// The places whose losses are marked on the bar in place of that of the weights.
    pub(super) marks: &'a [Mark],
    /// The picture is a surface: its lines have the colours as inks, and its heights an axis of their own.
    pub(super) relief: bool,
    /// Something stands beside the bar.
    pub(super) beside: bool,
}

/// Columns of what stands beside the bar.
const BESIDE: u16 = 22;

/// Where the bar is, if there is room for it and for what stands beside it.
pub(super) fn bar(area: Rect, beside: bool) -> Option<Rect> {
    let reserved = if beside { BESIDE + 2 } else { 0 };
    let fits = area.height >= 2 && area.width >= reserved + 6;
    fits.then(|| Rect { width: (area.width - reserved).min(60), height: 1, ..area })
}

/// The level of a column of a bar of so many.
pub(super) fn level(column: usize, width: usize) -> usize {
    (column * LEVELS / width.max(1)).min(LEVELS - 1)
}

/// The column of a loss in a bar of so many.
pub(super) fn column(scale: &Scale, loss: f64, width: usize) -> usize {
    ((scale.place(loss).clamp(0.0, 1.0) * width as f64) as usize).min(width.saturating_sub(1))
}

/// Rising losses in as few digits as tell them apart.
fn apart(losses: &[f64]) -> Vec<String> {
    let all = |number: &dyn Fn(f64) -> String| losses.iter().map(|loss| number(*loss)).collect::<Vec<_>>();
    let few = [all(&text::short_number), all(&text::number)];
    let more = (4..=7).map(|decimals| all(&|loss: f64| format!("{loss:.decimals$}")));
    let are_apart = |texts: &Vec<String>| texts.windows(2).all(|pair| pair[0] != pair[1]);
    few.into_iter().chain(more).find(are_apart).unwrap_or_else(|| all(&text::number))
}

impl Legend<'_> {
    fn bar(&self, area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let mut dots = Dots::new(area.width, 1);
        for x in 0..2 * width {
            for y in 0..4 {
                if dithered(level(x / 2, width), x, y) {
                    dots.set(x, y, 0);
                }
            }
        }
        for column in 0..width {
            let level = level(column, width);
            let cell = &mut buffer[(area.x + column as u16, area.y)];
            cell.set_char(match (self.marker, self.theme.has_color) {
                (Marker::Ascii, _) => ASCII[level],
                (_, true) => ' ',
                (_, false) => dots.character(column, 0).unwrap_or(' '),
            });
            if self.theme.has_color {
                let color =
                    if self.relief { self.theme.ink(self.map, level) } else { self.map.background(level) };
                cell.set_style(Style::new().bg(color).fg(self.map.mark(level)));
            }
        }
        for (symbol, loss) in self.marked() {
            let here = column(&self.surface.scale, loss, width);
            let cell = &mut buffer[(area.x + here as u16, area.y)];
            cell.set_symbol(symbol).modifier.insert(Modifier::BOLD);
            if !self.theme.has_color {
                cell.modifier.insert(Modifier::REVERSED);
            }
        }
    }

    /// The symbols on the bar, and the losses where they stand.
    fn marked(&self) -> Vec<(&str, f64)> {
        if self.marks.is_empty() {
            return vec![(self.weights(), self.surface.slice.center)];
        }
        let under = |mark: &Mark| self.surface.under(Chosen { alpha: mark.place[0], beta: mark.place[1] });
        let marked = self.marks.iter().map(|mark| (mark.symbol, under(mark)));
        marked.filter(|(_, loss)| loss.is_finite()).collect()
    }

    fn weights(&self) -> &str {
        if self.marker == Marker::Ascii { "O" } else { &self.theme.symbols.weights }
    }

    fn values(&self, area: Rect, buffer: &mut Buffer) {
        let muted = self.theme.palette.muted;
        let scale = &self.surface.scale;
        let ranked = scale.ranked_above();
        let losses: Vec<f64> =
            std::iter::once(scale.low).chain(ranked).chain([scale.middle(), scale.high]).collect();
        let mut numbers = apart(&losses).into_iter();
        let low = numbers.next().unwrap_or_default();
        let ranked = ranked.and_then(|_| numbers.next());
        let middle = numbers.next().unwrap_or_default();
        let high = numbers.next().unwrap_or_default();
        let high = if scale.clipped { format!("{high} clipped") } else { high };
        let said = match (scale.stretch(), ranked) {
            (Stretch::Linear, _) => vec![middle],
            (Stretch::Log, _) => vec![format!("{middle} log"), "log".to_owned()],
            (Stretch::Rank, None) => {
                vec![format!("median {middle} by rank"), format!("{middle} by rank"), "by rank".to_owned()]
            }
            (Stretch::Rank, Some(lowest)) => {
                let above = format!("by rank above {lowest}");
                vec![format!("{middle}, {above}"), above, "by rank".to_owned()]
            }
        };
        let ends = [&low, &high].map(|end| text::width(end));
        if ends[0] + 1 + ends[1] > usize::from(area.width) {
            return;
        }
        // In the middle, with a gap to the longer of both ends.
        let fits =
            |said: &String| text::width(said) + 2 * (ends[0].max(ends[1]) + 1) <= usize::from(area.width);
        Line::styled(low, muted).render(area, buffer);
        Line::styled(high, muted).right_aligned().render(area, buffer);
        if let Some(middle) = said.into_iter().find(fits) {
            Line::styled(middle, muted).centered().render(area, buffer);
        }
    }

    fn losses(&self) -> Line<'_> {
        let title = self.theme.palette.title;
        let mut spans = vec![Span::styled(
            format!("{} {}", self.weights(), text::number(self.surface.slice.center)),
            title,
        )];
        if let Some(chosen) = self.chosen {
            let loss = self.surface.under(chosen);
            let symbol = if self.marker == Marker::Ascii { "X" } else { &self.theme.symbols.cursor };
            spans.push(Span::styled(format!(" {symbol} {}", text::number(loss)), self.theme.palette.accent));
        }
        spans.push(Span::styled(" nats", self.theme.palette.muted));
        Line::from(spans)
    }

    /// The length of the last step, in units of the first direction.
    fn step(&self) -> Option<String> {
        let length = self.drift?.step_length?;
        let length = if length < 0.005 { format!("{length:.0e}") } else { text::short_number(length) };
        Some(format!("a step: {length} of d1"))
    }
}

impl Widget for Legend<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let Some(bar) = bar(area, self.beside) else { return };
        // Without colours all lines of a surface look alike.
        if !self.relief || self.theme.has_color {
            self.bar(bar, buffer);
            self.values(Rect { y: bar.y + 1, ..bar }, buffer);
        }
        if !self.beside {
            return;
        }
        let beside = Rect { x: bar.right() + 2, width: area.right() - bar.right() - 2, ..bar };
        self.losses().render(beside, buffer);
        if let Some(step) = self.step() {
            Line::styled(step, self.theme.palette.muted).render(Rect { y: beside.y + 1, ..beside }, buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::theme::ColorDepth;

    fn drawn(spike: bool, chosen: Option<Chosen>) -> Buffer {
        stretched(Stretch::Linear, 50, spike, chosen)
    }

    fn stretched(stretch: Stretch, width: u16, spike: bool, chosen: Option<Chosen>) -> Buffer {
        let theme = Theme::named("dark", ColorDepth::True).unwrap();
        let mut slice = fixture::slice(17, |alpha, _| 5.0 + 3.0 * alpha as f32);
        if spike {
            slice.loss[16] = 1e6;
        }
        let surface = Surface::new(&slice, stretch).unwrap();
        let area = Rect::new(0, 0, width, 2);
        let mut buffer = Buffer::empty(area);
        let drift = Drift { distance: 1.0, inside: [0.0; 2], captured: None, step_length: Some(0.0025) };
        let (map, marker, drift) = (&theme.maps[0], Marker::Braille, Some(&drift));
        let (theme, surface, marks) = (&theme, &surface, &[]);
        Legend { surface, map, theme, marker, drift, chosen, marks, relief: false, beside: true }
            .render(area, &mut buffer);
        buffer
    }

    fn text(buffer: &Buffer, row: u16) -> String {
        (0..buffer.area.width).map(|x| buffer[(x, row)].symbol()).collect()
    }

    #[test]
    fn the_bar_has_its_values_and_the_loss_at_the_weights_on_it() {
        let buffer = drawn(false, None);
        assert_eq!(text(&buffer, 0), "             ◉              ◉ 5.000 nats          ");
        assert_eq!(text(&buffer, 1), "2.0        5.0         8.0  a step: 3e-3 of d1    ");
        let colors: std::collections::BTreeSet<_> = (0..26).map(|x| buffer[(x, 0)].bg.to_string()).collect();
        assert_eq!(colors.len(), LEVELS);
    }

    #[test]
    fn a_scale_that_cuts_off_says_so() {
        assert!(text(&drawn(true, None), 1).contains(" clipped "));
    }

    #[test]
    fn a_scale_that_is_not_linear_says_so() {
        let below = |stretch, width| text(&stretched(stretch, width, true, None), 1);
        assert!(below(Stretch::Log, 60).contains(" log "));
        assert!(below(Stretch::Rank, 50).contains(" 5.0 by rank "));
        assert!(below(Stretch::Rank, 70).contains(" median 5.0 by rank "));
        assert!(!below(Stretch::Rank, 70).contains("clipped"));
    }

    #[test]
    fn ends_that_are_close_together_are_told_apart() {
        assert_eq!(apart(&[1.2, 1.8, 7.1]), ["1.2", "1.8", "7.1"]);
        assert_eq!(apart(&[1.41, 1.42, 1.43]), ["1.410", "1.420", "1.430"]);
        assert_eq!(apart(&[1.404_96, 1.405_02, 1.405_11]), ["1.40496", "1.40502", "1.40511"]);
        assert_eq!(apart(&[1.405; 3]), ["1.405"; 3]);
    }

    #[test]
    fn the_middle_of_a_narrow_bar_says_less_and_never_touches_the_ends() {
        for width in 30..90 {
            for stretch in [Stretch::Linear, Stretch::Log, Stretch::Rank] {
                let row = text(&stretched(stretch, width, false, None), 1);
                let bar = row.split("  a step").next().unwrap();
                let parts: Vec<&str> = bar.split_whitespace().collect();
                let ends = parts.first().copied().zip(parts.last().copied());
                assert!(ends.is_none_or(|ends| ends == ("2.0", "8.0")), "{width} {row}");
                assert_eq!(ends.is_none(), width == 30, "six columns are too few: {row}");
            }
        }
        assert!(text(&stretched(Stretch::Rank, 45, false, None), 1).contains(" by rank "));
    }

    #[test]
    fn the_loss_under_the_cursor_is_read_out() {
        let buffer = drawn(false, Some(Chosen { alpha: 1.0, beta: 0.0 }));
        assert!(text(&buffer, 0).contains("◉ 5.000 ✛ 8.000 nats"), "{}", text(&buffer, 0));
    }
}
