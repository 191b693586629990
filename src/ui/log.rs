//! The pane of the log, drawn by tui-logger from its own store; or, while it is searched, the lines that are found.
//!
//! Whoever feeds that store escapes the message and starts it with the time of day ([`super::text::logged`]),
//! `18:42:07 checkpoint saved`: the store knows only when a line reached this screen, which is the time of those that
//! this process itself has written.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;
use tui_logger::{ExtLogRecord, LogFormatter, TuiLoggerWidget};

use crate::app::{App, Modal, Pane, Search};
use crate::theme::Theme;

use super::panel::Panel;
use super::text;

/// The newest lines of the log, or those the person scrolled to.
pub(super) struct Log<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

impl Widget for Log<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        if let Some(Modal::Search(search)) = &app.view.modal {
            self.found(search, area, buffer);
            return;
        }
        let focused = app.view.focus == Pane::Log;
        let [search, clear, focus, hide] =
            ["search", "clear", "next-pane", "log"].map(|command| app.options.bindings.shown(command));
        let right = if focused {
            vec![
                Line::raw(format!("↑ ↓ scroll · {search} search · {clear} newest")),
                Line::raw(format!("↑ ↓ scroll · {clear} newest")),
            ]
        } else {
            vec![Line::raw(format!("{focus} focus · {hide} hide"))]
        };
        let inner = Panel { theme, focused, title: "Log", right }.draw(area, buffer);
        TuiLoggerWidget::default()
            .style(theme.palette.base)
            .formatter(Box::new(Formatter::new(theme, app.options.zone.clone())))
            .state(&app.log)
            .render(inner, buffer);
    }
}

impl Log<'_> {
    /// The lines that the search finds, the one gone to in the middle where there are enough around it.
    fn found(&self, search: &Search, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        let found = app.recent.holding(&search.editor.text());
        let title = format!("Log · {} of {} lines", found.len(), app.recent.count());
        let inner = Panel { theme, focused: true, title: &title, right: Vec::new() }.draw(area, buffer);
        let here = search.place(&found);
        let rows = usize::from(inner.height);
        let first = here.saturating_sub(rows / 2).min(found.len().saturating_sub(rows));
        let formatter = Formatter::new(theme, app.options.zone.clone());
        for ((index, (_, line)), row) in found.into_iter().enumerate().skip(first).zip(inner.rows()) {
            let (level, message) = text::logged(line, app.options.zone.as_ref());
            formatter.line(usize::from(row.width), level, &message).render(row, buffer);
            if index == here {
                buffer.set_style(row, theme.palette.cursor);
            }
        }
    }
}

struct Formatter {
    muted: Style,
    /// Error, warning, information, debugging, tracing.
    levels: [Style; 5],
    zone: Option<TimeZone>,
}

impl LogFormatter for Formatter {
    fn min_width(&self) -> u16 {
        20
    }

    fn format(&self, width: usize, record: &ExtLogRecord) -> Vec<Line<'_>> {
        let milliseconds = record.timestamp.timestamp().as_millisecond();
        vec![self.line(width, record.level, &self.timed(record.msg(), milliseconds))]
    }
}

impl Formatter {
    fn new(theme: &Theme, zone: Option<TimeZone>) -> Self {
        let palette = &theme.palette;
        let levels = [palette.bad, palette.warn, palette.accent, palette.muted, palette.muted];
        Self { muted: palette.muted, levels, zone }
    }

    /// A line with the time at its start, which is this one where it has none.
    fn timed<'a>(&self, message: &'a str, milliseconds: i64) -> Cow<'a, str> {
        match message.split_once(' ') {
            Some((time, _)) if is_time(time) => message.into(),
            _ => text::timed(milliseconds, message, self.zone.as_ref()).into(),
        }
    }

    fn line(&self, width: usize, level: log::Level, message: &str) -> Line<'static> {
        let (time, message) = match message.split_once(' ') {
            Some((time, rest)) if is_time(time) => (format!("{time} "), rest),
            _ => (String::new(), message),
        };
        let style = self.levels[(level as usize).saturating_sub(1).min(4)];
        let room = width.saturating_sub(time.len() + 6);
        Line::from(vec![
            Span::styled(time, self.muted),
            Span::styled(format!("{level:<5} "), style),
            Span::raw(text::shorten(message, room)),
        ])
    }
}

fn is_time(word: &str) -> bool {
    word.len() == 8
        && word.bytes().enumerate().all(|(i, b)| if i % 3 == 2 { b == b':' } else { b.is_ascii_digit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatter() -> Formatter {
        let levels = [Style::new().red(), Style::new().yellow(), Style::new(), Style::new(), Style::new()];
        Formatter { muted: Style::new().dim(), levels, zone: None }
    }

    fn line(width: usize, message: &str) -> Line<'static> {
        formatter().line(width, log::Level::Warn, message)
    }

    #[test]
    fn a_line_without_a_time_has_that_of_its_record() {
        let noon = 12 * 3_600_000;
        assert_eq!(formatter().timed("computing on the CPU", noon), "12:00:00 computing on the CPU");
        assert_eq!(formatter().timed("18:42:11 step 409", noon), "18:42:11 step 409");
    }

    #[test]
    fn a_line_has_its_time_its_level_and_its_message() {
        let line = line(60, "18:42:11 step 409: loss spike");
        assert_eq!(line.to_string(), "18:42:11 WARN  step 409: loss spike");
        assert_eq!((line.spans[0].style, line.spans[1].style), (Style::new().dim(), Style::new().yellow()));
    }

    #[test]
    fn a_long_message_is_cut_and_says_so() {
        assert_eq!(line(24, "18:42:11 step 409: loss spike").to_string(), "18:42:11 WARN  step 409…");
        assert_eq!(line(24, "no time in front of this").to_string(), "WARN  no time in front …");
    }
}
