//! The files of a run.

use std::fs;
use std::path::Path;

use llamascape::export::film::Film;
use llamascape::export::picture::{self, Scale};
use llamascape::export::surface::Surface;
use llamascape::export::{self, arrays};
use llamascape::model::device::DeviceChoice;
use llamascape::protocol::{LogLine, OptimizerKind, PlaneKind, ToScreen};
use llamascape::run::dir::RunDir;
use llamascape::run::replay::replay;
use llamascape::run::slices::SlicesFile;
use llamascape::run::tail::Tail;
use llamascape::run::{client, journal, metrics, slices};
use llamascape::settings::{DataSource, ModelSource, Settings};
use llamascape::train::schedule::Shape;
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use super::dice::{Dice, cases};
use super::{is_one_line, reads};

const SETTINGS: u64 = 1500;
const STATES: u64 = 1500;
const NOTES: u64 = 300;
const LINES: u64 = 1000;
const REPLAYS: u64 = 200;

/// Settings of a run that is quick to prepare.
pub(crate) fn settings(model: &Path) -> Settings {
    Settings {
        name: "garbage".to_owned(),
        model: ModelSource::Checkpoint(model.to_owned()),
        data: DataSource::Text("The capital of France is Paris".to_owned()),
        steps: None,
        optimizer: OptimizerKind::AdamW,
        learning_rate: 1e-3,
        weight_decay: 0.1,
        schedule: Shape::Constant,
        warmup: 0,
        decay_steps: 1000,
        batch_size: 1,
        context: None,
        accumulate: 1,
        clip: 1.0,
        seed: 1,
        eval_every: 1000,
        save_every: None,
        keep_last: 2,
        slice_every: None,
        grid: 9,
        plane: PlaneKind::Random,
        device: DeviceChoice::Cpu,
        threads: 1,
        paused: true,
        answers_only: false,
        freeze: vec!["lm_head.*".to_owned()],
        early_stop: Some(5),
        sample_every: None,
        precision: None,
    }
}

fn run() -> (TempDir, RunDir) {
    let home = TempDir::new().unwrap();
    let dir = RunDir::create(Some(&home.path().join("run")), &settings(Path::new("/models/a"))).unwrap();
    (home, dir)
}

pub(crate) fn state() -> Value {
    json!({"state": "stopped", "step": 5, "loss": 1.5, "model": "nano", "started": "2026-11-25T22:50:31Z"})
}

#[test]
fn spoilt_settings_are_read_or_refused() {
    let (_home, dir) = run();
    let (_other, again) = run();
    let path = dir.path().join("settings.json");
    let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    cases(
        "settings.json",
        SETTINGS,
        |dice| dice.spoil_json(&whole),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            if reads(bytes.len(), || RunDir::open(dir.path())).is_none() {
                return false;
            }
            let settings = dir.settings().unwrap();
            if let Err(problem) = settings.check() {
                is_one_line(&problem);
            }
            again.write_settings(&settings).unwrap();
            assert_eq!(again.settings().unwrap(), settings, "they are read as they were written");
            true
        },
    );
}

#[test]
fn spoilt_states_are_read_or_refused() {
    let (_home, dir) = run();
    let path = dir.path().join("state.json");
    cases(
        "state.json",
        STATES,
        |dice| dice.spoil_json(&state()),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            let Some(state) = reads(bytes.len(), || dir.state()) else { return false };
            dir.write_state(&state).unwrap();
            assert_eq!(dir.state().unwrap(), state, "it is read as it was written");
            true
        },
    );
}

#[test]
fn a_spoilt_note_of_a_socket_leads_nowhere_and_says_so() {
    let (_home, dir) = run();
    let _engine = dir.lock().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    cases(
        "note of a socket",
        NOTES,
        |dice| match dice.below(4) {
            0 => dice.bytes(64),
            1 => vec![b'/'; 5000],
            _ => dice.spoil(b"/run/user/1000/llamascape/garbage-1.sock"),
        },
        |bytes| {
            fs::write(dir.path().join("socket"), bytes).unwrap();
            let Some(socket) = reads(bytes.len(), || dir.socket()) else { return false };
            let connected = runtime.block_on(client::connect(&socket, true));
            is_one_line(&connected.unwrap_err().to_string());
            true
        },
    );
}

fn metrics_line() -> Value {
    json!({"step": 5, "loss": 1.5, "grad_norm": 0.5, "lr": 0.01, "tokens": 512, "seconds": 0.25,
           "grad_norm_clipped": 0.25, "update_ratio": 0.1, "grad_norm/layer 0": 0.5, "eval_loss": 2.5})
}

fn slice_line() -> Value {
    json!({"step": 5, "generation": 1, "alphas": [-1.0, 0.0, 1.0], "betas": [0.0, 1.0],
           "loss": [[1.5, 0.1, null], [2.5, 1.0, 3.25]], "center": 0.1,
           "plane": {"kind": "random", "normalization": "filter", "seeds": [11, 111], "tensors": 3,
                     "parameters": 100, "cosine": 0.0, "norms": [1.0, 1.0]},
           "batch": {"tokens": 4, "sha256": "ab", "source": "held-out"}, "seconds": 0.5})
}

/// Some lines, whole and spoilt, with other things between them.
fn lines(dice: &mut Dice, line: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(8) {
        match dice.below(4) {
            0 => {
                let count = dice.below(200);
                bytes.extend(dice.bytes(count));
            }
            1 => bytes.extend(line.to_string().bytes()),
            _ => bytes.extend(dice.spoil_json(line)),
        }
        if !dice.one_in(8) {
            bytes.push(b'\n');
        }
    }
    bytes
}

#[test]
fn spoilt_metrics_are_passed_over() {
    let (_home, dir) = run();
    let path = dir.path().join(metrics::FILE);
    cases(
        "metrics.jsonl",
        LINES,
        |dice| lines(dice, &metrics_line()),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            let mut lines = Vec::new();
            reads(bytes.len(), || metrics::read(&path, |line| lines.push(line))).unwrap();
            for line in &lines {
                metrics::layers(line);
                metrics::point(line);
            }
            let table = export::metrics::csv(&lines);
            assert!(table.chars().all(|c| c == '\n' || !c.is_control()), "{table:?}");
            let file = NamedTempFile::new().unwrap();
            arrays::npz(&file, &[], &lines).unwrap();
            !lines.is_empty()
        },
    );
}

#[test]
fn spoilt_slices_are_passed_over_and_those_that_are_read_fit() {
    let (_home, dir) = run();
    cases(
        "slices.jsonl",
        LINES,
        |dice| lines(dice, &slice_line()),
        |bytes| {
            fs::write(dir.path().join("slices.jsonl"), bytes).unwrap();
            let (_, timeline) = reads(bytes.len(), || SlicesFile::open(dir.path(), u64::MAX)).unwrap();
            for slice in timeline.items() {
                assert_eq!(slice.loss.len(), slice.alphas.len() * slice.betas.len());
                assert!(slice.alphas.is_sorted() && slice.betas.len() > 1, "{slice:?}");
            }
            // Each is a few files.
            if bytes.len().is_multiple_of(8) {
                is_exported(dir.path());
            }
            !timeline.items().is_empty()
        },
    );
}

/// The slices of a run, in every form that they are exported in.
fn is_exported(run: &Path) {
    let slices = slices::all(run).unwrap();
    let chosen = arrays::of_one_grid(&slices);
    arrays::npz(&NamedTempFile::new().unwrap(), &chosen, &[]).unwrap();
    let scale = Scale::shared(&slices, vec![[0; 3], [255; 3]]);
    let mut film = Film::begin(Vec::new(), 16, 10, &scale).unwrap();
    for slice in slices.iter().take(3) {
        film.show(slice).unwrap();
        picture::square(slice, 16, &scale).unwrap();
    }
    if let Some(slice) = slices.first() {
        let surface = Surface::shown("a".to_owned(), slice);
        for name in ["s.vtp", "s.csv", "s.json", "s.npz"] {
            surface.write(&run.join(name)).unwrap();
        }
    }
    film.end().unwrap();
}

fn log(dice: &mut Dice) -> Vec<u8> {
    let whole = b"2026-11-25T22:50:31Z WARN  step 7: the loss jumped\n2026-11-25T22:50:32Z INFO  on\n";
    if dice.one_in(8) { dice.bytes(500) } else { dice.spoil(whole) }
}

#[test]
fn spoilt_lines_of_a_log_are_passed_over_and_those_that_are_read_are_clean() {
    let (_home, dir) = run();
    let path = dir.path().join(journal::FILE);
    cases("engine.log", LINES, log, |bytes| {
        fs::write(&path, bytes).unwrap();
        let mut read: Vec<LogLine> = Vec::new();
        let tail = || {
            Tail::new(path.clone()).read(|line| read.extend(journal::line(&String::from_utf8_lossy(line))))
        };
        reads(bytes.len(), tail).unwrap();
        assert!(read.iter().all(|line| !line.message.chars().any(char::is_control)), "{read:?}");
        !read.is_empty()
    });
}

#[test]
fn a_run_with_spoilt_files_is_replayed_to_its_end() {
    let (_home, dir) = run();
    fs::write(dir.path().join("state.json"), state().to_string()).unwrap();
    let mut logs = Dice::new(19_500_000);
    let make = |dice: &mut Dice| {
        let [metrics, slices] = [metrics_line(), slice_line()].map(|line| lines(dice, &line));
        let mut both = (metrics.len() as u32).to_le_bytes().to_vec();
        both.extend(metrics);
        both.extend(slices);
        both
    };
    cases("replays", REPLAYS, make, |bytes| {
        let (length, rest) = bytes.split_at(4);
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        let (metrics, slices) = rest.split_at(length);
        fs::write(dir.path().join(metrics::FILE), metrics).unwrap();
        fs::write(dir.path().join("slices.jsonl"), slices).unwrap();
        fs::write(dir.path().join(journal::FILE), log(&mut logs)).unwrap();
        let mut link = replay(&dir).unwrap();
        let mut last = None;
        while let Some(frame) = link.frames.blocking_recv() {
            last = Some(frame.unwrap());
        }
        assert!(matches!(last, Some(ToScreen::Closed(_))));
        true
    });
}
