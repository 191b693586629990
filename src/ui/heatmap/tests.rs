use std::collections::BTreeSet;

use ratatui::style::Color;

use super::super::fixture;
use super::*;
use crate::app::Stretch;
use crate::protocol::Slice;
use crate::theme::ColorDepth;

const AREA: Rect = Rect::new(0, 0, 41, 21);

fn drawn(slice: &Slice, theme: &str, marker: Marker, weights: [f64; 2]) -> Buffer {
    let theme = Theme::named(theme, ColorDepth::True).unwrap();
    let surface = Surface::new(slice, Stretch::Linear).unwrap();
    let mut buffer = Buffer::empty(AREA);
    let map = &theme.maps[0];
    let characters = &ASCII;
    Heatmap { surface: &surface, map, theme: &theme, marker, characters, weights, marks: &[], chosen: None }
        .render(AREA, &mut buffer);
    buffer
}

fn bowl() -> Slice {
    fixture::slice(17, |alpha, beta| 2.0 + (alpha * alpha + beta * beta) as f32)
}

fn backgrounds(buffer: &Buffer) -> BTreeSet<String> {
    buffer.content.iter().map(|cell| cell.bg.to_string()).collect()
}

fn has_dots(symbol: &str) -> bool {
    symbol.chars().all(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
}

#[test]
fn a_bowl_has_a_colour_for_each_level_and_the_weights_in_its_middle() {
    let buffer = drawn(&bowl(), "dark", Marker::Braille, [0.0, 0.0]);
    assert_eq!(backgrounds(&buffer).len(), LEVELS);
    assert_eq!(buffer[(20, 10)].symbol(), "◉");
    assert_eq!(buffer[(20, 10)].fg, Color::Rgb(255, 255, 255));
}

#[test]
fn contours_of_a_bowl_are_rings_around_its_middle() {
    let buffer = drawn(&bowl(), "dark", Marker::Braille, [0.0, 0.0]);
    let crossings =
        |cells: Vec<(u16, u16)>| cells.into_iter().filter(|c| has_dots(buffer[*c].symbol())).count();
    let right = crossings((21..41).map(|x| (x, 10)).collect());
    let left = crossings((0..20).map(|x| (x, 10)).collect());
    let up = crossings((0..10).map(|y| (20, y)).collect());
    let down = crossings((11..21).map(|y| (20, y)).collect());
    assert!(right >= 5 && right == left, "{left} {right}");
    assert!(up >= 4 && up == down, "{up} {down}");
}

#[test]
fn contours_of_a_rough_surface_leave_most_of_it_free() {
    // As rough as it can be: no sample is near its neighbours.
    let rough =
        fixture::slice(33, |alpha, beta| ((7919.0 * alpha + 104_729.0 * beta).sin() * 1e4) as f32 % 1.0);
    let buffer = drawn(&rough, "dark", Marker::Braille, [0.0, 0.0]);
    let dots = |cell: &ratatui::buffer::Cell| {
        let code = cell.symbol().chars().next().map_or(0, u32::from);
        if has_dots(cell.symbol()) { (code - 0x2800).count_ones() } else { 0 }
    };
    let set: u32 = buffer.content.iter().map(dots).sum();
    let all = 8 * buffer.content.len() as u32;
    assert!(set > all / 20 && set <= all / 3, "{set} of {all}");
}

#[test]
fn contours_differ_from_the_colour_they_are_drawn_over() {
    let buffer = drawn(&bowl(), "dark", Marker::Braille, [0.0, 0.0]);
    assert!(buffer.content.iter().filter(|cell| has_dots(cell.symbol())).all(|cell| cell.fg != cell.bg));
}

#[test]
fn a_flat_surface_has_one_colour_and_no_contour() {
    let buffer = drawn(&fixture::slice(9, |_, _| 7.0), "dark", Marker::Braille, [0.0, 0.0]);
    assert_eq!(backgrounds(&buffer).len(), 1);
    assert!(!buffer.content.iter().any(|cell| has_dots(cell.symbol())));
}

#[test]
fn cells_without_a_finite_loss_look_like_nothing_else() {
    let mut slice = bowl();
    slice.loss[0] = f32::NAN;
    slice.loss[16] = f32::INFINITY;
    let buffer = drawn(&slice, "dark", Marker::Braille, [0.0, 0.0]);
    assert_eq!(buffer[(0, 20)].symbol(), "×");
    assert_eq!(buffer[(40, 20)].symbol(), "×");
    assert_ne!(buffer[(0, 0)].symbol(), "×");
}

#[test]
fn losses_above_the_scale_are_hatched() {
    let mut slice = fixture::slice(17, |alpha, _| 2.0 + alpha as f32);
    slice.loss[16] = 1e6;
    let buffer = drawn(&slice, "dark", Marker::Braille, [0.0, 0.0]);
    assert!(has_dots(buffer[(40, 20)].symbol()));
    assert_eq!(buffer[(40, 20)].bg, buffer[(40, 0)].bg);
}

#[test]
fn without_colour_dots_grow_denser_with_the_loss() {
    let buffer = drawn(&bowl(), "mono", Marker::Braille, [0.0, 0.0]);
    let dots = |x, y| {
        let character = buffer[(x, y)].symbol().chars().next().unwrap();
        (character as u32).saturating_sub(0x2800).count_ones()
    };
    assert!(dots(0, 0) > dots(8, 10) && dots(8, 10) > 0);
    assert_eq!(buffer[(18, 10)].symbol(), " ");
    assert!(buffer.content.iter().all(|cell| cell.bg == Color::Reset && cell.fg == Color::Reset));
}

#[test]
fn plain_characters_are_plain() {
    let buffer = drawn(&bowl(), "mono", Marker::Ascii, [0.0, 0.0]);
    assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii()));
    assert_eq!((buffer[(0, 0)].symbol(), buffer[(20, 10)].symbol()), ("@", "O"));
}

#[test]
fn half_blocks_carry_two_levels_a_cell() {
    let buffer = drawn(&bowl(), "dark", Marker::HalfBlock, [0.0, 0.0]);
    let split: Vec<_> = buffer.content.iter().filter(|cell| cell.symbol() == "▀").collect();
    assert!(!split.is_empty() && split.iter().all(|cell| cell.fg != cell.bg));
}

#[test]
fn octants_follow_a_border_between_two_levels_through_the_cells() {
    // The border of a slope to the right lies at one of two places in a cell.
    let slope = fixture::slice(17, |alpha, _| 2.0 + alpha as f32);
    let buffer = drawn(&slope, "dark", Marker::Octant, [0.0, 0.0]);
    let split: BTreeSet<&str> = (0..41).map(|x| buffer[(x, 3)].symbol()).filter(|s| *s != " ").collect();
    assert_eq!(split, BTreeSet::from(["▐"]));
    let down = fixture::slice(17, |_, beta| 2.0 - beta as f32);
    let buffer = drawn(&down, "dark", Marker::Octant, [0.0, 0.0]);
    let split: BTreeSet<&str> = (0..21).map(|y| buffer[(3, y)].symbol()).filter(|s| *s != " ").collect();
    assert!(split.is_subset(&BTreeSet::from(["▂", "▄", "▆"])) && split.len() > 1, "{split:?}");
}

#[test]
fn weights_that_moved_are_drawn_where_they_are() {
    let buffer = drawn(&bowl(), "dark", Marker::Braille, [0.5, 0.0]);
    assert_eq!(buffer[(30, 10)].symbol(), "◉");
    assert_eq!(buffer[(20, 10)].symbol(), "○");
}

#[test]
fn weights_outside_the_picture_are_an_arrow_on_its_edge() {
    let buffer = drawn(&bowl(), "dark", Marker::Braille, [3.0, 0.0]);
    assert_eq!(buffer[(40, 10)].symbol(), "→");
}

#[test]
fn a_single_sample_is_drawn_too() {
    let mut slice = fixture::slice(1, |_, _| 4.0);
    (slice.alphas, slice.betas) = (vec![0.0], vec![0.0]);
    let buffer = drawn(&slice, "dark", Marker::Braille, [0.0, 0.0]);
    assert_eq!(buffer[(20, 10)].symbol(), "◉");
}

#[test]
fn weights_that_moved_by_less_than_half_a_cell_stay_in_theirs() {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let slice = bowl();
    let surface = Surface::new(&slice, Stretch::Linear).unwrap();
    // The middle lies between two cells.
    let area = Rect::new(0, 0, 40, 20);
    let mut buffer = Buffer::empty(area);
    let (map, weights) = (&theme.maps[0], [-1e-3, 1e-3]);
    let (surface, theme, marker) = (&surface, &theme, Marker::Braille);
    Heatmap { surface, map, theme, marker, characters: &ASCII, weights, marks: &[], chosen: None }
        .render(area, &mut buffer);
    let marked = |symbol: &str| buffer.content.iter().filter(|cell| cell.symbol() == symbol).count();
    assert_eq!((marked("◉"), marked("○")), (1, 0));
}
