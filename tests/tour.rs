//! The guided tour as a person walks through it.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod pty;

use std::path::Path;

use pty::Pty;

/// The folders of tours under a home.
fn tours(home: &Path) -> usize {
    let entries = std::fs::read_dir(home.join("llamascape")).unwrap().map(Result::unwrap);
    let is_tour = |entry: &std::fs::DirEntry| entry.file_name().to_str().unwrap().starts_with("tour-");
    entries.filter(|entry| is_tour(entry) && entry.path().is_dir()).count()
}

#[test]
fn each_chapter_changes_the_live_model_and_nothing_is_left_behind() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut pty = Pty::start(home, 80, 24, &["tour", "--threads", "2", "--no-config"]);
    // A page is turned once its steps are taken.
    let page = |pty: &mut Pty, number: u8, what: &str, shown: &dyn Fn(&str) -> bool| {
        let title = format!("{number} of 10");
        pty.until(what, |text| text.contains(&title) && text.contains("paused") && shown(text));
    };
    page(&mut pty, 1, "the model", &|text| text.contains("[Paris]") && text.contains("step 0 "));
    assert_eq!(tours(home), 1);
    pty.press(" ");
    page(&mut pty, 1, "steps", &|text| text.contains("step 60 "));
    pty.press(" ");
    page(&mut pty, 2, "a parameter", &|text| text.contains("Loss over") && text.contains("as it is"));
    pty.press(" ");
    page(&mut pty, 2, "it turned to its best", &|text| text.contains("turned by"));
    pty.press(" ");
    page(&mut pty, 3, "two by turns", &|text| text.contains("8 steps of all"));
    pty.press(" ");
    page(&mut pty, 4, "one step of all", &|text| text.contains("step 61 "));
    pty.press(" ");
    page(&mut pty, 4, "the layers", &|text| text.contains("step 101 "));
    pty.press(" ");
    page(&mut pty, 5, "a slice", &|text| text.contains("as of step 101"));
    pty.press(" ");
    page(&mut pty, 6, "the film", &|text| text.contains("step 301 "));
    pty.press(" ");
    page(&mut pty, 7, "another plane", &|text| text.contains("as of step 301"));
    pty.press(" ");
    page(&mut pty, 7, "the verdict", &|text| text.contains("directions were looked along"));
    // It is put away and taken up again, and the screen is the live program meanwhile.
    pty.press("\x1b");
    page(&mut pty, 7, "the map", &|text| !text.contains("directions were looked along"));
    pty.press("t");
    pty.until("the screen alone", |text| !text.contains("7 of 10"));
    pty.press("t");
    page(&mut pty, 7, "the tour again", &|_| true);
    pty.press(" ");
    page(&mut pty, 8, "the plane that stays", &|text| text.contains("The plane that stays"));
    pty.press(" ");
    page(&mut pty, 8, "the start", &|text| text.contains("travels"));
    pty.press(" ");
    page(&mut pty, 8, "the descent", &|text| text.contains("step 24"));
    pty.press(" ");
    // The pair is trained only where nobody has one: the tour goes on without it.
    pty.until("two models", |text| text.contains("9 of 10") && text.contains("compare"));
    pty.press(" ");
    page(&mut pty, 10, "from nearer", &|text| text.contains(".01"));
    pty.press(" ");
    page(&mut pty, 10, "the end", &|text| text.contains("the end"));
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
