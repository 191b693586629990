//! Weights on their way: the plane that stays beside the plane that travels, the numbers of a step, and the film.

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::app::App;
use crate::protocol::Slice;
use crate::protocol::wormhole::{Moment, Phase, Scene};
use crate::theme::Theme;
use crate::ui::bars::{self, Bars};
use crate::ui::chart;
use crate::ui::film::{self, Scales, Strip};
use crate::ui::heatmap::Mark;
use crate::ui::legend::Legend;
use crate::ui::panel::Panel;
use crate::ui::picture::{self, Bare};
use crate::ui::series::{Ink, Series};
use crate::ui::surface::Surface;
use crate::ui::{honesty, text};

use super::{STAYS, fitting, indented, told};

/// Both planes.
pub(super) struct Descent<'a> {
    pub(super) app: &'a App,
    pub(super) scene: &'a Scene,
    pub(super) theme: &'a Theme,
}

/// Columns and rows from which there is a chart of the loss.
const ROOMY: (u16, u16) = (100, 30);

/// Rows from which there is a strip of small pictures and all that is told of them: the maps come first.
const WITH_STRIP: u16 = 20;

/// Columns of the numbers and what is above them; beside the numbers stands the colour bar where that is all.
const NUMBERS: u16 = 52;

/// Columns from which there are bars of the next token too.
const WITH_BARS: u16 = 116;

/// Columns from which the planes stand side by side.
const SIDE_BY_SIDE: u16 = 60;

/// Where everything is.
struct Places {
    above: Rect,
    pictures: Rect,
    below: Rect,
    honesty: Rect,
    strip: Rect,
    /// There is room for a chart.
    roomy: bool,
}

impl Places {
    fn of(area: Rect) -> Self {
        let roomy = area.width >= ROOMY.0 && area.height >= ROOMY.1;
        let (told, strip) = match area.height {
            _ if roomy => (2, film::ROWS),
            WITH_STRIP.. => (2, film::ROWS - 1),
            _ => (1, 0),
        };
        let [above, pictures, below, honesty, strip] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Min(0),
            Constraint::Length(if roomy { 9 } else { 3 }),
            Constraint::Length(told),
            Constraint::Length(strip),
        ])
        .areas(area);
        Self { above: indented(above), pictures, below, honesty: indented(honesty), strip, roomy }
    }
}

impl Widget for Descent<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let (app, theme) = (self.app, self.theme);
        let places = Places::of(area);
        let (film, view) = (app.engine.film.items(), &app.view);
        let frozen = app.engine.frozen.as_ref();
        let plane = frozen.or(film.first());
        let scales =
            plane.map_or_else(Scales::default, |plane| Scales::staying(plane, film, view.landscape.stretch));
        let selected = view.wormhole.selected(&app.engine.film);
        let frame = selected.map(|index| &film[index]);
        let moment = view.wormhole.moment(self.scene);
        Line::raw(fitting(&self.sentences(), places.above.width)).render(places.above, buffer);
        let planes = Planes { descent: &self, scales: &scales, moment };
        if view.wormhole.alone || area.width < SIDE_BY_SIDE {
            planes.travelling(frame, places.pictures, buffer);
        } else {
            let halves = [Constraint::Fill(1), Constraint::Fill(1)];
            let [left, right] = Layout::horizontal(halves).areas(places.pictures);
            planes.staying(frozen, left, buffer);
            planes.travelling(frame, right, buffer);
        }
        let shown = frame.or(frozen);
        let surface = shown.and_then(|slice| Surface::scaled(slice, scales.get(slice.generation)?));
        if places.roomy {
            self.wide(surface.as_ref(), moment, places.below, buffer);
        } else {
            self.narrow(surface.as_ref(), moment, indented(places.below), buffer);
        }
        if let Some(slice) = shown {
            let parts = told::parts(self.scene, slice);
            let (columns, rows) = (usize::from(places.honesty.width), usize::from(places.honesty.height));
            let lines = honesty::lines(&parts, columns, rows);
            for (line, row) in lines.into_iter().zip(places.honesty.rows()) {
                Line::styled(line, theme.palette.muted).render(row, buffer);
            }
        }
        if let Some(selected) = selected {
            let (slices, compared, has_letters) = (film, None, false);
            let (scales, view) = (&scales, &view.landscape);
            Strip { slices, selected, compared, has_letters, scales, view, theme }
                .render(places.strip, buffer);
        }
    }
}

impl Descent<'_> {
    /// What to do or to look for now, in fewer and fewer words.
    fn sentences(&self) -> Vec<String> {
        let bindings = &self.app.options.bindings;
        let [run, step, back, lay] = ["run", "step", "clear", "move"].map(|command| bindings.shown(command));
        let newest = self.scene.moments.items().last();
        if self.scene.phase == Phase::Ended {
            return vec![format!(
                "The experiment ended, its memory is given back: {lay} lays another plane."
            )];
        }
        if !self.app.view.wormhole.follows() {
            return vec![format!("An earlier step: right goes on, {back} follows the newest one.")];
        }
        let can = self.app.cannot_command().is_none();
        // In the tour, its own key trains.
        if can && !self.app.is_touring() && newest.is_none_or(|newest| newest.step == 0) {
            return vec![
                format!(
                    "The weights are on the plateau. {run} trains all of them, {step} takes one step: \
                     look for a pit at right."
                ),
                format!("The weights are on the plateau. {run} trains all of them, {step} is one step."),
            ];
        }
        vec![
            "Left, the plane that stays. Right, the plane through the moving weights: \
             look for a pit that opens under them."
                .into(),
            "Left stays, right travels with the weights: look for a pit that opens.".into(),
        ]
    }

    /// The colour bar and what there is to know of both pictures; three rows.
    fn colours(&self, surface: Option<&Surface>, moment: Option<Moment>, area: Rect, buffer: &mut Buffer) {
        let Some(surface) = surface else { return };
        let [bar, note] = Layout::vertical([Constraint::Length(2), Constraint::Length(1)]).areas(area);
        let (theme, view) = (self.theme, &self.app.view.landscape);
        if let Some(map) = theme.maps.get(view.map % theme.maps.len().max(1)) {
            let center = moment.map_or(surface.slice.center, |moment| moment.loss);
            let slice = &Slice { center, ..surface.slice.clone() };
            let surface = &Surface { slice, scale: surface.scale };
            let (marker, drift, chosen, beside) = (view.marker, None, None, false);
            let relief = view.relief;
            Legend { surface, map, theme, marker, drift, chosen, marks: &[], relief, beside }
                .render(bar, buffer);
        }
        let low = surface.scale.low;
        let said = if self.scene.drawing {
            vec!["evaluating a picture ..".to_owned()]
        } else if !surface.slice.finest {
            vec!["coarse so far".to_owned()]
        } else if surface.slice.loss.iter().any(|loss| f64::from(*loss) < low) {
            let below = format!("below {0} as at {0}", text::short_number(low));
            vec![format!("same colours on both, {below}"), below]
        } else {
            vec!["same colours on both".to_owned()]
        };
        Line::styled(fitting(&said, note.width), theme.palette.muted).render(note, buffer);
    }

    fn numbers(&self, moment: Option<Moment>, area: Rect, buffer: &mut Buffer) {
        let Some(moment) = moment else { return };
        for (line, row) in told::numbers(self.scene, &moment, self.theme).into_iter().zip(area.rows()) {
            line.render(row, buffer);
        }
    }

    fn narrow(&self, surface: Option<&Surface>, moment: Option<Moment>, area: Rect, buffer: &mut Buffer) {
        let columns = [Constraint::Fill(1), Constraint::Length(NUMBERS)];
        let [left, right] = Layout::horizontal(columns).spacing(2).areas(area);
        self.colours(surface, moment, left, buffer);
        self.numbers(moment, right, buffer);
    }

    fn wide(&self, surface: Option<&Surface>, moment: Option<Moment>, area: Rect, buffer: &mut Buffer) {
        let has_bars = area.width >= WITH_BARS;
        let [left, chart, right] = Layout::horizontal([
            Constraint::Length(NUMBERS + 4),
            Constraint::Fill(1),
            if has_bars { Constraint::Fill(1) } else { Constraint::Length(0) },
        ])
        .areas(area);
        let theme = self.theme;
        let rows = [Constraint::Length(3), Constraint::Length(3)];
        let inner = Panel { theme, focused: false, title: "Numbers", right: Vec::new() }.draw(left, buffer);
        let [colours, numbers] = Layout::vertical(rows).spacing(1).areas(inner);
        self.colours(surface, moment, colours, buffer);
        self.numbers(moment, numbers, buffer);
        self.chart(moment, chart, buffer);
        if has_bars {
            let of = ["moving weights · change since step 0", "change since step 0", "since step 0"];
            let of = of.map(Line::raw).to_vec();
            let inner = Panel { theme, focused: false, title: "Next token", right: of }.draw(right, buffer);
            match &self.scene.prediction {
                Some(prediction) => {
                    let head = vec![bars::prompt(prediction, usize::from(inner.width), theme)];
                    Bars { prediction, head, theme }.render(inner, buffer);
                }
                None => picture::missing("no prediction yet", theme, inner, buffer),
            }
        }
    }

    /// The losses over the steps.
    fn chart(&self, moment: Option<Moment>, area: Rect, buffer: &mut Buffer) {
        let (app, theme) = (self.app, self.theme);
        let palette = &theme.palette;
        let right = Line::from(vec![
            Span::styled("mean", palette.train),
            Span::raw("  "),
            Span::styled(chart::further("target", theme), palette.held_out),
        ]);
        let log = app.view.log_charts;
        let title = if log { "Loss (log)" } else { "Loss" };
        let inner = Panel { theme, focused: false, title, right: vec![right] }.draw(area, buffer);
        let moments = self.scene.moments.items();
        let series = |ink: Ink, loss: fn(&Moment) -> f64| {
            Series::new(moments.iter().map(|moment| (moment.step as f64, loss(moment))).collect(), ink)
        };
        let series = vec![
            series(|palette| palette.train, |moment| moment.loss),
            series(|palette| palette.held_out, |moment| moment.loss_target),
        ];
        let follows = app.view.wormhole.follows();
        let cursor = moment.filter(|_| !follows).map(|moment| moment.step as f64);
        chart::whole(series, log, cursor, theme, inner, buffer);
    }
}

/// The pictures of both planes, in the same colours.
struct Planes<'a> {
    descent: &'a Descent<'a>,
    scales: &'a Scales,
    moment: Option<Moment>,
}

impl Planes<'_> {
    fn offset(&self) -> [f64; 2] {
        self.descent.scene.offset.unwrap_or_default()
    }

    fn inside(&self) -> [f64; 2] {
        self.moment.map_or([0.0; 2], |moment| moment.inside)
    }

    /// The plane through the weights of the run. The moving weights are where they are on it.
    fn staying(&self, slice: Option<&Slice>, area: Rect, buffer: &mut Buffer) {
        let theme = self.descent.theme;
        let step = self.descent.scene.of_step;
        let [origin, weights] = [&theme.symbols.origin, &theme.symbols.weights];
        let right = vec![
            Line::raw(format!("{weights} moving weights · {origin} weights of step {step}")),
            Line::raw(format!("{weights} moving · {origin} step {step}")),
            Line::raw(format!("of step {step}")),
        ];
        let inner = Panel { theme, focused: false, title: STAYS, right }.draw(area, buffer);
        let (offset, inside) = (self.offset(), self.inside());
        let weights = [offset[0] + inside[0], offset[1] + inside[1]];
        self.picture(slice, weights, offset, "the plane is not here yet", inner, buffer);
    }

    /// The plane through the moving weights, which are always at the offset.
    fn travelling(&self, slice: Option<&Slice>, area: Rect, buffer: &mut Buffer) {
        let (theme, view) = (self.descent.theme, &self.descent.app.view.wormhole);
        let film = &self.descent.app.engine.film;
        let (mut title, mut right) = ("The plane that travels".to_owned(), Vec::new());
        if let Some(slice) = slice {
            title = format!("{title}, step {}", slice.step);
            let count = film.items().len();
            let place = match view.selected(film) {
                Some(index) if !view.follows() => format!("{} of {count}", index + 1),
                _ => format!("the newest of {count}"),
            };
            let coarse = if slice.finest { place.clone() } else { format!("coarse so far · {place}") };
            let other = if view.alone { "tab: both" } else { "tab: this alone" };
            right = vec![Line::raw(format!("{coarse} · {other}")), Line::raw(coarse), Line::raw(place)];
        }
        let inner = Panel { theme, focused: true, title: &title, right }.draw(area, buffer);
        let (offset, inside) = (self.offset(), self.inside());
        let start = [offset[0] - inside[0], offset[1] - inside[1]];
        self.picture(slice, offset, start, "evaluating the first picture ..", inner, buffer);
    }

    /// A plane with the moving weights and, where they have moved as far as can be seen, their start.
    fn picture(
        &self,
        slice: Option<&Slice>,
        weights: [f64; 2],
        start: [f64; 2],
        missing: &str,
        area: Rect,
        buffer: &mut Buffer,
    ) {
        let Descent { app, theme, .. } = *self.descent;
        let Some(slice) = slice else {
            picture::missing(missing, theme, area, buffer);
            return;
        };
        let scale = self.scales.get(slice.generation);
        let Some(surface) = scale.and_then(|scale| Surface::scaled(slice, scale)) else {
            picture::missing("no point of this plane has a finite loss", theme, area, buffer);
            return;
        };
        let marked = [Mark { place: start, symbol: "s" }];
        let marks = if is_apart(slice, weights, start) { &marked[..] } else { &[] };
        // The cursor is a place of the run's slice.
        let mut view = app.view.landscape.clone();
        view.chosen = None;
        Bare { surface: &surface, theme, view: &view, weights, marks }.render(area, buffer);
    }
}

/// Whether two places are at least half a sample apart: less can't be seen.
fn is_apart(slice: &Slice, a: [f64; 2], b: [f64; 2]) -> bool {
    let along = |axis: &[f64], distance: f64| match axis {
        [first, .., last] => 2.0 * distance.abs() * (axis.len() - 1) as f64 >= last - first,
        _ => false,
    };
    along(&slice.alphas, a[0] - b[0]) || along(&slice.betas, a[1] - b[1])
}
