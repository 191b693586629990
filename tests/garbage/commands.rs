//! The program itself, given values and files that are spoilt: each input is a process.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use llamascape::run::dir::RunDir;
use serde_json::Value;
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::models::header_end;
use super::{fixture, runs};

const VALUES: u64 = 20;
const DIRECTIONS: u64 = 16;
const LISTS: u64 = 12;

/// Runs a command, which does what it should or says in plain lines why not. Returns whether it did.
fn ends_well(home: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new(env!("CARGO_BIN_EXE_llamascape"));
    let command = command.args(arguments).current_dir(home).stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
    for place in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"] {
        command.env(place, home);
    }
    let Output { status, stdout, stderr } = command.output().unwrap();
    let [said, told] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let is_plain = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
    match status.code() {
        Some(0) => assert!(is_plain(&said) && is_plain(&told), "{arguments:?}: {said} {told}"),
        Some(1) => {
            let begins = |line: &str| line.starts_with("llamascape: ") || line.starts_with("  because: ");
            assert!(is_plain(&told) && told.lines().all(begins), "{arguments:?}: {told}");
        }
        // What is typed wrong is shown as it was typed.
        Some(2) => assert!(!told.is_empty(), "{arguments:?}"),
        code => panic!("{arguments:?}: {code:?}: {told}"),
    }
    status.success()
}

#[test]
fn a_slice_with_spoilt_values_is_evaluated_or_refused() {
    let home = TempDir::new().unwrap();
    let model = fixture("tiny-hf");
    let make = |dice: &mut Dice| {
        const FLAGS: [(&str, &[&str]); 9] = [
            ("--range", &["-1:1", "0:1e6", "-1e-300:1e-300", "1:1.0000000000000002", "0:nan", "-0:0"]),
            ("--grid", &["1x1", "2x2", "3x1", "0x0", "2x16777217", "1x2"]),
            ("--offset", &["0,0", "1e6,-1e6", "1e-320,0", "nan,0"]),
            ("--seeds", &["0", "18446744073709551615,0", "1,1", "1,2,3", "18446744073709551616,1"]),
            ("--memory", &["1", "1k", "1e300G", "0.1", "100M"]),
            ("--layers", &["0..1", "1..1", "0..18446744073709551615", "2..1", "\u{1b}[31m"]),
            ("--tensors", &["*", "*norm*", "[", "{a,b", "\u{1b}[31m\n*", "*up*"]),
            ("--norm", &["layer", "none", "filter"]),
            ("--method", &["stack", "materialise"]),
        ];
        let mut line = vec!["--grid".to_owned(), "2x2".to_owned()];
        for _ in 0..=dice.below(2) {
            let (flag, values) = *dice.pick(&FLAGS);
            line.retain(|given| !(flag == "--grid" && (given == "--grid" || given == "2x2")));
            if !line.iter().any(|given| given == flag) {
                line.extend([flag.to_owned(), (*dice.pick(values)).to_owned()]);
            }
        }
        line.join("\t").into_bytes()
    };
    cases("slices by flags", VALUES, make, |bytes| {
        let line = String::from_utf8(bytes.to_vec()).unwrap();
        let mut arguments =
            vec!["slice", model.to_str().unwrap(), "--text", "The capital", "--quiet", "--json"];
        // A value may begin with a hyphen.
        let given: Vec<&str> = line.split('\t').collect();
        let joined: Vec<String> = given.chunks(2).map(|pair| pair.join("=")).collect();
        arguments.extend(joined.iter().map(String::as_str));
        ends_well(home.path(), &arguments)
    });
}

#[test]
fn spoilt_directions_are_taken_or_refused() {
    let home = TempDir::new().unwrap();
    let model = fixture("tiny-hf");
    let slice = ["slice", model.to_str().unwrap(), "--text", "The capital", "--quiet", "--grid", "2x2"];
    assert!(ends_well(
        home.path(),
        &[&slice[..], &["--save-directions", "d.safetensors", "--layers", "0..1"]].concat()
    ));
    let path = home.path().join("d.safetensors");
    let whole = fs::read(&path).unwrap();
    let end = header_end(&whole);
    let header: Value = serde_json::from_slice(&whole[8..end]).unwrap();
    let make = |dice: &mut Dice| match dice.below(4) {
        0 => dice.spoil_near(&whole, end),
        1 => [&whole[..end], &dice.spoil(&whole[end..])[..]].concat(),
        _ => {
            let header = dice.spoil_json(&header);
            [&(header.len() as u64).to_le_bytes(), &*header, &whole[end..]].concat()
        }
    };
    cases("directions", DIRECTIONS, make, |bytes| {
        fs::write(&path, bytes).unwrap();
        ends_well(home.path(), &[&slice[..], &["--load-directions", "d.safetensors"]].concat())
    });
}

#[test]
fn a_list_of_spoilt_runs_is_a_list() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("llamascape/runs/run");
    let dir = RunDir::create(Some(&folder), &runs::settings(Path::new("/models/a"))).unwrap();
    let settings: Value = serde_json::from_slice(&fs::read(folder.join("settings.json")).unwrap()).unwrap();
    let make = |dice: &mut Dice| {
        let [settings, state] = [&settings, &runs::state()].map(|whole| {
            if dice.one_in(4) { whole.to_string().into_bytes() } else { dice.spoil_json(whole) }
        });
        let mut both = (settings.len() as u32).to_le_bytes().to_vec();
        both.extend(settings);
        both.extend(state);
        both
    };
    cases("lists of runs", LISTS, make, |bytes| {
        let (length, rest) = bytes.split_at(4);
        let (settings, state) = rest.split_at(u32::from_le_bytes(length.try_into().unwrap()) as usize);
        fs::write(dir.path().join("settings.json"), settings).unwrap();
        fs::write(dir.path().join("state.json"), state).unwrap();
        fs::write(
            dir.path().join("metrics.jsonl"),
            "{\"step\":1,\"loss\":1.5,\"grad_norm\":0.5,\"lr\":0.01}\n",
        )
        .unwrap();
        assert!(ends_well(home.path(), &["runs"]));
        assert!(ends_well(home.path(), &["runs", "--json"]));
        ends_well(home.path(), &["export", "run"])
    });
}
