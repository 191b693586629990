//! The mouse: what it does, over what, and where on the map in it.

use ratatui::crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use tui_logger::TuiWidgetEvent;

use super::{Action, App, Effect, Pane, Viewpoint};

/// What the mouse does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gesture {
    /// Its left button goes down.
    Click,
    /// It moves while its left button is down.
    Drag,
    /// Its wheel turns away from the person.
    WheelUp,
    /// Its wheel turns towards the person.
    WheelDown,
}

impl Gesture {
    /// What an event of the terminal is; `None` where it means nothing to a screen.
    pub fn of(event: MouseEvent) -> Option<Self> {
        match event.kind {
            MouseEventKind::Down(MouseButton::Left) => Some(Self::Click),
            MouseEventKind::Drag(MouseButton::Left) => Some(Self::Drag),
            MouseEventKind::ScrollUp => Some(Self::WheelUp),
            MouseEventKind::ScrollDown => Some(Self::WheelDown),
            _ => None,
        }
    }
}

/// What the mouse is over on the screen of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// A pane of the observatory.
    Pane(Pane),
    /// The layers.
    Layers {
        /// The number of the row, where it is over one.
        row: Option<usize>,
        /// The step whose column it is over.
        step: Option<u64>,
    },
    /// The timeline.
    Timeline {
        /// The number of the slice whose small picture it is over.
        slice: Option<usize>,
    },
}

/// The mouse over one of the panes of a screen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pointed<P> {
    /// What it does.
    pub gesture: Gesture,
    /// The pane.
    pub pane: P,
    /// Where on the map in that pane, from (0, 0) at the lowest coordinates to (1, 1) at the highest, or on its surface
    /// or chart from the lower left corner to the upper right one; `None` beside them.
    pub place: Option<[f64; 2]>,
}

/// Where the button went down, and from where a surface was seen then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grip<P> {
    pane: P,
    place: Option<[f64; 2]>,
    viewpoint: Viewpoint,
}

impl<P: Copy + PartialEq> Grip<P> {
    pub(super) fn new(pointed: Pointed<P>, viewpoint: Viewpoint) -> Self {
        Self { pane: pointed.pane, place: pointed.place, viewpoint }
    }

    /// Whether the button went down on the same pane: what is dragged there from elsewhere means something else.
    pub(super) fn holds(&self, pane: P) -> bool {
        self.pane == pane
    }

    /// From where a surface is seen once it is dragged to this place: across its area it turns half a circle.
    pub(super) fn turned(&self, [x, y]: [f64; 2]) -> Option<Viewpoint> {
        let [from_x, from_y] = self.place?;
        let degrees = |share: f64, across: f64| (share * across).round() as i32;
        Some(self.viewpoint.by(degrees(x - from_x, 180.0), degrees(from_y - y, 90.0)))
    }
}

impl App {
    /// What the mouse does over something. Where something lies over the screen it does nothing.
    pub(super) fn mouse(&mut self, pointed: Pointed<Spot>) -> Vec<Effect> {
        if self.view.modal.is_some() {
            return Vec::new();
        }
        self.view.hint = None;
        let Pointed { gesture, pane, place } = pointed;
        match pane {
            Spot::Pane(pane) => self.over_pane(Pointed { gesture, pane, place }),
            Spot::Layers { row, step } => {
                let up = match gesture {
                    Gesture::Click | Gesture::Drag => {
                        self.view.layers.point(row, step);
                        return Vec::new();
                    }
                    Gesture::WheelUp => 1,
                    Gesture::WheelDown => -1,
                };
                self.view.layers.steer(&self.engine, 0, up);
                Vec::new()
            }
            Spot::Timeline { slice } => {
                let (view, timeline) = (&mut self.view.timeline, &self.engine.timeline);
                match (gesture, slice) {
                    (Gesture::Click | Gesture::Drag, Some(slice)) => view.select(timeline, slice),
                    (Gesture::Click | Gesture::Drag, None) => {}
                    (Gesture::WheelUp, _) => view.steer(timeline, -1, 0),
                    (Gesture::WheelDown, _) => view.steer(timeline, 1, 0),
                }
                Vec::new()
            }
        }
    }

    /// The same over a pane of the observatory.
    fn over_pane(&mut self, pointed: Pointed<Pane>) -> Vec<Effect> {
        let Pointed { gesture, pane, place } = pointed;
        let view = &mut self.view;
        match gesture {
            Gesture::Click => {
                self.grip = Some(Grip::new(pointed, view.landscape.viewpoint));
                view.focus = pane;
            }
            Gesture::Drag if !self.grip.is_some_and(|grip| grip.holds(pane)) => return Vec::new(),
            Gesture::Drag => {}
            Gesture::WheelUp | Gesture::WheelDown => {
                return self.wheel(gesture == Gesture::WheelUp, pane, place);
            }
        }
        let Some(place) = place else { return Vec::new() };
        match pane {
            Pane::Landscape if view.landscape.relief => {
                let turned = self.grip.and_then(|grip| grip.turned(place));
                view.landscape.viewpoint = turned.unwrap_or(view.landscape.viewpoint);
            }
            Pane::Landscape => {
                let before = view.landscape.chosen;
                view.landscape.point(self.engine.slice.as_ref(), place);
                return self.moved(before);
            }
            Pane::Loss => view.steps.read_at(&self.engine.history, place[0]),
            _ => {}
        }
        Vec::new()
    }

    fn wheel(&mut self, up: bool, pane: Pane, place: Option<[f64; 2]>) -> Vec<Effect> {
        match pane {
            Pane::Landscape if place.is_some() => {
                return self.act(if up { Action::ZoomIn } else { Action::ZoomOut });
            }
            Pane::Loss => {
                if let Some([along, _]) = place {
                    self.view.steps.zoom_at(&self.engine.history, up, along);
                }
            }
            Pane::Log if up => self.log.transition(TuiWidgetEvent::PrevPageKey),
            Pane::Log => self.log.transition(TuiWidgetEvent::NextPageKey),
            _ => {}
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Chosen, Link, Message, Options};
    use crate::protocol::{Command, History, Point};
    use crate::ui::fixture;

    /// A paused run, whose slice has samples from -1 to 1, and whose history has the steps 10 to 100.
    fn app() -> App {
        let mut app = App::new(Options::default());
        app.link = Link::Live;
        app.engine.status = Some(fixture::status());
        app.engine.slice = Some(fixture::slice(5, |_, _| 1.0));
        let point = |step| Point {
            step,
            loss: 1.0,
            held_out: None,
            grad_norm: 1.0,
            learning_rate: 1e-3,
            spike: false,
        };
        app.engine.history = History::default();
        (1..=10).for_each(|step| app.engine.history.push(point(10 * step)));
        app
    }

    fn mouse(app: &mut App, gesture: Gesture, pane: Spot, place: Option<[f64; 2]>) -> Vec<Effect> {
        app.update(Message::Mouse(Pointed { gesture, pane, place }))
    }

    const MAP: Spot = Spot::Pane(Pane::Landscape);
    const LOSS: Spot = Spot::Pane(Pane::Loss);

    #[test]
    fn a_drag_takes_the_cursor_along_and_asks_only_where_that_is_another_place() {
        let mut app = app();
        let mut drag = |gesture, u| mouse(&mut app, gesture, MAP, Some([u, 0.5]));
        let look = |alpha| vec![Effect::Send(Command::LookAt(Some([alpha, 0.0])))];
        assert_eq!(drag(Gesture::Drag, 0.5), [], "the button went down elsewhere");
        assert_eq!(drag(Gesture::Click, 0.5), look(0.0));
        assert_eq!(drag(Gesture::Drag, 0.55), [], "the same sample");
        assert_eq!(drag(Gesture::Drag, 0.8), look(0.5));
        assert_eq!(drag(Gesture::Drag, 0.99), look(1.0));
        assert_eq!(mouse(&mut app, Gesture::Drag, LOSS, Some([0.5, 0.5])), [], "it is still the map's");
        assert_eq!((app.view.steps.read, app.view.focus), (None, Pane::Landscape));
        assert_eq!(app.view.landscape.chosen, Some(Chosen { alpha: 1.0, beta: 0.0 }));
    }

    #[test]
    fn a_drag_turns_and_tilts_the_surface_and_leaves_the_cursor() {
        let mut app = app();
        app.view.landscape.relief = true;
        let mut drag = |gesture, place| {
            assert_eq!(mouse(&mut app, gesture, MAP, Some(place)), []);
            app.view.landscape.viewpoint
        };
        assert_eq!(drag(Gesture::Click, [0.5, 0.5]), Viewpoint::default());
        assert_eq!(drag(Gesture::Drag, [0.6, 0.5]), Viewpoint { turn: 48, tilt: 30 });
        assert_eq!(drag(Gesture::Drag, [0.6, 0.3]), Viewpoint { turn: 48, tilt: 48 });
        assert_eq!(drag(Gesture::Drag, [0.0, 1.0]), Viewpoint { turn: 300, tilt: 15 });
        assert_eq!(drag(Gesture::Drag, [0.5, 0.5]), Viewpoint::default(), "back where it was taken");
        assert_eq!(app.view.landscape.chosen, None);
    }

    #[test]
    fn a_drag_on_the_loss_reads_the_step_below_it() {
        let mut app = app();
        let mut read = |gesture, share| {
            mouse(&mut app, gesture, LOSS, Some([share, 0.1]));
            app.view.steps.read
        };
        assert_eq!(read(Gesture::Click, 0.5), Some(50));
        assert_eq!(read(Gesture::Drag, 0.52), Some(60));
        assert_eq!(read(Gesture::Drag, 1.0), Some(100));
        assert_eq!(read(Gesture::Drag, 0.0), Some(10));
        app.engine.history = History::default();
        mouse(&mut app, Gesture::Drag, LOSS, Some([0.5, 0.5]));
        assert_eq!(app.view.steps.read, Some(10), "there is nothing to read");
    }
}
