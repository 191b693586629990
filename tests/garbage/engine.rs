//! What reaches the socket of a real engine.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use llamascape::protocol::{
    Command as Ask, OptimizerKind, Outcome, Phase, Status, ToEngine, ToScreen, Update, VERSION, probe,
    wormhole,
};
use llamascape::run::dir::RunDir;
use llamascape::run::wire::{MAX_ASK, MAX_FRAME};
use llamascape::train::resume;
use serde::Serialize;
use tempfile::TempDir;

use super::client::framed;
use super::dice::{Dice, cases};
use super::program::llamascape;
use super::{fixture, runs};

/// Connections, each with a frame or two.
const CONNECTIONS: u64 = 10_000;
/// Bytes by which the engine may grow meanwhile: its log, its history and the states to go back to are bounded.
const GROWTH: u64 = 256 << 20;
/// Long enough for a debug build on a busy machine; a test that works never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);
/// A prompt that the model can read.
const MARK: &str = "The capital of Italy";
/// Arrays, maps and long arrays, to be put into one another.
const LAYERS: [&[u8]; 3] = [&[0x91], &[0x81, 0xa1, 0x61], &[0xdd, 0xff, 0xff, 0xff, 0xff]];
/// Marks that were asked for: see [`Screen::settle`].
static MARKS: AtomicUsize = AtomicUsize::new(0);

/// An engine in a process of its own, with a folder of its own.
struct Engine {
    child: Child,
    socket: PathBuf,
    run: RunDir,
    _home: TempDir,
}

impl Engine {
    /// Starts it, paused at step 0.
    fn start() -> Self {
        let home = TempDir::new().unwrap();
        let settings = runs::settings(&fixture("tiny-hf"));
        let run = RunDir::create(Some(&home.path().join("run")), &settings).unwrap();
        let mut child = llamascape(home.path(), &["engine", "--threads", "1"])
            .arg(run.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        serde_json::to_writer(child.stdin.take().unwrap(), &settings).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let greeting: serde_json::Value = serde_json::from_str(&line).unwrap();
        let socket = PathBuf::from(greeting["socket"].as_str().unwrap());
        Self { child, socket, run, _home: home }
    }

    /// Bytes that it holds.
    fn memory(&self) -> u64 {
        let mut system = sysinfo::System::new();
        let pid = sysinfo::Pid::from_u32(self.child.id());
        let only = sysinfo::ProcessRefreshKind::nothing().with_memory();
        system.refresh_processes_specifics(sysinfo::ProcessesToUpdate::Some(&[pid]), false, only);
        system.process(pid).unwrap().memory()
    }

    /// Waits until its process has ended, and returns whether as it should.
    fn ended_well(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let status = self.child.wait();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.run.path().join("engine.log")).unwrap_or_default();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the engine: {status:?}; its log, the last line first: {last:#?}");
        }
    }
}

fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn body(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).unwrap()
}

fn hello() -> Vec<u8> {
    framed(&body(&ToEngine::Hello { version: VERSION, read_only: false }))
}

/// A screen as it should be, and the newest that it was told.
struct Screen {
    stream: UnixStream,
    seen: Update,
}

impl Screen {
    fn open(engine: &Engine) -> Self {
        let mut stream = connect(&engine.socket);
        stream.write_all(&hello()).unwrap();
        let mut screen = Self { stream, seen: Update::default() };
        assert_eq!(screen.receive(), ToScreen::Welcome { version: VERSION });
        screen
    }

    fn receive(&mut self) -> ToScreen {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut body).unwrap();
        rmp_serde::from_slice(&body).unwrap()
    }

    fn ask(&mut self, ask: Ask) {
        self.stream.write_all(&framed(&body(&ToEngine::Command(ask)))).unwrap();
    }

    /// Waits until the screen has been told this.
    fn until(&mut self, wanted: impl Fn(&Update) -> bool) {
        while !wanted(&self.seen) {
            match self.receive() {
                ToScreen::Update(update) => {
                    self.seen.status = update.status.or(self.seen.status.take());
                    self.seen.prediction = update.prediction.or(self.seen.prediction.take());
                    self.seen.slice = update.slice.or(self.seen.slice.take());
                    self.seen.log.extend(update.log);
                }
                other => panic!("{other:?} while it waits; the log is {:?}", self.seen.log),
            }
        }
    }

    /// Waits until all that was asked for is done: what is asked for is done in its order. No mark comes twice.
    fn settle(&mut self) {
        let mark = format!("{MARK}{}", " a".repeat(MARKS.fetch_add(1, Ordering::Relaxed)));
        self.ask(Ask::SetPrompt(mark.clone()));
        self.until(|seen| seen.prediction.as_ref().is_some_and(|prediction| prediction.prompt == mark));
    }

    fn status(&self) -> &Status {
        self.seen.status.as_ref().unwrap()
    }

    /// Pauses, then takes one step.
    fn step(&mut self) {
        // What others have asked for meanwhile is done by then.
        self.settle();
        self.ask(Ask::Pause);
        self.settle();
        self.until(|seen| seen.status.as_ref().is_some_and(|status| status.phase == Phase::Paused));
        let step = self.status().step;
        self.ask(Ask::Step(1));
        self.until(|seen| seen.status.as_ref().is_some_and(|status| status.step > step));
    }

    /// Saves, stops, and returns the folder of the checkpoint.
    fn stop(mut self) -> PathBuf {
        self.ask(Ask::SaveAndStop);
        loop {
            match self.receive() {
                ToScreen::Update(_) => {}
                ToScreen::Closed(Outcome::Stopped { checkpoint, .. }) => return checkpoint.unwrap().into(),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What a screen may ask for that leaves the weights and the rate to the steps.
fn asks() -> Vec<Ask> {
    vec![
        Ask::Pause,
        Ask::Back,
        Ask::Step(3),
        Ask::RedrawSlice,
        Ask::NewPlane,
        Ask::Zoom(1.5),
        Ask::LookAt(Some([0.25, -0.25])),
        Ask::LookAt(None),
        Ask::MoveTo { place: [0.25, 0.0], slice: (u64::MAX, u64::MAX) },
        Ask::SetPrompt(MARK.to_owned()),
        Ask::Curvature,
        Ask::Probe(probe::Ask::Open),
        Ask::Probe(probe::Ask::Choose { first: 1, second: Some(0) }),
        Ask::Probe(probe::Ask::Name("model.norm.weight[3]".to_owned())),
        Ask::Probe(probe::Ask::Turn([0.5, 0.25])),
        Ask::Probe(probe::Ask::Zoom(1.5)),
        Ask::Probe(probe::Ask::End),
        Ask::Wormhole(wormhole::Ask::Lay(wormhole::Setting::default())),
        Ask::Wormhole(wormhole::Ask::Jump(wormhole::PLATEAU)),
        Ask::Wormhole(wormhole::Ask::Step(3)),
        Ask::Wormhole(wormhole::Ask::End),
    ]
}

/// The bytes of one connection.
fn garbage(dice: &mut Dice, asks: &[Vec<u8>]) -> Vec<u8> {
    let ask = dice.pick(asks).clone();
    let said = match dice.below(12) {
        0 => {
            let count = dice.below(4096);
            return dice.bytes(count);
        }
        // In the wrong order, twice, of another version, and what only engines say.
        1 => return [framed(&ask), hello()].concat(),
        2 => [hello(), framed(&ask)].concat(),
        3 => {
            let hello = ToEngine::Hello { version: dice.below(1 << 20) as u32, read_only: dice.one_in(2) };
            return framed(&body(&hello));
        }
        4 => framed(&body(&ToScreen::Closed(Outcome::Failed { error: "\u{1b}[2J".to_owned() }))),
        // Lengths that lie.
        5 => {
            let most = MAX_ASK as u32;
            let lies = [0, 1, most, most + 1, MAX_FRAME as u32, MAX_FRAME as u32 + 1, u32::MAX];
            [&dice.pick(&lies).to_le_bytes(), &*ask].concat()
        }
        // Arrays, maps and variants inside one another; names and texts without an end.
        6 => {
            let mut body = Vec::new();
            if dice.one_in(2) {
                // Beside what a greeting has.
                body.extend(b"\x81\xa5Hello\x83\xa7version\x05\xa9read_only\xc2\xa4junk");
            }
            body.extend(dice.pick(&LAYERS).repeat(1 + dice.below(10_000)));
            framed(&body)
        }
        7 => {
            let name = "\u{1b}[31m".repeat(1 + dice.below(5000));
            framed(&body(&serde_json::json!({ (name): 1 })))
        }
        // Half a frame.
        8 => {
            let whole = framed(&ask);
            whole[..dice.below(whole.len())].to_vec()
        }
        _ => {
            // The number of a variant stands for its name: now and then one is asked to end.
            let spoilt = dice.spoil(&ask);
            let ends = ToEngine::Command(Ask::SaveAndStop);
            framed(if rmp_serde::from_slice(&spoilt).is_ok_and(|said: ToEngine| said == ends) {
                &ask
            } else {
                &spoilt
            })
        }
    };
    if dice.one_in(6) { said } else { [hello(), said].concat() }
}

#[test]
fn an_engine_survives_ten_thousand_connections_that_are_no_screens() {
    let mut engine = Engine::start();
    let mut screen = Screen::open(&engine);
    screen.step();
    screen.until(|seen| seen.slice.is_some());
    drop(screen);
    let before = engine.memory();

    let asks: Vec<Vec<u8>> = asks().into_iter().map(|ask| body(&ToEngine::Command(ask))).collect();
    cases(
        "connections to an engine",
        CONNECTIONS,
        |dice| garbage(dice, &asks),
        |bytes| {
            // The engine may have closed it before all was said.
            connect(&engine.socket).write_all(bytes).is_ok()
        },
    );
    let prompt = ToEngine::Command(Ask::SetPrompt("long ".repeat(2 << 20)));
    let _ = connect(&engine.socket).write_all(&[hello(), framed(&body(&prompt))].concat());

    // Some say nothing, and some no more than half, while a screen comes that is one.
    let silent: Vec<UnixStream> = (0..40).map(|_| connect(&engine.socket)).collect();
    for mut stream in silent.iter().skip(20) {
        stream.write_all(&hello()[..7]).unwrap();
    }
    let mut screen = Screen::open(&engine);
    screen.step();
    let after = engine.memory();
    assert!(after < before + GROWTH, "it held {before} bytes, and now {after}");
    drop(silent);
    resume::state(&screen.stop()).unwrap();
    assert!(engine.ended_well());
    let log = std::fs::read_to_string(engine.run.path().join("engine.log")).unwrap();
    assert!(log.lines().all(|line| line.len() < 1 << 15 && !line.contains('\u{1b}')));
}

#[test]
fn numbers_and_texts_that_make_no_sense_do_no_harm() {
    let mut engine = Engine::start();
    let mut screen = Screen::open(&engine);
    screen.step();
    screen.until(|seen| seen.slice.is_some());
    let rate = screen.status().learning_rate;

    let numbers =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -0.0, 0.0, 1e300, 1e-300, f64::MIN_POSITIVE];
    for number in numbers {
        screen.ask(Ask::Zoom(number));
        for _ in 0..3 {
            screen.ask(Ask::ScaleLearningRate(number));
        }
    }
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e30, 101.0] {
        screen.ask(Ask::LookAt(Some([number, 0.0])));
        screen.ask(Ask::LookAt(Some([0.0, number])));
        let slice = screen.seen.slice.as_ref().map(|slice| (slice.step, slice.generation)).unwrap();
        screen.ask(Ask::MoveTo { place: [number, number], slice });
    }
    for text in ["", " ", "\0\u{1b}]0;x\u{7}\u{202e}\r\n a", "a".repeat(60_000).as_str()] {
        screen.ask(Ask::SetPrompt(text.to_owned()));
    }
    screen.ask(Ask::Grid(0));
    screen.ask(Ask::Grid(usize::MAX));
    screen.ask(Ask::Grid(9));
    for _ in 0..200 {
        screen.ask(Ask::NewPlane);
    }
    screen.settle();
    assert_eq!(screen.status().step, 1, "nothing of this is a step");
    let status = screen.status().learning_rate;
    assert!((status / rate - 1.0).abs() < 1e-9, "{status} is not {rate}");
    let prediction = screen.seen.prediction.clone().unwrap();
    assert!(prediction.at.is_none() && prediction.loss.is_finite(), "{prediction:?}");

    for count in [0, u64::MAX, u64::MAX] {
        screen.ask(Ask::Step(count));
    }
    screen.step();
    for _ in 0..100 {
        screen.ask(Ask::Back);
    }
    for kind in [OptimizerKind::Sgd, OptimizerKind::Adam, OptimizerKind::AdamW] {
        screen.ask(Ask::SetOptimizer(kind));
    }
    screen.step();
    assert!(screen.status().loss.unwrap().is_finite());
    resume::state(&screen.stop()).unwrap();
    assert!(engine.ended_well());
}
