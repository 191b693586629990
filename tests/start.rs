//! A bare `llamascape`, and training without a screen on a terminal.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod pty;

use std::path::Path;

use pty::Pty;

fn runs(home: &Path) -> usize {
    std::fs::read_dir(home.join("llamascape/runs")).unwrap().count()
}

#[test]
fn where_runs_are_trained_a_person_comes_back_to_one_or_trains_another_or_leaves() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let arguments = ["train", "--name", "first", "--slice-every", "off", "--threads", "1"];
    let mut pty = Pty::start(home, 100, 30, &arguments);
    pty.until("a step", |text| text.contains("tok/s"));
    pty.press("D");
    assert_eq!(pty.end().0, 0);

    let mut pty = Pty::start(home, 100, 30, &[]);
    let text = pty.until("the list", |text| text.contains("a new run"));
    assert!(text.contains("1 run is being trained. Enter comes back to it"), "{text}");
    assert!(text.lines().any(|line| line.contains("1  first") && line.contains("running")), "{text}");
    pty.press("q");
    let (code, text) = pty.end();
    assert_eq!((code, text.trim(), runs(home)), (0, "", 1), "nothing is done");

    let mut pty = Pty::start(home, 100, 30, &[]);
    pty.until("the list", |text| text.contains("a new run"));
    pty.press("\r");
    pty.until("the run", |text| text.contains("first \u{25cf} training") && text.contains("1 viewer"));
    // The keys are those of the run's screen from the first on.
    pty.press(" ");
    pty.until("the pause", |text| text.contains("first \u{25cf} paused"));
    pty.press("D");
    let (code, text) = pty.end();
    assert_eq!((code, runs(home)), (0, 1), "{text}");
    assert!(text.contains("llamascape attach first"), "{text}");

    let mut pty = Pty::start(home, 100, 30, &[]);
    pty.until("the paused run", |text| {
        text.lines().any(|line| line.contains("1  first") && line.contains("paused"))
    });
    pty.press("n");
    pty.until("a new run", |text| text.contains("tok/s"));
    pty.press("qs");
    assert_eq!((pty.end().0, runs(home)), (0, 2));

    // A flag trains, whatever else is trained.
    let mut pty = Pty::start(home, 100, 30, &["--paused", "--threads", "1"]);
    pty.until("the first prediction", |text| text.contains("[Paris]"));
    pty.press("qs");
    assert_eq!((pty.end().0, runs(home)), (0, 3));

    let mut pty = Pty::start(home, 100, 30, &["attach", "first"]);
    pty.until("the first run", |text| text.contains("first \u{25cf} paused"));
    pty.press("qs");
    assert_eq!(pty.end().0, 0);
}

#[test]
fn without_a_screen_a_terminal_has_one_line_of_steps_below_the_log() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["train", "--headless", "--steps", "30", "--name", "plain", "--threads", "1"];
    let pty = Pty::start(home.path(), 100, 50, &arguments);
    let (code, text) = pty.end();
    assert_eq!(code, 0, "{text}");
    let steps: Vec<&str> = text.lines().filter(|line| line.contains(" tok/s")).collect();
    assert!(steps.len() == 1 && steps[0].starts_with("step 30/30  loss "), "{text}");
    for line in text.lines().filter(|line| line.contains(" INFO ")) {
        assert!(line.starts_with("20"), "{line} does not begin with its time:\n{text}");
    }
    assert!(text.contains("plain: 30 steps in ") && text.contains("checkpoint-30"), "{text}");
}
