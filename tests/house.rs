//! The parts of the program know only what they may know, and the map at the head of src/lib.rs tells the truth.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
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

#[test]
fn what_a_device_computes_is_read_back_in_one_place() {
    // `host::read_back` is counted in the tests of a step and of a slice; the evaluator works on the CPU alone.
    let reading = ["to_vec0", "to_vec1", "to_vec2", "to_scalar"];
    let own =
        |path: &PathBuf| path.ends_with("landscape/evaluator.rs") || path.ends_with("landscape/probe.rs");
    for path in ["train", "landscape"].into_iter().flat_map(sources).filter(|path| !own(path)) {
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for read in reading {
            assert!(!code.contains(read), "{} calls {read}", path.display());
        }
    }
}

/// The rows of the map at the head of src/lib.rs: the path of a module, and the modules that it uses.
fn map() -> Vec<(String, BTreeSet<String>)> {
    let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let row = |line: &str| {
        let mut cells = line.strip_prefix("//! | ")?.split('|').map(quoted);
        Some((cells.next()?.pop()?, cells.nth(1)?.into_iter().collect()))
    };
    library().lines().filter_map(row).collect()
}

fn library() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap()
}

/// The folders below src/ as paths of modules.
fn folders() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut found, mut open) = (BTreeSet::new(), vec![root.clone()]);
    while let Some(folder) = open.pop() {
        let inside = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        open.extend(inside.filter(|path| path.is_dir()));
        let path = folder.strip_prefix(&root).unwrap();
        found.insert(path.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("::"));
    }
    // The root itself.
    found.remove("");
    found
}

#[test]
fn the_map_names_every_module_and_every_folder_and_nothing_else() {
    let library = library();
    let declared = library.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "));
    let declared = declared.map(|name| name.trim_end_matches(';').to_owned());
    let there: BTreeSet<String> = declared.chain(folders()).collect();
    let mapped: Vec<String> = map().into_iter().map(|(module, _)| module).collect();
    let names: BTreeSet<String> = mapped.iter().cloned().collect();
    assert_eq!(names.len(), mapped.len(), "a module is in the map twice");
    let missing: Vec<_> = there.difference(&names).collect();
    assert!(missing.is_empty(), "not in the map: {missing:?}");
    let gone: Vec<_> = names.difference(&there).collect();
    assert!(gone.is_empty(), "in the map and not in src/: {gone:?}");
}

/// The modules of the crate that the files of one name, their tests and comments apart.
fn used_by(module: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for path in sources(module) {
        if path.ends_with("tests.rs") || path.ends_with("fixture.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("\nmod tests {").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for rest in line.split("crate::").skip(1) {
                let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
                used.insert(rest[..end].to_owned());
            }
        }
    }
    used.remove(module);
    used
}

#[test]
fn a_module_uses_what_the_map_says_and_nothing_below_itself() {
    let mut above = BTreeSet::new();
    for (module, uses) in map().into_iter().filter(|(module, _)| !module.contains("::")) {
        assert_eq!(used_by(&module), uses, "what {module} uses, beside what the map says");
        assert!(uses.is_subset(&above), "{module} uses {uses:?}, and above it are only {above:?}");
        above.insert(module);
    }
}
