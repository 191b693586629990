use std::sync::Arc;

use super::*;
use crate::app::{Gesture, Key, Stretch, Viewpoint};
use crate::protocol::comparison::{Between, Note, PlaneChoice, Sample, SideView};
use crate::protocol::{BatchInfo, PlaneInfo};

fn slice(side: usize) -> Slice {
    let axis: Vec<f64> = (0..side).map(|i| 2.0 * i as f64 / (side - 1) as f64 - 1.0).collect();
    Slice {
        step: 0,
        generation: 1,
        loss: vec![1.0; side * side],
        alphas: axis.clone(),
        betas: axis,
        center: 1.0,
        finest: true,
        plane: PlaneInfo::default(),
        batch: BatchInfo { tokens: 5, sha256: String::new(), source: "prompt".into() },
        seconds: 0.0,
        method: String::new(),
        sharpness: None,
    }
}

/// Two models that are there, B with a chat template.
fn scene() -> Scene {
    let side = |name: &str, template| SideView {
        name: name.into(),
        template,
        slice: Some(Arc::new(slice(5))),
        ..SideView::default()
    };
    Scene {
        phase: Phase::Live,
        same_shape: true,
        prompt: "The capital of France is Paris".into(),
        sides: [side("base", Template::Absent), side("chat", Template::Off)],
        between: Arc::new(Between { overlap: Some(9), ..Between::default() }),
        optimizer: Some(OptimizerKind::Adam),
        ..Scene::default()
    }
}

fn live(scene: Scene) -> Comparison {
    let mut app = Comparison::new(vec!["dark".into(), "light".into()], Bindings::default());
    assert_eq!(app.update(Message::Scene(Box::new(scene))), []);
    app
}

fn press(app: &mut Comparison, code: KeyCode) -> Vec<Effect> {
    app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

/// Presses each character in turn; what the last one does comes back.
fn keys(app: &mut Comparison, keys: &str) -> Vec<Effect> {
    keys.chars().map(|key| press(app, KeyCode::Char(key))).last().unwrap_or_default()
}

fn control_c(app: &mut Comparison) -> Vec<Effect> {
    app.update(Message::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)))
}

fn point(app: &mut Comparison, gesture: Gesture, pane: Pane, place: Option<[f64; 2]>) -> Vec<Effect> {
    app.update(Message::Mouse(Pointed { gesture, pane, place }))
}

/// Types a command and runs it.
fn command(app: &mut Comparison, line: &str) -> Vec<Effect> {
    keys(app, ":");
    keys(app, line);
    press(app, KeyCode::Enter)
}

fn ask(ask: Ask) -> Vec<Effect> {
    vec![Effect::Ask(ask)]
}

fn refused(app: &Comparison) -> &str {
    match &app.hint {
        Some(Hint::Refused(why)) => why,
        _ => "",
    }
}

#[test]
fn each_key_asks_what_it_says() {
    let expected = [
        ("s", Ask::Step(Sides::Both)),
        (".", Ask::Step(Sides::Both)),
        ("b", Ask::Back(Sides::Both)),
        ("+", Ask::ScaleLearningRate(1.25)),
        ("-", Ask::ScaleLearningRate(0.8)),
        ("o", Ask::SetOptimizer(OptimizerKind::Sgd)),
        ("P", Ask::ShowPlane(PlaneChoice::Shared)),
        ("n", Ask::NewPlane),
        ("[", Ask::Zoom(1.0 / 1.5)),
        ("]", Ask::Zoom(1.5)),
        ("g", Ask::Grid(17)),
        ("t", Ask::ToggleTemplate(Sides::Both)),
        ("G", Ask::Write(Sides::Both)),
    ];
    for (key, wanted) in expected {
        let mut app = live(scene());
        assert_eq!(keys(&mut app, key), ask(wanted), "{key}");
        assert!(matches!(app.hint, Some(Hint::Asked(_))), "{key}");
    }
    assert_eq!(keys(&mut live(scene()), "S"), vec![Effect::Ask(Ask::Step(Sides::Both)); 10]);
}

#[test]
fn tab_goes_from_both_to_one_and_the_other() {
    let mut app = live(scene());
    for sides in [Sides::One(Side::A), Sides::One(Side::B), Sides::Both] {
        assert_eq!(press(&mut app, KeyCode::Tab), []);
        assert_eq!(app.sides, sides);
        assert_eq!(keys(&mut app, "s"), ask(Ask::Step(sides)));
    }
}

#[test]
fn the_one_cursor_moves_by_samples_and_both_are_read_there() {
    let mut app = live(scene());
    assert_eq!(press(&mut app, KeyCode::Right), ask(Ask::LookAt(Some([0.5, 0.0]))));
    assert_eq!(keys(&mut app, "k"), ask(Ask::LookAt(Some([0.5, 0.5]))));
    keys(&mut app, "l");
    assert_eq!(keys(&mut app, "l"), [], "it is at the edge");
    assert_eq!(press(&mut app, KeyCode::Esc), ask(Ask::LookAt(None)));
    assert_eq!(app.landscape.chosen, None);
    assert_eq!(press(&mut app, KeyCode::Esc), []);
}

#[test]
fn the_cursor_goes_over_the_slice_of_b_where_a_has_none() {
    let mut scene = scene();
    scene.sides[0].slice = None;
    assert_eq!(keys(&mut live(scene.clone()), "l"), ask(Ask::LookAt(Some([0.5, 0.0]))));
    scene.sides[1].slice = None;
    assert_eq!(keys(&mut live(scene), "l"), []);
}

#[test]
fn escape_ends_what_is_written_before_it_takes_the_cursor() {
    let mut scene = scene();
    scene.sides[1].sample = Some(Sample::default());
    let mut app = live(scene);
    keys(&mut app, "l");
    assert_eq!(press(&mut app, KeyCode::Esc), ask(Ask::Hush));
    assert!(app.landscape.chosen.is_some());
}

#[test]
fn another_plane_takes_the_cursor_away() {
    for (key, wanted) in [("P", Ask::ShowPlane(PlaneChoice::Shared)), ("n", Ask::NewPlane)] {
        let mut app = live(scene());
        keys(&mut app, "l");
        assert_eq!(keys(&mut app, key), [Effect::Ask(Ask::LookAt(None)), Effect::Ask(wanted)]);
        assert_eq!(app.landscape.chosen, None);
    }
}

#[test]
fn a_cursor_that_stays_in_sight_stays() {
    let mut app = live(scene());
    keys(&mut app, "l");
    assert_eq!(keys(&mut app, "["), ask(Ask::Zoom(1.0 / 1.5)));
    assert_eq!(app.landscape.chosen, Some(Chosen { alpha: 0.5, beta: 0.0 }));
    keys(&mut app, "l");
    assert_eq!(keys(&mut app, "["), [Effect::Ask(Ask::LookAt(None)), Effect::Ask(Ask::Zoom(1.0 / 1.5))]);
    assert_eq!(app.landscape.chosen, None);
}

#[test]
fn models_of_two_shapes_have_no_plane_in_common() {
    let mut app = live(Scene { same_shape: false, ..scene() });
    assert_eq!(keys(&mut app, "P"), []);
    assert_eq!(refused(&app), "the models differ in shape: they share no plane");
}

#[test]
fn a_model_without_a_chat_template_says_so() {
    let mut app = live(scene());
    press(&mut app, KeyCode::Tab);
    assert_eq!(keys(&mut app, "t"), []);
    assert_eq!(refused(&app), "base has no chat template");
    press(&mut app, KeyCode::Tab);
    assert_eq!(keys(&mut app, "t"), ask(Ask::ToggleTemplate(Sides::One(Side::B))));
    assert_eq!(app.hint, Some(Hint::Asked("chat template: B on".into())));
}

#[test]
fn a_prompt_that_has_the_form_of_the_template_is_not_put_into_it() {
    let mut scene = scene();
    scene.sides[1].template = Template::Given;
    let mut app = live(scene.clone());
    assert_eq!(keys(&mut app, "t"), []);
    assert_eq!(refused(&app), "the prompt has the form of B's template already");
    scene.sides[0].template = Template::Off;
    let mut app = live(scene);
    assert_eq!(keys(&mut app, "t"), ask(Ask::ToggleTemplate(Sides::Both)));
    assert_eq!(app.hint, Some(Hint::Asked("chat template: A on".into())));
}

#[test]
fn losses_of_unlike_tokens_have_no_scale_in_common() {
    let mut app = live(Scene { between: Arc::default(), ..scene() });
    assert_eq!(keys(&mut app, "u"), []);
    assert_eq!(refused(&app), "the tokenizers differ: losses do not compare on one scale");
    assert!(app.one_scale, "it stays as it was");
}

#[test]
fn a_prompt_is_edited_and_asked() {
    let mut app = live(scene());
    keys(&mut app, "p, q");
    assert_eq!(
        press(&mut app, KeyCode::Enter),
        ask(Ask::SetPrompt("The capital of France is Paris, q".into()))
    );
    assert_eq!(app.modal, None);
    // What was refused can be mended, what was read is the prompt.
    keys(&mut app, "p!");
    assert_eq!(
        press(&mut app, KeyCode::Enter),
        ask(Ask::SetPrompt("The capital of France is Paris, q!".into()))
    );
    let prompt = "The capital of France is Paris, q!".to_owned();
    app.update(Message::Scene(Box::new(Scene { prompt, ..scene() })));
    app.scene.prompt.clear();
    keys(&mut app, "p ");
    assert_eq!(press(&mut app, KeyCode::Enter), []);
    assert!(refused(&app).starts_with("a prompt needs a text"));
}

#[test]
fn each_note_is_a_hint_once() {
    let noted = |number, warning| {
        let note = Note { number, text: "no memory for 33x33".into(), warning };
        Message::Scene(Box::new(Scene { note: Some(note), ..scene() }))
    };
    let mut app = live(scene());
    app.update(noted(1, false));
    assert_eq!(app.hint, Some(Hint::Answer("no memory for 33x33".into())));
    keys(&mut app, "c");
    app.update(noted(1, false));
    assert_eq!(app.hint, None);
    app.update(noted(2, true));
    assert_eq!(app.hint, Some(Hint::Warning("no memory for 33x33".into())));
}

#[test]
fn until_both_are_there_one_can_only_read_the_help_and_leave() {
    let mut app = Comparison::new(vec!["dark".into(), "light".into()], Bindings::default());
    for key in ["s", "P", "u", "c", "p", "G", "e"] {
        assert_eq!(keys(&mut app, key), []);
        assert_eq!(refused(&app), "the models are not there yet", "{key}");
    }
    assert_eq!(keys(&mut app, "T"), [Effect::UseTheme("light".into())]);
    keys(&mut app, "?");
    assert!(app.modal.is_some());
    assert_eq!(keys(&mut app, "q"), []);
    let control_z = KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL);
    assert_eq!(app.update(Message::Key(control_z)), [Effect::Suspend]);
    assert_eq!(keys(&mut app, "q"), [Effect::Leave]);
}

#[test]
fn control_c_leaves_from_anywhere() {
    for key in ["", "p", "?", ":", "e"] {
        let mut app = live(scene());
        keys(&mut app, key);
        assert_eq!(control_c(&mut app), [Effect::Leave], "{key}");
    }
}

#[test]
fn the_picture_is_the_persons_own_matter() {
    let mut app = live(scene());
    for key in ["u", "L", "c", "m", "x", ">", "}"] {
        assert_eq!(keys(&mut app, key), [], "{key}");
    }
    assert!(!app.one_scale && app.landscape.map == 1 && app.landscape.relief);
    assert_eq!(app.landscape.stretch, Stretch::Linear);
    assert_eq!(app.landscape.viewpoint, Viewpoint { turn: 45, tilt: 45 });
}

#[test]
fn the_table_of_keys_is_sound() {
    keys::assert_names(BINDINGS);
    let all: Vec<Key> = BINDINGS.iter().flat_map(|binding| binding.keys.iter()).copied().collect();
    let ranks: Vec<u8> = BINDINGS.iter().map(|binding| binding.rank).filter(|rank| *rank > 0).collect();
    for (i, key) in all.iter().enumerate() {
        assert!(!all[..i].contains(key), "{} is bound twice", key.name());
        assert!(!["h", "j", "k", "l"].contains(&key.name().as_str()), "hjkl move the cursor");
    }
    for (i, rank) in ranks.iter().enumerate() {
        assert!(!ranks[..i].contains(rank), "{rank}");
    }
    // The last variant closes the list: a new action without a row fails here.
    for number in 0..=Action::Help as usize {
        assert_eq!(BINDINGS.iter().filter(|binding| binding.action as usize == number).count(), 1);
    }
}

#[test]
fn commands_are_typed_too() {
    let mut app = live(scene());
    assert_eq!(command(&mut app, "templ"), ask(Ask::ToggleTemplate(Sides::Both)));
    assert_eq!(command(&mut app, "step"), ask(Ask::Step(Sides::Both)));
    assert_eq!(command(&mut app, "step 3"), vec![Effect::Ask(Ask::Step(Sides::Both)); 3]);
    assert_eq!(command(&mut app, "prompt a b"), ask(Ask::SetPrompt("a b".into())));
    for line in ["step 0", "step 1001", "quit now", "xyz"] {
        assert_eq!(command(&mut app, line), []);
        assert!(!refused(&app).is_empty(), "{line}");
        press(&mut app, KeyCode::Esc);
    }
    keys(&mut app, ":");
    // Over the two that were refused.
    for _ in 0..3 {
        press(&mut app, KeyCode::Up);
    }
    assert_eq!(press(&mut app, KeyCode::Enter), ask(Ask::SetPrompt("a b".into())));
    assert_eq!(command(&mut app, "quit"), [Effect::Leave]);
}

#[test]
fn a_click_moves_the_one_cursor_and_both_are_read_there() {
    let mut app = live(scene());
    let place = Some([0.7, 0.1]);
    let read = ask(Ask::LookAt(Some([0.5, -1.0])));
    assert_eq!(point(&mut app, Gesture::Click, Pane::Map(Side::B), place), read);
    assert_eq!(point(&mut app, Gesture::Click, Pane::Map(Side::A), place), [], "it is there already");
    assert_eq!(app.sides, Sides::Both);
}

#[test]
fn a_click_beside_the_map_chooses_whom_the_keys_mean() {
    let mut app = live(scene());
    let (a, b) = (Sides::One(Side::A), Sides::One(Side::B));
    let clicks =
        [(Pane::NextToken(Side::B), b), (Pane::Map(Side::A), a), (Pane::NextToken(Side::A), Sides::Both)];
    for (pane, sides) in clicks {
        assert_eq!(point(&mut app, Gesture::Click, pane, None), []);
        assert_eq!(app.sides, sides);
    }
    app.scene.plane = PlaneChoice::Through;
    point(&mut app, Gesture::Click, Pane::NextToken(Side::B), None);
    point(&mut app, Gesture::Click, Pane::Map(Side::A), None);
    assert_eq!(app.sides, Sides::Both, "the one map is of both");
}

#[test]
fn the_wheel_zooms_over_a_map() {
    let mut app = live(scene());
    let place = Some([0.5, 0.5]);
    assert_eq!(point(&mut app, Gesture::WheelUp, Pane::Map(Side::A), place), ask(Ask::Zoom(1.0 / 1.5)));
    assert_eq!(point(&mut app, Gesture::WheelDown, Pane::Map(Side::B), place), ask(Ask::Zoom(1.5)));
    assert_eq!(point(&mut app, Gesture::WheelDown, Pane::NextToken(Side::B), None), []);
    keys(&mut app, "?");
    assert_eq!(point(&mut app, Gesture::WheelUp, Pane::Map(Side::A), place), []);
}

#[test]
fn a_drag_takes_the_cursor_along_on_the_map_where_it_began_and_turns_surfaces() {
    let mut app = live(scene());
    let mut drag = |gesture, side, u| point(&mut app, gesture, Pane::Map(side), Some([u, 0.5]));
    let look = |alpha| ask(Ask::LookAt(Some([alpha, 0.0])));
    assert_eq!(drag(Gesture::Click, Side::A, 0.5), look(0.0));
    assert_eq!(drag(Gesture::Drag, Side::A, 0.99), look(1.0));
    assert_eq!(drag(Gesture::Drag, Side::B, 0.5), [], "it began on the other one");
    app.landscape.relief = true;
    let before = app.landscape.viewpoint;
    point(&mut app, Gesture::Click, Pane::Map(Side::B), Some([0.5, 0.5]));
    assert_eq!(app.landscape.viewpoint, before);
    assert_eq!(point(&mut app, Gesture::Drag, Pane::Map(Side::B), Some([0.6, 0.5])), []);
    assert_eq!(app.landscape.viewpoint, Viewpoint { turn: before.turn + 18, ..before });
}
