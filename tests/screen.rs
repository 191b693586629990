//! The program as a person at a terminal meets it.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod program;
mod pty;

use std::path::Path;

use pty::Pty;

fn is_braille(c: char) -> bool {
    ('\u{2801}'..='\u{28ff}').contains(&c)
}

#[test]
fn a_person_steps_resizes_saves_and_leaves_a_terminal_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let mut pty =
        Pty::start(home.path(), 120, 40, &["train", "--paused", "--name", "first", "--threads", "1"]);
    pty.until("the first prediction", |text| text.contains("step 0") && text.contains("[Paris]"));
    pty.until("a landscape with contours", |text| text.chars().any(is_braille) && text.contains("nats"));

    pty.press("s");
    let text = pty.until("the first step", |text| text.contains("step 1 ") && text.contains("as of step 1"));
    assert!(text.contains("paused"), "{text}");
    pty.press("s");
    pty.until("the second step", |text| text.contains("step 2 ") && text.contains("as of step 2"));
    pty.press("b");
    pty.until("the state before it", |text| text.contains("step 1 ") && text.contains("as of step 1"));
    // Steps that are asked for and taken back at once come to nothing.
    pty.press("ssbbS");
    pty.until("ten more steps", |text| text.contains("step 11 "));

    pty.resize(80, 24);
    let text =
        pty.until("the smaller screen", |text| text.lines().last().is_some_and(|l| l.contains("quit")));
    assert!(text.lines().count() <= 24 && text.contains("step 11 "), "{text}");
    pty.resize(79, 24);
    pty.until("a word about the size", |text| text.contains("79x24") && text.contains("80x24"));
    pty.resize(100, 30);
    pty.until("the screen again", |text| text.contains("step 11 ") && text.contains("paused"));

    pty.press("q");
    pty.until("the question", |text| text.contains("leave it paused"));
    pty.press("s");
    let (code, text) = pty.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("first ended at step 11"), "{text}");
    let run = std::fs::read_dir(home.path().join("llamascape/runs")).unwrap().next().unwrap().unwrap().path();
    assert!(run.join("checkpoint-11/model.safetensors").is_file());
    assert_eq!(std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 11);
}

#[test]
fn a_key_of_the_settings_file_takes_the_step() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("config/llamascape");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("config.toml"), "[keys]\nstep = \"f5\"\n").unwrap();
    let arguments = ["train", "--paused", "--slice-every", "off", "--threads", "1"];
    let mut pty = Pty::start(home.path(), 120, 40, &arguments);
    pty.until("the first prediction", |text| text.contains("[Paris]") && text.contains("f5 step"));
    pty.press("\x1b[15~");
    pty.until("a step", |text| text.contains("step 1 "));
    pty.press("qs");
    assert_eq!(pty.end().0, 0);
}

#[test]
fn the_cursor_reads_the_model_that_is_there_and_the_training_moves_to_it_and_back() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["train", "--paused", "--name", "moved", "--grid", "9", "--threads", "1"];
    let mut pty = Pty::start(home.path(), 120, 40, &arguments);
    pty.until("the first slice", |text| text.contains("as of step 0") && text.contains("[Paris]"));
    pty.press("s");
    pty.until("a step", |text| text.contains("p and change · step 1") && text.contains("as of step 1"));

    pty.press("\x1b[C\x1b[C");
    pty.until("what the model there says", |text| text.contains("at ✛ α +.5 β 0"));
    pty.press("\x1b");
    pty.until("the weights again", |text| text.contains("p and change · step 1"));
    pty.press("\x1b[C\x1b[A");
    pty.until("another place", |text| text.contains("at ✛ α +.25 β +.25"));

    pty.press("\r");
    pty.until("the question", |text| {
        text.contains("Move the training there?") && text.contains("b comes back")
    });
    pty.press("y");
    let text = pty.until("the move", |text| {
        text.contains("moved to alpha 0.250, beta 0.250: loss ") && text.contains("p and change · step 1")
    });
    assert!(text.contains("step 1 ") && text.contains("paused") && !text.contains("at ✛"), "{text}");
    pty.press("b");
    pty.until("the weights before", |text| text.contains("back at step 1, before the move"));
    pty.press("\x1b[D\ry");
    pty.until("the second move", |text| text.contains("moved to alpha -0.250, beta 0.000: loss "));
    pty.press("s");
    pty.until("a step from there", |text| text.contains("step 2 ") && text.contains("as of step 2"));

    pty.press("qs");
    assert_eq!(pty.end().0, 0);
    let run = std::fs::read_dir(home.path().join("llamascape/runs")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(std::fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 2);
    let state = std::fs::read_to_string(run.join("checkpoint-2/trainer_state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!((&state["moves"], &state["optimizer_updates"]), (&1.into(), &1.into()));
}

#[test]
fn a_run_is_deleted_when_a_person_says_so_after_seeing_what_will_go() {
    let home = tempfile::tempdir().unwrap();
    let training = ["train", "--headless", "--quiet", "--steps", "1", "--name", "done"];
    let trained = program::llamascape(home.path(), &training).output().unwrap();
    assert!(trained.status.success(), "{}", String::from_utf8_lossy(&trained.stderr));
    let runs = home.path().join("llamascape/runs");
    for (answer, said, left) in [("n\r", "nothing is deleted", 1), ("y\r", "deleted 1 run, ", 0)] {
        let mut pty = Pty::start(home.path(), 200, 24, &["runs", "--delete", "done"]);
        let text = pty.until("the question", |text| text.contains("[y/N]"));
        assert!(text.contains("delete 1 run, ") && text.contains("-done"), "{text}");
        pty.press(answer);
        let (code, text) = pty.end();
        assert_eq!((code, std::fs::read_dir(&runs).unwrap().count()), (0, left), "{text}");
        assert!(text.contains(said), "{text}");
    }
}

#[test]
fn a_run_goes_on_without_a_screen_and_is_come_back_to() {
    let home = tempfile::tempdir().unwrap();
    let mut pty = Pty::start(home.path(), 100, 30, &["--name", "second", "--threads", "1"]);
    // A screen need not show every step.
    pty.until("the second step or a later one", |text| {
        text.contains("tok/s") && !text.contains("step 0 ") && !text.contains("step 1 ")
    });
    pty.press("D");
    let (code, text) = pty.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("llamascape attach second"), "{text}");

    let runs = program::llamascape(home.path(), &["runs", "--json"]).output().unwrap();
    let runs: serde_json::Value = serde_json::from_slice(&runs.stdout).unwrap();
    assert_eq!((&runs["runs"][0]["name"], &runs["runs"][0]["state"]), (&"second".into(), &"running".into()));

    let watcher = Pty::start(home.path(), 100, 30, &["attach", "--read-only"]);
    watcher.until("the run's history", |text| text.contains("2 viewers") || text.contains("step "));
    let mut pty = Pty::start(home.path(), 100, 30, &["attach", "sec"]);
    pty.until("both screens", |text| text.contains("2 viewers"));
    pty.press(":ru");
    pty.until("the command", |text| text.contains("run, or pause"));
    pty.press("\r");
    watcher.until("the pause on the other screen", |text| text.contains("paused"));
    pty.press("qs");
    assert_eq!(pty.end().0, 0);
    let mut watcher = watcher;
    watcher.until("the end on the other screen", |text| text.contains("ended at step"));
    watcher.press("q");
    assert_eq!(watcher.end().0, 0);
}

#[test]
fn a_light_terminal_gets_the_light_theme_and_a_persons_own_come_after_the_built_in_ones() {
    let home = tempfile::tempdir().unwrap();
    let themes = home.path().join("config/llamascape/themes");
    std::fs::create_dir_all(&themes).unwrap();
    std::fs::write(themes.join("mine.toml"), "inherits = \"nord\"").unwrap();
    let arguments = ["train", "--paused", "--name", "bright", "--threads", "1"];
    let mut pty = Pty::start(home.path(), 120, 40, &arguments);
    // What a light terminal answers, there before it is asked for: the parser behind this one answers nothing.
    pty.press("\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;4c");
    pty.until("the first prediction", |text| text.contains("step 0") && text.contains("[Paris]"));
    pty.press("T");
    pty.until("the theme after light", |text| text.contains("theme colorblind"));
    // As many as there are up to the last.
    pty.press("TTTTTTTT");
    pty.until("the theme of the person", |text| text.contains("theme mine"));
    pty.press("T");
    pty.until("the first again", |text| text.contains("theme dark"));
    pty.press("qs");
    let (code, text) = pty.end();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("bright ended at step 0"), "{text}");
}

#[test]
fn the_screen_and_its_slice_are_exported_and_a_file_that_is_there_stays() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["train", "--paused", "--name", "shown", "--grid", "9", "--threads", "1"];
    let mut pty = Pty::start(home.path(), 120, 40, &arguments);
    pty.until("the first slice", |text| text.contains("as of step 0") && text.contains("[Paris]"));

    let picture = home.path().join("a.svg");
    pty.press("e\x15");
    pty.until("the line of the file's name", |text| text.contains(" Export "));
    pty.press(&format!("{}\r", picture.display()));
    pty.until("the picture", |text| text.contains("wrote /") && !text.contains(" Export "));
    let svg = std::fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && svg.contains(">step 0</text>"), "{svg}");
    assert!(!svg.contains("tab changes the format"), "{svg}");

    pty.press(&format!(":export {}\r", picture.display()));
    pty.until("a refusal", |text| text.contains("already a file of this name") && text.contains(" Export "));
    assert_eq!(std::fs::read_to_string(&picture).unwrap(), svg);
    pty.press("\x1b");
    pty.until("the screen below", |text| !text.contains(" Export "));

    let numbers = home.path().join("slice.json");
    pty.press(&format!(":export {}\r", numbers.display()));
    pty.until("the numbers", |text| text.contains("wrote /") && text.contains("slice.json"));
    let slice: serde_json::Value = serde_json::from_slice(&std::fs::read(&numbers).unwrap()).unwrap();
    assert_eq!((&slice["model"], &slice["objective"]), (&"shown@0".into(), &"mean".into()));
    assert_eq!(slice["loss"].as_array().unwrap().len(), slice["betas"].as_array().unwrap().len());
    pty.press("qs");
    assert_eq!(pty.end().0, 0);
}

#[test]
fn a_terminal_that_takes_no_line_back_gets_lines_that_stay() {
    let home = tempfile::tempdir().unwrap();
    let arguments = ["train", "--headless", "--steps", "3", "--name", "plain", "--threads", "1"];
    let pty = Pty::script(home.path(), 120, 40, "TERM=dumb exec \"$0\" \"$@\"", &arguments);
    let (code, text) = pty.end();
    assert_eq!(code, 0, "{text}");
    for step in 1..=3 {
        assert!(text.contains(&format!("step {step}/3  loss ")), "{text}");
    }
}

#[test]
fn a_terminal_that_is_too_small_is_refused_before_anything_is_begun() {
    let home = tempfile::tempdir().unwrap();
    let pty = Pty::start(home.path(), 10, 5, &["train"]);
    let (code, _) = pty.end();
    assert_eq!(code, 1);
    assert!(!home.path().join("llamascape").exists());
}

#[test]
fn a_run_that_cannot_be_prepared_ends_with_one_line_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("short.txt");
    std::fs::write(&data, "too short").unwrap();
    let pty = Pty::start(home.path(), 100, 30, &["train", "--data", data.to_str().unwrap()]);
    let (code, text) = pty.end();
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("one row needs 65"), "{text}");
    assert_eq!(std::fs::read_dir(home.path().join("llamascape/runs")).unwrap().count(), 0);
}

#[test]
fn two_models_are_compared_side_by_side() {
    let home = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let [folder, file] =
        ["tiny-hf", "tiny.gguf"].map(|name| fixtures.join(name).to_str().unwrap().to_owned());
    let text = "The capital of France is Paris";
    let arguments = ["compare", &folder, &file, "--text", text, "--grid", "9", "--threads", "1"];
    let mut pty = Pty::start(home.path(), 160, 50, &arguments);
    let maps = |text: &str| text.matches("9x9 samples").count() == 2 && text.matches("|g| ").count() == 2;
    let text = pty.until("both landscapes", |text| maps(text) && text.contains("step A 0 · B 0"));
    assert!(text.contains("A · tiny-hf") && text.contains("B · tiny"), "{text}");
    assert_eq!(text.matches("[Paris]").count(), 2, "{text}");

    pty.press("\ts");
    pty.until("a step of A alone", |text| text.contains("step A 1 · B 0"));
    pty.press("\x1b[C\x1b[C");
    pty.until("the cursor on both", |text| text.contains("both read at") && text.matches("✛ ").count() >= 3);
    // A button goes down and up over the map of A.
    pty.press("\x1b[<0;31;12M\x1b[<0;31;12m");
    pty.until("the cursor where the mouse was", |text| text.contains("α -.25"));
    pty.press("G");
    pty.until("what A writes", |text| text.contains("A · writes") && text.contains("B · next token"));
    pty.resize(80, 24);
    pty.until("the panes above each other", |text| {
        text.lines().nth(1).is_some_and(|line| line.contains("A · tiny")) && !text.contains("samples")
    });
    pty.press("q");
    let (code, text) = pty.end();
    assert_eq!((code, text.trim()), (0, ""), "nothing is left to say");
}

#[test]
fn a_comparison_that_cannot_be_made_ends_with_a_line_and_the_terminal_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let pty = Pty::start(home.path(), 100, 30, &["compare", "/nowhere/a", "/nowhere/b"]);
    let (code, text) = pty.end();
    assert_eq!((code, text.trim().lines().count()), (1, 1), "{text}");
    assert!(text.contains("no such file or folder: /nowhere/a;"), "{text}");
}
