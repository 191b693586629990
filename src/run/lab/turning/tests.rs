use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Tensor};

use super::*;
use crate::landscape::probe::{POINTS, SIDE};
use crate::model::checkpoint::Checkpoint;
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::predict::{Prompt, Reading};
use crate::run::board::Cursor;
use crate::train::trainer::{self, Recipe, Trainer};

const FROZEN: &str = "model.norm.weight";

/// The small model of the fixtures, and a text.
fn ground() -> Ground {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-hf");
    let Checkpoint { config, params, tokenizer, .. } =
        Checkpoint::open(&folder, &Device::Cpu, &mut |_| {}).unwrap();
    let text = "The capital of France is Paris";
    Ground {
        llama: Llama::new(&config, DType::F32, &Device::Cpu).unwrap(),
        weights: params,
        prompt: Prompt::new(text, &tokenizer, config.max_position_embeddings, config.vocab_size).unwrap(),
        tokenizer,
        device: Device::Cpu,
        threads: 2,
        step: 7,
        frozen: vec![FROZEN.to_owned()],
    }
}

/// Parameters that are being turned, and what a screen is told of them.
struct Probe {
    board: Board,
    turning: Turning,
}

impl Probe {
    fn open() -> Self {
        let board = Board::default();
        let turning = Turning::open(ground(), &board).unwrap();
        Self { board, turning }
    }

    fn scene(&self) -> Scene {
        self.board.since(&mut Cursor::default()).0.probe.unwrap()
    }

    fn ask(&mut self, ask: Ask) -> Scene {
        self.turning.obey(ask, &self.board);
        self.scene()
    }

    /// Works until nothing is left to do.
    fn finish(&mut self) -> Scene {
        while self.turning.is_busy() {
            self.turning.work(&self.board, &|| true);
        }
        self.scene()
    }

    fn pair(&mut self) -> Scene {
        self.ask(Ask::Choose { first: 0, second: Some(1) });
        self.finish()
    }
}

fn near(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within, "{a} for {b}");
}

/// The survey of entries of the list, laid anew.
fn survey(ground: &Ground, first: &Entry, second: Option<&Entry>) -> Survey {
    let at = |entry: &Entry| (entry.name.clone(), entry.flat);
    let (first, second) = (at(first), second.map(at));
    let second = second.as_ref().map(|(name, flat)| (name.as_str(), *flat));
    let plane = Plane::entries(&ground.weights, (&first.0, first.1), second).unwrap();
    let (llama, weights) = (ground.llama.clone(), ground.weights.clone());
    let (objective, method) = (Objective::Mean, Some(Method::Materialise));
    Survey::new(llama, weights, plane, &ground.batch(), objective, method, &Device::Cpu).unwrap()
}

#[test]
fn the_list_is_of_the_largest_derivatives_which_are_what_small_moves_show() {
    let probe = Probe::open();
    let scene = probe.scene();
    assert_eq!((&scene.phase, scene.of_step, &scene.chosen), (&Phase::Sweeping, 7, &vec![0]));
    assert_eq!((scene.listed.len(), scene.text.as_str()), (LISTED, "The capital of France is Paris"));
    assert!(scene.listed.windows(2).all(|pair| pair[0].grad.abs() >= pair[1].grad.abs()));
    assert!(scene.grad_norm > scene.listed[0].grad.abs());
    assert!(scene.listed.iter().all(|parameter| parameter.trained == (parameter.name != FROZEN)));
    for entry in &probe.turning.entries {
        let survey = survey(&probe.turning.ground, entry, None);
        // So short that the loss hardly bends, and long enough for it to move by more than it is rounded.
        let length = 5e-3 / entry.grad.abs();
        let slope = (survey.loss(length, 0.0).unwrap() - survey.loss(-length, 0.0).unwrap()) / (2.0 * length);
        near(slope, entry.grad, 0.01 * entry.grad.abs());
    }
}

#[test]
fn a_sweep_has_the_weights_as_they_are_in_its_middle_and_what_turning_shows_beside_it() {
    let mut probe = Probe::open();
    let scene = probe.finish();
    let sweep = scene.sweep.unwrap();
    assert_eq!((&scene.phase, sweep.first.len(), &sweep.second), (&Phase::Ready, POINTS, &vec![0.0]));
    assert_eq!((sweep.first[0], sweep.first[50], sweep.first[75]), (-RANGE, 0.0, RANGE / 2.0));
    near(f64::from(sweep.loss[50]), scene.loss, 1e-5);

    probe.ask(Ask::Turn([1.0, 0.0]));
    let Turned { moves, prediction } = probe.finish().turned.unwrap();
    assert_eq!(moves, [1.0, 0.0]);
    near(prediction.loss, f64::from(sweep.loss[75]), 1e-4);
    near(prediction.probability, f64::from(sweep.p_target[75]), 1e-4);
    near(prediction.previous_probability.unwrap(), f64::from(sweep.p_target[50]), 1e-5);

    probe.ask(Ask::Choose { first: 2, second: Some(0) });
    assert_eq!((probe.scene().sweep, probe.scene().turned), (None, None), "they were of another choice");
    let sweep = probe.finish().sweep.unwrap();
    assert_eq!((sweep.first.len(), sweep.second.len(), sweep.loss.len()), (SIDE, SIDE, SIDE * SIDE));
    probe.ask(Ask::Turn([sweep.first[20], sweep.second[3]]));
    near(probe.finish().turned.unwrap().prediction.loss, f64::from(sweep.loss[3 * SIDE + 20]), 1e-4);

    probe.ask(Ask::Zoom(1e-9));
    assert_eq!(probe.finish().sweep.unwrap().first[0], -RANGES.start(), "it zooms in so far and no farther");
}

#[test]
fn turning_goes_before_a_sweep_and_only_the_newest_place_is_read() {
    let mut probe = Probe::open();
    probe.ask(Ask::Turn([0.5, 0.0]));
    probe.ask(Ask::Turn([-0.5, 0.0]));
    probe.turning.work(&probe.board, &|| true);
    let scene = probe.scene();
    assert_eq!((scene.turned.unwrap().moves, scene.sweep, scene.phase), ([-0.5, 0.0], None, Phase::Sweeping));
    assert!(probe.finish().sweep.is_some());
}

#[test]
fn a_sweep_that_is_left_keeps_what_is_known_and_is_completed_later() {
    // One thread takes the pieces of a sweep in order.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let asked = AtomicUsize::new(0);
    // The first piece reads the values as they are.
    let opened = || {
        let mut probe = Probe::open();
        probe.turning.work(&probe.board, &|| true);
        probe
    };
    let mut probe = opened();
    pool.install(|| probe.turning.work(&probe.board, &|| asked.fetch_add(1, Ordering::Relaxed) < usize::MAX));
    let whole = probe.scene().sweep.unwrap();

    // It takes two pieces at least.
    let most = asked.into_inner() / 2 + 1;
    let (asked, mut probe) = (AtomicUsize::new(0), opened());
    pool.install(|| probe.turning.work(&probe.board, &|| asked.fetch_add(1, Ordering::Relaxed) < most));
    let known = probe.turning.sweep.as_ref().unwrap().known();
    assert!((1..POINTS).contains(&known) && probe.scene().sweep.is_none(), "{known}");
    let sweep = probe.finish().sweep.unwrap();
    for (a, b) in sweep.loss.iter().zip(whole.loss) {
        near(f64::from(*a), f64::from(b), 1e-5);
    }
}

#[test]
fn each_visit_of_a_walk_is_the_best_of_its_scan_and_none_goes_up() {
    let mut probe = Probe::open();
    let pair = probe.pair();
    assert_eq!(probe.ask(Ask::Walk(3)).phase, Phase::Walking);
    // Somebody asks for something else meanwhile.
    probe.turning.work(&probe.board, &|| true);
    probe.turning.work(&probe.board, &|| false);
    assert_eq!(probe.scene().walk.unwrap().visits.len(), 2);
    let walk = probe.finish().walk.unwrap();
    assert_eq!((walk.visits.len(), walk.visits[0].moves), (7, [0.0, 0.0]));
    near(walk.visits[0].loss, pair.loss, 0.0);
    let entries = &probe.turning.entries;
    let survey = survey(&probe.turning.ground, &entries[0], Some(&entries[1]));
    for (index, visits) in walk.visits.windows(2).enumerate() {
        let (here, there) = (visits[0], visits[1]);
        assert!(there.loss <= here.loss + 1e-5, "{here:?} {there:?}");
        let points = evenly(-RANGE, RANGE, POINTS).into_iter().map(|place| {
            let mut moves = here.moves;
            moves[index % 2] = place;
            moves
        });
        let points: Vec<[f64; 2]> = points.collect();
        let losses = survey.losses(&points, &|| true).unwrap().unwrap();
        let least = losses.iter().map(|losses| losses.loss).fold(f64::INFINITY, f64::min);
        near(there.loss, least, 1e-4);
        let place = points.iter().position(|moves| *moves == there.moves).unwrap();
        near(losses[place].loss, least, 1e-4);
        near((-losses[place].last).exp(), there.p_target, 1e-4);
    }
}

#[test]
fn the_descent_beside_a_walk_is_what_the_trainer_does() {
    let mut probe = Probe::open();
    probe.pair();
    probe.ask(Ask::Walk(4));
    let walk = probe.finish().walk.unwrap();
    assert_eq!((walk.descent.len(), walk.optimizer.as_str()), (5, "adam, lr 1e-3"));
    assert_eq!(walk.descent[0], walk.visits[0]);
    let Turning { ground, entries, .. } = &probe.turning;
    let recipe = Recipe::plain(OptimizerKind::Adam, 1e-3);
    let objective = trainer::Objective::Text(ground.batch());
    let (llama, weights) = (ground.llama.clone(), ground.weights.clone());
    let mut trainer = Trainer::new(llama, weights, |_| true, objective, recipe, &Device::Cpu, 2).unwrap();
    for visit in &walk.descent[1..] {
        trainer.step().unwrap();
        let weights = trainer.params();
        let reading = Reading::of(&ground.llama, &weights, ground.prompt.ids(), &Device::Cpu).unwrap();
        near(visit.loss, reading.loss(), 1e-6);
        near(visit.p_target, reading.target[ground.prompt.target() as usize], 1e-6);
        for (moved, entry) in visit.moves.iter().zip(entries) {
            let now = probe::number(weights.get(&entry.name).unwrap(), entry.flat).unwrap();
            near(*moved, now - entry.value, 1e-7);
            assert!(*moved != 0.0);
        }
    }
    assert!(walk.descent[4].loss < walk.descent[0].loss);
    let (untouched, first) = (self::ground().weights, &entries[0]);
    let number = |weights: &Params| probe::number(weights.get(&first.name).unwrap(), first.flat).unwrap();
    assert_eq!(number(&ground.weights), number(&untouched), "the weights that are probed stay");
}

#[test]
fn a_parameter_that_is_named_comes_first_and_only_once() {
    let mut probe = Probe::open();
    let scene = probe.ask(Ask::Name("model.norm.weight[3]".to_owned()));
    let place = scene.listed.iter().filter(|p| p.name == FROZEN && p.index == [3]).count();
    let first = &scene.listed[0];
    assert_eq!((place, &scene.chosen, &scene.refusal), (1, &vec![0], &None));
    assert_eq!((first.name.as_str(), &first.index[..], first.trained), (FROZEN, &[3][..], false));
    let entry = probe.turning.entries[0].clone();
    let survey = survey(&probe.turning.ground, &entry, None);
    near(
        (survey.loss(1e-2, 0.0).unwrap() - survey.loss(-1e-2, 0.0).unwrap()) / 2e-2,
        first.grad,
        0.02 * first.grad.abs().max(1e-2),
    );
    let (count, second) = (scene.listed.len(), scene.listed[1].clone());
    let index: Vec<String> = second.index.iter().map(ToString::to_string).collect();
    let scene = probe.ask(Ask::Name(format!("{}[{}]", second.name, index.join(","))));
    assert_eq!((scene.listed.len(), &scene.listed[0], &scene.listed[1]), (count, &second, first));
}

#[test]
fn what_can_not_be_is_refused_in_one_line_and_changes_nothing() {
    let mut probe = Probe::open();
    let before = probe.finish();
    for (ask, words) in [
        (Ask::Choose { first: 3, second: Some(3) }, "a pair needs two"),
        (Ask::Choose { first: 24, second: None }, "the list has 24 parameters"),
        (Ask::Choose { first: 0, second: Some(usize::MAX) }, "the list has 24 parameters"),
        (Ask::Name("model.norm.wieght[3]".to_owned()), "the nearest is model.norm.weight"),
        (Ask::Name("model.norm.weight[32]".to_owned()), "the tensor is [32], counted from 0"),
        (Ask::Name("model.norm.weight".to_owned()), "write it as"),
        (Ask::Turn([2.5, 0.0]), "the sweep goes 2 to either side"),
        (Ask::Turn([f64::NAN, 0.0]), "the sweep goes 2 to either side"),
        (Ask::Turn([0.0, 1.0]), "choose a second one"),
        (Ask::Zoom(0.0), "a number above 0"),
        (Ask::Zoom(f64::NAN), "a number above 0"),
        (Ask::Walk(3), "choose a second one"),
        (Ask::Walk(0), "a walk takes 1 to 64"),
        (Ask::Walk(65), "a walk takes 1 to 64"),
    ] {
        let said = format!("{ask:?}");
        let scene = probe.ask(ask);
        let refusal = scene.refusal.clone().unwrap_or_default();
        assert!(refusal.contains(words) && !refusal.contains('\n'), "{said}: {refusal}");
        assert!(!probe.turning.is_busy());
        assert_eq!(Scene { refusal: None, ..scene }, before, "{said}");
    }
    assert_eq!(probe.ask(Ask::Turn([0.0, 0.0])).refusal, None);
    let Probe { board, turning } = probe;
    turning.end(&board);
    assert_eq!(board.since(&mut Cursor::default()).0.probe.unwrap().phase, Phase::Ended);
}

#[test]
fn a_model_whose_loss_is_not_a_number_is_shown_as_it_is() {
    let mut ground = ground();
    let gains = Tensor::from_vec(vec![f32::NAN; 32], 32, &Device::Cpu).unwrap();
    ground.weights.insert(FROZEN, gains);
    let board = Board::default();
    let turning = Turning::open(ground, &board).unwrap();
    let mut probe = Probe { board, turning };
    let scene = probe.pair();
    assert!(scene.loss.is_nan() && scene.sweep.unwrap().loss.iter().all(|loss| loss.is_nan()));
    probe.ask(Ask::Walk(1));
    let scene = probe.finish();
    let walk = scene.walk.unwrap();
    assert_eq!((walk.visits.len(), walk.visits[2].moves, walk.descent.len()), (3, [0.0, 0.0], 1));
    assert!(scene.refusal.unwrap().contains("not finite") && scene.phase == Phase::Ready);
}
