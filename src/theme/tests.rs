//! What every theme has to give, whatever it looks like.

use std::collections::BTreeSet;

use super::color::{contrast, distance, indexed_rgb};
use super::*;

/// The colours of xterm by name, as it is delivered.
fn of_xterm(color: Color) -> [u8; 3] {
    match color {
        Color::Rgb(r, g, b) => [r, g, b],
        Color::Indexed(index) => indexed_rgb(index),
        Color::Black => [0; 3],
        Color::Blue => [0, 0, 238],
        Color::Magenta => [205, 0, 205],
        Color::Green => [0, 205, 0],
        Color::Cyan => [0, 205, 205],
        Color::LightGreen => [0, 255, 0],
        Color::LightCyan => [0, 255, 255],
        Color::LightYellow => [255, 255, 0],
        Color::DarkGray => [127; 3],
        Color::Gray => [229; 3],
        Color::White => [255; 3],
        _ => panic!("{color} is not in the list"),
    }
}

/// The contrast of what is drawn with a style, on its own ground or that of the screen.
fn style_contrast(palette: &Palette, style: Style) -> f32 {
    let ground = style.bg.or(palette.base.bg).unwrap();
    contrast(of_xterm(style.fg.unwrap()), of_xterm(ground))
}

/// The built-in themes that have colours.
fn colored(depth: ColorDepth) -> impl Iterator<Item = Theme> {
    Theme::names()
        .into_iter()
        .map(move |name| Theme::named(name, depth).unwrap())
        .filter(|theme| theme.has_color)
}

#[test]
fn every_built_in_theme_gives_every_role_at_every_depth() {
    for name in Theme::names() {
        let text = BUILT_IN.iter().find(|(known, _)| *known == name).unwrap().1;
        let file = Reader::new(name, text).unwrap().file;
        for role in Palette::ROLES {
            assert!(file.palette.contains_key(*role), "{name} lacks {role}");
        }
        for depth in [ColorDepth::None, ColorDepth::Ansi16, ColorDepth::Ansi256, ColorDepth::True] {
            let theme = Theme::named(name, depth).unwrap();
            assert!(theme.maps.len() >= 4, "{name}");
            assert_eq!(theme.has_color, name != "mono" && depth != ColorDepth::None);
        }
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_names_there_are() {
    let error = Theme::named("solar", ColorDepth::True).unwrap_err().to_string();
    assert_eq!(
        error,
        "there is no theme `solar`; the built-in ones are dark, light, colorblind, nord, gruvbox, \
         solarized-dark, solarized-light, catppuccin, tokyo-night, mono"
    );
}

#[test]
fn errors_name_the_theme_and_the_key() {
    let error = |text| Theme::parse("mine", text, ColorDepth::None).unwrap_err().to_string();
    assert!(
        error("[palette]\naccent = \"bold #12\"")
            .starts_with("theme `mine`: palette.accent: `#12` is no colour")
    );
    assert!(error("[palette]\nacent = \"red\"").contains("palette.acent: there is no such role"));
    assert!(error("[[map]]\nname = \"x\"\nstops = [\"#000000\"]").contains("map `x`: a colour map needs"));
    let odd = "theme `mine`: diverging: write 3, 5 or 7 stops";
    assert!(error("[diverging]\nstops = [\"#000000\", \"#ffffff\"]").starts_with(odd));
    assert!(error("[diverging]\nstops = [\"#000000\"]").starts_with(odd));
    assert!(
        error("[diverging]\nstops = [\"#12\", \"#12\", \"#12\"]").contains("diverging: `#12` is no colour")
    );
    assert!(error("[diverging]\nstop = []").contains("unknown field `stop`"));
    assert!(error("bordr = \"plain\"").contains("line 1: unknown field `bordr`"));
    assert!(
        error("inherits = \"drak\"").contains("inherits: `drak` is not built in; write one of dark, light")
    );
    let escaped = error("[palette]\n\"a\\u001b\\nb\" = \"red\"");
    assert!(escaped.contains("palette.a\\u{1b}\\nb: there is no such role"), "{escaped}");
}

#[test]
fn a_user_theme_states_only_what_differs() {
    let theme =
        Theme::parse("mine", "[palette]\naccent = \"bold red on default\"", ColorDepth::True).unwrap();
    let default = Theme::named("dark", ColorDepth::True).unwrap();
    assert_eq!(theme.palette.accent, Style::new().fg(Color::Red).bg(Color::Reset).bold());
    assert_eq!(theme.palette.muted, default.palette.muted);
    assert_eq!(theme.maps, default.maps);
}

#[test]
fn a_user_theme_that_inherits_differs_from_what_it_inherits_only_where_it_says_so() {
    let text = "inherits = \"nord\"\n[palette]\naccent = \"red\"";
    let theme = Theme::parse("mine", text, ColorDepth::True).unwrap();
    let mut nord = Theme::named("nord", ColorDepth::True).unwrap();
    nord.palette.accent = Style::new().fg(Color::Red);
    nord.name = "mine".into();
    assert_eq!(theme, nord);

    let colorless = Theme::parse("mine", "inherits = \"mono\"", ColorDepth::True).unwrap();
    let mono = Theme::named("mono", ColorDepth::True).unwrap();
    assert!(!colorless.has_color);
    assert_eq!((colorless.palette, colorless.border), (mono.palette, mono.border));
}

#[test]
fn what_is_written_can_be_read_and_what_is_drawn_is_seen() {
    for theme in colored(ColorDepth::True) {
        let palette = &theme.palette;
        let check = |role: &str, style: Style, least: f32| {
            let contrast = style_contrast(palette, style);
            assert!(contrast >= least, "{}: {role} has a contrast of {contrast:.2}", theme.name);
        };
        check("base", palette.base, 4.5);
        check("muted", palette.muted, 4.0);
        check("title", palette.title, 4.5);
        check("accent", palette.accent, 4.0);
        check("good", palette.good, 4.0);
        check("warn", palette.warn, 4.0);
        check("bad", palette.bad, 4.0);
        check("target", palette.target, 4.0);
        check("train", palette.train, 4.0);
        check("held_out", palette.held_out, 4.0);
        check("history", palette.history, 4.0);
        check("popup", palette.popup, 4.5);
        check("invalid", palette.invalid, 3.0);
        check("focus", palette.focus, 3.0);
        check("layer", palette.layer, 3.0);
        check("bar", palette.bar, 1.8);
        check("border", palette.border, 1.8);
        // What is muted may stand in a dialog, too.
        let muted = Style { bg: palette.popup.bg, ..palette.muted };
        check("muted in a popup", muted, 3.0);
    }
}

#[test]
fn what_means_different_things_looks_different() {
    for theme in colored(ColorDepth::True) {
        let Palette { accent, good, warn, bad, train, held_out, border, focus, .. } = &theme.palette;
        let check = |what: &str, a: &Style, b: &Style| {
            let apart = distance(of_xterm(a.fg.unwrap()), of_xterm(b.fg.unwrap())).sqrt();
            assert!(apart >= 0.1, "{}: {what} are {apart:.3} apart", theme.name);
        };
        check("good and warn", good, warn);
        check("good and bad", good, bad);
        check("warn and bad", warn, bad);
        check("accent and warn", accent, warn);
        check("accent and bad", accent, bad);
        check("the two losses", train, held_out);
        check("the borders", border, focus);
        // Blue is what every eye tells from orange and yellow, and there it serves for both.
        if theme.name != "colorblind" {
            check("accent and good", accent, good);
        }
    }
}

#[test]
fn few_colours_leave_what_is_muted_readable_and_borders_seen() {
    for theme in colored(ColorDepth::Ansi256) {
        let palette = &theme.palette;
        assert!(style_contrast(palette, palette.muted) >= 4.0, "{}", theme.name);
        assert!(style_contrast(palette, palette.border) >= 1.8, "{}", theme.name);
    }
    for theme in colored(ColorDepth::Ansi16) {
        let palette = &theme.palette;
        let (name, ground) = (&theme.name, palette.base.bg.unwrap());
        assert!(matches!(ground, Color::Black | Color::White), "{name}: {ground}");
        let muted = if ground == Color::Black { Color::Gray } else { Color::DarkGray };
        assert_eq!((palette.muted.fg, palette.border.fg), (Some(muted), Some(Color::DarkGray)), "{name}");
        assert!(style_contrast(palette, palette.base) >= 3.9, "{name}");
        assert!(style_contrast(palette, palette.muted) >= 3.9, "{name}");
        assert!(style_contrast(palette, palette.border) >= 3.9, "{name}");
        assert_ne!(palette.border.fg, palette.focus.fg, "{name}");
    }
}

#[test]
fn the_ramp_of_sixteen_colours_rises_in_lightness_and_its_inks_are_seen() {
    let theme = Theme::named("dark", ColorDepth::Ansi16).unwrap();
    let map = &theme.maps[0];
    let levels = map.levels.map(of_xterm);
    let light = levels.map(luminance);
    assert!(light.is_sorted() && light[0] < light[LEVELS - 1], "{light:?}");
    for (level, color) in levels.into_iter().enumerate() {
        assert!(contrast(color, of_xterm(map.mark(level))) >= 4.0, "the mark on level {level}");
        assert!(contrast(color, of_xterm(map.line(level))) >= 2.0, "the line on level {level}");
    }
}

#[test]
fn colour_maps_rise_in_lightness() {
    for name in Theme::names() {
        let theme = Theme::named(name, ColorDepth::True).unwrap();
        for map in &theme.maps {
            let light: Vec<f32> = map
                .levels
                .iter()
                .map(|color| match color {
                    Color::Rgb(r, g, b) => luminance([*r, *g, *b]),
                    _ => panic!("{name} {}: {color} is not a stop", map.name),
                })
                .collect();
            assert!(light.is_sorted_by(|a, b| a < b), "{name} {}: {light:?}", map.name);
        }
        if !theme.has_color {
            break;
        }
    }
}

#[test]
fn changes_are_blue_and_orange_from_the_ground_outward() {
    for theme in colored(ColorDepth::True) {
        let rgb = theme.diverging.levels.map(of_xterm);
        let contrasts = rgb.map(|color| contrast(color, of_xterm(theme.palette.base.bg.unwrap())));
        let (falls, rises) = contrasts.split_at(LEVELS / 2);
        assert!(falls.is_sorted_by(|a, b| a > b), "{}: {falls:?}", theme.name);
        assert!(rises.is_sorted_by(|a, b| a < b), "{}: {rises:?}", theme.name);
        assert_eq!(rgb[LEVELS / 2 - 1], rgb[LEVELS / 2], "{}: no change", theme.name);
        for ([red_of_fall, _, blue_of_fall], [red_of_rise, _, blue_of_rise]) in
            [(rgb[0], rgb[11]), (rgb[2], rgb[9])]
        {
            assert!(blue_of_fall > red_of_fall && red_of_rise > blue_of_rise, "{}", theme.name);
        }
    }
}

#[test]
fn the_colours_of_changes_are_the_users_to_choose() {
    let text = |more: &str| format!("{more}\n[diverging]\nstops = [\"#ff0000\", \"#000000\", \"#00ff00\"]");
    for more in ["", "inherits = \"solarized-light\""] {
        let map = Theme::parse("mine", &text(more), ColorDepth::True).unwrap().diverging;
        let of = |level| of_xterm(map.background(level));
        assert_eq!([of(0), of(5), of(6), of(11)], [[255, 0, 0], [0; 3], [0; 3], [0, 255, 0]]);
    }
    let plain = Theme::parse("mine", "inherits = \"light\"", ColorDepth::True).unwrap();
    assert_eq!(plain.diverging, Theme::named("light", ColorDepth::True).unwrap().diverging);
}

#[test]
fn few_colours_have_no_shades() {
    let has_shades = |name, depth| Theme::named(name, depth).unwrap().has_shades;
    assert!(has_shades("dark", ColorDepth::True) && has_shades("dark", ColorDepth::Ansi256));
    assert!(!has_shades("dark", ColorDepth::Ansi16) && !has_shades("dark", ColorDepth::None));
    assert!(!has_shades("mono", ColorDepth::True));
}

#[test]
fn of_the_sixteen_the_ground_of_the_screen_is_no_level_and_no_line() {
    for name in Theme::names() {
        let theme = Theme::named(name, ColorDepth::Ansi16).unwrap();
        let ground = theme.palette.base.bg.unwrap_or(Color::Black);
        for map in theme.maps.iter().filter(|_| theme.has_color) {
            let drawn = |level| [map.background(level), theme.ink(map, level)];
            assert!((0..LEVELS).all(|level| !drawn(level).contains(&ground)), "{name} {}", map.name);
            let inks: BTreeSet<String> = (0..LEVELS).map(|level| theme.ink(map, level).to_string()).collect();
            assert_eq!(inks.len(), 7, "{name} {}: as many inks as grounds", map.name);
        }
    }
}

#[test]
fn of_the_256_every_level_has_a_colour_of_its_own() {
    for name in Theme::names() {
        let theme = Theme::named(name, ColorDepth::Ansi256).unwrap();
        for map in theme.maps.iter().filter(|_| theme.has_color) {
            let levels: BTreeSet<String> =
                (0..LEVELS).map(|level| map.background(level).to_string()).collect();
            assert_eq!(levels.len(), LEVELS, "{name} {}", map.name);
        }
        let [fall, rise] = [LEVELS / 2 - 1, LEVELS / 2].map(|level| theme.diverging.background(level));
        assert_eq!(fall, rise, "{name}: no change is one colour");
    }
}

#[test]
fn bars_are_seen_on_the_screen() {
    for name in Theme::names() {
        let theme = Theme::named(name, ColorDepth::True).unwrap();
        if theme.has_color {
            let contrast = style_contrast(&theme.palette, theme.palette.bar);
            assert!(contrast >= 3.0, "{name}: {contrast:.2}");
        }
    }
}

#[test]
fn lines_of_every_level_are_seen_on_the_screen() {
    for depth in [ColorDepth::Ansi256, ColorDepth::True] {
        for name in Theme::names() {
            let theme = Theme::named(name, depth).unwrap();
            let ground = seen(theme.palette.base.bg.unwrap_or(Color::Reset));
            for map in theme.maps.iter().filter(|_| theme.has_color) {
                for level in 0..LEVELS {
                    let contrast = contrast(seen(theme.ink(map, level)), ground);
                    assert!(contrast >= Theme::LOST, "{name} {depth:?} {} {level}: {contrast}", map.name);
                }
            }
        }
    }
}
