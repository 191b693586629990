//! Text on a poster: real text, in whatever sans-serif font the reader has.

use super::Rgb;
use crate::export::xml::{escape, hex};

/// The fonts, the likeliest first.
pub(super) const FONT: &str =
    "font-family=\"Inter,'Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif\"";
/// The width of a letter of a wide sans-serif font, in font sizes: no line is longer than it is taken to be.
const LETTER: f64 = 0.56;

/// How a text is written. Its place is the end of the base line that the anchor names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// The font size in millimetres.
    pub(super) size: f64,
    pub(super) ink: Rgb,
    /// `start`, `middle` or `end`.
    pub(super) anchor: &'static str,
    pub(super) is_bold: bool,
}

/// Writes one line.
pub(super) fn write(svg: &mut String, text: &str, [x, y]: [f64; 2], style: Style) {
    let Style { size, ink, anchor, is_bold } = style;
    let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
    svg.push_str(&format!(
        "<text x=\"{}\" y=\"{}\" font-size=\"{}\" text-anchor=\"{anchor}\" fill=\"{}\"{weight}>{}</text>\n",
        length(x),
        length(y),
        length(size),
        hex(ink),
        escape(text)
    ));
}

/// The width of a text in font sizes, about and rather too much.
fn width(text: &str) -> f64 {
    text.chars().map(|character| if character >= '\u{2e80}' { 1.05 } else { LETTER }).sum()
}

/// A text in lines of at most so many font sizes. A word that is longer is cut.
pub(super) fn wrap(text: &str, most: f64) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && width(&line) + width(word) + LETTER > most {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for character in word.chars() {
            if !line.is_empty() && width(&line) + width(character.encode_utf8(&mut [0; 4])) > most {
                lines.push(std::mem::take(&mut line));
            }
            line.push(character);
        }
    }
    lines.push(line);
    lines
}

/// A length in hundredths of millimetres: finer than any printer's dot.
pub(super) fn length(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// A number with four digits.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "not finite".to_owned();
    }
    if value != 0.0 && !(1e-3..1e5).contains(&size) {
        return format!("{value:.2e}");
    }
    let whole = if size >= 1.0 { size.log10().floor() as usize } else { 0 };
    let text = format!("{value:.*}", 4_usize.saturating_sub(whole + usize::from(size >= 10.0)).max(1));
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_no_longer_than_they_may_be_and_lose_nothing() {
        let text = "mean loss of 5 tokens of averylongwordwithoutaspace 漢字漢字漢字漢字";
        let lines = wrap(text, 8.0);
        assert!(lines.iter().all(|line| width(line) <= 8.0 && !line.is_empty()), "{lines:?}");
        let letters = |text: &str| text.chars().filter(|c| *c != ' ').collect::<String>();
        assert_eq!(letters(&lines.concat()), letters(text));
        assert_eq!(wrap("a b", 100.0), ["a b"]);
        assert_eq!(wrap("", 8.0), [""]);
        assert_eq!(wrap("abc", 0.1), ["a", "b", "c"]);
    }

    #[test]
    fn numbers_are_short_and_lengths_have_no_idle_digits() {
        assert_eq!([1.0, -0.001, 12.3456, 0.5].map(length), ["1", "0", "12.35", "0.5"]);
        assert_eq!(
            [3.004_91, 14.2, 0.0, -0.5, 123.456, 1e-5, f64::NAN].map(number),
            ["3.0049", "14.2", "0", "-0.5", "123.5", "1.00e-5", "not finite"]
        );
    }
}
