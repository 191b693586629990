//! The questions that lie over the screen: how to leave, and whether the training is to move.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget};

use crate::app::{App, Chosen, Link, Stretch};
use crate::protocol::{Phase, Slice};
use crate::theme::Theme;

use super::surface::Surface;
use super::{popup, text};

/// Leave it training, save and stop, or stay.
pub(super) struct LeaveDialog<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for LeaveDialog<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let paused = app.engine.status.as_ref().is_some_and(|status| status.phase == Phase::Paused);
        let detach = if paused { "leave it paused" } else { "leave it training" };
        let detach = format!("{detach}; `llamascape attach` comes back");
        let mut lines = vec![choice("d enter", detach, theme)];
        if app.link != Link::Stopping {
            lines.push(choice("s", "save a checkpoint and stop", theme));
        }
        lines.push(choice("esc", "cancel", theme));
        let foot = "ctrl-c leaves at once; the engine goes on";
        Question { title: "Leave", lines, foot, theme }.render(area, buffer);
    }
}

/// Move the training to the cursor, or leave it where it is.
pub(super) struct MoveDialog<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for MoveDialog<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let place = app.view.landscape.chosen.zip(app.engine.slice.as_ref());
        let mut lines = place.map_or_else(Vec::new, |(chosen, slice)| losses(chosen, slice, theme).to_vec());
        lines.push(choice("y", "go on from there, the optimizer's moments empty", theme));
        lines.push(choice("esc", "cancel", theme));
        let foot = format!("no step is taken; {} comes back", app.options.bindings.shown("back"));
        Question { title: "Move the training there?", lines, foot: &foot, theme }.render(area, buffer);
    }
}

/// The losses there and at the weights, and a gap below.
fn losses(chosen: Chosen, slice: &Slice, theme: &Theme) -> [Line<'static>; 3] {
    let there = Surface::new(slice, Stretch::Linear).map_or(f64::NAN, |surface| surface.under(chosen));
    let place = format!("α {} β {}", text::coordinate(chosen.alpha), text::coordinate(chosen.beta));
    let line = |symbol: &str, place: &str, loss: f64| {
        Line::from(vec![
            Span::raw(format!("  {symbol} {place:<25}")),
            Span::styled("loss ", theme.palette.muted),
            Span::raw(text::number(loss)),
        ])
    };
    let here = format!("the weights of step {}", slice.step);
    let symbols = &theme.symbols;
    [line(&symbols.cursor, &place, there), line(&symbols.weights, &here, slice.center), Line::default()]
}

/// A key and what it does.
fn choice(key: &str, what: impl Into<String>, theme: &Theme) -> Line<'static> {
    Line::from(vec![Span::styled(format!("  {key:<10}"), theme.palette.accent), Span::raw(what.into())])
}

/// A frame in the middle of the screen.
pub(super) struct Question<'a> {
    pub(super) title: &'a str,
    pub(super) lines: Vec<Line<'a>>,
    pub(super) foot: &'a str,
    pub(super) theme: &'a Theme,
}

impl Question<'_> {
    /// The columns and rows that it takes where there is room.
    pub(super) fn size(&self) -> (u16, u16) {
        (66, self.lines.len() as u16 + 4)
    }
}

impl Widget for Question<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let (width, height) = self.size();
        let Self { title, lines, foot, theme } = self;
        let palette = &theme.palette;
        let place = popup(area, width, height, buffer);
        let block = Block::bordered()
            .border_type(theme.border)
            .border_style(palette.focus)
            .style(palette.base.patch(palette.popup))
            .title(Span::styled(format!(" {title} "), palette.title))
            .title_bottom(Line::styled(format!(" {foot} "), palette.muted).right_aligned());
        let inner = block.inner(place);
        block.render(place, buffer);
        for (line, row) in lines.into_iter().zip(inner.rows().skip(1)) {
            line.render(row, buffer);
        }
    }
}
