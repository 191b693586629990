use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::app::{Marker, Message, View};
use crate::protocol::probe::Turned;
use crate::theme::ColorDepth;
use crate::ui::fixture;

/// A screen with so many parameters turned.
fn app(turned: usize) -> App {
    let mut app = fixture::app();
    app.view.shown = View::Probe;
    app.engine.probe = Some(fixture::probe(turned));
    app
}

fn scene(app: &mut App) -> &mut Scene {
    app.engine.probe.as_mut().unwrap()
}

fn press(app: &mut App, code: KeyCode) {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
}

/// The whole screen.
fn screen(app: &App, width: u16, height: u16) -> String {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| crate::ui::view(app, &theme, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(row).collect::<Vec<_>>().join("\n")
}

fn assert_shows(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn before_it_is_opened_it_says_what_it_is_and_how_to_begin() {
    let mut app = app(1);
    app.engine.probe = None;
    let parts = [
        "turn single weights of the model by hand",
        "Turn one: the loss moves a little.",
        "whack-a-mole",
        "One step of the optimizer turns all of them",
        "The run pauses. It is not changed",
        "enter             opens the weights with the largest gradients",
        ":probe NAME[I,J]",
    ];
    assert_shows(&screen(&app, 80, 24), &parts);
    app.engine.probe = Some(Scene { phase: Phase::Ended, ..fixture::probe(1) });
    assert_shows(&screen(&app, 120, 40), &parts);
    scene(&mut app).phase = Phase::Failed("no \x1b[31mmemory".into());
    assert_shows(&screen(&app, 80, 24), &["It could not be opened: no <0x1B>[31mmemory", "whack-a-mole"]);
}

#[test]
fn while_gradients_are_computed_it_says_so() {
    let mut app = app(0);
    scene(&mut app).phase = Phase::Ranking;
    assert_shows(&screen(&app, 80, 24), &["computing gradients", "12"]);
    scene(&mut app).listed.clear();
    assert_shows(&screen(&app, 80, 24), &["computing the gradient of every parameter .."]);
}

#[test]
fn one_parameter_has_a_curve_and_its_numbers() {
    let mut app = app(1);
    let parts = [
        "Loss over 0 mlp.down[12,0]",
        "largest gradients",
        "1 0 mlp.down[12,0]",
        "as it is: loss 2.273, p(Paris) .103, gradient norm 1.70",
        "the lowest of this curve: loss 2.260",
        "turned by +0.188 to 0.21",
        "step 412 · the run is not changed",
        "the loss is the mean over the tokens of “The capital of France is Paris”",
        "▸·Paris",
        "space tune by turns",
        "◉",
        "▾",
    ];
    assert_shows(&screen(&app, 80, 24), &parts);
    assert_shows(&screen(&app, 120, 40), &parts);
    assert_shows(&screen(&app, 120, 40), &["probability of Paris", "enter on another row turns two"]);
    press(&mut app, KeyCode::Left);
    let text = screen(&app, 80, 24);
    assert_shows(&text, &["turned by -0.062 to -0.03", "✛", "the bars follow .."]);
    let wide = screen(&app, 120, 40);
    assert_shows(&wide, &["p(Paris) .102 (-0.001)"]);
    for symbol in ["◉", "✛"] {
        let column = |row: &str| row.chars().position(|shown| symbol.starts_with(shown));
        let columns: Vec<usize> = wide.lines().filter_map(column).collect();
        assert!(columns.len() == 2 && columns[0] == columns[1], "{symbol}:\n{wide}");
    }
    scene(&mut app).turned.as_mut().unwrap().moves = [-0.0625, 0.0];
    assert!(!screen(&app, 80, 24).contains("the bars follow"));
}

#[test]
fn what_the_run_does_not_train_says_so() {
    let mut app = app(1);
    press(&mut app, KeyCode::Down);
    assert!(!screen(&app, 80, 24).contains("not trained"));
    press(&mut app, KeyCode::Down);
    assert_shows(&screen(&app, 80, 24), &["not trained by this run", "enter: as second"]);
}

#[test]
fn two_parameters_have_a_map_and_the_walk_tells_the_story() {
    let mut app = app(2);
    let parts = [
        "Loss over 1 and 2",
        "the best of 1 is 0.211; once 2 is tuned it is 0.288: it has moved",
        "two by turns, 8 rounds:",
        "8 steps of all 1 040 000 weights:",
        "2.273 → 2.250",
        "2.273 → 0.381",
        "as they are",
        "1  best of 1",
        "■",
    ];
    assert_shows(&screen(&app, 80, 24), &parts);
    assert_shows(&screen(&app, 80, 24), &["381, both by +8.0e-5, -6.4e-5"]);
    assert_shows(&screen(&app, 120, 40), &parts);
    let wide = screen(&app, 120, 40);
    assert_shows(
        &wide,
        &[
            "these two moved by +8.0e-5, -6.4e-5 (adam, lr 1e-3)",
            "all at once",
            "step 8",
            "the line: by turns, to ■",
        ],
    );
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Up);
    assert_shows(&screen(&app, 80, 24), &["turned by 0 and +0.125: loss 2.281 (+0.008)", "✛"]);
    scene(&mut app).walk = None;
    assert_shows(&screen(&app, 80, 24), &["the lowest of this map", "space tunes 1, then 2, then 1"]);
}

#[test]
fn in_few_rows_the_map_of_a_walk_has_those_of_the_bars_and_names_both_of_its_axes() {
    let theme = Theme::named("dark", ColorDepth::True).unwrap();
    let app = app(2);
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 16));
    Probe { app: &app, theme: &theme }.render(buffer.area, &mut buffer);
    let row = |y| (0..80).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    let text = (0..16).map(row).collect::<Vec<_>>().join("\n");
    assert_shows(&text, &["Loss over 1 and 2", " 2 ↑ ", "Tuned by turns", "What turning does"]);
    assert!(!text.contains("Next token"), "{text}");
}

#[test]
fn the_way_of_tuning_by_turns_lies_over_the_map() {
    let theme = Theme::named("mono", ColorDepth::None).unwrap();
    let mut app = app(2);
    app.view.landscape.marker = Marker::Ascii;
    let lines = |app: &App| {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
        Probe { app, theme: &theme }.render(buffer.area, &mut buffer);
        buffer.content.iter().filter(|cell| cell.symbol() == "/").count()
    };
    let walked = lines(&app);
    scene(&mut app).walk = None;
    assert!(walked > lines(&app) && lines(&app) > 0, "the arrow down the slope is there in any case");
    scene(&mut app).listed.iter_mut().for_each(|parameter| parameter.grad = f64::NAN);
    assert_eq!(lines(&app), 0);
}

#[test]
fn a_sweep_of_others_is_not_drawn() {
    let mut app = app(2);
    scene(&mut app).chosen = vec![3];
    scene(&mut app).phase = Phase::Sweeping;
    assert_shows(&screen(&app, 80, 24), &["Loss over 0 attn.norm[21]", "evaluating the loss .."]);
}

#[test]
fn the_training_has_no_keys_in_the_footer() {
    let footer = |app: &App| screen(app, 160, 24).lines().last().unwrap_or_default().to_owned();
    let mut app = app(1);
    let open = footer(&app);
    assert_shows(&open, &["space tune by turns", "r open again", "[ closer"]);
    app.engine.probe = None;
    let closed = footer(&app);
    assert_shows(&closed, &["r open", "1 observatory"]);
    assert!(!closed.contains("space") && !closed.contains("closer"), "{closed}");
    for text in [open, closed] {
        assert!(
            !["s step", "b back", "n new plane", "o optimizer"].iter().any(|key| text.contains(key)),
            "{text}"
        );
    }
}

/// Scenes as an engine should not tell them.
fn strange() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for turned in 0..3 {
        let whole = fixture::probe(turned);
        let mut with = |change: &dyn Fn(&mut Scene)| {
            let mut scene = whole.clone();
            change(&mut scene);
            scenes.push(scene);
        };
        for phase in [
            Phase::Ranking,
            Phase::Sweeping,
            Phase::Walking,
            Phase::Ready,
            Phase::Ended,
            Phase::Failed("x".repeat(200)),
        ] {
            with(&|scene| scene.phase = phase.clone());
        }
        with(&|scene| scene.listed.clear());
        with(&|scene| scene.listed.truncate(1));
        with(&|scene| scene.chosen = vec![usize::MAX, 0, 0]);
        with(&|scene| scene.chosen = vec![0, 0]);
        with(&|scene| (scene.loss, scene.grad_norm, scene.text) = (f64::NAN, f64::INFINITY, "\x1b".into()));
        with(&|scene| {
            for parameter in &mut scene.listed {
                (parameter.value, parameter.grad) = (f64::INFINITY, f64::NAN);
                parameter.index = vec![usize::MAX; 99];
            }
        });
        with(&|scene| scene.turned = None);
        for moves in [[f64::NAN; 2], [1e300; 2], [f64::NEG_INFINITY, 0.0]] {
            with(&|scene| {
                scene.turned = Some(Turned { moves, prediction: fixture::prediction() });
                if let Some(walk) = &mut scene.walk {
                    walk.visits[1].moves = moves;
                    walk.visits[3].loss = moves[0];
                    walk.descent.truncate(1);
                    walk.descent[0].moves = moves;
                }
            });
        }
        with(&|scene| {
            if let Some(walk) = &mut scene.walk {
                (walk.visits, walk.descent) = (Vec::new(), Vec::new());
            }
        });
        let mut sweeps = |change: &dyn Fn(&mut Sweep)| with(&|scene| scene.sweep.as_mut().map_or((), change));
        sweeps(&|sweep| sweep.loss.fill(f32::NAN));
        sweeps(&|sweep| sweep.loss[0] = f32::INFINITY);
        sweeps(&|sweep| sweep.loss.clear());
        sweeps(&|sweep| sweep.loss.truncate(5));
        sweeps(&|sweep| sweep.p_target.truncate(3));
        sweeps(&|sweep| sweep.first.clear());
        sweeps(&|sweep| sweep.first.fill(f64::NAN));
        sweeps(&|sweep| sweep.first.reverse());
        sweeps(&|sweep| sweep.second.fill(f64::INFINITY));
        sweeps(&|sweep| {
            (sweep.first, sweep.second) = (vec![0.0], vec![0.0, f64::MAX]);
            sweep.loss.truncate(2);
        });
        sweeps(&|sweep| {
            (sweep.first, sweep.second, sweep.loss) = (Vec::new(), Vec::new(), Vec::new());
        });
    }
    scenes
}

#[test]
fn it_is_drawn_at_any_size_whatever_the_engine_tells() {
    let themes = ["dark", "mono"].map(|name| Theme::named(name, ColorDepth::True).unwrap());
    let sizes: Vec<(u16, u16)> = (0..200)
        .step_by(23)
        .chain([1, 2, 33, 34, 35, 36, 80])
        .flat_map(|width| [0, 1, 2, 3, 4, 5, 7, 10, 14, 21, 37, 60].map(|height| (width, height)))
        .collect();
    let mut app = app(1);
    for scene in strange() {
        let update = crate::protocol::Update { probe: Some(scene), ..crate::protocol::Update::default() };
        app.update(Message::Engine(crate::protocol::ToScreen::Update(Box::new(update))));
        for code in [KeyCode::Right, KeyCode::Down, KeyCode::Tab, KeyCode::Up, KeyCode::Esc] {
            press(&mut app, code);
        }
        for (number, (width, height)) in sizes.iter().enumerate() {
            let mut buffer = Buffer::empty(Rect::new(0, 0, *width, *height));
            let markers = [Marker::Braille, Marker::HalfBlock, Marker::Ascii];
            app.view.landscape.marker = markers[number % markers.len()];
            Probe { app: &app, theme: &themes[number % 2] }.render(buffer.area, &mut buffer);
            let safe = |cell: &ratatui::buffer::Cell| !cell.symbol().contains(char::is_control);
            assert!(buffer.content.iter().all(safe));
        }
    }
}
