//! The list of the parameters with the largest gradients.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::ProbePane;
use crate::protocol::probe::Parameter;
use crate::ui::panel::Panel;
use crate::ui::text;

use super::{Shown, label_of, moved};

/// Columns of a number.
const NUMBER: u16 = 9;

/// Columns from which the value of every parameter has room.
const WITH_VALUES: u16 = 39;

impl Shown<'_> {
    pub(super) fn list(&self, area: Rect, buffer: &mut Buffer) {
        let (theme, scene) = (self.theme, self.scene);
        let palette = &theme.palette;
        let selected = self.app.view.probe.selected(scene);
        let focused = self.focused(ProbePane::List);
        let right = vec![Line::raw(self.enter(selected))];
        let inner = Panel { theme, focused, title: "Parameters", right }.draw(area, buffer);
        let readout = if inner.height >= 7 { 2 } else { 0 };
        let heading = u16::from(inner.height >= 4);
        let [heading, rows, readout] =
            Layout::vertical([Constraint::Length(heading), Constraint::Min(0), Constraint::Length(readout)])
                .areas(inner);
        let [_, name, value, gradient] = columns(heading);
        Line::styled("largest gradients", palette.muted).render(name, buffer);
        Line::styled("value", palette.muted).right_aligned().render(value, buffer);
        Line::styled("gradient", palette.muted).right_aligned().render(gradient, buffer);
        let room = usize::from(rows.height).max(1);
        let first = selected.saturating_sub(room - 1);
        for ((place, parameter), row) in scene.listed.iter().enumerate().skip(first).zip(rows.rows()) {
            let [number, name, value, gradient] = columns(row);
            let turned = scene.chosen.iter().take(2).position(|chosen| *chosen == place);
            let which = turned.map_or_else(String::new, |turned| (turned + 1).to_string());
            Line::styled(which, palette.accent).render(number, buffer);
            let style = match (place == selected, parameter.trained) {
                (true, _) => palette.accent.add_modifier(Modifier::REVERSED),
                (false, true) => palette.base,
                (false, false) => palette.muted,
            };
            let label = text::shorten(&label_of(parameter), usize::from(name.width.saturating_sub(1)));
            Line::from(Span::styled(label, style)).render(name, buffer);
            Line::raw(text::number(parameter.value)).right_aligned().render(value, buffer);
            Line::raw(moved(parameter.grad)).right_aligned().render(gradient, buffer);
        }
        if let Some(parameter) = scene.listed.get(selected) {
            self.readout(parameter, readout, buffer);
        }
    }

    /// What enter does on a row.
    fn enter(&self, row: usize) -> String {
        let key = self.app.options.bindings.shown("move");
        let chosen = &self.scene.chosen;
        match (chosen.contains(&row), chosen.len()) {
            (true, 1) => String::new(),
            (true, _) => format!("{key} lets it go"),
            (false, 0) => format!("{key} turns it"),
            (false, _) => format!("{key}: as second"),
        }
    }

    /// All that is known of the selected parameter.
    fn readout(&self, parameter: &Parameter, area: Rect, buffer: &mut Buffer) {
        let palette = &self.theme.palette;
        let index: Vec<String> = parameter.index.iter().take(4).map(usize::to_string).collect();
        let name = format!("{}[{}]", text::escape(&parameter.name), index.join(","));
        let name = text::shorten_start(&name, usize::from(area.width));
        let facts = if parameter.trained {
            Line::raw(format!("it is {}", text::number(parameter.value)))
        } else {
            let frozen = Span::styled("not trained by this run", palette.warn);
            Line::from(vec![frozen, Span::raw(format!(", {}", text::number(parameter.value)))])
        };
        for (line, row) in [Line::styled(name, palette.muted), facts].into_iter().zip(area.rows()) {
            line.render(row, buffer);
        }
    }
}

/// Where the parts of a row are: which it is, its name, its value where there is room, its gradient.
fn columns(row: Rect) -> [Rect; 4] {
    let value = if row.width >= WITH_VALUES { NUMBER } else { 0 };
    Layout::horizontal([
        Constraint::Length(2),
        Constraint::Min(0),
        Constraint::Length(value),
        Constraint::Length(NUMBER),
    ])
    .areas(row)
}
