use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Cell;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::*;
use crate::app::{Marker, Message, Stretch, View};
use crate::protocol::ToScreen;
use crate::theme::ColorDepth;
use crate::ui::fixture;

/// A screen of this view with an experiment that is doing this, so many steps from its start.
fn app(phase: Option<Phase>, steps: u64) -> App {
    let mut app = fixture::app();
    app.view.shown = View::Wormhole;
    if let Some(phase) = phase {
        let update = fixture::wormhole(phase, steps);
        app.update(Message::Engine(ToScreen::Update(Box::new(update))));
    }
    app
}

fn drawn(app: &App, width: u16, height: u16) -> Buffer {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| crate::ui::view(app, &theme, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn shown(app: &App, width: u16, height: u16) -> String {
    let buffer = drawn(app, width, height);
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(row).collect::<Vec<_>>().join("\n")
}

fn assert_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

fn press(app: &mut App, code: KeyCode) {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    app.view.hint = None;
}

#[test]
fn where_nothing_is_laid_it_says_what_will_happen() {
    let text = shown(&app(None, 0), 80, 24);
    assert_parts(
        &text,
        &[
            "through the weights of step 412",
            "The run pauses for this. What is tried here does not change it.",
            "enter           lays the plane",
            "through the first half of the layers, seeds 11 and 111",
            ":wormhole all   lays it through all layers",
            ":wormhole end   gives its memory back",
        ],
    );
    let mut watching = app(None, 0);
    watching.options.read_only = true;
    let text = shown(&watching, 80, 24);
    assert_parts(&text, &["this screen is read-only"]);
    assert!(!text.contains("lays the plane "));
    let failed = app(Some(Phase::Failed("8 GB are needed, 4 are free: end other programs".into())), 0);
    assert_parts(&shown(&failed, 80, 24), &["8 GB are needed, 4 are free", "enter "]);
}

#[test]
fn a_start_is_chosen_on_the_plane_that_stays() {
    let mut app = app(Some(Phase::Choosing), 0);
    assert_parts(
        &shown(&app, 80, 24),
        &[
            "Arrows choose where the weights are to start, high and flat; enter jumps.",
            " The plane that stays ",
            "✛ α -.9 β +.05: loss 12.6",
            "of step 412",
            "✛ 12.6",
        ],
    );
    press(&mut app, KeyCode::Right);
    assert_parts(&shown(&app, 80, 24), &["✛ α -.81 β +.06: loss"]);
    app.engine.frozen.as_mut().unwrap().finest = false;
    assert_parts(&shown(&app, 80, 24), &["coarse so far"]);
    app.engine.wormhole.as_mut().unwrap().plane = None;
    assert_parts(&shown(&app, 80, 24), &["drawing two directions as large as the weights .."]);
}

#[test]
fn the_smallest_screen_has_both_planes_the_numbers_and_the_film() {
    let text = shown(&app(Some(Phase::Paused), 16), 80, 24);
    assert_parts(
        &text,
        &[
            "Left stays, right travels with the weights: look for a pit that opens.",
            " The plane that stays ",
            " The plane that travels, step 16 ",
            "step 16 · loss 0.599 · Paris 0.864 (p .421)",
            "moved 0.80 in all, inside d1 9.6e-8, d2 -4.0e-7",
            "captured 1.7e-4, chance 1.2e-4: no more than chance",
            "same colours on both",
            "mean loss of \"The capital of France is Paris\", trained and drawn",
            "filter norm, seeds 11 111, first half of the layers · adam, lr 1.0e-5",
            "│step 16",
            "step 412  loss",
        ],
    );
}

#[test]
fn where_there_are_few_rows_the_maps_have_them() {
    let app = app(Some(Phase::Paused), 16);
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let rows_of_map = |height: u16| {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, height));
        Wormhole { app: &app, theme: &theme }.render(buffer.area, &mut buffer);
        let row = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        let rows: Vec<String> = (0..height).map(row).collect();
        assert_parts(&rows.join("\n"), &["mean loss of", "captured", "same colours on both"]);
        // Below the frame, the axis and the frame again.
        rows.iter().position(|row| row.starts_with('╰')).unwrap() - 3
    };
    assert_eq!([16, 18, 21].map(rows_of_map), [8, 10, 8]);
}

#[test]
fn a_wide_screen_has_the_losses_and_the_next_token_too() {
    assert_parts(
        &shown(&app(Some(Phase::Running), 16), 120, 40),
        &[
            "look for a pit that opens under them.",
            "◉ moving · ○ step 412",
            "the newest of 17",
            " Loss ",
            "mean  target",
            " Next token ",
            "[Paris]",
            " since step 0 ",
            "captured 1.7e-4, chance 1.2e-4: no more than chance",
            "(0, 0) is step 412 of the run",
            "space pause",
        ],
    );
}

#[test]
fn the_strip_selects_what_is_shown_at_right_and_in_numbers() {
    let mut app = app(Some(Phase::Paused), 16);
    for _ in 0..3 {
        press(&mut app, KeyCode::Left);
    }
    assert_parts(
        &shown(&app, 80, 24),
        &["The plane that travels, step 13", "│step 13", "step 13 · loss", "esc follows the newest one"],
    );
    press(&mut app, KeyCode::Esc);
    assert_parts(&shown(&app, 80, 24), &["The plane that travels, step 16", "step 16 · loss"]);
}

#[test]
fn both_planes_have_one_scale_and_the_weights_in_the_same_place() {
    let mut app = app(Some(Phase::Paused), 16);
    app.view.landscape.marker = Marker::HalfBlock;
    let buffer = drawn(&app, 120, 40);
    let on = |columns: std::ops::Range<u16>, symbol: &str| {
        // The line above the pictures and what is below them have these symbols too.
        let inside = |at: &ratatui::layout::Position| columns.contains(&at.x) && (3..22).contains(&at.y);
        buffer.area.positions().find(|at| inside(at) && buffer[*at].symbol() == symbol).unwrap()
    };
    let (left, right) = (on(0..60, "◉"), on(60..120, "◉"));
    assert_eq!((right.x, right.y), (left.x + 60, left.y));
    assert_eq!(on(0..60, "○").x + 60, on(60..120, "○").x);
    // Far from the pit the planes have the same loss, and the same colour.
    let color = |x: u16| -> Color { buffer[(x, 5)].bg };
    assert_eq!(color(52), color(112));
    assert_ne!(buffer[left].bg, buffer[right].bg, "the pit");
}

#[test]
fn the_plane_that_stays_keeps_its_colours_while_a_pit_opens_at_right() {
    for (width, height) in [(80, 24), (120, 40)] {
        for stretch in [Stretch::Rank, Stretch::Log, Stretch::Linear] {
            let cells = |steps: u64, columns: std::ops::Range<u16>| -> Vec<Cell> {
                let mut app = app(Some(Phase::Paused), steps);
                app.view.landscape.stretch = stretch;
                let buffer = drawn(&app, width, height);
                let pictures = (3..8).flat_map(|y| columns.clone().map(move |x| (x, y)));
                pictures.map(|at| buffer[at].clone()).collect()
            };
            let (left, right) = (2..width / 2 - 2, width / 2 + 2..width - 2);
            assert_eq!(cells(0, left.clone()), cells(16, left), "{width}x{height} {stretch:?}");
            assert_ne!(cells(0, right.clone()), cells(16, right), "{width}x{height} {stretch:?}");
        }
    }
    let [before, after] = [0, 16].map(|steps| shown(&app(Some(Phase::Paused), steps), 120, 40));
    for text in [before, after] {
        assert_parts(&text, &["by rank above 3.0", "same colours on both"]);
    }
}

#[test]
fn one_can_see_the_plane_that_travels_alone_and_as_a_surface() {
    let mut app = app(Some(Phase::Paused), 16);
    press(&mut app, KeyCode::Tab);
    let text = shown(&app, 80, 24);
    assert_parts(&text, &["The plane that travels, step 16", "the newest of 17 · tab: both"]);
    assert!(!text.contains("The plane that stays"));
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Char('x'));
    assert_parts(&shown(&app, 80, 24), &["The plane that stays", "d1 ", "d2 "]);
}

#[test]
fn the_start_is_marked_apart_from_the_weights_only_where_they_have_moved_within_the_picture() {
    let mut app = app(Some(Phase::Paused), 3);
    let marked = |app: &App| {
        let text = shown(app, 80, 24);
        let rows = text.lines().skip(3).take(8).map(str::to_owned);
        rows.collect::<String>().contains('s')
    };
    assert!(!marked(&app));
    let scene = app.engine.wormhole.as_mut().unwrap();
    let moved = crate::protocol::wormhole::Moment { inside: [0.4, 0.0], ..scene.moments.items()[3] };
    scene.moments.push(moved);
    assert!(marked(&app));
}

#[test]
fn more_of_the_movement_than_chance_says_how_much_more() {
    let mut app = app(Some(Phase::Paused), 3);
    let scene = app.engine.wormhole.as_mut().unwrap();
    let moved = crate::protocol::wormhole::Moment { captured: Some(0.12), ..scene.moments.items()[3] };
    scene.moments.push(moved);
    assert_parts(&shown(&app, 80, 24), &["captured 1.2e-1, chance 1.2e-4: 1000 times chance"]);
    assert_parts(&shown(&self::app(Some(Phase::Paused), 0), 80, 24), &["nothing has moved yet", "1.2e-4"]);
}

#[test]
fn an_end_leaves_the_pictures() {
    let text = shown(&app(Some(Phase::Ended), 4), 80, 24);
    assert_parts(&text, &["its memory is given back: enter lays another plane", "travels, step 4"]);
}

#[test]
fn it_draws_in_any_area_and_nowhere_else() {
    use Phase::{Choosing, Ended, Failed, Laying, Paused};
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let sizes: Vec<u16> = (0..24).chain([30, 40, 59, 61, 80, 99, 101, 117, 130, 200]).collect();
    for phase in [None, Some(Laying), Some(Choosing), Some(Paused), Some(Ended), Some(Failed("x".into()))] {
        let mut app = app(phase, 5);
        for (relief, alone) in [(false, false), (true, false), (false, true)] {
            (app.view.landscape.relief, app.view.wormhole.alone) = (relief, alone);
            for width in &sizes {
                for height in (0..26).step_by(3).chain([1, 2, 29, 31, 60]) {
                    let area = Rect::new(2, 1, *width, height);
                    let mut buffer = Buffer::empty(Rect::new(0, 0, 206, 64));
                    Wormhole { app: &app, theme: &theme }.render(area, &mut buffer);
                    for place in buffer.area.positions().filter(|place| !area.contains(*place)) {
                        assert_eq!(buffer[place].symbol(), " ", "{area} {place}");
                    }
                }
            }
        }
        let mut buffer = Buffer::empty(Rect::new(0, 0, 9, 4));
        Wormhole { app: &app, theme: &theme }.render(Rect::new(3, 2, 80, 20), &mut buffer);
    }
}
