//! What the engine publishes. Screens copy from here what changed since they last looked, so the engine never
//! waits for one and a slow screen skips what it missed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::protocol::wormhole::{self, Film};
use crate::protocol::{
    Curvature, History, LayerNorm, LogLine, Outcome, Point, Prediction, RunInfo, Slice, Status,
    TensorHistory, TensorNorms, Timeline, Update, probe,
};

/// Steps and log lines kept for screens that are a little behind; one further behind gets the thinned history.
const RECENT: usize = 1024;
/// Norms of all parameters, and slices, which are larger.
const RECENT_NORMS: usize = 32;
const RECENT_SLICES: usize = 8;

/// The newest state of a run, shared by the engine, which writes, and the server, which reads.
#[derive(Debug)]
pub struct Board {
    published: Mutex<Published>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Published {
    version: u64,
    run: Stamped<RunInfo>,
    status: Stamped<Status>,
    layers: Stamped<Vec<LayerNorm>>,
    tensor_names: Stamped<Vec<String>>,
    slice: Stamped<Slice>,
    prediction: Stamped<Prediction>,
    wormhole: Stamped<wormhole::Scene>,
    frozen: Stamped<Slice>,
    probe: Stamped<probe::Scene>,
    curvature: Stamped<Curvature>,
    history: History,
    points: Recent<Point, RECENT>,
    tensor_history: TensorHistory,
    tensors: Recent<TensorNorms, RECENT_NORMS>,
    timeline: Timeline,
    finished: Recent<Slice, RECENT_SLICES>,
    film: Film,
    frames: Recent<Slice, RECENT_SLICES>,
    log: Recent<LogLine, RECENT>,
    closed: Option<Outcome>,
}

/// A value and the version of the board at which it was set.
#[derive(Debug)]
struct Stamped<T> {
    value: Option<T>,
    version: u64,
}

impl<T> Default for Stamped<T> {
    fn default() -> Self {
        Self { value: None, version: 0 }
    }
}

impl<T: Clone> Stamped<T> {
    fn since(&self, version: u64) -> Option<T> {
        self.value.as_ref().filter(|_| self.version > version).cloned()
    }
}

/// The tail of a sequence.
#[derive(Debug)]
struct Recent<T, const CAPACITY: usize> {
    items: VecDeque<T>,
    /// Items ever pushed.
    pushed: u64,
}

impl<T, const CAPACITY: usize> Default for Recent<T, CAPACITY> {
    fn default() -> Self {
        Self { items: VecDeque::new(), pushed: 0 }
    }
}

impl<T: Clone, const CAPACITY: usize> Recent<T, CAPACITY> {
    fn push(&mut self, item: T) {
        if self.items.len() == CAPACITY {
            self.items.pop_front();
        }
        self.items.push_back(item);
        self.pushed += 1;
    }

    /// Forgets all items: whoever has seen some is behind.
    fn forget(&mut self) {
        self.items.clear();
        self.pushed += 1;
    }

    /// What followed the first `seen` items, or `all` that is kept where some of it is gone.
    fn after<A: Clone>(&self, seen: u64, all: &A) -> (Vec<T>, Option<A>) {
        if self.pushed - seen > self.items.len() as u64 {
            return (Vec::new(), Some(all.clone()));
        }
        (self.since(seen), None)
    }

    /// What followed the first `seen` items, as far as it is still here.
    fn since(&self, seen: u64) -> Vec<T> {
        let kept = self.items.len().min((self.pushed - seen) as usize);
        self.items.range(self.items.len() - kept..).cloned().collect()
    }
}

/// How much of the board a screen has seen.
#[derive(Debug, Default, Clone, Copy)]
pub struct Cursor {
    version: u64,
    points: u64,
    tensors: u64,
    finished: u64,
    frames: u64,
    log: u64,
}

impl Default for Board {
    fn default() -> Self {
        Self { published: Mutex::default(), version: watch::Sender::new(0) }
    }
}

impl Board {
    /// Notices of change: the version, and nothing else.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Publishes what the run is.
    pub fn set_run(&self, run: RunInfo) {
        self.change(|board, version| board.run = Stamped { value: Some(run), version });
    }

    /// Publishes where the run stands.
    pub fn set_status(&self, status: Status) {
        self.change(|board, version| board.status = Stamped { value: Some(status), version });
    }

    /// Publishes a step.
    pub fn push_point(&self, point: Point) {
        self.change(|board, _| {
            board.history.push(point);
            board.points.push(point);
        });
    }

    /// Publishes the names of the parameters.
    pub fn set_tensor_names(&self, names: Vec<String>) {
        self.change(|board, version| board.tensor_names = Stamped { value: Some(names), version });
    }

    /// Publishes the norms of all parameters at a step.
    pub fn push_tensors(&self, norms: TensorNorms) {
        self.change(|board, _| {
            board.tensor_history.push(norms.clone());
            board.tensors.push(norms);
        });
    }

    /// Takes back the steps behind this one. Returns the losses of those that are left.
    pub fn rewind(&self, step: u64) -> Vec<f64> {
        let mut losses = Vec::new();
        self.change(|board, _| {
            board.history.rewind(step);
            board.points.forget();
            board.tensor_history.rewind(step);
            board.tensors.forget();
            board.timeline.rewind(step);
            board.finished.forget();
            losses = board.history.points().iter().map(|point| point.loss).collect();
        });
        losses
    }

    /// Publishes the gradient norms of the newest step's layers.
    pub fn set_layers(&self, layers: Vec<LayerNorm>) {
        self.change(|board, version| board.layers = Stamped { value: Some(layers), version });
    }

    /// Publishes a slice.
    pub fn set_slice(&self, slice: Slice) {
        self.change(|board, version| {
            if slice.finest {
                board.timeline.push(slice.clone());
                board.finished.push(slice.clone());
            }
            board.slice = Stamped { value: Some(slice), version };
        });
    }

    /// Publishes a finished slice of the past.
    pub fn recall(&self, slice: Slice) {
        self.change(|board, _| {
            board.timeline.push(slice.clone());
            board.finished.push(slice);
        });
    }

    /// The number of the newest plane of the slices so far; 0 where there are none.
    pub fn newest_generation(&self) -> u64 {
        self.lock().timeline.items().iter().map(|slice| slice.generation).max().unwrap_or(0)
    }

    /// Publishes a prediction.
    pub fn set_prediction(&self, prediction: Prediction) {
        self.change(|board, version| board.prediction = Stamped { value: Some(prediction), version });
    }

    /// Publishes what is told of the wormhole.
    pub fn set_wormhole(&self, scene: wormhole::Scene) {
        self.change(|board, version| board.wormhole = Stamped { value: Some(scene), version });
    }

    /// Publishes the plane of the wormhole that stays.
    pub fn set_frozen(&self, plane: Slice) {
        self.change(|board, version| board.frozen = Stamped { value: Some(plane), version });
    }

    /// Publishes a picture of the plane that travels, in place of all that are not of an earlier step.
    pub fn push_frame(&self, frame: Slice) {
        self.change(|board, _| {
            board.film.push(frame.clone());
            board.frames.push(frame);
        });
    }

    /// Takes back the pictures of the plane that travels behind this step; all of them without one.
    pub fn rewind_film(&self, step: Option<u64>) {
        self.change(|board, _| {
            match step {
                Some(step) => board.film.rewind(step),
                None => board.film = Film::default(),
            }
            board.frames.forget();
        });
    }

    /// Publishes what is told of the probe.
    pub fn set_probe(&self, scene: probe::Scene) {
        self.change(|board, version| board.probe = Stamped { value: Some(scene), version });
    }

    /// Publishes how the loss curves.
    pub fn set_curvature(&self, curvature: Curvature) {
        self.change(|board, version| board.curvature = Stamped { value: Some(curvature), version });
    }

    /// Publishes a log line.
    pub fn push_log(&self, line: LogLine) {
        self.change(|board, _| board.log.push(line));
    }

    /// Publishes the end.
    pub fn close(&self, outcome: Outcome) {
        self.change(|board, _| board.closed = Some(outcome));
    }

    /// Whether the end is published.
    pub fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// What changed since `cursor`, which moves on, and how the run ended if it did.
    pub fn since(&self, cursor: &mut Cursor) -> (Update, Option<Outcome>) {
        let board = self.lock();
        let (points, history) = board.points.after(cursor.points, &board.history);
        let (tensors, tensor_history) = board.tensors.after(cursor.tensors, &board.tensor_history);
        let (finished, timeline) = board.finished.after(cursor.finished, &board.timeline);
        let (frames, film) = board.frames.after(cursor.frames, &board.film);
        let seen = cursor.version;
        let update = Update {
            run: board.run.since(seen),
            status: board.status.since(seen),
            history,
            points,
            layers: board.layers.since(seen),
            tensor_names: board.tensor_names.since(seen),
            tensor_history,
            tensors,
            slice: board.slice.since(seen),
            timeline,
            finished,
            prediction: board.prediction.since(seen),
            wormhole: board.wormhole.since(seen),
            frozen: board.frozen.since(seen),
            film,
            frames,
            probe: board.probe.since(seen),
            curvature: board.curvature.since(seen),
            log: board.log.since(cursor.log),
        };
        *cursor = Cursor {
            version: board.version,
            points: board.points.pushed,
            tensors: board.tensors.pushed,
            finished: board.finished.pushed,
            frames: board.frames.pushed,
            log: board.log.pushed,
        };
        (update, board.closed.clone())
    }

    fn change(&self, write: impl FnOnce(&mut Published, u64)) {
        let mut board = self.lock();
        board.version += 1;
        let version = board.version;
        write(&mut board, version);
        drop(board);
        self.version.send_replace(version);
    }

    /// Every write leaves the board whole, so a writer that panicked left nothing half-done.
    fn lock(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(step: u64) -> Point {
        Point { step, loss: 1.0, held_out: None, grad_norm: 1.0, learning_rate: 0.1, spike: false }
    }

    #[test]
    fn a_screen_gets_each_step_once() {
        let (board, mut cursor) = (Board::default(), Cursor::default());
        board.push_point(point(1));
        board.push_point(point(2));
        let steps = |update: &Update| update.points.iter().map(|p| p.step).collect::<Vec<_>>();
        assert_eq!(steps(&board.since(&mut cursor).0), [1, 2]);
        board.push_point(point(3));
        let (update, _) = board.since(&mut cursor);
        assert_eq!((steps(&update), update.history), (vec![3], None));
        assert_eq!(board.since(&mut cursor).0, Update::default());
    }

    #[test]
    fn a_screen_that_is_far_behind_gets_the_history_instead() {
        let (board, mut cursor) = (Board::default(), Cursor::default());
        (1..=3 * RECENT as u64).for_each(|step| board.push_point(point(step)));
        let (update, _) = board.since(&mut cursor);
        assert!(update.points.is_empty());
        assert_eq!(update.history.unwrap().points().len(), 3 * RECENT);
    }

    #[test]
    fn a_screen_forgets_the_steps_that_are_taken_back() {
        let (board, mut cursor) = (Board::default(), Cursor::default());
        (1..=9).for_each(|step| board.push_point(point(step)));
        board.since(&mut cursor);
        board.rewind(4);
        board.push_point(point(5));
        let (update, _) = board.since(&mut cursor);
        let steps: Vec<u64> = update.history.unwrap().points().iter().map(|p| p.step).collect();
        assert_eq!((steps, update.points), (vec![1, 2, 3, 4, 5], vec![]));
    }

    #[test]
    fn a_history_of_any_length_stays_bounded_and_keeps_its_ends_and_held_out_losses() {
        let mut history = History::default();
        for step in 1..=100_000_u64 {
            let held_out = step.is_multiple_of(1000).then_some(2.0);
            history.push(Point { held_out, ..point(step) });
            assert!(history.points().len() <= History::CAPACITY);
        }
        assert_eq!(history.points().last().unwrap().step, 100_000);
        assert_eq!(history.points().iter().filter(|p| p.held_out.is_some()).count(), 100);
        assert!(history.points().windows(2).all(|w| w[0].step < w[1].step));
        assert!(history.points().len() > History::CAPACITY / 3);
    }

    #[test]
    fn the_end_is_seen_by_whoever_looks_later() {
        let board = Board::default();
        assert!(!board.is_closed());
        board.close(Outcome::Stopped { step: 7, checkpoint: None });
        let (_, outcome) = board.since(&mut Cursor::default());
        assert_eq!(outcome, Some(Outcome::Stopped { step: 7, checkpoint: None }));
        assert!(board.is_closed());
    }
}
