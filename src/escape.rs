//! Text that may come from a file, a socket or a model, made safe for a terminal.

/// Makes any text safe: what would move the cursor, change colours, turn the direction of the text or not be
/// seen at all becomes a visible escape, such as `<0x1B>` or `<U+202E>`.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        push(&mut safe, character);
    }
    safe
}

/// The same on one line of a log or of the command line: line ends as `\n`, tabs as `\t`.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => safe.extend(character.escape_default()),
            _ => push(&mut safe, character),
        }
    }
    safe
}

/// Adds a character as [`escape`] has it.
pub fn push(safe: &mut String, character: char) {
    let code = character as u32;
    if character.is_control() {
        safe.extend(["<0x", &format!("{code:02X}"), ">"]);
    } else if is_unseen(character) {
        safe.extend(["<U+", &format!("{code:04X}"), ">"]);
    } else {
        safe.push(character);
    }
}

/// Characters that are not seen, or that change how their neighbours are.
fn is_unseen(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
}

/// What an error says, without the backtrace that candle writes into its messages where `RUST_BACKTRACE` is set.
pub fn without_backtrace(message: &str) -> &str {
    message.split("\n   0: ").next().unwrap_or(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_steers_a_terminal_gets_through() {
        assert_eq!(
            escape("a\x1b[31mb\u{9b}c\u{202e}d\u{200b}\r\n"),
            "a<0x1B>[31mb<0x9B>c<U+202E>d<U+200B><0x0D><0x0A>"
        );
        assert_eq!(escape("plain, naïve, 漢字"), "plain, naïve, 漢字");
        for code in (0..=0x0010_ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(
                !escape(&code.to_string()).contains(code) && !printable(&code.to_string()).contains(code)
            );
        }
    }

    #[test]
    fn a_text_on_one_line_is_whole_whatever_it_holds() {
        assert_eq!(printable("one\r\n\ttwo\u{202e}\x1b"), r"one\r\n\ttwo<U+202E><0x1B>");
        assert_eq!(printable("Frames:\n   0: main"), r"Frames:\n   0: main");
    }

    #[test]
    fn the_message_of_an_error_ends_before_its_backtrace() {
        assert_eq!(without_backtrace("shapes differ\nby 2\n   0: candle_core::error"), "shapes differ\nby 2");
        assert_eq!(without_backtrace("shapes differ"), "shapes differ");
    }
}
