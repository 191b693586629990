//! Whether the terminal is light or dark. It is asked, and where it does not say, the environment may.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::theme::luminance;

/// What is the background's colour? And what are you: a question that every terminal answers, in the order asked, so
/// that one that does not know the first is not waited for.
const QUESTION: &[u8] = b"\x1b]11;?\x07\x1b[c";

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
    // The Linux console knows no answer. GNU Screen, which sets STY, hands the first question on and answers the second
    // itself, at once.
    let is_mute = matches!(variable("TERM").as_str(), "" | "dumb" | "linux") || !variable("STY").is_empty();
    if is_mute || !io::stdin().is_terminal() || !output.is_terminal() {
        return Background { is_light: by_environment, is_awaited: false };
    }
    // A terminal that can't be written to or read from will be noticed by those who need it.
    let color = converse(output).unwrap_or_default().color;
    let is_light = color.map_or(by_environment, |color| luminance(color) > 0.5);
    Background { is_light, is_awaited: color.is_none() }
}

/// Asks, and reads until both answers are there or patience ends.
fn converse(output: &mut File) -> io::Result<Answer> {
    output.write_all(QUESTION)?;
    let asked = Instant::now();
    let stdin = rustix::stdio::stdin();
    let mut heard = Vec::new();
    loop {
        let answer = Answer::read(&heard);
        let patience = if answer.is_cut { 2 * PATIENCE } else { PATIENCE };
        let left = patience.saturating_sub(asked.elapsed());
        if answer.is_whole || left.is_zero() {
            return Ok(answer);
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let mut bytes = [0; 256];
        match rustix::io::read(stdin, &mut bytes)? {
            0 => return Ok(answer),
            count => heard.extend_from_slice(&bytes[..count]),
        }
    }
}

/// What the terminal has said so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Answer {
    /// The background's colour.
    color: Option<[u8; 3]>,
    /// The second question is answered: nothing more will come.
    is_whole: bool,
    /// Ends within a sequence.
    is_cut: bool,
}

impl Answer {
    /// Finds the answers among all that was heard, keys included.
    fn read(heard: &[u8]) -> Self {
        let mut answer = Self::default();
        // Sequences begin with an escape; `ESC \`, which ends one, begins another that says nothing.
        let mut sequences = heard.split(|byte| *byte == 0x1b).skip(1).peekable();
        while let Some(sequence) = sequences.next() {
            let is_last = sequences.peek().is_none();
            answer.is_cut = match sequence {
                [] => true,
                [b']', rest @ ..] => {
                    let end = rest.iter().position(|byte| *byte == 0x07);
                    let is_open = is_last && end.is_none();
                    if !is_open && let Some(text) = rest[..end.unwrap_or(rest.len())].strip_prefix(b"11;") {
                        answer.color = rgb(text);
                    }
                    is_open
                }
                [b'[', rest @ ..] => {
                    let end = rest.iter().find(|byte| (0x40..0x7f).contains(*byte));
                    answer.is_whole |= rest.starts_with(b"?") && end == Some(&b'c');
                    end.is_none()
                }
                _ => false,
            };
        }
        answer
    }
}

/// Reads `rgb:R/G/B`, one to four hexadecimal digits each, which count as a share of the most they can say.
fn rgb(text: &[u8]) -> Option<[u8; 3]> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix("rgb:")?;
    let channel = |digits: &str| {
        let is_number =
            (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u32::from_str_radix(digits, 16).ok().filter(|_| is_number)?;
        let most = (1_u32 << (4 * digits.len())) - 1;
        Some(((value * 255 + most / 2) / most) as u8)
    };
    let mut channels = text.split('/').map(channel);
    let color = [channels.next()??, channels.next()??, channels.next()??];
    channels.next().is_none().then_some(color)
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

    const WHITE: Option<[u8; 3]> = Some([255; 3]);

    fn whole(color: Option<[u8; 3]>) -> Answer {
        Answer { color, is_whole: true, is_cut: false }
    }

    #[test]
    fn a_terminal_tells_its_background_and_then_what_it_is() {
        let bell = b"\x1b]11;rgb:ffff/ffff/ffff\x07\x1b[?62;4c";
        assert_eq!(Answer::read(bell), whole(WHITE));
        let string_terminator = b"\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\\x1b[?1;2c";
        assert_eq!(Answer::read(string_terminator), whole(Some([30, 30, 46])));
        let among_keys = b"j\x1b[A\x1b]11;rgb:ff/ff/ff\x07k\x1b[?6c";
        assert_eq!(Answer::read(among_keys), whole(WHITE));
    }

    #[test]
    fn a_terminal_that_does_not_know_the_question_only_tells_what_it_is() {
        assert_eq!(Answer::read(b"\x1b[?62;4c"), whole(None));
        assert_eq!(Answer::read(b""), Answer::default());
    }

    #[test]
    fn an_answer_that_is_split_is_waited_for_at_every_byte() {
        let answer = b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;4c";
        for count in 1..answer.len() {
            let read = Answer::read(&answer[..count]);
            assert!(!read.is_whole, "{count} bytes: {read:?}");
            // Between the two answers nothing is cut.
            assert_eq!(read.is_cut, count != 25, "{count} bytes: {read:?}");
        }
        assert_eq!(Answer::read(answer), whole(WHITE));
    }

    #[test]
    fn garbage_is_no_colour() {
        let color = |text: &str| Answer::read(format!("\x1b]11;{text}\x07\x1b[?6c").as_bytes());
        for text in [
            "",
            "?",
            "rgb:",
            "rgb:ff/ff",
            "rgb:ff/ff/ff/ff",
            "rgb:fffff/ff/ff",
            "rgb:+f/ff/ff",
            "rgb:gg/ff/ff",
            "rgb:é/ff/ff",
            "#ffffff",
            "white",
        ] {
            assert_eq!(color(text), whole(None), "{text}");
        }
        assert_eq!(Answer::read(b"\x1b]10;rgb:ff/ff/ff\x07\x1b[?6c"), whole(None), "the foreground");
        assert_eq!(Answer::read(b"\xff\xfe\x1b]11;rgb:\xff/0/0\x07\x1b[?6c"), whole(None));
    }

    #[test]
    fn channels_are_a_share_of_the_most_their_digits_say() {
        assert_eq!(rgb(b"rgb:f/8/0"), Some([255, 136, 0]));
        assert_eq!(rgb(b"rgb:ff/80/00"), Some([255, 128, 0]));
        assert_eq!(rgb(b"rgb:fff/800/000"), Some([255, 128, 0]));
        assert_eq!(rgb(b"rgb:FFFF/8000/0000"), Some([255, 128, 0]));
    }

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
