//! The last line: the keys that fit, from the table of keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{Binding, Key};
use crate::theme::Theme;

/// Hints of keys.
pub(super) struct Footer<'a> {
    /// As many of the first ones as fit.
    keys: Vec<(Key, &'static str)>,
    /// These are there in any case.
    always: Vec<(Key, &'static str)>,
    theme: &'a Theme,
}

impl<'a> Footer<'a> {
    /// The footer of a screen with these keys. `label` says what a key would do now, if it would do anything.
    pub(super) fn new<A: PartialEq>(
        bindings: &[Binding<A>],
        always: &[A],
        label: impl Fn(&Binding<A>) -> Option<&'static str>,
        theme: &'a Theme,
    ) -> Self {
        let hint = |binding: &Binding<A>| Some((*binding.keys.first()?, label(binding)?));
        let mut ranked: Vec<&Binding<A>> = bindings.iter().filter(|binding| binding.rank > 0).collect();
        ranked.sort_by_key(|binding| binding.rank);
        let last = always.iter().filter_map(|action| bindings.iter().find(|known| known.action == *action));
        Self {
            keys: ranked.into_iter().filter_map(hint).collect(),
            always: last.filter_map(hint).collect(),
            theme,
        }
    }

    fn hint(&self, (key, label): (Key, &'static str)) -> Line<'static> {
        Line::from(vec![
            Span::styled(key.name(), self.theme.palette.accent),
            Span::styled(format!(" {label}"), self.theme.palette.muted),
        ])
    }
}

impl Widget for Footer<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let last: Vec<Line> = self.always.iter().map(|hint| self.hint(*hint)).collect();
        let reserved: usize = last.iter().map(|hint| hint.width() + 2).sum();
        let room = usize::from(area.width).saturating_sub(reserved + 2);
        let mut line = Line::raw(" ");
        for hint in self.keys.iter().map(|hint| self.hint(*hint)) {
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
