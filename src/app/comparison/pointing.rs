//! The mouse on the screen of a comparison.

use crate::app::mouse::Grip;
use crate::app::{Gesture, Hint, Pointed};
use crate::protocol::comparison::{Phase, PlaneChoice, Sides};

use super::{Action, Comparison, Effect, Pane, shown};

impl Comparison {
    /// A click on a map moves the cursor, a drag takes it along, or turns the surfaces, and a click beside it chooses
    /// whom the keys mean; the wheel zooms.
    pub(super) fn mouse(&mut self, pointed: Pointed<Pane>) -> Vec<Effect> {
        if self.modal.is_some() || self.scene.phase != Phase::Live {
            return Vec::new();
        }
        self.hint = None;
        let Pointed { gesture, pane, place } = pointed;
        if gesture == Gesture::Click {
            self.grip = Some(Grip::new(pointed, self.landscape.viewpoint));
        }
        let held = self.grip.filter(|grip| grip.holds(pane));
        match (gesture, place) {
            (Gesture::Drag, _) if held.is_none() => Vec::new(),
            (Gesture::Click | Gesture::Drag, Some(place)) if self.landscape.relief => {
                let turned = held.and_then(|grip| grip.turned(place));
                self.landscape.viewpoint = turned.unwrap_or(self.landscape.viewpoint);
                Vec::new()
            }
            (Gesture::Click | Gesture::Drag, Some(place)) => {
                let before = self.landscape.chosen;
                self.landscape.point(shown(&self.scene), place);
                self.look(before)
            }
            (Gesture::Click, None) => self.choose(pane),
            (Gesture::WheelUp, Some(_)) => self.act(Action::ZoomIn),
            (Gesture::WheelDown, Some(_)) => self.act(Action::ZoomOut),
            (_, None) => Vec::new(),
        }
    }

    /// Makes the keys mean the model of a pane, and both again where they mean that one already.
    fn choose(&mut self, pane: Pane) -> Vec<Effect> {
        let sides = match pane {
            Pane::Map(_) if self.scene.plane == PlaneChoice::Through => Sides::Both,
            Pane::Map(side) | Pane::NextToken(side) => Sides::One(side),
        };
        self.sides = if sides == self.sides { Sides::Both } else { sides };
        self.say(Hint::Answer(format!("the keys mean {}", self.whom())))
    }
}
