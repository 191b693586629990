use std::collections::BTreeSet;

use ratatui::style::Color;

use super::super::fixture;
use super::*;
use crate::app::Stretch;
use crate::protocol::Slice;
use crate::theme::ColorDepth;

const AREA: Rect = Rect::new(0, 0, 60, 21);
const DOTS: (usize, usize) = (120, 84);

fn bowl() -> Slice {
    fixture::slice(17, |alpha, beta| 2.0 + (alpha * alpha + beta * beta) as f32)
}

/// A surface over `AREA`, once `change` has made of it what is wanted.
fn drawn(slice: &Slice, theme: &str, change: impl FnOnce(&mut Relief<'_>)) -> Buffer {
    let theme = Theme::named(theme, ColorDepth::True).unwrap();
    let surface = Surface::new(slice, Stretch::Linear).unwrap();
    let mut buffer = Buffer::empty(AREA);
    let mut relief = Relief {
        surface: &surface,
        map: &theme.maps[0],
        theme: &theme,
        marker: Marker::Braille,
        viewpoint: Viewpoint::default(),
        weights: [0.0, 0.0],
        marks: &[],
        chosen: None,
    };
    change(&mut relief);
    relief.render(AREA, &mut buffer);
    buffer
}

fn lines(slice: &Slice, viewpoint: Viewpoint) -> Raster {
    let surface = Surface::new(slice, Stretch::Linear).unwrap();
    mesh(&surface, &Projection::new(viewpoint, DOTS), DOTS)
}

/// The cell of a place, seen from where one starts.
fn cell(place: [f64; 3]) -> (u16, u16) {
    let [x, y] = Projection::new(Viewpoint::default(), DOTS).dot(place);
    ((x.round() / 2.0) as u16, (y.round() / 4.0) as u16)
}

fn text_of(buffer: &Buffer) -> String {
    let row = |y| (0..AREA.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..AREA.height).map(row).collect::<Vec<_>>().join("\n")
}

fn has_dots(symbol: &str) -> bool {
    symbol.chars().all(|c| ('\u{2801}'..='\u{28ff}').contains(&c))
}

/// The corners of the box that every surface is in.
fn corners() -> impl Iterator<Item = [f64; 3]> {
    (0..8).map(|bits| [bits & 1, (bits >> 1) & 1, bits >> 2].map(f64::from))
}

#[test]
fn corners_land_inside_the_area_at_every_angle() {
    for size in [(82, 84), (200, 40), (30, 100), (2, 4)] {
        for turn in (0..360).step_by(15) {
            for tilt in (15..=75).step_by(15) {
                let view = Projection::new(Viewpoint { turn, tilt }, size);
                for corner in corners() {
                    let [x, y] = view.dot(corner).map(f64::round);
                    assert!((0.0..size.0 as f64).contains(&x), "{size:?} {turn} {tilt} {corner:?}: {x}");
                    assert!((0.0..size.1 as f64).contains(&y), "{size:?} {turn} {tilt} {corner:?}: {y}");
                }
            }
        }
    }
}

#[test]
fn a_surface_is_as_wide_as_there_is_room_and_twice_as_wide_as_high_at_most() {
    let across = |columns| {
        let view = Projection::new(Viewpoint { turn: 45, tilt: 30 }, (columns, 84));
        let ends = corners().map(|corner| view.dot(corner)[0]);
        let (low, high) = ends.fold((f64::MAX, f64::MIN), |(low, high), x| (low.min(x), high.max(x)));
        high - low
    };
    assert!(across(120) > 95.0 && (across(200) - 175.0).abs() < 1.0, "the labels have room: {}", across(200));
    assert!((across(2000) - across(1000)).abs() < 1e-9 && across(1000) > 190.0, "{}", across(1000));
}

#[test]
fn a_base_that_turns_stays_as_large_as_it_is() {
    let side = |turn| Projection::new(Viewpoint { turn, tilt: 45 }, DOTS).side;
    assert!((0..360).step_by(15).all(|turn| (side(turn) - side(0)).abs() < 1e-9));
}

#[test]
fn a_wall_in_front_hides_what_is_behind_it() {
    let mut wall = fixture::slice(9, |_, _| 0.0);
    wall.loss[9..18].fill(1.0);
    let mut with_hill = wall.clone();
    with_hill.loss[4 * 9 + 4] = 0.3;
    let from = |turn| Viewpoint { turn, tilt: 15 };
    assert_eq!(lines(&wall, from(0)), lines(&with_hill, from(0)));
    assert_ne!(lines(&wall, from(180)), lines(&with_hill, from(180)), "from behind the hill is in front");
}

#[test]
fn a_flat_slice_is_a_flat_plate() {
    let raster = lines(&fixture::slice(9, |_, _| 7.0), Viewpoint::default());
    let view = Projection::new(Viewpoint::default(), DOTS);
    let base: Vec<[f64; 2]> =
        corners().filter(|corner| corner[2] < 0.5).map(|corner| view.dot(corner)).collect();
    let top = base.iter().map(|dot| dot[1]).fold(f64::INFINITY, f64::min).round() as usize;
    let plate: BTreeSet<_> = raster.dots().filter(|(.., ink)| *ink != EDGE).collect();
    assert!(plate.iter().all(|(_, y, ink)| *y >= top && *ink == 0));
    for [x, y] in base {
        assert!(plate.contains(&(x.round() as usize, y.round() as usize, 0)), "{x} {y}");
    }
}

#[test]
fn a_bowl_has_the_colours_of_its_levels_and_the_weights_at_its_bottom() {
    let buffer = drawn(&bowl(), "dark", |_| {});
    assert_eq!(buffer[cell([0.5, 0.5, 0.0])].symbol(), "◉");
    let colours: BTreeSet<String> = buffer
        .content
        .iter()
        .filter(|cell| has_dots(cell.symbol()))
        .map(|cell| cell.fg.to_string())
        .collect();
    assert!(colours.len() > LEVELS / 2, "{colours:?}");
}

#[test]
fn the_directions_and_the_ends_of_the_scale_are_written_where_there_is_room() {
    let text = text_of(&drawn(&bowl(), "dark", |_| {}));
    for part in ["d1 →", "d2 ↖", "2.0", "4.0"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn the_cursor_stands_on_the_surface() {
    let buffer = drawn(&bowl(), "dark", |relief| relief.chosen = Some(Chosen { alpha: 1.0, beta: -1.0 }));
    assert_eq!(buffer[cell([1.0, 0.0, 1.0])].symbol(), "✛");
}

#[test]
fn weights_that_moved_are_drawn_where_they_are_and_an_arrow_points_to_those_outside() {
    let buffer = drawn(&bowl(), "dark", |relief| relief.weights = [0.5, 0.0]);
    assert_eq!(buffer[cell([0.5, 0.5, 0.0])].symbol(), "○");
    assert_eq!(buffer[cell([0.75, 0.5, 0.125])].symbol(), "◉");
    let buffer = drawn(&bowl(), "dark", |relief| relief.weights = [3.0, 0.0]);
    assert_eq!(buffer[cell([1.0, 0.5, 0.5])].symbol(), "→");
}

#[test]
fn without_colour_there_are_the_lines_alone() {
    let buffer = drawn(&bowl(), "mono", |_| {});
    assert!(buffer.content.iter().filter(|cell| has_dots(cell.symbol())).count() > 100);
    assert!(buffer.content.iter().all(|cell| cell.bg == Color::Reset && cell.fg == Color::Reset));
}

#[test]
fn plain_characters_are_plain() {
    let buffer = drawn(&bowl(), "mono", |relief| relief.marker = Marker::Ascii);
    assert!(buffer.content.iter().all(|cell| cell.symbol().is_ascii()));
    assert_eq!(buffer[cell([0.5, 0.5, 0.0])].symbol(), "O");
}

#[test]
fn losses_above_the_scale_end_at_its_top() {
    let mut slice = fixture::slice(17, |alpha, _| 2.0 + alpha as f32);
    slice.loss[16] = 1e6;
    let levels: BTreeSet<_> = lines(&slice, Viewpoint::default()).dots().map(|(.., ink)| ink).collect();
    assert!(levels.contains(&(LEVELS - 1)));
    assert!(levels.contains(&0), "the others keep their heights");
}

#[test]
fn where_a_loss_is_not_finite_there_is_a_hole() {
    let mut slice = bowl();
    slice.loss[8 * 17 + 8] = f32::NAN;
    let dots = |slice: &Slice| lines(slice, Viewpoint { turn: 0, tilt: 75 }).dots().count();
    assert!(dots(&slice) < dots(&bowl()));
}

#[test]
fn a_line_of_samples_is_a_line_and_a_single_one_a_marker() {
    let mut slice = fixture::slice(9, |alpha, _| alpha as f32);
    (slice.betas, slice.loss) = (vec![0.0], slice.loss[..9].to_vec());
    assert!(lines(&slice, Viewpoint::default()).dots().filter(|(.., ink)| *ink != EDGE).count() > 40);
    (slice.alphas, slice.loss) = (vec![0.0], vec![4.0]);
    assert_eq!(drawn(&slice, "dark", |_| {})[cell([0.5, 0.5, 0.0])].symbol(), "◉");
}
