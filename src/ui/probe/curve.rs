//! What turning one parameter does: the loss, and where there is room the probability of the target, as curves.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::ProbeView;
use crate::protocol::probe::{Parameter, Sweep};
use crate::theme::Theme;
use crate::ui::axis::{self, Range};
use crate::ui::braille::Dots;
use crate::ui::picture;
use crate::ui::steps::draw_cursor;
use crate::ui::text;

use super::{Shown, best};

/// Rows from which the probability has a curve of its own.
const ROWS_WITH_TARGET: u16 = 12;

/// What stands above the lowest point.
const BEST: &str = "▾";

/// What stands at the value as it is, where the curve is not.
const ORIGIN: &str = "┊";

/// One number over the values of a parameter.
struct Curve<'a> {
    theme: &'a Theme,
    values: &'a [f64],
    numbers: Vec<f64>,
    style: Style,
    /// The place of the value as it is.
    origin: usize,
    /// The place that it is turned to.
    cursor: usize,
    /// The place of the best number, where that is to be seen.
    best: Option<usize>,
}

impl Shown<'_> {
    /// The curves of the only parameter that is turned.
    pub(super) fn curves(
        &self,
        parameter: &Parameter,
        sweep: &Sweep,
        [cursor, _]: [usize; 2],
        area: Rect,
        buffer: &mut Buffer,
    ) {
        let theme = self.theme;
        let [origin, _] = ProbeView::origin(sweep);
        let values: Vec<f64> = sweep.first.iter().map(|by| parameter.value + by).collect();
        let numbers = |values: &[f32]| values.iter().copied().map(f64::from).collect::<Vec<f64>>();
        let has_target = area.height >= ROWS_WITH_TARGET && sweep.p_target.len() == values.len();
        let below = if has_target { area.height * 2 / 5 } else { 0 };
        let [above, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(below)]).areas(area);
        let best = best(sweep).map(|[column, _]| column).filter(|column| *column != origin);
        let style = theme.palette.train;
        let loss =
            Curve { theme, values: &values, numbers: numbers(&sweep.loss), style, origin, cursor, best };
        if !has_target {
            loss.render(loss.gutter(above.height), above, buffer);
            return;
        }
        let (style, numbers) = (theme.palette.target, numbers(&sweep.p_target));
        let target = Curve { theme, values: &values, numbers, style, origin, cursor, best: None };
        let [name, below] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(below);
        // A value stands in the same column of both.
        let gutter = loss.gutter(above.height).max(target.gutter(below.height));
        loss.render(gutter, above, buffer);
        let title = format!("probability of {}", self.target());
        Line::styled(title, theme.palette.muted).render(name, buffer);
        target.render(gutter, below, buffer);
    }
}

impl Curve<'_> {
    /// The numbers beside so many rows, of which the last one has the values.
    fn labels(&self, rows: u16) -> Vec<(u16, String)> {
        let range = Range::of(self.numbers.iter().copied());
        range.map_or_else(Vec::new, |range| axis::labels(range, false, rows.saturating_sub(1)))
    }

    /// Columns of those numbers, with a gap.
    fn gutter(&self, rows: u16) -> u16 {
        self.labels(rows).iter().map(|label| text::width(&label.1)).max().unwrap_or(0) as u16 + 1
    }

    fn render(&self, gutter: u16, area: Rect, buffer: &mut Buffer) {
        let muted = self.theme.palette.muted;
        let along = Range::of(self.values.iter().copied());
        let Some((along, range)) = along.zip(Range::of(self.numbers.iter().copied())) else {
            picture::missing("no number of this curve is finite", self.theme, area, buffer);
            return;
        };
        if area.width < gutter + 4 || area.height < 2 {
            return;
        }
        let plot = Rect { x: area.x + gutter, width: area.width - gutter, height: area.height - 1, ..area };
        for (row, label) in &self.labels(area.height) {
            let place = Rect { x: area.x, y: plot.y + row, width: gutter - 1, height: 1 };
            Line::from(Span::styled(label.as_str(), muted)).right_aligned().render(place, buffer);
        }
        draw_values(along, self.theme, Rect { y: plot.bottom(), height: 1, ..plot }, buffer);
        self.draw(along, range, plot, buffer);
    }
}

/// The least value, the middle one and the greatest, as far as there is room.
pub(super) fn draw_values(along: Range, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let muted = theme.palette.muted;
    let [low, middle, high] = [along.low, f64::midpoint(along.low, along.high), along.high].map(text::number);
    let wide = text::width(&low) + text::width(&middle) + text::width(&high);
    Line::styled(low, muted).render(area, buffer);
    if wide + 4 <= usize::from(area.width) {
        Line::styled(middle, muted).centered().render(area, buffer);
    }
    Line::styled(high, muted).right_aligned().render(area, buffer);
}

impl Curve<'_> {
    fn draw(&self, along: Range, range: Range, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let mut dots = Dots::new(area.width, area.height);
        let (columns, rows) = dots.size();
        let x = |value: f64| (along.place(value) * columns.saturating_sub(1) as f64).round() as usize;
        let mut last = None;
        for (value, number) in self.values.iter().zip(&self.numbers) {
            let is_finite = value.is_finite() && number.is_finite();
            let here = is_finite.then(|| (x(*value), range.dot(*number, rows)));
            if let Some(here) = here {
                dots.line(last.unwrap_or(here), here, 0);
            }
            last = here;
        }
        dots.draw(area, &[self.style], buffer);
        let column = |place: usize| self.values.get(place).map(|value| area.x + (x(*value) / 2) as u16);
        let row = |place: usize| {
            let number = self.numbers.get(place).filter(|number| number.is_finite())?;
            Some(area.y + (range.dot(*number, rows) / 4) as u16)
        };
        if let Some(x) = column(self.origin) {
            for place in (Rect { x, width: 1, ..area }).positions() {
                if buffer[place].symbol() == " " {
                    buffer[place].set_symbol(ORIGIN).set_style(palette.muted);
                }
            }
        }
        if let Some(x) = column(self.cursor).filter(|_| self.cursor != self.origin) {
            draw_cursor(Rect { x, width: 1, ..area }, self.theme, buffer);
        }
        let symbols = &self.theme.symbols;
        let mut mark = |place: usize, symbol: &str, above: u16, style: Style| {
            if let Some((x, y)) = column(place).zip(row(place)) {
                buffer[(x, y.saturating_sub(above).max(area.y))].set_symbol(symbol).set_style(style);
            }
        };
        if let Some(best) = self.best {
            mark(best, BEST, 1, palette.good);
        }
        mark(self.origin, &symbols.weights, 0, palette.title);
        if self.cursor != self.origin {
            mark(self.cursor, &symbols.cursor, 0, palette.accent);
        }
    }
}
