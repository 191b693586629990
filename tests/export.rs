//! What a run has kept, as files for other programs.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod example;
mod program;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use llamascape::run::dir::RunDir;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A run that nobody trains: twelve steps, and the slices of some of them.
struct Kept(TempDir);

impl Kept {
    /// The slices are told by their steps and by the points a side.
    fn new(slices: &[(u64, usize)]) -> Self {
        let kept = Self(TempDir::new().unwrap());
        RunDir::create(Some(&kept.run()), &example::settings("otter")).unwrap();
        let lines = |values: Vec<Value>| -> String {
            values.iter().fold(String::new(), |lines, value| lines + &format!("{value}\n"))
        };
        std::fs::write(kept.run().join("metrics.jsonl"), lines((1..=12).map(step).collect())).unwrap();
        if !slices.is_empty() {
            let slices = lines(slices.iter().map(|(step, side)| slice(*step, *side)).collect());
            std::fs::write(kept.run().join("slices.jsonl"), slices).unwrap();
        }
        kept
    }

    fn run(&self) -> PathBuf {
        self.0.path().join("run")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Exit code, stdout and stderr of `export`.
    fn say(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = program::llamascape(self.0.path(), &["export"])
            .arg(self.run())
            .args(arguments)
            .env("NO_COLOR", "1")
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// The bytes of the file that is written without a word.
    fn export(&self, name: &str, flags: &[&str]) -> Vec<u8> {
        let (code, said, error) = self.say(&[&["--out", name], flags].concat());
        assert_eq!((code, said.as_str(), error.as_str()), (0, "", ""), "{name}");
        std::fs::read(self.path(name)).unwrap()
    }
}

fn step(step: u64) -> Value {
    let loss = 7.0 - 0.5 * step as f64;
    let mut line = json!({"step": step, "loss": loss, "grad_norm": 0.8, "lr": 0.01, "grad_norm/embed": 0.5});
    if step == 10 {
        line["eval_loss"] = json!(2.25);
    }
    line
}

/// A bowl that sinks.
fn slice(step: u64, side: usize) -> Value {
    let axis: Vec<f64> = (0..side).map(|i| 2.0 * i as f64 / (side - 1) as f64 - 1.0).collect();
    let low = 7.0 - 0.5 * step as f64;
    let row = |beta: &f64| -> Vec<f64> {
        axis.iter().map(|alpha| low + alpha * alpha + 2.0 * beta * beta).collect()
    };
    let loss: Vec<Vec<f64>> = axis.iter().map(row).collect();
    json!({
        "step": step, "generation": 1, "alphas": axis, "betas": axis, "loss": loss, "center": low,
        "plane": {
            "kind": "random", "normalization": "filter", "seeds": [11, 111], "tensors": 28,
            "parameters": 2_000_000, "cosine": 0.0, "norms": [40.0, 40.0],
        },
        "batch": {"tokens": 512, "sha256": "a41f09", "source": "held-out"},
        "seconds": 0.4,
    })
}

/// The events of a recording, each a time and what the terminal was sent, after its header.
fn recording(file: Vec<u8>) -> (Value, Vec<(f64, String)>) {
    let text = String::from_utf8(file).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let header = lines.next().unwrap();
    let event = |line: Value| {
        assert_eq!((line.as_array().unwrap().len(), &line[1]), (3, &json!("o")));
        (line[0].as_f64().unwrap(), line[2].as_str().unwrap().to_owned())
    };
    (header, lines.map(event).collect())
}

fn terminal(columns: u16, rows: u16) -> vt100::Parser {
    vt100::Parser::new(NonZero::new(rows).unwrap(), NonZero::new(columns).unwrap(), 0)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_recording_shows_the_screen_of_each_slice_and_of_the_steps_up_to_it() {
    let kept = Kept::new(&[(0, 9), (4, 9), (8, 5), (12, 9)]);
    let (header, events) = recording(kept.export("a.cast", &[]));
    assert_eq!(
        [&header["version"], &header["width"], &header["height"], &header["title"]],
        [&json!(2), &json!(120), &json!(40), &json!("llamascape: otter")]
    );
    assert_eq!(events.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [0.0, 0.1, 0.2, 0.3]);
    let mut terminal = terminal(120, 40);
    for ((_, sent), step) in events.iter().zip([0, 4, 8, 12]) {
        terminal.process(sent.as_bytes());
        let text = terminal.screen().contents();
        assert!(text.contains(&format!("as of step {step}")), "{text}");
        assert!(text.contains(&format!(" step {step}/1  ")), "{text}");
        assert!(!text.contains("Log"), "{text}");
    }
    assert!(events[0].1.contains("38;2;"), "it has its colours, whatever this terminal has");
    assert!(events[1..].iter().all(|(_, sent)| sent.len() < events[0].1.len()), "differences are sent");
}

#[test]
fn a_recording_is_as_long_as_large_and_as_fast_as_asked_for() {
    let kept = Kept::new(&[(0, 9), (4, 9), (8, 5), (12, 9)]);
    let flags = ["--frames", "2", "--fps", "4", "--size", "80x24", "--theme", "light"];
    let (header, events) = recording(kept.export("a.cast", &flags));
    assert_eq!([&header["width"], &header["height"]], [&json!(80), &json!(24)]);
    assert_eq!(events.iter().map(|(time, _)| *time).collect::<Vec<_>>(), [0.0, 0.25]);
    let mut terminal = terminal(80, 24);
    for (_, sent) in &events {
        terminal.process(sent.as_bytes());
    }
    let text = terminal.screen().contents();
    assert!(text.contains("as of step 12") && text.lines().count() <= 24, "{text}");
}

#[test]
fn arrays_hold_the_slices_of_the_commonest_grid_and_every_metric() {
    let kept = Kept::new(&[(0, 9), (4, 5), (8, 5), (12, 5)]);
    let (code, _, told) = kept.say(&["--out", "a.npz"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("1 of 4 slices") && told.contains("5x5") && told.lines().count() == 1, "{told}");
    let arrays: BTreeMap<String, Tensor> =
        Tensor::read_npz(kept.path("a.npz")).unwrap().into_iter().collect();
    assert_eq!(arrays["steps"].to_vec1::<i64>().unwrap(), [4, 8, 12]);
    assert_eq!(arrays["generation"].to_vec1::<i64>().unwrap(), [1, 1, 1]);
    assert_eq!(arrays["center"].to_vec1::<f64>().unwrap(), [5.0, 3.0, 1.0]);
    assert_eq!([arrays["alphas"].dims(), arrays["betas"].dims()], [[3, 5]; 2]);
    let losses = arrays["loss"].to_vec3::<f32>().unwrap();
    assert_eq!((losses.len(), losses[2][2][2], losses[2][2][4], losses[2][4][2]), (3, 1.0, 2.0, 3.0));
    assert_eq!(arrays["metrics/step"].to_vec1::<i64>().unwrap(), (1..=12).collect::<Vec<i64>>());
    assert_eq!(arrays["metrics/grad_norm/embed"].to_vec1::<f64>().unwrap(), [0.5; 12]);
    let measured = arrays["metrics/eval_loss"].to_vec1::<f64>().unwrap();
    assert_eq!(measured.iter().filter(|loss| loss.is_finite()).collect::<Vec<_>>(), [&2.25]);
}

#[test]
fn a_film_has_a_frame_a_slice_on_one_scale() {
    let kept = Kept::new(&[(0, 9), (4, 9), (8, 5), (12, 9)]);
    let file = kept.export("a.gif", &["--pixels", "64", "--fps", "20"]);
    assert!(file.starts_with(b"GIF89a"));
    let mut decoder = gif::DecodeOptions::new().read_info(&file[..]).unwrap();
    let mut middles = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        assert_eq!((frame.width, frame.height, frame.delay), (64, 64, 5));
        middles.push(frame.buffer[32 * 64 + 32]);
    }
    assert_eq!((middles.len(), middles[3]), (4, 0), "the least loss is the first colour");
    assert!(middles.is_sorted_by(|a, b| a > b), "{middles:?}");
}

#[test]
fn a_folder_gets_a_picture_a_slice_and_keeps_what_is_in_it() {
    let kept = Kept::new(&[(0, 9), (412, 9)]);
    std::fs::create_dir(kept.path("frames")).unwrap();
    std::fs::write(kept.path("frames/notes.txt"), "mine").unwrap();
    let pictures = ["notes.txt", "step-000000.png", "step-000412.png"];
    for folder in ["frames", "new/frames/"] {
        assert_eq!(kept.say(&["--out", folder, "--pixels", "32"]).0, 0);
        let there = names(&kept.path(folder));
        assert_eq!(there[there.len() - 2..], pictures[1..], "{folder}");
    }
    assert_eq!(names(&kept.path("frames")), pictures);
    let picture = std::fs::File::open(kept.path("frames/step-000412.png")).unwrap();
    let info = png::Decoder::new(std::io::BufReader::new(picture)).read_info().unwrap();
    assert_eq!((info.info().width, info.info().height), (32, 32));

    std::fs::remove_file(kept.path("frames/step-000000.png")).unwrap();
    let (code, _, error) = kept.say(&["--out", "frames"]);
    assert!(code == 1 && error.contains("step-000412.png: is there already"), "{error}");
    assert_eq!(names(&kept.path("frames")), ["notes.txt", "step-000412.png"], "nothing was begun");
    assert_eq!(std::fs::read_to_string(kept.path("frames/notes.txt")).unwrap(), "mine");
}

#[test]
fn what_cannot_be_exported_is_said_in_one_line_and_leaves_nothing() {
    let (kept, bare) = (Kept::new(&[(0, 9)]), Kept::new(&[]));
    let own = kept.run().join("slices.jsonl");
    for (run, flags, code, words) in [
        (&bare, vec!["--out", "a.gif"], 1, "no slice was kept: train with --slice-every"),
        (&bare, vec!["--out", "a.cast"], 1, "no slice was kept"),
        (&bare, vec!["--out", "frames/"], 1, "no slice was kept"),
        (&kept, vec!["--out", "a.mp4"], 2, ".csv, .npz, .cast, .gif or .pvd, or in /"),
        (&kept, vec!["--out", own.to_str().unwrap()], 1, "is a file of the run"),
        (&kept, vec!["--out", "nowhere/a.gif"], 1, "nowhere/a.gif"),
        (&kept, vec!["--out", "a.gif", "--theme", "nope"], 2, "there is no theme `nope`"),
        (&kept, vec!["--out", "a.cast", "--size", "40x10"], 2, "80x24"),
        (&kept, vec!["--out", "a.gif", "--fps", "0"], 2, "--fps"),
        (&kept, vec!["--out", "a.gif", "--frames", "0"], 2, "--frames"),
    ] {
        let (ended, said, error) = run.say(&flags);
        assert_eq!((ended, said.as_str()), (code, ""), "{flags:?}: {error}");
        assert!(error.contains(words), "{flags:?}: {error}");
        assert!(code == 2 || error.lines().count() <= 2, "{flags:?}: {error}");
        assert_eq!(names(run.0.path()), ["run"], "{flags:?}");
    }
    let (code, table, _) = bare.say(&[]);
    assert_eq!((code, table.lines().count()), (0, 13), "metrics need no slice");
    assert!(table.starts_with("step,") || table.contains(",step"), "{table}");
    bare.export("metrics.npz", &[]);
    let arrays: BTreeMap<String, Tensor> =
        Tensor::read_npz(bare.path("metrics.npz")).unwrap().into_iter().collect();
    assert!(arrays.contains_key("metrics/loss") && !arrays.contains_key("loss"), "{:?}", arrays.keys());

    std::fs::write(bare.run().join("metrics.jsonl"), "").unwrap();
    for flags in [&[][..], &["--out", "none.csv"], &["--out", "none.npz"]] {
        let (code, table, error) = bare.say(flags);
        assert_eq!((code, table.as_str(), error.lines().count()), (1, "", 1), "{flags:?}: {error}");
        assert!(error.contains("metrics.jsonl: no step was written down"), "{error}");
    }
}
