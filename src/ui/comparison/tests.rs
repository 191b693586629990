use std::collections::BTreeSet;
use std::sync::Arc;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEventKind};
use ratatui::style::Modifier;

use super::fixture;
use super::*;
use crate::app::comparison::Message;
use crate::app::{Chosen, Hint, LineEditor, Palette, Stretch};
use crate::protocol::Stage;
use crate::protocol::comparison::{Between, Place, Sample, Scene, Sides, Template};
use crate::theme::ColorDepth;

const HOSTILE: &str = "\x1b[31m\u{202e}\u{7}";

fn drawn_with(theme: &str, app: &Comparison, width: u16, height: u16) -> Buffer {
    let theme = Theme::named(theme, ColorDepth::True).unwrap();
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view(app, &theme, frame)).unwrap();
    terminal.backend().buffer().clone()
}

fn drawn(app: &Comparison, width: u16, height: u16) -> Buffer {
    drawn_with("dark", app, width, height)
}

fn text_of(buffer: &Buffer) -> String {
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(row).collect::<Vec<_>>().join("\n")
}

fn shows(app: &Comparison, (width, height): (u16, u16), parts: &[&str]) {
    let text = text_of(&drawn(app, width, height));
    for part in parts {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

fn press(app: &mut Comparison, code: KeyCode) {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

fn cells(buffer: &Buffer, symbol: &str) -> Vec<(u16, u16)> {
    let places = (0..buffer.area.height).flat_map(|y| (0..buffer.area.width).map(move |x| (x, y)));
    places.filter(|place| buffer[*place].symbol() == symbol).collect()
}

#[test]
fn the_smallest_screen_has_one_model_above_the_other() {
    let parts = [
        "llamascape compare · same seeds, scaled to each · one scale 2.9 to 14.9",
        "A · SmolLM2-135M",
        "◉ 3.005",
        "B · SmolLM2-135M-…",
        "◉ 2.871  |g| 36.30",
        "no template",
        "template off",
        "[Paris]",
        "path ",
        " 2.960 to 3.040  barrier 0.04  top KL: ·Paris 0.50",
        "step A 0 · B 0  lr 1.0e-5  adam",
        "KL A|B 0.06",
        "tab side  s step",
        "? help  q quit",
    ];
    let app = fixture::app(fixture::scene());
    shows(&app, (80, 24), &parts);
    let names = text_of(&drawn(&app, 80, 24));
    let rows: Vec<usize> = ["A · SmolLM2", "B · SmolLM2"]
        .map(|name| names.lines().position(|line| line.contains(name)).unwrap())
        .into();
    assert_eq!(rows, [1, 11]);
}

#[test]
fn a_larger_screen_has_the_models_side_by_side() {
    let app = fixture::app(fixture::scene());
    let parts = [
        "llamascape compare · cpu, 2 threads · same seeds, scaled to each · one scale 2.9 to 14.9",
        "both at their weights",
        "134.5M",
        "◉ 3.005 nats  |g| 36.30",
        "mean of 512 held-out tokens #a41f",
        "likeliest of both · no chat template",
        "change against A · template not used",
        "entropy 1.2 bits",
        " 2.960 to 3.040 nats  barrier 0.04 at t .60",
        "KL A|B 0.06  B|A 0.06  top 10 in common: 9",
        "loss B",
    ];
    shows(&app, (120, 40), &parts);
    let first = text_of(&drawn(&app, 120, 40)).lines().nth(1).unwrap().to_owned();
    assert!(first.contains("A · SmolLM2-135M ") && first.contains("B · SmolLM2-135M-Instruct "), "{first}");
}

#[test]
fn a_high_screen_has_a_table_of_the_tokens() {
    let text = text_of(&drawn(&fixture::app(fixture::scene()), 160, 50));
    let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    let words = |name: &str| row(name).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(" token"), ["token", "·capital", "·of", "·France", "·is", "·Paris"]);
    assert_eq!(words(" loss A"), ["loss", "A", "1.00", "2.00", "3.00", "4.00", "5.00"]);
    assert_eq!(words(" loss B"), ["loss", "B", "0.50", "1.00", "1.50", "2.00", "2.50"]);
    assert_eq!(words(" KL A|B"), ["KL", "A|B", "0.10", "0.20", "0.30", "0.40", "0.50"]);
}

#[test]
fn no_size_and_no_scene_makes_it_panic() {
    let mut broken = fixture::scene();
    let mut slice = crate::ui::fixture::slice(5, |_, _| f32::NAN);
    broken.sides[0].slice = Some(Arc::new(slice.clone()));
    (slice.alphas, slice.betas, slice.loss) = (Vec::new(), Vec::new(), Vec::new());
    broken.sides[1].slice = Some(Arc::new(slice));
    broken.path = Some(Arc::new(crate::protocol::comparison::PathLoss {
        t: Vec::new(),
        loss: vec![f64::NAN; 300],
        barrier: f64::NAN,
        barrier_at: f64::NAN,
    }));
    broken.sides[0].sample = Some(Sample { text: "a\n\n漢字 ".repeat(90), ..Sample::default() });
    broken.sides[1].rendered = Some("<|im_start|>user\n".repeat(9));
    let through = Scene { plane: PlaneChoice::Through, ..fixture::scene() };
    let failed = Scene { phase: Phase::Failed("no\nfile".into()), ..Scene::default() };
    let empty = Scene { phase: Phase::Live, ..Scene::default() };
    for scene in [fixture::scene(), broken, through, failed, empty, Scene::default()] {
        let mut app = fixture::app(scene);
        for modal in [
            None,
            Some(Modal::Help { scroll: 99 }),
            Some(Modal::Prompt(LineEditor::default())),
            Some(Modal::Commands(Palette::default())),
        ] {
            app.modal = modal;
            for (width, height) in
                [(1, 1), (3, 50), (130, 1), (80, 24), (81, 25), (110, 30), (131, 47), (300, 90)]
            {
                drawn(&app, width, height);
            }
        }
    }
    let mut app = fixture::app(fixture::scene());
    press(&mut app, KeyCode::Right);
    for width in (1..=170).step_by(7) {
        for height in (1..=60).step_by(5) {
            drawn(&app, width, height);
        }
    }
}

#[test]
fn panes_draw_in_any_area() {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    for plane in [PlaneChoice::Own, PlaneChoice::Through] {
        let app = fixture::app(Scene { plane, ..fixture::scene() });
        for width in (0..60).step_by(3) {
            for height in 0..24 {
                let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
                let panes = panes(&app, buffer.area, height > 11);
                Screen { app: &app, theme: &theme }.panes(&panes, &mut buffer);
                between::Strip { app: &app, theme: &theme }.render(buffer.area, &mut buffer);
            }
        }
    }
}

#[test]
fn the_preparation_is_told() {
    let stage = |name: &str, progress| Stage { name: name.into(), detail: "269 MB".into(), progress };
    let phase = Phase::Preparing(vec![stage("model A", 1.0), stage("model B", 0.25)]);
    let app = fixture::app(Scene { phase, ..Scene::default() });
    shows(&app, (80, 24), &["✓ model A", "▸ model B", " 25 %", "side by side", "● preparing", "q quit"]);
}

#[test]
fn what_models_say_cannot_steer_the_terminal() {
    let mut scene = fixture::scene();
    for side in &mut scene.sides {
        side.name = HOSTILE.into();
        side.prediction = Some(Arc::new(fixture::prediction_with(HOSTILE)));
        side.rendered = Some(HOSTILE.into());
    }
    scene.device = HOSTILE.into();
    let mut between = Between::clone(&scene.between);
    between.places[3].token.text = HOSTILE.into();
    scene.between = Arc::new(between);
    let mut app = fixture::app(scene);
    app.hint = Some(Hint::Warning(HOSTILE.into()));
    let safe = |app: &Comparison| {
        for size in [(80, 24), (120, 40), (160, 50)] {
            let buffer = drawn(app, size.0, size.1);
            let steers = |c: char| c.is_control() || c == '\u{202e}';
            assert!(!buffer.content.iter().any(|cell| cell.symbol().chars().any(steers)));
            assert!(text_of(&buffer).contains("<0x1B>"));
        }
    };
    safe(&app);
    let sample = Sample { prompt: HOSTILE.into(), text: HOSTILE.into(), writing: true, cut: false };
    app.scene.sides[0].sample = Some(sample);
    safe(&app);
    let why = Some(HOSTILE.to_owned());
    app.scene.between = Arc::new(Between { caveat: why.clone(), no_path: why, ..Between::default() });
    app.scene.path = None;
    safe(&app);
}

#[test]
fn the_plane_through_both_is_one_map_with_both_ends() {
    let mut scene = Scene { plane: PlaneChoice::Through, ..fixture::scene() };
    let mut slice = (**scene.sides[0].slice.as_ref().unwrap()).clone();
    for alpha in &mut slice.alphas {
        *alpha += 0.5;
    }
    scene.sides[0].slice = Some(Arc::new(slice));
    scene.sides[1].slice = None;
    let app = fixture::app(scene);
    for size in [(80, 24), (120, 40)] {
        shows(&app, size, &["the plane through both", "A · SmolLM2-135M → B · SmolLM2-135", "A 3.005"]);
        shows(&app, size, &["B 2.871", "|g| A 36.30 B 36.30"]);
        let buffer = drawn(&app, size.0, size.1);
        let ends = ["A", "B"].map(|end| {
            let marked = |place: &(u16, u16)| buffer[*place].modifier.contains(Modifier::BOLD);
            let inside = |(x, y): &(u16, u16)| *y > 1 && *y < 10 + size.1 / 4 && *x > 4;
            cells(&buffer, end).into_iter().find(|place| marked(place) && inside(place)).unwrap()
        });
        assert_eq!(ends[0].1, ends[1].1);
        assert!(ends[0].0 < ends[1].0);
    }
    let mut slope = crate::ui::fixture::slice(17, |alpha, _| 3.0 + alpha as f32);
    for alpha in &mut slope.alphas {
        *alpha += 0.5;
    }
    let mut app = app;
    app.scene.sides[0].slice = Some(Arc::new(slope));
    let buffer = drawn(&app, 120, 40);
    let text = text_of(&buffer);
    let values = text.lines().position(|line| line.contains("median")).unwrap();
    let bar: String = (1..119).map(|x| buffer[(x, values as u16 - 1)].symbol()).collect();
    assert_eq!(bar.split_whitespace().collect::<Vec<_>>(), ["A", "B"], "both are on the colour bar");
}

#[test]
fn a_caveat_is_whole_on_the_smallest_screen_and_takes_no_room_for_a_table() {
    let mut scene = fixture::scene();
    let caveat = "tokenizers differ: losses do not compare, no KL";
    scene.path = None;
    scene.between = Arc::new(Between {
        caveat: Some(caveat.into()),
        no_path: Some("shapes differ".into()),
        ..Between::default()
    });
    let app = fixture::app(scene.clone());
    shows(&app, (80, 24), &[&format!("{caveat}  no path: shapes differ")]);
    let text = text_of(&drawn(&app, 120, 40));
    let row = |part: &str| text.lines().position(|line| line.contains(part));
    assert_eq!([row(caveat), row("no path: shapes"), row("step A 0")], [Some(36), Some(37), Some(38)]);
    assert!(!text.contains("change against A") && !text.contains("likeliest of both"), "{text}");

    // One that is longer leaves out the reason why there is no path, and no word of its own.
    let long = "they read different texts: there is no KL, and nothing else";
    scene.between = Arc::new(Between {
        caveat: Some(long.into()),
        no_path: Some("the way is far too long".into()),
        ..Between::default()
    });
    shows(&fixture::app(scene), (80, 24), &[&format!("{long}  no path ")]);
}

#[test]
fn tokens_that_do_not_fit_are_an_ellipsis() {
    let mut scene = fixture::scene();
    let mut between = Between::clone(&scene.between);
    between.places = between.places.iter().cycle().take(40).cloned().collect();
    scene.between = Arc::new(between);
    let app = fixture::app(scene);
    let rows = |theme: &str, height: u16, name: &str| {
        let text = text_of(&drawn_with(theme, &app, 120, height));
        text.lines().find(|line| line.starts_with(name)).unwrap().trim_end().to_owned()
    };
    for theme in ["dark", "mono"] {
        let strip = rows(theme, 33, " KL by token");
        assert!(strip.contains("  … ·") || strip.contains("  …  ·"), "{strip}");
        assert!(strip.contains("·Paris"), "{strip}");
        let table = rows(theme, 40, " token");
        assert!(table.starts_with(" token  … ") && table.ends_with("·Paris"), "{table}");
    }
}

#[test]
fn a_caveat_takes_the_place_of_the_tokens_and_no_path_that_of_the_path() {
    let mut scene = fixture::scene();
    scene.path = None;
    shows(&fixture::app(scene.clone()), (80, 24), &["path ..", "·is"]);
    scene.between = Arc::new(Between {
        caveat: Some("the tokenizers differ".into()),
        no_path: Some("30 layers against 12".into()),
        ..Between::default()
    });
    for size in [(80, 24), (120, 40), (160, 50)] {
        shows(
            &fixture::app(scene.clone()),
            size,
            &["no path: 30 layers against 12", "the tokenizers differ"],
        );
    }
}

/// The colours of the cells around the marker of the weights, in both maps.
fn around_the_weights(app: &Comparison) -> [Vec<String>; 2] {
    let buffer = drawn(app, 120, 40);
    // The other markers are in the bars of the legends and in the lines of the losses.
    let weights = cells(&buffer, "◉");
    let row = weights.iter().map(|place| place.1).min().unwrap();
    let places: Vec<u16> = weights.iter().filter(|place| place.1 == row).map(|place| place.0).collect();
    [places[0], places[1]].map(|x| (x - 12..x).map(|x| buffer[(x, row)].bg.to_string()).collect())
}

#[test]
fn on_one_scale_equal_losses_have_equal_colours() {
    let mut scene = fixture::scene();
    let steep = crate::ui::fixture::slice(17, |alpha, _| 2.0 + 8.0 * alpha.abs() as f32);
    let flat = crate::ui::fixture::slice(17, |alpha, _| 2.0 + alpha.abs() as f32);
    scene.sides[0].slice = Some(Arc::new(steep));
    scene.sides[1].slice = Some(Arc::new(flat));
    let mut app = fixture::app(scene);
    app.landscape.stretch = Stretch::Linear;
    let colours = |colours: &[String]| colours.iter().collect::<BTreeSet<_>>().len();
    let [a, b] = around_the_weights(&app);
    assert_eq!(a.last(), b.last());
    assert!(colours(&a) > colours(&b), "the flat one has fewer levels");
    press(&mut app, KeyCode::Char('u'));
    let [a, b] = around_the_weights(&app);
    assert_eq!(a, b, "each has its own scale");
    shows(&app, (120, 40), &["own scales"]);
}

#[test]
fn the_one_cursor_is_in_both_maps_and_its_losses_are_read_out() {
    let mut app = fixture::app(fixture::scene());
    app.landscape.chosen = Some(Chosen { alpha: 1.0, beta: 0.0 });
    shows(&app, (120, 40), &["✛ 7.005", "✛ 8.871", "going to ✛ α +1 β 0 .."]);
    app.scene.place = Some([1.0, 0.0]);
    shows(&app, (120, 40), &["both read at ✛ α +1 β 0"]);
    shows(&app, (80, 24), &["✛ 7.005"]);
}

#[test]
fn the_focus_shows_on_the_borders() {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let mut app = fixture::app(fixture::scene());
    let focused = |app: &Comparison| {
        let buffer = drawn(app, 120, 40);
        [0, 60].map(|x| Some(buffer[(x, 5)].fg) == theme.palette.focus.fg)
    };
    assert_eq!(focused(&app), [true, true]);
    app.sides = Sides::One(crate::protocol::comparison::Side::B);
    assert_eq!(focused(&app), [false, true]);
}

#[test]
fn what_a_template_makes_of_the_prompt_is_never_hidden() {
    let mut scene = fixture::scene();
    scene.sides[1].template = Template::On;
    scene.sides[1].rendered =
        Some("<|im_start|>user\nThe capital of France is<|im_end|>\n<|im_start|>assistant\nParis".into());
    for size in [(80, 24), (120, 40), (160, 50)] {
        shows(&fixture::app(scene.clone()), size, &["assistant⏎[Paris]"]);
    }
    shows(&fixture::app(scene.clone()), (80, 24), &[" in template "]);
    shows(&fixture::app(scene.clone()), (120, 40), &["change against A · in chat template"]);
    scene.sides[1].template = Template::Given;
    shows(&fixture::app(scene), (120, 40), &["change against A · in template already"]);
}

#[test]
fn a_text_that_is_written_takes_the_place_of_the_bars() {
    let mut scene = fixture::scene();
    let (prompt, text) = ("France is".into(), " Paris.\nIt lies".into());
    let sample = Sample { prompt, text, writing: true, cut: false };
    scene.sides[0].sample = Some(sample.clone());
    scene.sides[1].sample = Some(Sample { writing: false, ..sample });
    let app = fixture::app(scene);
    shows(
        &app,
        (120, 40),
        &["A · writes", "writing .. · esc stops", "France is Paris.", "It lies", "esc hides"],
    );
    shows(&app, (80, 24), &["France is Paris.", "It lies"]);
}

#[test]
fn a_text_has_its_end_and_says_that_more_is_above() {
    let mut scene = fixture::scene();
    let text = "<0xC3>f".repeat(200);
    let ended = Sample { prompt: "France is".into(), text, ..Sample::default() };
    scene.sides[0].sample = Some(Sample { text: String::new(), ..ended.clone() });
    scene.sides[1].sample = Some(ended.clone());
    shows(&fixture::app(scene.clone()), (120, 40), &["France is (ends)", "f (ends)"]);
    let text = text_of(&drawn(&fixture::app(scene.clone()), 120, 40));
    let first = text.lines().position(|line| line.contains("B · writes")).unwrap() + 1;
    let right = |row: &str| row.chars().skip(62).collect::<String>();
    let rows: Vec<String> = text.lines().skip(first).take(8).map(right).collect();
    assert!(rows[0].starts_with("…f<0xC3>"), "{rows:#?}");
    assert!(rows[1..].iter().all(|row| row.starts_with("<0xC3>f<0xC3>f")), "{rows:#?}");
    scene.sides[1].sample = Some(Sample { cut: true, ..ended });
    shows(&fixture::app(scene), (120, 40), &["f …"]);
}

#[test]
fn without_colour_numbers_tell_the_divergence() {
    let app = fixture::app(fixture::scene());
    let text = text_of(&drawn_with("mono", &app, 120, 39));
    let tokens = "KL by token, in nats  ·capital 0.10  ·of 0.20  ·France 0.30  ·is 0.40  ·Paris 0.50";
    assert!(text.contains(tokens), "{text}");
    let mut scene = fixture::scene();
    let place = Place { kl: [f64::NAN; 2], ..scene.between.places[0].clone() };
    scene.between = Arc::new(Between { places: vec![place], ..Between::default() });
    assert!(text_of(&drawn(&fixture::app(scene), 120, 39)).contains("·capital×"));
}

#[test]
fn a_click_puts_the_cursor_where_it_is_on_either_map() {
    for plane in [PlaneChoice::Own, PlaneChoice::Through] {
        for (width, height) in [(80, 24), (121, 41), (160, 50)] {
            let mut app = fixture::app(Scene { plane, ..fixture::scene() });
            let screen = Rect::new(0, 0, width, height);
            for (pane, area) in layout(&app, screen) {
                let Pane::Map(side) = pane else { continue };
                let cells = side::cells(&app, side, area).unwrap();
                for (column, row) in [(cells.x, cells.y), (cells.right() - 1, cells.bottom() - 1)] {
                    let kind = MouseEventKind::Down(MouseButton::Left);
                    let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
                    let pointed = pointed(&app, screen, event).unwrap();
                    app.update(Message::Mouse(pointed));
                    let buffer = drawn(&app, width, height);
                    assert_eq!(buffer[(column, row)].symbol(), "✛", "{pane:?} {column} {row}");
                }
            }
        }
    }
}

#[test]
fn both_landscapes_are_surfaces_with_one_viewpoint() {
    let mut app = fixture::app(fixture::scene());
    app.landscape.chosen = Some(Chosen { alpha: 1.0, beta: 0.0 });
    press(&mut app, KeyCode::Char('x'));
    // With scales of their own both weights are at the bottom.
    app.one_scale = false;
    let buffer = drawn(&app, 120, 40);
    let weights = cells(&buffer, "◉");
    let row = weights.iter().map(|place| place.1).min().unwrap();
    let columns: Vec<u16> = weights.iter().filter(|place| place.1 == row).map(|place| place.0).collect();
    assert_eq!(columns, [columns[0], columns[0] + 60]);
    shows(&app, (120, 40), &["d1 ", "d2 ", "✛ 7.005", "✛ 8.871", "◉ 3.005"]);
}

#[test]
fn the_command_line_lists_the_commands_of_this_screen() {
    let mut app = fixture::app(fixture::scene());
    press(&mut app, KeyCode::Char(':'));
    press(&mut app, KeyCode::Char('t'));
    shows(&app, (80, 24), &[" Commands ", "template", "put the prompt into the chat template", " :t "]);
}

#[test]
fn an_export_says_whose_slice_is_written() {
    let mut app = fixture::app(fixture::scene());
    press(&mut app, KeyCode::Char('e'));
    shows(&app, (80, 24), &[" Export ", "a picture of the screen "]);
    for _ in 0..3 {
        press(&mut app, KeyCode::Tab);
    }
    shows(&app, (80, 24), &[".npz", "the slice as arrays for NumPy: that of A"]);
}

#[test]
fn nothing_that_is_pressed_or_clicked_makes_it_panic() {
    let mut child = crate::ui::fixture::Child::new();
    for plane in [PlaneChoice::Own, PlaneChoice::Through].into_iter().cycle().take(20) {
        let mut app = fixture::app(Scene { plane, ..fixture::scene() });
        for _ in 0..200 {
            let screen = child.screen();
            let message = match child.event(screen) {
                Event::Key(key) => Some(Message::Key(key)),
                Event::Mouse(mouse) => pointed(&app, screen, mouse).map(Message::Mouse),
                _ => None,
            };
            if let Some(message) = message {
                app.update(message);
            }
            if child.below(16) == 0 {
                drawn(&app, screen.width, screen.height);
            }
        }
    }
}

#[test]
fn both_maps_are_pictures_in_pixels_where_nothing_lies_over_them() {
    let dark = Theme::named("dark", ColorDepth::True).unwrap();
    let screen = Rect::new(0, 0, 120, 40);
    let mut app = fixture::live();
    let maps = |app: &Comparison| -> Vec<(u8, Rect)> {
        pixel_maps(app, &dark, screen).iter().map(|map| (map.number, map.cells)).collect()
    };
    assert!(maps(&app).is_empty(), "nobody has chosen it");
    app.pictures = true;
    for _ in 0..4 {
        press(&mut app, KeyCode::Char('m'));
    }
    assert_eq!(app.landscape.marker, Marker::Picture);
    let both = maps(&app);
    assert_eq!(both.iter().map(|map| map.0).collect::<Vec<_>>(), [0, 1]);
    assert!(both[0].1.intersection(both[1].1).is_empty());
    app.scene.sides[0].slice = None;
    assert_eq!(maps(&app), [both[1]], "each keeps its number");
    app = fixture::app(Scene { plane: PlaneChoice::Through, ..fixture::scene() });
    app.landscape.marker = Marker::Picture;
    assert_eq!(maps(&app).len(), 1, "one plane through both");
    press(&mut app, KeyCode::Char('x'));
    assert!(maps(&app).is_empty(), "a surface is drawn in cells");
    press(&mut app, KeyCode::Char('x'));
    press(&mut app, KeyCode::Char('?'));
    assert!(maps(&app).is_empty());
}
