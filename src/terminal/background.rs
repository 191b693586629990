//! Whether the terminal is light or dark. It is asked, and where it does not say, the environment may.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::pictures::{self, Pictures};
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

/// Asks the terminal behind stdin and `output`, which is in raw mode, for its background and, in the same breath, for
/// its pictures. What is typed meanwhile is lost.
pub(super) fn ask(output: &mut File) -> (Background, Pictures) {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let by_environment = is_light_by_colorfgbg(&variable("COLORFGBG"));
    if !can_tell_color() || !io::stdin().is_terminal() || !output.is_terminal() {
        let background = Background { is_light: by_environment, is_awaited: false };
        return (background, Pictures::default());
    }
    // A terminal that can't be written to or read from will be noticed by those who need it.
    let questions = [COLOR, &pictures::questions(), IDENTITY].concat();
    let answer = converse(output, &questions, PATIENCE, 2 * PATIENCE).unwrap_or_default();
    let is_light = answer.color.map_or(by_environment, |color| luminance(color) > 0.5);
    (Background { is_light, is_awaited: answer.color.is_none() }, Pictures::new(&answer))
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

/// Takes answers that come late out of the keys, as which they would be read: Alt+] or Alt+_, the characters, and at
/// the end Ctrl+G or Alt+\. crossterm itself passes over the others.
#[derive(Debug)]
pub(super) struct Late {
    awaits_color: bool,
    awaits_picture: bool,
    within: Option<Within>,
}

/// The answer that the keys are part of.
#[derive(Debug, Clone, Copy)]
struct Within {
    is_color: bool,
    /// How many keys may still belong to it.
    left: usize,
}

impl Late {
    /// The longest answers: `11;rgb:ffff/ffff/ffff` and its end; `Gi=31;`, what is wrong in a few words, and the end.
    const LONGEST_COLOR: usize = 22;
    const LONGEST_PICTURE: usize = 80;

    pub(super) fn new(awaits_color: bool, awaits_picture: bool) -> Self {
        Self { awaits_color, awaits_picture, within: None }
    }

    /// Whether the key is part of an answer.
    pub(super) fn swallows(&mut self, key: KeyEvent) -> bool {
        let within = self.within.take();
        let KeyCode::Char(character) = key.code else { return false };
        let is_alt = key.modifiers.contains(KeyModifiers::ALT);
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match character {
            ']' if is_alt && self.awaits_color => {
                self.awaits_color = false;
                self.within = Some(Within { is_color: true, left: Self::LONGEST_COLOR });
                return true;
            }
            '_' if is_alt && self.awaits_picture => {
                self.awaits_picture = false;
                self.within = Some(Within { is_color: false, left: Self::LONGEST_PICTURE });
                return true;
            }
            _ => {}
        }
        let Some(Within { is_color, left }) = within.filter(|within| within.left > 0) else { return false };
        let is_end = is_control && character == 'g' || is_alt && character == '\\';
        let is_within = !is_control
            && !is_alt
            && if is_color {
                character.is_ascii_hexdigit() || matches!(character, ';' | ':' | '/' | 'r' | 'g')
            } else {
                // Where it does not begin as an answer does, the keys are a person's.
                left < Self::LONGEST_PICTURE || character == 'G'
            };
        self.within = is_within.then_some(Within { is_color, left: left - 1 });
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
        // As crossterm reads `ESC ]`, `ESC _`, BEL and `ESC \`.
        let key = |character| match character {
            '«' => KeyEvent::new(KeyCode::Char(']'), KeyModifiers::ALT),
            '‹' => KeyEvent::new(KeyCode::Char('_'), KeyModifiers::ALT),
            '»' => KeyEvent::new(KeyCode::Char('\\'), KeyModifiers::ALT),
            '\x07' => KeyEvent::new(KeyCode::Char('g'), KeyModifiers::CONTROL),
            _ => KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE),
        };
        text.chars().filter(|character| !late.swallows(key(*character))).collect()
    }

    #[test]
    fn a_late_answer_presses_no_keys() {
        for end in ['\x07', '»'] {
            let mut late = Late::new(true, false);
            let text = format!("sb«11;rgb:dcdc/bbbb/cccc{end}bgc«d");
            assert_eq!(typed(&text, &mut late), "sbbgc«d", "one answer, and all keys around it");
        }
        let mut late = Late::new(true, false);
        assert_eq!(typed("«11;rgs", &mut late), "s", "what is no part of an answer ends it");
        let mut late = Late::new(false, false);
        assert_eq!(typed("«11;rgb:‹Gi", &mut late), "«11;rgb:‹Gi", "nothing is awaited");
    }

    #[test]
    fn a_late_word_on_pictures_presses_no_keys_either() {
        let mut late = Late::new(true, true);
        let text = "s«11;rgb:0/0/0\x07‹Gi=31;EINVAL:no such thing»q‹Gi";
        assert_eq!(typed(text, &mut late), "sq‹Gi", "one answer of each kind");
        let mut late = Late::new(false, true);
        assert_eq!(typed("‹sb", &mut late), "sb", "the keys of a person");
        let mut late = Late::new(false, true);
        let endless = format!("‹G{}", "s".repeat(100));
        assert_eq!(typed(&endless, &mut late).len(), 21, "an answer without an end ends all the same");
    }
}
