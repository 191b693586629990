//! Text and colours in pictures of SVG.

/// Whether XML may hold the character, and a terminal that shows the file does nothing for it.
pub(crate) fn is_legal(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// A colour as an attribute has it.
pub(crate) fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// A text between two tags.
pub(crate) fn escape(text: &str) -> String {
    let legal: String = text.chars().filter(|character| is_legal(*character)).collect();
    legal.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
