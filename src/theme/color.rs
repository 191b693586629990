//! Colours: how many a terminal has, and which of them is nearest to the one that is wanted.

use ratatui::style::Color;

/// The 16 colours of ANSI as xterm has them.
const SIXTEEN: [[u8; 3]; 16] = [
    [0, 0, 0],
    [205, 0, 0],
    [0, 205, 0],
    [205, 205, 0],
    [0, 0, 238],
    [205, 0, 205],
    [0, 205, 205],
    [229, 229, 229],
    [127, 127, 127],
    [255, 0, 0],
    [0, 255, 0],
    [255, 255, 0],
    [92, 92, 255],
    [255, 0, 255],
    [0, 255, 255],
    [255, 255, 255],
];

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

pub(crate) fn mix(a: [u8; 3], b: [u8; 3], t: f32) -> [u8; 3] {
    std::array::from_fn(|i| (f32::from(a[i]) + (f32::from(b[i]) - f32::from(a[i])) * t).round() as u8)
}

/// A colour between at least two stops, at a share from 0 to 1.
pub(crate) fn interpolate(stops: &[[u8; 3]], t: f32) -> [u8; 3] {
    let place = t.clamp(0.0, 1.0) * (stops.len() - 1) as f32;
    let index = (place as usize).min(stops.len() - 2);
    mix(stops[index], stops[index + 1], place - index as f32)
}

/// Relative luminance, from 0 to 1, as in the Web Content Accessibility Guidelines 2.
pub fn luminance(rgb: [u8; 3]) -> f32 {
    let [r, g, b] = rgb.map(|c| {
        let c = f32::from(c) / 255.0;
        if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * r + 0.7152 * g + 0.0722 * b
}

/// Contrast of two colours as in the same guidelines, from 1 to 21.
pub(super) fn contrast(a: [u8; 3], b: [u8; 3]) -> f32 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
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
        ColorDepth::Ansi16 => ground_of_sixteen(wanted),
        ColorDepth::None => Color::Reset,
    }
}

/// The 256 that are nearest to the colours of a map, no two alike where the map's differ: what lies close together there
/// would be one colour otherwise.
pub(super) fn apart<const N: usize>(map: [[u8; 3]; N]) -> [Color; N] {
    let mut chosen: Vec<u8> = Vec::with_capacity(N);
    for (level, wanted) in map.iter().enumerate() {
        let distance = |index: u8| distance(*wanted, indexed_rgb(index));
        let same = map[..level].iter().position(|earlier| earlier == wanted).map(|earlier| chosen[earlier]);
        let free = (16..=255).filter(|index| !chosen.contains(index));
        let nearest = free.min_by(|a, b| distance(*a).total_cmp(&distance(*b)));
        chosen.push(same.or(nearest).unwrap_or(16));
    }
    std::array::from_fn(|level| Color::Indexed(chosen[level]))
}

/// The colour that a terminal of this depth has for text and lines on `ground`.
pub(super) fn reduce_ink(color: Color, ground: Color, depth: ColorDepth) -> Color {
    match color {
        Color::Rgb(r, g, b) if depth == ColorDepth::Ansi16 => ink_of_sixteen([r, g, b], seen(ground)),
        _ => reduce(color, depth),
    }
}

/// About what a colour looks like. Of the 16 it matters only whether black or white is seen on them.
pub(super) fn seen(color: Color) -> [u8; 3] {
    use Color::{Cyan, Gray, Green, LightCyan, LightGreen, LightYellow, White, Yellow};
    match color {
        Color::Rgb(r, g, b) => [r, g, b],
        Color::Indexed(index @ 16..) => indexed_rgb(index),
        White | Gray | Yellow | LightYellow | Green | LightGreen | Cyan | LightCyan => [255; 3],
        _ => [0; 3],
    }
}

/// Whether black contrasts more with a colour than white does.
pub(super) fn is_light(rgb: [u8; 3]) -> bool {
    luminance(rgb) > 0.18
}

/// Too dark, too pale or too grey to be called by a hue.
fn is_grey(rgb: [u8; 3]) -> bool {
    let [r, g, b] = rgb.map(u16::from);
    let (least, most) = (r.min(g).min(b), r.max(g).max(b));
    most < 72 || most - least < (most / 4).max(44)
}

/// A background out of the 16: black or white, so that every ink made for it is seen; a hue only where the theme
/// paints a plain one.
fn ground_of_sixteen(rgb: [u8; 3]) -> Color {
    match (is_light(rgb), is_grey(rgb) || luminance(rgb) < 0.05) {
        (true, true) => Color::White,
        (false, true) => Color::Black,
        (light, false) => hue_of_sixteen(rgb, light),
    }
}

/// An ink out of the 16. Nearness says little about colours that every user chooses differently, and may make a quiet
/// grey one with what it is written on. So hues keep their names, in the bright eight on dark and the dark eight on
/// light grounds, and greys keep about their contrast, down to the dark grey that is seen on black and on white.
fn ink_of_sixteen(rgb: [u8; 3], ground: [u8; 3]) -> Color {
    let contrast = contrast(rgb, ground);
    match (is_grey(rgb), is_light(ground)) {
        (true, true) if contrast >= 7.0 => Color::Black,
        (true, true) => Color::DarkGray,
        // Borders are below, text is above.
        (true, false) if contrast < 2.8 => Color::DarkGray,
        (true, false) if contrast < 7.0 => Color::Gray,
        (true, false) => Color::White,
        (false, on_light) => match hue_of_sixteen(rgb, !on_light) {
            // Most terminals' yellow can't be read on white.
            Color::Yellow => Color::Magenta,
            hue => hue,
        },
    }
}

/// The name of a colour's hue, among the bright or the dark ones.
fn hue_of_sixteen(rgb: [u8; 3], bright: bool) -> Color {
    use Color::{
        Blue, Cyan, Green, LightBlue, LightCyan, LightGreen, LightMagenta, LightRed, LightYellow, Magenta,
        Red, Yellow,
    };
    let [r, g, b] = rgb.map(f32::from);
    let most = r.max(g).max(b);
    let span = (most - r.min(g).min(b)).max(1.0);
    // The angle of HSV.
    let turn = if r >= most {
        (g - b) / span
    } else if g >= most {
        2.0 + (b - r) / span
    } else {
        4.0 + (r - g) / span
    };
    let (dark, light) = match (60.0 * turn).rem_euclid(360.0) {
        18.0..60.0 => (Yellow, LightYellow),
        60.0..165.0 => (Green, LightGreen),
        165.0..200.0 => (Cyan, LightCyan),
        200.0..255.0 => (Blue, LightBlue),
        255.0..340.0 => (Magenta, LightMagenta),
        _ => (Red, LightRed),
    };
    if bright { light } else { dark }
}

/// The colours of xterm by number, from 16: a cube with six steps a side, and greys.
pub(super) fn indexed_rgb(index: u8) -> [u8; 3] {
    let cube = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    if index >= 232 {
        return [8 + 10 * (index - 232); 3];
    }
    let index = index.saturating_sub(16);
    [cube(index / 36), cube(index / 6 % 6), cube(index % 6)]
}

/// What a colour looks like; `reset` is what the terminal's own one does.
pub(crate) fn rgb(color: Color, reset: [u8; 3]) -> [u8; 3] {
    let index = match color {
        Color::Reset => return reset,
        Color::Rgb(r, g, b) => return [r, g, b],
        Color::Indexed(index) => index,
        Color::Black => 0,
        Color::Red => 1,
        Color::Green => 2,
        Color::Yellow => 3,
        Color::Blue => 4,
        Color::Magenta => 5,
        Color::Cyan => 6,
        Color::Gray => 7,
        Color::DarkGray => 8,
        Color::LightRed => 9,
        Color::LightGreen => 10,
        Color::LightYellow => 11,
        Color::LightBlue => 12,
        Color::LightMagenta => 13,
        Color::LightCyan => 14,
        Color::White => 15,
    };
    SIXTEEN.get(usize::from(index)).copied().unwrap_or_else(|| indexed_rgb(index))
}

/// Squared distance in Oklab (<https://bottosson.github.io/posts/oklab/>), where equal steps look equal. Hue counts
/// more than lightness, so that a colour does not turn grey where the terminal has few.
pub(super) fn distance(a: [u8; 3], b: [u8; 3]) -> f32 {
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
        assert_eq!(reduce(rgb(1, 2, 3), ColorDepth::True), rgb(1, 2, 3));
    }

    #[test]
    fn sixteen_colours_keep_hues_by_name_and_greys_by_contrast() {
        let ground = |r, g, b| reduce(Color::Rgb(r, g, b), ColorDepth::Ansi16);
        assert_eq!(ground(13, 17, 23), Color::Black);
        assert_eq!(ground(0, 43, 54), Color::Black);
        assert_eq!(ground(46, 52, 64), Color::Black);
        assert_eq!(ground(253, 246, 227), Color::White);
        assert_eq!(ground(200, 30, 30), Color::Red);
        let ink = |rgb: [u8; 3], ground| reduce_ink(rgb_color(rgb), ground, ColorDepth::Ansi16);
        let (dark, light) = (Color::Rgb(13, 17, 23), Color::Rgb(255, 255, 255));
        assert_eq!((ink([250, 10, 10], dark), ink([250, 10, 10], light)), (Color::LightRed, Color::Red));
        assert_eq!(ink([126, 231, 135], dark), Color::LightGreen);
        assert_eq!((ink([125, 133, 144], dark), ink([125, 133, 144], light)), (Color::Gray, Color::DarkGray));
        assert_eq!(
            (ink([58, 66, 77], dark), ink([194, 201, 209], light)),
            (Color::DarkGray, Color::DarkGray)
        );
        assert_eq!(
            (ink([149, 100, 0], dark), ink([149, 100, 0], light)),
            (Color::LightYellow, Color::Magenta)
        );
        assert_eq!(ink([230, 237, 243], Color::Reset), Color::White);
        assert_eq!(reduce_ink(Color::Red, light, ColorDepth::Ansi16), Color::Red, "a name is a name");
    }

    #[test]
    fn contrast_is_that_of_the_guidelines() {
        assert!((contrast([0; 3], [255; 3]) - 21.0).abs() < 1e-3);
        // The grey that is just readable on white by level AA.
        assert!((contrast([118; 3], [255; 3]) - 4.54).abs() < 0.01);
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
