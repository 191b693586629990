//! Which slices of a run are shown: the selected one, and the one that it is compared with.

use crate::protocol::{Slice, Timeline};

use super::{Hint, Stretch};

/// Which slices of a run are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct TimelineView {
    /// The step of the selected slice; without one it is the newest, whichever that is.
    step: Option<u64>,
    /// The step of the marked slice.
    marked: Option<u64>,
    /// Where there is room for one picture it is the difference, not the slice.
    pub difference: bool,
    /// How the colours are spread over the losses of all slices.
    pub stretch: Stretch,
}

impl Default for TimelineView {
    fn default() -> Self {
        // The first slice of a run is far above all others: on a linear scale these would look the same.
        Self { step: None, marked: None, difference: false, stretch: Stretch::Rank }
    }
}

impl TimelineView {
    /// Slices that a key passes that goes far.
    const FAR: isize = 10;

    /// Whether the newest slice is selected, and the next one will be.
    pub fn follows(&self) -> bool {
        self.step.is_none()
    }

    /// Whether all slices are compared with the same one.
    pub fn is_marked(&self) -> bool {
        self.marked.is_some()
    }

    /// The index of the selected slice. Where that of its step is gone it is the nearest one.
    pub fn selected(&self, timeline: &Timeline) -> Option<usize> {
        let slices = timeline.items();
        match self.step {
            Some(step) => nearest(slices, step),
            None => slices.len().checked_sub(1),
        }
    }

    /// The index of the slice that it is compared with: the marked one, which it may be itself, or the one before.
    pub fn compared(&self, timeline: &Timeline) -> Option<usize> {
        match self.marked {
            Some(step) => nearest(timeline.items(), step),
            None => self.selected(timeline)?.checked_sub(1),
        }
    }

    /// Goes to a later slice, or far up to a much later one. From the newest one on it follows.
    pub(super) fn steer(&mut self, timeline: &Timeline, right: i32, up: i32) {
        let slices = timeline.items();
        let Some(now) = self.selected(timeline) else { return };
        let by = right as isize + up as isize * Self::FAR;
        self.select(timeline, now.saturating_add_signed(by).min(slices.len() - 1));
    }

    /// Goes to the slice of this number, if there is one.
    pub(super) fn select(&mut self, timeline: &Timeline, index: usize) {
        let slices = timeline.items();
        let Some(slice) = slices.get(index) else { return };
        self.step = (index + 1 < slices.len()).then_some(slice.step);
    }

    /// Spreads the colours in the next way; what that is comes back.
    pub(super) fn next_stretch(&mut self) -> Hint {
        self.stretch = self.stretch.next();
        self.stretch.told()
    }

    /// Compares with the first slice of the newest plane; where there is none yet, with the first that comes.
    pub(super) fn compare_with_first(&mut self, timeline: &Timeline) {
        let newest = timeline.items().last().map(|slice| slice.generation);
        let first = timeline.items().iter().find(|slice| Some(slice.generation) == newest);
        self.marked = Some(first.map_or(0, |slice| slice.step));
    }

    /// Goes to the newest slice, and on to each that comes.
    pub(super) fn follow(&mut self) {
        self.step = None;
    }

    /// Shows the other one of slice and difference; one slice alone has none.
    pub(super) fn turn_over(&mut self, timeline: &Timeline) {
        self.difference = !self.difference && timeline.items().len() > 1;
    }

    /// Marks the selected slice, or takes the mark off it.
    pub(super) fn mark(&mut self, timeline: &Timeline) -> Hint {
        let Some(selected) = self.selected(timeline) else {
            return Hint::Refused("no slice yet: r draws one".into());
        };
        if self.is_marked() && self.compared(timeline) == Some(selected) {
            self.marked = None;
            return Hint::Answer("B is the slice before A".into());
        }
        let step = timeline.items()[selected].step;
        self.marked = Some(step);
        Hint::Answer(format!("B is the slice of step {step}: go to another one to see how it differs"))
    }
}

fn nearest(slices: &[Slice], step: u64) -> Option<usize> {
    (0..slices.len()).min_by_key(|index| slices[*index].step.abs_diff(step))
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::app::{App, Effect, Message, Options, View};
    use crate::protocol::{BatchInfo, PlaneInfo};

    fn slice(step: u64) -> Slice {
        Slice {
            step,
            generation: 1,
            alphas: vec![-1.0, 1.0],
            betas: vec![-1.0, 1.0],
            loss: vec![2.0; 4],
            center: 1.0,
            finest: true,
            plane: PlaneInfo::default(),
            batch: BatchInfo { tokens: 512, sha256: String::new(), source: "held-out".into() },
            seconds: 0.1,
            method: String::new(),
            sharpness: None,
        }
    }

    /// The timeline of a run with slices of steps 10 to 200.
    fn app() -> App {
        let mut app = App::new(Options { read_only: true, ..Options::default() });
        app.view.shown = View::Timeline;
        (1..=20).for_each(|i| app.engine.timeline.push(slice(10 * i)));
        app
    }

    fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
        app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    /// The steps of the selected slice and of the one that it is compared with.
    fn steps(app: &App) -> [Option<u64>; 2] {
        let (timeline, view) = (&app.engine.timeline, &app.view.timeline);
        [view.selected(timeline), view.compared(timeline)]
            .map(|index| index.map(|index| timeline.items()[index].step))
    }

    #[test]
    fn the_newest_slice_is_followed_until_one_goes_back() {
        let mut app = app();
        assert_eq!(steps(&app), [Some(200), Some(190)]);
        app.engine.timeline.push(slice(210));
        assert_eq!(steps(&app), [Some(210), Some(200)]);
        press(&mut app, KeyCode::Left);
        app.engine.timeline.push(slice(220));
        assert_eq!(steps(&app), [Some(200), Some(190)]);
        press(&mut app, KeyCode::Esc);
        assert_eq!(steps(&app), [Some(220), Some(210)]);
        press(&mut app, KeyCode::Char('h'));
        press(&mut app, KeyCode::Char('l'));
        assert!(app.view.timeline.follows(), "one is back at the newest");
    }

    #[test]
    fn far_slices_are_ten_away_and_the_ends_are_ends() {
        let mut app = app();
        press(&mut app, KeyCode::Down);
        assert_eq!(steps(&app)[0], Some(100));
        press(&mut app, KeyCode::Down);
        assert_eq!(steps(&app), [Some(10), None], "there is none before the first");
        press(&mut app, KeyCode::Left);
        assert_eq!(steps(&app)[0], Some(10));
        press(&mut app, KeyCode::Up);
        assert_eq!(steps(&app)[0], Some(110));
        press(&mut app, KeyCode::Up);
        assert_eq!(steps(&app)[0], Some(200));
    }

    #[test]
    fn a_mark_stays_until_it_is_taken_off() {
        let mut app = app();
        press(&mut app, KeyCode::Down);
        assert!(press(&mut app, KeyCode::Enter).is_empty(), "nothing is asked of the engine");
        assert_eq!(steps(&app), [Some(100), Some(100)]);
        press(&mut app, KeyCode::Esc);
        assert_eq!(steps(&app), [Some(200), Some(100)]);
        press(&mut app, KeyCode::Enter);
        assert_eq!(steps(&app), [Some(200), Some(200)], "another one is marked");
        press(&mut app, KeyCode::Enter);
        assert_eq!(steps(&app), [Some(200), Some(190)]);
        assert!(!app.view.timeline.is_marked());
    }

    #[test]
    fn the_nearest_slice_is_shown_where_that_of_the_step_is_gone() {
        let mut app = app();
        press(&mut app, KeyCode::Left);
        press(&mut app, KeyCode::Enter);
        press(&mut app, KeyCode::Left);
        app.engine.timeline.rewind(100);
        assert_eq!(steps(&app), [Some(100), Some(100)]);
        (0..300).for_each(|i| app.engine.timeline.push(slice(101 + i)));
        let [selected, compared] = steps(&app).map(Option::unwrap);
        assert!(selected.abs_diff(180) <= 4 && compared.abs_diff(190) <= 4, "{selected} {compared}");
    }

    #[test]
    fn a_run_without_slices_has_nothing_to_select() {
        let mut app = App::new(Options::default());
        app.view.shown = View::Timeline;
        for code in [KeyCode::Left, KeyCode::Up, KeyCode::Enter, KeyCode::Tab, KeyCode::Esc] {
            assert!(press(&mut app, code).is_empty());
            assert_eq!(steps(&app), [None, None]);
        }
        app.engine.timeline.push(slice(10));
        press(&mut app, KeyCode::Tab);
        assert!(!app.view.timeline.difference, "one slice has no difference");
    }

    #[test]
    fn tab_turns_the_picture_over_and_leaves_the_focus() {
        let mut app = app();
        let focus = app.view.focus;
        press(&mut app, KeyCode::Tab);
        assert_eq!((app.view.timeline.difference, app.view.focus), (true, focus));
        press(&mut app, KeyCode::BackTab);
        assert_eq!((app.view.timeline.difference, app.view.focus), (false, focus));
    }
}
