//! Themes: what every part of the screen looks like, read from TOML and brought down to the colours a terminal has.
//!
//! A theme names a style for each role (`"bold #58a6ff on #0d1117"`), colour maps by their stops, symbols and a
//! border. What a user's theme leaves out is taken from the built-in theme that it inherits, and from the default
//! theme. Colour maps are cut into [`LEVELS`] steps, so that a picture costs few bytes and neighbouring cells share a
//! colour.

mod color;

use std::collections::BTreeMap;
use std::str::FromStr;

use ratatui::style::{Color, Modifier, Style};
use ratatui::widgets::BorderType;
use serde::Deserialize;

pub use color::{ColorDepth, color_depth, luminance};
use color::{apart, contrast, is_light, reduce, reduce_ink, rgb_color, seen};
pub(crate) use color::{interpolate, mix, rgb};

/// Steps of a colour map.
pub const LEVELS: usize = 12;

/// The themes that are built in, the default first and the one without colours last.
const BUILT_IN: [(&str, &str); 10] = [
    ("dark", include_str!("../themes/dark.toml")),
    ("light", include_str!("../themes/light.toml")),
    ("colorblind", include_str!("../themes/colorblind.toml")),
    ("nord", include_str!("../themes/nord.toml")),
    ("gruvbox", include_str!("../themes/gruvbox.toml")),
    ("solarized-dark", include_str!("../themes/solarized-dark.toml")),
    ("solarized-light", include_str!("../themes/solarized-light.toml")),
    ("catppuccin", include_str!("../themes/catppuccin.toml")),
    ("tokyo-night", include_str!("../themes/tokyo-night.toml")),
    ("mono", include_str!("../themes/mono.toml")),
];

fn built_in(name: &str) -> Option<(&'static str, &'static str)> {
    BUILT_IN.into_iter().find(|(known, _)| *known == name)
}

/// Why a theme cannot be used. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum ThemeError {
    /// No built-in theme has this name.
    #[error(
        "there is no theme `{}`; the built-in ones are {}",
        name.escape_debug(),
        Theme::names().join(", ")
    )]
    Unknown {
        /// The name that was asked for.
        name: String,
    },
    /// The file is no TOML of the right shape.
    #[error("theme `{name}`: {message}")]
    Toml {
        /// The theme.
        name: String,
        /// What the parser says, on one line.
        message: String,
    },
    /// A key or its value means nothing.
    #[error("theme `{name}`: {key}: {message}")]
    Key {
        /// The theme.
        name: String,
        /// The key, such as `palette.accent`.
        key: String,
        /// What is wrong and what to write.
        message: String,
    },
}

/// Declares the roles once: the struct, and the way from a key to its field.
macro_rules! roles {
    ($($(#[$doc:meta])* $role:ident,)*) => {
        /// A style for each role on the screen.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct Palette { $($(#[$doc])* pub $role: Style,)* }

        impl Palette {
            const ROLES: &'static [&'static str] = &[$(stringify!($role)),*];

            fn role(&mut self, name: &str) -> Option<&mut Style> {
                match name { $(stringify!($role) => Some(&mut self.$role),)* _ => None }
            }

            /// Brings every style down to the colours of `depth`. Inks depend on what they are drawn on.
            fn reduce(&mut self, depth: ColorDepth) {
                let base = self.base.bg.unwrap_or(Color::Reset);
                for name in Self::ROLES {
                    if let Some(style) = self.role(name) {
                        let ground = style.bg.unwrap_or(base);
                        style.fg = style.fg.map(|ink| reduce_ink(ink, ground, depth));
                        style.bg = style.bg.map(|color| reduce(color, depth));
                    }
                }
            }
        }
    };
}

roles! {
    /// Text and background of the whole screen.
    base,
    /// What is less important: units, ticks, explanations.
    muted,
    /// Titles of panes.
    title,
    /// Keys, the program's name and what else stands out.
    accent,
    /// Borders.
    border,
    /// The border of the pane that has the focus.
    focus,
    /// Something went well or went up for the better.
    good,
    /// Something to look at.
    warn,
    /// Something failed or went down.
    bad,
    /// The loss of the training batches.
    train,
    /// The held-out loss.
    held_out,
    /// The gradient norm over time.
    history,
    /// Bars of candidates.
    bar,
    /// The bar of the target.
    target,
    /// Bars of layers.
    layer,
    /// The empty part of a bar.
    track,
    /// The character under the cursor of a line of text.
    cursor,
    /// Dialogs and help.
    popup,
    /// Points of the landscape where the loss is not finite.
    invalid,
}

/// Characters of a theme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    /// Where the weights are.
    pub weights: String,
    /// Where they were when the slice was fixed.
    pub origin: String,
    /// The read-out cursor.
    pub cursor: String,
    /// The target of the prompt.
    pub target: String,
    /// The dot before the phase of the run.
    pub phase: String,
}

/// A colour map: [`LEVELS`] colours from low to high, and for each one that can be drawn over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColorMap {
    /// Its name.
    pub name: String,
    levels: [Color; LEVELS],
    lines: [Color; LEVELS],
    marks: [Color; LEVELS],
}

impl ColorMap {
    /// The background of a level; a level above the last is the last.
    pub fn background(&self, level: usize) -> Color {
        self.levels[level.min(LEVELS - 1)]
    }

    /// The colour of contours over a level: seen, but quiet.
    pub fn line(&self, level: usize) -> Color {
        self.lines[level.min(LEVELS - 1)]
    }

    /// The colour of markers over a level: as far from it as can be.
    pub fn mark(&self, level: usize) -> Color {
        self.marks[level.min(LEVELS - 1)]
    }

    fn new(name: String, stops: &[[u8; 3]], depth: ColorDepth) -> Self {
        let level = |i: usize| interpolate(stops, i as f32 / (LEVELS - 1) as f32);
        Self::of_levels(name, std::array::from_fn(level), depth)
    }

    /// A map for changes: falls, no change in the two levels of the middle, rises.
    fn diverging(stops: &[[u8; 3]], on_light: bool, depth: ColorDepth) -> Self {
        let name = "diverging".to_owned();
        if depth == ColorDepth::Ansi16 {
            return Self::diverging_of_sixteen(name, on_light);
        }
        let level = |i: usize| interpolate(stops, (i - i / (LEVELS / 2)) as f32 / (LEVELS - 2) as f32);
        Self::of_levels(name, std::array::from_fn(level), depth)
    }

    fn of_levels(name: String, rgb: [[u8; 3]; LEVELS], depth: ColorDepth) -> Self {
        let is_dark = |c: &[u8; 3]| luminance(*c) < 0.28;
        Self {
            name,
            levels: if depth == ColorDepth::Ansi256 {
                apart(rgb)
            } else {
                rgb.map(|c| reduce(rgb_color(c), depth))
            },
            lines: rgb.map(|c| {
                let ink = if is_dark(&c) { mix(c, [255; 3], 0.5) } else { mix(c, [0; 3], 0.42) };
                reduce(rgb_color(ink), depth)
            }),
            marks: rgb.map(|c| reduce(rgb_color(if is_dark(&c) { [255; 3] } else { [0; 3] }), depth)),
        }
    }

    /// With 16 colours no stops can be met: one ramp serves all maps. It rises in lightness with the colours of
    /// xterm, of the VGA and of the newer terminals alike; cyan comes after green, and both after magenta. The ground
    /// of the screen is not among them: what is lowest would be a hole.
    fn of_sixteen(name: String, on_light: bool) -> Self {
        use Color::{Black, Blue, Cyan, Green, LightCyan, LightGreen, LightYellow, Magenta, White};
        let ramp = if on_light {
            [Black, Blue, Magenta, Green, Cyan, LightGreen, LightYellow]
        } else {
            [Blue, Magenta, Green, Cyan, LightGreen, LightYellow, White]
        };
        let levels: [Color; LEVELS] = std::array::from_fn(|i| ramp[i * ramp.len() / LEVELS]);
        let is_dark = |c| matches!(c, Black | Blue | Magenta);
        Self {
            name,
            levels,
            lines: levels.map(|c| if is_dark(c) { LightCyan } else { Black }),
            marks: levels.map(|c| if is_dark(c) { White } else { Black }),
        }
    }

    /// The hues for falls and rises that every eye tells apart; the middle is the ground of the screen.
    fn diverging_of_sixteen(name: String, on_light: bool) -> Self {
        use Color::{Black, Blue, Cyan, Red, White, Yellow};
        let levels: [Color; LEVELS] = if on_light {
            [Blue, Blue, Blue, Cyan, Cyan, White, White, Yellow, Yellow, Red, Red, Red]
        } else {
            [Cyan, Cyan, Blue, Blue, Blue, Black, Black, Red, Red, Red, Yellow, Yellow]
        };
        let inks = levels.map(|c| if matches!(c, Black | Blue | Red) { White } else { Black });
        Self { name, levels, lines: inks, marks: inks }
    }
}

/// What the screen looks like.
#[derive(Debug, Clone, PartialEq)]
pub struct Theme {
    /// Its name.
    pub name: String,
    /// Styles of the roles.
    pub palette: Palette,
    /// Colour maps of the landscape, at least one.
    pub maps: Vec<ColorMap>,
    /// The colour map of changes of the loss: the lower half of its levels are falls, the upper half are rises.
    pub diverging: ColorMap,
    /// Borders of panes.
    pub border: BorderType,
    /// Characters.
    pub symbols: Symbols,
    /// Whether there is any colour. Without, shades are dots.
    pub has_color: bool,
    /// Whether there are colours enough for shades of one hue.
    pub has_shades: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    inherits: Option<String>,
    border: Option<String>,
    color: Option<bool>,
    #[serde(default)]
    palette: BTreeMap<String, String>,
    #[serde(default)]
    map: Vec<MapEntry>,
    diverging: Option<DivergingEntry>,
    #[serde(default)]
    symbols: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MapEntry {
    name: String,
    stops: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DivergingEntry {
    stops: Vec<String>,
}

/// The stops for changes on a dark and on a light screen: blue falls, orange rises. Between them is the ground.
const DIVERGING: [[[u8; 3]; 6]; 2] = [
    [
        [0xa6, 0xd8, 0xff],
        [0x4a, 0x93, 0xe0],
        [0x23, 0x48, 0x7a],
        [0x70, 0x3a, 0x15],
        [0xdf, 0x74, 0x25],
        [0xff, 0xc4, 0x8a],
    ],
    [
        [0x08, 0x40, 0x7e],
        [0x3f, 0x86, 0xc8],
        [0xa9, 0xcb, 0xe8],
        [0xf3, 0xc4, 0x9b],
        [0xd3, 0x70, 0x1f],
        [0x7f, 0x27, 0x04],
    ],
];

impl Theme {
    /// Contrast below which a line is lost on the screen.
    const LOST: f32 = 1.8;

    /// The colour of lines that show a level of a map on the ground of the screen: its own, where that is seen.
    pub fn ink(&self, map: &ColorMap, level: usize) -> Color {
        let (own, ground) = (map.background(level), seen(self.palette.base.bg.unwrap_or(Color::Reset)));
        match own {
            // What is known of the 16 is too little for a contrast.
            Color::Blue if !is_light(ground) => Color::LightBlue,
            Color::Magenta if !is_light(ground) => Color::LightMagenta,
            Color::LightGreen if is_light(ground) => Color::Red,
            Color::LightYellow if is_light(ground) => Color::LightRed,
            Color::Rgb(..) | Color::Indexed(_) if contrast(seen(own), ground) < Self::LOST => map.line(level),
            _ => own,
        }
    }

    /// The names of the built-in themes, the default first.
    pub fn names() -> Vec<&'static str> {
        BUILT_IN.map(|(name, _)| name).to_vec()
    }

    /// A built-in theme, in the colours of `depth`. Without colours every theme has the styles of `mono`.
    pub fn named(name: &str, depth: ColorDepth) -> Result<Self, ThemeError> {
        let (name, text) = built_in(name).ok_or_else(|| ThemeError::Unknown { name: name.into() })?;
        Self::parse(name, text, depth)
    }

    /// A theme from TOML, in the colours of `depth`. What it leaves out is as in the built-in theme that it inherits,
    /// and where that is silent too, as in the default theme.
    pub fn parse(name: &str, text: &str, depth: ColorDepth) -> Result<Self, ThemeError> {
        let own = Reader::new(name, text)?;
        own.check()?;
        let inherited = own.inherited()?;
        let color = own.file.color.or(inherited.as_ref().and_then(|theme| theme.file.color));
        let is_colorless = color == Some(false);
        let has_color = depth != ColorDepth::None && !is_colorless;
        let mut theme = Self {
            name: name.into(),
            palette: Palette::default(),
            maps: Vec::new(),
            diverging: ColorMap::diverging(&DIVERGING[0], false, depth),
            border: BorderType::Rounded,
            symbols: Symbols {
                weights: "◉".into(),
                origin: "○".into(),
                cursor: "✛".into(),
                target: "▸".into(),
                phase: "●".into(),
            },
            has_color,
            has_shades: has_color && depth > ColorDepth::Ansi16,
        };
        let [default, .., mono] = BUILT_IN.map(|(name, text)| Reader::new(name, text));
        default?.apply(&mut theme, depth)?;
        if !theme.has_color {
            theme.palette = Palette::default();
            mono?.apply(&mut theme, depth)?;
        }
        let mut stops = None;
        // Styles that count on colours say the wrong thing without.
        if theme.has_color || is_colorless {
            if let Some(inherited) = inherited {
                inherited.apply(&mut theme, depth)?;
                stops = inherited.diverging()?;
            }
            own.apply(&mut theme, depth)?;
            stops = own.diverging()?.or(stops);
        }
        let ground = seen(theme.palette.base.bg.unwrap_or(Color::Reset));
        let on_light = is_light(ground);
        let [a, b, c, d, e, f] = DIVERGING[usize::from(on_light)];
        let default = [a, b, c, ground, d, e, f];
        theme.diverging = ColorMap::diverging(stops.as_deref().unwrap_or(&default), on_light, depth);
        if depth == ColorDepth::Ansi16 {
            theme.maps = theme.maps.into_iter().map(|map| ColorMap::of_sixteen(map.name, on_light)).collect();
        }
        if theme.has_color {
            theme.palette.reduce(depth);
        } else {
            for name in Palette::ROLES {
                if let Some(style) = theme.palette.role(name) {
                    (style.fg, style.bg) = (None, None);
                }
            }
        }
        Ok(theme)
    }
}

/// A theme's file and the name to complain with.
struct Reader<'a> {
    name: &'a str,
    file: File,
}

impl<'a> Reader<'a> {
    fn new(name: &'a str, text: &str) -> Result<Self, ThemeError> {
        let file = toml::from_str(text).map_err(|error| {
            let message = error.message().replace(char::is_control, " ");
            let line =
                error.span().map_or(0, |span| text[..span.start.min(text.len())].lines().count().max(1));
            ThemeError::Toml { name: name.into(), message: format!("line {line}: {message}") }
        })?;
        Ok(Self { name, file })
    }

    fn error(&self, key: impl Into<String>, message: impl Into<String>) -> ThemeError {
        ThemeError::Key { name: self.name.into(), key: key.into(), message: message.into() }
    }

    /// The built-in theme that fills what this one leaves out.
    fn inherited(&self) -> Result<Option<Reader<'static>>, ThemeError> {
        let Some(wanted) = &self.file.inherits else { return Ok(None) };
        let Some((name, text)) = built_in(wanted) else {
            let known = Theme::names().join(", ");
            let wanted = wanted.escape_debug();
            return Err(self.error("inherits", format!("`{wanted}` is not built in; write one of {known}")));
        };
        Reader::new(name, text).map(Some)
    }

    /// Refuses what would be refused with more colours too.
    fn check(&self) -> Result<(), ThemeError> {
        let mut scratch = Palette::default();
        self.palette(&mut scratch)?;
        self.diverging()?;
        self.maps(ColorDepth::True).map(|_| ())
    }

    fn apply(&self, theme: &mut Theme, depth: ColorDepth) -> Result<(), ThemeError> {
        if let Some(border) = &self.file.border {
            theme.border = match border.as_str() {
                "plain" => BorderType::Plain,
                "rounded" => BorderType::Rounded,
                "double" => BorderType::Double,
                "thick" => BorderType::Thick,
                _ => return Err(self.error("border", "write plain, rounded, double or thick")),
            };
        }
        self.palette(&mut theme.palette)?;
        self.symbols(&mut theme.symbols)?;
        let maps = self.maps(depth)?;
        if !maps.is_empty() {
            theme.maps = maps;
        }
        Ok(())
    }

    fn palette(&self, palette: &mut Palette) -> Result<(), ThemeError> {
        for (role, text) in &self.file.palette {
            let key = format!("palette.{}", role.escape_debug());
            let Some(slot) = palette.role(role) else {
                return Err(self
                    .error(key, format!("there is no such role; there are {}", Palette::ROLES.join(", "))));
            };
            *slot = parse_style(text).map_err(|message| self.error(key, message))?;
        }
        Ok(())
    }

    fn symbols(&self, symbols: &mut Symbols) -> Result<(), ThemeError> {
        for (name, text) in &self.file.symbols {
            let key = format!("symbols.{}", name.escape_debug());
            let slot = match name.as_str() {
                "weights" => &mut symbols.weights,
                "origin" => &mut symbols.origin,
                "cursor" => &mut symbols.cursor,
                "target" => &mut symbols.target,
                "phase" => &mut symbols.phase,
                _ => {
                    let known = "there are weights, origin, cursor, target, phase";
                    return Err(self.error(key, format!("there is no such symbol; {known}")));
                }
            };
            if ratatui::text::Span::raw(text.as_str()).width() != 1 || text.chars().any(char::is_control) {
                return Err(self.error(key, "write one character that is one column wide"));
            }
            slot.clone_from(text);
        }
        Ok(())
    }

    fn maps(&self, depth: ColorDepth) -> Result<Vec<ColorMap>, ThemeError> {
        let read = |entry: &MapEntry| {
            let key = format!("map `{}`", entry.name.escape_debug());
            let stops: Result<Vec<_>, _> = entry.stops.iter().map(|stop| parse_rgb(stop)).collect();
            match stops {
                Ok(stops) if stops.len() >= 2 => Ok(ColorMap::new(entry.name.clone(), &stops, depth)),
                Ok(_) => Err(self.error(key, "a colour map needs at least two stops")),
                Err(message) => Err(self.error(key, message)),
            }
        };
        self.file.map.iter().map(read).collect()
    }

    /// The stops of the map of changes.
    fn diverging(&self) -> Result<Option<Vec<[u8; 3]>>, ThemeError> {
        let Some(entry) = &self.file.diverging else { return Ok(None) };
        let stops: Result<Vec<_>, _> = entry.stops.iter().map(|stop| parse_rgb(stop)).collect();
        match stops {
            Ok(stops) if stops.len() >= 3 && stops.len() % 2 == 1 => Ok(Some(stops)),
            Ok(_) => {
                Err(self.error("diverging", "write 3, 5 or 7 stops: the one in the middle is no change"))
            }
            Err(message) => Err(self.error("diverging", message)),
        }
    }
}

/// Reads `bold #58a6ff on #0d1117`: attributes, a colour, and after `on` the background, each at most once.
fn parse_style(text: &str) -> Result<Style, String> {
    let mut style = Style::new();
    let mut background = false;
    for word in text.split_whitespace() {
        match word {
            "on" => background = true,
            "bold" => style = style.add_modifier(Modifier::BOLD),
            "dim" => style = style.add_modifier(Modifier::DIM),
            "italic" => style = style.add_modifier(Modifier::ITALIC),
            "underline" => style = style.add_modifier(Modifier::UNDERLINED),
            "reverse" => style = style.add_modifier(Modifier::REVERSED),
            _ => {
                let color = parse_color(word)?;
                style = if background { style.bg(color) } else { style.fg(color) };
            }
        }
    }
    Ok(style)
}

fn parse_color(word: &str) -> Result<Color, String> {
    if word == "default" {
        return Ok(Color::Reset);
    }
    if word.starts_with('#') {
        return parse_rgb(word).map(rgb_color);
    }
    Color::from_str(word).map_err(|_| {
        let word = word.escape_debug();
        format!(
            "`{word}` is no style; write bold, dim, italic, underline, reverse, #rrggbb, red, default, on .."
        )
    })
}

fn parse_rgb(word: &str) -> Result<[u8; 3], String> {
    let digits = word.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()));
    digits
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .map(|value| [(value >> 16) as u8, (value >> 8) as u8, value as u8])
        .ok_or_else(|| format!("`{}` is no colour; write #rrggbb", word.escape_debug()))
}

#[cfg(test)]
mod tests;
