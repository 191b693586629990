//! The last line: the keys that fit, from the table of keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{Action, App, BINDINGS, Binding, Link};
use crate::protocol::Phase;
use crate::theme::Theme;

/// Hints of keys; help and quit are there in any case.
pub(super) struct Footer<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Footer<'_> {
    fn hint(&self, binding: &Binding) -> Line<'static> {
        let running = self.app.engine.status.as_ref().is_some_and(|status| status.phase == Phase::Running);
        let label = if binding.action == Action::RunPause && running { "pause" } else { binding.label };
        let key = binding.keys.first().map_or_else(String::new, |key| key.name());
        Line::from(vec![
            Span::styled(key, self.theme.palette.accent),
            Span::styled(format!(" {label}"), self.theme.palette.muted),
        ])
    }

    /// Whether the key would do something now.
    fn useful(&self, binding: &Binding) -> bool {
        let commands =
            !self.app.options.read_only && !matches!(self.app.link, Link::Ended(_) | Link::Stopping);
        commands || !binding.action.commands()
    }
}

impl Widget for Footer<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let always = [Action::Help, Action::Quit];
        let mut ranked: Vec<&Binding> =
            BINDINGS.iter().filter(|binding| binding.rank > 0 && self.useful(binding)).collect();
        ranked.sort_by_key(|binding| binding.rank);
        let last =
            always.iter().filter_map(|action| BINDINGS.iter().find(|binding| binding.action == *action));
        let last: Vec<Line> = last.map(|binding| self.hint(binding)).collect();
        let reserved: usize = last.iter().map(|hint| hint.width() + 2).sum();
        let room = usize::from(area.width).saturating_sub(reserved + 2);
        let mut line = Line::raw(" ");
        for hint in ranked.into_iter().map(|binding| self.hint(binding)) {
            if line.width() + hint.width() + 2 > room {
                break;
            }
            line.extend(hint.spans);
            line.push_span("  ");
        }
        line.render(area, buffer);
        let mut right = Line::default();
        for hint in last {
            right.push_span("  ");
            right.extend(hint.spans);
        }
        let place = Rect { width: area.width.saturating_sub(1), ..area };
        right.right_aligned().render(place, buffer);
    }
}
