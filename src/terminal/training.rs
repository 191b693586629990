//! The screen of a training.

use jiff::tz::TimeZone;
use ratatui::crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Rect;

use super::{Look, Next, Shown, Terminal, TerminalError, run, start_log};
use crate::app::tour::{Tour, Turn};
use crate::app::{self, App, Cost, Effect, Exported, Leave, Message, Options, Remembered, View};
use crate::export::metrics;
use crate::protocol::{LogLine, Slice, ToScreen};
use crate::run::client::Link;
use crate::theme::Theme;
use crate::ui::{self, PixelMap, text};

/// Shows what `link` tells until the person leaves or it ends; how it was looked at comes back, too. The look says
/// which themes there are.
pub async fn show(
    terminal: &mut Terminal,
    link: Link,
    look: Look,
    options: Options,
) -> Result<(Leave, Remembered), TerminalError> {
    start_log();
    let mut look = look.on(terminal.background.is_light);
    let mut training = Training::new(terminal, link, &look, options);
    let leave = run(terminal, &mut training, &mut look).await?;
    Ok((leave.unwrap_or(Leave::Detach), training.app.remembered()))
}

/// A run and its engine, wherever that is.
pub(super) struct Training {
    app: App,
    link: Link,
}

impl Training {
    /// Nothing is heard yet.
    pub(super) fn new(terminal: &Terminal, link: Link, look: &Look, options: Options) -> Self {
        let zone = Some(TimeZone::system());
        let pictures = terminal.pictures.are_shown();
        Self { app: App::new(Options { themes: look.names.clone(), zone, pictures, ..options }), link }
    }

    /// The tour that is told over it.
    pub(super) fn tour(&self) -> Option<Tour> {
        self.app.tour
    }

    /// Turns a page of the tour. Returns what leaves the screen, if something does.
    pub(super) fn turn(&mut self, turn: Turn) -> Option<Leave> {
        let leaves = |next| if let Next::Leave(leave) = next { Some(leave) } else { None };
        self.update(Message::Turn(turn)).into_iter().find_map(leaves)
    }

    /// The name of the run.
    fn name(&self) -> &str {
        self.app.engine.run.as_ref().map_or("", |run| &run.name)
    }

    fn update(&mut self, message: Message) -> Vec<Next<Leave>> {
        let carry_out = |effect| match effect {
            Effect::Send(command) => {
                // Where the connection is gone, its own message tells.
                let _ = self.link.commands.send(command);
                None
            }
            Effect::UseTheme(name) => Some(Next::UseTheme(name)),
            Effect::Export(format, name) => Some(Next::Export(format, name)),
            Effect::Repaint => Some(Next::Repaint),
            Effect::Suspend => Some(Next::Suspend),
            Effect::Leave(leave) => Some(Next::Leave(leave)),
        };
        self.app.update(message).into_iter().filter_map(carry_out).collect()
    }
}

impl Shown for Training {
    type News = Message;
    type Leave = Leave;

    async fn news(&mut self) -> Message {
        match self.link.frames.recv().await {
            Some(Ok(frame)) => Message::Engine(frame),
            Some(Err(error)) => Message::Lost(error.to_string()),
            // The last picture stays until the person leaves.
            None if matches!(self.app.link, app::Link::Ended(_)) => std::future::pending().await,
            None => Message::Lost("the connection has ended".to_owned()),
        }
    }

    fn hear(&mut self, news: Message) -> Vec<Next<Leave>> {
        if let Message::Engine(ToScreen::Update(update)) = &news {
            let zone = self.app.options.zone.as_ref();
            for line in &update.log {
                feed(line, zone);
            }
            tui_logger::move_events();
        }
        self.update(news)
    }

    fn press(&mut self, key: KeyEvent) -> Vec<Next<Leave>> {
        self.update(Message::Key(key))
    }

    fn point(&mut self, mouse: MouseEvent, screen: Rect) -> Vec<Next<Leave>> {
        let pointed = ui::pointed(&self.app, screen, mouse);
        pointed.map_or_else(Vec::new, |pointed| self.update(Message::Mouse(pointed)))
    }

    fn cost(&mut self, cost: Cost) {
        self.app.cost = cost;
    }

    fn fades(&self) -> bool {
        self.app.view.toasts.fade()
    }

    fn fade(&mut self) {
        self.app.fade();
    }

    fn draw(&self, theme: &Theme, frame: &mut ratatui::Frame) {
        ui::view(&self.app, theme, frame);
    }

    fn pixel_maps(&self, theme: &Theme, screen: Rect) -> Vec<PixelMap<'_>> {
        ui::pixel_maps(&self.app, theme, screen)
    }

    fn title(&self) -> String {
        let step = self.app.engine.status.as_ref().map_or(0, |status| status.step);
        format!("llamascape: {}, step {step}", self.name())
    }

    fn slice(&self) -> Option<(String, &Slice)> {
        let App { engine, view, .. } = &self.app;
        let slice = match view.shown {
            View::Timeline => engine.timeline.items().get(view.timeline.selected(&engine.timeline)?)?,
            View::Wormhole => {
                let frame =
                    view.wormhole.selected(&engine.film).and_then(|frame| engine.film.items().get(frame));
                let slice = frame.or(engine.frozen.as_ref())?;
                return Some((format!("{}, wormhole@{}", self.name(), slice.step), slice));
            }
            View::Probe => return None,
            View::Observatory | View::Layers => engine.slice.as_ref()?,
        };
        Some((format!("{}@{}", self.name(), slice.step), slice))
    }

    fn table(&self) -> Option<String> {
        let engine = &self.app.engine;
        match self.app.view.shown {
            View::Layers => Some(metrics::norms(&engine.tensor_names, engine.tensors.items())),
            View::Probe => engine.probe.as_ref()?.sweep.as_ref().map(metrics::sweep),
            _ => None,
        }
    }

    fn exported(&mut self, exported: Exported) {
        self.app.update(Message::Exported(exported));
    }
}

/// Hands a line of the engine's log to the log pane, with the time at which it was written.
fn feed(line: &LogLine, zone: Option<&TimeZone>) {
    let (level, text) = text::logged(line, zone);
    log::log!(target: "engine", level, "{text}");
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyModifiers};
    use tokio::sync::mpsc;

    use super::*;
    use crate::protocol::Outcome;

    #[test]
    fn what_is_exported_is_what_is_shown() {
        let (_frames, inbox) = mpsc::channel(2);
        let (commands, _asked) = mpsc::unbounded_channel();
        let mut training = Training { app: ui::fixture::app(), link: Link { frames: inbox, commands } };
        training.app.engine.timeline = crate::protocol::Timeline::default();
        for step in [10, 20, 30] {
            let slice = Slice { step, ..ui::fixture::slice(5, |_, _| 1.0) };
            training.app.engine.timeline.push(slice);
        }
        let step = |training: &Training| training.slice().map(|(_, slice)| slice.step);
        let newest = step(&training);
        assert_eq!(newest, training.app.engine.slice.as_ref().map(|slice| slice.step));
        assert_eq!(training.table(), None);
        for code in [KeyCode::Char('6'), KeyCode::Left] {
            training.press(KeyEvent::new(code, KeyModifiers::NONE));
        }
        assert_eq!(step(&training), Some(20), "the selected one");
        training.press(KeyEvent::new(KeyCode::Char('5'), KeyModifiers::NONE));
        assert!(training.table().is_some_and(|table| table.starts_with("step,tensor,gradient")));
        assert_eq!(step(&training), newest);
    }

    #[test]
    fn after_the_end_of_the_engine_there_is_nothing_to_wake_for() {
        let (frames, inbox) = mpsc::channel(2);
        let (commands, _asked) = mpsc::unbounded_channel();
        let app = App::new(Options::default());
        let mut training = Training { app, link: Link { frames: inbox, commands } };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let outcome = Outcome::Stopped { step: 7, checkpoint: None };
            frames.send(Ok(ToScreen::Closed(outcome))).await.unwrap();
            drop(frames);
            let news = training.news().await;
            assert!(training.hear(news).is_empty(), "the last picture stays");
            tokio::select! {
                biased;
                news = training.news() => panic!("{news:?}"),
                () = tokio::task::yield_now() => {}
            }
        });
    }
}
