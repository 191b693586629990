//! What a run goes on from: the state of its training and its optimizer's moments.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use llamascape::model::llama::Llama;
use llamascape::predict::Prompt;
use llamascape::protocol::OptimizerKind;
use llamascape::train::corpus::Batch;
use llamascape::train::resume::{self, State};
use llamascape::train::trainer::{Objective, Trainer};
use serde_json::Value;
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::models::{header_end, json_of, open, recipe, size_of_folder};
use super::{fixture, is_one_line, reads};

const STATES: u64 = 200;
const MOMENTS: u64 = 120;

const STATE: &str = "trainer_state.json";
const OPTIMIZER: &str = "optimizer.safetensors";

fn trainer(model: &Path, optimizer: OptimizerKind) -> Trainer {
    let model = open(model).unwrap();
    let llama = Llama::new(&model.config, DType::F32, &Device::Cpu).unwrap();
    let prompt = Prompt::of(&model, "The capital of France is Paris", false).unwrap();
    let objective = Objective::Text(Batch::new(vec![prompt.ids().to_vec()]));
    Trainer::new(llama, model.params, |_| true, objective, recipe(optimizer), &Device::Cpu, 1).unwrap()
}

/// The checkpoint of a run after two steps.
fn saved(home: &TempDir) -> PathBuf {
    let folder = home.path().join("checkpoint-2");
    let model = open(&fixture("tiny-hf")).unwrap();
    let mut trainer = trainer(&fixture("tiny-hf"), OptimizerKind::AdamW);
    (0..2).for_each(|_| drop(trainer.step().unwrap()));
    let best = Some(resume::Best { step: 1, eval_loss: 1.25 });
    let state =
        State { progress: trainer.progress(), data_sha256: "ab".to_owned(), eval_loss: Some(1.5), best };
    resume::save(&folder, &model.config, &model.tokenizer, None, &trainer.snapshot(), &state).unwrap();
    folder
}

/// Goes on from a checkpoint where that can be: two steps, and a checkpoint that says the same again. Returns whether
/// it could.
fn goes_on(folder: &Path, trainer: &mut Trainer) -> bool {
    let bytes = size_of_folder(folder);
    let Some((model, snapshot, state)) = reads(bytes, || resume::load(folder, &Device::Cpu, &mut |_| {}))
    else {
        return false;
    };
    if let Err(problem) = trainer.restore(&snapshot) {
        is_one_line(&problem);
        return false;
    }
    assert_eq!(trainer.progress(), state.progress);
    let home = TempDir::new().unwrap();
    let again = home.path().join(folder.file_name().unwrap());
    resume::save(&again, &model.config, &model.tokenizer, None, &trainer.snapshot(), &state).unwrap();
    assert_eq!(resume::state(&again).unwrap(), state, "it is read as it was written");
    for _ in 0..2 {
        if let Err(problem) = trainer.step() {
            is_one_line(&problem.to_string());
        }
    }
    true
}

#[test]
fn a_run_goes_on_from_a_spoilt_state_or_refuses_it() {
    let home = TempDir::new().unwrap();
    let folder = saved(&home);
    let whole = json_of(&folder.join(STATE));
    let mut trainer = trainer(&folder, OptimizerKind::Sgd);
    assert!(goes_on(&folder, &mut trainer));
    cases(
        STATE,
        STATES,
        |dice| dice.spoil_json(&whole),
        |bytes| {
            fs::write(folder.join(STATE), bytes).unwrap();
            goes_on(&folder, &mut trainer)
        },
    );
}

#[test]
fn a_run_goes_on_from_spoilt_moments_or_refuses_them() {
    let home = TempDir::new().unwrap();
    let folder = saved(&home);
    let whole = fs::read(folder.join(OPTIMIZER)).unwrap();
    let end = header_end(&whole);
    let header: Value = serde_json::from_slice(&whole[8..end]).unwrap();
    let mut trainer = trainer(&folder, OptimizerKind::Sgd);
    let make = |dice: &mut Dice| match dice.below(3) {
        // Numbers of any size, infinite ones and none among them.
        0 => [&whole[..end], &dice.spoil(&whole[end..])[..]].concat(),
        1 => {
            let mut data = whole[end..].to_vec();
            for _ in 0..10 {
                let at = dice.below(data.len() / 4) * 4;
                data[at..at + 4]
                    .copy_from_slice(&dice.pick(&[f32::NAN, f32::INFINITY, -1.0, f32::MAX]).to_le_bytes());
            }
            [&whole[..end], &data].concat()
        }
        _ => {
            let header = dice.spoil_json(&header);
            [&(header.len() as u64).to_le_bytes(), &*header, &whole[end..]].concat()
        }
    };
    cases(OPTIMIZER, MOMENTS, make, |bytes| {
        fs::write(folder.join(OPTIMIZER), bytes).unwrap();
        goes_on(&folder, &mut trainer)
    });
}
