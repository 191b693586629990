use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::app::{Message, Options};
use crate::protocol::{Phase as Run, Status, ToScreen, Update};
use crate::ui::fixture;

/// A screen that shows the parameters, so many of which are turned.
fn app(turned: usize) -> App {
    let mut app = fixture::app();
    app.view.shown = View::Probe;
    hear(&mut app, fixture::probe(turned));
    app
}

fn hear(app: &mut App, scene: Scene) {
    let update = Update { probe: Some(scene), ..Update::default() };
    app.update(Message::Engine(ToScreen::Update(Box::new(update))));
}

/// What a key asks of the probe.
fn asked(app: &mut App, code: KeyCode) -> Vec<Ask> {
    let effects = app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    let ask = |effect| match effect {
        Effect::Send(Command::Probe(ask)) => ask,
        other => panic!("{other:?}"),
    };
    effects.into_iter().map(ask).collect()
}

fn typed(app: &mut App, line: &str) -> Vec<Ask> {
    for character in format!(":{line}").chars() {
        asked(app, KeyCode::Char(character));
    }
    asked(app, KeyCode::Enter)
}

fn hint(app: &App) -> &str {
    app.view.hint.as_ref().map_or("", Hint::text)
}

fn cursor(app: &App) -> [usize; 2] {
    app.view.probe.cursor(app.engine.probe.as_ref().unwrap()).unwrap()
}

fn only(first: usize) -> Vec<Ask> {
    vec![Ask::Choose { first, second: None }]
}

fn pair(first: usize, second: usize) -> Vec<Ask> {
    vec![Ask::Choose { first, second: Some(second) }]
}

#[test]
fn enter_opens_what_is_not_open() {
    let mut app = app(1);
    for phase in [Phase::Ended, Phase::Failed("no memory".into())] {
        app.engine.probe.as_mut().unwrap().phase = phase;
        assert_eq!(asked(&mut app, KeyCode::Enter), [Ask::Open]);
    }
    app.engine.probe = None;
    assert_eq!(asked(&mut app, KeyCode::Enter), [Ask::Open]);
    for code in [KeyCode::Right, KeyCode::Up, KeyCode::Esc, KeyCode::Char('['), KeyCode::Char(' ')] {
        assert_eq!(asked(&mut app, code), []);
    }
    assert_eq!(hint(&app), "nothing to tune yet: enter opens");
}

#[test]
fn enter_turns_a_second_one_and_lets_go_of_those_that_are_turned_but_the_last() {
    let mut app = app(1);
    assert_eq!(asked(&mut app, KeyCode::Enter), [], "the only one stays");
    assert!(hint(&app).starts_with("this one is turned already"), "{}", hint(&app));
    asked(&mut app, KeyCode::Down);
    asked(&mut app, KeyCode::Down);
    assert_eq!(asked(&mut app, KeyCode::Enter), pair(0, 2));
    app.engine.probe.as_mut().unwrap().chosen = vec![0, 2];
    assert_eq!(asked(&mut app, KeyCode::Enter), only(0));
    asked(&mut app, KeyCode::Down);
    assert_eq!(asked(&mut app, KeyCode::Enter), pair(0, 3), "a third one takes the place of the second");
    for _ in 0..5 {
        asked(&mut app, KeyCode::Char('k'));
    }
    assert_eq!(asked(&mut app, KeyCode::Enter), only(2));
    app.engine.probe.as_mut().unwrap().chosen.clear();
    assert_eq!(asked(&mut app, KeyCode::Enter), only(0));
}

#[test]
fn the_selected_row_is_one_of_the_list() {
    let mut app = app(1);
    let selected = |app: &App| app.view.probe.selected(app.engine.probe.as_ref().unwrap());
    for _ in 0..30 {
        asked(&mut app, KeyCode::Down);
    }
    assert_eq!(selected(&app), 11);
    let mut scene = fixture::probe(1);
    scene.listed.truncate(3);
    (scene.chosen, scene.phase) = (vec![1], Phase::Sweeping);
    hear(&mut app, scene);
    assert_eq!(selected(&app), 1, "of another list the one that is turned");
}

#[test]
fn arrows_turn_point_by_point() {
    let mut app = app(1);
    assert_eq!(cursor(&app), [16, 0]);
    assert_eq!(asked(&mut app, KeyCode::Right), [Ask::Turn([0.0625, 0.0])]);
    assert_eq!(asked(&mut app, KeyCode::Char('h')), [Ask::Turn([0.0, 0.0])]);
    asked(&mut app, KeyCode::Tab);
    assert_eq!(asked(&mut app, KeyCode::Up), [Ask::Turn([0.25, 0.0])], "far");
    for _ in 0..9 {
        asked(&mut app, KeyCode::Up);
    }
    assert_eq!((asked(&mut app, KeyCode::Right), cursor(&app)), (vec![], [32, 0]), "that is the end");
    assert_eq!(asked(&mut app, KeyCode::Esc), [Ask::Turn([0.0; 2])]);
    assert_eq!(asked(&mut app, KeyCode::Esc), [], "there it is");
}

#[test]
fn up_and_down_turn_the_second() {
    let mut app = app(2);
    asked(&mut app, KeyCode::Down);
    assert_eq!(cursor(&app), [8, 8], "in the list they select");
    asked(&mut app, KeyCode::BackTab);
    assert_eq!(asked(&mut app, KeyCode::Down), [Ask::Turn([0.0, -0.125])]);
    assert_eq!(asked(&mut app, KeyCode::Left), [Ask::Turn([-0.125, -0.125])]);
    assert_eq!(asked(&mut app, KeyCode::Enter), []);
    assert_eq!(hint(&app), "tab goes to the list, where parameters are chosen");
}

#[test]
fn other_points_put_the_cursor_back_and_the_same_ones_leave_it() {
    let mut app = app(1);
    asked(&mut app, KeyCode::Right);
    hear(&mut app, fixture::probe(1));
    assert_eq!(cursor(&app), [17, 0]);
    let mut other = fixture::probe(1);
    other.chosen = vec![4];
    hear(&mut app, other);
    assert_eq!(cursor(&app), [16, 0]);
    asked(&mut app, KeyCode::Right);
    hear(&mut app, fixture::probe(2));
    assert_eq!(cursor(&app), [8, 8]);
    asked(&mut app, KeyCode::Right);
    let mut wider = fixture::probe(2);
    wider.sweep.as_mut().unwrap().first.iter_mut().for_each(|by| *by *= 1.5);
    hear(&mut app, wider);
    assert_eq!(cursor(&app), [8, 8]);
}

#[test]
fn a_screen_that_turns_nothing_follows_those_that_do() {
    let mut app = app(1);
    let mut turned = fixture::probe(1);
    turned.turned.as_mut().unwrap().moves = [0.5, 0.0];
    hear(&mut app, turned);
    assert_eq!(cursor(&app), [24, 0]);
    app.engine.probe.as_mut().unwrap().sweep.as_mut().unwrap().loss.pop();
    assert_eq!(app.view.probe.cursor(app.engine.probe.as_ref().unwrap()), None);
    assert_eq!(asked(&mut app, KeyCode::Right), []);
}

#[test]
fn space_tunes_two_by_turns() {
    let mut app = app(2);
    assert_eq!(asked(&mut app, KeyCode::Char(' ')), [Ask::Walk(8)]);
    app.engine.probe.as_mut().unwrap().phase = Phase::Walking;
    assert_eq!((asked(&mut app, KeyCode::Char(' ')), hint(&app)), (vec![], "it is being tuned already"));
    let scene = app.engine.probe.as_mut().unwrap();
    (scene.phase, scene.chosen) = (Phase::Ready, vec![3]);
    assert_eq!(asked(&mut app, KeyCode::Char(' ')), [pair(3, 4), vec![Ask::Walk(8)]].concat());
    app.engine.probe.as_mut().unwrap().chosen = vec![11];
    assert_eq!(asked(&mut app, KeyCode::Char(' ')), [pair(11, 0), vec![Ask::Walk(8)]].concat());
    app.engine.probe.as_mut().unwrap().listed.truncate(1);
    assert_eq!(asked(&mut app, KeyCode::Char(' ')), []);
}

#[test]
fn zooming_goes_back_to_the_values_as_they_are() {
    let mut app = app(1);
    assert_eq!(asked(&mut app, KeyCode::Char('[')), [Ask::Zoom(1.0 / 1.5)]);
    asked(&mut app, KeyCode::Right);
    assert_eq!(asked(&mut app, KeyCode::Char(']')), [Ask::Turn([0.0; 2]), Ask::Zoom(1.5)]);
    assert_eq!(asked(&mut app, KeyCode::Char('r')), [Ask::Open]);
}

#[test]
fn the_training_is_not_stepped_unseen() {
    let mut app = app(1);
    for key in ['s', '.', 'S', 'b', '+', '-', 'o'] {
        assert_eq!(asked(&mut app, KeyCode::Char(key)), []);
        assert_eq!(hint(&app), "the training is stepped and steered in view 1", "{key}");
    }
    for key in ['n', 'g', 'x'] {
        assert_eq!(asked(&mut app, KeyCode::Char(key)), []);
        assert!(hint(&app).ends_with(" in view 1"), "{key}");
    }
}

#[test]
fn names_are_looked_for_and_the_memory_is_given_back() {
    let name = "model.layers.0.mlp.up_proj.weight[3,4]";
    let mut app = app(1);
    assert_eq!(typed(&mut app, &format!("probe {name}")), [Ask::Name(name.into())]);
    assert_eq!(typed(&mut app, "probe end"), [Ask::End]);
    app.engine.probe = None;
    assert_eq!(typed(&mut app, &format!("probe {name}")), [Ask::Open, Ask::Name(name.into())]);
    assert_eq!((typed(&mut app, "probe end"), hint(&app)), (vec![], "no parameters are open"));
}

#[test]
fn a_read_only_screen_reads_the_sweep_and_asks_for_nothing() {
    let mut app = app(2);
    app.options.read_only = true;
    for code in [KeyCode::Char(' '), KeyCode::Char('r'), KeyCode::Char('['), KeyCode::Enter, KeyCode::Right] {
        assert_eq!(asked(&mut app, code), []);
        assert!(hint(&app).starts_with("this screen is read-only"), "{code:?}: {}", hint(&app));
    }
    assert_eq!(cursor(&app), [9, 8]);
}

#[test]
fn nothing_is_asked_of_an_engine_that_is_still_starting() {
    let mut app = App::new(Options::default());
    app.view.shown = View::Probe;
    assert_eq!((asked(&mut app, KeyCode::Enter), hint(&app)), (vec![], "the engine is still starting"));
    app.engine.status = Some(Status { phase: Run::Stopping, ..fixture::status() });
    assert_eq!(asked(&mut app, KeyCode::Enter), []);
}

#[test]
fn a_refusal_is_told_once_and_an_answer_ends_the_waiting() {
    let mut app = app(1);
    asked(&mut app, KeyCode::Char('['));
    assert!(matches!(app.view.hint, Some(Hint::Asked(_))));
    hear(&mut app, fixture::probe(1));
    assert_eq!(app.view.hint, None);
    let refused = Scene { refusal: Some("there is no such parameter".into()), ..fixture::probe(1) };
    hear(&mut app, refused.clone());
    assert_eq!(app.view.hint, Some(Hint::Refused("there is no such parameter".into())));
    asked(&mut app, KeyCode::Right);
    hear(&mut app, refused);
    assert_eq!(app.view.hint, None);
}
