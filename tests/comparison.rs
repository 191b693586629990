//! The engine of a comparison, as a screen meets it: asks in, scenes out.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]
#![expect(clippy::float_cmp, reason = "what is the same is the same to the bit")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candle_core::{DType, Device, Tensor};
use llamascape::generate::{Generator, Sampling};
use llamascape::model::chat::ChatTemplate;
use llamascape::model::checkpoint::{self, Checkpoint, Place};
use llamascape::model::device::DeviceChoice;
use llamascape::model::gaussian;
use llamascape::model::llama::Llama;
use llamascape::model::params::Params;
use llamascape::predict::{Reading, divergences};
use llamascape::protocol::comparison::{Ask, Phase, PlaneChoice, Scene, Side, Sides, Template};
use llamascape::run::comparison::{Host, Settings};
use llamascape::run::source::Source;
use tempfile::TempDir;
use tokio::sync::watch;

const TEXT: &str = "The capital of France is Paris";
/// Long enough for a debug build on a busy machine; a test that works never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn tiny() -> Checkpoint {
    Checkpoint::open(&fixture("tiny-hf"), &Device::Cpu, &mut |_| {}).unwrap()
}

/// The same model with a little noise on every weight, and a chat template.
fn other(folder: &Path) -> (PathBuf, Checkpoint) {
    let mut model = tiny();
    let noisy = |(name, weight): (&str, &Tensor)| {
        let noise = gaussian::normal(5, name, weight.elem_count());
        let noise = Tensor::from_vec(noise, weight.shape(), &Device::Cpu).unwrap();
        (name.to_owned(), (weight + (noise * 0.02).unwrap()).unwrap())
    };
    model.params = model.params.iter().map(noisy).collect();
    model.chat = Some(ChatTemplate::new("<{{ messages[0].content }}> is ", [].into()).unwrap());
    let path = folder.join("other");
    checkpoint::save(&path, &model.config, &model.params, &model.tokenizer, model.chat.as_ref()).unwrap();
    (path, model)
}

fn settings(a: &Path, b: &Path) -> Settings {
    let source = |path: &Path| Source { place: Place::Path(path.to_owned()), name: None };
    Settings {
        models: Some([source(a), source(b)]),
        text: Some(TEXT.to_owned()),
        templates: [false; 2],
        device: DeviceChoice::Cpu,
        threads: 1,
        learning_rate: Some(1e-2),
        grid: 9,
        sampling: Sampling::GREEDY,
    }
}

/// A screen that only listens.
struct Screen {
    host: Host,
    scenes: watch::Receiver<Scene>,
}

impl Screen {
    fn open(settings: Settings) -> Self {
        let host = Host::start(settings).unwrap();
        Self { scenes: host.scenes(), host }
    }

    /// Waits for a scene as wanted.
    fn until(&mut self, what: &str, wanted: impl Fn(&Scene) -> bool) -> Scene {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let scene = runtime.block_on(async {
            tokio::time::timeout(PATIENCE, self.scenes.wait_for(|scene| wanted(scene))).await
        });
        assert!(scene.is_ok(), "waited for {what}; the engine shows {:#?}", self.host.scenes().borrow());
        scene.unwrap().unwrap().clone()
    }

    /// Waits until nothing is left to evaluate.
    fn settled(&mut self) -> Scene {
        self.until("all that is evaluated", settled)
    }

    /// Asks, waits until `done`, then until nothing is left to evaluate.
    fn ask(&mut self, ask: Ask, done: impl Fn(&Scene) -> bool) -> Scene {
        self.host.ask(ask);
        self.until("what was asked for", |scene| done(scene) && settled(scene))
    }
}

fn settled(scene: &Scene) -> bool {
    let through = scene.plane == PlaneChoice::Through;
    let side = |side: Side| {
        let view = &scene.sides[side as usize];
        let newest = view.slice.as_ref().is_some_and(|slice| slice.finest && slice.step == view.steps);
        let slice = newest || (through && side == Side::B);
        slice && !view.slicing && view.grad_norm.is_some() && view.loss.is_some()
    };
    let path = scene.path.is_some() || scene.between.no_path.is_some();
    scene.phase == Phase::Live && side(Side::A) && side(Side::B) && path
}

/// The numbers of a model as the library gives them.
fn reading(model: &Checkpoint, params: &Params) -> Reading {
    let llama = Llama::new(&model.config, DType::F32, &Device::Cpu).unwrap();
    Reading::of(&llama, params, &model.tokenizer.encode(TEXT).unwrap(), &Device::Cpu).unwrap()
}

fn near(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within, "{a} is not within {within} of {b}");
}

#[test]
fn both_models_are_shown_with_what_lies_between_them() {
    let folder = TempDir::new().unwrap();
    let (path, b) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    let scene = screen.settled();
    let a = tiny();
    let [of_a, of_b] = [reading(&a, &a.params), reading(&b, &b.params)];
    for (view, reading) in scene.sides.iter().zip([&of_a, &of_b]) {
        near(view.loss.unwrap(), reading.loss(), 1e-6);
        let slice = view.slice.as_ref().unwrap();
        assert_eq!((slice.alphas.len(), slice.betas.len(), slice.loss.len()), (9, 9, 81));
        near(f64::from(slice.loss[40]), reading.loss(), 1e-5);
        let prediction = view.prediction.as_ref().unwrap();
        near(prediction.entropy, llamascape::predict::entropy(&reading.target), 1e-9);
    }
    let [tokens_a, tokens_b] = [0, 1].map(|side| {
        let candidates = &scene.sides[side].prediction.as_ref().unwrap().candidates;
        candidates.iter().map(|candidate| candidate.token.id).collect::<Vec<_>>()
    });
    assert_eq!(tokens_a, tokens_b, "both have the same bars");
    let in_b = scene.sides[1].prediction.as_ref().unwrap();
    let first = &in_b.candidates[0];
    near(first.previous.unwrap(), of_a.target[first.token.id as usize], 1e-12);

    let kl = divergences(&of_a, &of_b).unwrap();
    assert_eq!(scene.between.places.len() + 1, kl.len());
    for ((place, kl), losses) in
        scene.between.places.iter().zip(&kl).zip(of_a.token_losses.iter().zip(&of_b.token_losses))
    {
        assert_eq!(place.kl, *kl);
        assert_eq!(place.losses, [*losses.0, *losses.1]);
    }
    let way = scene.path.unwrap();
    near(way.loss[0], of_a.loss(), 1e-5);
    near(way.loss[20], of_b.loss(), 1e-5);
    assert_eq!([Template::Absent, Template::Off], scene.sides.each_ref().map(|view| view.template));
}

#[test]
fn a_step_of_one_side_leaves_the_other_alone_and_can_be_taken_back() {
    let folder = TempDir::new().unwrap();
    let (path, _) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    let before = screen.settled();
    let after = screen.ask(Ask::Step(Sides::One(Side::A)), |scene| scene.sides[0].steps == 1);
    assert!(
        after.sides[0].loss < before.sides[0].loss,
        "{:?} {:?}",
        before.sides[0].loss,
        after.sides[0].loss
    );
    assert_ne!(after.sides[0].grad_norm, before.sides[0].grad_norm);
    assert_eq!(after.sides[1].loss, before.sides[1].loss);
    assert_eq!(after.sides[1].grad_norm, before.sides[1].grad_norm);
    assert_eq!((after.sides[0].slice.as_ref().unwrap().step, after.sides[1].steps), (1, 0));
    near(after.path.as_ref().unwrap().loss[0], after.sides[0].loss.unwrap(), 1e-5);

    let both = screen.ask(Ask::Step(Sides::Both), |scene| scene.sides[0].steps == 2);
    assert_eq!(both.sides[1].steps, 1);
    let note = both.note.unwrap().text;
    assert!(note.contains("A step 2") && note.contains("B step 1"), "{note}");
    let back = screen.ask(Ask::Back(Sides::Both), |scene| scene.sides.iter().all(|view| view.steps == 0));
    for (side, was) in back.sides.iter().zip(&before.sides) {
        assert_eq!((side.loss, side.grad_norm), (was.loss, was.grad_norm));
        assert_eq!(side.slice.as_ref().unwrap().loss, was.slice.as_ref().unwrap().loss);
    }
}

#[test]
fn the_plane_through_both_holds_both() {
    let folder = TempDir::new().unwrap();
    let (path, _) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    let apart = screen.settled();
    let losses = apart.sides.each_ref().map(|view| view.loss.unwrap());
    let scene = screen.ask(Ask::ShowPlane(PlaneChoice::Through), |scene| scene.plane == PlaneChoice::Through);
    let slice = scene.sides[0].slice.clone().unwrap();
    assert!(scene.sides[1].slice.is_none(), "it is one picture");
    assert_eq!((slice.alphas[2], slice.alphas[6], slice.betas[4]), (0.0, 1.0, 0.0));
    near(f64::from(slice.loss[4 * 9 + 2]), losses[0], 1e-5);
    near(f64::from(slice.loss[4 * 9 + 6]), losses[1], 1e-5);

    // Where B is, A says what B says.
    let there = screen.ask(Ask::LookAt(Some([1.0, 0.0])), |scene| scene.place.is_some());
    near(there.sides[0].prediction.as_ref().unwrap().loss, losses[1], 1e-5);
    near(there.sides[0].loss.unwrap(), losses[0], 0.0);
    assert!(there.between.kl.unwrap()[0].abs() < 1e-6, "{:?}", there.between.kl);
    let back = screen.ask(Ask::LookAt(None), |scene| scene.place.is_none());
    near(back.sides[0].prediction.as_ref().unwrap().loss, losses[0], 0.0);
}

#[test]
fn the_plane_through_both_follows_the_weights_wherever_they_were_before() {
    let folder = TempDir::new().unwrap();
    let (path, _) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    screen.settled();
    screen.ask(Ask::ShowPlane(PlaneChoice::Through), |scene| scene.plane == PlaneChoice::Through);
    screen.ask(Ask::Step(Sides::One(Side::A)), |scene| scene.sides[0].steps == 1);
    // The same number of steps, other weights.
    for ask in [Ask::Back(Sides::Both), Ask::ScaleLearningRate(3.0), Ask::Step(Sides::One(Side::A))] {
        screen.host.ask(ask);
    }
    let scene = screen.ask(Ask::LookAt(Some([1.0, 0.0])), |scene| {
        scene.learning_rate > 2e-2 && scene.sides[0].steps == 1 && scene.place.is_some()
    });
    let slice = scene.sides[0].slice.as_ref().unwrap();
    let of_b = scene.sides[1].loss.unwrap();
    near(f64::from(slice.loss[4 * 9 + 6]), of_b, 1e-5);
    near(scene.sides[0].prediction.as_ref().unwrap().loss, of_b, 1e-5);
}

#[test]
fn a_model_and_itself_share_all_but_a_plane_through_both() {
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &fixture("tiny-hf")));
    let scene = screen.settled();
    assert_eq!(scene.sides[0].slice.as_ref().unwrap().loss, scene.sides[1].slice.as_ref().unwrap().loss);
    assert_eq!((scene.between.kl, scene.between.overlap), (Some([0.0; 2]), Some(10)));
    screen.host.ask(Ask::ShowPlane(PlaneChoice::Through));
    let back = screen.until("a warning", |scene| scene.note.is_some() && settled(scene));
    assert_eq!(back.plane, PlaneChoice::Own);
    let note = back.note.unwrap();
    assert!(note.warning && note.text.contains("do not differ"), "{note:?}");
}

#[test]
fn another_plane_or_range_leaves_what_is_known_of_weights_and_text() {
    let folder = TempDir::new().unwrap();
    let (path, _) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    let first = screen.settled();
    let losses = |scene: &Scene| scene.sides[0].slice.as_ref().unwrap().loss.clone();
    let seeds = |scene: &Scene| scene.sides[0].slice.as_ref().map(|slice| slice.plane.seeds);
    let other = screen.ask(Ask::NewPlane, |scene| seeds(scene).is_some_and(|new| Some(new) != seeds(&first)));
    assert_ne!(losses(&other), losses(&first));
    let wide =
        |scene: &Scene| scene.sides.iter().all(|view| view.slice.as_ref().is_some_and(|s| s.alphas[8] > 1.4));
    let wider = screen.ask(Ask::Zoom(1.5), wide);
    let fine = |scene: &Scene| {
        scene.sides.iter().all(|view| view.slice.as_ref().is_some_and(|s| s.alphas.len() == 17))
    };
    let finer = screen.ask(Ask::Grid(17), fine);
    assert_eq!(losses(&finer)[2 * 17 + 4], losses(&wider)[9 + 2], "what was known is kept");
    for scene in [other, wider, finer] {
        assert!(Arc::ptr_eq(scene.path.as_ref().unwrap(), first.path.as_ref().unwrap()));
        assert_eq!(scene.sides[0].grad_norm, first.sides[0].grad_norm);
    }
}

#[test]
fn a_cursor_on_both_planes_reads_the_weights_that_are_there() {
    let folder = TempDir::new().unwrap();
    let (path, _) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    let scene = screen.settled();
    let place = scene.sides[0].slice.as_ref().map(|slice| [slice.alphas[7], slice.betas[1]]);
    let there = screen.ask(Ask::LookAt(place), |scene| scene.place == place);
    for (view, was) in there.sides.iter().zip(&scene.sides) {
        let slice = view.slice.as_ref().unwrap();
        near(view.prediction.as_ref().unwrap().loss, f64::from(slice.loss[9 + 7]), 1e-4);
        assert_eq!(view.loss, was.loss, "the weights are where they were");
    }
    // After a step of A its slice is another one, and the cursor reads that.
    screen.host.ask(Ask::Write(Sides::One(Side::A)));
    let stepped = screen.ask(Ask::Step(Sides::One(Side::A)), |scene| scene.sides[0].steps == 1);
    let slice = stepped.sides[0].slice.as_ref().unwrap();
    near(stepped.sides[0].prediction.as_ref().unwrap().loss, f64::from(slice.loss[9 + 7]), 1e-4);
    assert!(stepped.sides[0].sample.is_none() && stepped.place == place);
    assert_eq!(
        stepped.sides[1].prediction.as_ref().unwrap().loss,
        there.sides[1].prediction.as_ref().unwrap().loss
    );
    // Directions that A lends to B are as long in both.
    let shared = screen.ask(Ask::ShowPlane(PlaneChoice::Shared), |scene| scene.plane == PlaneChoice::Shared);
    let norms = shared.sides.each_ref().map(|view| view.slice.as_ref().unwrap().plane.norms);
    assert_eq!(norms[0], norms[1]);
    let own = scene.sides.each_ref().map(|view| view.slice.as_ref().unwrap().plane.norms);
    assert_ne!(own[0], own[1]);
}

#[test]
fn a_chat_template_is_one_sides_own_and_other_texts_are_not_compared() {
    let folder = TempDir::new().unwrap();
    let (path, _) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    screen.settled();
    let asked = |scene: &Scene| scene.sides[1].template == Template::On;
    let scene = screen.ask(Ask::ToggleTemplate(Sides::Both), asked);
    assert_eq!(scene.sides[0].template, Template::Absent);
    assert_eq!(scene.sides[1].rendered.as_deref(), Some("<The capital of France is> is Paris"));
    assert!(scene.between.caveat.is_some() && scene.between.no_path.is_some() && scene.between.kl.is_none());
    assert!(scene.between.overlap.is_some() && scene.between.places.is_empty() && scene.path.is_none());
    let plain = screen.ask(Ask::ToggleTemplate(Sides::One(Side::B)), |scene| !asked(scene));
    assert!(plain.sides[1].rendered.is_none() && plain.path.is_some());
}

#[test]
fn a_text_that_cannot_be_read_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let (path, _) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    let before = screen.settled();
    let long = "word ".repeat(500);
    screen.host.ask(Ask::SetPrompt(long));
    let scene = screen.until("a warning", |scene| scene.note.as_ref().is_some_and(|note| note.warning));
    assert!(scene.note.as_ref().unwrap().text.contains("context of"), "{:?}", scene.note);
    assert_eq!((&scene.prompt, scene.sides[0].loss), (&before.prompt, before.sides[0].loss));
    let other = screen.ask(Ask::SetPrompt("The capital of Italy".to_owned()), |scene| scene.prompt != TEXT);
    assert_ne!(other.sides[0].loss, before.sides[0].loss);
    let slice = other.sides[0].slice.as_ref().unwrap();
    near(f64::from(slice.loss[40]), other.sides[0].loss.unwrap(), 1e-5);
    assert!(other.sides.iter().all(|view| view.prediction.as_ref().unwrap().prompt == other.prompt));
}

#[test]
fn a_side_writes_what_its_model_writes() {
    let folder = TempDir::new().unwrap();
    let (path, b) = other(folder.path());
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &path));
    screen.settled();
    screen.host.ask(Ask::Write(Sides::One(Side::B)));
    let scene = screen
        .until("a whole text", |scene| scene.sides[1].sample.as_ref().is_some_and(|sample| !sample.writing));
    let ids = b.tokenizer.encode(TEXT).unwrap();
    let llama = Llama::new(&b.config, DType::F32, &Device::Cpu).unwrap();
    let written = Generator::new(&ids[..ids.len() - 1], 128, Sampling::GREEDY);
    let expected = written.finish(&llama, &b.params, &b.tokenizer).unwrap();
    assert_eq!(scene.sides[1].sample.as_ref().unwrap().text, expected);
    assert!(!expected.is_empty() && scene.sides[0].sample.is_none());
    screen.ask(Ask::Hush, |scene| scene.sides[1].sample.is_none());
}

#[test]
fn strangers_are_shown_side_by_side_and_not_compared() {
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), &fixture("tiny.gguf")));
    let scene = screen.settled();
    assert!(scene.between.caveat.as_ref().unwrap().contains("tokenizers differ"));
    assert_eq!((scene.between.overlap, scene.between.kl), (None, None));
    screen.host.ask(Ask::ShowPlane(PlaneChoice::Through));
    let refused = screen.until("a warning", |scene| scene.note.is_some());
    assert!(refused.note.unwrap().warning && refused.plane == PlaneChoice::Own);
}

#[test]
fn what_can_t_be_opened_is_said_in_a_line() {
    let mut screen = Screen::open(settings(&fixture("tiny-hf"), Path::new("/nowhere/at/all")));
    let scene = screen.until("the end", |scene| matches!(scene.phase, Phase::Failed(_)));
    let Phase::Failed(error) = scene.phase else { unreachable!() };
    assert!(error.contains("/nowhere/at/all") && error.lines().count() == 1, "{error}");
}
