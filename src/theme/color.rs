//! Colours: how many a terminal has, and which of them is nearest to the one that is wanted.

use ratatui::style::Color;

/// How many colours a terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColorDepth {
    /// None: bold, dim and reverse only.
    None,
    /// The 16 of ANSI.
    Ansi16,
    /// The 6x6x6 cube and the greys of xterm.
    Ansi256,
    /// 24 bits.
    True,
}

/// The colours of a terminal, from whether `NO_COLOR` is set and not empty, `COLORTERM` and `TERM`.
pub fn color_depth(no_color: bool, colorterm: Option<&str>, term: Option<&str>) -> ColorDepth {
    let term = term.unwrap_or_default();
    if no_color || matches!(term, "" | "dumb") || term.ends_with("-mono") || term.starts_with("vt1") {
        ColorDepth::None
    } else if matches!(colorterm, Some("truecolor" | "24bit")) || term.ends_with("-direct") {
        ColorDepth::True
    } else if term.contains("256color") || colorterm.is_some_and(|value| !value.is_empty()) {
        ColorDepth::Ansi256
    } else {
        ColorDepth::Ansi16
    }
}

pub(super) fn rgb_color([r, g, b]: [u8; 3]) -> Color {
    Color::Rgb(r, g, b)
}

pub(super) fn mix(a: [u8; 3], b: [u8; 3], t: f32) -> [u8; 3] {
    std::array::from_fn(|i| (f32::from(a[i]) + (f32::from(b[i]) - f32::from(a[i])) * t).round() as u8)
}

pub(super) fn interpolate(stops: &[[u8; 3]], t: f32) -> [u8; 3] {
    let place = t.clamp(0.0, 1.0) * (stops.len() - 1) as f32;
    let index = (place as usize).min(stops.len() - 2);
    mix(stops[index], stops[index + 1], place - index as f32)
}

/// Relative luminance, from 0 to 1, with gamma 2.
pub(super) fn luminance(rgb: [u8; 3]) -> f32 {
    let [r, g, b] = rgb.map(|c| (f32::from(c) / 255.0).powi(2));
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// The nearest colour that a terminal of this depth has.
pub(super) fn reduce(color: Color, depth: ColorDepth) -> Color {
    let Color::Rgb(r, g, b) = color else { return color };
    let wanted = [r, g, b];
    match depth {
        ColorDepth::True => color,
        // The first 16 are the user's to choose; only what follows is the same everywhere.
        ColorDepth::Ansi256 => {
            let distance = |index: u8| distance(wanted, indexed_rgb(index));
            let nearest = (16..=255).min_by(|a, b| distance(*a).total_cmp(&distance(*b)));
            nearest.map_or(color, Color::Indexed)
        }
        ColorDepth::Ansi16 => one_of_sixteen(wanted),
        ColorDepth::None => Color::Reset,
    }
}

/// One of the 16 by hue and brightness: nearness says little about colours that every user chooses differently.
fn one_of_sixteen(rgb: [u8; 3]) -> Color {
    use Color::{
        Black, Blue, Cyan, DarkGray, Gray, Green, LightBlue, LightCyan, LightGreen, LightMagenta, LightRed,
        LightYellow, Magenta, Red, White, Yellow,
    };
    let [r, g, b] = rgb.map(f32::from);
    let (least, most) = (r.min(g).min(b), r.max(g).max(b));
    if most < 60.0 || most - least < 0.3 * most {
        return match most {
            ..60.0 => Black,
            ..130.0 => DarkGray,
            ..210.0 => Gray,
            _ => White,
        };
    }
    let strong = |channel: f32| channel > least + 0.45 * (most - least);
    let (dark, light) = match (strong(r), strong(g), strong(b)) {
        (true, false, false) => (Red, LightRed),
        (true, true, _) => (Yellow, LightYellow),
        (false, true, false) => (Green, LightGreen),
        (false, true, true) => (Cyan, LightCyan),
        (true, false, true) => (Magenta, LightMagenta),
        (false, false, _) => (Blue, LightBlue),
    };
    if most > 190.0 { light } else { dark }
}

/// The colours of xterm by number, from 16: a cube with six steps a side, and greys.
fn indexed_rgb(index: u8) -> [u8; 3] {
    let cube = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    if index >= 232 {
        return [8 + 10 * (index - 232); 3];
    }
    let index = index.saturating_sub(16);
    [cube(index / 36), cube(index / 6 % 6), cube(index % 6)]
}

/// Squared distance in Oklab (<https://bottosson.github.io/posts/oklab/>), where equal steps look equal. Hue counts
/// more than lightness, so that a colour does not turn grey where the terminal has few.
fn distance(a: [u8; 3], b: [u8; 3]) -> f32 {
    const HUE_WEIGHT: f32 = 1.3;
    let (a, b) = (oklab(a), oklab(b));
    let [l, u, v] = std::array::from_fn(|i| (a[i] - b[i]).powi(2));
    l + HUE_WEIGHT * (u + v)
}

fn oklab(rgb: [u8; 3]) -> [f32; 3] {
    let [r, g, b] = rgb.map(|c| (f32::from(c) / 255.0).powf(2.2));
    let cone = |x: f32, y: f32, z: f32| (x * r + y * g + z * b).cbrt();
    let l = cone(0.412_22, 0.536_33, 0.051_45);
    let m = cone(0.211_9, 0.680_7, 0.107_4);
    let s = cone(0.088_3, 0.281_72, 0.629_98);
    [
        0.210_45 * l + 0.793_62 * m - 0.004_07 * s,
        1.978 * l - 2.428_59 * m + 0.450_59 * s,
        0.025_9 * l + 0.782_77 * m - 0.808_68 * s,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_brought_down_to_what_the_terminal_has() {
        let rgb = |r, g, b| Color::Rgb(r, g, b);
        assert_eq!(reduce(rgb(95, 135, 175), ColorDepth::Ansi256), Color::Indexed(67));
        assert_eq!(reduce(rgb(18, 18, 18), ColorDepth::Ansi256), Color::Indexed(233));
        assert_eq!(reduce(rgb(238, 238, 238), ColorDepth::Ansi256), Color::Indexed(255));
        assert_eq!(reduce(rgb(250, 10, 10), ColorDepth::Ansi16), Color::LightRed);
        assert_eq!(reduce(rgb(126, 231, 135), ColorDepth::Ansi16), Color::LightGreen);
        assert_eq!(reduce(rgb(13, 17, 23), ColorDepth::Ansi16), Color::Black);
        assert_eq!(reduce(rgb(125, 133, 144), ColorDepth::Ansi16), Color::Gray);
        assert_eq!(reduce(rgb(1, 2, 3), ColorDepth::True), rgb(1, 2, 3));
    }

    #[test]
    fn the_environment_decides_how_many_colours_there_are() {
        assert_eq!(color_depth(true, Some("truecolor"), Some("xterm-256color")), ColorDepth::None);
        assert_eq!(color_depth(false, Some("truecolor"), Some("xterm")), ColorDepth::True);
        assert_eq!(color_depth(false, None, Some("xterm-256color")), ColorDepth::Ansi256);
        assert_eq!(color_depth(false, None, Some("xterm")), ColorDepth::Ansi16);
        assert_eq!(color_depth(false, None, Some("dumb")), ColorDepth::None);
        assert_eq!(color_depth(false, None, None), ColorDepth::None);
    }
}
