//! The slices of a run: one of them large, how it differs from another, and all of them as a strip of small pictures.

mod difference;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::Line;
use ratatui::widgets::Widget;

use crate::app::{App, Link};
use crate::protocol::Slice;
use crate::theme::Theme;
use crate::ui::film::{self, Scales, Strip};
use crate::ui::panel::Panel;
use crate::ui::picture::{self, Picture};
use crate::ui::surface::Surface;
use crate::ui::{honesty, text};

use difference::{Change, Difference};

/// The view of the slices of a run.
pub(super) struct Timeline<'a> {
    pub(super) app: &'a App,
    pub(super) theme: &'a Theme,
}

/// What there is to see, in as many words as fit.
const SEEN: [&str; 2] = [
    "each picture is the loss around the weights of its step, on the same batch: \
     the landscape itself changes as the model learns",
    "the loss around the weights of each step: the landscape itself changes",
];

/// Columns from which slice and difference stand side by side.
const SIDE_BY_SIDE: u16 = 100;

/// The line above the pictures, the pictures, the line below, the strip.
fn bands(area: Rect) -> [Rect; 4] {
    let air = u16::from(area.width > 8);
    let indented = |row: Rect| Rect { x: row.x + air, width: row.width - 2 * air, ..row };
    let [above, pictures, below, strip] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
        Constraint::Length(film::ROWS),
    ])
    .areas(area);
    [indented(above), pictures, indented(below), strip]
}

/// The number of the slice whose small picture is at this cell of the view, if one is.
pub(super) fn slice_at(app: &App, area: Rect, at: Position) -> Option<usize> {
    let timeline = &app.engine.timeline;
    let selected = app.view.timeline.selected(timeline)?;
    let [.., strip] = bands(area);
    film::at(timeline.items(), selected, app.view.timeline.compared(timeline), strip, at)
}

impl Widget for Timeline<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Self { app, theme } = self;
        let [above, pictures, below, strip] = bands(area.intersection(buffer.area));
        let fits = |line: &&str| text::width(line) <= usize::from(above.width);
        let seen = SEEN.into_iter().find(fits).unwrap_or(SEEN[1]);
        Line::styled(seen, theme.palette.muted).render(above, buffer);
        let (timeline, view) = (&app.engine.timeline, &app.view);
        let slices = timeline.items();
        let Some(selected) = view.timeline.selected(timeline) else {
            picture::missing(
                if matches!(app.link, Link::Ended(_)) {
                    "no slice of this run was kept"
                } else if app.engine.status.as_ref().is_some_and(|status| status.slicing) {
                    "evaluating the first slice .."
                } else {
                    "slices follow as the run goes on: press r to draw one"
                },
                theme,
                pictures,
                buffer,
            );
            return;
        };
        let compared = view.timeline.compared(timeline);
        let scales = Scales::of(slices, view.timeline.stretch);
        let difference = difference(slices, selected, compared);
        let has_others = slices.len() > 1;
        let is_wide = has_others && pictures.width >= SIDE_BY_SIDE;
        let is_turned = has_others && !is_wide && view.timeline.difference;
        match &difference {
            Ok(difference) => {
                Line::raw(difference.sentence(usize::from(below.width))).render(below, buffer);
            }
            // The pane of the difference says it.
            Err(_) if is_wide || is_turned => {}
            Err(why) => Line::styled(*why, theme.palette.muted).render(below, buffer),
        }
        let (scales, difference) = (&scales, &difference);
        let scene = Scene { app, theme, slices, selected, compared, scales, difference, is_wide };
        if is_wide {
            let [left, right] =
                Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(pictures);
            scene.slice(left, buffer);
            scene.difference(right, buffer);
        } else if is_turned {
            scene.difference(pictures, buffer);
        } else {
            scene.slice(pictures, buffer);
        }
        let (view, has_letters) = (&view.landscape, true);
        Strip { slices, selected, compared, has_letters, scales, view, theme }.render(strip, buffer);
    }
}

/// How the selected slice differs from the other one, or why that can't be said.
fn difference(
    slices: &[Slice],
    selected: usize,
    compared: Option<usize>,
) -> Result<Difference, &'static str> {
    match compared {
        _ if slices.len() < 2 => Err("one slice so far: no difference yet"),
        None => Err("no slice before this one: enter marks one to compare the others with"),
        Some(compared) if compared == selected => Err("this slice is B itself: go to another one"),
        Some(compared) => Difference::between(&slices[selected], &slices[compared]),
    }
}

/// What is on show.
struct Scene<'a> {
    app: &'a App,
    theme: &'a Theme,
    slices: &'a [Slice],
    selected: usize,
    compared: Option<usize>,
    scales: &'a Scales,
    difference: &'a Result<Difference, &'static str>,
    /// Slice and difference stand side by side.
    is_wide: bool,
}

impl Scene<'_> {
    fn selected(&self) -> &Slice {
        &self.slices[self.selected]
    }

    /// The pane of the selected slice.
    fn slice(&self, area: Rect, buffer: &mut Buffer) {
        let (theme, slice) = (self.theme, self.selected());
        let title = format!("A: step {}", slice.step);
        let other = "tab: the difference";
        let (place, mark) = (self.place(), "enter marks it as B");
        let right = if self.slices.len() == 1 {
            vec![place]
        } else if self.is_wide {
            vec![format!("{place} · {mark}"), place]
        } else {
            vec![format!("{place} · {mark} · {other}"), format!("{place} · {other}"), place]
        };
        let right = right.into_iter().map(Line::raw).collect();
        let inner = Panel { theme, focused: true, title: &title, right }.draw(area, buffer);
        let scale = self.scales.get(slice.generation);
        let Some(surface) = scale.and_then(|scale| Surface::scaled(slice, scale)) else {
            picture::missing("no point of this slice has a finite loss", theme, inner, buffer);
            return;
        };
        // The cursor is a place of the newest slice.
        let mut view = self.app.view.landscape.clone();
        view.chosen = None;
        let honesty = self.honesty();
        Picture { surface: &surface, theme, view: &view, drift: None, honesty, marks: &[], readout: None }
            .render(inner, buffer);
    }

    /// The pane of the difference.
    fn difference(&self, area: Rect, buffer: &mut Buffer) {
        let theme = self.theme;
        let title = match self.compared {
            Some(compared) if compared != self.selected => {
                let (a, b) = (self.selected().step, self.slices[compared].step);
                format!("Change from step {} to step {}", a.min(b), a.max(b))
            }
            _ => "Change from one step to another".into(),
        };
        let right = if self.is_wide { Vec::new() } else { vec![Line::raw("tab: the slice")] };
        let inner = Panel { theme, focused: !self.is_wide, title: &title, right }.draw(area, buffer);
        match self.difference {
            Ok(difference) => {
                let marker = self.app.view.landscape.marker;
                Change { difference, theme, marker, honesty: &self.honesty() }.render(inner, buffer);
            }
            Err(why) => picture::missing(why, theme, inner, buffer),
        }
    }

    /// Where the selected slice is among all.
    fn place(&self) -> String {
        let count = self.slices.len();
        if count == 1 {
            return "the first one".into();
        }
        if self.app.view.timeline.follows() {
            return format!("the newest of {count}");
        }
        format!("{} of {count}", self.selected + 1)
    }

    /// What the selected slice says about itself.
    fn honesty(&self) -> Vec<String> {
        let slice = self.selected();
        let alike = self.slices.iter().all(|other| other.generation == slice.generation);
        let of_what = if alike { "" } else { " of this plane" };
        let mut parts = vec![format!("one scale for all slices{of_what}")];
        parts.extend(honesty::parts(slice, None));
        parts
    }
}

#[cfg(test)]
mod tests;
