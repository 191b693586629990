use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::app::{Message, Options, View};
use crate::protocol::{LogLevel, LogLine, ToScreen, Update};
use crate::ui::fixture;

fn app() -> App {
    let mut app = App::new(Options { tour: Some(Tour::at(1, false)), ..Options::default() });
    app.update(Message::Engine(ToScreen::Welcome { version: crate::protocol::VERSION }));
    set_phase(&mut app, Phase::Paused);
    app
}

fn set_phase(app: &mut App, phase: Phase) {
    let status = Some(crate::protocol::Status { phase, ..fixture::status() });
    let update = Update { status, ..Update::default() };
    app.update(Message::Engine(ToScreen::Update(Box::new(update))));
}

fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

#[test]
fn every_chapter_does_something_and_says_it_shortly() {
    for chapter in CHAPTERS {
        let acts = |deed: &Deed| !matches!(deed, Deed::Show(_) | Deed::Focus(_) | Deed::Pause);
        assert!(chapter.beats.iter().any(|beat| beat.deeds.iter().any(acts)), "{}", chapter.title);
        for text in chapter.beats.iter().flat_map(|beat| [Some(beat.text), beat.knowing]).flatten() {
            let sentences: Vec<&str> = text.split_inclusive(['.', '?']).collect();
            assert!((2..=5).contains(&sentences.len()), "{text}");
            assert!(sentences.iter().all(|sentence| sentence.split(' ').count() <= 34), "{text}");
            // Four lines on a screen of 80 columns.
            assert!(text.len() <= 4 * 70, "{} {text}", text.len());
        }
    }
    assert!((8..=10).contains(&CHAPTERS.len()));
}

#[test]
fn space_goes_through_all_of_it_and_each_chapter_asks_something_of_the_live_model() {
    let mut app = app();
    let mut asked = vec![0; CHAPTERS.len()];
    for _ in 0..100 {
        let effects = press(&mut app, KeyCode::Char(' '));
        asked[app.tour.unwrap().number() - 1] += effects.len();
    }
    assert!(app.tour.unwrap().is_at_the_end());
    assert!(asked.iter().all(|asked| *asked > 0), "{asked:?}");
}

#[test]
fn enter_goes_on_where_it_has_nothing_else_to_do() {
    let mut app = app();
    let page = |app: &App| app.tour.map(|tour| (tour.number(), tour.text()));
    let first = page(&app);
    assert_eq!(press(&mut app, KeyCode::Enter), [Effect::Send(Command::Step(60))]);
    let second = page(&app);
    assert!(second != first && app.view.hint.is_none(), "{:?}", app.view.hint);
    app.engine.slice = Some(fixture::slice(9, |_, _| 1.0));
    app.view.focus = crate::app::Pane::Landscape;
    press(&mut app, KeyCode::Right);
    press(&mut app, KeyCode::Enter);
    assert_eq!((app.view.modal.take(), page(&app)), (Some(Modal::Move), second), "it moves the training");
    app.view.shown = View::Layers;
    assert_eq!((press(&mut app, KeyCode::Enter), page(&app)), (Vec::new(), second), "it folds a layer");
}

#[test]
fn a_tour_that_is_put_away_leaves_the_keys_alone_and_is_taken_up_where_it_was() {
    let mut app = app();
    press(&mut app, KeyCode::Char(' '));
    press(&mut app, KeyCode::Char('t'));
    assert!(!app.is_touring());
    let told = app.tour.unwrap();
    let effects = press(&mut app, KeyCode::Char(' '));
    assert!(matches!(effects[..], [Effect::Send(Command::Run | Command::Pause)]), "{effects:?}");
    press(&mut app, KeyCode::Char('t'));
    assert_eq!(app.tour.unwrap(), Tour { shown: true, ..told });
}

#[test]
fn back_undoes_nothing_and_a_chapter_is_begun_by_its_number() {
    let mut app = app();
    press(&mut app, KeyCode::Char(' '));
    assert_eq!(press(&mut app, KeyCode::Backspace), []);
    assert_eq!(press(&mut app, KeyCode::Backspace), [], "it begins here");
    for key in ":tour 6".chars() {
        press(&mut app, KeyCode::Char(key));
    }
    let effects = press(&mut app, KeyCode::Enter);
    assert_eq!(effects, [Effect::Send(Command::Step(200))]);
    assert_eq!((app.view.shown, app.tour.unwrap().number()), (View::Timeline, 6));
}

#[test]
fn steps_that_are_still_taken_are_watched_unless_a_person_insists() {
    let mut app = app();
    let page = |app: &App| app.tour.map(|tour| (tour.number(), tour.text()));
    press(&mut app, KeyCode::Char(' '));
    set_phase(&mut app, Phase::Running);
    let told = page(&app);
    assert_eq!(press(&mut app, KeyCode::Char(' ')), []);
    assert_eq!(page(&app), told);
    let answer = app.view.hint.clone();
    assert!(answer.as_ref().is_some_and(|hint| hint.text().starts_with("still training")), "{answer:?}");
    let message = "step 150: held-out loss 1.851".to_owned();
    let log = vec![LogLine { milliseconds: 0, level: LogLevel::Info, message }];
    app.update(Message::Engine(ToScreen::Update(Box::new(Update { log, ..Update::default() }))));
    assert_eq!(app.view.hint, answer, "what the engine does anyway is no answer");
    assert!(!press(&mut app, KeyCode::Char(' ')).is_empty());
    assert!(page(&app) != told);
    press(&mut app, KeyCode::Char(' '));
    set_phase(&mut app, Phase::Paused);
    assert_eq!(app.view.hint, None, "it is no longer so");
}

#[test]
fn what_a_tour_has_not_is_refused_with_what_has_it() {
    let mut app = app();
    let cases = [('W', "`llamascape train`"), ('D', "q leaves"), ('4', "`llamascape compare A B`")];
    for (key, instead) in cases {
        assert_eq!(press(&mut app, KeyCode::Char(key)), [], "{key}");
        let Some(Hint::Refused(why)) = &app.view.hint else { panic!("{key}: {:?}", app.view.hint) };
        assert!(why.contains(instead), "{why}");
    }
    let mut run = App::new(Options::default());
    assert_eq!(press(&mut run, KeyCode::Char('D')), [Effect::Leave(Leave::Detach)]);
}

#[test]
fn enter_jumps_to_the_cursor_of_the_wormhole_and_the_page_goes_along() {
    let mut app = app();
    app.toggle_tour(Some(8));
    let update = fixture::wormhole(wormhole::Phase::Choosing, 0);
    app.update(Message::Engine(ToScreen::Update(Box::new(update))));
    assert!(app.move_goes_on());
    let first = app.tour.map(|tour| tour.text());
    let jumped = press(&mut app, KeyCode::Enter);
    assert!(matches!(jumped[..], [Effect::Send(Command::Wormhole(wormhole::Ask::Jump(_)))]), "{jumped:?}");
    let now = app.tour.map(|tour| (tour.number(), tour.text()));
    assert!(now.is_some_and(|(number, text)| number == 8 && Some(text) != first), "{now:?}");
}

#[test]
fn a_tour_that_begins_with_the_film_compares_with_the_first_slice_that_comes() {
    let mut app = app();
    app.toggle_tour(Some(6));
    for slice in fixture::film(3) {
        app.engine.timeline.push(slice);
    }
    assert_eq!(app.view.timeline.compared(&app.engine.timeline), Some(0));
}

#[test]
fn a_tour_that_begins_at_a_chapter_does_what_that_does_once_the_model_is_there() {
    let mut app = App::new(Options { tour: Some(Tour::at(6, false)), ..Options::default() });
    app.update(Message::Engine(ToScreen::Welcome { version: crate::protocol::VERSION }));
    set_phase(&mut app, Phase::Preparing(Vec::new()));
    assert_eq!(app.view.shown, View::Observatory);
    let status = Some(crate::protocol::Status { phase: Phase::Paused, ..fixture::status() });
    let update = || {
        Message::Engine(ToScreen::Update(Box::new(Update { status: status.clone(), ..Update::default() })))
    };
    assert_eq!(app.update(update()), [Effect::Send(Command::Step(200))]);
    assert_eq!(app.update(update()), [], "once");
    assert_eq!(app.view.shown, View::Timeline);
}

#[test]
fn other_runs_have_no_tour() {
    let mut app = App::new(Options::default());
    assert_eq!(press(&mut app, KeyCode::Char('t')), []);
    assert!(matches!(app.view.hint, Some(Hint::Refused(_))), "{:?}", app.view.hint);
}
