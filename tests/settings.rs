//! The settings file and the report on terminal and machine, as people and scripts meet them.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod program;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

fn llamascape(home: &Path, arguments: &[&str]) -> Output {
    program::llamascape(home, arguments)
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

/// A home with a settings file.
fn home(settings: &str) -> TempDir {
    let home = TempDir::new().unwrap();
    std::fs::create_dir_all(home.path().join("config/llamascape")).unwrap();
    std::fs::write(home.path().join("config/llamascape/config.toml"), settings).unwrap();
    home
}

/// Trains, and returns the settings of the run.
fn trained(home: &TempDir, arguments: &[&str]) -> Value {
    let folder = TempDir::new().unwrap();
    let run = folder.path().join("run");
    let run = run.to_str().unwrap();
    let output = llamascape(home.path(), &[arguments, &["--quiet", "--run-dir", run]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let settings = std::fs::read_to_string(folder.path().join("run/settings.json")).unwrap();
    serde_json::from_str(&settings).unwrap()
}

#[test]
fn the_settings_file_gives_defaults_and_flags_win() {
    let home = home("[train]\nsteps = 1\nlr = 2e-3\nbatch-size = 3\ntext = \"A b c d\"\n");
    let settings = trained(&home, &["train"]);
    let said = [&settings["learning_rate"], &settings["batch_size"], &settings["steps"]];
    assert_eq!(said, [&Value::from(2e-3), &3.into(), &1.into()]);
    assert_eq!(settings["data"]["text"], "A b c d");

    let settings = trained(&home, &["--lr", "1e-3", "--data", "builtin"]);
    assert_eq!((&settings["learning_rate"], &settings["batch_size"]), (&1e-3.into(), &3.into()));
    assert_eq!(settings["data"], "builtin", "a flag drops what it excludes");

    let settings = trained(&home, &["train", "--no-config", "--steps", "1"]);
    assert_eq!(settings["batch_size"], 8);
    let settings = trained(&home, &["--no-config", "train", "--steps", "1"]);
    assert_eq!(settings["batch_size"], 8, "before the command, too");
}

#[test]
fn a_wrong_settings_file_is_named_with_line_and_key_where_it_counts() {
    let home = home("");
    for settings in ["[train]\nlr = 1e-3\nlrr = 2\n", "[train]\n\nlr = \"fast\"\n", "[train]\n\nlr =\n"] {
        let path = home.path().join("config/llamascape/config.toml");
        std::fs::write(&path, settings).unwrap();
        for command in [&["train"][..], &["config"], &[]] {
            let output = llamascape(home.path(), command);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
            assert!(error.contains(&format!("{}, line 3: ", path.display())), "{error}");
        }
        assert!(llamascape(home.path(), &["runs"]).status.success(), "it does not count for runs");
        assert!(llamascape(home.path(), &["config", "--dump-default"]).status.success());
        assert!(llamascape(home.path(), &["config", "--no-config"]).status.success());
    }
    let output = llamascape(home.path(), &["train", "--config", "no-such-file"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && error.contains("no-such-file: No such file"), "{error}");
}

#[test]
fn the_default_file_is_read_again_and_config_says_where_a_value_comes_from() {
    let home = home("");
    let dump = String::from_utf8(llamascape(home.path(), &["config", "--dump-default"]).stdout).unwrap();
    let is_key = |rest: &str| rest.starts_with(|c: char| c.is_ascii_lowercase());
    let uncommented: Vec<&str> =
        dump.lines().map(|line| line.strip_prefix('#').filter(|rest| is_key(rest)).unwrap_or(line)).collect();
    let file = home.path().join("mine.toml");
    std::fs::write(&file, uncommented.join("\n")).unwrap();
    let output = llamascape(home.path(), &["config", "--config", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with(file.to_str().unwrap()), "{said}");
    let line = |key: &str| said.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("batch-size").contains("line ") && line("batch-size").ends_with(" 8"), "{said}");
    assert!(line("lr ").contains("default"), "{said}");
}

#[test]
fn keys_are_chosen_in_the_settings_file_and_config_says_what_holds() {
    let home = home("[keys]\nstep = \"y\"\nrun = [\"space\", \"enter\"]\ntheme = []\ntemplate = \"n\"\n");
    let output = llamascape(home.path(), &["config"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (_, keys) = said.split_once("\n[keys]\n").unwrap();
    for (command, origin, value) in [
        ("step", "line 2", "\"y\""),
        ("run", "line 3", "[\"space\", \"enter\"]"),
        ("theme", "line 4", "[]"),
        ("move", "default", "[]"),
        ("new-plane", "default", "\"n\", compare []"),
        ("rate-up", "default", "[\"+\", \"=\"]"),
    ] {
        let line = format!("{command:14} {origin:9} {value}");
        assert!(keys.lines().any(|known| known == line), "{line} is missing:\n{keys}");
    }
    let dump = String::from_utf8(llamascape(home.path(), &["config", "--dump-default"]).stdout).unwrap();
    assert!(dump.contains("\n[keys]\n") && dump.contains("\n#step = [\"s\", \".\"]\n"), "{dump}");
}

#[test]
fn keys_that_can_not_be_had_are_told_before_a_screen_opens() {
    let home = home("");
    let path = home.path().join("config/llamascape/config.toml");
    for (line, problem) in [
        ("stpe = \"y\"", "keys.stpe: there is no such command; the nearest is step"),
        ("step = \"shift-y\"", "keys.step = shift-y: a key is a letter"),
        ("step = \"j\"", "keys.step = j: it moves"),
        ("step = \"r\"\nredraw = \"r\"", "keys.redraw = r: keys.step has it already"),
        ("help = []", "keys.help: help must keep a key"),
    ] {
        std::fs::write(&path, format!("[keys]\n{line}\n")).unwrap();
        let place = format!("{}, line {}: ", path.display(), 1 + line.lines().count());
        for command in ["train", "attach", "compare", "config"] {
            let output = llamascape(home.path(), &[command]);
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{error}");
            assert!(error.contains(&format!("{place}{problem}")), "{error}");
        }
    }
}

#[test]
fn a_theme_that_can_not_be_had_is_told_where_it_is_named() {
    let home = home("[screen]\ntheme = \"nrod\"\n");
    let place = home.path().join("config/llamascape/config.toml").display().to_string();
    for command in ["config", "train", "attach", "replay", "compare"] {
        let output = llamascape(home.path(), &[command]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), error.lines().count()), (Some(2), 1), "{command}: {error}");
        let problem =
            "line 2: screen.theme = nrod: there is no theme `nrod`; the built-in ones are dark, light";
        assert!(error.contains(&format!("{place}, {problem}")), "{command}: {error}");
    }
}

#[test]
fn a_settings_file_that_is_asked_for_has_to_be_one_even_where_nothing_of_it_counts() {
    let home = home("");
    for command in [&["runs"][..], &["doctor"], &["export"]] {
        let output = llamascape(home.path(), &[command, &["--config", "no-such.toml"]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}: {error}");
        assert!(error.contains("no-such.toml: "), "{error}");
    }
}

#[test]
fn doctor_tells_scripts_what_there_is_without_a_terminal() {
    let home = home("");
    let output = llamascape(home.path(), &["doctor", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = [
        "terminal",
        "term",
        "colorterm",
        "colors",
        "no_color",
        "locale",
        "utf8",
        "multiplexer",
        "ssh",
        "threads",
        "memory_bytes",
        "cpu",
        "device",
        "runs",
        "cache",
        "models",
        "config",
        "advice",
    ];
    for key in expected {
        assert!(report.get(key).is_some(), "{key}: {report}");
    }
    assert_eq!((&report["terminal"], &report["runs"]["writable"]), (&Value::Null, &true.into()));
    let table = String::from_utf8(llamascape(home.path(), &["doctor"]).stdout).unwrap();
    assert!(table.contains("no terminal") && !table.contains('\x1b'), "{table}");
}
