//! Models: folders, their parts, and what is done with one that is taken.

use std::fs;
use std::path::Path;

use candle_core::{DType, Device};
use llamascape::landscape::plane::{Normalization, Plane};
use llamascape::landscape::selection::Selection;
use llamascape::model::checkpoint::{Checkpoint, Error, read_tensors, write_tensors};
use llamascape::model::llama::Llama;
use llamascape::model::tokenizer::Tokenizer;
use llamascape::predict::{Prompt, Reading};
use llamascape::protocol::OptimizerKind;
use llamascape::train::corpus::Batch;
use llamascape::train::schedule::{Schedule, Shape};
use llamascape::train::trainer::{Objective, Recipe, Trainer};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dice::cases;
use super::{fixture, is_one_line, reads};

const SHARDS: u64 = 300;
const CONFIGS: u64 = 400;
const INDEXES: u64 = 300;
const TOKENIZERS: u64 = 1500;
const TENSORS: u64 = 1500;

const SHARD: &str = "model-00001-of-00002.safetensors";
/// What a model that is taken is asked.
const TEXT: &str = "The capital of France is Paris";

pub(crate) fn open(path: &Path) -> Result<Checkpoint, Error> {
    Checkpoint::open(path, &Device::Cpu, &mut |_| {})
}

pub(crate) fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn copy_of(name: &str) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Bytes of all files in a folder.
pub(crate) fn size_of_folder(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len() as usize).sum()
}

/// The end of a safetensors file's header.
pub(crate) fn header_end(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

/// How a step is taken.
pub(crate) fn recipe(optimizer: OptimizerKind) -> Recipe {
    Recipe {
        seed: 1,
        schedule: Schedule { peak: 1e-3, shape: Shape::Constant, warmup: 0, decay_steps: 10 },
        optimizer,
        weight_decay: 0.1,
        clip: 1.0,
        accumulate: 1,
        dtype: DType::F32,
    }
}

/// Does with a model that was taken what is done with models: it is asked, it is spoken to, it takes a step, and
/// directions are drawn through it. What it can't do is said in one line.
pub(crate) fn works(model: Checkpoint) {
    let bytes = 4 * model.params.elements();
    uses(&model.tokenizer);
    if let Some(chat) = &model.chat {
        reads(bytes, || chat.converse(TEXT));
    }
    if let Ok(names) = (Selection { norms: true, ..Selection::default() }).names(&model.params) {
        reads(2 * bytes, || Plane::random(&model.params, &names, [1, 2], Normalization::Filter));
    }
    let prompt = match Prompt::of(&model, TEXT, false) {
        Ok(prompt) => prompt,
        Err(problem) => {
            is_one_line(&problem);
            return;
        }
    };
    let Some(llama) = reads(bytes, || Llama::new(&model.config, DType::F32, &Device::Cpu)) else { return };
    let said = reads(bytes, || Reading::of(&llama, &model.params, prompt.ids(), &Device::Cpu)).unwrap();
    assert_eq!(said.token_losses.len(), prompt.ids().len() - 1);
    let objective = Objective::Text(Batch::new(vec![prompt.ids().to_vec()]));
    let recipe = recipe(OptimizerKind::AdamW);
    let trainer = Trainer::new(llama, model.params, |_| true, objective, recipe, &Device::Cpu, 1);
    match trainer.unwrap().step() {
        Ok(report) => assert_eq!(report.step, 1),
        Err(error) => is_one_line(&error.to_string()),
    }
}

#[test]
fn spoilt_shards_open_or_are_refused() {
    let copy = copy_of("tiny-hf");
    let path = copy.path().join(SHARD);
    let whole = fs::read(&path).unwrap();
    let header = header_end(&whole);
    cases(
        "shards",
        SHARDS,
        |dice| dice.spoil_near(&whole, header),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            reads(size_of_folder(copy.path()), || open(copy.path())).map(works).is_some()
        },
    );
}

#[test]
fn tensors_with_spoilt_headers_are_read_or_refused_and_written_as_they_were_read() {
    let whole = fs::read(fixture("tiny-hf").join(SHARD)).unwrap();
    let end = header_end(&whole);
    let header: Value = serde_json::from_slice(&whole[8..end]).unwrap();
    let folder = TempDir::new().unwrap();
    let [path, again] = ["optimizer.safetensors", "again.safetensors"].map(|name| folder.path().join(name));
    cases(
        "tensors",
        TENSORS,
        |dice| {
            let header = dice.spoil_json(&header);
            let data = if dice.one_in(4) { dice.spoil(&whole[end..]) } else { whole[end..].to_vec() };
            [&(header.len() as u64).to_le_bytes(), &*header, &data].concat()
        },
        |bytes| {
            fs::write(&path, bytes).unwrap();
            let Some(read) = reads(bytes.len(), || read_tensors(&path, &Device::Cpu)) else { return false };
            if read.iter().next().is_none() {
                return true;
            }
            write_tensors(&again, &read).unwrap();
            let second = read_tensors(&again, &Device::Cpu).unwrap();
            assert_eq!(second.iter().count(), read.iter().count());
            for (name, tensor) in read.iter() {
                let bits = |tensor: &candle_core::Tensor| -> Vec<u32> {
                    let numbers: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
                    numbers.into_iter().map(f32::to_bits).collect()
                };
                let other = second.get(name).unwrap();
                assert_eq!((tensor.dims(), bits(tensor)), (other.dims(), bits(other)));
            }
            true
        },
    );
}

#[test]
fn spoilt_configurations_are_read_or_refused_and_the_model_can_be_used() {
    let copy = copy_of("tiny-hf");
    let path = copy.path().join("config.json");
    let whole = json_of(&path);
    cases(
        "config.json",
        CONFIGS,
        |dice| dice.spoil_json(&whole),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            reads(size_of_folder(copy.path()), || open(copy.path())).map(works).is_some()
        },
    );
}

#[test]
fn spoilt_indexes_are_read_or_refused() {
    let copy = copy_of("tiny-hf");
    let path = copy.path().join("model.safetensors.index.json");
    let whole = json_of(&path);
    cases(
        "index of shards",
        INDEXES,
        |dice| dice.spoil_json(&whole),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            reads(size_of_folder(copy.path()), || open(copy.path())).is_some()
        },
    );
}

/// Does what is done with a tokenizer; texts that it can't cut are refused in a line.
pub(crate) fn uses(tokenizer: &Tokenizer) {
    for text in [TEXT, "", "  \n\u{1b}é日 12345", "<|begin|><|end|>"] {
        if let Some(ids) = reads(text.len(), || tokenizer.encode(text)) {
            tokenizer.text(&ids);
        }
        reads(text.len(), || tokenizer.encode_from(text, 3));
        reads(text.len(), || tokenizer.encode_raw(text));
    }
    tokenizer.token(0);
    tokenizer.token(u32::MAX);
}

#[test]
fn spoilt_tokenizers_are_read_or_refused_and_what_is_read_can_be_used() {
    let byte_level = json_of(&fixture("tiny-hf").join("tokenizer.json"));
    let sentence_piece = json!({
        "added_tokens": [{"id": 5, "content": "</s>", "special": true, "normalized": false,
                          "single_word": false, "lstrip": false, "rstrip": false}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>",
                  "merges": [["▁", "a"]],
                  "vocab": {"▁": 0, "a": 1, "▁a": 2, "<0x0A>": 3, "<unk>": 4}},
    });
    for (name, whole) in [("byte-level tokenizers", byte_level), ("other tokenizers", sentence_piece)] {
        cases(
            name,
            TOKENIZERS / 2,
            |dice| dice.spoil_json(&whole),
            |bytes| {
                let Some(tokenizer) = reads(bytes.len(), || Tokenizer::from_json(bytes)) else {
                    return false;
                };
                uses(&tokenizer);
                let text = tokenizer.to_json().unwrap();
                let again = Tokenizer::from_json(text.as_bytes()).unwrap();
                assert_eq!(again.to_json().unwrap(), text, "it is written as it was read");
                true
            },
        );
    }
}
