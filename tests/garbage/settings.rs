//! What a person writes: themes and the settings file.

use std::fs;
use std::path::Path;

use llamascape::theme::{ColorDepth, Theme};
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::program::llamascape;
use super::{is_one_line, reads};

const THEMES: u64 = 2000;
/// Each is a process.
const SETTINGS: u64 = 24;

#[test]
fn spoilt_themes_are_taken_or_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("themes");
    let themes = ["dark", "mono", "nord"].map(|name| fs::read(folder.join(format!("{name}.toml"))).unwrap());
    cases(
        11_000_000,
        THEMES,
        |dice| {
            let theme = dice.pick(&themes);
            dice.spoil(theme)
        },
        |bytes| {
            let text = String::from_utf8_lossy(bytes);
            for depth in [ColorDepth::None, ColorDepth::Ansi16, ColorDepth::Ansi256, ColorDepth::True] {
                reads(bytes.len(), || Theme::parse("mine", &text, depth));
            }
        },
    );
}

fn settings(dice: &mut Dice) -> Vec<u8> {
    let whole = b"[train]\nlr = 3e-3\npreset = \"micro\"\nbatch-size = 1_6\nfreeze = [\"a.*\", \"b\"]\n\
                  quiet = true\nsteps = 10\n[screen]\ntheme = \"nord\"\nno-mouse = true\n";
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
    cases(12_000_000, SETTINGS, settings, |bytes| {
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
    });
}
