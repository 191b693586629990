//! `slice`, `probe` and `bench` as scripts meet them.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod program;

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

/// A home with one run in it, of six steps and three checkpoints.
static HOME: LazyLock<TempDir> = LazyLock::new(|| {
    let home = TempDir::new().unwrap();
    let arguments = ["--steps", "6", "--save-every", "2", "--keep-last", "3", "--name", "small", "--quiet"];
    assert!(program::llamascape(home.path(), &arguments).output().unwrap().status.success());
    home
});

fn run(arguments: &[&str]) -> Output {
    program::llamascape(HOME.path(), arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json", "--quiet"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one line of a command that must fail.
fn refusal(arguments: &[&str]) -> String {
    let output = run(arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0].starts_with("llamascape: "), "{arguments:?}: {error}");
    assert!(lines[1..].iter().all(|line| line.starts_with("  because: ")), "{arguments:?}: {error}");
    error
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(numbers).collect()
}

const TEXT: [&str; 2] = ["--text", "The capital of France is Paris"];

#[test]
fn a_slice_is_rows_of_beta_around_an_absolute_middle() {
    let whole =
        [&["slice", "small", "--grid", "5x3", "--offset", "-0.1,0.2", "--range=-1:1,-0.2:0.2"], &TEXT[..]];
    let slice = json(&whole.concat());
    assert_eq!(slice["model"], "small@6");
    let (alphas, betas) = (numbers(&slice["alphas"]), numbers(&slice["betas"]));
    assert!(alphas.iter().zip([-1.1, -0.6, -0.1, 0.4, 0.9]).all(|(a, b)| (a - b).abs() < 1e-12));
    assert!(betas.iter().zip([0.0, 0.2, 0.4]).all(|(a, b)| (a - b).abs() < 1e-12));
    let loss = rows(&slice["loss"]);
    assert_eq!((loss.len(), loss[0].len()), (3, 5));
    assert!((slice["center"]["loss"].as_f64().unwrap() - loss[1][2]).abs() < 1e-5);
    let plane = &slice["plane"];
    assert_eq!(
        (&plane["kind"], &plane["normalization"], &plane["tensors"]),
        (&"random".into(), &"filter".into(), &28.into())
    );
    assert_eq!(
        (&slice["batch"]["tokens"], &slice["objective"], &slice["method"]),
        (&5.into(), &"mean".into(), &"stack".into())
    );
    assert!(slice["note"].as_str().unwrap().contains("filter norm, seeds 11 111"));
    // The loss at (0, 0) is what `eval` says.
    let origin = json(&[&["slice", "small", "--grid", "1x1"], &TEXT[..]].concat());
    let eval = json(&[&["eval", "small"], &TEXT[..]].concat());
    let (a, b) = (origin["loss"][0][0].as_f64().unwrap(), eval["loss"].as_f64().unwrap());
    assert!((a - b).abs() < 1e-5, "{a} for {b}");
}

#[test]
fn both_methods_and_any_number_of_threads_give_the_same_picture() {
    let slice = |flags: &[&str]| {
        rows(
            &json(&[&["slice", "small", "--grid", "5x5", "--objective", "last"], &TEXT[..], flags].concat())
                ["loss"],
        )
    };
    let stacked = slice(&["--method", "stack", "--threads", "1"]);
    assert_eq!(stacked, slice(&["--method", "stack", "--threads", "3"]));
    for (a, b) in stacked.iter().flatten().zip(slice(&["--method", "materialise"]).iter().flatten()) {
        assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} for {b}");
    }
}

#[test]
fn directions_are_saved_and_loaded_and_a_file_of_others_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (saved, surface) = (path("d.safetensors"), path("s.npz"));
    let base = [&["slice", "small", "--grid", "4x3"], &TEXT[..]].concat();
    let first = json(
        &[&base[..], &["--norm", "layer", "--with-norms", "--save-directions", &saved, "--out", &surface]]
            .concat(),
    );
    let again = json(&[&base[..], &["--load-directions", &saved]].concat());
    assert_eq!(first["loss"], again["loss"]);
    assert_eq!(again["plane"]["kind"], "loaded");
    assert!(std::fs::metadata(surface).unwrap().len() > 500);

    let text = path("text.safetensors");
    std::fs::write(&text, "no tensors").unwrap();
    assert!(refusal(&[&base[..], &["--load-directions", &text]].concat()).contains("text.safetensors"));
    let fixture = format!("{}/tests/fixtures/tiny.gguf", env!("CARGO_MANIFEST_DIR"));
    let other =
        ["slice", &fixture, "--grid", "2x2", "--text", "The capital of France", "--load-directions", &saved];
    let error = refusal(&other);
    assert!(error.contains("d.safetensors") && error.contains("model."), "{error}");
}

#[test]
fn every_kind_of_plane_says_what_it_is() {
    let plane = |flags: &[&str]| {
        json(&[&["slice", "small", "--grid", "3x3", "--range=-0.1:0.1"], flags].concat())["plane"].clone()
    };
    let gradient = plane(&["--plane", "gradient"]);
    assert!((gradient["norms"][0].as_f64().unwrap() - 1.0).abs() < 1e-5);
    assert!(gradient["cosine"].as_f64().unwrap().abs() < 1e-5);
    let update = plane(&["--plane", "update"]);
    assert!(update["norms"][0].as_f64().unwrap() > 0.0);
    let trajectory = plane(&["--plane", "trajectory"]);
    let explained = &trajectory["explained"];
    assert!(
        explained["shares"][0].as_f64().unwrap() > 0.5 && explained["random_walk"][0].as_f64().unwrap() > 0.5
    );
    let hessian = plane(&["--plane", "hessian", "--layers", "3..4"]);
    let spectrum = &hessian["spectrum"];
    assert!(spectrum["greatest"].as_f64().unwrap() > spectrum["least"].as_f64().unwrap());
    assert_eq!(hessian["tensors"], 7);
    let to = plane(&["--plane", "to:small@2"]);
    assert_eq!(to["kind"], "to:small@2");
    let output = run(&["slice", "small", "--plane", "gradient", "--norm", "filter"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && error.contains("--norm"), "{error}");
}

#[test]
fn several_seeds_give_lines_with_their_median_and_quartiles() {
    let line = json(&[&["slice", "small", "--grid", "5x1", "--seeds", "1,2,3"], &TEXT[..]].concat());
    let lines = &line["lines"];
    assert_eq!(rows(&lines["loss"]).len(), 3);
    assert_eq!(rows(&lines["loss"])[0], rows(&line["loss"])[0]);
    let mut middle: Vec<f64> = rows(&lines["loss"]).iter().map(|line| line[0]).collect();
    middle.sort_by(f64::total_cmp);
    assert_eq!(lines["median"][0].as_f64(), Some(middle[1]));
    let alone = json(&[&["slice", "small", "--grid", "5x1", "--seeds", "2"], &TEXT[..]].concat());
    assert_eq!(rows(&alone["loss"])[0], rows(&lines["loss"])[1]);
}

#[test]
fn a_slice_is_drawn_as_a_map_lines_as_a_chart_and_a_surface_turns() {
    let folder = TempDir::new().unwrap();
    let draw = |name: &str, flags: &[&str]| {
        let path = folder.path().join(name);
        let out = ["--quiet", "--out", path.to_str().unwrap()];
        let output = run(&[&["slice", "small"], flags, &TEXT[..], &out].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::read(path).unwrap()
    };
    let svg = |name: &str, flags: &[&str]| {
        let text = String::from_utf8(draw(name, flags)).unwrap();
        resvg::usvg::roxmltree::Document::parse(&text).unwrap();
        text
    };
    let map = svg("map.svg", &["--grid", "7x5", "--offset", "0.25,0", "--log"]);
    assert_eq!(map.matches("z\" fill=\"#").count(), 6 * 4, "a quadrangle between four points");
    for words in ["The loss on a plane", "7x5 points", "seeds 11 111", "(the ring)", "by the logarithm"] {
        assert!(map.contains(words), "{words} is missing");
    }
    // The ring has the loss at the weights, wherever the middle of the picture is.
    let weights = json(&[&["eval", "small"], &TEXT[..]].concat())["loss"].as_f64().unwrap();
    let said = map.split("loss ").find_map(|rest| rest.split_once(" at the weights")?.0.parse::<f64>().ok());
    assert!((said.unwrap() - weights).abs() < 1e-3, "{said:?} for {weights}");

    let chart = svg("lines.svg", &["--grid", "9x1", "--seeds", "1,2,3,4"]);
    let lines = chart.lines().filter(|line| line.contains("stroke-linejoin"));
    assert_eq!(
        lines.map(|line| line.matches('L').count()).collect::<Vec<_>>(),
        [8; 5],
        "four and their median"
    );
    assert!(
        chart.contains("The loss on a line") && chart.contains("4 lines, and bold their median"),
        "{chart}"
    );

    assert!(draw("map.png", &["--grid", "3x3"]).starts_with(b"\x89PNG"));
    let film = draw("film.gif", &["--grid", "4x4"]);
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut film = options.read_info(&film[..]).unwrap();
    let mut pictures = std::collections::BTreeSet::new();
    while let Some(frame) = film.read_next_frame().unwrap() {
        assert_eq!((frame.width, frame.height), (960, 677));
        pictures.insert(frame.buffer.to_vec());
    }
    assert_eq!(pictures.len(), 48, "each is turned further");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
}

#[test]
fn an_interrupted_slice_leaves_a_file_that_is_gone_on_with() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (out, directions) = (path("s.csv"), path("d.safetensors"));
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let (out_text, directions_text) = (text(&out), text(&directions));
    let base = ["slice", "small", "--grid", "33x33", "--quiet", "--threads", "1", "--out", &out_text];
    let mut child =
        program::llamascape(HOME.path(), &[&base[..], &["--save-directions", &directions_text]].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    // The directions are written when the evaluation begins.
    while !directions.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("interrupted") && error.contains("--resume goes on"), "{error}");
    let partial = std::fs::read_to_string(&out).unwrap();
    assert_eq!(partial.lines().filter(|line| !line.starts_with('#')).count(), 1 + 33 * 33);
    assert!(partial.contains(",NaN\n"), "nothing is missing");

    let error = refusal(&[&base[..], &["--resume", "--seeds", "1,2"]].concat());
    assert!(error.contains("another plane"), "{error}");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), partial, "a refusal touches nothing");
    assert!(run(&[&base[..], &["--resume"]].concat()).status.success());
    let whole = std::fs::read_to_string(&out).unwrap();
    assert!(!whole.contains(",NaN\n"));
    let known = partial.lines().filter(|line| !line.starts_with('#') && !line.ends_with("NaN"));
    assert!(known.clone().all(|line| whole.contains(line)), "what was known is kept");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_probe_turns_one_or_two_numbers_from_their_values() {
    let name = "model.layers.3.mlp.down_proj.weight";
    let probe = json(
        &[
            &["probe", "small", "--param", &format!("{name}[5,7]"), "--points", "5", "--range=-2:2"],
            &TEXT[..],
        ]
        .concat(),
    );
    let param = &probe["params"][0];
    assert_eq!((&param["name"], &param["index"]), (&name.into(), &serde_json::json!([5, 7])));
    let value = param["value"].as_f64().unwrap();
    let values = numbers(&probe["values"][0]);
    assert_eq!((values.len(), values[2]), (5, value));
    assert!((values[4] - value - 2.0).abs() < 1e-12);
    let eval = json(&[&["eval", "small"], &TEXT[..]].concat());
    assert!((numbers(&probe["loss"])[2] - eval["loss"].as_f64().unwrap()).abs() < 1e-5);
    assert!((numbers(&probe["p_target"])[2] - eval["target"]["p"].as_f64().unwrap()).abs() < 1e-5);

    let pair = json(
        &[
            &[
                "probe",
                "small",
                "--param",
                &format!("{name}[5,7]"),
                "--param",
                "model.norm.weight[3]",
                "--points",
                "3",
            ],
            &TEXT[..],
        ]
        .concat(),
    );
    assert_eq!((rows(&pair["loss"]).len(), pair["values"].as_array().unwrap().len()), (3, 2));
    assert_eq!(pair["params"][1]["index"], serde_json::json!([3]));

    // The slope of a sweep at its middle is the gradient it names, and the list begins with the steepest.
    let ranked = json(
        &[&["probe", "small", "--rank-by-gradient", "3", "--points", "3", "--range=-0.01:0.01"], &TEXT[..]]
            .concat(),
    );
    let steepest: Vec<f64> = ranked["ranked"]
        .as_array()
        .unwrap()
        .iter()
        .map(|param| param["grad"].as_f64().unwrap().abs())
        .collect();
    assert!(steepest.len() == 3 && steepest[0] >= steepest[1] && steepest[1] >= steepest[2]);
    let loss = numbers(&ranked["loss"]);
    let slope = (loss[2] - loss[0]) / 0.02;
    let grad = ranked["params"][0]["grad"].as_f64().unwrap();
    assert!((slope / grad - 1.0).abs() < 0.05, "{slope} for {grad}");
}

#[test]
fn what_can_not_be_drawn_is_refused_in_one_line() {
    let tiny = format!("{}/tests/fixtures/tiny.gguf", env!("CARGO_MANIFEST_DIR"));
    for (code, flags, words) in [
        (
            1,
            vec!["slice", "small", "--layers", "2..2"],
            "--layers 2..2: not layers of the model, which has 4",
        ),
        (1, vec!["slice", "small", "--layers", "0..9"], "which has 4"),
        (1, vec!["slice", "small", "--layers", "two"], "--layers two"),
        (1, vec!["slice", "small", "--tensors", "*conv*"], "--tensors *conv*: no tensor of the model"),
        (1, vec!["slice", "small", "--tensors", "*norm*"], "--with-norms"),
        (2, vec!["slice", "small", "--range", "0:0"], "25 points need a width"),
        (2, vec!["slice", "small", "--seeds", "1"], "two seeds"),
        (2, vec!["slice", "small", "--seeds", "1,2,3"], "--grid 25x1"),
        (2, vec!["slice", "small", "--out", "s.doc"], ".json, .csv, .npz or .vtp, or for a picture in .svg"),
        (2, vec!["slice", "small", "--out", "s.gif", "--grid", "9x1"], "a line does not turn"),
        (2, vec!["slice", "small", "--out", "s.png", "--grid", "1x9"], "two columns at least"),
        (2, vec!["slice", "small", "--out", "s.png", "--resume"], "s.png can't be read again"),
        (2, vec!["slice", "small", "--out", "s.npz", "--log"], "only a picture has a scale"),
        (
            1,
            vec!["slice", "small", "--out", "no/such/folder/s.json", "--grid", "1x1", "--text", "a b"],
            "no/such/folder",
        ),
        (1, vec!["slice", "small", "--memory", "1M"], "1.0 MB are allowed"),
        (1, vec!["slice", "small", "--text", ""], "--text: 0 token"),
        (1, vec!["slice", &tiny], "give --text TEXT or --data FILE"),
        (1, vec!["slice", &tiny, "--text", "The capital", "--plane", "update"], "no run of llamascape"),
        (1, vec!["slice", "small", "--plane", "to:nobody"], "nobody"),
        (1, vec!["slice", "small", "--plane", &format!("to:{tiny}")], "do not share a plane"),
        (1, vec!["slice", "small@2", "--plane", "update"], "no checkpoint before"),
        (1, vec!["slice", "nobody", "--text", "a b"], "nobody"),
        (1, vec!["probe", "small", "--param", "model.norm.weight[0,1]"], "counted from 0"),
        (2, vec!["probe", "small", "--param", "model.norm.weight"], "write it as"),
        (1, vec!["probe", "small", "--param", "nothing[0]"], "no such tensor"),
        (
            1,
            vec!["probe", "small", "--param", "model.norm.wieght[0]"],
            "--param model.norm.wieght: the model has no such tensor; the nearest is model.norm.weight",
        ),
        (
            2,
            vec!["probe", "small", "--param", "model.norm.weight[1]", "--param", "model.norm.weight[1]"],
            "needs two",
        ),
    ] {
        let output = run(&flags);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{flags:?}: {error}");
        assert!(error.contains(words), "{flags:?}: {error}");
        assert!(error.starts_with("llamascape: "), "{flags:?}: {error}");
    }
    assert!(!Path::new("s.doc").exists());
    for flags in [
        vec!["slice", "small", "--seeds", "one,two"],
        vec!["slice", "small", "--range", "1:-1"],
        vec!["slice", "small", "--grid", "0x5"],
        vec!["slice", "small", "--grid", "99999x99999"],
        vec!["slice", "small", "--plane", "sideways"],
        vec!["slice", "small", "--resume"],
        vec!["probe", "small"],
        vec!["bench", "--preset", "giant"],
    ] {
        assert_eq!(run(&flags).status.code(), Some(2), "{flags:?}");
    }
}

#[test]
fn a_benchmark_measures_every_part() {
    let bench = json(&["bench", "--seconds", "1", "--threads", "1"]);
    assert_eq!((&bench["threads"], &bench["train"]["preset"]), (&1.into(), &"nano".into()));
    assert_eq!((&bench["slice"]["tokens"], &bench["slice"]["method"]), (&512.into(), &"materialise".into()));
    for (part, number) in [
        ("train", "tokens_per_second"),
        ("train", "gflops"),
        ("slice", "points_per_second"),
        ("slice", "gflops"),
        ("ui", "frame_ms_p99"),
        ("ui", "bytes_per_refresh"),
    ] {
        assert!(bench[part][number].as_f64().unwrap() > 0.0, "{part} {number}");
    }
    assert!(bench["gemm_gflops"].as_f64().unwrap() > 0.0);
}
