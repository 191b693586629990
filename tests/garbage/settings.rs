//! What a person writes: themes and the settings file.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use llamascape::app::{App, Options};
use llamascape::theme::{ColorDepth, Theme};
use llamascape::ui;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::Value;
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::{is_one_line, reads};

const THEMES: u64 = 2000;
/// Each is a process.
const SETTINGS: u64 = 24;

/// Draws a screen in a theme.
fn drawn(theme: &Theme) {
    let app = App::new(Options::default());
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
                drawn(theme);
            }
            themes.iter().any(Option::is_some)
        },
    );
}

fn settings(dice: &mut Dice) -> Vec<u8> {
    let whole = b"[train]\nlr = 3e-3\npreset = \"micro\"\nbatch-size = 1_6\nfreeze = [\"a.*\", \"b\"]\n\
                  quiet = true\nsteps = 10\n[screen]\ntheme = \"nord\"\nno-mouse = true\n\
                  [keys]\nstep = [\"s\", \"ctrl-n\"]\nquit = \"f10\"\n";
    match dice.below(8) {
        0 => dice.bytes(300),
        1 => vec![b'['; 100_000],
        2 => b"[train]\nlr = \"\\u001b[31m\\n\"\n".to_vec(),
        3 => b"[\"\\u001b\\n\"]\n".to_vec(),
        _ => dice.spoil(whole),
    }
}

#[test]
fn a_spoilt_settings_file_is_read_or_refused_in_one_line() {
    let home = TempDir::new().unwrap();
    let path = home.path().join("mine.toml");
    cases("settings file", SETTINGS, settings, |bytes| {
        fs::write(&path, bytes).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_llamascape"))
            .args(["config", "--config", path.to_str().unwrap()])
            .env("XDG_CONFIG_HOME", home.path())
            .env("XDG_STATE_HOME", home.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
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
