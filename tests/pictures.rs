//! The pictures of the README are what the program draws of what it has told its screens.
//!
//! `tests/fixtures/screens/` holds what the engines told: of a nano from seed 0, trained on two threads in pieces of 25
//! steps with a slice after each, with a wormhole and a probe in the end, and of the two toys that `compare` trains. To
//! draw it again where the screen has changed, or to tell and draw it all again:
//!
//! ```sh
//! LLAMASCAPE_RECORD=pictures cargo test --test pictures
//! LLAMASCAPE_RECORD=runs cargo test --release --test pictures
//! ```

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod program;
mod pty;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use llamascape::app::comparison::{self, Comparison};
use llamascape::app::{App, Bindings, Message, Options, Remembered, View};
use llamascape::generate::Sampling;
use llamascape::model::device::DeviceChoice;
use llamascape::protocol::comparison::{Phase as ComparisonPhase, Scene};
use llamascape::protocol::{Command, Phase, Status, ToScreen, Update, probe, wormhole};
use llamascape::run::client;
use llamascape::run::comparison::{Host, Settings};
use llamascape::run::dir::RunDir;
use llamascape::run::metrics;
use llamascape::run::wire;
use llamascape::terminal::{Ground, svg};
use llamascape::theme::{ColorDepth, Theme};
use llamascape::ui;
use pty::Pty;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Columns and rows.
const SIZE: (u16, u16) = (120, 33);
/// Steps of the run, and how many are taken at a time.
const STEPS: u64 = 900;
const PIECE: u64 = 25;
/// The step whose weights are probed.
const EARLY: u64 = 50;
/// Where the wormhole starts.
const HIGH_GROUND: [f64; 2] = [0.75, -0.5];
/// Steps of the wormhole, and rounds of the probe.
const DESCENT: u64 = 24;
const ROUNDS: usize = 8;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn told(name: &str) -> PathBuf {
    root().join("tests/fixtures/screens").join(name)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn write<T: Serialize>(name: &str, value: &T) {
    let mut bytes = Vec::new();
    runtime().block_on(wire::write(&mut bytes, value)).unwrap();
    std::fs::create_dir_all(told("")).unwrap();
    std::fs::write(told(name), bytes).unwrap();
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let bytes = std::fs::read(told(name)).unwrap();
    runtime().block_on(wire::read(&mut bytes.as_slice())).unwrap()
}

/// Trains a nano and writes down what a screen is told at its last step.
fn record_run() {
    let home = tempfile::tempdir().unwrap();
    let steps = STEPS.to_string();
    let arguments =
        ["train", "--paused", "--name", "tidy-otter", "--threads", "2", "--seed", "0", "--steps", &steps];
    let mut pty =
        Pty::start(home.path(), 120, 40, &[&arguments[..], &["--no-config", "--grid", "33"]].concat());
    pty.until("the model", |text| text.contains("paused"));
    let runs = home.path().join("llamascape/runs");
    let dir = RunDir::open(&std::fs::read_dir(runs).unwrap().next().unwrap().unwrap().path()).unwrap();
    let update = runtime().block_on(async {
        let mut link = client::connect(&dir.socket().unwrap(), false).await.unwrap();
        let mut app = App::new(Options::default());
        let commands = link.commands.clone();
        let ask = |ask| commands.send(ask).unwrap();
        let mut asked = 0;
        loop {
            app.update(Message::Engine(link.frames.recv().await.unwrap().unwrap()));
            let engine = &app.engine;
            let Some(status) = &engine.status else { continue };
            let seen = engine.slice.as_ref().is_some_and(|slice| slice.step == status.step && slice.finest);
            let read = engine.prediction.as_ref().is_some_and(|prediction| prediction.step == status.step);
            let waits = matches!(status.phase, Phase::Paused | Phase::Finished);
            if !(waits && seen && read && status.step == asked) {
                continue;
            }
            if asked + PIECE == STEPS {
                break;
            }
            // While much is still to be learnt, the two get in each other's way.
            if asked == EARLY && app.engine.probe.is_none() {
                ask(Command::Probe(probe::Ask::Open));
                ask(Command::Probe(probe::Ask::Choose { first: 0, second: Some(1) }));
                ask(Command::Probe(probe::Ask::Walk(ROUNDS)));
                ask(Command::Probe(probe::Ask::Turn([0.0; 2])));
                let walked = |scene: &probe::Scene| {
                    let all = scene.walk.as_ref().is_some_and(|walk| walk.descent.len() == ROUNDS + 1);
                    all && scene.turned.is_some() && scene.phase == probe::Phase::Ready
                };
                while !app.engine.probe.as_ref().is_some_and(walked) {
                    app.update(Message::Engine(link.frames.recv().await.unwrap().unwrap()));
                }
            }
            asked += PIECE;
            ask(Command::Step(PIECE));
        }
        ask(Command::Wormhole(wormhole::Ask::Lay(wormhole::Setting::default())));
        ask(Command::Wormhole(wormhole::Ask::Jump(HIGH_GROUND)));
        ask(Command::Wormhole(wormhole::Ask::Step(DESCENT)));
        let fell = |scene: &wormhole::Scene| {
            let last = scene.moments.items().last().map(|moment| moment.step);
            last == Some(DESCENT) && scene.phase == wormhole::Phase::Paused && !scene.drawing
        };
        while !app.engine.wormhole.as_ref().is_some_and(fell) {
            app.update(Message::Engine(link.frames.recv().await.unwrap().unwrap()));
        }
        let engine = app.engine;
        let status = engine.status.unwrap();
        Update {
            run: engine.run,
            status: Some(Status { phase: Phase::Running, slicing: false, viewers: 1, ..status }),
            history: Some(engine.history),
            layers: Some(engine.layers),
            tensor_names: Some(engine.tensor_names),
            tensor_history: Some(engine.tensors),
            slice: engine.slice,
            timeline: Some(engine.timeline),
            prediction: engine.prediction,
            wormhole: engine.wormhole,
            frozen: engine.frozen,
            film: Some(engine.film),
            probe: engine.probe,
            ..Update::default()
        }
    });
    pty.press("qs");
    assert_eq!(pty.end().0, 0);
    write("run", &update);
}

/// Compares the two toys and writes down what a screen is told in the end.
fn record_comparison() {
    let host = Host::start(Settings {
        models: None,
        text: None,
        templates: [false; 2],
        device: DeviceChoice::Cpu,
        threads: 2,
        learning_rate: None,
        grid: 33,
        sampling: Sampling { temperature: 0.0, top_p: 1.0, seed: 0 },
    })
    .unwrap();
    let mut scenes = host.scenes();
    let scene = runtime().block_on(async {
        let done = |scene: &Scene| {
            scene.phase == ComparisonPhase::Live
                && scene.path.is_some()
                && scene.sides.iter().all(|side| {
                    side.grad_norm.is_some() && side.slice.as_ref().is_some_and(|slice| slice.finest)
                })
        };
        scenes.wait_for(done).await.unwrap().clone()
    });
    let barrier_at = scene.path.as_ref().unwrap().barrier_at;
    write("comparison", &(scene, barrier_at));
}

fn theme() -> Theme {
    Theme::named("dark", ColorDepth::True).unwrap()
}

fn drawn(draw: impl FnOnce(&mut ratatui::Frame)) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    terminal.draw(draw).unwrap();
    terminal.backend().buffer().clone()
}

fn of_run(view: View) -> Buffer {
    let remembered = Remembered { view, ..Remembered::default() };
    let mut app = App::new(Options { remembered, ..Options::default() });
    app.update(Message::Engine(ToScreen::Update(Box::new(read("run")))));
    drawn(|frame| ui::view(&app, &theme(), frame))
}

fn of_comparison() -> Buffer {
    let (mut scene, barrier_at): (Scene, f64) = read("comparison");
    if let Some(path) = &mut scene.path {
        Arc::make_mut(path).barrier_at = barrier_at;
    }
    let mut app = Comparison::new(Vec::new(), Bindings::default());
    app.update(comparison::Message::Scene(Box::new(scene)));
    drawn(|frame| ui::comparison::view(&app, &theme(), frame))
}

#[test]
fn the_pictures_of_the_readme_are_what_the_program_draws() {
    let record = std::env::var("LLAMASCAPE_RECORD").ok();
    if record.as_deref() == Some("runs") {
        record_run();
        record_comparison();
    }
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let pictures = [
        ("observatory", of_run(View::Observatory)),
        ("layers", of_run(View::Layers)),
        ("timeline", of_run(View::Timeline)),
        ("wormhole", of_run(View::Wormhole)),
        ("probe", of_run(View::Probe)),
        ("compare", of_comparison()),
    ];
    for (name, buffer) in pictures {
        let drawn = svg(&buffer, &format!("llamascape: {name}"), Ground::new(false));
        let path = Path::new(".github").join(format!("{name}.svg"));
        assert!(readme.contains(path.to_str().unwrap()), "{name} is not in the README");
        if record.is_some() {
            std::fs::write(root().join(&path), &drawn).unwrap();
        }
        let there = std::fs::read_to_string(root().join(&path)).unwrap();
        assert!(there == drawn, "{} is another picture: see the head of this test", path.display());
    }
}

#[test]
fn what_the_pictures_show_comes_from_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let trained =
        program::llamascape(folder.path(), &["train", "--headless", "--seed", "0", "--steps", "30"])
            .args(["--no-config", "--quiet", "--threads", "2", "--run-dir"])
            .arg(&run)
            .status()
            .unwrap();
    assert!(trained.success());
    let told: Update = read("run");
    let history = told.history.unwrap();
    let mut compared = 0;
    let mut points = Vec::new();
    metrics::read(&run.join(metrics::FILE), |line| points.push(metrics::point(&line).unwrap())).unwrap();
    for point in points {
        let there = history.points().iter().find(|there| there.step == point.step).unwrap();
        // Another processor adds in another order.
        assert!((there.loss - point.loss).abs() < 2e-2, "step {}: {} {}", point.step, there.loss, point.loss);
        compared += 1;
    }
    assert_eq!(compared, 30);
}
