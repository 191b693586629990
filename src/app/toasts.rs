//! Notes that lie over a corner of the screen for a while.

use std::collections::VecDeque;

use crate::protocol::{LogLevel, LogLine};

/// What a person should see whatever is on the screen, the newest last: notices fade, and alerts stay until a key is
/// pressed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Toasts(VecDeque<LogLine>);

impl Toasts {
    /// At once, at most: what is older is in the log.
    const MOST: usize = 3;

    /// The notes. Their messages may hold anything.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &LogLine> {
        self.0.iter()
    }

    /// Takes in what matters enough.
    pub(super) fn extend<'a>(&mut self, log: impl Iterator<Item = &'a LogLine>) {
        for line in log.filter(|line| line.level <= LogLevel::Notice) {
            if self.0.len() == Self::MOST {
                self.0.pop_front();
            }
            self.0.push_back(line.clone());
        }
    }

    /// Whether one of them fades by itself.
    pub fn fade(&self) -> bool {
        self.0.iter().any(|line| line.level == LogLevel::Notice)
    }

    /// The oldest notice goes.
    pub(super) fn drop_notice(&mut self) {
        if let Some(at) = self.0.iter().position(|line| line.level == LogLevel::Notice) {
            self.0.remove(at);
        }
    }

    /// The alerts have been seen.
    pub(super) fn drop_alerts(&mut self) {
        self.0.retain(|line| line.level == LogLevel::Notice);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::app::{App, Hint, Message, Options};
    use crate::protocol::{Phase, ToScreen, Update};

    fn said(app: &mut App, level: LogLevel, message: &str) {
        let log = vec![LogLine { milliseconds: 0, level, message: message.to_owned() }];
        let status = Some(crate::ui::fixture::status());
        let update = Update { status, log, ..Update::default() };
        app.update(Message::Engine(ToScreen::Update(Box::new(update))));
    }

    fn shown(app: &App) -> Vec<&str> {
        app.view.toasts.lines().map(|line| line.message.as_str()).collect()
    }

    fn press(app: &mut App, key: char) {
        app.update(Message::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)));
    }

    #[test]
    fn notices_fade_and_alerts_stay_until_a_key() {
        let mut app = App::new(Options::default());
        said(&mut app, LogLevel::Info, "held-out loss 2.0");
        assert!(shown(&app).is_empty() && !app.view.toasts.fade(), "the log has room for it");
        said(&mut app, LogLevel::Warn, "the loss jumped");
        said(&mut app, LogLevel::Notice, "checkpoint-7 saved");
        assert_eq!(shown(&app), ["the loss jumped", "checkpoint-7 saved"]);
        assert!(app.view.toasts.fade());
        app.fade();
        assert_eq!(shown(&app), ["the loss jumped"]);
        assert!(!app.view.toasts.fade());
        app.fade();
        assert_eq!(shown(&app), ["the loss jumped"]);
        press(&mut app, 'm');
        assert!(shown(&app).is_empty());
    }

    #[test]
    fn the_newest_three_are_shown() {
        let mut app = App::new(Options::default());
        for step in 1..=5 {
            said(&mut app, LogLevel::Warn, &format!("alert {step}"));
        }
        assert_eq!(shown(&app), ["alert 3", "alert 4", "alert 5"]);
    }

    #[test]
    fn the_answer_to_a_key_is_no_toast() {
        let mut app = App::new(Options::default());
        said(&mut app, LogLevel::Info, "begun");
        app.link = crate::app::Link::Live;
        press(&mut app, 'W');
        said(&mut app, LogLevel::Notice, "checkpoint-7 saved");
        assert_eq!(app.view.hint, Some(Hint::Answer("checkpoint-7 saved".into())));
        assert!(shown(&app).is_empty());
    }

    #[test]
    fn a_request_is_told_until_it_has_come_about() {
        let mut app = App::new(Options::default());
        app.link = crate::app::Link::Live;
        let mut status = crate::ui::fixture::status();
        let mut tell = |app: &mut App, phase| {
            status.phase = phase;
            let update = Update { status: Some(status.clone()), ..Update::default() };
            app.update(Message::Engine(ToScreen::Update(Box::new(update))));
        };
        tell(&mut app, Phase::Running);
        press(&mut app, ' ');
        assert_eq!(app.view.hint, Some(Hint::Asked("pausing after this step".into())));
        tell(&mut app, Phase::Running);
        assert!(app.view.hint.is_some());
        tell(&mut app, Phase::Paused);
        assert_eq!(app.view.hint, None);
    }
}
