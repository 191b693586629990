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
