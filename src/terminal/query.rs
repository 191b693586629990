//! Questions to a terminal, and its answers.

use std::fs::File;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What is the background's colour?
pub(super) const COLOR: &[u8] = b"\x1b]11;?\x07";
/// Is mode 2026, the synchronized update, known?
pub(super) const SYNCHRONIZED: &[u8] = b"\x1b[?2026$p";
/// Can you show kitty's pictures, compressed as ours are? The pixel that is asked with is not kept.
pub(super) const KITTY: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24,o=z;eJxjYGAAAAADAAE=\x1b\\";
/// How large is a cell, in pixels?
pub(super) const CELL: &[u8] = b"\x1b[16t";
/// Where is the cursor?
pub(super) const POSITION: &[u8] = b"\x1b[6n";
/// What are you? Every terminal answers this, in the order asked: asked last, it has nobody wait for a terminal that
/// does not know the others.
pub(super) const IDENTITY: &[u8] = b"\x1b[c";

/// Asks the terminal behind stdin and `output`, which is in raw mode, and reads until the last question is answered,
/// which is [`IDENTITY`], or patience ends: the first where nothing more has begun, the longer one within an answer.
pub(super) fn converse(
    output: &mut File,
    questions: &[u8],
    patience: Duration,
    within: Duration,
) -> io::Result<Answer> {
    output.write_all(questions)?;
    let asked = Instant::now();
    let stdin = rustix::stdio::stdin();
    let mut heard = Vec::new();
    loop {
        let answer = Answer::read(&heard);
        let patience = if answer.is_cut { within } else { patience };
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
pub(super) struct Answer {
    /// The background's colour.
    pub(super) color: Option<[u8; 3]>,
    /// Whether pictures can be sent between the brackets of a synchronized update.
    pub(super) synchronized: Option<bool>,
    /// The column of the cursor, from 1.
    pub(super) column: Option<u16>,
    /// Whether it shows kitty's pictures.
    pub(super) kitty: Option<bool>,
    /// Whether it shows sixel.
    pub(super) sixel: bool,
    /// Width and height of a cell, in pixels.
    pub(super) cell: Option<(u16, u16)>,
    /// The last question is answered: nothing more will come.
    pub(super) is_whole: bool,
    /// Ends within a sequence.
    is_cut: bool,
}

impl Answer {
    /// Finds the answers among all that was heard, keys included.
    pub(super) fn read(heard: &[u8]) -> Self {
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
                [b'_', rest @ ..] => {
                    if !is_last && let Some(word) = rest.strip_prefix(b"Gi=31;") {
                        answer.kitty = Some(word == b"OK");
                    }
                    is_last
                }
                [b'[', rest @ ..] => {
                    let end = rest.iter().position(|byte| (0x40..0x7f).contains(byte));
                    if let Some(end) = end {
                        answer.hear(&rest[..end], rest[end]);
                    }
                    end.is_none()
                }
                _ => false,
            };
        }
        answer
    }

    /// A control sequence, by what is in it and its last byte.
    fn hear(&mut self, within: &[u8], end: u8) {
        match end {
            b'c' => {
                if let Some(attributes) = within.strip_prefix(b"?") {
                    self.is_whole = true;
                    // The first of them is the class of the terminal.
                    self.sixel |= attributes.split(|byte| *byte == b';').skip(1).any(|one| one == b"4");
                }
            }
            b't' => self.cell = cell(within).or(self.cell),
            b'y' => {
                self.synchronized = match within.strip_prefix(b"?2026;") {
                    Some(b"1$" | b"2$" | b"3$") => Some(true),
                    Some(_) => Some(false),
                    None => self.synchronized,
                }
            }
            b'R' => {
                let text = std::str::from_utf8(within).ok();
                let column = text.and_then(|text| text.split_once(';')?.1.parse().ok());
                self.column = column.or(self.column);
            }
            _ => {}
        }
    }
}

/// Reads `6;HEIGHT;WIDTH`.
fn cell(text: &[u8]) -> Option<(u16, u16)> {
    let text = std::str::from_utf8(text).ok()?.strip_prefix("6;")?;
    let (height, width) = text.split_once(';')?;
    Some((width.parse().ok()?, height.parse().ok()?))
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

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Option<[u8; 3]> = Some([255; 3]);

    fn whole(color: Option<[u8; 3]>) -> Answer {
        Answer { color, is_whole: true, ..Answer::default() }
    }

    #[test]
    fn a_terminal_tells_its_background_and_then_what_it_is() {
        let bell = b"\x1b]11;rgb:ffff/ffff/ffff\x07\x1b[?62;4c";
        assert_eq!(Answer::read(bell), Answer { sixel: true, ..whole(WHITE) });
        let string_terminator = b"\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\\x1b[?1;2c";
        assert_eq!(Answer::read(string_terminator), whole(Some([30, 30, 46])));
        let among_keys = b"j\x1b[A\x1b]11;rgb:ff/ff/ff\x07k\x1b[?6c";
        assert_eq!(Answer::read(among_keys), whole(WHITE));
    }

    #[test]
    fn a_terminal_that_does_not_know_the_question_only_tells_what_it_is() {
        assert_eq!(Answer::read(b"\x1b[?62c"), whole(None));
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
        assert_eq!(Answer::read(answer), Answer { sixel: true, ..whole(WHITE) });
    }

    #[test]
    fn a_terminal_tells_which_pictures_it_shows_and_how_large_a_cell_is() {
        let kitty = b"\x1b_Gi=31;OK\x1b\\\x1b[6;34;16t\x1b[?62c";
        let expected = Answer { kitty: Some(true), cell: Some((16, 34)), ..whole(None) };
        assert_eq!(Answer::read(kitty), expected);
        for count in 1..kitty.len() {
            let read = Answer::read(&kitty[..count]);
            // Between two answers nothing is cut.
            assert!(!read.is_whole && read.is_cut != [12, 22].contains(&count), "{count} bytes: {read:?}");
            assert_eq!(read.kitty, (count > 10).then_some(true), "{count} bytes");
        }
        let other = b"\x1b_Gi=31;EINVAL:no compression\x1b\\\x1b[?1;2;4c";
        assert_eq!(Answer::read(other), Answer { kitty: Some(false), sixel: true, ..whole(None) });
    }

    #[test]
    fn garbage_is_no_picture() {
        // A class of terminals is no attribute, and 42 is another one.
        for identity in ["?4c", "?4;6c", "?62;42;14c", "?c", "?;c"] {
            assert_eq!(Answer::read(format!("\x1b[{identity}").as_bytes()), whole(None), "{identity}");
        }
        for size in
            ["6t", "6;t", "6;34t", "6;34;t", "6;x;16t", "6;34;16;1t", "6;-1;16t", "6;99999;9t", "4;34;16t"]
        {
            assert_eq!(Answer::read(format!("\x1b[{size}").as_bytes()).cell, None, "{size}");
        }
        for word in ["Gi=32;OK", "Gi=31", "Xi=31;OK", "Gi=31;OK"] {
            assert_eq!(
                Answer::read(format!("\x1b_{word}").as_bytes()).kitty,
                None,
                "{word}: it is not ended"
            );
        }
        assert_eq!(Answer::read(b"\x1b_Gi=32;OK\x1b\\\x1b_\xff\x1b\\").kitty, None);
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
    fn a_terminal_tells_what_it_knows_and_where_its_cursor_is() {
        let answer = Answer::read(b"\x1b[?2026;2$y\x1b[12;2R\x1b[?62;4c");
        let expected = Answer { synchronized: Some(true), column: Some(2), sixel: true, ..whole(None) };
        assert_eq!(answer, expected);
        assert_eq!(Answer::read(b"\x1b[?2026;0$y").synchronized, Some(false));
        assert_eq!(Answer::read(b"\x1b[?2027;2$y").synchronized, None, "another mode");
        assert_eq!(Answer::read(b"\x1b[R\x1b[1;xR\x1b[").column, None);
    }
}
