//! A run that is killed and goes on is the run that was not: the real binary, killed for real.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod program;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use candle_core::Device;
use llamascape::train::resume;
use tempfile::TempDir;

/// Steps of every run here.
const STEPS: &str = "30";

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = program::llamascape(home, &["train", "--headless", "--quiet", "--eval-every", "10"]);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn train(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).output().unwrap()
}

fn trained(home: &Path, arguments: &[&str]) {
    let output = train(home, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The one line that a run which can't go on ends with.
fn refused(home: &Path, arguments: &[&str]) -> String {
    let output = train(home, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    let said: Vec<&str> = error.lines().filter(|line| line.starts_with("llamascape: ")).collect();
    assert_eq!((output.status.code(), said.len()), (Some(1), 1), "{arguments:?}: {error}");
    error[error.find("llamascape: ").unwrap()..].to_owned()
}

/// Weights, moments and state at a step, and all metrics but the time.
fn traces(run: &Path, step: u64) -> (Vec<Vec<u8>>, String) {
    let files = ["model.safetensors", "optimizer.safetensors", "trainer_state.json"];
    let folder = run.join(format!("checkpoint-{step}"));
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let without_time = |line: &str| {
        let (before, after) = line.split_once("\"seconds\":").unwrap();
        format!("{before}{}\n", after.split_once(',').unwrap().1)
    };
    (
        files.map(|file| std::fs::read(folder.join(file)).unwrap()).to_vec(),
        metrics.lines().map(without_time).collect(),
    )
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Waits until something is so, and fails after a minute.
fn wait_until(what: &str, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_run_is_the_same_to_the_bit_with_any_threads_and_however_it_is_interrupted() {
    let home = TempDir::new().unwrap();
    let run = |name: &str| path(&home, name);
    let whole = |name: &str, threads: &str| {
        trained(home.path(), &["--steps", STEPS, "--threads", threads, "--run-dir", &run(name)]);
        traces(Path::new(&run(name)), 30)
    };
    let straight = whole("one", "1");
    assert_eq!(straight.1.lines().count(), 30);
    for threads in ["2", "4"] {
        assert!(whole(threads, threads) == straight, "{threads} threads");
    }

    let stopped = run("stopped");
    trained(home.path(), &["--steps", "13", "--run-dir", &stopped]);
    trained(home.path(), &["--steps", STEPS, "--resume", &stopped]);
    assert!(traces(Path::new(&stopped), 30) == straight, "after a clean stop");

    let killed = run("killed");
    let metrics = PathBuf::from(&killed).join("metrics.jsonl");
    let steps = || std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count());
    let mut arguments = vec!["--steps", STEPS, "--save-every", "4", "--run-dir", &killed];
    for at in [2, 9, 22] {
        let child = command(home.path(), &arguments).spawn().unwrap();
        wait_until("some steps", || steps() >= at);
        kill(child);
        arguments = vec!["--steps", STEPS, "--resume", &killed];
    }
    trained(home.path(), &arguments);
    assert!(traces(Path::new(&killed), 30) == straight, "after three kills");
}

#[test]
fn what_a_run_can_not_go_on_from_is_said_in_one_line_and_nothing_is_lost() {
    let home = TempDir::new().unwrap();
    let data = path(&home, "data.txt");
    let text = "A sentence that is long enough for a row, and another one. ".repeat(60);
    std::fs::write(&data, &text).unwrap();
    let run = path(&home, "run");
    trained(home.path(), &["--data", &data, "--steps", "4", "--save-every", "2", "--run-dir", &run]);
    let checkpoint = PathBuf::from(&run).join("checkpoint-4");
    let before = traces(Path::new(&run), 4);
    let go_on = ["--steps", "6", "--resume", &run];

    std::fs::write(&data, text.replace("sentence", "sentient")).unwrap();
    let error = refused(home.path(), &go_on);
    assert!(error.contains("not what this run was trained on"), "{error}");
    std::fs::write(&data, &text).unwrap();

    let damage = |file: &str, bytes: Option<&[u8]>, said: &str| {
        let path = checkpoint.join(file);
        let whole = std::fs::read(&path).unwrap();
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let error = refused(home.path(), &go_on);
        assert!(error.contains(said), "{file}: {error}");
        std::fs::write(&path, whole).unwrap();
    };
    let moments = std::fs::read(checkpoint.join("optimizer.safetensors")).unwrap();
    damage("optimizer.safetensors", None, "No such file");
    damage("optimizer.safetensors", Some(&moments[..moments.len() / 2]), "its header asks for");
    damage("optimizer.safetensors", Some(b""), "incomplete: take a checkpoint of another step, RUN@STEP");
    damage("trainer_state.json", None, "not there");
    damage("trainer_state.json", Some(b"{"), "no state of a run");
    let other = path(&home, "other");
    trained(home.path(), &["--steps", "1", "--run-dir", &other]);
    let other = std::fs::read(PathBuf::from(other).join("checkpoint-1/tokenizer.json")).unwrap();
    damage("tokenizer.json", Some(&other), "not what this run was trained on");
    let error = refused(home.path(), &["--steps", "9", "--resume", &format!("{run}@3")]);
    assert!(error.contains("no checkpoint of step 3, but of 2, 4"), "{error}");
    assert!(refused(home.path(), &["--resume", &run]).contains("--steps"));

    assert!(traces(Path::new(&run), 4) == before, "the checkpoint is as it was");
    let busy = command(home.path(), &["--steps", "100000", "--resume", &run]).spawn().unwrap();
    wait_until("the engine", || PathBuf::from(&run).join("socket").is_file());
    assert!(refused(home.path(), &go_on).contains("another engine"));
    kill(busy);
    let settings = PathBuf::from(&run).join("settings.json");
    let whole = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, whole.replace("\"batch_size\": 8", "\"batch_size\": 0")).unwrap();
    assert!(refused(home.path(), &go_on).contains("settings.json: batch_size is 0"));
    std::fs::write(&settings, whole).unwrap();
}

#[test]
fn a_run_that_goes_another_way_leaves_nothing_of_the_old_one_to_be_mixed_with() {
    let home = TempDir::new().unwrap();
    let run = path(&home, "run");
    trained(home.path(), &["--steps", "9", "--save-every", "3", "--keep-last", "5", "--run-dir", &run]);
    let folder = PathBuf::from(&run);
    let losses = || -> Vec<(u64, f64)> {
        let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let lines = text.lines().map(line);
        lines.map(|line| (line["step"].as_u64().unwrap(), line["loss"].as_f64().unwrap())).collect()
    };
    let old = losses();
    let other_way = ["--resume", &format!("{run}@3"), "--steps", "100000", "--lr", "0.1"];
    let child = command(home.path(), &other_way).spawn().unwrap();
    wait_until("a step of another way", || losses().last().is_some_and(|last| last.0 == 5));
    kill(child);
    let there = |step: u64| folder.join(format!("checkpoint-{step}")).is_dir();
    assert!(there(3) && !there(6) && !there(9));
    assert_eq!(losses()[..4], old[..4]);
    assert_ne!(losses()[4], old[4]);

    trained(home.path(), &["--resume", &run, "--steps", "9", "--lr", "0.005"]);
    assert_eq!(losses(), old, "from the same checkpoint the old way again");
}

#[test]
fn metrics_are_exported_but_not_over_the_run_itself() {
    let home = TempDir::new().unwrap();
    let run = path(&home, "run");
    trained(home.path(), &["--steps", "2", "--run-dir", &run]);
    let export =
        |out: &str| program::llamascape(home.path(), &["export", &run, "--out", out]).output().unwrap();
    let table = path(&home, "table.csv");
    assert!(export(&table).status.success());
    assert!(std::fs::read_to_string(table).unwrap().starts_with("step,loss,grad_norm,lr,tokens,seconds"));
    let own = format!("{run}/metrics.jsonl");
    let before = std::fs::read(&own).unwrap();
    let refused = String::from_utf8(export(&own).stderr).unwrap();
    assert!(refused.contains("is a file of the run") && std::fs::read(&own).unwrap() == before, "{refused}");
}

#[test]
fn a_disk_that_is_full_is_said_and_leaves_the_checkpoints_that_are_there() {
    let home = TempDir::new().unwrap();
    let run = path(&home, "run");
    trained(home.path(), &["--steps", "2", "--run-dir", &run]);
    let before = traces(Path::new(&run), 2).0;
    // No file may grow beyond a megabyte: the weights take three.
    let llamascape = env!("CARGO_BIN_EXE_llamascape");
    let script =
        format!("trap '' XFSZ; ulimit -f 1000; exec {llamascape} train --headless --steps 4 --resume {run}");
    let limited = program::program(home.path(), "sh").args(["-c", &script]).output().unwrap();
    let error = String::from_utf8(limited.stderr).unwrap();
    assert_eq!(limited.status.code(), Some(1), "{error}");
    assert!(
        error.contains("llamascape: checkpoint-4 is not saved") && error.contains("model.safetensors"),
        "{error}"
    );
    assert!(traces(Path::new(&run), 2).0 == before, "the checkpoint is as it was");
    let hidden = std::fs::read_dir(&run).unwrap().flatten();
    let hidden = hidden.filter(|entry| entry.file_name().to_string_lossy().starts_with(".checkpoint"));
    assert_eq!(hidden.count(), 0);
    trained(home.path(), &["--steps", "4", "--resume", &run]);
}

#[test]
fn a_hundred_kills_while_saving_leave_no_half_checkpoint_and_never_none() {
    let home = TempDir::new().unwrap();
    let run = PathBuf::from(path(&home, "run"));
    let model = format!("{}/tests/fixtures/tiny.gguf", env!("CARGO_MANIFEST_DIR"));
    let text = ["--text", "The capital of France is Paris", "--model", &model, "--keep-last", "1"];
    let begin = [&text[..], &["--run-dir", run.to_str().unwrap()]].concat();
    let go_on = vec!["--resume", run.to_str().unwrap()];
    let whole = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&run).into_iter().flatten().flatten().map(|entry| entry.path());
        entries
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("checkpoint-"))
            .collect()
    };
    for round in 0..100 {
        let mut arguments = if round == 0 { begin.clone() } else { go_on.clone() };
        arguments.extend(["--save-every", "1", "--steps", "1000000", "--threads", "1"]);
        let before = whole();
        let child = command(home.path(), &arguments).spawn().unwrap();
        wait_until("a new checkpoint", || !whole().is_empty() && whole() != before);
        // Any moment will do; these are spread over a few saves.
        std::thread::sleep(Duration::from_micros(round * 977 % 40_000));
        kill(child);
        assert!(!whole().is_empty(), "after kill {round}");
        for folder in whole() {
            let (model, snapshot, _) = resume::load(&folder, &Device::Cpu, &mut |_| {}).unwrap();
            assert_eq!(2 * model.params.len(), snapshot.moments.len());
        }
    }
}
