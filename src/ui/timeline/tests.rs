use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::*;
use crate::app::{Marker, Message, Stretch, View};
use crate::protocol;
use crate::theme::ColorDepth;
use crate::ui::fixture;

/// A screen that shows these slices.
fn app(slices: Vec<Slice>) -> App {
    let mut app = fixture::app();
    app.view.shown = View::Timeline;
    app.engine.timeline = protocol::Timeline::default();
    for slice in slices {
        app.engine.timeline.push(slice);
    }
    app
}

fn drawn(app: &App, width: u16, height: u16) -> Buffer {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| crate::ui::view(app, &theme, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn text_of(buffer: &Buffer) -> String {
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(row).collect::<Vec<_>>().join("\n")
}

fn shown(app: &App, width: u16, height: u16) -> String {
    text_of(&drawn(app, width, height))
}

fn press(app: &mut App, code: KeyCode) {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

fn assert_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn the_smallest_screen_shows_the_slice_or_the_difference_and_the_strip() {
    let mut app = app(fixture::film(12));
    let text = shown(&app, 80, 24);
    assert_parts(
        &text,
        &[
            "the loss around the weights of each step: the landscape itself changes",
            " A: step 412 ",
            " the newest of 12 · enter marks it as B · tab: the difference ",
            "◉ 2.113 nats",
            "one scale for all slices · mean of 512 held-out tokens #a41f",
            "the center fell by 0.03, the plane by 0.03 on average: the whole plane sank",
            " step 379 ",
            " B step 409 ",
            "│A step 412",
        ],
    );
    assert!(!text.contains("step 397"), "six fit, of the whole film");
    press(&mut app, KeyCode::Tab);
    let text = shown(&app, 80, 24);
    assert_parts(
        &text,
        &[
            " Change from step 409 to step 412 ",
            "fell .03 ",
            " .03 rose",
            "◉ -0.03 nats",
            "center 2.143 at step 409, 2.113 at step 412 · mean -0.03, largest -0.03",
        ],
    );
    assert!(!text.contains("A: step 412"));
}

#[test]
fn a_wide_screen_shows_both() {
    let text = shown(&app(fixture::film(12)), 130, 40);
    assert_parts(
        &text,
        &[
            "on the same batch: the landscape itself changes as the model learns",
            " A: step 412 ",
            " Change from step 409 to step 412 ",
            "one scale for all slices",
            "mean -0.03, largest -0.03",
            "9x9 samples, interpolated",
            " step 379 ",
        ],
    );
}

#[test]
fn both_pictures_are_laid_out_alike() {
    let buffer = drawn(&app(fixture::film(12)), 120, 40);
    let weights = |columns: std::ops::Range<u16>| {
        buffer.area.positions().find(|at| columns.contains(&at.x) && buffer[*at].symbol() == "◉").unwrap()
    };
    let (left, right) = (weights(0..60), weights(60..120));
    assert_eq!((right.x, right.y), (left.x + 60, left.y));
}

#[test]
fn the_pictures_of_the_strip_stay_where_they_are_while_one_goes_through_them() {
    let mut app = app(fixture::film(12));
    let pictures = |app: &App| {
        let buffer = drawn(app, 80, 24);
        // Every thirteenth column is a gap, which has the frame.
        let inside = |x: &u16| !x.is_multiple_of(13);
        (17..21_u16)
            .flat_map(|y| (0..80).filter(inside).map(move |x| (x, y)))
            .map(|at| buffer[at].clone())
            .collect::<Vec<_>>()
    };
    press(&mut app, KeyCode::Left);
    let before = pictures(&app);
    press(&mut app, KeyCode::Left);
    press(&mut app, KeyCode::Left);
    assert_eq!(pictures(&app), before);
    assert!(shown(&app, 80, 24).contains("│A step 403"));
    for _ in 0..3 {
        press(&mut app, KeyCode::Left);
    }
    let text = shown(&app, 80, 24);
    assert_parts(&text, &["│A step 394", "step 379", " 6 of 12 "]);
    assert!(!text.contains("step 397"), "another page");
}

#[test]
fn the_longest_film_is_drawn_too() {
    let mut app = app(fixture::film(128));
    assert_parts(&shown(&app, 80, 24), &["the newest of 128", "A step 412"]);
    for _ in 0..20 {
        press(&mut app, KeyCode::Down);
    }
    assert_parts(
        &shown(&app, 80, 24),
        &["1 of 128", "A step 31", "no slice before this one: enter marks one to compare the others with"],
    );
}

#[test]
fn what_is_marked_is_what_the_others_are_compared_with() {
    let mut app = app(fixture::film(12));
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    app.view.hint = None;
    assert_parts(&shown(&app, 80, 24), &["this slice is B itself: go to another one", "A B step 382"]);
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::Tab);
    assert_parts(&shown(&app, 80, 24), &["Change from step 382 to step 412", "the center fell by 0.30"]);
}

#[test]
fn there_is_no_difference_of_what_can_not_be_compared() {
    let mut film = fixture::film(3);
    film[2].generation = 2;
    let mut app = app(film);
    let text = shown(&app, 80, 24);
    assert_parts(&text, &["B has other directions", "one scale for all slices of this plane"]);
    press(&mut app, KeyCode::Tab);
    assert_eq!(shown(&app, 80, 24).matches("other directions").count(), 1, "it is said once");
    assert_eq!(shown(&app, 120, 40).matches("other directions").count(), 1);
}

#[test]
fn a_film_begins_with_nothing_and_then_one_slice() {
    let text = shown(&app(Vec::new()), 80, 24);
    assert_parts(&text, &["slices follow as the run goes on: press r to draw one"]);
    let mut app = app(fixture::film(1));
    for marked in [false, true] {
        for (width, height) in [(80, 24), (120, 40)] {
            let text = shown(&app, width, height);
            assert_eq!(text.matches("one slice so far: no difference yet").count(), 1, "{text}");
            assert_parts(&text, &[" A: step 412 ", " the first one "]);
            assert!(!text.contains("minus") && !text.contains("tab:"), "{text}");
        }
        if !marked {
            press(&mut app, KeyCode::Enter);
            app.view.hint = None;
        }
    }
}

#[test]
fn a_slice_without_a_finite_loss_looks_like_nothing_else() {
    let mut film = fixture::film(3);
    film[2].loss.fill(f32::NAN);
    film[2].center = f64::NAN;
    let text = shown(&app(film), 130, 40);
    assert_parts(
        &text,
        &[
            "no point of this slice has a finite loss",
            "××××××××××××",
            "no place where both losses are finite",
        ],
    );
}

#[test]
fn the_slices_of_a_plane_share_one_scale() {
    let film = fixture::film(128);
    let scales = Scales::of(&film, Stretch::Linear);
    let (newest, oldest) = (film[127].loss.as_slice(), film[0].loss.as_slice());
    let least = newest.iter().copied().fold(f32::INFINITY, f32::min);
    let most = oldest.iter().copied().fold(0.0, f32::max);
    let scale = scales.get(1).unwrap();
    assert!(scale.low <= f64::from(least), "{}", scale.low);
    assert!(scale.clipped || scale.high >= f64::from(most), "{}", scale.high);
    assert!(scales.get(2).is_none());
}

#[test]
fn it_draws_in_any_area_and_nowhere_else() {
    let mut app = app(fixture::film(12));
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let widths: Vec<u16> = (0..30).chain((30..130).step_by(9)).collect();
    for (turned, marker) in [(false, Marker::Braille), (true, Marker::Ascii), (true, Marker::HalfBlock)] {
        (app.view.timeline.difference, app.view.landscape.marker) = (turned, marker);
        for width in &widths {
            for height in (0..16).chain([20, 33]) {
                let area = Rect::new(3, 2, *width, height);
                let mut buffer = Buffer::empty(Rect::new(0, 0, 140, 40));
                Timeline { app: &app, theme: &theme }.render(area, &mut buffer);
                for place in buffer.area.positions().filter(|place| !area.contains(*place)) {
                    assert_eq!(buffer[place].symbol(), " ", "{area} {place}");
                }
            }
        }
        let mut buffer = Buffer::empty(Rect::new(0, 0, 9, 4));
        Timeline { app: &app, theme: &theme }.render(Rect::new(3, 2, 80, 20), &mut buffer);
    }
}

#[test]
fn a_click_on_a_small_picture_selects_its_slice_and_the_wheel_goes_on() {
    let mut app = app(fixture::film(12));
    let screen = Rect::new(0, 0, 80, 24);
    let mut mouse = |kind, column, row| {
        let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        if let Some(pointed) = crate::ui::pointed(&app, screen, event) {
            app.update(Message::Mouse(pointed));
        }
        app.view.timeline.selected(&app.engine.timeline)
    };
    let click = MouseEventKind::Down(MouseButton::Left);
    // The strip has five rows above the status line, and a page of six pictures.
    assert_eq!(mouse(click, 2, 19), Some(0), "the first of the film");
    assert_eq!(mouse(click, 0, 19), Some(0), "between pictures is none");
    assert_eq!(mouse(click, 15, 21), Some(1), "on its page");
    assert_eq!(mouse(click, 15, 10), Some(1), "the large picture selects nothing");
    assert_eq!(mouse(MouseEventKind::ScrollUp, 15, 10), Some(0));
    assert_eq!(mouse(MouseEventKind::ScrollDown, 15, 10), Some(1));
    assert_eq!(mouse(click, 15, 23), Some(1), "the keys are no picture");
    assert!(shown(&app, 80, 24).contains("A step "));
}
