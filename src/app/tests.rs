use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::*;
use crate::protocol::{
    BatchInfo, LogLevel, LogLine, OptimizerKind, PlaneInfo, PlaneKind, Point, Prediction, Sharpness, Slice,
    Stage, Status, Update, VERSION,
};

/// A screen with a fake engine at its other end, which stands in this phase.
fn app(phase: Phase) -> App {
    let themes = vec!["dark".into(), "light".into()];
    let mut app = App::new(Options { themes, ..Options::default() });
    hear(&mut app, ToScreen::Welcome { version: VERSION });
    update(&mut app, Update { status: Some(status(phase)), ..Update::default() });
    app
}

fn status(phase: Phase) -> Status {
    Status {
        phase,
        step: 7,
        loss: None,
        held_out: None,
        grad_norm: None,
        clip: 1.0,
        learning_rate: 1e-2,
        optimizer: OptimizerKind::AdamW,
        tokens_per_second: None,
        seconds: 3.0,
        viewers: 1,
        drift: None,
        slicing: false,
        plane: PlaneKind::Random,
        back: None,
        checkpoints: Vec::new(),
    }
}

fn slice(side: usize) -> Slice {
    let axis: Vec<f64> = (0..side).map(|i| 2.0 * i as f64 / (side - 1) as f64 - 1.0).collect();
    Slice {
        step: 7,
        generation: 1,
        loss: vec![1.0; side * side],
        alphas: axis.clone(),
        betas: axis,
        center: 1.0,
        finest: true,
        plane: PlaneInfo {
            kind: "random".into(),
            normalization: "filter".into(),
            seeds: [11, 111],
            tensors: 1,
            parameters: 1,
            cosine: 0.0,
            norms: [1.0; 2],
            ..PlaneInfo::default()
        },
        batch: BatchInfo { tokens: 1, sha256: String::new(), source: "held-out".into() },
        seconds: 0.0,
        method: String::new(),
        sharpness: None,
    }
}

fn hear(app: &mut App, said: ToScreen) -> Vec<Effect> {
    app.update(Message::Engine(said))
}

fn update(app: &mut App, update: Update) {
    assert_eq!(hear(app, ToScreen::Update(Box::new(update))), []);
}

fn press(app: &mut App, code: KeyCode) -> Vec<Effect> {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn control_c(app: &mut App) -> Vec<Effect> {
    app.update(Message::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)))
}

fn point(app: &mut App, gesture: Gesture, pane: Pane, place: Option<[f64; 2]>) -> Vec<Effect> {
    app.update(Message::Mouse(Pointed { gesture, pane: Spot::Pane(pane), place }))
}

fn log(messages: &[&str]) -> Vec<LogLine> {
    let line =
        |message: &&str| LogLine { milliseconds: 0, level: LogLevel::Info, message: (*message).to_owned() };
    messages.iter().map(line).collect()
}

/// Types a command and runs it.
fn command(app: &mut App, line: &str) -> Vec<Effect> {
    keys(app, ":");
    keys(app, line);
    press(app, KeyCode::Enter)
}

/// Presses each character in turn; what the last one does comes back.
fn keys(app: &mut App, keys: &str) -> Vec<Effect> {
    keys.chars().map(|key| press(app, KeyCode::Char(key))).last().unwrap_or_default()
}

fn send(command: Command) -> Vec<Effect> {
    vec![Effect::Send(command)]
}

#[test]
fn each_command_key_sends_its_command() {
    let expected = [
        (" ", Command::Pause),
        ("s", Command::Step(1)),
        (".", Command::Step(1)),
        ("S", Command::Step(10)),
        ("r", Command::RedrawSlice),
        ("n", Command::NewPlane),
        ("d", Command::SetPlane(PlaneKind::Gradient)),
        ("[", Command::Zoom(1.0 / 1.5)),
        ("]", Command::Zoom(1.5)),
        ("+", Command::ScaleLearningRate(1.25)),
        ("-", Command::ScaleLearningRate(0.8)),
        ("o", Command::SetOptimizer(OptimizerKind::Adam)),
        ("W", Command::Save),
    ];
    for (key, command) in expected {
        assert_eq!(keys(&mut app(Phase::Running), key), send(command), "{key}");
    }
}

#[test]
fn space_runs_what_is_paused() {
    assert_eq!(keys(&mut app(Phase::Paused), " "), send(Command::Run));
}

#[test]
fn the_grid_goes_round_from_the_one_on_show() {
    let mut app = app(Phase::Paused);
    update(&mut app, Update { slice: Some(slice(33)), ..Update::default() });
    assert_eq!(keys(&mut app, "g"), send(Command::Grid(65)));
    assert_eq!(keys(&mut app, "g"), send(Command::Grid(17)));
    assert_eq!(keys(&mut app, "g"), send(Command::Grid(33)));
}

#[test]
fn a_read_only_screen_sends_nothing_and_leaves_without_asking() {
    let mut app = app(Phase::Running);
    app.options.read_only = true;
    for key in [" ", "s", "S", "r", "n", "[", "]", "g", "+", "-", "o", "W", "p"] {
        assert_eq!(keys(&mut app, key), []);
        assert_eq!(
            app.view.hint,
            Some(Hint::Refused("this screen is read-only: it watches".into())),
            "{key}"
        );
    }
    assert_eq!(keys(&mut app, "c"), []);
    assert_eq!((app.view.landscape.map, app.view.hint.as_ref()), (1, None));
    assert_eq!(keys(&mut app, "q"), [Effect::Leave(Leave::Detach)]);
}

#[test]
fn an_engine_that_has_not_spoken_takes_no_commands() {
    let mut app = App::new(Options::default());
    assert_eq!(keys(&mut app, "s"), []);
    assert_eq!(app.view.hint, Some(Hint::Refused("the engine is still starting".into())));
}

#[test]
fn updates_replace_what_they_carry_and_leave_the_rest() {
    let mut app = app(Phase::Running);
    let point =
        |step| Point { step, loss: 1.0, held_out: None, grad_norm: 1.0, learning_rate: 1.0, spike: false };
    update(&mut app, Update { slice: Some(slice(9)), points: vec![point(1), point(2)], ..Update::default() });
    update(&mut app, Update { points: vec![point(3)], ..Update::default() });
    let steps: Vec<u64> = app.engine.history.points().iter().map(|point| point.step).collect();
    assert_eq!(steps, [1, 2, 3]);
    assert!(app.engine.slice.is_some() && app.engine.status.is_some());
    let mut history = crate::protocol::History::default();
    history.push(point(9));
    update(&mut app, Update { history: Some(history), points: vec![point(10)], ..Update::default() });
    assert_eq!(app.engine.history.points().len(), 2);
}

#[test]
fn what_goes_wrong_in_the_engine_is_seen_without_the_log() {
    let mut app = app(Phase::Paused);
    let line = |level, message: &str| LogLine { milliseconds: 0, level, message: message.into() };
    let failed = line(LogLevel::Error, "checkpoint-7 is not saved: no space left");
    keys(&mut app, "qs");
    assert_eq!(app.link, Link::Stopping);
    let log = vec![failed, line(LogLevel::Info, "held-out loss 2.0")];
    update(&mut app, Update { log, ..Update::default() });
    assert_eq!(app.view.hint, Some(Hint::Warning("checkpoint-7 is not saved: no space left".into())));
    assert_eq!(app.link, Link::Live, "the engine goes on: its work is not saved");
    assert_eq!(keys(&mut app, "W"), send(Command::Save));
}

#[test]
fn one_goes_back_only_where_a_state_is_kept() {
    let mut app = app(Phase::Paused);
    assert_eq!(keys(&mut app, "b"), []);
    assert!(matches!(app.view.hint, Some(Hint::Refused(_))));
    update(
        &mut app,
        Update { status: Some(Status { back: Some(4), ..status(Phase::Paused) }), ..Update::default() },
    );
    assert_eq!(keys(&mut app, "b"), send(Command::Back));
    assert_eq!(app.view.hint, Some(Hint::Asked("back to step 4".into())));
    update(
        &mut app,
        Update { status: Some(Status { back: Some(7), ..status(Phase::Paused) }), ..Update::default() },
    );
    assert_eq!(keys(&mut app, "b"), send(Command::Back));
    assert_eq!(app.view.hint, Some(Hint::Asked("back to before the move".into())));
}

#[test]
fn the_engine_answers_a_request_with_its_next_log_line() {
    let mut app = app(Phase::Running);
    keys(&mut app, "W");
    assert_eq!(app.view.hint, Some(Hint::Asked("saving a checkpoint".into())));
    let line = LogLine { milliseconds: 0, level: LogLevel::Info, message: "checkpoint-7 saved".into() };
    update(&mut app, Update { log: vec![line.clone()], ..Update::default() });
    assert_eq!(app.view.hint, Some(Hint::Answer("checkpoint-7 saved".into())));
    keys(&mut app, "c");
    update(&mut app, Update { log: vec![line], ..Update::default() });
    assert_eq!(app.view.hint, None);
}

#[test]
fn quitting_asks_and_each_answer_does_what_it_says() {
    let mut asked = app(Phase::Running);
    assert_eq!(keys(&mut asked, "q"), []);
    assert_eq!(asked.view.modal, Some(Modal::Leave));
    assert_eq!(keys(&mut asked, "n"), []);
    assert_eq!(press(&mut asked, KeyCode::Esc), []);
    assert_eq!(asked.view.modal, None);
    assert_eq!(keys(&mut asked, "qd"), [Effect::Leave(Leave::Detach)]);
    let mut asked = app(Phase::Running);
    keys(&mut asked, "q");
    assert_eq!(press(&mut asked, KeyCode::Enter), [Effect::Leave(Leave::Detach)]);
}

#[test]
fn a_second_control_c_leaves_at_once() {
    let mut app = app(Phase::Running);
    assert_eq!(control_c(&mut app), []);
    assert_eq!(control_c(&mut app), [Effect::Leave(Leave::Detach)]);
}

#[test]
fn control_z_and_its_command_suspend_the_screen_while_training_or_after_it() {
    for phase in [Phase::Running, Phase::Paused, Phase::Finished] {
        let mut app = app(phase);
        let key = KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL);
        assert_eq!(app.update(Message::Key(key)), [Effect::Suspend]);
        assert_eq!(command(&mut app, "suspend"), [Effect::Suspend]);
        assert!(!app.view.zoomed, "it is another key than z");
    }
}

#[test]
fn control_c_asks_from_whatever_lies_over_the_screen() {
    for key in ["?", "p", ":", "/", "e"] {
        let mut app = app(Phase::Running);
        keys(&mut app, key);
        assert_eq!(control_c(&mut app), []);
        assert_eq!(app.view.modal, Some(Modal::Leave));
    }
    let mut app = with_slice(Phase::Running);
    keys(&mut app, "l");
    press(&mut app, KeyCode::Enter);
    assert_eq!(control_c(&mut app), []);
    assert_eq!(app.view.modal, Some(Modal::Leave));
}

#[test]
fn save_and_stop_waits_for_the_engine_to_end() {
    let mut app = app(Phase::Running);
    assert_eq!(keys(&mut app, "qs"), send(Command::SaveAndStop));
    assert_eq!(keys(&mut app, "s"), []);
    let outcome = Outcome::Stopped { step: 7, checkpoint: Some("checkpoint-7".into()) };
    assert_eq!(hear(&mut app, ToScreen::Closed(outcome.clone())), [Effect::Leave(Leave::Closed(outcome))]);
}

#[test]
fn an_engine_that_ends_by_itself_leaves_its_picture_until_q() {
    let mut app = app(Phase::Running);
    let outcome = Outcome::Stopped { step: 9, checkpoint: None };
    assert_eq!(hear(&mut app, ToScreen::Closed(outcome.clone())), []);
    assert_eq!(app.update(Message::Lost("end of file".into())), []);
    assert_eq!(keys(&mut app, "s"), []);
    assert_eq!(keys(&mut app, "q"), [Effect::Leave(Leave::Closed(outcome))]);
}

#[test]
fn an_engine_that_fails_closes_the_screen() {
    let outcome = Outcome::Failed { error: "step 8: the loss is not finite".into() };
    let left = hear(&mut app(Phase::Running), ToScreen::Closed(outcome.clone()));
    assert_eq!(left, [Effect::Leave(Leave::Closed(outcome))]);
}

#[test]
fn a_broken_or_refused_connection_closes_the_screen() {
    let lost = |why: &str| vec![Effect::Leave(Leave::Lost(why.into()))];
    assert_eq!(app(Phase::Running).update(Message::Lost("broken pipe".into())), lost("broken pipe"));
    let refused = ToScreen::Refused { reason: "version 2".into() };
    assert_eq!(hear(&mut App::new(Options::default()), refused), lost("version 2"));
}

#[test]
fn a_finished_run_is_left_without_asking() {
    assert_eq!(keys(&mut app(Phase::Finished), "q"), [Effect::Leave(Leave::Detach)]);
    assert_eq!(keys(&mut app(Phase::Running), "D"), [Effect::Leave(Leave::Detach)]);
}

#[test]
fn a_prompt_is_edited_and_sent() {
    let mut app =
        app(Phase::Preparing(vec![Stage { name: "corpus".into(), detail: String::new(), progress: 0.5 }]));
    assert_eq!(keys(&mut app, "pquit? 7"), []);
    assert_eq!(press(&mut app, KeyCode::Enter), send(Command::SetPrompt("quit? 7".into())));
    assert_eq!(app.view.modal, None);
}

#[test]
fn an_empty_prompt_is_refused_with_a_hint() {
    let mut app = app(Phase::Paused);
    keys(&mut app, "p  ");
    assert_eq!(press(&mut app, KeyCode::Enter), []);
    assert!(matches!(app.view.hint, Some(Hint::Refused(_))) && app.view.modal.is_some());
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.view.modal, None);
}

#[test]
fn only_presses_act_and_only_some_keys_repeat() {
    let mut app = app(Phase::Running);
    let event = |key, kind| KeyEvent::new_with_kind(KeyCode::Char(key), KeyModifiers::NONE, kind);
    assert_eq!(app.update(Message::Key(event('s', KeyEventKind::Release))), []);
    assert_eq!(app.update(Message::Key(event('s', KeyEventKind::Repeat))), send(Command::Step(1)));
    assert_eq!(app.update(Message::Key(event('W', KeyEventKind::Repeat))), []);
}

#[test]
fn themes_go_round_and_the_loop_is_told() {
    let mut app = app(Phase::Running);
    assert_eq!(keys(&mut app, "T"), [Effect::UseTheme("light".into())]);
    assert_eq!(keys(&mut app, "T"), [Effect::UseTheme("dark".into())]);
}

#[test]
fn the_cursor_moves_by_samples_and_stays_inside() {
    let mut app = app(Phase::Paused);
    press(&mut app, KeyCode::Right);
    assert_eq!(app.view.landscape.chosen, None);
    update(&mut app, Update { slice: Some(slice(5)), ..Update::default() });
    keys(&mut app, "lk");
    assert_eq!(app.view.landscape.chosen, Some(Chosen { alpha: 0.5, beta: 0.5 }));
    keys(&mut app, "llllj");
    assert_eq!(app.view.landscape.chosen, Some(Chosen { alpha: 1.0, beta: 0.0 }));
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.view.landscape.chosen, None);
}

/// A screen that shows a slice of 5 points a side.
fn with_slice(phase: Phase) -> App {
    let mut app = app(phase);
    update(&mut app, Update { slice: Some(slice(5)), ..Update::default() });
    app
}

#[test]
fn the_model_under_the_cursor_is_asked_wherever_it_goes_until_there_is_none() {
    let mut app = with_slice(Phase::Running);
    assert_eq!(press(&mut app, KeyCode::Esc), []);
    assert_eq!(press(&mut app, KeyCode::Right), send(Command::LookAt(Some([0.5, 0.0]))));
    assert!(app.view.hint.as_ref().is_some_and(|hint| hint.text().starts_with("enter moves")));
    assert_eq!(keys(&mut app, "l"), send(Command::LookAt(Some([1.0, 0.0]))));
    assert_eq!(keys(&mut app, "l"), [], "it is at the border");
    assert_eq!(press(&mut app, KeyCode::Esc), send(Command::LookAt(None)));
    assert_eq!(press(&mut app, KeyCode::Esc), []);
}

#[test]
fn a_screen_without_a_cursor_can_end_the_look_of_another() {
    let mut app = with_slice(Phase::Paused);
    let prediction = Prediction {
        step: 7,
        at: Some([0.5, 0.0]),
        prompt: String::new(),
        tokens: Vec::new(),
        probability: 0.5,
        previous_probability: None,
        rank: 1,
        previous_rank: None,
        loss: 1.0,
        entropy: 1.0,
        candidates: Vec::new(),
        written: None,
    };
    update(&mut app, Update { prediction: Some(prediction), ..Update::default() });
    assert_eq!(press(&mut app, KeyCode::Esc), send(Command::LookAt(None)));
}

#[test]
fn the_cursor_of_a_read_only_screen_leaves_the_bars_of_the_others_alone() {
    let mut app = with_slice(Phase::Paused);
    app.options.read_only = true;
    assert_eq!(press(&mut app, KeyCode::Right), []);
    assert_eq!(app.view.landscape.chosen, Some(Chosen { alpha: 0.5, beta: 0.0 }));
    assert_eq!(app.view.hint, Some(Hint::Refused("this screen is read-only: the bars do not follow".into())));
    assert_eq!(press(&mut app, KeyCode::Enter), []);
    assert_eq!(app.view.hint, Some(Hint::Refused("this screen is read-only: it watches".into())));
    assert_eq!(app.view.modal, None);
    assert_eq!(press(&mut app, KeyCode::Esc), []);
}

#[test]
fn the_training_moves_to_the_cursor_once_that_is_confirmed() {
    let mut app = with_slice(Phase::Paused);
    press(&mut app, KeyCode::Up);
    // A key that is held down is no confirmation.
    for _ in 0..2 {
        assert_eq!(press(&mut app, KeyCode::Enter), []);
        assert_eq!(app.view.modal, Some(Modal::Move));
    }
    let slice = app.engine.slice.as_ref().map(|slice| (slice.step, slice.generation)).unwrap();
    assert_eq!(press(&mut app, KeyCode::Char('y')), send(Command::MoveTo { place: [0.0, 0.5], slice }));
    assert_eq!((&app.view.modal, app.view.landscape.chosen), (&None, None));
    assert_eq!(app.view.hint, Some(Hint::Asked("moving the training there".into())));
}

#[test]
fn a_move_that_is_not_confirmed_leaves_the_cursor_where_it_is() {
    let mut app = with_slice(Phase::Paused);
    keys(&mut app, "l");
    press(&mut app, KeyCode::Enter);
    assert_eq!(keys(&mut app, "s"), []);
    assert_eq!(app.view.modal, Some(Modal::Move));
    assert_eq!(press(&mut app, KeyCode::Esc), []);
    assert_eq!(app.view.modal, None);
    assert_eq!(app.view.landscape.chosen, Some(Chosen { alpha: 0.5, beta: 0.0 }));
}

#[test]
fn there_is_no_move_without_a_cursor_on_the_focused_landscape() {
    let mut app = with_slice(Phase::Paused);
    let refused = Some(Hint::Refused("arrows or hjkl choose a place on the landscape first".into()));
    assert_eq!((press(&mut app, KeyCode::Enter), &app.view.hint), (vec![], &refused));
    keys(&mut app, "l");
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Tab);
    assert_eq!((press(&mut app, KeyCode::Enter), &app.view.hint), (vec![], &refused));
    assert_eq!(app.view.modal, None);
}

#[test]
fn the_focus_goes_round_and_decides_what_l_means() {
    let mut app = app(Phase::Paused);
    keys(&mut app, "L");
    assert_eq!((app.view.landscape.stretch, app.view.log_charts), (Stretch::Linear, false));
    press(&mut app, KeyCode::Tab);
    keys(&mut app, "L");
    assert_eq!((app.view.focus, app.view.log_charts), (Pane::Loss, true));
    press(&mut app, KeyCode::BackTab);
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.view.focus, Pane::Log);
}

#[test]
fn the_sharpness_stays_until_a_slice_brings_another() {
    let mut app = App::new(Options::default());
    let mut hear_slice = |sharpness| {
        let slice = Slice { sharpness, ..slice(9) };
        hear(&mut app, ToScreen::Update(Box::new(Update { slice: Some(slice), ..Update::default() })));
        app.engine.sharpness
    };
    let first = Some(Sharpness { critical: 30.0, edge: 200.0 });
    assert_eq!(hear_slice(None), None);
    assert_eq!(hear_slice(first), first);
    assert_eq!(hear_slice(None), first);
}

#[test]
fn a_command_is_typed_run_and_remembered() {
    let mut app = app(Phase::Paused);
    assert_eq!(command(&mut app, "sav"), send(Command::Save));
    assert_eq!((&app.view.modal, app.view.history.as_slice()), (&None, &["save".to_owned()][..]));
    keys(&mut app, ":");
    press(&mut app, KeyCode::Up);
    assert_eq!(press(&mut app, KeyCode::Enter), send(Command::Save));
    command(&mut app, "help");
    assert_eq!(app.view.modal, Some(Modal::Help { scroll: 0 }));
}

#[test]
fn some_commands_take_more_than_a_name() {
    let mut app = app(Phase::Paused);
    assert_eq!(command(&mut app, "step 12"), send(Command::Step(12)));
    assert_eq!(command(&mut app, "step 1"), send(Command::Step(1)));
    assert_eq!(command(&mut app, "prompt two  words"), send(Command::SetPrompt("two  words".into())));
    for line in ["step 0", "step -1", "step ten"] {
        assert_eq!(command(&mut app, line), []);
        assert!(matches!(app.view.hint, Some(Hint::Refused(_))), "{line}");
    }
    assert_eq!(command(&mut app, "prompt"), []);
    assert!(matches!(app.view.modal, Some(Modal::Prompt(_))));
}

#[test]
fn a_command_that_is_not_there_stays_on_the_line() {
    let mut app = app(Phase::Paused);
    assert_eq!(command(&mut app, "setp"), []);
    let hint = Hint::Refused("there is no such command; the nearest is step".into());
    assert_eq!(app.view.hint, Some(hint));
    assert!(matches!(app.view.modal, Some(Modal::Commands(_))));
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.view.modal, None);
}

#[test]
fn what_a_screen_may_not_do_by_key_it_may_not_do_by_name() {
    let mut app = app(Phase::Paused);
    app.options.read_only = true;
    for line in ["save", "step 3", "prompt a b"] {
        assert_eq!(command(&mut app, line), []);
        assert_eq!(
            app.view.hint,
            Some(Hint::Refused("this screen is read-only: it watches".into())),
            "{line}"
        );
    }
}

#[test]
fn the_log_is_searched_and_the_focus_comes_back() {
    let mut app = app(Phase::Paused);
    update(&mut app, Update { log: log(&["Spike at 3", "saved", "a spike at 9"]), ..Update::default() });
    let gone_to = |app: &App| {
        let Some(Modal::Search(search)) = &app.view.modal else { return String::new() };
        let found = app.recent.holding(&search.editor.text());
        found[search.place(&found)].1.message.clone()
    };
    keys(&mut app, "/spike");
    assert_eq!((app.view.focus, gone_to(&app).as_str()), (Pane::Log, "a spike at 9"));
    press(&mut app, KeyCode::Enter);
    assert_eq!((gone_to(&app).as_str(), app.view.hint.as_ref()), ("Spike at 3", None));
    press(&mut app, KeyCode::Enter);
    assert_eq!(gone_to(&app), "Spike at 3");
    assert_eq!(app.view.hint, Some(Hint::Refused("no older line has it".into())));
    press(&mut app, KeyCode::Down);
    assert_eq!(gone_to(&app), "a spike at 9");
    press(&mut app, KeyCode::Esc);
    assert_eq!((app.view.focus, &app.view.modal), (Pane::Landscape, &None));
}

#[test]
fn there_is_nothing_to_search_before_the_log_is_on_show() {
    let mut app = app(Phase::Preparing(Vec::new()));
    keys(&mut app, "/");
    assert_eq!(app.view.modal, None);
    assert!(matches!(app.view.hint, Some(Hint::Refused(_))));
}

#[test]
fn a_click_focuses_a_pane_and_moves_the_cursor_on_the_map() {
    let mut app = app(Phase::Paused);
    point(&mut app, Gesture::Click, Pane::Landscape, Some([0.7, 0.1]));
    assert_eq!(app.view.landscape.chosen, None, "there is no slice yet");
    update(&mut app, Update { slice: Some(slice(5)), ..Update::default() });
    point(&mut app, Gesture::Click, Pane::Loss, None);
    assert_eq!((app.view.focus, app.view.landscape.chosen), (Pane::Loss, None));
    point(&mut app, Gesture::Click, Pane::Landscape, Some([0.7, 0.1]));
    let chosen = Some(Chosen { alpha: 0.5, beta: -1.0 });
    assert_eq!((app.view.focus, app.view.landscape.chosen), (Pane::Landscape, chosen));
}

#[test]
fn the_wheel_zooms_over_the_map_alone() {
    let mut app = app(Phase::Paused);
    let place = Some([0.5, 0.5]);
    assert_eq!(point(&mut app, Gesture::WheelUp, Pane::Landscape, place), send(Command::Zoom(1.0 / 1.5)));
    assert_eq!(point(&mut app, Gesture::WheelDown, Pane::Landscape, place), send(Command::Zoom(1.5)));
    for pane in Pane::ALL {
        assert_eq!(point(&mut app, Gesture::WheelUp, pane, None), []);
    }
}

#[test]
fn the_mouse_does_nothing_to_what_lies_below() {
    let mut app = app(Phase::Paused);
    keys(&mut app, "?");
    assert_eq!(point(&mut app, Gesture::WheelUp, Pane::Landscape, Some([0.5, 0.5])), []);
    point(&mut app, Gesture::Click, Pane::Loss, None);
    assert_eq!(app.view.focus, Pane::Landscape);
}
