//! Made-up states for the tests of the pictures.

use ratatui::crossterm::event::{
    Event, KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::layout::Rect;

use crate::app::{App, Message, Options};
use crate::protocol::probe::{self, Parameter, Sweep, Turned, Visit, Walk};
use crate::protocol::wormhole::{self, Moment, Moments, PLATEAU, Setting};
use crate::protocol::{
    BatchInfo, Candidate, Drift, LayerNorm, OptimizerKind, Phase, PlaneInfo, PlaneKind, Point, Prediction,
    RunInfo, Slice, Status, TensorNorms, ToScreen, Token, Update,
};

/// A slice from -1 to 1, `side` points a side.
pub(crate) fn slice(side: usize, loss: impl Fn(f64, f64) -> f32) -> Slice {
    let axis: Vec<f64> = (0..side).map(|i| 2.0 * i as f64 / (side.max(2) - 1) as f64 - 1.0).collect();
    Slice {
        step: 412,
        generation: 1,
        loss: axis.iter().flat_map(|beta| axis.iter().map(|alpha| loss(*alpha, *beta))).collect(),
        alphas: axis.clone(),
        betas: axis,
        center: f64::from(loss(0.0, 0.0)),
        finest: true,
        plane: PlaneInfo {
            kind: "random".into(),
            normalization: "filter".into(),
            seeds: [11, 111],
            tensors: 28,
            parameters: 2_000_000,
            cosine: 0.0,
            norms: [40.0, 40.0],
            ..PlaneInfo::default()
        },
        batch: BatchInfo { tokens: 512, sha256: "a41f09".into(), source: "held-out".into() },
        seconds: 0.4,
        method: String::new(),
        sharpness: None,
    }
}

/// A run's slices up to step 412: a bowl that sinks.
pub(crate) fn film(slices: u64) -> Vec<Slice> {
    let sunk = |step: u64| {
        let loss = 2.113 + (412 - step) as f32 / 100.0;
        Slice { step, ..slice(9, |alpha, beta| loss + 4.0 * (alpha * alpha + beta * beta) as f32) }
    };
    (0..slices).rev().map(|back| sunk(412 - 3 * back)).collect()
}

fn token(id: u32, text: &str) -> Token {
    Token { id, text: text.into() }
}

/// " Paris" after "The capital of France is".
pub(super) fn prediction() -> Prediction {
    let words = ["The", " capital", " of", " France", " is", " Paris"];
    let likely = [
        (5, " Paris", 0.77, 0.65),
        (6, " the", 0.064, 0.084),
        (7, " Rome", 0.041, 0.071),
        (8, " in", 0.022, 0.022),
        (9, " Lyon", 0.013, 0.003),
        (10, " London", 0.011, 0.021),
    ];
    Prediction {
        step: 412,
        at: None,
        prompt: words.concat(),
        tokens: (0..).zip(words).map(|(id, text)| token(id, text)).collect(),
        probability: 0.77,
        previous_probability: Some(0.65),
        rank: 1,
        previous_rank: Some(4),
        loss: 1.2,
        entropy: 1.21,
        candidates: likely
            .map(|(id, text, probability, previous)| Candidate {
                token: token(id, text),
                probability,
                previous: Some(previous),
            })
            .to_vec(),
        written: None,
    }
}

/// A run at step 412.
pub(crate) fn status() -> Status {
    Status {
        phase: Phase::Running,
        step: 412,
        loss: Some(2.113),
        held_out: Some(2.207),
        grad_norm: Some(0.83),
        clip: 1.0,
        learning_rate: 3e-3,
        optimizer: OptimizerKind::AdamW,
        tokens_per_second: Some(19_800.0),
        seconds: 42.0,
        viewers: 1,
        drift: Some(Drift {
            distance: 0.5,
            inside: [0.0, 0.0],
            captured: Some(0.001),
            step_length: Some(0.0025),
        }),
        slicing: false,
        plane: PlaneKind::Random,
        back: None,
        checkpoints: vec![100, 200],
    }
}

/// Names of the parameters of a model with so many layers.
pub(super) fn tensor_names(layers: usize) -> Vec<String> {
    const PARTS: [&str; 9] = [
        "input_layernorm",
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "post_attention_layernorm",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ];
    let layer = |number| PARTS.map(|part| format!("model.layers.{number}.{part}.weight"));
    let mut names = vec!["model.embed_tokens.weight".to_owned()];
    names.extend((0..layers).flat_map(layer));
    names.push("model.norm.weight".to_owned());
    names
}

/// Norms of so many parameters at a step; the last one is frozen.
pub(super) fn tensor_norms(parameters: usize, step: u64) -> TensorNorms {
    let fade = 1.0 / (1.0 + step as f32 / 200.0);
    let norms = |norm: &dyn Fn(usize) -> f32| (0..parameters).map(norm).collect::<Vec<f32>>();
    let weight = |i: usize| 10.0 + i as f32;
    let trained = |i: usize| if i + 1 < parameters { fade * (1 + i % 5) as f32 } else { 0.0 };
    TensorNorms {
        step,
        gradients: norms(&|i| 0.1 * trained(i)),
        weights: norms(&weight),
        updates: norms(&|i| 1e-3 * trained(i) * weight(i)),
    }
}

/// The loss over two parameters: a bowl that lies askew, so that the best of one depends on the other.
fn askew([x, y]: [f64; 2]) -> f64 {
    let (x, y) = (x - 0.3, y + 0.2);
    2.25 + 0.4 * (x * x + y * y + 1.2 * x * y)
}

/// Tuning two of [`askew`] by turns, and steps of all.
fn walk() -> Walk {
    let visit = |moves: [f64; 2]| Visit { moves, loss: askew(moves), p_target: 0.012 };
    let mut visits = vec![visit([0.0; 2])];
    for _ in 0..8 {
        let [_, y] = visits[visits.len() - 1].moves;
        let x = 0.3 - 0.6 * (y + 0.2);
        visits.push(visit([x, y]));
        visits.push(visit([x, -0.2 - 0.6 * (x - 0.3)]));
    }
    let start = visits[0];
    let step = |step: i32| Visit {
        moves: [1e-5 * f64::from(step), -8e-6 * f64::from(step)],
        loss: start.loss * 0.8_f64.powi(step),
        ..start
    };
    let descent = (0..=8).map(step).collect();
    Walk { rounds: 8, visits, descent, optimizer: "adam, lr 1e-3".into() }
}

/// Parameters of step 412, so many of which are turned; two were tuned by turns too.
pub(crate) fn probe(turned: usize) -> probe::Scene {
    const NAMES: [&str; 4] = ["mlp.down_proj", "self_attn.q_proj", "mlp.up_proj", "input_layernorm"];
    let parameter = |place: usize| Parameter {
        name: format!("model.layers.{}.{}.weight", place % 3, NAMES[place % 4]),
        index: if place % 4 == 3 { vec![7 * place] } else { vec![12 + place, 34 * place] },
        value: 0.031 * (1.0 - place as f64),
        grad: -0.16 / (1.0 + place as f64) + 0.03,
        trained: place != 2,
    };
    let axis =
        |side: usize| (0..side).map(|i| 2.0 * i as f64 / (side - 1) as f64 - 1.0).collect::<Vec<f64>>();
    let (first, second) = if turned == 2 { (axis(17), axis(17)) } else { (axis(33), vec![0.0]) };
    let loss: Vec<f32> = second.iter().flat_map(|y| first.iter().map(|x| askew([*x, *y]) as f32)).collect();
    let p_target = loss.iter().map(|loss| (-loss).exp()).collect();
    probe::Scene {
        phase: probe::Phase::Ready,
        of_step: 412,
        text: prediction().prompt,
        loss: askew([0.0; 2]),
        grad_norm: 1.7,
        listed: (0..12).map(parameter).collect(),
        chosen: (0..turned).collect(),
        sweep: (turned > 0).then_some(Sweep { first, second, loss, p_target }),
        turned: (turned > 0).then(|| Turned { moves: [0.0; 2], prediction: prediction() }),
        walk: (turned == 2).then(walk),
        refusal: None,
    }
}

/// A screen that knows everything.
pub(crate) fn app() -> App {
    let mut app = App::new(Options::default());
    let point = |step: u64| Point {
        step,
        loss: 2.0 + 5.0 * (-(step as f64) / 80.0).exp(),
        held_out: step.is_multiple_of(50).then(|| 2.1 + 5.0 * (-(step as f64) / 80.0).exp()),
        grad_norm: 0.8,
        learning_rate: 3e-3,
        spike: false,
    };
    let names = ["embed", "layer 0", "layer 1", "layer 2", "layer 3", "norm"];
    let update = Update {
        run: Some(RunInfo {
            name: "tidy-otter".into(),
            model: "nano".into(),
            parameters: 1_040_000,
            data: "builtin".into(),
            device: "cpu, 2 threads".into(),
            ..RunInfo::default()
        }),
        status: Some(status()),
        points: (1..=412).map(point).collect(),
        layers: Some(names.map(|name| LayerNorm { name: name.into(), grad_norm: 0.5 }).to_vec()),
        tensor_names: Some(tensor_names(4)),
        tensors: (1..=412).map(|step| tensor_norms(38, step)).collect(),
        finished: film(12),
        slice: Some(slice(17, |alpha, beta| 2.113 + 4.0 * (alpha * alpha + beta * beta) as f32)),
        prediction: Some(prediction()),
        ..Update::default()
    };
    app.update(Message::Engine(ToScreen::Welcome { version: crate::protocol::VERSION }));
    app.update(Message::Engine(ToScreen::Update(Box::new(update))));
    app
}

/// An experiment that is doing this, so many steps from its start, with a picture at each.
pub(crate) fn wormhole(phase: wormhole::Phase, steps: u64) -> Update {
    let hill = |alpha: f64, beta: f64| 15.0 - 12.0 * (-2.0 * (alpha * alpha + beta * beta)).exp();
    let frozen = slice(33, |alpha, beta| hill(alpha, beta) as f32);
    let left = |step: u64| (-(step as f64) / 5.0).exp();
    let frame = |step: u64| {
        let pit = |alpha: f64, beta: f64| {
            let apart = [alpha - PLATEAU[0], beta - PLATEAU[1]];
            1.0 - (1.0 - left(step)) * (-3.0 * (apart[0] * apart[0] + apart[1] * apart[1])).exp()
        };
        let drawn = slice(17, |alpha, beta| (hill(alpha, beta) * pit(alpha, beta)) as f32);
        Slice { step, generation: 7, ..drawn }
    };
    let moment = |step: u64| Moment {
        step,
        loss: 14.7 * left(step),
        loss_target: 21.2 * left(step),
        distance: 0.05 * step as f64,
        inside: [6e-9 * step as f64, -2.5e-8 * step as f64],
        captured: (step > 0).then_some(1.7e-4),
    };
    let started =
        matches!(phase, wormhole::Phase::Running | wormhole::Phase::Paused | wormhole::Phase::Ended);
    let mut moments = Moments::default();
    if started {
        (0..=steps).for_each(|step| moments.push(moment(step)));
    }
    let scene = wormhole::Scene {
        phase,
        setting: Setting::default(),
        learning_rate: 1e-5,
        of_step: 412,
        text: "The capital of France is Paris".into(),
        plane: Some(frozen.plane.clone()),
        offset: started.then_some(PLATEAU),
        chance: 1.2e-4,
        moments,
        prediction: Some(prediction()),
        drawing: false,
    };
    let frames = if started { (0..=steps).map(frame).collect() } else { Vec::new() };
    Update { wormhole: Some(scene), frozen: Some(frozen), frames, ..Update::default() }
}

/// What a child does to a keyboard and a mouse, the same at each run (a xorshift generator, Marsaglia 2003).
pub(super) struct Child(u64);

impl Child {
    /// This one is as good as any other.
    pub(super) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    /// A number from 0 on, below `end`.
    pub(super) fn below(&mut self, end: u16) -> u16 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % u64::from(end)) as u16
    }

    /// One of these.
    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.below(choices.len() as u16))]
    }

    /// A screen, mostly of a size that people have, and sometimes of any.
    pub(super) fn screen(&mut self) -> Rect {
        match self.below(8) {
            0 => Rect::new(0, 0, 1 + self.below(500), 1 + self.below(200)),
            _ => Rect::new(0, 0, 70 + self.below(100), 20 + self.below(40)),
        }
    }

    /// A key, or the mouse anywhere on the screen.
    pub(super) fn event(&mut self, screen: Rect) -> Event {
        // Escape comes often: it leads back from wherever one is.
        const NAMED: [KeyCode; 18] = [
            KeyCode::Esc,
            KeyCode::Esc,
            KeyCode::Esc,
            KeyCode::Enter,
            KeyCode::Enter,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Up,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::Left,
            KeyCode::Right,
            KeyCode::Backspace,
            KeyCode::Delete,
            KeyCode::Home,
            KeyCode::End,
            KeyCode::PageUp,
            KeyCode::PageDown,
        ];
        const KINDS: [MouseEventKind; 6] = [
            MouseEventKind::Down(MouseButton::Left),
            MouseEventKind::Drag(MouseButton::Left),
            MouseEventKind::Up(MouseButton::Left),
            MouseEventKind::Down(MouseButton::Right),
            MouseEventKind::ScrollUp,
            MouseEventKind::ScrollDown,
        ];
        let modifiers = self.one_of(&[KeyModifiers::NONE, KeyModifiers::NONE, KeyModifiers::CONTROL]);
        match self.below(4) {
            0 => {
                let (column, row) = (self.below(screen.width + 5), self.below(screen.height + 5));
                Event::Mouse(MouseEvent { kind: self.one_of(&KINDS), column, row, modifiers })
            }
            1 => Event::Key(KeyEvent::new(self.one_of(&NAMED), KeyModifiers::NONE)),
            2 => {
                let character = self.one_of(&[':', '/', '?', 'p', 'z', '1', '5']);
                Event::Key(KeyEvent::new(KeyCode::Char(character), KeyModifiers::NONE))
            }
            _ => {
                let character = char::from(b' ' + self.below(95) as u8);
                Event::Key(KeyEvent::new(KeyCode::Char(character), modifiers))
            }
        }
    }
}
