use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};

use super::*;
use crate::app::{Choice, EngineState, Key, Keys, LineEditor, Message, Options, Palette, ViewState};
use crate::protocol::{LogLevel, LogLine, Outcome, Stage, Status, ToScreen, Update};
use crate::theme::ColorDepth;

pub(super) fn drawn(app: &App, width: u16, height: u16) -> Buffer {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view(app, &theme, frame)).unwrap();
    terminal.backend().buffer().clone()
}

pub(super) fn text_of(buffer: &Buffer) -> String {
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(row).collect::<Vec<_>>().join("\n")
}

pub(super) fn press(app: &mut App, key: char) {
    app.update(Message::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)));
}

pub(super) fn typed(app: &mut App, keys: &str) {
    for key in keys.chars() {
        press(app, key);
    }
}

#[test]
fn the_smallest_screen_shows_every_picture() {
    let text = text_of(&drawn(&fixture::app(), 80, 24));
    for part in [
        "llamascape nano 1.0M",
        "tidy-otter ● training",
        "as of step 412",
        "◉ 2.113 nats",
        "mean of 512 of the held-out tokens #a41f",
        "random, filter norm, seeds 11 111",
        "in plane 0.1 %, chance 0.1 %",
        "[Paris]",
        "Gradient norm 0.83",
        "step 412  loss 2.113  |g| 0.83  lr 3.0e-3  19.8k tok/s  adamw",
        "? help  q quit",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains(" Log "));
}

#[test]
fn a_picture_in_pixels_lies_on_the_map_where_nothing_lies_over_it() {
    let dark = Theme::named("dark", ColorDepth::True).unwrap();
    let mut app = fixture::app();
    let cells = |app: &App| pixel_maps(app, &dark, Rect::new(0, 0, 100, 30)).first().map(|map| map.cells);
    assert_eq!(cells(&app), None, "nobody has chosen it");
    let braille = drawn(&app, 100, 30);
    app.view.landscape.marker = Marker::Picture;
    assert_eq!(drawn(&app, 100, 30), braille, "below it, and in exports, are cells");
    let (_, pane) = layout(&app, Rect::new(0, 0, 100, 30))[0];
    let map = cells(&app).unwrap();
    assert!(map.area() > pane.area() / 2 && pane.union(map) == pane, "{map} {pane}");

    for modal in [Modal::Help { scroll: 0 }, Modal::Leave, Modal::Commands(Palette::default())] {
        app.view.modal = Some(modal);
        assert_eq!(cells(&app), None);
    }
    app.view.modal = None;
    app.view.landscape.relief = true;
    assert_eq!(cells(&app), None, "a surface is drawn in cells");
    app.view.landscape.relief = false;
    app.view.shown = View::Layers;
    assert_eq!(cells(&app), None);
    app.view.shown = View::Observatory;
    assert_eq!(cells(&app), Some(map));
    let mono = Theme::named("mono", ColorDepth::None).unwrap();
    assert!(pixel_maps(&app, &mono, Rect::new(0, 0, 100, 30)).is_empty());
    assert!(pixel_maps(&app, &dark, Rect::new(0, 0, 79, 24)).is_empty(), "too small");
    app.engine.slice = None;
    assert_eq!(cells(&app), None);
}

#[test]
fn the_log_is_shown_where_there_is_room_and_seven_turns_it_round() {
    let mut app = fixture::app();
    let has_log = |app: &App, height| text_of(&drawn(app, 100, height)).contains(" Log ");
    assert_eq!((has_log(&app, 24), has_log(&app, 40)), (false, true));
    press(&mut app, '7');
    assert_eq!((has_log(&app, 24), has_log(&app, 40)), (true, false));
}

#[test]
fn the_charts_keep_their_rows_where_the_log_is_open() {
    for height in 24..60 {
        let mut app = fixture::app();
        let screen = Rect::new(0, 0, 80, height);
        for _ in 0..2 {
            press(&mut app, '7');
            let panes = layout(&app, screen);
            let charts = panes.iter().find(|(pane, _)| *pane == Pane::Loss).unwrap().1;
            assert!(charts.height >= 6 && panes.iter().all(|(_, area)| area.height >= 5), "{panes:?}");
        }
    }
    let mut app = fixture::app();
    press(&mut app, '7');
    let text = text_of(&drawn(&app, 80, 24));
    let with_dots = text.lines().take(6).filter(|line| {
        let right: String = line.chars().skip(48).collect();
        right.chars().any(|symbol| ('⠁'..='⣿').contains(&symbol))
    });
    assert!(with_dots.count() >= 3, "{text}");
}

#[test]
fn a_screen_that_is_too_small_says_how_large_it_must_be() {
    let text = text_of(&drawn(&fixture::app(), 79, 20));
    assert!(text.contains("terminal is 79x20; llamascape needs 80x24"));
    assert!(text_of(&drawn(&fixture::app(), 20, 3)).contains("terminal is 20x3"));
}

#[test]
fn no_size_makes_it_panic() {
    let mut app = fixture::app();
    for modal in [
        None,
        Some(Modal::Leave),
        Some(Modal::Move),
        Some(Modal::Help { scroll: 99 }),
        Some(Modal::Prompt(LineEditor::default())),
        Some(Modal::Commands(Palette::default())),
        Some(Modal::Export(LineEditor::new("a.svg"))),
    ] {
        app.view.modal = modal;
        for zoomed in [false, true] {
            for focus in Pane::ALL {
                (app.view.focus, app.view.zoomed) = (focus, zoomed);
                for (width, height) in [(1, 1), (3, 50), (130, 1), (80, 24), (81, 25), (97, 33), (130, 50)] {
                    drawn(&app, width, height);
                }
            }
        }
    }
    app.view = ViewState::default();
    for width in (1..=130).step_by(3) {
        for height in (1..=50).step_by(3) {
            drawn(&app, width, height);
        }
    }
}

#[test]
fn every_pane_draws_in_any_area() {
    let mut app = fixture::app();
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    for width in 0..60 {
        for height in 0..20 {
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            for pane in Pane::ALL {
                Screen { app: &app, theme: &theme }.pane(pane, buffer.area, &mut buffer);
            }
            app.view.landscape.relief = true;
            Screen { app: &app, theme: &theme }.pane(Pane::Landscape, buffer.area, &mut buffer);
            app.view.landscape.relief = false;
            preparing::Preparing { stages: &[], next: &NEXT, theme: &theme }.render(buffer.area, &mut buffer);
        }
    }
}

#[test]
fn an_engine_that_knows_nothing_yet_is_drawn_too() {
    let app = App::new(Options::default());
    assert!(text_of(&drawn(&app, 80, 24)).contains("starting the engine"));
    let mut app = fixture::app();
    app.engine = EngineState::default();
    app.engine.status = Some(fixture::status());
    let text = text_of(&drawn(&app, 80, 24));
    for part in ["no slice yet: r draws one", "no steps yet", "no prediction yet"] {
        assert!(text.contains(part), "{part}");
    }
}

#[test]
fn the_preparation_shows_its_stages_and_what_comes_next() {
    let mut app = App::new(Options::default());
    let stage = |name: &str, progress| Stage { name: name.into(), detail: "2048 tokens".into(), progress };
    let mut status = fixture::status();
    status.phase =
        Phase::Preparing(vec![stage("tokenizer", 1.0), stage("corpus", 0.25), stage("model", 0.0)]);
    let update = Update { status: Some(status), ..Update::default() };
    app.update(Message::Engine(ToScreen::Update(Box::new(update))));
    let text = text_of(&drawn(&app, 80, 24));
    for part in
        ["✓ tokenizer", "▸ corpus", " 25 %", "· model", "Then training starts", "● preparing", "? help"]
    {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn the_step_stays_in_the_status_line_beside_any_hint() {
    let mut app = fixture::app();
    app.view.hint = Some(crate::app::Hint::Answer("x".repeat(200)));
    let text = text_of(&drawn(&app, 80, 24));
    assert!(text.contains("step 412") && text.contains("xxx…"));
}

#[test]
fn a_hint_has_its_own_colour_and_leaves_the_facts_theirs() {
    let mut app = fixture::app();
    let plain = drawn(&app, 80, 24);
    app.view.hint = Some(crate::app::Hint::Refused("no".into()));
    let hinted = drawn(&app, 80, 24);
    assert_eq!(hinted[(1, 22)], plain[(1, 22)]);
    assert_ne!(hinted[(78, 22)].fg, plain[(78, 22)].fg);
}

#[test]
fn an_engine_that_ended_leaves_its_last_picture_and_says_so() {
    let mut app = fixture::app();
    let outcome = Outcome::Stopped { step: 500, checkpoint: Some("/runs/tidy-otter/checkpoint-500".into()) };
    app.update(Message::Engine(ToScreen::Closed(outcome)));
    let text = text_of(&drawn(&app, 120, 40));
    assert!(
        text.contains("ended at step 500, checkpoint at /runs/tidy-otter/checkpoint-500: q leaves"),
        "{text}"
    );
    assert!(text.contains("◉ 2.113 nats") && text.contains("● ended"));

    let mut app = fixture::app();
    let outcome = Outcome::Crashed { step: 500, checkpoint: None };
    app.update(Message::Engine(ToScreen::Closed(outcome)));
    let text = text_of(&drawn(&app, 120, 40));
    assert!(text.contains("crashed at step 500: q leaves") && text.contains("● crashed"), "{text}");
}

#[test]
fn a_zoomed_pane_has_the_screen_to_itself() {
    let mut app = fixture::app();
    press(&mut app, 'z');
    let text = text_of(&drawn(&app, 80, 24));
    assert!(text.contains("Landscape") && !text.contains("Next token"));
}

#[test]
fn the_question_how_to_leave_says_what_becomes_of_the_run() {
    let mut app = fixture::app();
    press(&mut app, 'q');
    assert!(text_of(&drawn(&app, 80, 24)).contains("d enter   leave it training;"));
    app.engine.status.as_mut().unwrap().phase = Phase::Paused;
    let text = text_of(&drawn(&app, 80, 24));
    assert!(text.contains("leave it paused;") && text.contains("s         save a checkpoint and stop"));
}

#[test]
fn the_question_whether_to_move_shows_the_losses_there_and_here() {
    let mut app = fixture::app();
    app.engine.status = Some(Status { phase: Phase::Paused, ..fixture::status() });
    press(&mut app, 'l');
    app.update(Message::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)));
    let text = text_of(&drawn(&app, 80, 24));
    for part in [
        " Move the training there? ",
        "✛ α +.12 β 0",
        "loss 2.175",
        "◉ the weights of step 412",
        "loss 2.113",
        "y         go on from there",
        "b comes back",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn bars_of_a_place_say_so_as_far_as_there_is_room() {
    let mut app = fixture::app();
    app.engine.prediction.as_mut().unwrap().at = Some([0.25, 0.0]);
    assert!(text_of(&drawn(&app, 180, 50)).contains("at ✛ α +.25 β 0 · against the weights"));
    let text = text_of(&drawn(&app, 80, 24));
    assert!(text.contains(" at ✛ α +.25 β 0 ") && !text.contains("p and change"), "{text}");
    app.engine.prediction.as_mut().unwrap().at = Some([-10.25, 0.125]);
    assert!(text_of(&drawn(&app, 80, 24)).contains(" at ✛ "));
}

#[test]
fn the_prompt_editor_keeps_its_cursor_in_sight() {
    let mut app = fixture::app();
    app.view.modal = Some(Modal::Prompt(LineEditor::new(&format!("{} the end", "x".repeat(500)))));
    assert!(text_of(&drawn(&app, 80, 24)).contains("x the end "));
}

#[test]
fn the_editor_of_an_export_says_what_will_be_written() {
    let mut app = fixture::app();
    press(&mut app, 'e');
    let text = text_of(&drawn(&app, 80, 24));
    for part in
        [" Export ", "llamascape-tidy-otter-412.svg", "a picture of the screen", "tab changes the format"]
    {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    typed(&mut app, "z");
    assert!(text_of(&drawn(&app, 80, 24)).contains(crate::app::ExportFormat::KNOWN));
}

#[test]
fn a_read_only_screen_offers_no_commands() {
    let mut app = fixture::app();
    app.options.read_only = true;
    let text = text_of(&drawn(&app, 80, 24));
    assert!(text.contains("read-only") && text.contains("x 3-D") && !text.contains("s step"));
}

/// A screen on which a command has these keys.
pub(super) fn remapped(command: &str, keys: &[&str]) -> App {
    let keys = keys.iter().map(|name| Key::parse(name).unwrap()).collect();
    let mut app = fixture::app();
    app.options.bindings = Keys::new(&[Choice { command: command.into(), keys }]).unwrap().training;
    app
}

#[test]
fn the_footer_the_help_and_the_command_line_show_the_keys_in_force() {
    let mut app = remapped("step", &["y", "ctrl-x"]);
    let text = text_of(&drawn(&app, 80, 24));
    assert!(text.contains("y step") && !text.contains("s step"), "{text}");
    for key in ['?', ':'] {
        press(&mut app, key);
        let text = text_of(&drawn(&app, 80, 24));
        assert!(text.contains("y  ctrl-x  take one step, then pause"), "{text}");
        app.update(Message::Key(KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE)));
    }
}

#[test]
fn what_names_a_key_names_the_one_in_force_or_the_command() {
    for (keys, hint) in [(&["f5"][..], "f5 draws one"), (&[][..], ":redraw draws one")] {
        let mut app = remapped("redraw", keys);
        app.engine.slice = None;
        let text = text_of(&drawn(&app, 80, 24));
        assert!(text.contains(&format!("no slice yet: {hint}")), "{text}");
    }
}

#[test]
fn drawing_twice_gives_the_same_picture() {
    let app = fixture::app();
    assert_eq!(drawn(&app, 120, 40), drawn(&app, 120, 40));
}

#[test]
fn a_search_shows_the_lines_that_are_found_alone() {
    let mut app = fixture::app();
    let line = |message: &str| LogLine {
        // 18:42:07 in UTC.
        milliseconds: 67_327_000,
        level: LogLevel::Info,
        message: message.into(),
    };
    let log = ["Checkpoint-1 saved", "another line", "checkpoint-2 saved \x1b[31m"].map(line).into();
    let update = Update { log, ..Update::default() };
    app.update(Message::Engine(ToScreen::Update(Box::new(update))));
    typed(&mut app, "/checkp");
    let text = text_of(&drawn(&app, 80, 24));
    for part in [
        "Log · 2 of 3 lines",
        "18:42:07 INFO  Checkpoint-1 saved",
        "checkpoint-2 saved <0x1B>[31m",
        " /checkp ",
        "esc ends",
    ] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert!(!text.contains("another line"));
}

#[test]
fn five_shows_every_parameter_over_time_and_one_the_observatory() {
    let mut app = fixture::app();
    press(&mut app, '5');
    for (width, height) in [(80, 24), (120, 40)] {
        let text = text_of(&drawn(&app, width, height));
        for part in
            [" Layers ", "as of step 412", "  embed ", " 0 mlp.down ", "gradient norm", "step 412  loss"]
        {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(!text.contains("Landscape"));
    }
    press(&mut app, '1');
    assert_eq!(drawn(&app, 80, 24), drawn(&fixture::app(), 80, 24));
}

fn click(app: &mut App, screen: Rect, (column, row): (u16, u16)) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    if let Some(pointed) = pointed(app, screen, event) {
        app.update(Message::Mouse(pointed));
    }
}

#[test]
fn a_click_focuses_the_pane_that_is_drawn_there() {
    let mut app = fixture::app();
    let screen = Rect::new(0, 0, 120, 40);
    for (pane, area) in layout(&app, screen) {
        click(&mut app, screen, (area.x, area.y));
        assert_eq!(app.view.focus, pane);
        click(&mut app, screen, (area.right() - 1, area.bottom() - 1));
        assert_eq!(app.view.focus, pane);
    }
    assert_eq!(layout(&app, screen).len(), Pane::ALL.len());
    click(&mut app, screen, (0, 39));
    assert_eq!(app.view.focus, Pane::Log, "the keys are no pane");
}

#[test]
fn a_click_puts_the_cursor_where_it_is() {
    let mut app = fixture::app();
    for (width, height) in [(80, 24), (121, 40)] {
        let screen = Rect::new(0, 0, width, height);
        let (_, area) = layout(&app, screen)[0];
        let cells = landscape::cells(&app, area).unwrap();
        let middle = (cells.x + cells.width / 2, cells.y + cells.height / 2);
        for at in [(cells.x, cells.y), middle, (cells.right() - 1, cells.bottom() - 1)] {
            click(&mut app, screen, at);
            assert_eq!(drawn(&app, width, height)[at].symbol(), "✛", "{at:?}");
        }
    }
}

#[test]
fn the_surface_takes_the_place_of_the_map_and_keeps_what_is_said_of_it() {
    let mut app = fixture::app();
    let map = drawn(&app, 80, 24);
    press(&mut app, 'x');
    app.view.hint = None;
    let text = text_of(&drawn(&app, 80, 24));
    for part in ["d1 ", "d2 ", "◉ 2.113 nats", "mean of 512 of the held-out tokens #a41f", "a step: "] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    let seen = drawn(&app, 80, 24);
    press(&mut app, '>');
    app.view.hint = None;
    assert_ne!(drawn(&app, 80, 24), seen);
    press(&mut app, 'x');
    app.view.hint = None;
    assert_eq!(drawn(&app, 80, 24), map);
}

#[test]
fn nothing_that_is_pressed_or_clicked_makes_it_panic() {
    let mut child = fixture::Child::new();
    for _ in 0..50 {
        let mut app = fixture::app();
        let mut screen = child.screen();
        for _ in 0..200 {
            let message = match child.event(screen) {
                Event::Key(key) => Some(Message::Key(key)),
                Event::Mouse(mouse) => pointed(&app, screen, mouse).map(Message::Mouse),
                _ => None,
            };
            if let Some(message) = message {
                app.update(message);
            }
            if child.below(10) == 0 {
                screen = child.screen();
                drawn(&app, screen.width, screen.height);
            }
        }
    }
}

#[test]
fn a_toast_lies_above_the_status_line_and_hides_no_title() {
    let mut app = fixture::app();
    let message = "checkpoint-412 saved".to_owned();
    let log = vec![LogLine { milliseconds: 0, level: LogLevel::Notice, message }];
    let update = Update { log, ..Update::default() };
    app.update(Message::Engine(ToScreen::Update(Box::new(update))));
    let text = text_of(&drawn(&app, 100, 30));
    let rows: Vec<&str> = text.lines().collect();
    assert!(rows[26].contains("checkpoint-412 saved") && rows[28].contains("step 412"), "{text}");
    assert!(rows[1].contains("Landscape") && rows[1].contains("Loss"), "{text}");
}
