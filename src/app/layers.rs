//! How the norms of the parameters are shown: the rows there are, and what of them is read.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::protocol::TensorNorms;

use super::EngineState;

/// Parameters above which layers are folded at first: twice the rows that a screen of 40 lines has for them.
const MANY: usize = 60;

/// What is measured of a parameter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Quantity {
    /// The norm of its gradient.
    #[default]
    Gradient,
    /// Its own norm.
    Weight,
    /// The norm of its change over its own norm.
    Ratio,
}

impl Quantity {
    /// All of them, in the order of the screen.
    pub const ALL: [Self; 3] = [Self::Gradient, Self::Weight, Self::Ratio];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gradient => "gradient norm",
            Self::Weight => "weight norm",
            Self::Ratio => "update/weight",
        }
    }

    /// The one that many places on, in a circle.
    #[must_use]
    pub fn after(self, places: usize) -> Self {
        Self::ALL[(self as usize + places) % Self::ALL.len()]
    }
}

/// A row: one parameter, or those of a layer taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strip {
    /// The place of its first parameter among the names.
    first: usize,
    /// How many follow each other.
    count: usize,
    /// What it is.
    pub kind: StripKind,
}

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StripKind {
    /// A parameter that has no others beside it.
    Alone,
    /// A layer whose parameters are hidden.
    Folded,
    /// A layer whose parameters follow.
    Unfolded,
    /// A parameter of the layer above it.
    Within,
}

impl Strip {
    /// The places of its parameters among the names; there is at least one.
    pub fn tensors(&self) -> Range<usize> {
        self.first..self.first + self.count
    }
}

/// The layer of a parameter: `model.layers.0` of `model.layers.0.mlp.up_proj.weight`. A dot follows it.
pub fn layer_of(name: &str) -> Option<&str> {
    const LAYERS: &str = "layers.";
    let (before, rest) = name.split_once(LAYERS)?;
    let (number, _) = rest.split_once('.')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| &name[..before.len() + LAYERS.len() + number.len()])
}

/// How the norms of the parameters are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LayersView {
    /// What is shown where there is no room for everything that is measured.
    pub quantity: Quantity,
    /// The step that is read; without one the newest is.
    pub step: Option<u64>,
    /// The number of the selected row.
    row: usize,
    /// The first parameters of the layers that are not as they are at first: unfolded, or folded.
    flipped: BTreeSet<usize>,
}

impl LayersView {
    /// The rows of parameters with these names, from the top.
    pub fn strips(&self, names: &[String]) -> Vec<Strip> {
        let mut strips = Vec::new();
        let mut first = 0;
        for layer in names.chunk_by(|a, b| layer_of(a).is_some() && layer_of(a) == layer_of(b)) {
            let count = layer.len();
            let folded = (names.len() > MANY) != self.flipped.contains(&first);
            let kind = match (count, folded) {
                (1, _) => StripKind::Alone,
                (_, true) => StripKind::Folded,
                (_, false) => StripKind::Unfolded,
            };
            strips.push(Strip { first, count, kind });
            if kind == StripKind::Unfolded {
                let within = |first| Strip { first, count: 1, kind: StripKind::Within };
                strips.extend((first..first + count).map(within));
            }
            first += count;
        }
        strips
    }

    /// The number of the selected one of these rows.
    pub fn selected(&self, strips: &[Strip]) -> usize {
        self.row.min(strips.len().saturating_sub(1))
    }

    /// The place of the norms that are read: the newest, or those nearest to the step that was chosen, which may have
    /// been thinned away. `None` where there are none.
    pub fn reading(&self, norms: &[TensorNorms]) -> Option<usize> {
        let newest = norms.len().checked_sub(1)?;
        let Some(step) = self.step else { return Some(newest) };
        (0..norms.len()).min_by_key(|i| norms[*i].step.abs_diff(step))
    }

    /// Selects another row, or reads another step, the newest at first.
    pub(super) fn steer(&mut self, engine: &EngineState, right: i32, up: i32) {
        let strips = self.strips(&engine.tensor_names);
        let last = strips.len().saturating_sub(1);
        self.row = self.selected(&strips).saturating_add_signed(-up as isize).min(last);
        let norms = engine.tensors.items();
        if right == 0 {
            return;
        }
        if let Some(read) = self.reading(norms) {
            let by = if self.step.is_some() { right as isize } else { 0 };
            self.step = Some(norms[read.saturating_add_signed(by).min(norms.len() - 1)].step);
        }
    }

    /// Selects the row of this number, and reads this step, where the mouse says so.
    pub(super) fn point(&mut self, row: Option<usize>, step: Option<u64>) {
        self.row = row.unwrap_or(self.row);
        self.step = step.or(self.step);
    }

    /// Unfolds the layer of the selected row, or folds it.
    pub(super) fn fold(&mut self, names: &[String]) {
        let strips = self.strips(names);
        let until = strips.iter().enumerate().take(self.selected(&strips) + 1);
        let layer = until.rev().find(|(_, strip)| strip.kind != StripKind::Within);
        let Some((row, strip)) = layer.filter(|(_, strip)| strip.kind != StripKind::Alone) else { return };
        self.row = row;
        if !self.flipped.remove(&strip.first) {
            self.flipped.insert(strip.first);
        }
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::StripKind::{Alone, Folded, Unfolded, Within};
    use super::*;
    use crate::app::{App, Effect, Message, Options};

    const PARTS: [&str; 3] = ["self_attn.q_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"];

    /// An embedding, so many layers of three parameters and a norm.
    fn names(layers: usize) -> Vec<String> {
        let layer = |i| PARTS.map(|part| format!("model.layers.{i}.{part}"));
        let mut names = vec!["model.embed_tokens.weight".to_owned()];
        names.extend((0..layers).flat_map(layer));
        names.push("model.norm.weight".to_owned());
        names
    }

    fn norms(step: u64) -> TensorNorms {
        TensorNorms { step, gradients: Vec::new(), weights: Vec::new(), updates: Vec::new() }
    }

    /// A screen that shows the layers, with norms of ten steps.
    fn app(layers: usize) -> App {
        let mut app = App::new(Options::default());
        app.engine.tensor_names = names(layers);
        (1..=10).for_each(|step| app.engine.tensors.push(norms(step)));
        press(&mut app, KeyCode::Char('5'));
        app
    }

    fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
        app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn kinds(app: &App) -> Vec<StripKind> {
        app.view.layers.strips(&app.engine.tensor_names).iter().map(|strip| strip.kind).collect()
    }

    fn row(app: &App) -> usize {
        app.view.layers.selected(&app.view.layers.strips(&app.engine.tensor_names))
    }

    #[test]
    fn the_layer_of_a_parameter_is_in_its_name() {
        assert_eq!(layer_of("model.layers.12.mlp.up_proj.weight"), Some("model.layers.12"));
        for name in ["model.norm.weight", "layers.", "layers.1", "layers.x.y", "layers..y", "é", ""] {
            assert_eq!(layer_of(name), None, "{name}");
        }
    }

    #[test]
    fn few_parameters_have_a_row_each_below_their_layer() {
        assert_eq!(kinds(&app(1)), [Alone, Unfolded, Within, Within, Within, Alone]);
        assert_eq!(kinds(&app(0)), [Alone, Alone]);
    }

    #[test]
    fn enter_unfolds_a_layer_of_many_in_its_place_and_folds_it_again() {
        let mut app = app(30);
        assert_eq!(kinds(&app).len(), 32);
        press(&mut app, KeyCode::Enter);
        assert_eq!(kinds(&app).len(), 32, "the embedding is no layer");
        press(&mut app, KeyCode::Down);
        press(&mut app, KeyCode::Down);
        press(&mut app, KeyCode::Enter);
        assert_eq!(kinds(&app)[..7], [Alone, Folded, Unfolded, Within, Within, Within, Folded]);
        let strips = app.view.layers.strips(&app.engine.tensor_names);
        assert_eq!((strips[2].tensors(), strips[4].tensors()), (4..7, 5..6));
        press(&mut app, KeyCode::Down);
        press(&mut app, KeyCode::Down);
        assert_eq!(row(&app), 4);
        press(&mut app, KeyCode::Enter);
        assert_eq!((kinds(&app).len(), row(&app)), (32, 2), "its own row takes the cursor");
    }

    #[test]
    fn enter_folds_and_asks_the_engine_for_nothing_on_a_read_only_screen_too() {
        let mut app = app(1);
        app.options.read_only = true;
        press(&mut app, KeyCode::Down);
        assert!(press(&mut app, KeyCode::Enter).is_empty() && app.view.hint.is_none());
        assert_eq!(kinds(&app), [Alone, Folded, Alone]);
    }

    #[test]
    fn the_cursor_stays_on_the_rows() {
        let mut app = app(1);
        press(&mut app, KeyCode::Up);
        assert_eq!(row(&app), 0);
        for _ in 0..20 {
            press(&mut app, KeyCode::PageDown);
        }
        assert_eq!(row(&app), 5);
        press(&mut app, KeyCode::Char('k'));
        assert_eq!(row(&app), 4);
        app.engine.tensor_names.clear();
        assert_eq!(row(&app), 0);
        press(&mut app, KeyCode::Down);
        press(&mut app, KeyCode::Enter);
        assert_eq!(row(&app), 0);
    }

    #[test]
    fn a_step_is_read_until_esc_and_then_the_newest() {
        let mut app = app(1);
        let read = |app: &App| app.view.layers.reading(app.engine.tensors.items());
        assert_eq!((read(&app), app.view.layers.step), (Some(9), None));
        press(&mut app, KeyCode::Left);
        assert_eq!(app.view.layers.step, Some(10), "it begins at the newest");
        press(&mut app, KeyCode::Left);
        press(&mut app, KeyCode::Left);
        press(&mut app, KeyCode::Right);
        assert_eq!((read(&app), app.view.layers.step), (Some(8), Some(9)));
        press(&mut app, KeyCode::Esc);
        assert_eq!((read(&app), app.view.layers.step), (Some(9), None));
    }

    #[test]
    fn the_nearest_step_is_read_where_the_chosen_one_was_thinned_away() {
        let mut app = app(1);
        press(&mut app, KeyCode::Left);
        (11..=5000).for_each(|step| app.engine.tensors.push(norms(step)));
        let items = app.engine.tensors.items();
        let read = app.view.layers.reading(items).unwrap();
        assert!(items.iter().all(|item| item.step.abs_diff(10) >= items[read].step.abs_diff(10)));
        assert_eq!(app.view.layers.step, Some(10));
        assert_eq!(app.view.layers.reading(&[]), None);
    }

    #[test]
    fn tab_goes_through_what_is_measured_and_leaves_the_focus_of_the_panes() {
        let mut app = app(1);
        let focus = app.view.focus;
        let mut after = |code| {
            press(&mut app, code);
            app.view.layers.quantity
        };
        for next in [Quantity::Weight, Quantity::Ratio, Quantity::Gradient] {
            assert_eq!(after(KeyCode::Tab), next);
        }
        assert_eq!(after(KeyCode::BackTab), Quantity::Ratio);
        assert_eq!(app.view.focus, focus);
    }
}
