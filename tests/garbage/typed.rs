//! What a person types: the values of flags, names of tensors, and models of the Hub.

use clap::Parser;
use llamascape::cli::Cli;
use llamascape::export::poster::Paper;
use llamascape::landscape::probe;
use llamascape::landscape::selection::Selection;
use llamascape::model::checkpoint::hub::HubId;
use llamascape::model::params::Params;

use super::dice::{Dice, cases};
use super::models::open;
use super::{MOST, fixture, is_one_line, memory};

const LINES: u64 = 3000;
const NAMES: u64 = 3000;

/// A command, its flag, and values that it takes.
const FLAGS: [(&str, &str, &[&str]); 36] = [
    ("slice m", "--range", &["-1:1", "-1:1,-0.5:2", "0:0", "1e-3:2e3"]),
    ("slice m", "--grid", &["25x25", "1x1", "3x1"]),
    ("slice m", "--offset", &["-0.9,0.05", "0,0"]),
    ("slice m", "--seeds", &["11,111", "1,2,3", "7"]),
    ("slice m", "--memory", &["2G", "800M", "1.5GiB", "4096"]),
    ("slice m", "--layers", &["0..8"]),
    ("slice m", "--tensors", &["*mlp*", "model.layers.{0,1}.*", "[ab]?"]),
    ("slice m", "--plane", &["random", "to:org/name@main", "hessian"]),
    ("slice m", "--norm", &["filter", "layer"]),
    ("slice m", "--device", &["cpu", "cuda:3"]),
    ("slice m", "--threads", &["4"]),
    ("slice m", "--out", &["a.npz", "a.vtp", "a.svg", "a.gif"]),
    ("wormhole m", "--offset", &["-0.9,0.05"]),
    ("wormhole m", "--steps", &["24"]),
    ("wormhole m", "--every", &["4"]),
    ("probe m", "--param", &["model.layers.29.mlp.down_proj.weight[12,34]"]),
    ("probe m", "--range", &["-1:1"]),
    ("probe m", "--points", &["101"]),
    ("eval m", "--text", &["The capital of France is Paris"]),
    ("eval m", "--top", &["8"]),
    ("poster m", "--paper", &["A3", "A0-landscape"]),
    ("train", "--lr", &["1e-3", "3e-4"]),
    ("train", "--steps", &["100"]),
    ("train", "--batch-size", &["8"]),
    ("train", "--accumulate", &["2"]),
    ("train", "--clip", &["1.0"]),
    ("train", "--seed", &["7"]),
    ("train", "--slice-every", &["auto", "10", "off"]),
    ("train", "--grid", &["33"]),
    ("train", "--freeze", &["lm_head.*"]),
    ("train", "--name", &["tidy-otter"]),
    ("train", "--resume", &["tidy-otter@7"]),
    ("export r", "--size", &["120x40"]),
    ("export r", "--fps", &["10"]),
    ("export r", "--frames", &["200"]),
    ("tour", "--chapter", &["3"]),
];
const ODD: [&str; 16] = [
    "",
    " ",
    "-",
    "nan",
    "inf",
    "-inf:inf",
    "1e999:1",
    "18446744073709551616",
    "-9223372036854775809",
    "0x0",
    "4294967296x4294967296",
    "1e308G",
    "\u{1b}[31m\r\n",
    "\u{202e}é日",
    "{{{{{{{{",
    "**********a**********b**********",
];

/// A value that is like one of these.
fn value(dice: &mut Dice, whole: &[&str]) -> String {
    match dice.below(4) {
        0 => (*dice.pick(&ODD)).to_owned(),
        1 => dice.pick(whole).repeat(1 + dice.below(300)),
        _ => {
            let whole = dice.pick(whole).as_bytes().to_vec();
            String::from_utf8_lossy(&dice.spoil(&whole)).into_owned()
        }
    }
}

#[test]
fn spoilt_values_of_flags_are_taken_or_refused() {
    let make = |dice: &mut Dice| {
        let (command, flag, whole) = *dice.pick(&FLAGS);
        let mut line: Vec<String> = command.split(' ').map(str::to_owned).collect();
        line.push(format!("{flag}={}", value(dice, whole)));
        if dice.one_in(3) {
            let (_, flag, whole) = *dice.pick(&FLAGS);
            line.extend([flag.to_owned(), value(dice, whole)]);
        }
        line.join("\n\n").into_bytes()
    };
    cases("command lines", LINES, make, |bytes| {
        let line = String::from_utf8_lossy(bytes);
        let parsed = Cli::try_parse_from(["llamascape"].into_iter().chain(line.split("\n\n")));
        // Some are spoilt into a flag that asks for help.
        parsed.map_err(|error| assert!([0, 2].contains(&error.exit_code()), "{error}")).is_ok()
    });
}

fn params() -> Params {
    open(&fixture("tiny-hf")).unwrap().params
}

#[test]
fn spoilt_selections_choose_tensors_or_are_refused() {
    let params = params();
    let make = |dice: &mut Dice| {
        let layers = value(dice, &["0..1", "0..2", "1..2"]);
        let tensors = value(dice, &["*mlp*", "model.layers.{0,1}.*", "*[!0-9]*", "*.weight"]);
        format!("{layers}\n\n{tensors}").into_bytes()
    };
    cases("selections of tensors", NAMES, make, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (layers, tensors) = text.split_once("\n\n").unwrap();
        // What was typed stands in the refusals as it was typed: it is made fit for a terminal where it is printed.
        let layers = Selection::parse_layers(layers).ok();
        let (tensors, peak) = memory::peak(|| Selection::parse_tensors(tensors).ok());
        assert!(peak < MOST, "{peak}");
        let is_given = layers.is_some() || tensors.is_some();
        let selection = Selection { layers, tensors, norms: true, embeddings: true };
        let chosen = selection.names(&params);
        chosen.is_ok_and(|names| is_given && names.iter().all(|name| params.get(name).is_some()))
    });
}

#[test]
fn spoilt_names_are_places_of_the_model_or_are_refused() {
    let params = params();
    let make = |dice: &mut Dice| {
        let names =
            ["model.layers.0.mlp.down_proj.weight[3,4]", "model.norm.weight[31]", "org/name@main", "A3"];
        value(dice, &names).into_bytes()
    };
    cases("names of numbers", NAMES, make, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        HubId::parse(&text);
        if let Err(problem) = Paper::parse(&text) {
            is_one_line(&problem);
        }
        match probe::place(&text, &params) {
            Ok((name, flat)) => {
                let tensor = params.get(&name).unwrap();
                probe::number(tensor, flat).unwrap();
                true
            }
            Err(problem) => {
                assert!(!problem.is_empty());
                false
            }
        }
    });
}
