//! What a terminal showed, as asciinema plays it: asciicast, version 2
//! (<https://docs.asciinema.org/manual/asciicast/v2/>).

use std::io::{Result, Write};

use serde::Serialize;

/// The first line.
#[derive(Serialize)]
struct Header<'a> {
    version: u8,
    width: u16,
    height: u16,
    title: &'a str,
    env: Environment,
}

#[derive(Serialize)]
struct Environment {
    #[serde(rename = "TERM")]
    term: &'static str,
}

/// A recording that is being written.
#[derive(Debug)]
pub struct Asciicast<W> {
    file: W,
}

impl<W: Write> Asciicast<W> {
    /// Begins the recording of a terminal with so many columns and rows.
    pub fn begin(file: W, (width, height): (u16, u16), title: &str) -> Result<Self> {
        let env = Environment { term: "xterm-256color" };
        let mut recording = Self { file };
        recording.line(&Header { version: 2, width, height, title, env })?;
        Ok(recording)
    }

    /// Writes what the terminal was sent, so many seconds after the beginning. The times ascend.
    pub fn output(&mut self, seconds: f64, sent: &str) -> Result<()> {
        self.line(&(seconds, "o", sent))
    }

    fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_a_line_of_its_terminal_and_a_line_an_event() {
        let mut file = Vec::new();
        let mut recording = Asciicast::begin(&mut file, (80, 24), "a \"run\"").unwrap();
        recording.output(0.0, "\x1b[1mstep 0").unwrap();
        recording.output(0.25, "é\r\n").unwrap();
        assert_eq!(
            String::from_utf8(file).unwrap(),
            r#"{"version":2,"width":80,"height":24,"title":"a \"run\"","env":{"TERM":"xterm-256color"}}
[0.0,"o","\u001b[1mstep 0"]
[0.25,"o","é\r\n"]
"#
        );
    }
}
