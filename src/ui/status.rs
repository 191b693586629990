//! The status line: where the run stands, and the answer to the last key.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{App, Cost, Hint, Link};
use crate::protocol::Outcome;
use crate::theme::Theme;

use super::text;

/// `step 412  loss 2.113  |g| 0.83  lr 3.0e-3  19.8k tok/s  adamw`; the step is there in any case.
pub(super) struct StatusLine<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for StatusLine<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        draw(self.facts(), |room| self.note(room), area, buffer);
    }
}

/// Facts on the left, the first of them in any case and the others as they fit; on the right a note, which is told
/// its room.
pub(super) fn draw<'a>(
    facts: Vec<Line<'a>>,
    note: impl FnOnce(usize) -> Option<Line<'a>>,
    area: Rect,
    buffer: &mut Buffer,
) {
    let width = usize::from(area.width).saturating_sub(2);
    let first = facts.first().map_or(0, Line::width);
    let note = note(width.saturating_sub(first + 2));
    let room = width.saturating_sub(note.as_ref().map_or(0, |note| note.width() + 2));
    let mut line = Line::raw(" ");
    for fact in facts {
        let gap = if line.width() > 1 { "  " } else { "" };
        if line.width() - 1 + gap.len() + fact.width() > room {
            break;
        }
        line.push_span(gap);
        line.extend(fact.spans);
    }
    line.render(area, buffer);
    if let Some(note) = note {
        let place = Rect { width: area.width.saturating_sub(1), ..area };
        note.right_aligned().render(place, buffer);
    }
}

/// The answer to the last key.
pub(super) fn hint(hint: &Hint, room: usize, theme: &Theme) -> Line<'static> {
    let wrong = matches!(hint, Hint::Refused(_) | Hint::Warning(_));
    let style = if wrong { theme.palette.warn } else { theme.palette.accent };
    // A styled line would style its whole row.
    Line::from(Span::styled(text::shorten(&text::escape(hint.text()), room), style))
}

impl StatusLine<'_> {
    fn facts(&self) -> Vec<Line<'static>> {
        let palette = &self.theme.palette;
        let Some(status) = &self.app.engine.status else {
            return vec![Line::styled("step 0", palette.title)];
        };
        let last = self.app.engine.run.as_ref().and_then(|run| run.last_step);
        let of = last.map_or_else(String::new, |last| format!("/{last}"));
        let mut facts = vec![Line::from(vec![
            Span::styled(format!("step {}", status.step), palette.title),
            Span::styled(of, palette.muted),
        ])];
        let mut named = |name: &'static str, value: Option<String>| {
            if let Some(value) = value {
                facts.push(Line::from(vec![Span::styled(name, palette.muted), Span::raw(value)]));
            }
        };
        named("loss ", status.loss.map(text::number));
        named("|g| ", status.grad_norm.map(text::norm));
        if let Some(norm) = status.grad_norm
            && status.clip > 0.0
            && norm > status.clip
            && let Some(fact) = facts.last_mut()
        {
            fact.push_span(Span::styled(" clipped", palette.warn));
        }
        let rate = format!("{:.1e}", status.learning_rate);
        facts.push(Line::from(vec![Span::styled("lr ", palette.muted), Span::raw(rate)]));
        if let Some(speed) = status.tokens_per_second {
            facts
                .push(Line::from(vec![Span::raw(text::count(speed)), Span::styled(" tok/s", palette.muted)]));
        }
        facts.push(Line::styled(status.optimizer.name(), palette.muted));
        facts
    }

    /// How the engine ended, or the answer to the last key.
    fn note(&self, room: usize) -> Option<Line<'static>> {
        match (&self.app.link, &self.app.view.hint) {
            (
                Link::Ended(
                    outcome @ (Outcome::Stopped { step, checkpoint } | Outcome::Crashed { step, checkpoint }),
                ),
                None,
            ) => {
                let end = format!(": {} leaves", self.app.options.bindings.shown("quit"));
                let how = if matches!(outcome, Outcome::Crashed { .. }) { "crashed" } else { "ended" };
                let head = format!("{how} at step {step}");
                let place = checkpoint.as_ref().map_or_else(String::new, |checkpoint| {
                    let left = room.saturating_sub(text::width(&head) + text::width(&end) + 16);
                    format!(", checkpoint at {}", text::shorten_start(&text::escape(checkpoint), left))
                });
                let text = text::shorten(&format!("{head}{place}{end}"), room);
                Some(Line::from(Span::styled(text, self.theme.palette.accent)))
            }
            (_, Some(answer)) => Some(hint(answer, room, self.theme)),
            (_, None) if self.app.tells_cost => {
                let Cost { bytes, milliseconds, per_second } = self.app.cost;
                let kilobytes = bytes as f64 / 1e3;
                let text = format!("{kilobytes:.1} KB · {milliseconds:.1} ms · {per_second} a second");
                Some(Line::from(Span::styled(text::shorten(&text, room), self.theme.palette.muted)))
            }
            _ => None,
        }
    }
}
