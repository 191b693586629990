//! The first line: which run this is, what it does, who watches, for how long.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Link};
use crate::protocol::{Outcome, Phase, wormhole};
use crate::theme::Theme;

use super::text;

/// `llamascape nano 1.0M · cpu, 2 threads · builtin` and `tidy-otter ● training  1 viewer  00:42`.
pub(super) struct Header<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Header<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let right = self.right();
        let room = usize::from(area.width).saturating_sub(right.width() + " llamascape ".len() + 4);
        let left = self.about(room);
        let line = Line::from(vec![
            Span::styled(" llamascape", self.theme.palette.accent),
            Span::raw(" "),
            Span::styled(left, self.theme.palette.muted),
        ]);
        line.render(area, buffer);
        let place = Rect { width: area.width.saturating_sub(1), ..area };
        right.right_aligned().render(place, buffer);
    }
}

impl Header<'_> {
    /// The model, where it computes and what it learns from, as many of them as fit.
    fn about(&self, room: usize) -> String {
        let Some(run) = &self.app.engine.run else { return String::new() };
        let model = if run.parameters == 0 {
            run.model.clone()
        } else {
            format!("{} {}", run.model, text::count(run.parameters as f64))
        };
        let parts: Vec<String> = [model, run.device.clone(), run.data.clone()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let joined = |count: usize| text::escape(&parts[..count].join(" · "));
        let fitting = (1..=parts.len()).rev().map(joined).find(|text| text::width(text) <= room);
        fitting.unwrap_or_else(|| text::shorten(&joined(parts.len().min(1)), room))
    }

    fn right(&self) -> Line<'static> {
        let palette = &self.theme.palette;
        let status = self.app.engine.status.as_ref();
        let name = self.app.engine.run.as_ref().map_or_else(String::new, |run| text::escape(&run.name));
        let (word, style) = match (&self.app.link, status.map(|status| &status.phase)) {
            (Link::Ended(Outcome::Crashed { .. }), _) => ("crashed", palette.bad),
            (Link::Ended(_), _) => ("ended", palette.muted),
            (Link::Stopping, _) | (_, Some(Phase::Stopping)) => ("saving", palette.warn),
            (_, None) => ("starting", palette.warn),
            (_, Some(Phase::Preparing(_))) => ("preparing", palette.warn),
            (_, Some(Phase::Running)) => ("training", palette.good),
            (_, Some(Phase::Paused)) => ("paused", palette.warn),
            (_, Some(Phase::Finished)) => ("finished", palette.accent),
        };
        let mut line = Line::from(vec![
            Span::styled(text::shorten(&name, 24), palette.title),
            Span::styled(format!(" {} {word}", self.theme.symbols.phase), style),
        ]);
        let wormhole = self.app.engine.wormhole.as_ref().map(|scene| &scene.phase);
        if wormhole == Some(&wormhole::Phase::Running) {
            line.push_span(Span::styled(" · wormhole", palette.good));
        }
        if self.app.options.read_only {
            line.push_span(Span::styled("  read-only", palette.warn));
        }
        if let Some(status) = status {
            let viewers = match status.viewers {
                // Nobody has been counted: a replay, or the first moment.
                0 => String::new(),
                1 => "  1 viewer".to_owned(),
                viewers => format!("  {viewers} viewers"),
            };
            let rest = format!("{viewers}  {}", text::clock(status.seconds));
            line.push_span(Span::styled(rest, palette.muted));
        }
        line
    }
}
