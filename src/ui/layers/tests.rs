use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};

use super::*;
use crate::app::Message;
use crate::protocol::TensorHistory;
use crate::theme::ColorDepth;
use crate::ui::fixture;

/// A screen that shows the layers of a model, with norms of the steps from 1 on.
fn app(layers: usize, steps: u64) -> App {
    let mut app = fixture::app();
    app.engine.tensor_names = fixture::tensor_names(layers);
    app.engine.tensors = TensorHistory::default();
    let parameters = app.engine.tensor_names.len();
    (1..=steps).for_each(|step| app.engine.tensors.push(fixture::tensor_norms(parameters, step)));
    press(&mut app, KeyCode::Char('5'));
    app
}

/// One that shows a few parameters in plain characters. Of the gradients the first is 1 and the second 1e-3 all the
/// time, the third is 0 and then goes wrong, and the last is 0.
fn few() -> App {
    let mut app = app(0, 0);
    app.engine.tensor_names = [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
        "model.norm.weight",
    ]
    .map(str::to_owned)
    .to_vec();
    for (step, third) in (1..).zip([0.0, 0.0, f32::NAN, 1e-3]) {
        app.engine.tensors.push(TensorNorms {
            step,
            gradients: vec![1.0, 1e-3, third, 0.0],
            weights: vec![8.0, 3.0, 4.0, 1.0],
            updates: vec![8e-3, 3e-3, 4e-3, 0.0],
        });
    }
    app.view.landscape.marker = Marker::Ascii;
    app
}

fn press(app: &mut App, code: KeyCode) {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

fn drawn(app: &App, theme: &str, width: u16, height: u16) -> Buffer {
    let theme = Theme::named(theme, ColorDepth::True).unwrap();
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    Layers { app, theme: &theme }.render(buffer.area, &mut buffer);
    buffer
}

fn lines(buffer: &Buffer) -> Vec<String> {
    let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..buffer.area.height).map(row).collect()
}

fn text(app: &App, width: u16, height: u16) -> String {
    lines(&drawn(app, "dark", width, height)).join("\n")
}

#[test]
fn rows_compare_and_zeros_and_what_is_not_finite_look_different() {
    let rows = lines(&drawn(&few(), "mono", 60, 12));
    let row = |label: &str, cells: String, number: &str| format!("│ {label:<15} {cells} {number:>7} │");
    let wrong = format!("{}{}{}", "0".repeat(16), "×".repeat(8), " ".repeat(8));
    let layer = format!("{}{}{}", " ".repeat(16), "×".repeat(8), " ".repeat(8));
    assert_eq!(
        rows[3..8],
        [
            row("  embed", "@".repeat(32), "1.0"),
            row("- layer 0", layer, "1.4e-3"),
            row("    0 attn.q", " ".repeat(32), "1.0e-3"),
            row("    0 mlp.down", wrong, "1.0e-3"),
            row("  norm", "0".repeat(32), "0"),
        ]
    );
    assert!(rows[8].contains(" 1 ") && rows[8].contains("step 4"), "{}", rows[8]);
    assert!(rows[9].contains(" 1.0e-3 ") && rows[9].contains("#@ 1.0 "), "{}", rows[9]);
}

#[test]
fn colours_are_one_run_of_spaces_and_zeros_are_muted_dots() {
    let mut app = few();
    app.view.landscape.marker = Marker::Braille;
    let buffer = drawn(&app, "dark", 60, 12);
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let map = &theme.maps[0];
    // The cells begin behind the border, a column of air, the names and a gap.
    for x in 18..50 {
        assert_eq!((buffer[(x, 3)].symbol(), buffer[(x, 3)].bg), (" ", map.background(11)));
        assert_eq!((buffer[(x, 5)].symbol(), buffer[(x, 5)].bg), (" ", map.background(0)));
        assert_eq!(buffer[(x, 3)], buffer[(18, 3)]);
        assert_eq!((buffer[(x, 7)].symbol(), Some(buffer[(x, 7)].fg)), ("·", theme.palette.muted.fg));
    }
    assert_eq!((buffer[(34, 6)].symbol(), Some(buffer[(34, 6)].fg)), ("×", theme.palette.invalid.fg));
}

#[test]
fn without_colours_dots_tell_the_levels_apart() {
    let mut app = few();
    app.view.landscape.marker = Marker::Braille;
    let rows = lines(&drawn(&app, "mono", 60, 12));
    assert!(rows[3].contains(&"⣿".repeat(32)), "{}", rows[3]);
    assert!(rows[9].contains('⣿') && rows[9].contains('⠁'), "{}", rows[9]);
    press(&mut app, KeyCode::BackTab);
    let buffer = drawn(&app, "mono", 60, 12);
    let marks = (18..50).filter(|x| buffer[(*x, 9)].symbol() == "│");
    assert_eq!(marks.count(), 1, "of the healthy ratio: {}", lines(&buffer)[9]);
    let reversed = (0..60).any(|x| buffer[(x, 9)].modifier.contains(Modifier::REVERSED));
    assert!(!reversed, "it is a line, not a block");
}

#[test]
fn the_axis_and_the_colours_follow_the_last_row_and_keep_out_of_the_numbers() {
    let app = app(4, 61);
    let rows = lines(&drawn(&app, "dark", 200, 57));
    let last = rows.iter().position(|row| row.starts_with("│   norm ")).unwrap();
    assert!(rows[last + 1].contains("step 61") && rows[last + 3].contains("step 61 · gradient"), "{rows:#?}");
    let inside = places(panel::inside(Rect::new(0, 0, 200, 57)), 42);
    let shown = Shown::of(&app).unwrap();
    let band = band(inside.legends, shown.label_columns(Marker::Braille), 3);
    let legend: Vec<char> = rows[last + 2].chars().collect();
    for [_, numbers] in band.quantities {
        let beside = usize::from(numbers.x) - 1..usize::from(numbers.right());
        assert!(legend[beside].iter().all(|symbol| *symbol == ' '), "{}", rows[last + 2]);
    }
}

#[test]
fn wide_screens_show_all_quantities_and_others_one_at_a_time() {
    let mut app = app(4, 412);
    let wide = text(&app, 120, 37);
    for part in
        ["gradient norm", "weight norm", "update/weight, │ is 1e-3", "0 attn.norm", "2 attn.o", "▾ layer 2"]
    {
        assert!(wide.contains(part), "{part} is missing:\n{wide}");
    }
    assert!(!wide.contains("tab:"));
    let narrow = text(&app, 80, 21);
    assert!(narrow.contains("gradient norm · tab: weight norm "), "{narrow}");
    assert_eq!((wide.matches("newest").count(), narrow.matches("newest").count()), (3, 1), "{wide}{narrow}");
    press(&mut app, KeyCode::BackTab);
    let narrow = text(&app, 80, 21);
    assert!(narrow.contains("update/weight, │ is 1e-3 · tab: gradient norm "), "{narrow}");
    press(&mut app, KeyCode::Left);
    let step = app.view.layers.step.unwrap();
    assert!(text(&app, 80, 21).contains(&format!(" at {step} ")), "the numbers are those of the cursor");
    assert!(narrow.contains("update/weight is healthy near 1e-3"));
}

#[test]
fn the_colours_say_where_values_lie_below_them() {
    let mut app = few();
    for step in 5..100 {
        app.engine.tensors.push(TensorNorms {
            step,
            gradients: vec![1.0, if step == 50 { 1e-5 } else { 1e-3 }, 1e-3, 0.0],
            weights: vec![8.0, 3.0, 4.0, 1.0],
            updates: vec![8e-3, 3e-3, 4e-3, 0.0],
        });
    }
    assert!(text(&app, 60, 12).contains(" <=1.0e-3 "), "{}", text(&app, 60, 12));
    app.view.landscape.marker = Marker::Braille;
    assert!(text(&app, 60, 12).contains(" ≤1.0e-3 "), "{}", text(&app, 60, 12));
    assert!(!text(&few(), 60, 12).contains("<="), "{}", text(&few(), 60, 12));
}

#[test]
fn the_selected_row_is_read_at_the_step_of_the_cursor() {
    let mut app = app(4, 412);
    let newest = text(&app, 80, 21);
    assert!(newest.contains("model.embed_tokens.weight"), "{newest}");
    assert!(newest.contains("step 412 · gradient "), "{newest}");
    press(&mut app, KeyCode::Left);
    press(&mut app, KeyCode::Left);
    press(&mut app, KeyCode::Down);
    let items = app.engine.tensors.items();
    let before = items[items.len() - 2].step;
    let read = text(&app, 120, 37);
    assert!(read.contains(&format!("model.layers.0, 9 parameters · step {before} · gradient ")), "{read}");
    press(&mut app, KeyCode::Down);
    assert!(text(&app, 120, 37).contains("model.layers.0.input_layernorm.weight · step "));
    press(&mut app, KeyCode::Esc);
    assert!(text(&app, 120, 37).contains("weight · step 412 · "));
}

#[test]
fn the_numbers_that_are_read_are_those_of_the_row() {
    let mut app = few();
    let read = text(&app, 120, 12);
    let embed = "weight · step 4 · gradient 1.0 · weight 8.0 · update 8.0e-3 · ratio 1.0e-3";
    assert!(read.contains(embed), "{read}");
    press(&mut app, KeyCode::Down);
    let layer = "parameters · step 4 · gradient 1.4e-3 · weight 5.0 · update 5.0e-3 · ratio 1.0e-3";
    let read = text(&app, 120, 12);
    assert!(read.contains(layer), "{read}");
}

#[test]
fn the_cursor_is_a_line_through_the_cells() {
    let mut app = few();
    press(&mut app, KeyCode::Left);
    // The last of four steps has the last eight of 32 cells.
    let rows = lines(&drawn(&app, "dark", 60, 12));
    assert!(rows[3].contains(&format!("{}|@@@ ", "@".repeat(28))), "{}", rows[3]);
    let buffer = drawn(&app, "mono", 60, 12);
    let reversed = |x: u16| buffer[(x, 7)].modifier.contains(Modifier::REVERSED);
    assert_eq!((18..50).filter(|x| reversed(*x)).collect::<Vec<_>>(), [46]);
}

#[test]
fn many_parameters_are_folded_and_scroll_with_the_cursor() {
    let mut app = app(30, 5);
    assert_eq!(app.engine.tensor_names.len(), 272);
    let text_now = text(&app, 80, 21);
    for part in ["  embed", "▸ layer 0", "▸ layer 11", "1-13 of 32", "enter unfolds a layer"] {
        assert!(text_now.contains(part), "{part} is missing:\n{text_now}");
    }
    assert!(!text_now.contains("attn"));
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    let unfolded = text(&app, 80, 21);
    assert!(unfolded.contains("▾ layer 0") && unfolded.contains("0 mlp.down"), "{unfolded}");
    for _ in 0..50 {
        press(&mut app, KeyCode::Down);
    }
    let end = text(&app, 80, 21);
    assert!(end.contains("  norm ") && end.contains("29-41 of 41"), "{end}");
}

#[test]
fn the_selected_row_is_always_on_show() {
    for rows in 1..50 {
        for room in 1..50 {
            for selected in 0..rows {
                let first = first_row(selected, rows, room);
                assert!((first..first + room).contains(&selected), "{selected} of {rows} in {room}");
                assert!(first + room <= rows.max(room), "{selected} of {rows} in {room}");
            }
        }
    }
}

#[test]
fn names_are_short_and_safe() {
    let names = [
        "model.layers.12.self_attn.q_proj.bias",
        "model.layers.3.post_attention_layernorm.weight",
        "lm_head.weight",
        "something.else",
        "model.layers.0.\x1b[31m.weight",
        "",
    ];
    let short = ["12 attn.q.bias", "3 mlp.norm", "head", "something.else", "0 <0x1B>[31m", ""];
    assert_eq!(names.map(short_name), short);
    let mut app = app(0, 3);
    app.engine.tensor_names = names.map(str::to_owned).to_vec();
    for (width, height) in [(80, 21), (120, 37)] {
        for _ in 0..names.len() {
            press(&mut app, KeyCode::Down);
            assert!(!text(&app, width, height).replace('\n', "").contains(char::is_control));
        }
    }
}

#[test]
fn a_long_run_and_a_short_one_have_their_whole_course() {
    let text_of = |steps| text(&app(1, steps), 80, 21);
    let long = text_of(10_000);
    assert!(long.contains(" 1 ") && long.contains("step 10000") && long.contains("of step 10000"), "{long}");
    let short = text_of(1);
    assert!(short.contains("step 1 · gradient ") && !short.contains("NaN"), "{short}");
}

#[test]
fn nothing_is_shown_before_there_is_something() {
    let mut app = app(4, 0);
    assert!(text(&app, 80, 21).contains("follows with the first step"));
    app.engine.tensors.push(fixture::tensor_norms(38, 1));
    app.engine.tensor_names.clear();
    assert!(text(&app, 80, 21).contains("follows with the first step"));
}

#[test]
fn norms_that_are_missing_are_not_finite() {
    let mut app = app(0, 3);
    app.engine.tensor_names = fixture::tensor_names(4);
    let few = text(&app, 80, 21);
    assert!(few.contains('×') && few.contains("NaN"), "{few}");
    app.engine.tensor_names.truncate(1);
    app.engine.tensors.push(TensorNorms {
        step: 4,
        gradients: vec![1.0; 9],
        weights: Vec::new(),
        updates: Vec::new(),
    });
    assert!(text(&app, 120, 37).contains("gradient 1.0 · weight NaN · update NaN · ratio NaN"));
}

#[test]
fn it_is_drawn_at_any_size() {
    let (mut app, empty) = (app(4, 20), app(0, 0));
    press(&mut app, KeyCode::Left);
    let themes = ["dark", "mono"].map(|name| Theme::named(name, ColorDepth::True).unwrap());
    for width in (0..24).chain((24..170).step_by(7)) {
        for height in (0..14).chain((14..50).step_by(9)) {
            let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
            for theme in &themes {
                for app in [&app, &empty] {
                    Layers { app, theme }.render(buffer.area, &mut buffer);
                }
            }
        }
    }
}

/// Clicks on a cell of the screen.
fn click(app: &mut App, screen: Rect, column: u16, row: u16) {
    let kind = MouseEventKind::Down(MouseButton::Left);
    let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    if let Some(pointed) = crate::ui::pointed(app, screen, event) {
        app.update(Message::Mouse(pointed));
    }
}

#[test]
fn a_click_selects_the_row_and_reads_the_step_that_are_drawn_there() {
    let mut app = app(4, 12);
    for (width, height) in [(80, 24), (160, 30)] {
        let screen = Rect::new(0, 0, width, height);
        let drawn = |app: &App| {
            let (mut buffer, theme) =
                (Buffer::empty(screen), Theme::named("dark", ColorDepth::True).unwrap());
            Layers { app, theme: &theme }.render(Rect { y: 1, height: height - 3, ..screen }, &mut buffer);
            buffer
        };
        let label = |buffer: &Buffer, row| (2..18).map(|x| buffer[(x, row)].symbol()).collect::<String>();
        for (column, row) in [(30, 8), (40, 12), (4, 10)] {
            app.view.layers.step = None;
            let before = drawn(&app);
            click(&mut app, screen, column, row);
            let after = drawn(&app);
            let is_selected = |y: &u16| after[(4, *y)].modifier.contains(Modifier::REVERSED);
            let selected = (0..height).find(is_selected).unwrap();
            assert_eq!(label(&after, selected), label(&before, row), "{column} {row}");
            assert_eq!(app.view.layers.step.is_some(), column > 20, "{column}: beside the cells is no step");
        }
        let before = app.view.layers.clone();
        click(&mut app, screen, 10, height - 1);
        assert_eq!(app.view.layers, before, "the keys are no row");
    }
}
