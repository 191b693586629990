//! The view of the wormhole: the plane that stays, the plane that travels, and how far the weights have moved.

mod choosing;
mod descent;
mod page;
mod told;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::Widget;

use crate::app::{Action, App, Binding, WormholeStage};
use crate::protocol::wormhole::Phase;
use crate::theme::Theme;

use super::text;
use choosing::Choosing;
use descent::Descent;
use page::Page;

/// Weights that are trained off a plateau.
pub(super) struct Wormhole<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// The title of the plane through the weights of the run.
const STAYS: &str = "The plane that stays";

impl Widget for Wormhole<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let area = area.intersection(buffer.area);
        let scene = app.engine.wormhole.as_ref();
        match (app.view.wormhole.stage(scene), scene) {
            (WormholeStage::Choosing, Some(scene)) => Choosing { app, scene, theme }.render(area, buffer),
            (WormholeStage::Descending, Some(scene)) => Descent { app, scene, theme }.render(area, buffer),
            _ => Page { app, theme }.render(area, buffer),
        }
    }
}

/// What a key that asks something of the engine would do in this view; `None` when nothing.
pub(super) fn label(app: &App, binding: &Binding<Action>) -> Option<&'static str> {
    let scene = app.engine.wormhole.as_ref();
    let phase = scene.map(|scene| &scene.phase);
    let trains = matches!(phase, Some(Phase::Running | Phase::Paused));
    match binding.action {
        Action::RunPause if phase == Some(&Phase::Running) => Some("pause"),
        Action::RunPause | Action::Step | Action::StepTen | Action::Back if !trains => None,
        Action::Redraw | Action::NewPlane | Action::ZoomIn | Action::ZoomOut if scene.is_none() => None,
        Action::Optimizer | Action::Plane => None,
        _ => Some(binding.label),
    }
}

/// What the help says of an action here, where it usually says this; `None` where it means nothing.
pub(super) fn told(action: Action, usual: &'static str) -> Option<&'static str> {
    match action {
        Action::RunPause => Some("train all weights from the start, or pause"),
        Action::Step => Some("take one step of the experiment"),
        Action::StepTen => Some("take ten of them"),
        Action::Back => Some("go back to before its last step"),
        Action::Move => Some("lay a plane; jump to the cursor; after that, choose another start"),
        Action::Redraw => Some("lay the plane again, through the weights as they are now"),
        Action::NewPlane => Some("lay a plane along two other directions"),
        Action::ZoomIn => Some("lay a plane that shows less"),
        Action::ZoomOut => Some("lay a plane that shows more"),
        Action::Grid => Some("at most 17, 33 or 65 points a side of the next plane"),
        Action::Faster => Some("a higher learning rate of the next experiment, before one is laid"),
        Action::Slower => Some("a lower one"),
        Action::FocusNext => Some("the plane that travels alone, or both"),
        Action::Clear => Some("follow the newest step; leave what was begun"),
        Action::Optimizer | Action::Plane | Action::FocusPrevious | Action::Zoom => None,
        _ => Some(usual),
    }
}

/// A row with a column of air on both sides.
fn indented(row: Rect) -> Rect {
    let air = u16::from(row.width > 8);
    Rect { x: row.x + air, width: row.width - 2 * air, ..row }
}

/// The first of these sentences that fits, or else the last one, cut.
fn fitting(sentences: &[String], columns: u16) -> String {
    let columns = usize::from(columns);
    let fits = |sentence: &&String| text::width(sentence) <= columns;
    let sentence = sentences.iter().find(fits).or(sentences.last());
    sentence.map_or_else(String::new, |sentence| text::shorten(sentence, columns))
}

#[cfg(test)]
mod tests;
