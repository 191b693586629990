//! A made-up comparison for the tests of the pictures.

use std::sync::Arc;

use crate::app::Bindings;
use crate::app::comparison::{Comparison, Message};
use crate::protocol::comparison::{Between, PathLoss, Phase, Place, Scene, SideView, Template};
use crate::protocol::{OptimizerKind, Prediction, Slice, Token};
use crate::ui::fixture;

fn side(name: &str, template: Template, loss: f64, steepness: f64) -> SideView {
    let loss_at = |alpha: f64, beta: f64| (loss + steepness * (alpha * alpha + beta * beta)) as f32;
    let slice = Slice { step: 0, ..fixture::slice(17, loss_at) };
    SideView {
        name: name.into(),
        parameters: 134_515_008,
        template,
        loss: Some(loss),
        grad_norm: Some(36.3),
        slice: Some(Arc::new(slice)),
        prediction: Some(Arc::new(fixture::prediction())),
        ..SideView::default()
    }
}

/// Two models that are there, at the weights of their checkpoints; A says nothing of B.
pub(super) fn scene() -> Scene {
    let mut a = side("SmolLM2-135M", Template::Absent, 3.005, 4.0);
    let mut alone = fixture::prediction();
    (alone.previous_probability, alone.previous_rank) = (None, None);
    for candidate in &mut alone.candidates {
        candidate.previous = None;
    }
    a.prediction = Some(Arc::new(alone));
    let b = side("SmolLM2-135M-Instruct", Template::Off, 2.871, 6.0);
    let places = fixture::prediction().tokens.into_iter().skip(1).zip(1..);
    let places = places.map(|(token, i)| {
        let i = f64::from(i);
        Place { token, losses: [i, i / 2.0], kl: [0.1 * i, 0.2 * i] }
    });
    Scene {
        phase: Phase::Live,
        device: "cpu, 2 threads".into(),
        prompt: "The capital of France is Paris".into(),
        sides: [a, b],
        between: Arc::new(Between {
            places: places.collect(),
            kl: Some([0.061, 0.058]),
            overlap: Some(9),
            ..Between::default()
        }),
        path: Some(Arc::new(PathLoss {
            t: (0..21).map(|i| f64::from(i) / 20.0).collect(),
            loss: (0..21).map(|i| 3.0 + 0.04 * (f64::from(i) / 4.0).sin()).collect(),
            barrier: 0.04,
            barrier_at: 0.6,
        })),
        learning_rate: 1e-5,
        optimizer: Some(OptimizerKind::Adam),
        ..Scene::default()
    }
}

/// A screen that shows this.
pub(super) fn app(scene: Scene) -> Comparison {
    let mut app = Comparison::new(vec!["dark".into(), "light".into()], Bindings::default());
    app.update(Message::Scene(Box::new(scene)));
    app
}

/// A prediction with this text as its second likeliest token and in its prompt.
pub(super) fn prediction_with(text: &str) -> Prediction {
    let mut prediction = fixture::prediction();
    prediction.tokens[0] = Token { id: 0, text: text.into() };
    prediction.candidates[1].token = Token { id: 6, text: text.into() };
    prediction
}

/// The screen of that comparison.
pub(crate) fn live() -> Comparison {
    app(scene())
}
