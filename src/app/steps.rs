//! The steps that the charts show, and the one that is read.

use crate::protocol::History;

/// The time axis of the charts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// The step that is read.
    pub read: Option<u64>,
    /// What is shown, where that is not all.
    window: Option<Window>,
}

/// Some steps in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    /// Steps from the first one to the last.
    span: u64,
    /// The last one. Without one it is the newest there is, as long as the step that is read stays in sight.
    last: Option<u64>,
}

/// Recorded points between the ends of the narrowest window.
const FEWEST: u64 = 8;

/// The first and the last step of a run.
fn ends(history: &History) -> Option<(u64, u64)> {
    let (first, last) = history.points().first().zip(history.points().last())?;
    // Where they come from a frame, they may be anything.
    (first.step <= last.step).then_some((first.step, last.step))
}

impl Steps {
    /// The index of the recorded point that is nearest to the step that is read.
    pub fn reading(&self, history: &History) -> Option<usize> {
        nearest(history, self.read?)
    }

    /// The first and the last step on show.
    pub fn shown(&self, history: &History) -> Option<(u64, u64)> {
        let (oldest, newest) = ends(history)?;
        let Some(Window { span, last }) = self.window else { return Some((oldest, newest)) };
        let least = oldest.saturating_add(span);
        if least >= newest {
            return Some((oldest, newest));
        }
        let followed = self.read.map_or(newest, |read| read.saturating_add(span));
        let last = last.unwrap_or(followed).clamp(least, newest);
        Some((last - span, last))
    }

    /// Whether not all steps are on show.
    pub(super) fn is_narrowed(&self) -> bool {
        self.window.is_some()
    }

    /// Reads the newest point on show at first, and from there one to the right or left, or a twentieth of those on
    /// show up or down: a history is many points long. Steps that come into sight push others out.
    pub(super) fn step(&mut self, history: &History, right: i32, up: i32) {
        let (points, Some(shown)) = (history.points(), self.shown(history)) else { return };
        let from = points.partition_point(|point| point.step < shown.0);
        let to = points.partition_point(|point| point.step <= shown.1);
        let far = (to.saturating_sub(from) / 20).max(1) as isize;
        let by = right as isize + up as isize * far;
        let index = match self.reading(history) {
            Some(index) => index.saturating_add_signed(by).min(points.len() - 1),
            None => to.saturating_sub(1),
        };
        self.read = points.get(index).map(|point| point.step);
        let newest = points.last().map_or(0, |point| point.step);
        if let (Some(window), Some(read)) = (&mut self.window, self.read) {
            let last = shown.1.min(read.saturating_add(window.span)).max(read);
            window.last = (last < newest).then_some(last);
        }
    }

    /// Reads the point that is nearest to a place, from 0 at the left of the charts to 1 at their right.
    pub(super) fn read_at(&mut self, history: &History, along: f64) {
        let near = self.at(history, along).and_then(|step| nearest(history, step));
        self.read = near.map(|index| history.points()[index].step).or(self.read);
    }

    /// Shows half as many steps or twice as many, around the one that is read or else up to the newest.
    pub(super) fn zoom(&mut self, history: &History, closer: bool) {
        let Some((first, last)) = self.shown(history) else { return };
        let read = self.reading(history).map(|index| history.points()[index].step);
        match read {
            // It has gone out of sight with a run that went back.
            Some(read) if !(first..=last).contains(&read) => self.zoom_around(history, closer, read, 0.5),
            Some(read) => {
                let share = (read - first) as f64 / (last - first).max(1) as f64;
                self.zoom_around(history, closer, read, share);
            }
            None => self.zoom_around(history, closer, last, 1.0),
        }
    }

    /// The same around the step at a place of the charts.
    pub(super) fn zoom_at(&mut self, history: &History, closer: bool, along: f64) {
        if let Some(step) = self.at(history, along) {
            self.zoom_around(history, closer, step, along.clamp(0.0, 1.0));
        }
    }

    /// Shows less or more of the steps; this one has that share of them to its left.
    fn zoom_around(&mut self, history: &History, closer: bool, step: u64, share: f64) {
        let Some(((first, last), (oldest, newest))) = self.shown(history).zip(ends(history)) else { return };
        let (span, all) = (last - first, newest - oldest);
        let gaps = (history.points().len() as u64).saturating_sub(1).max(1);
        let least = (all / gaps).max(1).saturating_mul(FEWEST);
        let span = if closer { (span / 2).max(least) } else { span.saturating_mul(2) };
        if span >= all {
            self.window = None;
            return;
        }
        let after = ((1.0 - share) * span as f64).round() as u64;
        let last = step.saturating_add(after.min(span)).clamp(oldest + span, newest);
        // A window that follows the newest step never leaves the one that is read behind.
        let fixed = last < newest || self.read.is_some_and(|read| read < last - span);
        self.window = Some(Window { span, last: fixed.then_some(last) });
    }

    /// The step at a place of the charts.
    fn at(&self, history: &History, along: f64) -> Option<u64> {
        let (first, last) = self.shown(history)?;
        let steps = (along.clamp(0.0, 1.0) * (last - first) as f64).round() as u64;
        Some(first.saturating_add(steps).min(last))
    }
}

/// The index of the recorded point nearest to a step.
fn nearest(history: &History, step: u64) -> Option<usize> {
    let points = history.points();
    (0..points.len()).min_by_key(|index| points[*index].step.abs_diff(step))
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::app::{App, Curve, Gesture, Message, Options, Pane, Pointed, Spot};
    use crate::protocol::Point;

    fn point(step: u64) -> Point {
        Point { step, loss: 1.0, held_out: None, grad_norm: 1.0, learning_rate: 1e-3, spike: false }
    }

    fn history(steps: impl Iterator<Item = u64>) -> History {
        let mut history = History::default();
        steps.for_each(|step| history.push(point(step)));
        history
    }

    /// A screen with the focus on its charts.
    fn app(steps: impl Iterator<Item = u64>) -> App {
        let mut app = App::new(Options::default());
        app.engine.history = history(steps);
        app.view.focus = Pane::Loss;
        app
    }

    fn press(app: &mut App, code: KeyCode) {
        app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }

    fn keys(app: &mut App, keys: &str) {
        keys.chars().for_each(|key| press(app, KeyCode::Char(key)));
    }

    fn shown(app: &App) -> (u64, u64) {
        app.view.steps.shown(&app.engine.history).unwrap()
    }

    #[test]
    fn the_steps_of_the_focused_charts_are_read_until_esc() {
        let mut app = app((2..=9).map(|step| 10 * step));
        app.view.focus = Pane::Landscape;
        let mut step_after = |code| {
            press(&mut app, code);
            app.view.steps.read
        };
        assert_eq!(step_after(KeyCode::Left), None, "the landscape has the focus");
        step_after(KeyCode::Tab);
        assert_eq!(step_after(KeyCode::Left), Some(90), "it begins at the newest");
        assert_eq!(step_after(KeyCode::Right), Some(90));
        assert_eq!(step_after(KeyCode::Char('h')), Some(80));
        assert_eq!(step_after(KeyCode::Char('l')), Some(90));
        assert_eq!(step_after(KeyCode::Down), Some(80));
        for _ in 0..20 {
            step_after(KeyCode::Left);
        }
        assert_eq!(step_after(KeyCode::Left), Some(20));
        assert_eq!(step_after(KeyCode::Esc), None);
    }

    #[test]
    fn far_steps_are_a_few_keys_away() {
        let (mut steps, history) = (Steps::default(), history(1..=8000));
        steps.step(&history, -1, 0);
        steps.step(&history, 0, -1);
        assert_eq!(steps.read, Some(7600));
        steps.step(&history, 0, 3);
        assert_eq!(steps.read, Some(8000));
    }

    #[test]
    fn the_nearest_point_is_read_where_the_step_itself_is_gone() {
        let mut steps = Steps { read: Some(12), ..Steps::default() };
        assert_eq!(steps.reading(&History::default()), None);
        steps.step(&History::default(), 1, 0);
        assert_eq!(steps.read, Some(12), "there is nowhere to go");
        let mut history = history([1, 5, 10].into_iter());
        assert_eq!(steps.reading(&history), Some(2));
        history.rewind(5);
        assert_eq!(steps.reading(&history), Some(1));
    }

    #[test]
    fn a_zoom_keeps_the_step_that_is_read_where_it_is() {
        let mut app = app(1..=1001);
        app.view.steps.read = Some(251);
        keys(&mut app, "[");
        assert_eq!(shown(&app), (126, 626));
        keys(&mut app, "[[[[[[[[[[");
        let (first, last) = shown(&app);
        assert!((first..=last).contains(&251) && last - first == FEWEST, "{first} {last}");
        keys(&mut app, "]]]]");
        let (first, last) = shown(&app);
        assert!((first..=last).contains(&251) && last - first == 16 * FEWEST, "{first} {last}");
        keys(&mut app, "]]]]]]");
        assert_eq!(shown(&app), (1, 1001));
        assert!(!app.view.steps.is_narrowed());
    }

    #[test]
    fn the_window_goes_along_with_what_is_read_and_stops_at_the_ends() {
        let mut app = app(1..=1001);
        keys(&mut app, "[[");
        assert_eq!(shown(&app), (751, 1001), "around the newest step without another");
        for _ in 0..300 {
            press(&mut app, KeyCode::Left);
        }
        let read = app.view.steps.read.unwrap();
        assert_eq!((read, shown(&app)), (702, (702, 952)));
        press(&mut app, KeyCode::Right);
        assert_eq!(shown(&app), (702, 952), "it moves only where it must");
        for _ in 0..1000 {
            press(&mut app, KeyCode::Left);
        }
        assert_eq!((app.view.steps.read, shown(&app)), (Some(1), (1, 251)));
        for _ in 0..1200 {
            press(&mut app, KeyCode::Right);
        }
        assert_eq!((app.view.steps.read, shown(&app)), (Some(1001), (751, 1001)));
    }

    #[test]
    fn a_window_with_the_newest_step_slides_along_and_another_stays() {
        let mut app = app(1..=1001);
        keys(&mut app, "[[");
        app.engine.history.push(point(1002));
        assert_eq!(shown(&app), (752, 1002));
        app.view.steps.read = Some(900);
        for step in 1003..=2000 {
            app.engine.history.push(point(step));
        }
        assert_eq!(shown(&app), (900, 1150), "until the step that is read would leave it");
        app.view.steps.read = None;
        for _ in 0..300 {
            press(&mut app, KeyCode::Left);
        }
        let stays = shown(&app);
        app.engine.history.push(point(2001));
        assert_eq!(shown(&app), stays);
    }

    #[test]
    fn esc_shows_all_steps_again_before_it_shows_all_panes() {
        let mut app = app(1..=1001);
        keys(&mut app, "z[[");
        press(&mut app, KeyCode::Left);
        press(&mut app, KeyCode::Esc);
        assert_eq!((shown(&app), app.view.steps.read, app.view.zoomed), ((1, 1001), None, true));
        press(&mut app, KeyCode::Esc);
        assert!(!app.view.zoomed);
    }

    #[test]
    fn the_wheel_zooms_around_the_step_below_it_and_a_click_reads_it() {
        let mut app = app(1..=1001);
        let point = |app: &mut App, gesture, along| {
            let place = Some([along, 0.5]);
            assert_eq!(
                app.update(Message::Mouse(Pointed { gesture, pane: Spot::Pane(Pane::Loss), place })),
                []
            );
        };
        point(&mut app, Gesture::WheelUp, 0.25);
        assert_eq!(shown(&app), (126, 626));
        point(&mut app, Gesture::Click, 0.5);
        assert_eq!((app.view.steps.read, shown(&app)), (Some(376), (126, 626)));
        point(&mut app, Gesture::WheelDown, 0.25);
        assert_eq!(shown(&app), (1, 1001));
        app.view.steps.read = Some(2);
        point(&mut app, Gesture::WheelUp, 1.0);
        assert_eq!(shown(&app), (501, 1001), "wherever another step is read");
    }

    #[test]
    fn enter_goes_from_chart_to_chart_and_around() {
        let mut app = app(1..=9);
        let after = [(); 4].map(|()| {
            press(&mut app, KeyCode::Enter);
            app.view.curve
        });
        assert_eq!(after, [Curve::GradientNorm, Curve::LearningRate, Curve::Sharpness, Curve::Loss]);
    }

    #[test]
    fn no_history_and_no_key_is_too_odd() {
        let runs: [&[u64]; 5] = [&[], &[7], &[1, 2], &[0, u64::MAX], &[5, 6, 7, 8, 9, 1 << 60]];
        for steps in runs {
            let mut app = app(steps.iter().copied());
            for key in "[hh[lkj[[]hhjj]]]]kk[".chars() {
                keys(&mut app, &key.to_string());
                let history = &app.engine.history;
                assert_eq!(app.view.steps.shown(history).is_some(), !steps.is_empty());
            }
            app.view.steps.zoom_at(&app.engine.history, true, f64::NAN);
        }
    }
}
