//! The program as scripts meet it: exit codes, JSON, and errors of one line.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod program;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

fn llamascape(home: &Path, arguments: &[&str]) -> Output {
    program::llamascape(home, arguments).output().unwrap()
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Exit code and error of a command that must fail, in one line and without a trace on the disk.
fn refusal(arguments: &[&str]) -> (i32, String) {
    let home = TempDir::new().unwrap();
    let output = llamascape(home.path(), arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let runs = home.path().join("llamascape/runs");
    let left = std::fs::read_dir(runs).map_or(0, Iterator::count);
    assert_eq!(left, 0, "{arguments:?} left a run folder");
    (output.status.code().unwrap(), error)
}

/// The line that says what is wrong: progress may stand before it.
fn said(arguments: &[&str]) -> String {
    let (code, error) = refusal(arguments);
    let lines: Vec<&str> = error.lines().filter(|line| line.starts_with("llamascape: ")).collect();
    assert_eq!((code, lines.len()), (1, 1), "{arguments:?}: {error}");
    assert_eq!(error.lines().last(), Some(lines[0]), "{arguments:?}: {error}");
    lines[0].to_owned()
}

#[test]
fn what_is_left_out_of_a_model_is_said_beside_the_result() {
    let (home, model) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for file in std::fs::read_dir(fixture("tiny-hf")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), model.path().join(file.file_name())).unwrap();
    }
    std::fs::write(model.path().join("tokenizer_config.json"), "{\"a\x1b[2J").unwrap();
    let eval = |more: &[&str]| {
        let model = model.path().to_str().unwrap();
        let output =
            llamascape(home.path(), &[&["eval", model, "--text", "The capital", "--json"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(serde_json::from_slice::<Value>(&output.stdout).is_ok());
        String::from_utf8(output.stderr).unwrap()
    };
    let warnings = |text: &str| text.lines().filter(|line| line.starts_with("warning: ")).count();
    let said = eval(&[]);
    assert!(warnings(&said) == 1 && said.contains("tokenizer_config.json: is not JSON"), "{said}");
    assert!(!said.contains('\u{1b}'), "{said}");
    assert_eq!(warnings(&eval(&["--quiet"])) + warnings(&eval(&["--log-level", "error"])), 0);
    assert!(eval(&["--log-level", "info", "--device", "auto"]).contains("info: computing on the CPU"));
}

#[test]
fn every_bad_input_gets_one_line_that_says_what_and_where() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let gguf = std::fs::read(fixture("tiny.gguf")).unwrap();
    let cut = write("cut.gguf", &gguf[..gguf.len() / 2]);
    let empty = write("empty.txt", b" \n");
    let short = write("short.txt", b"a few words are not a context");
    let binary = write("binary.txt", &[0xff, 0xfe, 0x00]);
    let jsonl = write("rows.jsonl", b"{\"text\": 3}\n");

    for (arguments, words) in [
        (vec!["train", "--model", "no-such-model"], vec!["--model no-such-model", "No such file"]),
        (vec!["train", "--data", "no-such-data"], vec!["--data no-such-data", "No such file"]),
        (vec!["train", "--model", &cut], vec!["cut.gguf"]),
        (vec!["train", "--data", &empty], vec!["empty.txt", "no text"]),
        (vec!["train", "--data", &short], vec!["tokens", "65", "--context"]),
        (vec!["train", "--data", &binary], vec!["binary.txt", "UTF-8"]),
        (vec!["train", "--data", &jsonl], vec!["rows.jsonl, line 1", "\"text\""]),
        (vec!["train", "--data", "-"], vec!["--data -: standard input holds no text"]),
        (vec!["train", "--text", "A"], vec!["--text", "1 token", "two"]),
        (vec!["train", "--device", "cuda"], vec!["--device cuda", "--features cuda"]),
        (vec!["eval", "no-such-model", "--text", "a b"], vec!["no-such-model"]),
        (vec!["eval", &cut, "--text", "a b"], vec!["cut.gguf"]),
        (vec!["attach"], vec!["no runs", "llamascape train"]),
        (vec!["attach", "nobody"], vec!["no run called nobody", "llamascape runs"]),
    ] {
        let line = said(&arguments);
        for word in words {
            assert!(line.contains(word), "{arguments:?}: {line}");
        }
    }
}

#[test]
fn a_persons_theme_that_is_wrong_is_named_with_its_file() {
    let home = TempDir::new().unwrap();
    let themes = home.path().join("config/llamascape/themes");
    std::fs::create_dir_all(&themes).unwrap();
    std::fs::write(themes.join("mine.toml"), "[palette]\n\"ac\\u001b[2Jent\" = \"red\"\n").unwrap();
    let output = llamascape(home.path(), &["train", "--theme", "mine"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    let beginning = format!("llamascape: --theme: {}: ", themes.join("mine.toml").display());
    assert!(error.starts_with(&beginning) && error.contains("there is no such role"), "{error}");
    assert!(!error.contains('\x1b'), "{error:?}");
}

#[test]
fn wrong_usage_ends_with_exit_code_two() {
    for arguments in [
        vec!["train", "--preset", "giant"],
        vec!["train", "--lr", "-1"],
        vec!["train", "--steps", "0"],
        vec!["train", "--name", "../up"],
        vec!["train", "--device", "tpu"],
        vec!["train", "--text", "a b", "--data", "builtin"],
        vec!["eval"],
        vec!["dance"],
    ] {
        assert_eq!(refusal(&arguments).0, 2, "{arguments:?}");
    }
    // Here the command itself sees it.
    for (arguments, words) in [
        (
            vec!["train", "--theme", "nope"],
            "--theme: there is no theme `nope`; the built-in ones are dark, light",
        ),
        (
            vec!["probe", "m", "--param", "a[0]", "--param", "b[0]", "--param", "c[0]"],
            "--param: 3 parameters",
        ),
        (vec!["slice", "m", "--out", "s.doc"], ".json, .csv, .npz or .vtp, or for a picture in .svg"),
    ] {
        let (code, error) = refusal(&arguments);
        assert_eq!((code, error.lines().count()), (2, 1), "{arguments:?}: {error}");
        assert!(error.starts_with("llamascape: ") && error.contains(words), "{arguments:?}: {error}");
    }
}

#[test]
fn a_run_folder_that_is_in_use_is_not_touched() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("mine"), "precious").unwrap();
    let line = said(&["train", "--run-dir", folder.path().to_str().unwrap()]);
    assert!(line.contains("not empty"), "{line}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_piped_run_trains_and_says_so_in_json_and_metrics() {
    let home = TempDir::new().unwrap();
    let run = home.path().join("run");
    let output = llamascape(
        home.path(),
        &[
            "--steps",
            "6",
            "--eval-every",
            "3",
            "--json",
            "--run-dir",
            run.to_str().unwrap(),
            "--name",
            "piped",
        ],
    );
    assert!(output.status.success());
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["name"], &summary["step"]), (&"piped".into(), &6.into()));
    assert!(summary["loss"].as_f64().unwrap() < 7.2 && summary["parameters"].as_u64().unwrap() > 500_000);

    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.iter().map(|row| row["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(rows[5]["tokens"], 6 * 512);
    assert!(rows[0]["loss"].as_f64().unwrap() > rows[5]["loss"].as_f64().unwrap());
    let measured: Vec<bool> = rows.iter().map(|row| row.get("eval_loss").is_some()).collect();
    assert_eq!(measured, [false, false, true, false, false, true]);
    // Nothing that a terminal would obey goes into a log.
    assert!(!output.stderr.contains(&0x1b));

    let output = llamascape(
        home.path(),
        &["eval", run.to_str().unwrap(), "--json", "--grad", "--text", "The capital of France is Paris"],
    );
    let eval: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(eval["model"], "run@6");
    let texts: Vec<&str> =
        eval["tokens"].as_array().unwrap().iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["The", " capital", " of", " France", " is", " Paris"]);
    let losses: Vec<f64> =
        eval["token_losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    let mean = losses.iter().sum::<f64>() / 5.0;
    assert!((eval["loss"].as_f64().unwrap() - mean).abs() < 1e-9);
    assert!((eval["target"]["p"].as_f64().unwrap() - (-losses[4]).exp()).abs() < 1e-9);
    assert!(eval["grad_norm"].as_f64().unwrap() > 0.0);
    assert_eq!(eval["next"].as_array().unwrap().len(), 8);
}

#[test]
fn a_log_has_plain_lines_of_steps_and_a_summary_and_with_quiet_nothing() {
    let home = TempDir::new().unwrap();
    let run = home.path().join("run");
    let folder = run.to_str().unwrap();
    let output = llamascape(home.path(), &["train", "--steps", "4", "--run-dir", folder, "--name", "logged"]);
    assert!(output.status.success());
    assert!(!output.stderr.contains(&0x1b) && !output.stderr.contains(&b'\r'));
    let told = String::from_utf8(output.stderr).unwrap();
    let steps: Vec<&str> = told.lines().filter(|line| line.starts_with("step ")).collect();
    assert_eq!(steps.len(), 4, "{told}");
    for (line, step) in steps.iter().zip(1..) {
        assert!(line.starts_with(&format!("step {step}/4  loss ")) && line.contains(" tok/s"), "{line}");
    }
    assert!(steps[0].contains(" left") && !steps[3].contains(" left"), "{told}");
    let summary = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = summary.lines().collect();
    assert!(lines[0].starts_with("logged: 4 steps in "), "{summary}");
    assert_eq!(lines[1..], [format!("folder      {folder}"), format!("checkpoint  {folder}/checkpoint-4")]);

    let on = ["train", "--resume", folder, "--steps", "5", "--log-level", "error"];
    let output = llamascape(home.path(), &on);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("step 5/5  loss ") && !told.contains(" INFO ") && !told.contains(" WARN "),
        "{told}"
    );

    let on = ["train", "--resume", folder, "--steps", "6", "--quiet"];
    let output = llamascape(home.path(), &on);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let log = std::fs::read_to_string(run.join("engine.log")).unwrap();
    assert!(log.contains(" INFO "), "the run's own log is not quiet: {log}");
    let refused = llamascape(home.path(), &on);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr).unwrap().starts_with("llamascape: "), "errors are told");
}

#[test]
fn two_runs_of_one_seed_are_the_same_and_slices_and_threads_change_nothing() {
    let home = TempDir::new().unwrap();
    let train = |name: &str, flags: &[&str]| {
        let run = home.path().join(name);
        let mut arguments = vec!["--steps", "5", "--quiet", "--run-dir", run.to_str().unwrap()];
        arguments.extend(flags);
        assert!(llamascape(home.path(), &arguments).status.success());
        let losses: Vec<(f64, f64)> = std::fs::read_to_string(run.join("metrics.jsonl"))
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap())
            .map(|row| (row["loss"].as_f64().unwrap(), row["grad_norm"].as_f64().unwrap()))
            .collect();
        (losses, std::fs::read(run.join("checkpoint-5/model.safetensors")).unwrap())
    };
    let plain = train("plain", &["--threads", "2"]);
    assert!(plain == train("again", &["--threads", "2"]), "the same run twice");
    assert!(plain == train("sliced", &["--threads", "2", "--slice-every", "1"]), "with slices");
    assert!(plain == train("one", &["--threads", "1"]), "with one thread");
    assert!(plain != train("other", &["--seed", "1"]), "another seed");
}

#[test]
fn two_models_are_compared_on_one_text_and_along_the_way_between_them() {
    let home = TempDir::new().unwrap();
    let run = |name: &str, steps: &str| {
        let folder = home.path().join(name).to_str().unwrap().to_owned();
        let arguments = ["train", "--headless", "--quiet", "--steps", steps, "--run-dir", &folder];
        assert!(llamascape(home.path(), &arguments).status.success());
        folder
    };
    let (a, b) = (run("a", "1"), run("b", "12"));
    let text = "The capital of France is Paris";
    let compare = |a: &str, b: &str| -> Value {
        let output = llamascape(home.path(), &["compare", a, b, "--text", text, "--json", "--quiet"]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let number = |value: &Value| value.as_f64().unwrap();

    let two = compare(&a, &b);
    let path: Vec<f64> = two["path"]["loss"].as_array().unwrap().iter().map(number).collect();
    assert_eq!((path.len(), two["path"]["t"].as_array().unwrap().len()), (21, 21));
    assert!((path[0] - number(&two["a"]["loss"])).abs() < 1e-5);
    assert!((path[20] - number(&two["b"]["loss"])).abs() < 1e-5);
    let straight = |t: usize| path[0] + t as f64 / 20.0 * (path[20] - path[0]);
    let above = (0..21).map(|t| path[t] - straight(t)).fold(f64::NEG_INFINITY, f64::max);
    assert!((number(&two["path"]["barrier"]) - above).abs() < 1e-9);
    assert!(number(&two["kl_ab"]) > 0.0 && number(&two["kl_ba"]) > 0.0);
    assert!((0.0..=1.0).contains(&number(&two["top_overlap"])));

    let same = compare(&a, &a);
    let nothing = [&same["kl_ab"], &same["kl_ba"], &same["path"]["barrier"]];
    assert!(nothing.map(number).iter().all(|x| x.abs() < 1e-12) && number(&same["top_overlap"]) > 0.99);

    let strangers = compare(&a, &fixture("tiny.gguf"));
    assert_eq!([&strangers["kl_ab"], &strangers["top_overlap"], &strangers["path"]], [&Value::Null; 3]);
    let table = llamascape(home.path(), &["compare", &a, &b, "--text", text]);
    assert!(String::from_utf8(table.stdout).unwrap().contains("KL a|b, b|a"));
}

#[test]
fn a_model_is_asked_inside_its_chat_template_and_writes_on() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("model");
    std::fs::create_dir(&folder).unwrap();
    for entry in std::fs::read_dir(fixture("tiny-hf")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
    }
    let template = "<{{ messages[0].content }}>{% if add_generation_prompt %} is {% endif %}";
    std::fs::write(folder.join("chat_template.jinja"), template).unwrap();
    let (model, text) = (folder.to_str().unwrap(), "The capital of France is Paris");
    let json = |arguments: &[&str]| -> Value {
        let output = llamascape(home.path(), &[arguments, &["--json", "--quiet", "--text", text]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let texts = |value: &Value| -> String {
        value["tokens"].as_array().unwrap().iter().map(|token| token["text"].as_str().unwrap()).collect()
    };

    let asked = json(&["eval", model, "--template"]);
    assert_eq!(asked["rendered"], "<The capital of France is> is Paris");
    assert_eq!(texts(&asked), "<The capital of France is> is Paris");
    let plain = json(&["eval", model]);
    assert_eq!((&plain["rendered"], texts(&plain)), (&Value::Null, format!("<|begin|>{text}")));

    let both = json(&["compare", model, model, "--template-b"]);
    assert_eq!((&both["a"]["rendered"], &both["b"]["rendered"]), (&Value::Null, &asked["rendered"]));
    assert_eq!([&both["kl_ab"], &both["path"]], [&Value::Null; 2], "other texts are not compared");
    assert!(both["top_overlap"].is_number());

    let written =
        |flags: &[&str]| json(&[&["eval", model, "--write", "5"], flags].concat())["written"].clone();
    assert!(written(&[]).as_str().is_some_and(|text| !text.is_empty()));
    let warm = |seed| written(&["--temperature", "1.5", "--top-p", "0.9", "--seed", seed]);
    assert_eq!(warm("1"), warm("1"));
    assert!(["2", "3", "4"].iter().any(|seed| warm(seed) != warm("1")));

    let bare = fixture("tiny-hf");
    let refused = llamascape(home.path(), &["eval", &bare, "--template", "--text", text]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("has no chat template"), "{message}");
}

#[test]
fn a_model_of_the_hub_that_the_cache_holds_is_used_like_any_other_and_offline_nothing_else_is() {
    let home = TempDir::new().unwrap();
    let (repo, commit) = (home.path().join("huggingface/hub/models--acme--tiny"), "0123456789".repeat(4));
    let snapshot = repo.join("snapshots").join(&commit);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(repo.join("refs")).unwrap();
    std::fs::write(repo.join("refs/main"), &commit).unwrap();
    for entry in std::fs::read_dir(fixture("tiny-hf")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, snapshot.join(path.file_name().unwrap())).unwrap();
    }
    let text = ["--text", "The capital of France is Paris"];
    let eval = |model: &str| {
        let flags = [&["eval", model, "--json", "--quiet"], text.as_slice()].concat();
        let output = llamascape(home.path(), &flags);
        (output.status.code(), output.stdout, String::from_utf8(output.stderr).unwrap())
    };
    let (_, here, _) = eval("acme/tiny");
    let (_, there, _) = eval(&fixture("tiny-hf"));
    let [mut here, there] = [here, there].map(|json| serde_json::from_slice::<Value>(&json).unwrap());
    assert_eq!(here["model"], "acme/tiny");
    here["model"] = there["model"].clone();
    assert_eq!(here, there);

    let run = home.path().join("run");
    let mut train = vec!["train", "--headless", "--quiet", "--model", "acme/tiny", "--steps", "1"];
    train.extend(["--run-dir", run.to_str().unwrap()].iter().chain(&text));
    assert!(llamascape(home.path(), &train).status.success());
    assert!(run.join("checkpoint-1/model.safetensors").is_file());

    for absent in ["acme/other", "acme/tiny@v2"] {
        let (code, stdout, error) = eval(absent);
        assert_eq!((code, stdout.as_slice(), error.lines().count()), (Some(1), &[][..], 1), "{error}");
        assert!(error.starts_with(&format!("llamascape: {absent}: the cache ")), "{error}");
    }
}

#[test]
fn shells_get_their_completions_and_packagers_their_pages() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = llamascape(folder.path(), &["completions", shell]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("llamascape") && script.contains("wormhole"));
    }
    let pages = folder.path().join("man");
    assert!(llamascape(folder.path(), &["man", pages.to_str().unwrap()]).status.success());
    let page = std::fs::read_to_string(pages.join("llamascape-slice.1")).unwrap();
    assert!(page.contains("save\\-directions"), "{page}");
    let version = String::from_utf8(llamascape(folder.path(), &["--version"]).stdout).unwrap();
    assert!(version.contains("computes on cpu"), "{version}");
}

#[test]
#[cfg(not(feature = "mpi"))]
fn a_program_without_mpi_does_not_run_several_times_over() {
    let home = TempDir::new().unwrap();
    let started = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = program::llamascape(home.path(), arguments);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for variables in [
        [("OMPI_COMM_WORLD_SIZE", "2"), ("OMPI_COMM_WORLD_RANK", "0")],
        [("PMI_SIZE", "2"), ("PMI_RANK", "0")],
    ] {
        let (code, error) = started(&variables, &["train", "--headless"]);
        assert_eq!((code, error.lines().count()), (Some(2), 1), "{error}");
        assert!(error.contains("2 processes were started") && error.contains("--features mpi"), "{error}");
        let others = [variables[0], (variables[1].0, "1")];
        assert_eq!(started(&others, &["train", "--headless"]), (Some(0), String::new()), "one line for all");
    }
    assert!(!home.path().join("llamascape").exists());
    assert_eq!(started(&[("OMPI_COMM_WORLD_SIZE", "2")], &["slice", "nobody"]).0, Some(2));
}

#[test]
fn points_a_side_that_no_picture_has_are_refused() {
    let home = TempDir::new().unwrap();
    let output = llamascape(home.path(), &["compare", "--grid", "1000"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("one of 9, 17, 33 and 65"), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_machine_is_described_whose_folders_are_no_unicode() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let home = TempDir::new().unwrap();
    let odd = home.path().join(OsStr::from_bytes(b"state-\xff"));
    let mut command = program::llamascape(home.path(), &["doctor", "--json"]);
    let output = command.env("XDG_STATE_HOME", odd).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["runs"]["path"].as_str().unwrap().ends_with("state-\u{fffd}/llamascape/runs"), "{report}");
}
