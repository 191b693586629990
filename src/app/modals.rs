//! What lies over the screen and takes the keys: the questions, the help, the prompt and the command line.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::palette::Typed;
use super::tour::Turn;
use super::{Action, App, Effect, Hint, Leave, Link, Modal, Pane, View, keys};
use crate::protocol::{Command, Phase, PlaneKind};

impl App {
    /// Leaves at once where there is nothing to decide, and asks otherwise.
    pub(super) fn quit(&mut self) -> Vec<Effect> {
        let finished = self.engine.status.as_ref().is_some_and(|status| status.phase == Phase::Finished);
        match &self.link {
            Link::Ended(outcome) => vec![Effect::Leave(Leave::Closed(outcome.clone()))],
            _ if self.options.read_only || finished || self.tour.is_some() => {
                vec![Effect::Leave(Leave::Detach)]
            }
            _ => {
                self.view.modal = Some(Modal::Leave);
                Vec::new()
            }
        }
    }

    pub(super) fn leave_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => vec![Effect::Leave(Leave::Detach)],
            KeyCode::Char('d' | 'D') | KeyCode::Enter => vec![Effect::Leave(Leave::Detach)],
            KeyCode::Char('s') if self.link != Link::Stopping => {
                self.view.modal = None;
                self.link = Link::Stopping;
                self.view.hint = Some(Hint::Asked("saving a checkpoint, then the engine ends".into()));
                vec![Effect::Send(Command::SaveAndStop)]
            }
            KeyCode::Esc => {
                self.view.modal = None;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn ask_to_move(&mut self) -> Vec<Effect> {
        if self.can_move() {
            self.view.modal = Some(Modal::Move);
            return Vec::new();
        }
        if self.move_goes_on() {
            return self.turn_page(Turn::On);
        }
        self.refuse(if self.is_running() {
            "pause first: the picture changes while it trains"
        } else {
            "arrows or hjkl choose a place on the landscape first"
        })
    }

    /// Whether the training can be moved to the cursor.
    pub(super) fn can_move(&self) -> bool {
        let has_place = self.view.focus == Pane::Landscape && self.view.landscape.chosen.is_some();
        has_place && !self.is_running()
    }

    fn is_running(&self) -> bool {
        self.engine.status.as_ref().is_some_and(|status| status.phase == Phase::Running)
    }

    pub(super) fn move_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.view.modal = None;
                self.quit()
            }
            // Enter has opened the question: held down, it must not answer it.
            KeyCode::Char('y' | 'Y') => {
                self.view.modal = None;
                if let Some(reason) = self.cannot_command() {
                    self.view.hint = Some(Hint::Refused(reason));
                    return Vec::new();
                }
                let to = self.view.landscape.chosen.take().zip(self.engine.slice.as_ref());
                let Some((to, slice)) = to else { return Vec::new() };
                self.view.hint = Some(Hint::Asked("moving the training there".into()));
                let (place, slice) = ([to.alpha, to.beta], (slice.step, slice.generation));
                vec![Effect::Send(Command::MoveTo { place, slice })]
            }
            KeyCode::Esc | KeyCode::Char('n' | 'q') => {
                self.view.modal = None;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn help_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Modal::Help { scroll }) = &mut self.view.modal else { return Vec::new() };
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            self.view.modal = None;
            return self.quit();
        }
        match keys::scroll_help(&self.options.bindings, *scroll, key) {
            Some(lines) => *scroll = lines,
            None => self.view.modal = None,
        }
        Vec::new()
    }

    /// A key over what is told of the curvature.
    pub(super) fn curvature_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            self.view.modal = None;
            return self.quit();
        }
        if matches!(key.code, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | 'i' | ' ')) {
            self.view.modal = None;
        }
        Vec::new()
    }

    pub(super) fn prompt_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Modal::Prompt(editor)) = &mut self.view.modal else { return Vec::new() };
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter if editor.text().trim().is_empty() => {
                self.view.hint =
                    Some(Hint::Refused("a prompt needs a text; its last token is the target".into()));
            }
            KeyCode::Enter => {
                let text = editor.text();
                self.view.modal = None;
                return self.set_prompt(text);
            }
            KeyCode::Esc => self.view.modal = None,
            KeyCode::Char('c') if control => {
                self.view.modal = None;
                return self.quit();
            }
            _ => editor.key(key),
        }
        Vec::new()
    }

    fn set_prompt(&mut self, text: String) -> Vec<Effect> {
        self.view.hint = Some(Hint::Asked("predicting the last token of the new prompt".into()));
        vec![Effect::Send(Command::SetPrompt(text))]
    }

    pub(super) fn commands_key(&mut self, key: KeyEvent) -> Vec<Effect> {
        let Some(Modal::Commands(palette)) = &mut self.view.modal else { return Vec::new() };
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            self.view.modal = None;
            return self.quit();
        }
        match palette.key(&self.options.bindings, &mut self.view.history, key) {
            Typed::Line => {}
            Typed::Closed => self.view.modal = None,
            Typed::Refused(why) => self.view.hint = Some(Hint::Refused(why)),
            Typed::Run(action, more) => {
                self.view.modal = None;
                return self.run(action, more);
            }
        }
        Vec::new()
    }

    /// Does what was typed: an action, and what follows its name.
    fn run(&mut self, action: Action, more: String) -> Vec<Effect> {
        if more.is_empty() || !self.allows(action) {
            return self.act(action);
        }
        if action == Action::Export {
            return self.export(&more);
        }
        if action == Action::Tour {
            return self.toggle_tour(Some(more.parse().unwrap_or(0)));
        }
        let refused = match (self.cannot_command(), action, more.parse::<u64>()) {
            (Some(reason), _, _) => reason,
            (None, Action::Prompt, _) => return self.set_prompt(more),
            (None, Action::Probe, _) => return self.probe_named(more),
            (None, Action::Wormhole, _) => return self.wormhole_named(&more),
            (None, Action::Plane, _) => match PlaneKind::named(&more.to_lowercase()) {
                Some(kind) => return self.set_plane(kind),
                None => format!("the kinds are {}", PlaneKind::ALL.map(PlaneKind::name).join(", ")),
            },
            (None, _, Ok(steps @ 1..)) if self.view.shown == View::Wormhole => {
                return self.step_wormhole(steps);
            }
            (None, _, Ok(1)) => return self.act(action),
            (None, _, Ok(steps @ 2..)) => {
                self.view.hint = Some(Hint::Asked(format!("{steps} steps")));
                return vec![Effect::Send(Command::Step(steps))];
            }
            (None, _, _) => "what may follow step is a number of steps".to_owned(),
        };
        self.view.hint = Some(Hint::Refused(refused));
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Curvature;
    use crate::ui::fixture;

    #[test]
    fn what_is_known_of_the_curvature_is_asked_again_only_for_other_weights() {
        let mut app = fixture::app();
        let asked = |app: &mut App| {
            app.view.modal = None;
            app.act(Action::Curvature) == [Effect::Send(Command::Curvature)]
        };
        assert!(asked(&mut app), "nothing is known");
        let step = app.engine.status.as_ref().unwrap().step;
        let text = app.engine.prediction.as_ref().unwrap().prompt.clone();
        let (loss, grad_norm, to_come) = (2.0, 1.0, 5);
        let known = Curvature { step, text, loss, grad_norm, to_come, spectrum: None, failure: None };
        app.engine.curvature = Some(known.clone());
        assert!(!asked(&mut app), "it is on its way");
        app.engine.curvature = Some(Curvature { failure: Some("interrupted".into()), ..known.clone() });
        assert!(asked(&mut app));
        app.engine.curvature = Some(Curvature { text: "another".into(), ..known.clone() });
        assert!(asked(&mut app));
        app.engine.curvature = Some(known);
        app.engine.status.as_mut().unwrap().back = Some(step);
        assert!(asked(&mut app), "the weights were moved by hand");
        app.engine.status.as_mut().unwrap().step = step + 1;
        assert!(asked(&mut app));
    }

    #[test]
    fn the_kind_of_plane_goes_round_or_is_called_by_its_name() {
        let mut app = fixture::app();
        let asked: Vec<_> = (0..5).flat_map(|_| app.act(Action::Plane)).collect();
        let round = [
            PlaneKind::Gradient,
            PlaneKind::Update,
            PlaneKind::Trajectory,
            PlaneKind::Hessian,
            PlaneKind::Random,
        ];
        assert_eq!(asked, round.map(|kind| Effect::Send(Command::SetPlane(kind))));
        let mut typed = |more: &str| app.run(Action::Plane, more.to_owned());
        assert_eq!(typed("Hessian"), [Effect::Send(Command::SetPlane(PlaneKind::Hessian))]);
        assert_eq!(typed("flat"), []);
        let Some(Hint::Refused(why)) = &app.view.hint else { panic!("{:?}", app.view.hint) };
        assert!(why.contains("random, gradient, update, trajectory, hessian"), "{why}");
    }
}
