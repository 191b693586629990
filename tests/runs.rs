//! The list of runs, whatever lies in their folder, and how runs are deleted.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod example;
mod program;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use llamascape::run::dir::{RunDir, RunState, StateFile};
use serde_json::Value;
use tempfile::TempDir;

/// The user's state folder.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(TempDir::new().unwrap());
        fs::create_dir_all(home.runs()).unwrap();
        home
    }

    fn runs(&self) -> PathBuf {
        self.0.path().join("llamascape/runs")
    }

    /// A run in a folder among the runs, or anywhere with a path; it began on that day.
    fn run(&self, folder: impl AsRef<Path>, name: &str, state: RunState, day: u32) -> RunDir {
        let path = self.runs().join(folder);
        let dir = RunDir::create(Some(&path), &example::settings(name)).unwrap();
        let state = StateFile {
            state,
            step: u64::from(day) * 10,
            loss: Some(1.0 / f64::from(day)),
            model: "nano 1.0M".to_owned(),
            started: format!("2026-01-{day:02}T00:00:00Z"),
        };
        dir.write_state(&state).unwrap();
        dir
    }

    fn output(&self, arguments: &[&str]) -> Output {
        program::llamascape(self.0.path(), &["runs"])
            .args(arguments)
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    /// Exit code, stdout and stderr.
    fn say(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.output(arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// The names that `--json` lists.
    fn names(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.output(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let listing: Value = serde_json::from_slice(&output.stdout).unwrap();
        listing["runs"].as_array().unwrap().iter().map(|run| run["name"].as_str().unwrap().into()).collect()
    }
}

#[test]
fn a_run_that_can_not_be_read_is_unclear_and_costs_no_other_its_line() {
    let home = Home::new();
    let runs = home.runs();
    home.run("whole", "whole", RunState::Stopped, 2);
    let settings = serde_json::to_string(&example::settings("half")).unwrap();
    for (folder, settings, state) in [
        ("empty", "", Some("")),
        ("torn", settings.as_str(), Some("{\"state\": \"stop")),
        ("begun", settings.as_str(), None),
    ] {
        fs::create_dir(runs.join(folder)).unwrap();
        fs::write(runs.join(folder).join("settings.json"), settings).unwrap();
        if let Some(state) = state {
            fs::write(runs.join(folder).join("state.json"), state).unwrap();
        }
    }
    fs::create_dir_all(runs.join("odd/settings.json")).unwrap();
    // None of these is a run.
    fs::create_dir(runs.join("bare")).unwrap();
    fs::create_dir(runs.join("strange")).unwrap();
    fs::write(runs.join("strange/notes.txt"), "mine").unwrap();
    fs::write(runs.join("file"), "mine").unwrap();
    symlink(runs.join("gone"), runs.join("nowhere")).unwrap();
    home.run(".hidden", "hidden", RunState::Stopped, 1);

    let (code, table, told) = home.say(&[]);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let firsts: Vec<[&str; 2]> = rows.iter().map(|row| [row[0], row[1]]).collect();
    assert_eq!(code, 0, "{told}");
    assert_eq!(firsts[..2], [["NAME", "STATE"], ["whole", "stopped"]]);
    assert_eq!(
        firsts[2..],
        [["half", "unclear"], ["odd", "unclear"], ["empty", "unclear"], ["half", "unclear"]]
    );
    let about = |told: &str| -> Vec<bool> {
        let files = ["torn/state.json", "odd/settings.json", "empty/settings.json", "begun/state.json"];
        told.lines().zip(files).map(|(line, file)| line.contains(file)).collect()
    };
    assert_eq!((about(&told), told.lines().count()), (vec![true; 4], 4), "{told}");

    assert_eq!(home.names(&[]), ["whole"]);
    let (_, _, told) = home.say(&["--json"]);
    assert!(told.lines().count() == 4 && told.lines().all(|line| line.contains("left out")), "{told}");
    let (code, table, told) = home.say(&["--state", "stopped"]);
    assert_eq!((code, table.lines().count(), told.as_str()), (0, 2, ""));

    // The superuser may read it all the same.
    let sealed = home.run("sealed", "sealed", RunState::Stopped, 1);
    fs::set_permissions(sealed.path(), fs::Permissions::from_mode(0o000)).unwrap();
    let names = home.names(&[]);
    fs::set_permissions(sealed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    assert!(names.contains(&"whole".to_owned()), "{names:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_folder_whose_name_is_no_unicode_is_listed_too() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let home = Home::new();
    home.run(OsStr::from_bytes(b"run-\xff"), "odd", RunState::Stopped, 1);
    home.run("run-a", "plain", RunState::Stopped, 2);
    assert_eq!(home.names(&[]), ["plain", "odd"]);
}

#[test]
fn runs_are_chosen_by_state_and_name_and_put_in_order() {
    let home = Home::new();
    home.run("1", "night-b", RunState::Stopped, 3);
    home.run("2", "night-a", RunState::Running, 1);
    let alive = home.run("3", "day", RunState::Paused, 2);
    let _engine = alive.lock().unwrap();

    assert_eq!(home.names(&[]), ["night-b", "day", "night-a"], "newest first");
    assert_eq!(home.names(&["--reverse"]), ["night-a", "day", "night-b"]);
    assert_eq!(home.names(&["--state", "crashed"]), ["night-a"], "its engine is gone");
    assert!(!home.runs().join("2/engine.lock").exists(), "asking leaves no file behind");
    assert_eq!(home.names(&["--state", "paused,stopped"]), ["night-b", "day"]);
    assert_eq!(home.names(&["--state", "paused", "--state", "crashed"]), ["day", "night-a"]);
    assert_eq!(home.names(&["--name", "night"]), ["night-b", "night-a"]);
    assert_eq!(home.names(&["--name", "*a*"]), ["day", "night-a"]);
    assert_eq!(home.names(&["--sort", "name"]), ["day", "night-a", "night-b"]);
    assert_eq!(home.names(&["--sort", "step", "--reverse"]), ["night-b", "day", "night-a"]);
    assert_eq!(home.names(&["--sort", "loss"]), ["night-b", "day", "night-a"]);
    for wrong in [["--state", "asleep"], ["--sort", "colour"], ["--name", "["]] {
        assert_eq!(home.say(&wrong).0, 2, "{wrong:?}");
    }
}

#[test]
fn runs_are_deleted_by_name_beginning_and_folder_and_without_a_terminal_only_with_yes() {
    let home = Home::new();
    let elsewhere = home.0.path().join("elsewhere");
    home.run(&elsewhere, "far", RunState::Stopped, 1);
    for (folder, name) in [("1", "apple"), ("2", "pear"), ("3", "plum"), ("4", "fig"), ("5", "fig")] {
        home.run(folder, name, RunState::Stopped, 1);
    }
    let (code, said, error) = home.say(&["--delete", "apple"]);
    assert_eq!((code, said.as_str(), home.names(&[]).len()), (2, "", 5));
    assert!(error.contains("--yes") && error.contains("no terminal"), "{error}");
    for wrong in [vec!["--delete", ""], vec!["--delete", "apple", "--yes", "--json"], vec!["--yes"]] {
        assert_eq!(home.say(&wrong).0, 2, "{wrong:?}");
    }

    // One name that is in doubt, and none is deleted.
    for (name, words) in [("p", "may be any of"), ("fig", "may be any of"), ("kiwi", "no run called kiwi")] {
        let (code, _, error) = home.say(&["--delete", "apple", name, "--yes"]);
        assert_eq!((code, error.lines().count(), home.names(&[]).len()), (1, 1, 5), "{error}");
        assert!(error.contains(words), "{error}");
    }

    let (code, said, _) = home.say(&["--delete", "apple", "pe", "5", "elsewhere/", "1", "--yes"]);
    assert!(code == 0 && said.starts_with("deleted 4 runs, "), "{said}");
    assert_eq!(home.names(&["--sort", "name"]), ["fig", "plum"]);
    assert!(!elsewhere.exists());
    assert_eq!(fs::read_dir(home.runs()).unwrap().count(), 2);
}

#[test]
fn a_run_of_a_later_format_is_refused_and_one_without_a_number_is_read() {
    let home = Home::new();
    let (run, settings) = (home.run("20260101-000000-later", "later", RunState::Stopped, 1), "settings.json");
    let text = fs::read_to_string(run.path().join(settings)).unwrap();
    let mut value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["format"], 1);
    value.as_object_mut().unwrap().remove("format");
    fs::write(run.path().join(settings), value.to_string()).unwrap();
    assert_eq!(run.settings().unwrap(), example::settings("later"));

    // What else such a program writes there need not be known.
    fs::write(run.path().join(settings), "{\"format\": 2, \"name\": {\"en\": \"later\"}}").unwrap();
    let reason = format!("{}/settings.json: the run's format is 2, ", run.path().display());
    assert!(run.settings().unwrap_err().to_string().starts_with(&reason));
    let (code, table, told) = home.say(&[]);
    assert!(code == 0 && table.contains("unclear") && told.contains(&reason), "{table}{told}");
    let attached = program::llamascape(home.0.path(), &["attach", "later"]).output().unwrap();
    let error = String::from_utf8(attached.stderr).unwrap();
    assert_eq!((attached.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.contains(&reason) && error.contains("take a newer one"), "{error}");
}

#[test]
fn neither_a_living_run_nor_what_a_link_leads_to_nor_a_folder_of_others_is_deleted() {
    let home = Home::new();
    let alive = home.run("1", "alive", RunState::Running, 1);
    let engine = alive.lock().unwrap();
    let precious = home.0.path().join("precious");
    home.run(&precious, "precious", RunState::Stopped, 1);
    symlink(&precious, home.runs().join("linked")).unwrap();
    let foreign = home.0.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("settings.json"), "{\"editor.tabSize\": 4}").unwrap();

    let link = home.runs().join("linked/").to_str().unwrap().to_owned();
    for (name, words) in [
        ("alive", "has an engine"),
        ("linked", "is a link"),
        (link.as_str(), "is a link"),
        ("precious/..", "can't be deleted by this name"),
        ("foreign", "no run called foreign"),
        ("./foreign", "foreign/settings.json"),
    ] {
        let (code, _, error) = home.say(&["--delete", name, "--yes"]);
        assert!(code == 1 && error.lines().count() == 1 && error.contains(words), "{name}: {error}");
    }
    assert!(alive.path().is_dir() && precious.join("settings.json").is_file() && foreign.is_dir());

    // A dead run goes, and what a link in it leads to stays.
    drop(engine);
    symlink(&foreign, alive.path().join("data")).unwrap();
    assert_eq!(home.say(&["--delete", "alive", "--yes"]).0, 0);
    assert!(!alive.path().exists() && foreign.join("settings.json").is_file());
}

#[test]
fn what_can_not_be_deleted_is_told_and_what_was_interrupted_is_finished() {
    let home = Home::new();
    home.run("1", "good", RunState::Stopped, 1);
    // There is no room in its parent for the name that it would have on the way.
    home.run("x".repeat(250), "long", RunState::Stopped, 1);
    fs::create_dir(home.runs().join("torn")).unwrap();
    fs::write(home.runs().join("torn/settings.json"), "").unwrap();
    home.run(".2.removed-7", "interrupted", RunState::Stopped, 1);
    fs::create_dir(home.runs().join(".mine")).unwrap();

    let (code, said, error) = home.say(&["--delete", "good", "long", "torn", "--yes"]);
    assert!(code == 1 && said.starts_with("deleted 2 runs, "), "{said}{error}");
    assert!(error.contains("--delete long: ") && error.contains("not all is deleted: 2 of 3"), "{error}");
    assert_eq!(home.names(&[]), ["long"]);
    assert!(home.runs().join(".mine").is_dir() && !home.runs().join(".2.removed-7").exists());
}

#[test]
fn a_run_that_cannot_open_its_socket_has_not_begun() {
    let home = Home::new();
    // A folder for sockets that others may look into is none.
    let runtime = home.0.path().join("runtime");
    let sockets = runtime.join("llamascape");
    fs::create_dir_all(&sockets).unwrap();
    fs::set_permissions(&sockets, fs::Permissions::from_mode(0o755)).unwrap();
    let refused = |arguments: &[&str]| {
        let mut command = program::llamascape(home.0.path(), &["train", "--headless", "--quiet"]);
        let output = command.args(arguments).env("XDG_RUNTIME_DIR", &runtime).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && error.contains("mode 0700"), "{error}");
    };
    refused(&["--name", "new"]);
    assert!(home.names(&[]).is_empty(), "a new run leaves nothing behind");
    let old = home.run("old", "old", RunState::Stopped, 1);
    refused(&["--resume", "old"]);
    assert_eq!(old.state().unwrap().state, RunState::Stopped);
}
