//! The guided tour over a live training: chapters that say what to see and do something for it to be seen.

mod chapters;

pub use chapters::{Beat, CHAPTERS, Chapter, Deed, WAITING};

use ratatui::crossterm::event::KeyCode;

use super::key::{Key, key, named};
use super::{App, Effect, Hint, Leave, Modal, Pane, View, WormholeStage};
use crate::protocol::{Command, Phase, probe, wormhole};

/// Where a person is in the tour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tour {
    /// The model was loaded, and knows something already.
    pub loaded: bool,
    /// The chapter, from 0.
    chapter: usize,
    /// The part of it that is told, from 0.
    beat: usize,
    /// It is told; otherwise the screen is as ever.
    pub shown: bool,
    /// How far the page is.
    page: Page,
}

/// How far a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    /// It is the first one, and what it does is still to be done.
    New,
    /// It is told.
    Told,
    /// The person wanted to go on, and was told that its steps are still being taken.
    Insisted,
}

/// A key of the tour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// On to what follows.
    On,
    /// Back to what was told before; nothing is undone.
    Back,
}

impl Turn {
    const KEYS: [(Key, Self); 2] = [(key(' '), Self::On), (named(KeyCode::Backspace), Self::Back)];

    /// What a key means while the tour is told.
    pub fn of(key: Key) -> Option<Self> {
        Self::KEYS.iter().find(|(known, _)| *known == key).map(|(_, turn)| *turn)
    }
}

impl Tour {
    /// The tour from the beginning of a chapter, counted from 1; the last one where there is none of that number.
    pub fn at(chapter: usize, loaded: bool) -> Self {
        let chapter = chapter.clamp(1, CHAPTERS.len()) - 1;
        Self { loaded, chapter, beat: 0, shown: true, page: Page::New }
    }

    /// The number of the chapter, from 1.
    pub fn number(&self) -> usize {
        self.chapter + 1
    }

    /// The chapter.
    pub fn chapter(&self) -> &'static Chapter {
        &CHAPTERS[self.chapter]
    }

    /// What is told.
    pub fn beat(&self) -> &'static Beat {
        &self.chapter().beats[self.beat]
    }

    /// The same in words.
    pub fn text(&self) -> &'static str {
        self.beat().told(self.loaded)
    }

    /// All that is told in this chapter.
    pub fn texts(&self) -> impl Iterator<Item = &'static str> {
        let (beats, loaded) = (self.chapter().beats, self.loaded);
        let compares = beats.iter().any(|beat| beat.deeds.contains(&Deed::Compare));
        beats.iter().map(move |beat| beat.told(loaded)).chain(compares.then_some(WAITING))
    }

    /// Whether the next page puts the weights under the cursor of the wormhole.
    fn jumps_next(mut self) -> bool {
        self.turn(Turn::On) && self.beat().deeds.contains(&Deed::Jump)
    }

    /// Whether nothing follows.
    pub fn is_at_the_end(&self) -> bool {
        self.chapter + 1 == CHAPTERS.len() && self.beat + 1 == self.chapter().beats.len()
    }

    /// Turns a page. Returns whether there was one.
    pub fn turn(&mut self, turn: Turn) -> bool {
        let before = *self;
        match turn {
            Turn::On if self.beat + 1 < self.chapter().beats.len() => self.beat += 1,
            Turn::On if self.chapter + 1 < CHAPTERS.len() => {
                (self.chapter, self.beat) = (self.chapter + 1, 0);
            }
            Turn::Back if self.beat > 0 => self.beat -= 1,
            Turn::Back if self.chapter > 0 => {
                self.chapter -= 1;
                self.beat = self.chapter().beats.len() - 1;
            }
            _ => {}
        }
        *self != before
    }
}

impl App {
    /// Whether the tour is told now.
    pub fn is_touring(&self) -> bool {
        self.tour.is_some_and(|tour| tour.shown)
    }

    /// Whether the keys of the tour are its own: it is told, and nothing lies over the screen that takes them.
    pub fn tour_listens(&self) -> bool {
        self.is_touring() && matches!(self.view.modal, None | Some(Modal::Curvature))
    }

    /// Whether the key of the move goes on too: it is the first that one tries, and has nothing else to do.
    pub fn move_goes_on(&self) -> bool {
        let view = &self.view;
        let Some(tour) = self.tour.filter(|_| self.tour_listens() && view.modal.is_none()) else {
            return false;
        };
        match (view.shown, &self.engine.wormhole) {
            (View::Observatory, _) => view.focus != Pane::Loss && !self.can_move(),
            (View::Wormhole, Some(scene)) => {
                let chooses = view.wormhole.stage(Some(scene)) == WormholeStage::Choosing;
                chooses && scene.plane.is_some() && tour.jumps_next()
            }
            _ => false,
        }
    }

    /// Puts the tour away, or goes on with it: at this chapter, counted from 1, where one is given.
    pub(super) fn toggle_tour(&mut self, chapter: Option<usize>) -> Vec<Effect> {
        let Some(tour) = &mut self.tour else { return Vec::new() };
        match chapter {
            Some(number) => {
                if !(1..=CHAPTERS.len()).contains(&number) {
                    return self.refuse(format!("the tour has chapters 1 to {}", CHAPTERS.len()));
                }
                *tour = Tour { page: Page::Told, ..Tour::at(number, tour.loaded) };
                return self.do_deeds();
            }
            None => tour.shown = !tour.shown,
        }
        Vec::new()
    }

    /// Turns a page, and does what is to be seen on it.
    pub(super) fn turn_page(&mut self, turn: Turn) -> Vec<Effect> {
        let preparing = self.is_preparing().then(|| "the model is still being made ready".to_owned());
        if turn == Turn::On
            && let Some(reason) = self.cannot_command().or(preparing)
        {
            return self.refuse(reason);
        }
        let Some(tour) = &mut self.tour else { return Vec::new() };
        let training = self.engine.status.as_ref().is_some_and(|status| status.phase == Phase::Running);
        if turn == Turn::On && training && tour.page != Page::Insisted {
            tour.page = Page::Insisted;
            self.view.hint = Some(Hint::Awaited("still training: watch, or press again".into()));
            return Vec::new();
        }
        tour.page = Page::Told;
        match (tour.turn(turn), turn) {
            (true, Turn::On) => self.do_deeds(),
            (true, Turn::Back) => {
                self.view.modal = None;
                // What was done stays done; the page is seen over the view that it is about.
                let (beats, loaded) = (&tour.chapter().beats[..=tour.beat], tour.loaded);
                let deeds = beats.iter().flat_map(|beat| beat.deeds);
                for deed in deeds.filter(|deed| matches!(deed, Deed::Show(_) | Deed::Focus(_))) {
                    self.do_deed(*deed, loaded);
                }
                Vec::new()
            }
            (false, _) => {
                let end = if turn == Turn::On { "that was the tour" } else { "the tour begins here" };
                self.view.hint = Some(Hint::Answer(end.into()));
                Vec::new()
            }
        }
    }

    /// Does what is to be seen on the page that the tour begins with, once the model is there.
    pub(super) fn begin_tour(&mut self) -> Vec<Effect> {
        if self.cannot_command().is_some() || self.is_preparing() {
            return Vec::new();
        }
        match &mut self.tour {
            Some(tour) if tour.page == Page::New => {
                tour.page = Page::Told;
                self.do_deeds()
            }
            _ => Vec::new(),
        }
    }

    fn is_preparing(&self) -> bool {
        self.engine.status.as_ref().is_none_or(|status| matches!(status.phase, Phase::Preparing(_)))
    }

    fn do_deeds(&mut self) -> Vec<Effect> {
        let Some(tour) = self.tour else { return Vec::new() };
        self.view.modal = None;
        self.view.zoomed = false;
        tour.beat().deeds.iter().flat_map(|deed| self.do_deed(*deed, tour.loaded)).collect()
    }

    /// Puts the weights where the cursor of the wormhole is.
    fn jump(&mut self) -> Effect {
        self.view.wormhole.follow();
        let start = self.view.wormhole.start(self.engine.frozen.as_ref());
        Effect::Send(Command::Wormhole(wormhole::Ask::Jump([start.alpha, start.beta])))
    }

    fn do_deed(&mut self, deed: Deed, loaded: bool) -> Vec<Effect> {
        let send = |command| vec![Effect::Send(command)];
        match deed {
            Deed::Show(view) => self.view.shown = view,
            Deed::Focus(pane) => self.view.focus = pane,
            Deed::Steps { fresh, knowing } => {
                return send(Command::Step(if loaded { knowing } else { fresh }));
            }
            Deed::Pause => return send(Command::Pause),
            Deed::Redraw => return send(Command::RedrawSlice),
            Deed::NewPlane => {
                let mut effects = self.drop_cursor();
                effects.push(Effect::Send(Command::NewPlane));
                return effects;
            }
            Deed::Zoom(factor) => return send(Command::Zoom(factor)),
            Deed::Curvature => {
                self.view.modal = Some(Modal::Curvature);
                return send(Command::Curvature);
            }
            Deed::OpenProbe => return send(Command::Probe(probe::Ask::Open)),
            Deed::TurnToBest => return self.turn_to_best(),
            Deed::Walk(rounds) => {
                let pair = probe::Ask::Choose { first: 0, second: Some(1) };
                let asks = [pair, probe::Ask::Walk(rounds)];
                return asks.into_iter().map(|ask| Effect::Send(Command::Probe(ask))).collect();
            }
            Deed::Lay => return send(Command::Wormhole(wormhole::Ask::Lay(wormhole::Setting::default()))),
            Deed::Jump => return vec![self.jump()],
            Deed::Descend(steps) => {
                let started = self.engine.wormhole.as_ref().is_some_and(|scene| scene.offset.is_some());
                let jump = (!started).then(|| self.jump());
                let step = Effect::Send(Command::Wormhole(wormhole::Ask::Step(steps)));
                return jump.into_iter().chain([step]).collect();
            }
            Deed::CompareWithFirst => self.view.timeline.compare_with_first(&self.engine.timeline),
            Deed::Compare => return vec![Effect::Leave(Leave::Compare)],
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests;
