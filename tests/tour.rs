//! The guided tour as a person walks through it.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod pty;

use std::path::Path;

use pty::Pty;

/// The folders of tours under a home.
fn tours(home: &Path) -> usize {
    let entries = std::fs::read_dir(home.join("llamascape")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("tour-")).count()
}

#[test]
fn each_chapter_changes_the_live_model_and_nothing_is_left_behind() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut pty = Pty::start(home, 80, 24, &["tour", "--threads", "2", "--no-config"]);
    pty.until("the first page", |text| text.contains("1 of 10") && text.contains("step 0"));
    pty.until("the model", |text| text.contains("[Paris]"));
    assert_eq!(tours(home), 1);
    pty.press(" ");
    pty.until("steps", |text| text.contains("1 of 10") && text.contains("step 60 "));
    pty.press(" ");
    pty.until("a parameter", |text| text.contains("2 of 10") && text.contains("Loss over"));
    pty.press(" ");
    pty.until("it turned to its best", |text| text.contains("2 of 10") && text.contains("turned by"));
    pty.press(" ");
    pty.until("two by turns", |text| text.contains("3 of 10") && text.contains("8 steps of all"));
    pty.press(" ");
    pty.until("one step of all", |text| text.contains("4 of 10") && text.contains("step 61 "));
    pty.press(" ");
    pty.until("the layers", |text| text.contains("4 of 10") && text.contains("step 101 "));
    pty.press(" ");
    pty.until("a slice", |text| text.contains("5 of 10") && text.contains("as of step 101"));
    pty.press(" ");
    pty.until("another plane", |text| text.contains("5 of 10") && text.contains("seeds 13 113"));
    pty.press(" ");
    pty.until("the verdict", |text| text.contains("6 of 10") && text.contains("of 16 directions"));
    // It is put away and taken up again, and the screen is the live program meanwhile.
    pty.press("t");
    pty.until("the screen alone", |text| !text.contains("6 of 10"));
    pty.press("\x1bt");
    pty.until("the tour again", |text| text.contains("6 of 10"));
    pty.press(" ");
    pty.until("the film", |text| text.contains("7 of 10") && text.contains("step 301 "));
    pty.press(" ");
    pty.until("the plane that stays", |text| text.contains("8 of 10") && text.contains("-0.9"));
    pty.press(" ");
    pty.until("the start", |text| text.contains("8 of 10") && text.contains("step 0"));
    pty.press(" ");
    pty.until("the descent", |text| text.contains("8 of 10") && text.contains("step 24"));
    pty.press(" ");
    // The pair is trained only where nobody has one: the tour goes on without it.
    pty.until("two models", |text| text.contains("9 of 10") && text.contains("compare"));
    pty.press(" ");
    pty.until("from nearer", |text| text.contains("10 of 10") && text.contains("0.01"));
    pty.press(" ");
    pty.until("the end", |text| text.contains("10 of 10") && text.contains("the end"));
    pty.press("q");
    let (code, text) = pty.end();
    assert_eq!((code, text.trim()), (0, ""));
    let gone = std::time::Instant::now();
    while tours(home) > 0 {
        assert!(gone.elapsed().as_secs() < 60, "the engine is still there");
        std::thread::yield_now();
    }
    assert!(!home.join("llamascape/runs").exists(), "no run was made");
}

#[test]
fn a_tour_needs_a_terminal_and_one_that_is_large_enough() {
    let home = tempfile::tempdir().unwrap();
    let mut pty = Pty::start(home.path(), 79, 24, &["tour"]);
    let (code, text) = pty.end();
    assert!(code == 1 && text.contains("80x24"), "{text}");
    pty = Pty::script(home.path(), 80, 24, "\"$0\" \"$@\" | cat; exit", &["tour"]);
    let (_, text) = pty.end();
    assert!(text.contains("the tour needs a terminal"), "{text}");
}
