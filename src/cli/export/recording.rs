//! A replay as a recording of a terminal.

use std::io::{Result, Write};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::style::force_color_output;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use crate::app::{App, Message, Options, Pane};
use crate::cli::progress::Progress;
use crate::export::asciicast::Asciicast;
use crate::protocol::{ToScreen, Update, VERSION};
use crate::terminal;
use crate::theme::Theme;
use crate::ui;

/// How a replay is recorded.
pub(super) struct Recording {
    /// What the recording is called.
    pub(super) title: String,
    /// Columns and rows.
    pub(super) size: (u16, u16),
    /// What the screen looks like.
    pub(super) theme: Theme,
    /// Frames a second.
    pub(super) fps: u16,
}

impl Recording {
    /// Writes the observatory as it is after each of the updates: the first frame whole, and of the others what differs
    /// from the one before.
    pub(super) fn write(&self, scenes: Vec<Update>, file: impl Write, progress: &Progress) -> Result<()> {
        // Whether this process may write colours on its own terminal is another matter.
        force_color_output(true);
        let screen = Rect::new(0, 0, self.size.0, self.size.1);
        let written = terminal::Frame::default();
        let backend = CrosstermBackend::new(written.clone());
        let mut terminal =
            Terminal::with_options(backend, TerminalOptions { viewport: Viewport::Fixed(screen) })?;
        let mut app = App::new(Options { read_only: true, ..Options::default() });
        app.update(Message::Engine(ToScreen::Welcome { version: VERSION }));
        let mut recording = Asciicast::begin(file, self.size, &self.title)?;
        let frames = scenes.len();
        for (index, scene) in scenes.into_iter().enumerate() {
            progress.show_if_due(|| format!("frame {} of {frames}", index + 1));
            app.update(Message::Engine(ToScreen::Update(Box::new(scene))));
            // Nothing says which lines of the log belong to which step.
            if ui::layout(&app, screen).iter().any(|(pane, _)| *pane == Pane::Log) {
                app.view.log_flipped = !app.view.log_flipped;
            }
            terminal.draw(|frame| ui::view(&app, &self.theme, frame))?;
            let seconds = index as f64 / f64::from(self.fps);
            recording.output(seconds, &String::from_utf8_lossy(&written.take()))?;
        }
        Ok(())
    }
}
