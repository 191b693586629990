//! What a person writes: themes and the settings file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use llamascape::app::{App, Message, Options, Remembered};
use llamascape::run::dir::RunDir;
use llamascape::theme::{ColorDepth, Theme};
use llamascape::ui;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::Value;
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::program::llamascape;
use super::{is_one_line, reads, runs};

const THEMES: u64 = 1000;
const LOOKS: u64 = 1000;
/// Each is a process.
const SETTINGS: u64 = 48;

/// Draws a screen in a theme, as it was looked at the last time.
fn drawn(theme: &Theme, remembered: Remembered) {
    let app = App::new(Options { remembered, ..Options::default() });
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| ui::view(&app, theme, frame)).unwrap();
}

#[test]
fn spoilt_themes_are_taken_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("themes");
    let themes = ["dark", "mono", "nord"].map(|name| fs::read(folder.join(format!("{name}.toml"))).unwrap());
    cases(
        "themes",
        THEMES,
        |dice| {
            let theme = dice.pick(&themes);
            if dice.one_in(2) {
                return dice.spoil(theme);
            }
            let theme: Value = toml::from_str(&String::from_utf8_lossy(theme)).unwrap();
            // TOML has no null.
            toml::to_string(&dice.spoil_value(&theme)).unwrap_or_default().into_bytes()
        },
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let depths = [ColorDepth::None, ColorDepth::Ansi16, ColorDepth::Ansi256, ColorDepth::True];
            let themes = depths.map(|depth| reads(bytes.len(), || Theme::parse("mine", &text, depth)));
            if let Some(theme) = &themes[3] {
                drawn(theme, Remembered::default());
            }
            themes.iter().any(Option::is_some)
        },
    );
}

#[test]
fn spoilt_memories_of_how_a_run_was_looked_at_are_taken_or_forgotten() {
    let home = TempDir::new().unwrap();
    let dir =
        RunDir::create(Some(&home.path().join("run")), &runs::settings(Path::new("/models/a"))).unwrap();
    let themes = ["dark", "nord"].map(str::to_owned).to_vec();
    let mut app = App::new(Options { themes, ..Options::default() });
    for key in "mLcx>7T5".chars() {
        app.update(Message::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)));
    }
    let whole = serde_json::to_value(app.remembered()).unwrap();
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let make = |dice: &mut Dice| dice.spoil_json(&whole);
    cases("screen.json", LOOKS, make, |bytes| {
        fs::write(dir.path().join("screen.json"), bytes).unwrap();
        let Some(read) = reads(bytes.len(), || dir.read_json::<Remembered>("screen.json")) else {
            return false;
        };
        let again = App::new(Options { remembered: read.clone(), ..Options::default() }).remembered();
        let third = App::new(Options { remembered: again.clone(), ..Options::default() }).remembered();
        assert_eq!(third, again, "what is remembered stays as it is");
        drawn(&theme, read);
        true
    });
}

fn settings(dice: &mut Dice) -> Vec<u8> {
    const LINES: [(&str, &str, &[&str]); 14] = [
        ("train", "lr", &["3e-3", "0", "-1.0", "inf", "\"x\"", "1e400", "9223372036854775808"]),
        ("train", "preset", &["\"micro\"", "\"\"", "[\"nano\"]", "\"\\u001b[31m\\n\""]),
        ("train", "batch-size", &["1_6", "0", "-1", "1e3", "99999999999999999999"]),
        ("train", "freeze", &["[\"a.*\", \"b\"]", "[]", "[[\"a\"]]", "[\"[\"]", "{ a = 1 }"]),
        ("train", "quiet", &["true", "false", "\"true\"", "1979-05-27"]),
        ("train", "steps", &["10", "0x10", "18446744073709551615"]),
        ("train", "data", &["\"builtin\"", "\"/\\u0000\"", "\"\"\"x\ny\"\"\""]),
        ("train", "schedule", &["\"cosine\"", "\"COSINE\""]),
        ("screen", "theme", &["\"nord\"", "\"../../x\"", "\"\\u202e\""]),
        ("screen", "no-mouse", &["true", "\"no\""]),
        ("keys", "step", &["[\"s\", \"ctrl-n\"]", "[]", "\"\"", "\"ctrl-\"", "\"é\""]),
        ("keys", "quit", &["\"f10\"", "\"f99\"", "[1]", "\"ctrl-c\""]),
        ("keys", "no-such", &["\"a\""]),
        ("\"\\u001b\"", "a", &["1"]),
    ];
    match dice.below(12) {
        0 => return dice.bytes(300),
        1 => return vec![b'['; 100_000],
        2 => return b"[\"\\u001b\\n\"]\n".to_vec(),
        _ => {}
    }
    let mut tables: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for _ in 0..=dice.below(4) {
        // Most of the keys are there, and most of the values make sense.
        let known = if dice.one_in(6) { LINES.len() } else { 12 };
        let (table, key, values) = LINES[dice.below(known)];
        let value = if dice.one_in(3) { *dice.pick(values) } else { values[0] };
        tables.entry(table).or_default().insert(key, value);
    }
    let mut text = String::new();
    for (table, lines) in tables {
        text += &format!("[{table}]\n");
        for (key, value) in lines {
            text += &format!("{key} = {value}\n");
        }
    }
    if dice.one_in(4) { dice.spoil(text.as_bytes()) } else { text.into_bytes() }
}

#[test]
fn a_spoilt_settings_file_is_read_or_refused_in_one_line() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("mine.toml");
    cases("settings file", SETTINGS, settings, |bytes| {
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        let output = llamascape(home.path(), &["config", "--config", path]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        match output.status.code() {
            Some(0) => assert!(error.is_empty(), "{error}"),
            Some(2) => is_one_line(error.strip_suffix('\n').unwrap()),
            code => panic!("{code:?}: {error}"),
        }
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(!said.chars().any(|c| c.is_control() && c != '\n'), "{said:?}");
        error.is_empty()
    });
}
