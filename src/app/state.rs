//! The parts of the state: the connection, and what the person looks at.

use crate::protocol::{Outcome, Slice};

use serde::{Deserialize, Serialize};

use super::curve::Curve;
use super::layers::LayersView;
use super::probe::ProbeView;
use super::steps::Steps;
use super::timeline::TimelineView;
use super::toasts::Toasts;
use super::wormhole::WormholeView;
use super::{Bindings, LineEditor, Palette, Search};

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

/// What the screen shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The landscape, the loss, the next token, the gradient and the log.
    #[default]
    Observatory,
    /// Norms of every parameter over time.
    Layers,
    /// The slices of the run.
    Timeline,
    /// Weights that are trained off a plateau: the plane that stays and the one that travels.
    Wormhole,
    /// Single parameters, turned by hand.
    Probe,
}

/// The panes of the observatory that can have the focus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pane {
    /// The slice of the loss landscape.
    Landscape,
    /// Loss, and what else is charted, over steps.
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Marker {
    /// Braille dots: contours over colours, or shades where there is no colour.
    #[default]
    Braille,
    /// Two colours a cell, no contours.
    HalfBlock,
    /// Two colours a cell, in eight parts: a terminal's font must have the octants of Unicode 16.
    Octant,
    /// Plain characters.
    Ascii,
    /// A picture in pixels where there is a map and the terminal can show one, and braille dots elsewhere.
    Picture,
}

impl Marker {
    /// The next kind; pictures are among them where the terminal has them.
    pub(super) fn next(self, pictures: bool) -> Self {
        match self {
            Self::Braille => Self::HalfBlock,
            Self::HalfBlock => Self::Octant,
            Self::Octant => Self::Ascii,
            Self::Ascii if pictures => Self::Picture,
            Self::Ascii | Self::Picture => Self::Braille,
        }
    }
}

/// How the colours are spread over the losses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stretch {
    /// Equal differences are equal steps of colour.
    Linear,
    /// Equal ratios are.
    Log,
    /// Every colour has the same share of the samples: of a basin with steep walls the bottom is told apart too.
    #[default]
    Rank,
}

impl Stretch {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Log => "logarithmic",
            Self::Rank => "by rank",
        }
    }

    /// What a screen says of it.
    pub(super) fn told(self) -> Hint {
        Hint::Answer(format!("colours: {}", self.name()))
    }

    pub(super) fn next(self) -> Self {
        match self {
            Self::Linear => Self::Log,
            Self::Log => Self::Rank,
            Self::Rank => Self::Linear,
        }
    }
}

/// From where the landscape is seen when it is shown as a surface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewpoint {
    /// Degrees by which it is turned, below 360; seen from above, it turns against the clock.
    pub turn: u16,
    /// Degrees above the horizon, from 15 to 75.
    pub tilt: u16,
}

impl Default for Viewpoint {
    fn default() -> Self {
        Self { turn: 30, tilt: 30 }
    }
}

impl Viewpoint {
    /// Degrees of a press of a key.
    const STEP: u16 = 15;

    /// The nearest one that keys lead to.
    pub(super) fn whole(self) -> Self {
        let step = |degrees: u16| degrees / Self::STEP * Self::STEP;
        Self { turn: step(self.turn % 360), tilt: step(self.tilt).clamp(15, 75) }
    }

    /// So many presses on.
    fn moved(self, turn: i32, tilt: i32) -> Self {
        let step = i32::from(Self::STEP);
        self.by(turn * step, tilt * step)
    }

    /// So many degrees on.
    pub(super) fn by(self, turn: i32, tilt: i32) -> Self {
        Self {
            turn: (i32::from(self.turn) + turn).rem_euclid(360) as u16,
            tilt: (i32::from(self.tilt) + tilt).clamp(15, 75) as u16,
        }
    }
}

/// What lies over the screen and takes the keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Modal {
    /// The keys and what they do.
    Help {
        /// Lines above the first one on show, at most; negative, it is counted from the end, which is -1.
        scroll: isize,
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
    /// The line editor of the name of a file to write.
    Export(LineEditor),
    /// How the loss curves around the weights.
    Curvature,
}

/// A line that answers the last key, until the next one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// The engine was asked for something; its next log line takes this place.
    Asked(String),
    /// What is waited for, until the engine does something else.
    Awaited(String),
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
            Self::Asked(text)
            | Self::Awaited(text)
            | Self::Answer(text)
            | Self::Refused(text)
            | Self::Warning(text) => text,
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
    /// Whether the slice goes that far.
    pub fn is_on(self, slice: &Slice) -> bool {
        let within = |axis: &[f64], value| match axis {
            [first, .., last] => (*first..=*last).contains(&value),
            _ => false,
        };
        within(&slice.alphas, self.alpha) && within(&slice.betas, self.beta)
    }

    /// The sample of the slice that is nearest: its column and row.
    pub fn nearest(self, slice: &Slice) -> (usize, usize) {
        (nearest(&slice.alphas, self.alpha), nearest(&slice.betas, self.beta))
    }

    /// So many samples from the nearest one of the slice; `None` where it has none.
    pub(super) fn moved(self, slice: &Slice, right: i32, up: i32) -> Option<Self> {
        let (column, row) = self.nearest(slice);
        let sample = |values: &[f64], index: usize, by: i32| {
            let last = values.len().checked_sub(1)?;
            Some(values[index.saturating_add_signed(by as isize).min(last)])
        };
        let (alpha, beta) = (sample(&slice.alphas, column, right)?, sample(&slice.betas, row, up)?);
        Some(Self { alpha, beta })
    }
}

/// The place of the value that is nearest to the wanted one.
pub(super) fn nearest(values: &[f64], wanted: f64) -> usize {
    let distance = |i: &usize| (values[*i] - wanted).abs();
    (0..values.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
}

/// What a picture of the screen cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Bytes that went to the terminal.
    pub bytes: usize,
    /// Milliseconds that it took to draw it and to find what has changed.
    pub milliseconds: f64,
    /// Pictures within the last second.
    pub per_second: usize,
}

/// What the person looks at, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewState {
    /// What is shown.
    pub shown: View,
    /// How the parameters are shown.
    pub layers: LayersView,
    /// How the slices of the run are shown.
    pub timeline: TimelineView,
    /// How the wormhole is shown.
    pub wormhole: WormholeView,
    /// How single parameters are shown.
    pub probe: ProbeView,
    /// The pane with the focus.
    pub focus: Pane,
    /// The pane with the focus has the screen to itself.
    pub zoomed: bool,
    /// The log is shown where it is hidden by default, and the other way round.
    pub log_flipped: bool,
    /// The charts show logarithms.
    pub log_charts: bool,
    /// What the first chart shows.
    pub curve: Curve,
    /// The steps that the charts show, and the one that is read.
    pub steps: Steps,
    /// How the landscape is drawn.
    pub landscape: LandscapeView,
    /// What lies over the screen.
    pub modal: Option<Modal>,
    /// The answer to the last key.
    pub hint: Option<Hint>,
    /// Notes over a corner.
    pub toasts: Toasts,
    /// The commands that were typed and run, the newest last.
    pub history: Vec<String>,
}

impl Default for ViewState {
    fn default() -> Self {
        Self {
            shown: View::default(),
            layers: LayersView::default(),
            timeline: TimelineView::default(),
            wormhole: WormholeView::default(),
            probe: ProbeView::default(),
            focus: Pane::Landscape,
            zoomed: false,
            log_flipped: false,
            log_charts: false,
            curve: Curve::default(),
            steps: Steps::default(),
            landscape: LandscapeView::default(),
            modal: None,
            hint: None,
            toasts: Toasts::default(),
            history: Vec::new(),
        }
    }
}

/// How the landscape is drawn.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LandscapeView {
    /// How the colours are spread over the losses.
    pub stretch: Stretch,
    /// It is a surface seen from the side, not a map.
    pub relief: bool,
    /// From where the surface is seen.
    pub viewpoint: Viewpoint,
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
    pub(super) const GRIDS: [usize; 3] = [17, 33, 65];

    /// Spreads the colours in the next way; what that is comes back.
    pub(super) fn next_stretch(&mut self) -> Hint {
        self.stretch = self.stretch.next();
        self.stretch.told()
    }

    /// Shows the map as a surface, or the surface as a map.
    pub(super) fn switch<A>(&mut self, keys: &Bindings<A>) -> Hint {
        self.relief = !self.relief;
        if !self.relief {
            return Hint::Answer("the map".into());
        }
        let [left, right, down, up, map] =
            ["turn-left", "turn-right", "tilt-down", "tilt-up", "surface"].map(|command| keys.shown(command));
        Hint::Answer(format!(
            "a surface: {left} {right} turn it, {down} {up} tilt it, {map} is the map again"
        ))
    }

    /// Moves the point from where the surface is seen, where one is shown.
    pub(super) fn turn<A>(&mut self, turn: i32, tilt: i32, keys: &Bindings<A>) -> Hint {
        if !self.relief {
            let key = keys.shown("surface");
            return Hint::Refused(format!("this is the map: {key} shows the surface that can be turned"));
        }
        self.viewpoint = self.viewpoint.moved(turn, tilt);
        let Viewpoint { turn, tilt } = self.viewpoint;
        Hint::Answer(format!("turned by {turn} degrees, seen from {tilt} degrees above"))
    }

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
        let Some(slice) = slice else { return };
        let from = self.chosen.unwrap_or(Chosen { alpha: 0.0, beta: 0.0 });
        self.chosen = from.moved(slice, right, up).or(self.chosen);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::app::{Action, App, Message, Options};

    #[test]
    fn the_colours_are_by_rank_then_linear_then_logarithmic() {
        let mut view = LandscapeView::default();
        let hints = [(); 3].map(|()| view.next_stretch().text().to_owned());
        assert_eq!(hints, ["colours: linear", "colours: logarithmic", "colours: by rank"]);
    }

    #[test]
    fn pictures_are_among_the_markers_where_the_terminal_has_them() {
        use Marker::{Ascii, Braille, HalfBlock, Octant, Picture};
        let circle = |pictures| {
            let mut app = App::new(Options { pictures, ..Options::default() });
            [(); 5].map(|()| {
                press(&mut app, KeyCode::Char('m'));
                app.view.landscape.marker
            })
        };
        assert_eq!(circle(true), [HalfBlock, Octant, Ascii, Picture, Braille]);
        assert_eq!(circle(false), [HalfBlock, Octant, Ascii, Braille, HalfBlock]);
    }

    #[test]
    fn a_surface_turns_all_the_way_round_and_tilts_between_two_ends() {
        let (mut view, keys) = (LandscapeView::default(), Bindings::<Action>::default());
        let refused = view.turn(1, 0, &keys);
        assert_eq!(refused.text(), "this is the map: x shows the surface that can be turned");
        assert_eq!(view.viewpoint, Viewpoint::default());
        let shown = view.switch(&keys);
        assert_eq!(shown.text(), "a surface: < > turn it, { } tilt it, x is the map again");
        for _ in 0..24 {
            view.turn(-1, 1, &keys);
        }
        assert_eq!(view.viewpoint, Viewpoint { turn: 30, tilt: 75 });
        for _ in 0..3 {
            view.turn(-1, -1, &keys);
        }
        assert_eq!(view.viewpoint, Viewpoint { turn: 345, tilt: 30 });
        view.turn(1, -9, &keys);
        assert_eq!(view.viewpoint, Viewpoint { turn: 0, tilt: 15 });
    }

    fn press(app: &mut App, code: KeyCode) {
        app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
}
