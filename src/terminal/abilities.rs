//! What a terminal can do, found out by asking it.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::crossterm::terminal as tty;

use super::background::can_tell_color;
use super::pictures::{self, Graphics};
use super::query::{Answer, COLOR, IDENTITY, POSITION, SYNCHRONIZED, converse};

/// How long all answers together may take.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a terminal can do. What it does not tell is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Cells in a line.
    pub columns: u16,
    /// Lines.
    pub rows: u16,
    /// The background's colour.
    pub background: Option<[u8; 3]>,
    /// Whether it shows a picture at once, when it has all of it.
    pub synchronized: Option<bool>,
    /// Columns that a braille character takes.
    pub braille: Option<u16>,
    /// How it shows pictures, if it does.
    pub pictures: Option<Graphics>,
}

/// Gives the terminal its modes back in any case.
struct Raw;

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone has no modes.
        let _ = tty::disable_raw_mode();
    }
}

/// Asks the terminal behind stdin and stdout, or stderr where stdout leads elsewhere; nothing where there is none. What
/// is typed meanwhile is lost.
pub fn abilities() -> io::Result<Option<Abilities>> {
    let output = if io::stdout().is_terminal() {
        rustix::stdio::stdout()
    } else if io::stderr().is_terminal() {
        rustix::stdio::stderr()
    } else {
        return Ok(None);
    };
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut output = File::from(rustix::io::dup(output)?);
    let (columns, rows) = tty::size()?;
    let answer = if matches!(std::env::var("TERM").as_deref(), Err(_) | Ok("" | "dumb")) {
        Answer::default()
    } else {
        tty::enable_raw_mode()?;
        let _raw = Raw;
        converse(&mut output, &questions(), PATIENCE, PATIENCE)?
    };
    let braille = answer.column.map(|column| column.saturating_sub(1));
    let pictures = Graphics::of(&answer, pictures::variable);
    let Answer { color: background, synchronized, .. } = answer;
    Ok(Some(Abilities { columns, rows, background, synchronized, braille, pictures }))
}

/// All questions. The line of the braille character is empty again before the answers come.
fn questions() -> Vec<u8> {
    let color = if can_tell_color() { COLOR } else { &[] };
    let braille = "\r\u{28ff}".as_bytes();
    [color, SYNCHRONIZED, &pictures::questions(), braille, POSITION, b"\r\x1b[K", IDENTITY].concat()
}
