//! Text and numbers as people read them, safe for a terminal.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::text::Span;

pub use crate::escape::escape;
use crate::escape::push;
pub(super) use crate::protocol::count;
use crate::protocol::{LogLevel, LogLine};

/// A line of the log: its level, and its message after the time of day in a zone, UTC without one.
pub fn logged(line: &LogLine, zone: Option<&TimeZone>) -> (log::Level, String) {
    let level = match line.level {
        LogLevel::Error => log::Level::Error,
        LogLevel::Warn => log::Level::Warn,
        LogLevel::Notice | LogLevel::Info => log::Level::Info,
        LogLevel::Debug => log::Level::Debug,
    };
    (level, timed(line.milliseconds, &line.message, zone))
}

/// A message after the time of day in a zone, UTC without one.
pub(super) fn timed(milliseconds: i64, message: &str, zone: Option<&TimeZone>) -> String {
    let zone = zone.cloned().unwrap_or(TimeZone::UTC);
    let time = Timestamp::from_millisecond(milliseconds)
        .map(|time| time.to_zoned(zone).strftime("%H:%M:%S").to_string())
        .unwrap_or_default();
    format!("{time} {}", escape(message))
}

/// As [`escape`] has it, but line ends stay line ends, and tabs are `⇥`.
pub(super) fn escape_lines(text: &str) -> String {
    text.replace('\t', "⇥").split('\n').map(escape).collect::<Vec<_>>().join("\n")
}

/// A token: leading spaces as `·`, line ends as `⏎`, tabs as `⇥`, the rest as [`escape`] has it.
pub(super) fn token(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut leading = true;
    for character in text.chars() {
        leading &= character == ' ';
        match character {
            ' ' if leading => safe.push('·'),
            '\n' => safe.push('⏎'),
            '\t' => safe.push('⇥'),
            _ => push(&mut safe, character),
        }
    }
    safe
}

/// A text on one line: line ends as `⏎`, tabs as `⇥`, the rest as [`escape`] has it.
pub(super) fn one_line(text: &str) -> String {
    escape(&text.replace('\n', "⏎").replace('\t', "⇥"))
}

/// Columns that safe text takes.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Cuts safe text to so many columns; an ellipsis says that something is missing.
pub fn shorten(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.into();
    }
    let kept = fitting(text.chars(), columns);
    let ellipsis = if columns > 0 { "…" } else { "" };
    text.chars().take(kept).chain(ellipsis.chars()).collect()
}

/// How many of these characters fit beside an ellipsis.
fn fitting(characters: impl Iterator<Item = char>, columns: usize) -> usize {
    let widths = characters.scan(0, |sum, character| {
        *sum += width(character.encode_utf8(&mut [0; 4]));
        Some(*sum)
    });
    widths.take_while(|sum| *sum < columns).count()
}

/// Cuts safe text at its beginning.
pub(super) fn shorten_start(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.into();
    }
    let cut = text.chars().count() - fitting(text.chars().rev(), columns);
    let ellipsis = if columns > 0 { "…" } else { "" };
    ellipsis.chars().chain(text.chars().skip(cut)).collect()
}

/// Puts an ellipsis in the place of the first character of a line above or before which something is missing.
pub(super) fn begin_cut(line: &str) -> String {
    format!("…{}", &line[first(line, usize::MAX)..])
}

/// Bytes of the first character of safe text, or of what stands for one that is not seen, such as `<0x1B>`, if that
/// has room in so many columns.
fn first(text: &str, columns: usize) -> usize {
    let escaped = || {
        let code = text.strip_prefix("<0x").or_else(|| text.strip_prefix("<U+"))?.as_bytes();
        let digits = code.iter().take(7).position(|byte| *byte == b'>')?;
        let is_code = digits >= 2 && code[..digits].iter().all(u8::is_ascii_hexdigit);
        is_code.then_some(digits + 4).filter(|bytes| *bytes <= columns)
    };
    escaped().or_else(|| text.chars().next().map(char::len_utf8)).unwrap_or(0)
}

/// Breaks safe text into lines of at most so many columns, before words where it can, and not inside what stands for a
/// character that is not seen. Spaces at the end of a line may stand out; no character is lost.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let (mut line, mut taken) = (String::new(), 0);
    for word in text.split_inclusive(' ') {
        if taken > 0 && taken + width(word.trim_end()) > columns {
            lines.push(std::mem::take(&mut line));
            taken = 0;
        }
        let mut rest = word;
        while !rest.is_empty() {
            let (character, after) = rest.split_at(first(rest, columns));
            let wide = width(character);
            if taken > 0 && taken + wide > columns && character != " " {
                lines.push(std::mem::take(&mut line));
                taken = 0;
            }
            line.push_str(character);
            taken += wide;
            rest = after;
        }
    }
    lines.push(line);
    lines
}

/// A loss: three decimals, fewer when it is large.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "inf".into() } else { "-inf".into() }
    } else if value == 0.0 {
        "0".into()
    } else if value.abs() >= 1e5 || value.abs() < 5e-4 {
        format!("{value:.1e}")
    } else if value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else if value.abs() >= 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// A norm: two decimals.
pub(super) fn norm(value: f64) -> String {
    if (0.005..100.0).contains(&value.abs()) { format!("{value:.2}") } else { number(value) }
}

/// A number in about two digits, for axes.
pub(super) fn short_number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || value == 0.0 || !(5e-3..1e5).contains(&size) {
        number(value).replace(".0e", "e")
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 1.0 {
        format!("{value:.1}")
    } else {
        without_zero(&format!("{value:.2}"))
    }
}

/// From one number to another, in as few digits as tell them apart.
pub(super) fn range(low: f64, high: f64) -> String {
    let ends = [low, high];
    let short = ends.map(short_number);
    let ends = if short[0] == short[1] { ends.map(number) } else { short };
    ends.join(" to ")
}

/// A round number for an axis, given the power of ten of its last digit.
pub(super) fn tick(value: f64, power: i32) -> String {
    let size = value.abs();
    if value == 0.0 {
        "0".into()
    } else if (1e-3..1e5).contains(&size) {
        let decimals = power.clamp(-6, 0).unsigned_abs() as usize;
        without_zero(&format!("{value:.decimals$}"))
    } else {
        let digits = (size.log10().floor() as i32).saturating_sub(power).clamp(0, 6) as usize;
        format!("{value:.digits$e}")
    }
}

/// A probability in at most five columns.
pub(super) fn probability(p: f64) -> String {
    if !p.is_finite() {
        "NaN".into()
    } else if p >= 0.9995 {
        "1.00".into()
    } else if p >= 0.0005 {
        without_zero(&format!("{p:.3}"))
    } else if p > 0.0 {
        format!("{p:.0e}")
    } else {
        "0".into()
    }
}

/// A change of a probability, in four columns; `None` when it rounds to nothing.
pub(super) fn change(now: f64, before: f64) -> Option<String> {
    let change = now - before;
    (change.abs() >= 0.005).then(|| without_zero(&format!("{change:+.2}")))
}

/// A coordinate, with its sign.
pub(super) fn coordinate(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if value.abs() < 0.005 {
        return format!("{value:+.0e}");
    }
    let text = format!("{value:+.2}");
    without_zero(text.trim_end_matches('0').trim_end_matches('.'))
}

/// A fraction as a percentage.
pub(super) fn percent(fraction: f64) -> String {
    let percent = 100.0 * fraction;
    if percent >= 0.095 || percent == 0.0 { format!("{percent:.1} %") } else { format!("{percent:.0e} %") }
}

/// A time in whole units, the largest that fits.
pub fn span(seconds: u64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        86_400.. => format!("{} d", seconds / 86_400),
    }
}

/// Minutes and seconds, and hours where there are any.
pub fn clock(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0) as u64 } else { 0 };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

/// `.5` for `0.5`.
fn without_zero(text: &str) -> String {
    text.replacen("0.", ".", usize::from(text.trim_start_matches(['+', '-']).starts_with("0.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_show_their_white_space() {
        assert_eq!(token(" Paris"), "·Paris");
        assert_eq!(token("  a b\n\t"), "··a b⏎⇥");
        assert_eq!(token("\u{7}"), "<0x07>");
    }

    #[test]
    fn text_is_cut_by_columns_and_says_so() {
        assert_eq!(shorten("Paris", 5), "Paris");
        assert_eq!(shorten("London", 5), "Lond…");
        assert_eq!(shorten("漢字漢字", 5), "漢字…");
        assert_eq!(shorten("漢字", 0), "");
        assert_eq!(shorten_start("checkpoint-7", 7), "…oint-7");
        assert_eq!(shorten_start("漢字", 1), "…");
    }

    #[test]
    fn lines_break_before_words_and_lose_nothing() {
        assert_eq!(wrap("the cat sat", 7), ["the cat ", "sat"]);
        assert_eq!(wrap("a incomprehensible", 6), ["a ", "incomp", "rehens", "ible"]);
        assert_eq!(wrap("漢字漢字", 5), ["漢字", "漢字"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("ab", 0), ["a", "b"]);
        assert_eq!(escape_lines("a\n\x1b[b"), "a\n<0x1B>[b");
    }

    #[test]
    fn what_stands_for_a_character_stays_on_one_line() {
        assert_eq!(wrap("<0xC3>f<0xC3>f<0xC3>", 9), ["<0xC3>f", "<0xC3>f", "<0xC3>"]);
        assert_eq!(wrap("ab<U+200B>c", 9), ["ab", "<U+200B>c"]);
        assert_eq!(wrap("<0xC3>", 4), ["<0xC", "3>"], "there is no room for it");
        assert_eq!(wrap("a<0xyz>", 4), ["a<0x", "yz>"], "it stands for none");
        assert_eq!(["<0xC3>f", "<0x", "漢字", ""].map(begin_cut), ["…f", "…0x", "…字", "…"]);
    }

    #[test]
    fn numbers_take_few_columns() {
        assert_eq!(
            [2.1131, 123.45, 4321.0, 1e-5, f64::NAN].map(number),
            ["2.113", "123.5", "4321", "1.0e-5", "NaN"]
        );
        assert_eq!([7.61, 0.834, 250.0].map(short_number), ["7.6", ".83", "250"]);
        assert_eq!([0.834, 4.1, 0.001].map(norm), ["0.83", "4.10", "0.001"]);
        assert_eq!([range(1.3, 5.32), range(2.962, 3.04)], ["1.3 to 5.3", "2.962 to 3.040"]);
        assert_eq!(
            [(0.25, -2), (40.0, 1), (2e6, 6), (1.5e-5, -6)].map(|(value, power)| tick(value, power)),
            [".25", "40", "2e6", "1.5e-5"]
        );
        assert_eq!([1.0, 0.77, 0.0004, 0.0].map(probability), ["1.00", ".770", "4e-4", "0"]);
        assert_eq!([-1.0, 0.0, 0.05, 2.0 / 3.0, 10.5].map(coordinate), ["-1", "0", "+.05", "+.67", "+10.5"]);
        assert_eq!(change(0.77, 0.65).as_deref(), Some("+.12"));
        assert_eq!(change(0.11, 0.13).as_deref(), Some("-.02"));
        assert_eq!(change(0.11, 0.111), None);
        assert_eq!([0.001, 0.25, 2e-6].map(percent), ["0.1 %", "25.0 %", "2e-4 %"]);
        assert_eq!([812.0, 19_800.0, 1_040_000.0].map(count), ["812", "19.8k", "1.0M"]);
    }

    #[test]
    fn time_is_told_in_the_unit_that_fits_or_as_on_a_clock() {
        assert_eq!([59, 3599, 86_399, 31 * 86_400].map(span), ["59 s", "59 min", "23 h", "31 d"]);
        assert_eq!(
            [42.9, 61.0, 7325.0, -1.0, f64::NAN].map(clock),
            ["00:42", "01:01", "2:02:05", "00:00", "00:00"]
        );
    }
}
