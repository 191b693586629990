use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::app::{Message, Options};
use crate::protocol::{ToScreen, Update};
use crate::ui::fixture;

/// A screen of this view with an experiment that is doing this, four steps from its start where it has one.
fn app(phase: Option<Phase>) -> App {
    let mut app = fixture::app();
    app.view.shown = View::Wormhole;
    if let Some(phase) = phase {
        hear(&mut app, fixture::wormhole(phase, 4));
    }
    app
}

fn hear(app: &mut App, update: Update) {
    app.update(Message::Engine(ToScreen::Update(Box::new(update))));
}

fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

/// What the engine is asked by a key.
fn asked(app: &mut App, code: KeyCode) -> Option<Ask> {
    match press(app, code).as_slice() {
        [] => None,
        [Effect::Send(Command::Wormhole(ask))] => Some(ask.clone()),
        other => panic!("{other:?}"),
    }
}

fn key(app: &mut App, key: char) -> Option<Ask> {
    asked(app, KeyCode::Char(key))
}

fn typed(app: &mut App, line: &str) -> Option<Ask> {
    for character in line.chars() {
        assert_eq!(key(app, character), None);
    }
    asked(app, KeyCode::Enter)
}

fn told(app: &App) -> &str {
    app.view.hint.as_ref().map_or("", Hint::text)
}

/// The step whose picture is selected.
fn step(app: &App) -> u64 {
    let film = &app.engine.film;
    film.items()[app.view.wormhole.selected(film).unwrap()].step
}

fn phases() -> [Option<Phase>; 7] {
    use Phase::{Choosing, Ended, Failed, Laying, Paused, Running};
    [None, Some(Laying), Some(Choosing), Some(Running), Some(Paused), Some(Ended), Some(Failed("no".into()))]
}

#[test]
fn enter_lays_then_jumps_then_goes_back_to_choosing() {
    let mut app = app(None);
    assert_eq!(asked(&mut app, KeyCode::Enter), Some(Ask::Lay(Setting::default())));
    hear(&mut app, fixture::wormhole(Phase::Choosing, 0));
    assert_eq!(asked(&mut app, KeyCode::Enter), Some(Ask::Jump(PLATEAU)));
    hear(&mut app, fixture::wormhole(Phase::Paused, 0));
    assert_eq!(app.view.wormhole.stage(app.engine.wormhole.as_ref()), WormholeStage::Descending);
    assert_eq!(asked(&mut app, KeyCode::Enter), None);
    assert_eq!(app.view.wormhole.stage(app.engine.wormhole.as_ref()), WormholeStage::Choosing);
    assert_eq!(asked(&mut app, KeyCode::Right), None);
    assert_eq!(asked(&mut app, KeyCode::Enter), Some(Ask::Jump([-0.8125, 0.0625])), "the next sample");
}

#[test]
fn the_cursor_goes_over_the_plane_that_stays_and_back_to_the_plateau() {
    let mut app = app(Some(Phase::Choosing));
    for code in [KeyCode::Up, KeyCode::Char('k'), KeyCode::Left] {
        press(&mut app, code);
    }
    let start = |app: &App| app.view.wormhole.start(app.engine.frozen.as_ref());
    assert_eq!(start(&app), Chosen { alpha: -0.9375, beta: 0.1875 });
    for _ in 0..9 {
        press(&mut app, KeyCode::Left);
    }
    assert_eq!(start(&app), Chosen { alpha: -1.0, beta: 0.1875 });
    press(&mut app, KeyCode::Esc);
    assert_eq!(start(&app), Chosen { alpha: PLATEAU[0], beta: PLATEAU[1] });
    app.engine.frozen.as_mut().unwrap().alphas = vec![-0.5, 0.0, 0.5];
    assert_eq!(start(&app), Chosen { alpha: -0.5, beta: PLATEAU[1] }, "it stays on the plane");
}

#[test]
fn what_trains_follows_the_experiment_and_not_the_run() {
    let mut running = app(Some(Phase::Running));
    assert_eq!(key(&mut running, ' '), Some(Ask::Pause));
    let mut paused = app(Some(Phase::Paused));
    assert_eq!(key(&mut paused, ' '), Some(Ask::Run));
    for app in [&mut running, &mut paused] {
        assert_eq!(key(app, 's'), Some(Ask::Step(1)));
        assert_eq!(key(app, 'S'), Some(Ask::Step(10)));
        assert_eq!(key(app, 'b'), Some(Ask::Back));
        assert_eq!(typed(app, ":step 25"), Some(Ask::Step(25)));
    }
    for phase in [None, Some(Phase::Laying), Some(Phase::Choosing), Some(Phase::Ended)] {
        let mut app = app(phase);
        for code in [' ', 's', 'S', 'b'] {
            assert_eq!(key(&mut app, code), None);
            assert!(told(&app).contains("enter"), "{}", told(&app));
        }
    }
    let mut app = app(None);
    hear(&mut app, fixture::wormhole(Phase::Paused, 0));
    assert_eq!(key(&mut app, 'b'), None);
    assert_eq!(told(&app), "this is the start: there is no step before it");
}

#[test]
fn another_plane_is_laid_with_one_thing_changed() {
    let film = Setting::default();
    for phase in phases().into_iter().flatten() {
        let mut app = app(Some(phase));
        assert_eq!(key(&mut app, 'r'), Some(Ask::Lay(film)));
        assert_eq!(key(&mut app, 'n'), Some(Ask::Lay(Setting { seeds: [12, 112], ..film })));
        assert_eq!(key(&mut app, ']'), Some(Ask::Lay(Setting { range: 1.5, ..film })));
        assert_eq!(key(&mut app, 'g'), Some(Ask::Lay(Setting { finest: 65, ..film })));
    }
    let mut app = app(Some(Phase::Paused));
    let scene = app.engine.wormhole.as_mut().unwrap();
    (scene.setting.range, scene.setting.finest) = (0.5, 65);
    assert_eq!(key(&mut app, '['), None, "{}", told(&app));
    assert!(matches!(key(&mut app, 'g'), Some(Ask::Lay(Setting { finest: 17, .. }))));
    let mut app = self::app(None);
    for code in ['r', 'n', '[', ']', 'g'] {
        assert_eq!(key(&mut app, code), None);
        assert_eq!(told(&app), "nothing is laid yet: enter lays a plane");
    }
}

#[test]
fn the_rate_is_chosen_before_a_plane_is_laid() {
    let mut laid = app(Some(Phase::Paused));
    for code in ['+', '-', 'o'] {
        assert_eq!(key(&mut laid, code), None);
        assert!(matches!(laid.view.hint, Some(Hint::Refused(_))));
    }
    let mut ended = app(Some(Phase::Ended));
    key(&mut ended, '+');
    let Some(Ask::Lay(setting)) = asked(&mut ended, KeyCode::Enter) else { panic!("{}", told(&ended)) };
    assert!((setting.learning_rate.unwrap() - 1.25e-5).abs() < 1e-12);
}

#[test]
fn the_film_is_scrubbed_until_one_is_back_at_the_newest() {
    let mut app = app(Some(Phase::Paused));
    assert_eq!((step(&app), app.view.wormhole.follows()), (4, true));
    press(&mut app, KeyCode::Left);
    press(&mut app, KeyCode::Char('h'));
    assert_eq!(step(&app), 2);
    let moment = |app: &App| app.view.wormhole.moment(app.engine.wormhole.as_ref().unwrap()).unwrap().step;
    assert_eq!(moment(&app), 2);
    hear(&mut app, fixture::wormhole(Phase::Paused, 6));
    assert_eq!((step(&app), moment(&app)), (2, 2));
    press(&mut app, KeyCode::Esc);
    assert_eq!((step(&app), moment(&app)), (6, 6));
    press(&mut app, KeyCode::Down);
    assert_eq!(step(&app), 0);
    key(&mut app, 's');
    assert!(app.view.wormhole.follows(), "a step is looked at");
}

#[test]
fn words_after_the_name_lay_and_end() {
    let mut app = app(Some(Phase::Paused));
    app.view.shown = View::Observatory;
    assert_eq!(
        typed(&mut app, ":wormhole all"),
        Some(Ask::Lay(Setting { film: false, ..Setting::default() }))
    );
    assert_eq!(app.view.shown, View::Wormhole);
    assert_eq!(typed(&mut app, ":wormhole film"), Some(Ask::Lay(Setting::default())));
    assert_eq!(typed(&mut app, ":wormhole end"), Some(Ask::End));
    assert_eq!(typed(&mut app, ":wormhole hole"), None);
    assert_eq!(told(&app), "what may follow wormhole is film, all or end");
    let mut app = self::app(Some(Phase::Ended));
    assert_eq!(typed(&mut app, ":wormhole end"), None);
    assert_eq!(typed(&mut app, ":wormhole"), None);
}

#[test]
fn a_screen_that_only_watches_asks_for_nothing_and_looks_around() {
    for phase in phases() {
        let mut app = app(phase.clone());
        app.options = Options { read_only: true, ..Options::default() };
        for code in " sSbrn[]g+-o".chars().map(KeyCode::Char).chain([KeyCode::Enter]) {
            assert_eq!(asked(&mut app, code), None);
            assert!(told(&app).contains("read-only"), "{phase:?} {code:?}");
        }
        for line in [":wormhole all", ":wormhole end"] {
            assert_eq!(typed(&mut app, line), None);
        }
    }
    let mut app = app(Some(Phase::Paused));
    app.options = Options { read_only: true, ..Options::default() };
    press(&mut app, KeyCode::Left);
    assert_eq!(step(&app), 3);
}

#[test]
fn tab_gives_the_plane_that_travels_all_the_room() {
    let mut app = app(Some(Phase::Paused));
    let focus = app.view.focus;
    press(&mut app, KeyCode::Tab);
    assert!(app.view.wormhole.alone && app.view.focus == focus);
    press(&mut app, KeyCode::Esc);
    assert!(!app.view.wormhole.alone);
}

#[test]
fn the_answer_to_a_key_goes_once_the_experiment_is_another() {
    let mut app = app(None);
    press(&mut app, KeyCode::Enter);
    assert!(matches!(app.view.hint, Some(Hint::Asked(_))));
    hear(&mut app, fixture::wormhole(Phase::Laying, 0));
    assert_eq!(app.view.hint, None);
}
