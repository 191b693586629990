//! The axis of the steps below charts: its numbers, what lies along it, and the step that is read.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Marker};
use crate::protocol::AtStep;
use crate::theme::Theme;

use super::axis::Range;
use super::text;

/// What the step that is read is marked with where nothing is drawn.
const CURSOR: &str = "│";

/// The column of dots of a step, of so many.
pub(super) fn dot(steps: Range, step: f64, dots: usize) -> usize {
    (steps.place(step) * dots.saturating_sub(1) as f64).round() as usize
}

/// The first step, the middle one and the last, as far as there is room.
pub(super) fn draw_steps(steps: Range, theme: &Theme, area: Rect, buffer: &mut Buffer) {
    let muted = theme.palette.muted;
    let first = format!("{:.0}", steps.low);
    if steps.high <= steps.low {
        // One step is drawn in the middle.
        Line::styled(first, muted).centered().render(area, buffer);
        return;
    }
    Line::styled(first.as_str(), muted).render(area, buffer);
    let last = format!("step {:.0}", steps.high);
    Line::styled(last.as_str(), muted).right_aligned().render(area, buffer);
    let step = f64::midpoint(steps.low, steps.high).round();
    let middle = format!("{step:.0}");
    let wide = text::width(&middle) as u16;
    let center = (steps.place(step) * f64::from(area.width.saturating_sub(1))).round() as u16;
    let start = center.saturating_sub(wide / 2);
    let free = text::width(&first) as u16 + 1..area.width.saturating_sub(text::width(&last) as u16);
    if middle != first && free.contains(&start) && free.contains(&(start + wide)) {
        let place = Rect { x: area.x + start, width: wide, ..area };
        Line::styled(middle, muted).render(place, buffer);
    }
}

/// Makes the column of the step that is read stand out, and leaves what is drawn in it.
pub(super) fn draw_cursor(column: Rect, theme: &Theme, buffer: &mut Buffer) {
    for place in column.positions() {
        let cell = &mut buffer[place];
        if cell.symbol() == " " {
            cell.set_symbol(CURSOR);
        }
        cell.set_style(theme.palette.accent);
    }
}

/// The checkpoints and the slices of these steps.
pub(super) struct Marks {
    steps: Range,
    checkpoints: Vec<f64>,
    slices: Vec<f64>,
    /// What stands for a checkpoint, and for a slice.
    symbols: [&'static str; 2],
}

impl Marks {
    /// Those that a run has told of.
    pub(super) fn of(app: &App, steps: Range) -> Self {
        let engine = &app.engine;
        let within = |step: u64| Some(step as f64).filter(|step| steps.has(*step));
        let told = engine.status.as_ref().map_or(&[][..], |status| &status.checkpoints);
        let symbols = if app.view.landscape.marker == Marker::Ascii { ["^", "."] } else { ["▲", "·"] };
        Self {
            steps,
            checkpoints: told.iter().filter_map(|step| within(*step)).collect(),
            slices: engine.timeline.items().iter().filter_map(|slice| within(slice.step())).collect(),
            symbols,
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.checkpoints.is_empty() && self.slices.is_empty()
    }

    /// Marks the row below the axis. A checkpoint lies over a slice.
    pub(super) fn draw(&self, theme: &Theme, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        if area.is_empty() {
            return;
        }
        for (steps, symbol, style) in self.kinds(theme) {
            for step in steps {
                // A cell is two dots wide.
                let column = dot(self.steps, *step, 2 * usize::from(area.width)) / 2;
                buffer[(area.x + column as u16, area.y)].set_symbol(symbol).set_style(style);
            }
        }
    }

    /// What the marks stand for.
    pub(super) fn legend(&self, theme: &Theme) -> Line<'static> {
        let mut line = Line::default();
        for ((steps, symbol, style), name) in self.kinds(theme).into_iter().zip(["slice", "checkpoint"]).rev()
        {
            if !steps.is_empty() {
                let gap = if line.spans.is_empty() { "" } else { " " };
                line.extend([
                    Span::raw(gap),
                    Span::styled(symbol, style),
                    Span::styled(format!(" {name}"), theme.palette.muted),
                ]);
            }
        }
        line
    }

    fn kinds(&self, theme: &Theme) -> [(&[f64], &'static str, Style); 2] {
        let [checkpoint, slice] = self.symbols;
        [(&self.slices, slice, theme.palette.muted), (&self.checkpoints, checkpoint, theme.palette.title)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::theme::ColorDepth;
    use crate::ui::fixture;

    fn theme() -> Theme {
        Theme::named("dark", ColorDepth::True).unwrap()
    }

    fn row(buffer: &Buffer) -> String {
        buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect()
    }

    fn marked(app: &App, low: f64, high: f64) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 21, 1));
        Marks::of(app, Range { low, high }).draw(&theme(), buffer.area, &mut buffer);
        row(&buffer)
    }

    #[test]
    fn the_axis_has_the_first_the_middle_and_the_last_step() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 40, 1));
        draw_steps(Range { low: 1.0, high: 101.0 }, &theme(), buffer.area, &mut buffer);
        assert_eq!(row(&buffer).split_whitespace().collect::<Vec<_>>(), ["1", "51", "step", "101"]);
    }

    #[test]
    fn checkpoints_and_slices_stand_at_their_steps() {
        let mut app = fixture::app();
        app.engine.timeline = crate::protocol::Timeline::default();
        for step in [20, 100, 150] {
            let slice = fixture::slice(3, |_, _| 1.0);
            app.engine.timeline.push(crate::protocol::Slice { step, ..slice });
        }
        assert_eq!(marked(&app, 0.0, 200.0), "  ·       ▲    ·    ▲");
        assert_eq!(marked(&app, 120.0, 199.0).trim(), "·");
        app.view.landscape.marker = Marker::Ascii;
        assert_eq!(marked(&app, 0.0, 200.0), "  .       ^    .    ^");
    }

    #[test]
    fn the_legend_has_what_is_there() {
        let mut app = fixture::app();
        let legend = |app: &App| {
            let marks = Marks::of(app, Range { low: 1.0, high: 412.0 });
            (marks.legend(&theme()).to_string(), marks.is_empty())
        };
        assert_eq!(legend(&app), ("▲ checkpoint · slice".to_owned(), false));
        app.engine.status = None;
        assert_eq!(legend(&app), ("· slice".to_owned(), false));
        app.engine.timeline = crate::protocol::Timeline::default();
        assert_eq!(legend(&app), (String::new(), true));
    }
}
