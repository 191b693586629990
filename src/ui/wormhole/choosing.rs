//! The plane that stays, and where on it the weights are to start.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::App;
use crate::protocol::Slice;
use crate::protocol::wormhole::{Phase, Scene};
use crate::theme::Theme;
use crate::ui::film::Scales;
use crate::ui::panel::Panel;
use crate::ui::picture::{self, Picture};
use crate::ui::surface::Surface;
use crate::ui::text;

use super::{STAYS, fitting, indented, told};

/// The plane with a cursor on it.
pub(super) struct Choosing<'a> {
    pub(super) app: &'a App,
    pub(super) scene: &'a Scene,
    pub(super) theme: &'a Theme,
}

impl Widget for Choosing<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme, .. } = self;
        let [above, pane] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
        let above = indented(above);
        Line::raw(fitting(&self.sentences(), above.width)).render(above, buffer);
        let surface = self.plane().and_then(|plane| {
            // Once there is a film, the colours are those of the film.
            let film = if self.scene.offset.is_some() { app.engine.film.items() } else { &[] };
            let scales = Scales::staying(plane, film, app.view.landscape.stretch);
            Surface::scaled(plane, scales.get(plane.generation)?)
        });
        let right = surface.as_ref().map_or_else(Vec::new, |surface| self.right(surface));
        let inner = Panel { theme, focused: true, title: STAYS, right }.draw(pane, buffer);
        let Some(surface) = &surface else {
            picture::missing(self.missing(), theme, inner, buffer);
            return;
        };
        let mut view = app.view.landscape.clone();
        view.chosen = Some(app.view.wormhole.start(Some(surface.slice)));
        let honesty = told::parts(self.scene, surface.slice);
        Picture { surface, theme, view: &view, drift: None, honesty, marks: &[], readout: None }
            .render(inner, buffer);
    }
}

impl<'a> Choosing<'a> {
    /// The plane, unless it is still that of the experiment before.
    fn plane(&self) -> Option<&'a Slice> {
        let info = self.scene.plane.as_ref()?;
        let is_this = |slice: &&Slice| slice.plane.seeds == info.seeds && slice.plane.tensors == info.tensors;
        self.app.engine.frozen.as_ref().filter(is_this)
    }

    fn missing(&self) -> &'static str {
        match (&self.scene.plane, self.plane()) {
            (None, _) => "drawing two directions as large as the weights ..",
            (Some(_), None) => "evaluating the plane ..",
            (Some(_), Some(_)) => "no point of this plane has a finite loss",
        }
    }

    /// What to do now.
    fn sentences(&self) -> Vec<String> {
        let [go, back] = ["move", "clear"].map(|command| self.app.options.bindings.shown(command));
        if let Some(reason) = self.app.cannot_command() {
            return vec![format!("{reason}; the cursor reads the losses")];
        }
        match self.scene.phase {
            Phase::Laying => vec!["The plane is being laid; the run is paused.".into()],
            Phase::Choosing => vec![
                format!(
                    "Choose where the weights are to start: a plateau is high and flat. \
                     Arrows move the cursor, {go} jumps."
                ),
                format!("Arrows choose where the weights are to start, high and flat; {go} jumps."),
            ],
            _ => vec![format!("Arrows choose another start, {go} jumps there, {back} goes back.")],
        }
    }

    /// The place and its loss.
    fn right(&self, surface: &Surface) -> Vec<Line<'static>> {
        let slice = surface.slice;
        let start = self.app.view.wormhole.start(Some(slice));
        let cursor = &self.theme.symbols.cursor;
        let (alpha, beta) = (text::coordinate(start.alpha), text::coordinate(start.beta));
        let loss = text::number(surface.under(start));
        let place = format!("{cursor} α {alpha} β {beta}: loss {loss}");
        let coarse = if slice.finest { "" } else { " · coarse so far" };
        let of_step = format!("of step {}", self.scene.of_step);
        let lines = [format!("{place} · {of_step}{coarse}"), format!("{place}{coarse}"), place];
        lines.map(Line::raw).to_vec()
    }
}
