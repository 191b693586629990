//! What will happen, where no plane is laid yet.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::App;
use crate::protocol::wormhole::{Phase, Setting};
use crate::theme::Theme;
use crate::ui::panel::Panel;
use crate::ui::{centered, text};

/// A few sentences and the keys.
pub(super) struct Page<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// The columns of a sentence at most.
const COLUMNS: u16 = 76;

/// The columns of a key.
const KEY: usize = 15;

impl Widget for Page<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let theme = self.theme;
        let inner =
            Panel { theme, focused: true, title: "The wormhole", right: Vec::new() }.draw(area, buffer);
        let width = inner.width.min(COLUMNS);
        let lines = self.lines(usize::from(width));
        centered(lines, width, inner, buffer);
    }
}

impl Page<'_> {
    fn lines(&self, columns: usize) -> Vec<Line<'static>> {
        let (app, palette) = (self.app, &self.theme.palette);
        let mut lines = Vec::new();
        let mut say = |sentence: &str, style: Style| {
            let wrapped = text::wrap(sentence, columns.max(1));
            lines.extend(wrapped.into_iter().map(|line| Line::styled(line, style)));
            lines.push(Line::default());
        };
        match app.engine.wormhole.as_ref().map(|scene| &scene.phase) {
            Some(Phase::Failed(reason)) => say(&text::one_line(reason), palette.warn),
            Some(Phase::Ended) => say("The experiment ended, and its memory is given back.", palette.muted),
            _ => {}
        }
        let plain = Style::new();
        let step = app.engine.status.as_ref().map_or(0, |status| status.step);
        say(
            &format!(
                "A plane is laid through the weights of step {step}, along two random directions. \
                 You put the weights on a plateau of it, and from there all of them are trained \
                 on the prompt."
            ),
            plain,
        );
        say(
            "At left is the plane that stays: it never changes. At right is the plane through the moving \
             weights, along the same directions, in the same colours. Look for a pit that opens under them, \
             while they hardly move within the picture.",
            plain,
        );
        say("The run pauses for this. What is tried here does not change it.", plain);
        match app.cannot_command() {
            Some(reason) => say(&reason, palette.warn),
            None => lines.extend(self.keys()),
        }
        lines
    }

    fn keys(&self) -> Vec<Line<'static>> {
        let (app, palette) = (self.app, &self.theme.palette);
        let Setting { film, seeds, learning_rate, .. } =
            app.view.wormhole.setting(app.engine.wormhole.as_ref());
        let layers = if film { "the first half of the layers" } else { "all layers" };
        let rate = learning_rate.map_or_else(String::new, |rate| format!(", lr {rate:.1e}"));
        let made = format!("through {layers}, seeds {} and {}{rate}", seeds[0], seeds[1]);
        let other = if film { ("all", "through all layers") } else { ("film", "as the film has it") };
        let rows = [
            (app.options.bindings.shown("move"), "lays the plane".into()),
            (String::new(), made),
            (format!(":wormhole {}", other.0), format!("lays it {}", other.1)),
            (":wormhole end".into(), "gives its memory back".into()),
        ];
        let row = |(key, what): (String, String)| {
            Line::from(vec![
                Span::styled(format!("{key:<KEY$}"), palette.accent),
                Span::raw(format!(" {what}")),
            ])
        };
        rows.map(row).to_vec()
    }
}
