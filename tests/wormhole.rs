//! The wormhole: a start on a plateau, steps of all weights, and the plane that travels with them.

// What fails to unwrap fails the test; losses are compared bit for bit where nothing may change them.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod program;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use candle_core::{DType, Device, Tensor};
use llamascape::landscape::evaluator::Objective;
use llamascape::landscape::plane::{Direction, Normalization, Plane, product};
use llamascape::landscape::selection::Selection;
use llamascape::landscape::survey::Control;
use llamascape::model::checkpoint::{Checkpoint, save};
use llamascape::model::llama::Llama;
use llamascape::model::params::Params;
use llamascape::protocol::OptimizerKind;
use llamascape::run::wormhole::{Canvas, Descent, View, Wormhole};
use llamascape::train::corpus::Batch;
use serde_json::Value;
use tempfile::TempDir;

const TEXT: &str = "The capital of France is Paris";
const OFFSET: [f64; 2] = [-0.9, 0.05];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-hf")
}

fn tiny() -> Checkpoint {
    Checkpoint::open(&fixture(), &Device::Cpu, &mut |_| {}).unwrap()
}

/// The experiment on the small model, at a rate that shows in a few steps.
fn experiment() -> Wormhole {
    let checkpoint = tiny();
    let llama = Llama::new(&checkpoint.config, DType::F32, &Device::Cpu).unwrap();
    let names = Selection::default().names(&checkpoint.params).unwrap();
    let plane = Plane::random(&checkpoint.params, &names, [11, 111], Normalization::Layer).unwrap();
    let batch = Batch::new(vec![checkpoint.tokenizer.encode(TEXT).unwrap()]);
    let descent = Descent { offset: OFFSET, optimizer: OptimizerKind::Adam, learning_rate: 3e-3, threads: 2 };
    Wormhole::begin(llama, &checkpoint.params, plane, batch, descent, &Device::Cpu).unwrap()
}

fn command(arguments: &[&str]) -> Command {
    program::llamascape(Path::new(env!("CARGO_TARGET_TMPDIR")), arguments)
}

/// A command on the small model and the text.
fn run(name: &str, flags: &[&str]) -> Output {
    let model = fixture();
    let model = model.to_str().unwrap();
    command(&[&[name, model, "--text", TEXT, "--quiet"], flags].concat()).output().unwrap()
}

fn json(name: &str, flags: &[&str]) -> Value {
    let output = run(name, &[flags, &["--json"]].concat());
    assert!(output.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    let numbers = |row: &Value| row.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    value.as_array().unwrap().iter().map(numbers).collect()
}

fn near(a: f64, b: f64, within: f64) {
    assert!((a - b).abs() <= within * b.abs().max(1.0), "{a} for {b}");
}

#[test]
fn the_json_is_the_start_and_every_step_with_a_surface_at_every_so_many() {
    let flags = ["--steps", "6", "--lr", "3e-3", "--every", "4", "--grid", "3x2", "--objective", "last"];
    let record = json("wormhole", &flags);
    assert_eq!(
        keys(&record),
        ["alphas", "betas", "chance", "objective", "offset", "plane", "steps", "surfaces"]
    );
    assert_eq!((&record["objective"], &record["offset"]), (&"last".into(), &serde_json::json!(OFFSET)));
    let plane = &record["plane"];
    assert_eq!(
        (&plane["kind"], &plane["normalization"], &plane["seeds"]),
        (&"random".into(), &"layer".into(), &serde_json::json!([11, 111]))
    );
    let elements = tiny().params.elements() as f64;
    near(record["chance"].as_f64().unwrap(), (2.0 / elements).sqrt(), 1e-12);

    let steps = record["steps"].as_array().unwrap();
    for (number, step) in steps.iter().enumerate() {
        assert_eq!(keys(step), ["captured", "distance", "inside", "loss", "loss_target", "step"]);
        assert_eq!((step["step"].as_u64(), step["captured"].is_null()), (Some(number as u64), number == 0));
    }
    assert_eq!(steps.len(), 7);
    let number = |step: usize, key: &str| steps[step][key].as_f64().unwrap();
    assert!(number(6, "loss") < number(0, "loss"), "the loss falls");
    assert_eq!(number(0, "distance"), 0.0);
    assert!(number(1, "distance") > 0.0 && number(6, "distance") > number(1, "distance"));
    assert_eq!(steps[0]["inside"], serde_json::json!([0.0, 0.0]));

    let surfaces = record["surfaces"].as_array().unwrap();
    let numbers: Vec<u64> = surfaces.iter().map(|surface| surface["step"].as_u64().unwrap()).collect();
    assert_eq!((numbers, keys(&surfaces[0])), (vec![0, 4], vec!["loss", "step"]));
    assert!(surfaces.iter().all(|surface| rows(&surface["loss"]).iter().map(Vec::len).eq([3, 3])));

    let plain = json("wormhole", &["--steps", "0"]);
    assert_eq!(keys(&plain), ["chance", "objective", "offset", "plane", "steps"]);
    assert_eq!(plain["steps"].as_array().unwrap().len(), 1);
}

#[test]
fn the_movement_inside_the_plane_is_the_projection_on_its_directions() {
    let mut wormhole = experiment();
    let start = wormhole.weights(View::Frozen);
    for _ in 0..3 {
        wormhole.step().unwrap();
    }
    let moment = wormhole.moment().unwrap();
    let now = wormhole.weights(View::Travelling);
    let moved: Direction = start
        .iter()
        .map(|(name, before)| (name.to_owned(), (now.get(name).unwrap() - before).unwrap()))
        .collect();
    let directions = [wormhole.plane().direction(0), wormhole.plane().direction(1)];
    let [d1, d2] = &directions;
    let dot = |a: &Direction, b: &Direction| product(a, b).unwrap();
    // The normal equations of the nearest point of the plane.
    let (d11, d12, d22) = (dot(d1, d1), dot(d1, d2), dot(d2, d2));
    let along = [dot(&moved, d1), dot(&moved, d2)];
    let determinant = d11 * d22 - d12 * d12;
    let alpha = (d22 * along[0] - d12 * along[1]) / determinant;
    let beta = (d11 * along[1] - d12 * along[0]) / determinant;
    assert!(alpha != 0.0 && beta != 0.0);
    assert!((moment.inside[0] - alpha).abs() < 1e-6 * alpha.abs(), "{} for {alpha}", moment.inside[0]);
    assert!((moment.inside[1] - beta).abs() < 1e-6 * beta.abs(), "{} for {beta}", moment.inside[1]);
    let distance = dot(&moved, &moved).sqrt();
    near(moment.distance, distance, 1e-6);
    let length = (alpha * alpha * d11 + 2.0 * alpha * beta * d12 + beta * beta * d22).sqrt();
    near(moment.captured.unwrap(), length / distance, 1e-6);
}

#[test]
fn the_moving_point_stays_at_the_offset_and_the_frozen_plane_stays_as_it_is() {
    let mut wormhole = experiment();
    let canvas = Canvas {
        alphas: vec![-1.0, OFFSET[0], 0.0],
        betas: vec![OFFSET[1], 0.5],
        objective: Objective::Mean,
        method: None,
        most: 4,
    };
    let surface =
        |wormhole: &Wormhole, view| wormhole.surface(view, &canvas, &Control::QUIET).unwrap().unwrap();
    let at_start = surface(&wormhole, View::Travelling);
    assert_eq!(surface(&wormhole, View::Frozen), at_start);
    near(at_start[0][1], wormhole.moment().unwrap().loss, 1e-4);
    for step in 1..=3 {
        let moment = wormhole.step().unwrap();
        assert_eq!(moment.step, step);
        let travelling = surface(&wormhole, View::Travelling);
        near(travelling[0][1], moment.loss, 1e-4);
        assert!(travelling != at_start);
    }
    assert_eq!(surface(&wormhole, View::Frozen), at_start);
    let stopped = Control { go_on: &|| false, ..Control::QUIET };
    assert!(wormhole.surface(View::Travelling, &canvas, &stopped).unwrap().is_none());
}

#[test]
fn the_first_surface_is_the_slice_of_the_model_and_holds_the_start() {
    let plane = ["--norm", "layer", "--seeds", "3,4", "--range=-1:1,-0.5:0.5", "--grid", "5x3"];
    let slice = json("slice", &plane);
    let record = json("wormhole", &[&plane[..], &["--steps", "0"]].concat());
    assert_eq!((&record["alphas"], &record["betas"]), (&slice["alphas"], &slice["betas"]));
    assert_eq!(record["plane"], slice["plane"]);
    let (first, whole) = (rows(&record["surfaces"][0]["loss"]), rows(&slice["loss"]));
    for (a, b) in first.iter().flatten().zip(whole.iter().flatten()) {
        near(*a, *b, 1e-4);
    }
    let point = ["--range=-0.9:-0.9,0.05:0.05", "--grid", "1x1", "--steps", "3", "--every", "1"];
    let record = json("wormhole", &[&point[..], &["--lr", "3e-3"]].concat());
    for (surface, step) in
        record["surfaces"].as_array().unwrap().iter().zip(record["steps"].as_array().unwrap())
    {
        near(surface["loss"][0][0].as_f64().unwrap(), step["loss"].as_f64().unwrap(), 1e-4);
    }
}

#[test]
fn the_films_directions_are_the_first_half_of_the_layers_with_norms() {
    let film = json("wormhole", &["--film", "--steps", "0"]);
    let half = ["--layers", "0..1", "--with-norms", "--norm", "layer", "--steps", "0"];
    assert_eq!(film["plane"], json("wormhole", &half)["plane"]);
    // Seven matrices and their biases, and two norms.
    assert_eq!(film["plane"]["tensors"], 16);
}

#[test]
fn directions_that_were_saved_lead_the_same_way() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("d.safetensors");
    let path = path.to_str().unwrap();
    let flags = ["--steps", "2", "--lr", "1e-3"];
    let first = json("wormhole", &[&flags[..], &["--film", "--save-directions", path]].concat());
    let again = json("wormhole", &[&flags[..], &["--load-directions", path]].concat());
    assert_eq!(first["steps"], again["steps"]);
    assert_eq!(again["plane"]["kind"], "loaded");
}

#[test]
fn the_result_is_written_as_arrays_as_a_film_and_as_the_object() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let flags = ["--steps", "4", "--lr", "3e-3", "--every", "2", "--grid", "5x3"];
    let write = |name: &str| json("wormhole", &[&flags[..], &["--out", &path(name)]].concat());
    let record = write("w.npz");
    let arrays: BTreeMap<String, Tensor> = Tensor::read_npz(path("w.npz")).unwrap().into_iter().collect();
    let names: Vec<&str> = arrays.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "alphas",
            "betas",
            "chance",
            "loss",
            "metrics/captured",
            "metrics/distance",
            "metrics/inside",
            "metrics/loss",
            "metrics/loss_target",
            "metrics/step",
            "note",
            "offset",
            "steps"
        ]
    );
    assert_eq!(arrays["steps"].to_vec1::<i64>().unwrap(), [0, 2, 4]);
    assert_eq!(arrays["loss"].dims(), [3, 3, 5]);
    assert_eq!(arrays["loss"].to_vec3::<f64>().unwrap()[2], rows(&record["surfaces"][2]["loss"]));
    assert_eq!(arrays["metrics/step"].to_vec1::<i64>().unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(arrays["metrics/inside"].dims(), [5, 2]);
    let captured = arrays["metrics/captured"].to_vec1::<f64>().unwrap();
    assert!(captured[0].is_nan() && captured[1..].iter().all(|share| *share > 0.0), "{captured:?}");
    let note = String::from_utf8(arrays["note"].to_vec1::<u8>().unwrap()).unwrap();
    assert!(note.starts_with("tiny-hf: mean loss of") && note.ends_with("with adam, lr 3e-3"), "{note}");

    write("w.gif");
    let film = std::fs::read(path("w.gif")).unwrap();
    let mut decoder = gif::DecodeOptions::new().read_info(&film[..]).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        frames.push(frame.buffer.to_vec());
    }
    assert_eq!(frames.len(), 3);
    assert!(frames[0] != frames[2], "the plane changes");

    let record = write("w.json");
    let written = std::fs::read_to_string(path("w.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&written).unwrap(), record);
}

#[test]
fn a_person_reads_a_line_a_step_and_what_it_comes_to() {
    let output = run("wormhole", &["--steps", "3", "--lr", "3e-3", "--grid", "3x3", "--every", "3"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("from -0.9,0.05 down the mean loss"), "{text}");
    assert!(lines[1].contains("captured") && lines[1].contains("chance"), "{text}");
    let numbers = |line: &&&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    assert_eq!(lines.iter().skip(2).filter(numbers).count(), 4, "{text}");
    assert_eq!(lines.iter().filter(|line| line.contains("the plane around it")).count(), 2, "{text}");
    let last = lines[lines.len() - 1];
    assert!(last.starts_with("the loss fell from ") && last.contains("inside the plane: captured"), "{last}");
}

#[test]
fn what_was_done_by_an_interruption_is_printed_and_written() {
    let folder = TempDir::new().unwrap();
    let (out, directions) = (folder.path().join("w.json"), folder.path().join("d.safetensors"));
    let model = fixture();
    let child = command(&["wormhole", model.to_str().unwrap(), "--text", TEXT, "--steps", "1000000000"])
        .args(["--json", "--quiet", "--out"])
        .args([out.as_os_str(), "--save-directions".as_ref(), directions.as_os_str()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    // The directions are written before the first step.
    while !directions.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(
        error.contains("of 1000000000; what is known is in ") && error.contains("interrupted"),
        "{error}"
    );
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!record["steps"].as_array().unwrap().is_empty());
    let written: Value = serde_json::from_str(&std::fs::read_to_string(out).unwrap()).unwrap();
    assert_eq!(written, record);
}

#[test]
fn a_loss_that_is_not_finite_ends_it_with_what_is_known() {
    let folder = TempDir::new().unwrap();
    let Checkpoint { config, params, tokenizer, .. } = tiny();
    let broken = "model.layers.1.mlp.up_proj.weight";
    let break_one = |(name, tensor): (&str, &Tensor)| {
        let tensor = if name == broken { (tensor * f64::NAN).unwrap() } else { tensor.clone() };
        (name.to_owned(), tensor)
    };
    let params: Params = params.iter().map(break_one).collect();
    let model = folder.path().join("broken");
    save(&model, &config, &params, &tokenizer, None).unwrap();
    let model = model.to_str().unwrap();
    let output = command(&["wormhole", model, "--text", TEXT, "--film", "--json"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("it ended at step 0 of 24") && error.contains("not finite"), "{error}");
    let record: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["steps"].as_array().unwrap().len(), 1);
    assert!(record["steps"][0]["loss"].is_null());
}

#[test]
fn what_can_not_be_done_is_refused_in_one_line() {
    let long = "a ".repeat(300);
    let model = fixture();
    let model = model.to_str().unwrap();
    let text = ["--text", TEXT];
    for (code, flags, words) in [
        (1, vec!["--text", ""], "token: a prompt needs two"),
        (1, vec!["--text", &long], "more than the model's context of 256"),
        (
            2,
            [&text[..], &["--grid", "5x5", "--range=-0.5:1"]].concat(),
            "lies outside the picture: widen --range",
        ),
        (
            2,
            [&text[..], &["--grid", "5x5", "--offset", "0,2"]].concat(),
            "--offset 0,2: the start lies outside",
        ),
        (2, [&text[..], &["--grid", "5x5", "--range=-1:1,0.05:0.05"]].concat(), "5 points need a width"),
        (2, [&text[..], &["--seeds", "1"]].concat(), "two seeds"),
        (1, [&text[..], &["--seeds", "5,5"]].concat(), "the same but for their length"),
        (1, [&text[..], &["--layers", "0..9"]].concat(), "which has 2"),
        (2, [&text[..], &["--out", "w.csv"]].concat(), ".npz, .json, .gif or .pvd"),
        (2, [&text[..], &["--out", "w.gif"]].concat(), "add --grid"),
        (1, [&text[..], &["--out", "no/such/folder/w.npz"]].concat(), "no/such/folder"),
        (1, [&text[..], &["--memory", "100k"]].concat(), "100.0 kB are allowed"),
    ] {
        let output = command(&[&["wormhole", model][..], &flags].concat()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {error}");
        assert!(error.starts_with("llamascape: ") && error.contains(words), "{flags:?}: {error}");
        assert!(output.stdout.is_empty(), "{flags:?}");
    }
    for flags in [
        vec!["--steps", "3"],
        [&text[..], &["--film", "--norm", "filter"]].concat(),
        [&text[..], &["--every", "0"]].concat(),
        [&text[..], &["--lr", "0"]].concat(),
        [&text[..], &["--grid", "0x5"]].concat(),
    ] {
        let output = command(&[&["wormhole", model][..], &flags].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags:?}");
    }
}
