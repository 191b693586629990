//! The view of single parameters: the list, the curve of one or the map of two, what the model says there, and how
//! far tuning them by turns gets beside steps of all.

mod curve;
mod list;
mod map;
mod story;
mod walk;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::{Action, App, ProbePane, ProbeView};
use crate::protocol::Token;
use crate::protocol::probe::{Parameter, Phase, Scene, Sweep};
use crate::theme::Theme;

use super::bars::{self, Bars};
use super::layers::short_name;
use super::panel::Panel;
use super::{centered, picture, text};

/// Single parameters, turned by hand.
pub(super) struct Probe<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// What there is to do here, for those who have not begun.
const PAGE: [&str; 4] = [
    "Here you turn single weights of the model by hand.",
    "Turn one: the loss moves a little.",
    "Turn two, one after the other: whack-a-mole. The best value of the first moves when the second is tuned.",
    "One step of the optimizer turns all of them, each hardly at all, and gets further.",
];

/// What becomes of the run meanwhile.
const UNCHANGED: &str = "The run pauses. It is not changed by what is tried here.";

/// Rows from which a walk leaves room for what the model says.
const ROWS_WITH_BARS: u16 = 14;

/// Columns of a line of prose at most.
const PROSE: u16 = 72;

/// Whether an action is for the run and its pictures, which are in other views.
fn is_elsewhere(action: Action) -> bool {
    let run = matches!(action, Action::Step | Action::StepTen | Action::Back);
    let recipe = matches!(action, Action::Faster | Action::Slower | Action::Optimizer);
    run || recipe || matches!(action, Action::NewPlane | Action::Plane | Action::Grid | Action::Surface)
}

/// What a key does in this view; `None` where that is nothing.
pub(super) fn label(app: &App, action: Action, usual: &'static str) -> Option<&'static str> {
    let is_open = app.probed().is_some();
    match action {
        Action::Log => None,
        action if is_elsewhere(action) => None,
        Action::RunPause | Action::ZoomIn | Action::ZoomOut if !is_open => None,
        Action::RunPause => Some("tune by turns"),
        Action::Redraw if is_open => Some("open again"),
        Action::Redraw => Some("open"),
        _ => Some(usual),
    }
}

/// What the help says of an action here, where it usually says this; `None` where it means nothing.
pub(super) fn told(action: Action, usual: &'static str) -> Option<&'static str> {
    match action {
        Action::RunPause => Some("tune two by turns, beside as many steps of all parameters"),
        Action::Move => Some("open; in the list: turn this one too, or no longer"),
        Action::Redraw => Some("open again, with the weights as they are now"),
        Action::ZoomIn => Some("turn less far"),
        Action::ZoomOut => Some("turn farther"),
        Action::FocusNext => Some("the list, or the curve or map: arrows or hjkl move in it and turn"),
        Action::Clear => Some("back to the values as they are"),
        Action::FocusPrevious => None,
        action if is_elsewhere(action) => None,
        _ => Some(usual),
    }
}

impl Widget for Probe<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let area = area.intersection(buffer.area);
        let Self { app, theme } = self;
        let Some(scene) = app.probed() else {
            self.page(area, buffer);
            return;
        };
        if scene.listed.is_empty() {
            let right = vec![Line::raw(format!("of step {}", scene.of_step))];
            let inner = Panel { theme, focused: true, title: "Single parameters", right }.draw(area, buffer);
            picture::missing("computing the gradient of every parameter ..", theme, inner, buffer);
            return;
        }
        Shown::new(app, theme, scene).draw(area, buffer);
    }
}

impl Probe<'_> {
    /// What one sees before anything is opened.
    fn page(&self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = *self;
        let palette = &theme.palette;
        let title = "Single parameters";
        let inner = Panel { theme, focused: true, title, right: Vec::new() }.draw(area, buffer);
        let width = inner.width.min(PROSE);
        let mut lines: Vec<Line> = Vec::new();
        let mut say = |words: &str, style| {
            let wrapped = text::wrap(words, usize::from(width));
            lines.extend(wrapped.into_iter().map(|line| Line::from(Span::styled(line, style))));
        };
        if let Some(Phase::Failed(why)) = app.engine.probe.as_ref().map(|scene| &scene.phase) {
            say(&format!("It could not be opened: {}", text::escape(why)), palette.warn);
            say("", palette.base);
        }
        for (number, words) in PAGE.into_iter().enumerate() {
            say(words, if number == 0 { palette.title } else { palette.base });
        }
        say("", palette.base);
        say(UNCHANGED, palette.base);
        say("", palette.base);
        let keys = &app.options.bindings;
        let ways = [
            (keys.shown("move"), "opens the weights with the largest gradients"),
            (":probe NAME[I,J]".to_owned(), "opens it with a weight that you name"),
        ];
        let widest = ways.iter().map(|(key, _)| text::width(key)).max().unwrap_or(0) + 2;
        for (key, what) in ways {
            let gap = " ".repeat(widest.saturating_sub(text::width(&key)));
            lines.push(Line::from(vec![Span::styled(key + &gap, palette.accent), Span::raw(what)]));
        }
        centered(lines, width, inner, buffer);
    }
}

/// What is turned, and how far.
struct Shown<'a> {
    app: &'a App,
    theme: &'a Theme,
    scene: &'a Scene,
    /// Those that are turned: one, two, or none yet.
    chosen: Vec<&'a Parameter>,
    /// The sweep of just these, and the cursor on it: its column and row.
    swept: Option<(&'a Sweep, [usize; 2])>,
}

impl<'a> Shown<'a> {
    fn new(app: &'a App, theme: &'a Theme, scene: &'a Scene) -> Self {
        let chosen: Vec<&Parameter> =
            scene.chosen.iter().take(2).filter_map(|place| scene.listed.get(*place)).collect();
        let fits = |sweep: &&Sweep| match chosen.len() {
            0 => false,
            1 => sweep.second.len() == 1,
            _ => sweep.second.len() > 1,
        };
        let sweep = ProbeView::sweep(scene).filter(fits);
        let swept = sweep.zip(app.view.probe.cursor(scene));
        Self { app, theme, scene, chosen, swept }
    }

    fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let lines = self.story(usize::from(area.width.saturating_sub(4)));
        let rows = (lines.len() as u16 + 2).min((area.height / 3).max(3));
        let [above, below] = Layout::vertical([Constraint::Min(0), Constraint::Length(rows)]).areas(area);
        let columns = (area.width * 36 / 100).clamp(34, 64);
        let [left, right] =
            Layout::horizontal([Constraint::Length(columns), Constraint::Min(0)]).areas(above);
        let walked = self.scene.walk.as_ref().map_or(0, |_| above.height / 2);
        let [list, walk] = Layout::vertical([Constraint::Min(0), Constraint::Length(walked)]).areas(left);
        // The way of a walk is to be seen.
        let is_low = walked > 0 && right.height < ROWS_WITH_BARS;
        let bars = if is_low { 0 } else { (right.height * 36 / 100).clamp(5, 14) };
        let [picture, bars] = Layout::vertical([Constraint::Min(0), Constraint::Length(bars)]).areas(right);
        self.list(list, buffer);
        if walked > 0 {
            self.walk(walk, buffer);
        }
        self.picture(picture, buffer);
        if !is_low {
            self.bars(bars, buffer);
        }
        self.numbers(lines, below, buffer);
    }

    fn focused(&self, pane: ProbePane) -> bool {
        self.app.view.probe.focus == pane
    }

    /// The curve or the map.
    fn picture(&self, area: Rect, buffer: &mut Buffer) {
        let theme = self.theme;
        let title = match self.chosen[..] {
            [] => "Loss".to_owned(),
            [only] => format!("Loss over {}", label_of(only)),
            _ => "Loss over 1 and 2".to_owned(),
        };
        let focused = self.focused(ProbePane::Picture);
        let arrows = match (self.chosen.len(), focused) {
            (0, _) => "",
            (1, _) => "← → turn it",
            (_, true) => "← → turn 1, ↑ ↓ turn 2",
            (_, false) => "← → turn 1, tab: 2 too",
        };
        let doing = match self.scene.phase {
            Phase::Ranking => "computing gradients ..",
            Phase::Sweeping => "evaluating ..",
            Phase::Walking => "tuning ..",
            _ => arrows,
        };
        let right = vec![Line::raw(doing)];
        let inner = Panel { theme, focused, title: &title, right }.draw(area, buffer);
        match (&self.swept, &self.chosen[..]) {
            (Some((sweep, cursor)), [only]) => self.curves(only, sweep, *cursor, inner, buffer),
            (Some((sweep, cursor)), [first, second]) => {
                self.map([*first, *second], sweep, *cursor, inner, buffer);
            }
            _ if matches!(self.scene.phase, Phase::Ready) => {
                picture::missing("no parameter is turned yet: choose one of the list", theme, inner, buffer);
            }
            _ => picture::missing("evaluating the loss ..", theme, inner, buffer),
        }
    }

    /// What comes next where the parameters are turned to.
    fn bars(&self, area: Rect, buffer: &mut Buffer) {
        let theme = self.theme;
        let turned = self.scene.turned.as_ref();
        let right = turned.map_or_else(Vec::new, |turned| {
            let here = self.moves();
            if here.is_some_and(|here| !is_same(here, turned.moves)) {
                return vec![Line::raw("the bars follow ..")];
            }
            if is_same(turned.moves, [0.0; 2]) {
                return vec![Line::raw("as it is")];
            }
            let place = match self.chosen.len() {
                2 => turned.moves.map(moved).join(" and "),
                _ => moved(turned.moves[0]),
            };
            let turned = format!("turned by {place}");
            vec![Line::raw(format!("{turned} · against as it is")), Line::raw(turned)]
        });
        let inner = Panel { theme, focused: false, title: "Next token", right }.draw(area, buffer);
        let Some(turned) = turned else {
            picture::missing("what comes next follows", theme, inner, buffer);
            return;
        };
        let prediction = &turned.prediction;
        let prompt = || bars::prompt(prediction, usize::from(inner.width), theme);
        let head = if inner.height >= 6 { vec![prompt()] } else { Vec::new() };
        Bars { prediction, head, theme }.render(inner, buffer);
    }

    /// The movements under the cursor.
    fn moves(&self) -> Option<[f64; 2]> {
        self.swept.map(|(sweep, [column, row])| [sweep.first[column], sweep.second[row]])
    }

    /// Where the loss and the probability of a point of the sweep are.
    fn at(sweep: &Sweep, [column, row]: [usize; 2]) -> [f64; 2] {
        let place = row * sweep.first.len() + column;
        let value = |values: &[f32]| values.get(place).map_or(f64::NAN, |value| f64::from(*value));
        [value(&sweep.loss), value(&sweep.p_target)]
    }

    /// The target as it is called where there is little room.
    fn target(&self) -> String {
        let token = |token: &Token| text::shorten(&text::one_line(token.text.trim_start_matches(' ')), 12);
        let target = self.scene.turned.as_ref().and_then(|turned| turned.prediction.tokens.last());
        target.map_or_else(|| "target".to_owned(), token)
    }
}

/// The point of a sweep with the least finite loss.
fn best(sweep: &Sweep) -> Option<[usize; 2]> {
    let losses = sweep.loss.iter().enumerate().filter(|(_, loss)| loss.is_finite());
    let (place, _) = losses.min_by(|a, b| a.1.total_cmp(b.1))?;
    let columns = sweep.first.len();
    Some([place % columns, place / columns])
}

/// A parameter where there is little room: `0 attn.q[12,34]`.
fn label_of(parameter: &Parameter) -> String {
    let index: Vec<String> = parameter.index.iter().take(4).map(usize::to_string).collect();
    format!("{}[{}]", short_name(&parameter.name), index.join(","))
}

/// Whether two movements are the same but for rounding.
fn is_same(a: [f64; 2], b: [f64; 2]) -> bool {
    let is_near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    is_near(a[0], b[0]) && is_near(a[1], b[1])
}

/// A movement, with its sign.
fn moved(by: f64) -> String {
    let plus = if by > 0.0 { "+" } else { "" };
    format!("{plus}{}", text::number(by))
}

#[cfg(test)]
mod tests;
