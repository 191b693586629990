//! The parts of the program know only what they may know.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

fn sources(under: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (file, folder) = (root.join(format!("{under}.rs")), root.join(under));
    let mut found: Vec<PathBuf> = file.is_file().then_some(file).into_iter().collect();
    let mut folders = if folder.is_dir() { vec![folder] } else { vec![] };
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    assert!(!found.is_empty(), "there is no module {under}");
    found
}

/// No file of `module` names any of `others`.
fn knows_nothing_of(module: &str, others: &[&str]) {
    for path in sources(module) {
        let text = std::fs::read_to_string(&path).unwrap();
        for other in others {
            assert!(!text.contains(other), "{} names {other}", path.display());
        }
    }
}

#[test]
fn the_engine_knows_no_screen() {
    for module in ["ranks", "model", "train", "landscape", "predict", "run", "settings"] {
        knows_nothing_of(
            module,
            &[
                "ratatui",
                "crossterm",
                "tui_logger",
                "crate::app",
                "crate::ui",
                "crate::terminal",
                "crate::cli",
            ],
        );
    }
}

#[test]
fn the_screen_knows_no_tensors() {
    for module in ["app", "ui", "theme", "terminal", "protocol"] {
        knows_nothing_of(
            module,
            &["candle", "crate::model", "crate::train", "crate::landscape", "crate::cli"],
        );
    }
}

#[test]
fn the_model_knows_no_training_and_training_knows_no_run() {
    knows_nothing_of(
        "ranks",
        &["candle", "crate::model", "crate::train", "crate::landscape", "crate::run", "crate::settings"],
    );
    knows_nothing_of("model", &["crate::train", "crate::landscape", "crate::run", "crate::settings"]);
    knows_nothing_of("train", &["crate::landscape", "crate::run", "crate::settings"]);
    knows_nothing_of("landscape", &["crate::run", "crate::settings"]);
}

#[test]
fn the_state_of_a_screen_does_no_io_and_reads_no_clock() {
    for module in ["app", "ui"] {
        knows_nothing_of(module, &["std::fs", "std::net", "std::time", "std::thread", "std::env", "tokio"]);
    }
}
