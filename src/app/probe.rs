//! Single parameters on a screen: which are chosen, how far they are turned, and what keys ask of the engine.

use crate::protocol::Command;
use crate::protocol::probe::{Ask, Phase};

use super::{Action, App, Effect, Hint, View};

/// How single parameters are shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProbeView {}

impl App {
    /// What an action does in this view; `None` where it means nothing of its own here.
    pub(super) fn act_in_probe(&mut self, _action: Action) -> Option<Vec<Effect>> {
        None
    }

    /// Arrows and hjkl in this view.
    pub(super) fn steer_probe(&mut self, _right: i32, _up: i32) -> Vec<Effect> {
        Vec::new()
    }

    /// Turns what is turned to where the loss of the sweep is least.
    pub(super) fn turn_to_best(&mut self) -> Vec<Effect> {
        let Some(sweep) = self.engine.probe.as_ref().and_then(|scene| scene.sweep.as_ref()) else {
            return Vec::new();
        };
        let places = sweep.second.iter().flat_map(|second| sweep.first.iter().map(|first| [*first, *second]));
        let finite = sweep.loss.iter().zip(places).filter(|(loss, _)| loss.is_finite());
        let best = finite.min_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, moves)| moves);
        best.map(|moves| Effect::Send(Command::Probe(Ask::Turn(moves)))).into_iter().collect()
    }

    /// Turns the parameter of this name and index.
    pub(super) fn probe_named(&mut self, name: String) -> Vec<Effect> {
        self.view.shown = View::Probe;
        self.view.hint = Some(Hint::Asked(format!("looking for {name}")));
        let gone = |phase: &Phase| matches!(phase, Phase::Ended | Phase::Failed(_));
        let opened = self.engine.probe.as_ref().is_some_and(|scene| !gone(&scene.phase));
        let open = (!opened).then_some(Ask::Open);
        open.into_iter().chain([Ask::Name(name)]).map(|ask| Effect::Send(Command::Probe(ask))).collect()
    }
}
