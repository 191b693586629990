//! Several processes as one: the real binary under `mpirun`, on this machine.
#![cfg(feature = "mpi")]
// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const TEXT: [&str; 2] = ["--text", "The capital of France is Paris"];

/// A home with one run in it.
static HOME: LazyLock<TempDir> = LazyLock::new(|| {
    let home = TempDir::new().unwrap();
    let arguments = ["train", "--headless", "--steps", "3", "--name", "small", "--quiet"];
    succeeded(environment(&mut program(), home.path()).args(arguments).output().unwrap());
    home
});

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_llamascape"))
}

fn environment<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command
        .env("XDG_STATE_HOME", home)
        .env("XDG_CONFIG_HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        // A container may forbid what this is quicker by.
        .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
}

/// So many processes; each leaves its number in the system in a file of `home` that is called by its rank.
fn several(processes: usize, home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    environment(&mut command, home)
        .args(["--oversubscribe", "--bind-to", "none", "-n", &processes.to_string()])
        .args(["sh", "-c", r#"echo $$ > "$0/$OMPI_COMM_WORLD_RANK.pid"; exec "$@""#])
        .arg(home)
        .arg(env!("CARGO_BIN_EXE_llamascape"))
        .args(arguments);
    command
}

/// One process without `mpirun`, or several with it.
fn run(processes: usize, home: &Path, arguments: &[&str]) -> Output {
    if processes == 1 {
        return environment(&mut program(), home).args(arguments).output().unwrap();
    }
    several(processes, home, arguments).output().unwrap()
}

fn succeeded(output: Output) -> Output {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The one JSON object that is printed, once.
fn json(processes: usize, home: &Path, arguments: &[&str]) -> Value {
    let output = succeeded(run(processes, home, &[arguments, &["--json", "--quiet"]].concat()));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What the program itself says on stderr, without the launcher.
fn own_words(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let own = |line: &&str| line.starts_with("llamascape: ") || line.starts_with("error: ");
    said.lines().filter(own).map(str::to_owned).collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Waits until something is so, and fails after a minute.
fn wait_until(what: &str, child: &mut Child, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before {what}");
        assert!(started.elapsed() < Duration::from_secs(60), "waited for {what}");
        std::thread::yield_now();
    }
}

fn signal(home: &Path, rank: usize, signal: rustix::process::Signal) {
    let pid = std::fs::read_to_string(home.join(format!("{rank}.pid"))).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// The steps of a run with their losses, of the batch and of what is held out.
fn losses(run: &Path) -> Vec<(u64, f64, Option<f64>)> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let line = |line: &str| serde_json::from_str::<Value>(line).ok();
    let step =
        |line: Value| Some((line["step"].as_u64()?, line["loss"].as_f64()?, line["eval_loss"].as_f64()));
    text.lines().filter_map(line).filter_map(step).collect()
}

fn are_near(a: &[(u64, f64, Option<f64>)], b: &[(u64, f64, Option<f64>)]) {
    assert_eq!(a.len(), b.len());
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-5 * b.abs();
    for (a, b) in a.iter().zip(b) {
        assert!(a.0 == b.0 && near(a.1, b.1), "{a:?} for {b:?}");
        assert!(
            a.2.is_some() == b.2.is_some() && a.2.zip(b.2).is_none_or(|(a, b)| near(a, b)),
            "{a:?} for {b:?}"
        );
    }
}

#[test]
fn a_slice_is_the_same_to_the_bit_with_any_number_of_processes() {
    let home = HOME.path();
    let stacked = [&["slice", "small", "--grid", "9x7"], &TEXT[..]].concat();
    let one_by_one = ["slice", "small", "--grid", "5x3", "--rows", "1", "--method", "materialise"].to_vec();
    let lines = [&["slice", "small", "--grid", "5x1", "--seeds", "1,2,3"], &TEXT[..]].concat();
    for arguments in [stacked, one_by_one, lines] {
        let alone = json(1, home, &arguments);
        for processes in [2, 4] {
            let together = json(processes, home, &arguments);
            for key in ["alphas", "betas", "loss", "lines", "center", "plane", "batch", "method", "complete"]
            {
                assert_eq!(together[key], alone[key], "{processes} processes, {key} of {arguments:?}");
            }
        }
    }
}

#[test]
fn a_slice_that_was_interrupted_goes_on_with_another_number_of_processes_to_the_same_bits() {
    let home = TempDir::new().unwrap();
    let model = text(&HOME.path().join("llamascape/runs"));
    let model = text(&std::fs::read_dir(model).unwrap().next().unwrap().unwrap().path());
    let path = |name: &str| text(&home.path().join(name));
    let slice = |out: &str| {
        let words = ["slice", &model, "--grid", "33x33", "--quiet", "--threads", "1", "--out", out];
        words.map(str::to_owned).to_vec()
    };
    let run = |processes: usize, out: &str, more: &[&str]| {
        let words = slice(out);
        let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        run(processes, home.path(), &words)
    };
    let points = |out: &str| -> Vec<String> {
        let text = std::fs::read_to_string(out).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let whole = path("whole.csv");
    succeeded(run(1, &whole, &[]));

    let (out, directions) = (path("out.csv"), path("d.safetensors"));
    let words = [slice(&out), vec!["--save-directions".to_owned(), directions.clone()]].concat();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut child = several(2, home.path(), &words).spawn().unwrap();
    wait_until("the evaluation", &mut child, || Path::new(&directions).exists());
    signal(home.path(), 1, rustix::process::Signal::TERM);
    let ended = child.wait_with_output().unwrap();
    let said = own_words(&ended);
    assert_eq!((ended.status.code(), said.len()), (Some(1), 1), "{said:?}");
    assert!(said[0].contains("interrupted") && said[0].contains("--resume goes on"), "{said:?}");
    assert!(points(&out).iter().any(|line| line.ends_with(",NaN")), "nothing is missing");
    succeeded(run(4, &out, &["--resume"]));
    assert_eq!(points(&out), points(&whole));

    // What an interruption leaves, and more ragged than any would leave it.
    let complete = std::fs::read_to_string(&whole).unwrap();
    let holes = complete.lines().enumerate().map(|(index, line)| match line.rsplit_once(',') {
        Some((place, _)) if index > 3 && !line.starts_with('#') && index * 7 % 45 < 20 => {
            format!("{place},NaN\n")
        }
        _ => format!("{line}\n"),
    });
    std::fs::write(&out, holes.collect::<String>()).unwrap();
    assert_ne!(points(&out), points(&whole));
    succeeded(run(2, &out, &["--resume"]));
    assert_eq!(points(&out), points(&whole));
}

#[test]
fn training_together_is_training_alone_and_goes_on_either_way() {
    let home = TempDir::new().unwrap();
    let path = |name: &str| text(&home.path().join(name));
    let train = |processes: usize, name: &str, steps: &str, more: &[&str]| {
        let run = path(name);
        let words = ["train", "--headless", "--eval-every", "4", "--steps", steps, "--threads", "1"];
        let place = if Path::new(&run).exists() { "--resume" } else { "--run-dir" };
        json(processes, home.path(), &[&words[..], &[place, &run], more].concat());
        losses(Path::new(&run))
    };
    let corpus = ["--batch-size", "7"];
    let alone = train(1, "alone", "8", &corpus);
    assert_eq!(alone.len(), 8);
    for processes in [2, 4] {
        let name = format!("of-{processes}");
        are_near(&train(processes, &name, "5", &corpus), &alone[..5]);
        // One process goes on with what several have left, and the other way round.
        are_near(&train(1, &name, "6", &[]), &alone[..6]);
        are_near(&train(processes, &name, "8", &[]), &alone);
        let entries = std::fs::read_dir(path(&name)).unwrap().flatten().map(|entry| entry.file_name());
        let checkpoints: BTreeSet<_> =
            entries.filter(|name| name.to_string_lossy().starts_with("checkpoint-")).collect();
        assert_eq!(checkpoints.len(), 2, "{checkpoints:?}");
    }
    // Some processes have no row of a batch, or none at all.
    for (name, more) in [("few", &["--batch-size", "3", "--accumulate", "2"][..]), ("text", &TEXT[..])] {
        let alone = train(1, &format!("{name}-alone"), "3", more);
        are_near(&train(4, &format!("{name}-together"), "3", more), &alone);
    }
}

#[test]
fn a_signal_to_any_process_ends_all_after_the_same_step_and_saves_it() {
    let home = TempDir::new().unwrap();
    let run = home.path().join("run");
    let words =
        ["train", "--headless", "--quiet", "--json", "--threads", "1", "--steps", "100000", "--run-dir"];
    let mut child = several(2, home.path(), &[&words[..], &[&text(&run)]].concat()).spawn().unwrap();
    wait_until("some steps", &mut child, || losses(&run).len() > 2);
    signal(home.path(), 1, rustix::process::Signal::TERM);
    let output = succeeded(child.wait_with_output().unwrap());
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let last = losses(&run).last().unwrap().0;
    assert_eq!(summary["step"].as_u64(), Some(last));
    assert!(run.join(format!("checkpoint-{last}")).is_dir());
}

#[test]
fn a_process_that_dies_takes_the_job_with_it_and_the_run_goes_on() {
    let home = TempDir::new().unwrap();
    let run = home.path().join("run");
    let words = [
        "train",
        "--headless",
        "--quiet",
        "--threads",
        "1",
        "--save-every",
        "2",
        "--steps",
        "100000",
        "--run-dir",
    ];
    let mut child = several(2, home.path(), &[&words[..], &[&text(&run)]].concat()).spawn().unwrap();
    wait_until("a checkpoint", &mut child, || run.join("checkpoint-2").is_dir());
    signal(home.path(), 1, rustix::process::Signal::KILL);
    let started = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(!output.status.success() && started.elapsed() < Duration::from_secs(30));
    let newest = losses(&run).last().unwrap().0;
    let steps = (newest + 1).to_string();
    let go_on = ["train", "--headless", "--threads", "1", "--steps", &steps, "--resume", &text(&run)];
    assert_eq!(json(2, home.path(), &go_on)["step"].as_u64(), Some(newest + 1));
}

#[test]
fn what_is_wrong_is_said_once_with_the_exit_code_of_one_process() {
    let home = HOME.path();
    let refused = |code: i32, words: &[&str], part: &str| {
        let output = run(2, home, words);
        let said = own_words(&output);
        assert_eq!((output.status.code(), said.len()), (Some(code), 1), "{words:?}: {said:?}");
        assert!(said[0].contains(part) && output.stdout.is_empty(), "{words:?}: {said:?}");
    };
    refused(1, &["slice", "nobody", "--text", "a b"], "nobody");
    refused(1, &["slice", "small", "--memory", "1M"], "1.0 MB are allowed");
    refused(2, &["slice", "small", "--seeds", "1"], "two seeds");
    refused(2, &["slice", "small", "--grid", "0x5"], "--grid");
    refused(1, &["train", "--headless", "--data", "no/such/file"], "no/such/file");
    refused(1, &["train", "--headless", "--context", "4096", "--model", "small"], "--context 4096");
    refused(2, &["eval", "small", "--text", "a b"], "eval runs in one process, and 2 were started");
    refused(2, &["train", "--json"], "train without --headless runs in one process");
    refused(2, &[], "train without --headless runs in one process");
}
