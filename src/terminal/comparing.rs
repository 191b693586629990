//! The screen of a comparison.

use ratatui::crossterm::event::{KeyEvent, MouseEvent};
use ratatui::layout::Rect;
use tokio::sync::watch;

use super::{Look, Next, Shown, Terminal, TerminalError, run, start_log};
use crate::app::comparison::{self, Comparison};
use crate::app::tour::{Tour, Turn};
use crate::app::{Bindings, Exported};
use crate::protocol::Slice;
use crate::protocol::comparison::{Phase, Scene};
use crate::run::comparison::Host;
use crate::theme::Theme;
use crate::ui::{self, PixelMap};

/// Shows a comparison until the person leaves or it fails, and returns why it failed.
pub async fn compare(
    terminal: &mut Terminal,
    host: &Host,
    look: Look,
    bindings: Bindings<comparison::Action>,
) -> Result<Option<String>, TerminalError> {
    start_log();
    let mut look = look.on(terminal.background.is_light);
    let mut comparing = Comparing::new(terminal, host, &look, bindings, None);
    Ok(match run(terminal, &mut comparing, &mut look).await? {
        Some(Left::Failed(error)) => Some(error),
        Some(Left::ByChoice | Left::Turned(_)) | None => None,
    })
}

/// Why the screen of a comparison is left.
pub(super) enum Left {
    /// The person leaves.
    ByChoice,
    /// The tour goes on elsewhere.
    Turned(Turn),
    /// It can't go on: one line of what, where and what to do.
    Failed(String),
}

/// A comparison and its engine in this process.
pub(super) struct Comparing<'a> {
    app: Comparison,
    host: &'a Host,
    scenes: watch::Receiver<Scene>,
}

impl<'a> Comparing<'a> {
    /// Nothing is heard yet.
    pub(super) fn new(
        terminal: &Terminal,
        host: &'a Host,
        look: &Look,
        bindings: Bindings<comparison::Action>,
        tour: Option<Tour>,
    ) -> Self {
        let mut app = Comparison::new(look.names.clone(), bindings);
        (app.tour, app.pictures) = (tour, terminal.pictures.are_shown());
        Self { app, host, scenes: host.scenes() }
    }

    fn update(&mut self, message: comparison::Message) -> Vec<Next<Left>> {
        let carry_out = |effect| match effect {
            comparison::Effect::Ask(ask) => {
                self.host.ask(ask);
                None
            }
            comparison::Effect::UseTheme(name) => Some(Next::UseTheme(name)),
            comparison::Effect::Export(format, name) => Some(Next::Export(format, name)),
            comparison::Effect::Repaint => Some(Next::Repaint),
            comparison::Effect::Suspend => Some(Next::Suspend),
            comparison::Effect::Turn(turn) => Some(Next::Leave(Left::Turned(turn))),
            comparison::Effect::Leave => Some(Next::Leave(Left::ByChoice)),
        };
        self.app.update(message).into_iter().filter_map(carry_out).collect()
    }
}

impl Shown for Comparing<'_> {
    type News = Scene;
    type Leave = Left;

    async fn news(&mut self) -> Scene {
        if self.scenes.changed().await.is_ok() {
            return self.scenes.borrow_and_update().clone();
        }
        // The engine says why it ends before it does, unless it panicked.
        let phase = Phase::Failed("the comparison's engine has ended".to_owned());
        Scene { phase, ..Scene::default() }
    }

    fn hear(&mut self, scene: Scene) -> Vec<Next<Left>> {
        if let Phase::Failed(error) = scene.phase {
            return vec![Next::Leave(Left::Failed(error))];
        }
        self.update(comparison::Message::Scene(Box::new(scene)))
    }

    fn press(&mut self, key: KeyEvent) -> Vec<Next<Left>> {
        self.update(comparison::Message::Key(key))
    }

    fn point(&mut self, mouse: MouseEvent, screen: Rect) -> Vec<Next<Left>> {
        let pointed = ui::comparison::pointed(&self.app, screen, mouse);
        pointed.map_or_else(Vec::new, |pointed| self.update(comparison::Message::Mouse(pointed)))
    }

    fn draw(&self, theme: &Theme, frame: &mut ratatui::Frame) {
        ui::comparison::view(&self.app, theme, frame);
    }

    fn pixel_maps(&self, theme: &Theme, screen: Rect) -> Vec<PixelMap<'_>> {
        ui::comparison::pixel_maps(&self.app, theme, screen)
    }

    fn title(&self) -> String {
        let [a, b] = &self.app.scene.sides;
        format!("llamascape: {} and {}", a.name, b.name)
    }

    fn slice(&self) -> Option<(String, &Slice)> {
        let side = &self.app.scene.sides[self.app.exported_side() as usize];
        let slice = side.slice.as_deref()?;
        let model = match slice.step {
            0 => side.name.clone(),
            steps => format!("{} after {steps} steps", side.name),
        };
        Some((model, slice))
    }

    fn exported(&mut self, exported: Exported) {
        self.app.update(comparison::Message::Exported(exported));
    }
}
