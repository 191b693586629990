//! What engines of this version and of newer ones tell a screen, and what people press on it meanwhile.

use llamascape::app::tour::{CHAPTERS, Tour};
use llamascape::app::{App, Effect, Message, Options};
use llamascape::export::metrics;
use llamascape::protocol::probe::{self, Parameter, Sweep, Turned, Visit, Walk};
use llamascape::protocol::wormhole::{self, Moment, Moments, Setting};
use llamascape::protocol::{
    BatchInfo, Candidate, Command, Curvature, Drift, Explained, LayerNorm, LogLevel, LogLine, OptimizerKind,
    Phase, PlaneInfo, PlaneKind, Point, Prediction, RunInfo, Sharpness, Slice, Spectrum, Stage, Status,
    TensorNorms, ToEngine, ToScreen, Token, Update, VERSION,
};
use llamascape::run::client::link;
use llamascape::run::wire::{self, MAX_ASK};
use llamascape::terminal::{Ground, svg};
use llamascape::theme::{ColorDepth, Theme};
use llamascape::ui;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Rect;
use resvg::usvg::roxmltree::Document;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use super::client::framed;
use super::dice::{Dice, cases};
use super::{MOST, is_one_line, memory};

const FRAMES: u64 = 250;
const ASKS: u64 = 3000;

fn slice(step: u64) -> Slice {
    let axis = vec![-1.0, -0.5, 0.0, 0.5, 1.0];
    Slice {
        step,
        generation: 1,
        loss: (0..25).map(|place| place as f32 / 10.0).collect(),
        alphas: axis.clone(),
        betas: axis,
        center: 1.25,
        finest: true,
        plane: PlaneInfo {
            kind: "random".to_owned(),
            normalization: "filter".to_owned(),
            seeds: [11, 111],
            tensors: 28,
            parameters: 2_000_000,
            cosine: 0.0,
            norms: [40.0, 40.0],
            explained: Some(Explained { shares: [0.5, 0.25], random_walk: [0.6, 0.15] }),
            spectrum: Some(Spectrum { greatest: 30.0, least: -1.0, probed: 20, negative: 3 }),
        },
        batch: BatchInfo { tokens: 512, sha256: "a41f09".to_owned(), source: "held-out".to_owned() },
        seconds: 0.5,
        method: "stack".to_owned(),
        sharpness: Some(Sharpness { critical: 30.0, edge: 200.0 }),
    }
}

fn prediction() -> Prediction {
    let token = |id, text: &str| Token { id, text: text.to_owned() };
    let candidate = |id, text| Candidate { token: token(id, text), probability: 0.25, previous: Some(0.125) };
    Prediction {
        step: 7,
        at: Some([0.5, -0.5]),
        prompt: "The capital of France is Paris".to_owned(),
        tokens: vec![token(1, "The"), token(2, " capital"), token(3, " Paris")],
        probability: 0.5,
        previous_probability: Some(0.25),
        rank: 2,
        previous_rank: Some(1),
        loss: 1.0,
        entropy: 2.0,
        candidates: vec![candidate(3, " Paris"), candidate(4, " Rome")],
        written: Some(" Paris.\nAnd".to_owned()),
    }
}

fn status(phase: Phase) -> Status {
    Status {
        phase,
        step: 7,
        loss: Some(1.5),
        held_out: Some(1.75),
        grad_norm: Some(0.5),
        clip: 1.0,
        learning_rate: 1e-3,
        optimizer: OptimizerKind::AdamW,
        tokens_per_second: Some(1e4),
        seconds: 12.5,
        viewers: 1,
        drift: Some(Drift {
            distance: 0.5,
            inside: [0.25, -0.25],
            captured: Some(0.1),
            step_length: Some(0.01),
        }),
        slicing: true,
        plane: PlaneKind::Random,
        back: Some(6),
        checkpoints: vec![2, 4, 6],
    }
}

fn hole() -> wormhole::Scene {
    let mut moments = Moments::default();
    for step in 0..5 {
        let inside = [0.1 * step as f64, 0.0];
        moments.push(Moment {
            step,
            loss: 2.5,
            loss_target: 1.5,
            distance: 0.5,
            inside,
            captured: Some(0.1),
        });
    }
    wormhole::Scene {
        phase: wormhole::Phase::Running,
        setting: Setting::default(),
        learning_rate: 1e-5,
        of_step: 7,
        text: "The capital".to_owned(),
        plane: Some(slice(7).plane),
        offset: Some(wormhole::PLATEAU),
        chance: 1e-3,
        moments,
        prediction: Some(prediction()),
        drawing: true,
    }
}

fn probed() -> probe::Scene {
    let parameter = |name: &str, index| Parameter {
        name: name.to_owned(),
        index,
        value: 0.5,
        grad: -0.25,
        trained: true,
    };
    let visit = Visit { moves: [0.5, 0.25], loss: 1.5, p_target: 0.25 };
    probe::Scene {
        phase: probe::Phase::Ready,
        of_step: 7,
        text: "The capital".to_owned(),
        loss: 2.5,
        grad_norm: 0.5,
        listed: vec![parameter("model.norm.weight", vec![3]), parameter("lm_head.weight", vec![1, 2])],
        chosen: vec![1, 0],
        sweep: Some(Sweep {
            first: vec![-1.0, 0.0, 1.0],
            second: vec![-1.0, 1.0],
            loss: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            p_target: vec![0.5; 6],
        }),
        turned: Some(Turned { moves: [0.5, 0.25], prediction: prediction() }),
        walk: Some(Walk {
            rounds: 3,
            visits: vec![visit; 3],
            descent: vec![visit; 3],
            optimizer: "adam".to_owned(),
        }),
        refusal: Some("no such".to_owned()),
    }
}

/// An update with something of everything.
fn whole() -> Update {
    let point = |step| Point {
        step,
        loss: 2.5 - 0.1 * step as f64,
        held_out: (step % 2 == 0).then_some(2.5),
        grad_norm: 0.5,
        learning_rate: 1e-3,
        spike: step == 3,
    };
    let norms =
        |step| TensorNorms { step, gradients: vec![0.5, 0.25], weights: vec![1.0; 2], updates: vec![0.1; 2] };
    Update {
        run: Some(RunInfo {
            name: "tidy-otter".to_owned(),
            path: "/runs/tidy-otter".to_owned(),
            model: "nano".to_owned(),
            parameters: 1_000_000,
            data: "facts".to_owned(),
            device: "CPU".to_owned(),
            last_step: Some(1000),
        }),
        status: Some(status(Phase::Running)),
        history: Some(serde_json::from_str(r#"{"points": [], "stride": 1}"#).unwrap()),
        points: (1..8).map(point).collect(),
        layers: Some(vec![LayerNorm { name: "layer 0".to_owned(), grad_norm: 0.5 }; 3]),
        tensor_names: Some(vec![
            "model.layers.0.mlp.up_proj.weight".to_owned(),
            "model.norm.weight".to_owned(),
        ]),
        tensor_history: Some(serde_json::from_str(r#"{"items": [], "stride": 1, "since": 0}"#).unwrap()),
        tensors: (1..8).map(norms).collect(),
        slice: Some(slice(7)),
        timeline: Some(serde_json::from_str(r#"{"items": [], "stride": 1, "since": 0}"#).unwrap()),
        finished: vec![slice(2), slice(5), slice(7)],
        prediction: Some(prediction()),
        wormhole: Some(hole()),
        frozen: Some(slice(7)),
        film: Some(serde_json::from_str(r#"{"items": [], "stride": 1, "since": 0}"#).unwrap()),
        frames: vec![slice(0), slice(3)],
        probe: Some(probed()),
        curvature: Some(Curvature {
            step: 7,
            text: "The capital".to_owned(),
            loss: 2.5,
            grad_norm: 0.5,
            to_come: 3,
            spectrum: Some(Spectrum { greatest: 30.0, least: -1.0, probed: 20, negative: 3 }),
            failure: None,
        }),
        log: vec![LogLine { milliseconds: 0, level: LogLevel::Warn, message: "a line".to_owned() }],
    }
}

/// What is true of one engine and wrong of another: each of the frames is spoilt in a few of its fields.
fn frames(dice: &mut Dice, whole: &Value, phases: &[Value]) -> Vec<u8> {
    let body = |value: &Value| rmp_serde::to_vec_named(value).unwrap();
    let mut stream = framed(&body(&serde_json::to_value(ToScreen::Welcome { version: VERSION }).unwrap()));
    stream.extend(framed(&body(whole)));
    for _ in 0..=dice.below(3) {
        let told = if dice.one_in(4) { dice.pick(phases).clone() } else { whole.clone() };
        // Most of the fields come seldom: with a few of them gone, more of the others are reached.
        let mut told = dice.spoil_value(&told);
        if let Some(fields) = told.pointer_mut("/Update").and_then(Value::as_object_mut) {
            fields.insert("of a newer version".to_owned(), "\u{1b}[2J".into());
        }
        stream.extend(framed(&body(&told)));
    }
    stream
}

/// Everything that a screen hears.
async fn heard(bytes: Vec<u8>) -> (Vec<ToScreen>, String) {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let mut link = link(near, false);
    let speaker = tokio::spawn(async move {
        // A screen that has heard enough is gone.
        let _ = far.write_all(&bytes).await;
    });
    let mut frames = Vec::new();
    loop {
        match link.frames.recv().await.unwrap() {
            Ok(frame) => frames.push(frame),
            Err(error) => {
                speaker.abort();
                return (frames, error.to_string());
            }
        }
    }
}

/// Draws, and fails where something is drawn or exported that a terminal would obey.
fn draw(app: &App, (width, height): (u16, u16), theme: &Theme) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| ui::view(app, theme, frame)).unwrap();
    let cells = &terminal.backend().buffer().content;
    assert!(cells.iter().all(|cell| !cell.symbol().contains(char::is_control)));
    ui::pixel_maps(app, theme, Rect::new(0, 0, width, height));
    let page = svg(terminal.backend().buffer(), "a screen", Ground::new(false));
    Document::parse(&page).unwrap();
    let engine = &app.engine;
    let norms = metrics::norms(&engine.tensor_names, engine.tensors.items());
    let sweep = engine.probe.as_ref().and_then(|scene| scene.sweep.as_ref()).map(metrics::sweep);
    assert!([norms, sweep.unwrap_or_default()].iter().all(|table| is_plain(table)));
}

/// Whether nothing but the ends of lines is for a terminal to obey.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c == '\n' || !c.is_control())
}

/// Looks at everything, and presses keys on the way.
fn look(app: &mut App, dice: &mut Dice, theme: &Theme) {
    const KEYS: [KeyCode; 9] = [
        KeyCode::Up,
        KeyCode::Right,
        KeyCode::Enter,
        KeyCode::Tab,
        KeyCode::Esc,
        KeyCode::Backspace,
        KeyCode::PageDown,
        KeyCode::Char(' '),
        KeyCode::Char('x'),
    ];
    for view in ['1', '2', '3', '5', '6', '7'] {
        let more = (0..dice.below(6)).map(|_| {
            if dice.one_in(2) {
                *dice.pick(&KEYS)
            } else {
                KeyCode::Char(char::from(b' ' + dice.below(95) as u8))
            }
        });
        let keys = [KeyCode::Esc, KeyCode::Char(view)].into_iter().chain(more.collect::<Vec<_>>());
        for key in keys {
            let effects = app.update(Message::Key(KeyEvent::new(key, KeyModifiers::NONE)));
            // What it asks of an engine is something that the engine reads.
            for effect in effects {
                if let Effect::Send(command) = effect {
                    rmp_serde::to_vec_named(&ToEngine::Command(command)).unwrap();
                }
            }
        }
        draw(app, *dice.pick(&[(80, 24), (120, 40), (81, 25), (60, 60)]), theme);
    }
}

#[test]
fn a_screen_draws_whatever_an_engine_tells() {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let value = serde_json::to_value(ToScreen::Update(Box::new(whole()))).unwrap();
    let preparing = vec![Stage { name: "text".to_owned(), detail: "1 KB".to_owned(), progress: 0.5 }; 3];
    let phases = [Phase::Preparing(preparing), Phase::Paused, Phase::Finished, Phase::Stopping];
    let phases = phases.map(|phase| {
        let update = Update { status: Some(status(phase)), ..Update::default() };
        serde_json::to_value(ToScreen::Update(Box::new(update))).unwrap()
    });
    let make = |dice: &mut Dice| frames(dice, &value, &phases);
    cases("frames on a screen", FRAMES, make, |bytes| {
        let ((frames, error), _) = memory::peak(|| runtime.block_on(heard(bytes.to_vec())));
        is_one_line(&error);
        assert!(frames.len() > 1, "the first update is whole: {error}");
        let count = frames.len();
        let mut dice = Dice::new(bytes.len() as u64);
        let themes = vec!["dark".to_owned(), "nord".to_owned()];
        let tour = dice.one_in(4).then(|| Tour::at(1 + dice.below(CHAPTERS.len()), false));
        let read_only = dice.one_in(8);
        let mut app = App::new(Options { themes, tour, read_only, ..Options::default() });
        let ((), peak) = memory::peak(|| {
            for frame in frames {
                app.update(Message::Engine(frame));
            }
            look(&mut app, &mut dice, &theme);
        });
        assert!(peak < MOST + 64 * bytes.len(), "{} bytes took {peak}", bytes.len());
        count > 2
    });
}

/// One of everything that a screen asks for.
fn asks() -> Vec<Command> {
    vec![
        Command::Step(3),
        Command::Zoom(1.5),
        Command::Grid(33),
        Command::LookAt(Some([0.5, -0.5])),
        Command::MoveTo { place: [0.5, 0.25], slice: (7, 1) },
        Command::SetPrompt("The capital".to_owned()),
        Command::ScaleLearningRate(0.5),
        Command::SetOptimizer(OptimizerKind::Sgd),
        Command::Wormhole(wormhole::Ask::Lay(Setting { learning_rate: Some(1e-5), ..Setting::default() })),
        Command::Wormhole(wormhole::Ask::Jump(wormhole::PLATEAU)),
        Command::Probe(probe::Ask::Choose { first: 1, second: Some(2) }),
        Command::Probe(probe::Ask::Name("model.norm.weight[3]".to_owned())),
        Command::Probe(probe::Ask::Turn([0.5, 0.25])),
    ]
}

#[test]
fn what_a_screen_asks_is_read_as_it_was_asked_or_not_at_all() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let asks: Vec<Value> =
        asks().into_iter().map(|ask| serde_json::to_value(ToEngine::Command(ask)).unwrap()).collect();
    let make = |dice: &mut Dice| {
        let ask = dice.pick(&asks).clone();
        let body = rmp_serde::to_vec_named(&dice.spoil_value(&ask)).unwrap();
        framed(&if dice.one_in(4) { dice.spoil(&body) } else { body })
    };
    cases("asks of an engine", ASKS, make, |bytes| {
        let read = || runtime.block_on(wire::read_within::<ToEngine>(&mut &*bytes, MAX_ASK));
        let Some(ask) = super::reads(bytes.len(), read) else { return false };
        let again = framed(&rmp_serde::to_vec_named(&ask).unwrap());
        let second = runtime.block_on(wire::read_within::<ToEngine>(&mut &*again, MAX_ASK)).unwrap();
        // What is not a number is not the same as itself.
        assert_eq!(format!("{second:?}"), format!("{ask:?}"));
        true
    });
}
