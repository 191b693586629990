//! Whether the terminal is light or dark. It is asked, and where it does not say, the environment may.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::query::{COLOR, IDENTITY, converse};
use crate::theme::luminance;

/// How long to wait for an answer to begin; one that has begun may take as long again.
const PATIENCE: Duration = Duration::from_millis(100);

/// What is known of the terminal's background.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Background {
    /// Dark ink is read more easily on it.
    pub(super) is_light: bool,
    /// The terminal was asked for its colour and has not told it: it may do so while keys are read.
    pub(super) is_awaited: bool,
}

/// Asks the terminal behind stdin and `output`, which is in raw mode. What is typed meanwhile is lost.
pub(super) fn ask(output: &mut File) -> Background {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let by_environment = is_light_by_colorfgbg(&variable("COLORFGBG"));
    if !can_tell_color() || !io::stdin().is_terminal() || !output.is_terminal() {
        return Background { is_light: by_environment, is_awaited: false };
    }
    // A terminal that can't be written to or read from will be noticed by those who need it.
    let question = [COLOR, IDENTITY].concat();
    let color = converse(output, &question, PATIENCE, 2 * PATIENCE).unwrap_or_default().color;
    let is_light = color.map_or(by_environment, |color| luminance(color) > 0.5);
    Background { is_light, is_awaited: color.is_none() }
}

/// Whether a terminal like this one may be asked for its colour. The Linux console knows no answer. GNU Screen, which
/// sets STY, hands the question on and answers what it is itself, at once.
pub(super) fn can_tell_color() -> bool {
    let variable = |name| std::env::var(name).unwrap_or_default();
    !matches!(variable("TERM").as_str(), "" | "dumb" | "linux") && variable("STY").is_empty()
}

/// Reads `COLORFGBG`: the numbers of the foreground's and the background's colour, with others between them.
fn is_light_by_colorfgbg(text: &str) -> bool {
    matches!(text.rsplit(';').next(), Some("7" | "15"))
}

/// Takes an answer that comes late out of the keys, as which it would be read: Alt+], its characters, and Ctrl+G or
/// Alt+\ at its end.
#[derive(Debug)]
pub(super) struct Late {
    is_awaited: bool,
    /// How many keys may still belong to the answer.
    left: usize,
}

impl Late {
    /// The longest answer is `11;rgb:ffff/ffff/ffff` and its end.
    const LONGEST: usize = 22;

    pub(super) fn new(background: Background) -> Self {
        Self { is_awaited: background.is_awaited, left: 0 }
    }

    /// Whether the key is part of the answer.
    pub(super) fn swallows(&mut self, key: KeyEvent) -> bool {
        let KeyCode::Char(character) = key.code else {
            self.left = 0;
            return false;
        };
        let is_alt = key.modifiers.contains(KeyModifiers::ALT);
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if self.is_awaited && is_alt && character == ']' {
            (self.is_awaited, self.left) = (false, Self::LONGEST);
            return true;
        }
        if self.left == 0 {
            return false;
        }
        let is_end = is_control && character == 'g' || is_alt && character == '\\';
        let is_within = !is_control
            && !is_alt
            && (character.is_ascii_hexdigit() || matches!(character, ';' | ':' | '/' | 'r' | 'g'));
        self.left = if is_within { self.left - 1 } else { 0 };
        is_end || is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_the_background_last() {
        assert!(is_light_by_colorfgbg("0;15") && is_light_by_colorfgbg("0;default;7"));
        for dark in ["", "15;0", "15;default", "15;8"] {
            assert!(!is_light_by_colorfgbg(dark), "{dark}");
        }
    }

    fn typed(text: &str, late: &mut Late) -> String {
        // As crossterm reads `ESC ]`, BEL and `ESC \`.
        let key = |character| match character {
            '«' => KeyEvent::new(KeyCode::Char(']'), KeyModifiers::ALT),
            '»' => KeyEvent::new(KeyCode::Char('\\'), KeyModifiers::ALT),
            '\x07' => KeyEvent::new(KeyCode::Char('g'), KeyModifiers::CONTROL),
            _ => KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE),
        };
        text.chars().filter(|character| !late.swallows(key(*character))).collect()
    }

    #[test]
    fn a_late_answer_presses_no_keys() {
        let awaited = Background { is_light: false, is_awaited: true };
        for end in ['\x07', '»'] {
            let mut late = Late::new(awaited);
            let text = format!("sb«11;rgb:dcdc/bbbb/cccc{end}bgc«d");
            assert_eq!(typed(&text, &mut late), "sbbgc«d", "one answer, and all keys around it");
        }
        let mut late = Late::new(awaited);
        assert_eq!(typed("«11;rgs", &mut late), "s", "what is no part of an answer ends it");
        let mut late = Late::new(Background::default());
        assert_eq!(typed("«11;rgb:", &mut late), "«11;rgb:", "nothing is awaited");
    }
}
