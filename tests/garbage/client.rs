//! What an engine says to a screen.

use llamascape::protocol::{
    LogLevel, LogLine, Outcome, Point, Prediction, RunInfo, TensorNorms, ToScreen, Token, Update, VERSION,
};
use llamascape::run::client::link;
use llamascape::run::wire::MAX_FRAME;
use tokio::io::AsyncWriteExt;

use super::dice::{Dice, cases};
use super::{MOST, is_one_line, memory};

const STREAMS: u64 = 3000;

/// A frame of these bytes.
pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

fn frames() -> Vec<Vec<u8>> {
    let point = Point {
        step: 3,
        loss: f64::INFINITY,
        held_out: Some(2.5),
        grad_norm: 0.5,
        learning_rate: 1e-3,
        spike: false,
    };
    let token = Token { id: 7, text: " Paris".to_owned() };
    let prediction = Prediction {
        step: 3,
        at: Some([0.5, -0.5]),
        prompt: "The capital".to_owned(),
        tokens: vec![token],
        probability: 0.5,
        previous_probability: None,
        rank: 1,
        previous_rank: None,
        loss: 1.0,
        entropy: 2.0,
        candidates: Vec::new(),
        written: None,
    };
    let norms = TensorNorms { step: 3, gradients: vec![0.5], weights: vec![1.0], updates: vec![0.1] };
    let line = LogLine { milliseconds: 0, level: LogLevel::Warn, message: "a line".to_owned() };
    let update = Update {
        run: Some(RunInfo { name: "tidy-otter".to_owned(), ..RunInfo::default() }),
        points: vec![point; 3],
        tensor_names: Some(vec!["model.norm.weight".to_owned()]),
        tensors: vec![norms],
        prediction: Some(prediction),
        log: vec![line],
        ..Update::default()
    };
    [
        ToScreen::Welcome { version: VERSION },
        ToScreen::Refused { reason: "another version".to_owned() },
        ToScreen::Update(Box::new(update)),
        ToScreen::Closed(Outcome::Stopped { step: 3, checkpoint: None }),
    ]
    .iter()
    .map(|frame| rmp_serde::to_vec_named(frame).unwrap())
    .collect()
}

/// Frames, most of them whole, some of them spoilt, and now and then a length that lies.
fn stream(dice: &mut Dice, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(6) {
        let body = dice.pick(frames).clone();
        match dice.below(6) {
            0 => bytes.extend(framed(&dice.spoil(&body))),
            1 => {
                let whole = framed(&body);
                bytes.extend(dice.spoil_near(&whole, 8));
            }
            2 if dice.one_in(4) => {
                let length = *dice.pick(&[0, MAX_FRAME as u32, MAX_FRAME as u32 + 1, u32::MAX]);
                bytes.extend(length.to_le_bytes());
            }
            3 if dice.one_in(4) => bytes.extend(framed(&[0x91; 5000])),
            _ => bytes.extend(framed(&body)),
        }
    }
    bytes
}

#[test]
fn a_screen_gets_what_is_whole_and_one_error_at_last() {
    let frames = frames();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    cases(
        "streams to a screen",
        STREAMS,
        |dice| stream(dice, &frames),
        |bytes| {
            let (said, peak) = memory::peak(|| runtime.block_on(heard(bytes.to_vec())));
            assert!(peak <= MOST + 2 * MAX_FRAME, "{peak}");
            is_one_line(&said);
            said.contains("broke")
        },
    );
}

/// The error that a screen gets at last from an engine that says this.
async fn heard(bytes: Vec<u8>) -> String {
    let (near, mut far) = tokio::io::duplex(1 << 12);
    let mut link = link(near, false);
    let speaker = tokio::spawn(async move {
        // A screen that has heard enough is gone.
        let _ = far.write_all(&bytes).await;
    });
    let mut error = None;
    while let Some(frame) = link.frames.recv().await {
        assert!(error.is_none(), "nothing follows an error");
        error = frame.err();
    }
    speaker.abort();
    error.unwrap().to_string()
}
