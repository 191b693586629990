#![expect(clippy::float_cmp, reason = "what is the same is the same to the bit")]

use std::path::Path;

use candle_core::{DType, Device};

use super::*;
use crate::landscape::plane::Normalization;
use crate::landscape::selection::Selection;
use crate::model::checkpoint::Checkpoint;
use crate::model::llama::Llama;
use crate::protocol::probe;
use crate::protocol::wormhole::Film;
use crate::run::board::Cursor;
use crate::run::desk::Tray;
use crate::run::lab::{Bench, Task};

const TEXT: &str = "The capital of France is Paris";
/// A point of the coarse grid.
const PLACE: [f64; 2] = [-0.75, 0.25];
const RATE: f64 = 3e-3;
const SETTING: Setting =
    Setting { film: true, seeds: [11, 111], learning_rate: Some(RATE), range: 1.0, finest: 17, every: 1 };

fn ground() -> Box<Ground> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-hf");
    let model = Checkpoint::open(&folder, &Device::Cpu, &mut |_| {}).unwrap();
    Box::new(Ground {
        llama: Llama::new(&model.config, DType::F32, &Device::Cpu).unwrap(),
        prompt: Prompt::of(&model, TEXT, false).unwrap(),
        weights: model.params,
        tokenizer: model.tokenizer,
        device: Device::Cpu,
        threads: 2,
        step: 300,
        frozen: Vec::new(),
    })
}

/// The bench, and a screen that watches it.
struct Desk<'a> {
    bench: Bench<'a>,
    cursor: Cursor,
    scene: Option<Scene>,
    frozen: Option<Slice>,
    film: Film,
}

impl<'a> Desk<'a> {
    fn new(board: &'a Board, tasks: &'a Tray<Task>) -> Self {
        let bench = Bench { board, tasks, laid: 0, hole: None, turning: None };
        Self { bench, cursor: Cursor::default(), scene: None, frozen: None, film: Film::default() }
    }

    /// A plane to choose from, drawn to its finest level.
    fn laid(board: &'a Board, tasks: &'a Tray<Task>) -> Self {
        let mut desk = Self::new(board, tasks);
        desk.lay(SETTING);
        desk.rest();
        desk
    }

    fn lay(&mut self, setting: Setting) {
        self.bench.obey(Task::Lay(setting, ground()));
        self.look();
    }

    fn ask(&mut self, ask: Ask) {
        self.bench.obey(Task::Wormhole(ask));
        self.look();
    }

    fn work(&mut self) {
        self.bench.work();
        self.look();
    }

    /// Until nothing is left to do.
    fn rest(&mut self) {
        while self.bench.is_busy() {
            self.work();
        }
    }

    fn look(&mut self) {
        let (update, _) = self.bench.board.since(&mut self.cursor);
        self.scene = update.wormhole.or(self.scene.take());
        self.frozen = update.frozen.or(self.frozen.take());
        self.film = update.film.unwrap_or_else(|| std::mem::take(&mut self.film));
        update.frames.into_iter().for_each(|frame| self.film.push(frame));
    }

    fn scene(&self) -> &Scene {
        self.scene.as_ref().unwrap()
    }

    fn moments(&self) -> &[Moment] {
        self.scene().moments.items()
    }

    /// Step and points a side of each picture of the film.
    fn pictures(&self) -> Vec<(u64, usize)> {
        self.film.items().iter().map(|slice| (slice.step, slice.alphas.len())).collect()
    }
}

/// The same steps without anything beside them.
fn alone(steps: u64) -> Vec<Moment> {
    let ground = ground();
    let names = Selection::first_half(2).names(&ground.weights).unwrap();
    let plane = Plane::random(&ground.weights, &names, [11, 111], Normalization::Layer).unwrap();
    let mut traveller = Traveller::new(&ground, &plane, RATE, PLACE).unwrap();
    let steps = (0..steps).map(|_| traveller.wormhole.step().unwrap());
    [traveller.moment].into_iter().chain(steps).collect()
}

#[test]
fn steps_beside_a_run_are_those_of_the_experiment_alone_and_rest_ends_in_a_fine_picture() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::new(&board, &tasks);
    desk.lay(SETTING);
    assert_eq!((&desk.scene().phase, desk.scene().drawing), (&Phase::Laying, true));
    desk.work();
    assert_eq!((&desk.scene().phase, desk.frozen.as_ref().unwrap().alphas.len()), (&Phase::Choosing, 9));
    desk.ask(Ask::Jump(PLACE));
    assert_eq!((&desk.scene().phase, desk.scene().offset), (&Phase::Paused, Some(PLACE)));
    desk.rest();
    assert_eq!(desk.pictures(), [(0, 17)]);
    let start = desk.scene().prediction.clone().unwrap();
    assert_eq!((start.step, start.previous_probability), (0, Some(start.probability)));
    let frozen = desk.frozen.clone().unwrap();
    assert_eq!((frozen.alphas.len(), frozen.finest, frozen.step, frozen.generation), (17, true, 300, 1));

    desk.ask(Ask::Step(3));
    assert_eq!(desk.scene().phase, Phase::Running);
    desk.rest();
    assert_eq!(desk.moments(), alone(3));
    assert_eq!((&desk.scene().phase, desk.scene().drawing), (&Phase::Paused, false));
    let said = desk.scene().prediction.clone().unwrap();
    assert_eq!((said.step, said.previous_probability), (3, Some(start.probability)));
    assert_eq!(desk.pictures(), [(0, 17), (1, 9), (2, 9), (3, 17)]);
    for (frame, moment) in desk.film.items().iter().zip(desk.moments()) {
        assert_eq!((frame.center, frame.generation), (moment.loss, 1));
        assert_eq!(frame.alphas[0], frozen.alphas[0]);
    }
    assert!(desk.moments()[3].loss < desk.moments()[0].loss);
    assert_eq!(desk.scene().learning_rate, RATE);

    desk.ask(Ask::End);
    assert_eq!((&desk.scene().phase, desk.scene().moments.items().len()), (&Phase::Ended, 4));
}

#[test]
fn the_start_lies_on_the_plane_that_stays_and_the_first_picture_that_travels_is_the_same() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::laid(&board, &tasks);
    desk.ask(Ask::Jump(PLACE));
    desk.rest();
    let (frozen, frame, start) = (desk.frozen.as_ref().unwrap(), &desk.film.items()[0], desk.moments()[0]);
    assert_eq!((&frozen.alphas, &frozen.betas), (&frame.alphas, &frame.betas));
    let at = |slice: &Slice, place: [f64; 2]| {
        let find = |along: &[f64], x| along.iter().position(|y| *y == x).unwrap();
        slice.loss[find(&slice.betas, place[1]) * slice.alphas.len() + find(&slice.alphas, place[0])]
    };
    assert!((f64::from(at(frozen, PLACE)) - start.loss).abs() < 1e-5);
    assert!((f64::from(at(frame, PLACE)) - start.loss).abs() < 1e-5);
    assert_eq!(at(frozen, [0.0; 2]), frozen.center as f32);
    let apart = frozen.loss.iter().zip(&frame.loss).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 1e-4, "{apart}");
}

#[test]
fn a_step_that_is_taken_back_and_taken_again_is_the_same_to_the_bit() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::laid(&board, &tasks);
    desk.ask(Ask::Jump(PLACE));
    desk.ask(Ask::Step(3));
    desk.rest();
    let (before, said) = (desk.moments().to_vec(), desk.scene().prediction.clone());
    desk.ask(Ask::Back);
    assert_eq!((&desk.scene().phase, desk.moments()), (&Phase::Running, &before[..3]));
    desk.rest();
    assert_eq!((&desk.scene().phase, desk.moments()), (&Phase::Paused, &before[..3]));
    assert_eq!(desk.pictures().last(), Some(&(2, 17)));
    assert_eq!(desk.scene().prediction.as_ref().unwrap().step, 2);
    desk.ask(Ask::Step(1));
    desk.rest();
    assert_eq!((desk.moments(), &desk.scene().prediction), (&before[..], &said));

    (0..4).for_each(|_| desk.ask(Ask::Back));
    desk.rest();
    assert_eq!((desk.moments(), desk.pictures()), (&before[..1], vec![(0, 17)]));
}

#[test]
fn who_pauses_while_steps_are_taken_again_is_left_where_the_weights_are() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::laid(&board, &tasks);
    desk.ask(Ask::Jump(PLACE));
    desk.ask(Ask::Step(4));
    desk.rest();
    desk.ask(Ask::Back);
    desk.work();
    desk.ask(Ask::Pause);
    assert_eq!((&desk.scene().phase, desk.moments()), (&Phase::Paused, &alone(1)[..]));
    desk.rest();
    assert_eq!(desk.pictures(), [(0, 9), (1, 17)]);
    assert_eq!(desk.scene().prediction.as_ref().unwrap().step, 1);
}

#[test]
fn weights_that_wait_give_way_to_newer_ones_of_their_kind_with_what_was_asked_of_them() {
    let tasks = Tray::default();
    let lay = |range| Task::Lay(Setting { range, ..SETTING }, ground());
    for task in [
        lay(1.0),
        Task::Open(ground()),
        Task::Wormhole(Ask::Run),
        Task::Probe(probe::Ask::Zoom(0.5)),
        Task::Curvature(ground()),
        lay(2.0),
        Task::Wormhole(Ask::Step(3)),
        Task::Curvature(ground()),
    ] {
        tasks.put(task, Task::replaces);
    }
    let mut left = Vec::new();
    while !tasks.is_empty() {
        left.extend(tasks.take());
    }
    assert!(
        matches!(
            left[..],
            [
                Task::Open(_),
                Task::Probe(probe::Ask::Zoom(_)),
                Task::Lay(Setting { range: 2.0, .. }, _),
                Task::Wormhole(Ask::Step(3)),
                Task::Curvature(_),
            ]
        ),
        "{left:?}"
    );
}

#[test]
fn a_picture_is_left_for_what_waits_and_completed_later() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::new(&board, &tasks);
    desk.lay(SETTING);
    tasks.put(Task::Wormhole(Ask::Pause), Task::replaces);
    desk.work();
    assert_eq!((&desk.frozen, &desk.scene().phase), (&None, &Phase::Laying));
    assert!(desk.bench.is_busy());
    tasks.clear();
    desk.work();
    tasks.put(Task::Wormhole(Ask::Pause), Task::replaces);
    desk.work();
    assert_eq!(desk.frozen.as_ref().unwrap().alphas.len(), 9, "what was published stays");
    tasks.clear();
    desk.rest();
    let frozen = desk.frozen.as_ref().unwrap();
    assert!(frozen.finest && frozen.loss.iter().all(|loss| loss.is_finite()));
}

#[test]
fn a_run_draws_every_so_many_steps_and_pauses_where_it_is() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::new(&board, &tasks);
    desk.lay(Setting { every: 2, ..SETTING });
    desk.ask(Ask::Jump(PLACE));
    desk.ask(Ask::Run);
    while desk.moments().len() < 6 {
        desk.work();
    }
    desk.ask(Ask::Pause);
    desk.rest();
    assert_eq!(desk.pictures(), [(0, 9), (2, 9), (4, 9), (5, 17)]);
    assert!(desk.frozen.as_ref().unwrap().finest, "the plane that stays is completed meanwhile");
}

#[test]
fn another_plane_has_another_number_and_an_empty_film() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::laid(&board, &tasks);
    desk.ask(Ask::Jump(PLACE));
    desk.rest();
    desk.lay(Setting { seeds: [3, 4], learning_rate: None, ..SETTING });
    assert_eq!((desk.pictures(), desk.moments(), desk.scene().offset), (vec![], &[][..], None));
    assert_eq!(desk.scene().learning_rate, 1e-3, "a preset's");
    desk.rest();
    let frozen = desk.frozen.as_ref().unwrap();
    assert_eq!((frozen.generation, frozen.plane.seeds), (2, [3, 4]));
    assert_eq!(desk.scene().plane.as_ref(), Some(&frozen.plane));
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::laid(&board, &tasks);
    for ask in [Ask::Run, Ask::Step(1), Ask::Back, Ask::Pause] {
        desk.ask(ask);
        assert!(desk.scene().phase == Phase::Choosing && !desk.bench.is_busy());
    }
    desk.ask(Ask::Jump(PLACE));
    desk.rest();
    let version = *board.subscribe().borrow();
    desk.ask(Ask::Back);
    for place in [[f64::NAN, 0.0], [0.0, f64::INFINITY], [1.1, 0.0], [0.0, -1.1]] {
        desk.ask(Ask::Jump(place));
    }
    for setting in [
        Setting { range: f64::NAN, ..SETTING },
        Setting { range: f64::INFINITY, ..SETTING },
        Setting { range: 0.0, ..SETTING },
        Setting { range: 101.0, ..SETTING },
        Setting { finest: 10, ..SETTING },
        Setting { every: 0, ..SETTING },
        Setting { seeds: [5, 5], ..SETTING },
        Setting { learning_rate: Some(0.0), ..SETTING },
        Setting { learning_rate: Some(f64::NAN), ..SETTING },
        Setting { learning_rate: Some(f64::INFINITY), ..SETTING },
    ] {
        desk.lay(setting);
    }
    assert_eq!(*board.subscribe().borrow(), version, "nothing is published");
    desk.ask(Ask::Step(1));
    desk.rest();
    assert_eq!(desk.moments(), alone(1));
}

#[test]
fn a_step_that_fails_leaves_the_weights_before_it() {
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::new(&board, &tasks);
    // Far enough for a loss that is not finite.
    desk.lay(Setting { learning_rate: Some(1e30), ..SETTING });
    desk.ask(Ask::Jump(PLACE));
    desk.ask(Ask::Step(9));
    desk.rest();
    assert_eq!(desk.scene().phase, Phase::Paused);
    let last = desk.moments().last().unwrap();
    assert!(last.step < 9 && desk.pictures().last() == Some(&(last.step, 17)));
}

#[test]
fn what_can_not_be_laid_says_why() {
    assert!(laying::enough("it", 2_000_000_000, 1_000_000_000).unwrap_err().contains("2.00 GB, 1.00 GB"));
    let (board, tasks) = (Board::default(), Tray::default());
    let mut desk = Desk::new(&board, &tasks);
    let mut broken = ground();
    let name = "model.layers.0.mlp.up_proj.weight";
    let weight = (broken.weights.get(name).unwrap() * f64::NAN).unwrap();
    broken.weights.insert(name, weight);
    desk.bench.obey(Task::Lay(SETTING, broken));
    desk.look();
    assert!(matches!(&desk.scene().phase, Phase::Failed(reason) if reason.contains("not finite")));
    assert!(!desk.bench.is_busy() && !desk.scene().drawing);
}
