//! The parts of the state: the connection, what the engine has told, and what the person looks at.

use crate::protocol::{History, LayerNorm, Outcome, Prediction, RunInfo, Sharpness, Slice, Status, Update};

use super::{LineEditor, Palette, Search};

/// How the connection to the engine stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// No answer yet.
    Opening,
    /// It stands.
    Live,
    /// This screen asked the engine to save and end.
    Stopping,
    /// The engine ended; the last picture stays.
    Ended(Outcome),
}

/// What the engine has told so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineState {
    /// What the run is.
    pub run: Option<RunInfo>,
    /// Where it stands.
    pub status: Option<Status>,
    /// Its steps.
    pub history: History,
    /// Gradient norms of the newest step.
    pub layers: Vec<LayerNorm>,
    /// The newest slice.
    pub slice: Option<Slice>,
    /// The newest sharpness: not every slice comes with one.
    pub sharpness: Option<Sharpness>,
    /// The newest prediction.
    pub prediction: Option<Prediction>,
}

impl EngineState {
    /// Takes over what an update carries. Log lines are not kept here: the log pane has a store of its own.
    pub(super) fn apply(&mut self, update: Update) {
        let Update { run, status, history, points, layers, slice, prediction, log: _ } = update;
        self.run = run.or(self.run.take());
        self.status = status.or(self.status.take());
        self.sharpness = slice.as_ref().and_then(|slice| slice.sharpness).or(self.sharpness);
        self.slice = slice.or(self.slice.take());
        self.prediction = prediction.or(self.prediction.take());
        if let Some(layers) = layers {
            self.layers = layers;
        }
        if let Some(history) = history {
            self.history = history;
        }
        for point in points {
            self.history.push(point);
        }
    }
}

/// The panes that can have the focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    /// The slice of the loss landscape.
    Landscape,
    /// Loss over steps.
    Loss,
    /// What the model would say next.
    NextToken,
    /// Gradient norms.
    Gradient,
    /// The log.
    Log,
}

impl Pane {
    /// All of them, in the order of the focus.
    pub const ALL: [Self; 5] = [Self::Landscape, Self::Loss, Self::NextToken, Self::Gradient, Self::Log];

    /// The pane that many places on, in a circle.
    pub(super) fn after(self, places: usize) -> Self {
        Self::ALL[(self as usize + places) % Self::ALL.len()]
    }
}

/// What the cells of the landscape are made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Marker {
    /// Braille dots: contours over colours, or shades where there is no colour.
    #[default]
    Braille,
    /// Two colours a cell, no contours.
    HalfBlock,
    /// Plain characters.
    Ascii,
}

impl Marker {
    pub(super) fn next(self) -> Self {
        match self {
            Self::Braille => Self::HalfBlock,
            Self::HalfBlock => Self::Ascii,
            Self::Ascii => Self::Braille,
        }
    }
}

/// What lies over the screen and takes the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modal {
    /// The keys and what they do.
    Help {
        /// Lines above the first one on show, at most.
        scroll: usize,
    },
    /// How to leave.
    Leave,
    /// Whether the training is to move to the cursor.
    Move,
    /// The line editor of the prompt.
    Prompt(LineEditor),
    /// The command line.
    Commands(Palette),
    /// The search of the log.
    Search(Search),
}

/// A line that answers the last key, until the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The engine was asked for something; its next log line takes this place.
    Asked(String),
    /// What became of it.
    Answer(String),
    /// Why nothing happened.
    Refused(String),
    /// Something went wrong in the engine.
    Warning(String),
}

impl Hint {
    /// The text. It may hold anything.
    pub fn text(&self) -> &str {
        match self {
            Self::Asked(text) | Self::Answer(text) | Self::Refused(text) | Self::Warning(text) => text,
        }
    }
}

/// A place of the landscape that the person has chosen to read, in units of alpha and beta.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chosen {
    /// Along the first direction.
    pub alpha: f64,
    /// Along the second direction.
    pub beta: f64,
}

impl Chosen {
    /// The sample of the slice that is nearest: its column and row.
    pub fn nearest(self, slice: &Slice) -> (usize, usize) {
        (nearest(&slice.alphas, self.alpha), nearest(&slice.betas, self.beta))
    }
}

fn nearest(values: &[f64], wanted: f64) -> usize {
    let distance = |i: &usize| (values[*i] - wanted).abs();
    (0..values.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
}

/// What the person looks at, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewState {
    /// The pane with the focus.
    pub focus: Pane,
    /// The pane with the focus has the screen to itself.
    pub zoomed: bool,
    /// The log is shown where it is hidden by default, and the other way round.
    pub log_flipped: bool,
    /// The loss chart shows the logarithm of the loss.
    pub log_loss: bool,
    /// How the landscape is drawn.
    pub landscape: LandscapeView,
    /// What lies over the screen.
    pub modal: Option<Modal>,
    /// The answer to the last key.
    pub hint: Option<Hint>,
    /// The commands that were typed and run, the newest last.
    pub history: Vec<String>,
}

impl Default for ViewState {
    fn default() -> Self {
        Self {
            focus: Pane::Landscape,
            zoomed: false,
            log_flipped: false,
            log_loss: false,
            landscape: LandscapeView::default(),
            modal: None,
            hint: None,
            history: Vec::new(),
        }
    }
}

/// How the landscape is drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LandscapeView {
    /// Colours by the logarithm of the loss.
    pub log: bool,
    /// Number of the colour map, modulo how many the theme has.
    pub map: usize,
    /// What its cells are made of.
    pub marker: Marker,
    /// The place to read.
    pub chosen: Option<Chosen>,
    /// The grid that was asked for last, in points a side.
    grid: Option<usize>,
}

impl LandscapeView {
    /// The grids one can choose from, in points a side.
    const GRIDS: [usize; 3] = [17, 33, 65];

    /// The grid that follows the one asked for last, or else the one on show.
    pub(super) fn next_grid(&mut self, slice: Option<&Slice>) -> usize {
        let now = self.grid.or(slice.map(|slice| slice.alphas.len())).unwrap_or(0);
        let next = Self::GRIDS.into_iter().find(|grid| *grid > now).unwrap_or(Self::GRIDS[0]);
        self.grid = Some(next);
        next
    }

    /// Puts the cursor on the sample of the slice that is nearest to a place, which goes from (0, 0) at the lowest
    /// coordinates to (1, 1) at the highest.
    pub(super) fn point(&mut self, slice: Option<&Slice>, [u, v]: [f64; 2]) {
        let along = |values: &[f64], share: f64| {
            let (first, last) = (values.first()?, values.last()?);
            let wanted = first + share * (last - first);
            values.get(nearest(values, wanted)).copied()
        };
        let chosen = slice.and_then(|slice| {
            Some(Chosen { alpha: along(&slice.alphas, u)?, beta: along(&slice.betas, v)? })
        });
        self.chosen = chosen.or(self.chosen);
    }

    /// Moves the cursor by one sample of the slice, from its middle at first.
    pub(super) fn move_cursor(&mut self, slice: Option<&Slice>, right: i32, up: i32) {
        let Some(slice) = slice.filter(|slice| !slice.alphas.is_empty() && !slice.betas.is_empty()) else {
            return;
        };
        let (column, row) = self.chosen.unwrap_or(Chosen { alpha: 0.0, beta: 0.0 }).nearest(slice);
        let moved = |values: &[f64], index: usize, by: i32| {
            values[index.saturating_add_signed(by as isize).min(values.len() - 1)]
        };
        self.chosen =
            Some(Chosen { alpha: moved(&slice.alphas, column, right), beta: moved(&slice.betas, row, up) });
    }
}
