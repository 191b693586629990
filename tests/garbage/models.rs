//! Models: folders, GGUF files, and the parts of both.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use candle_core::Device;
use llamascape::model::chat::ChatTemplate;
use llamascape::model::checkpoint::{Checkpoint, Error, read_tensors};
use llamascape::model::tokenizer::Tokenizer;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dice::cases;
use super::{fixture, reads};

const SHARDS: u64 = 700;
const GGUFS: u64 = 800;
const CONFIGS: u64 = 800;
const INDEXES: u64 = 400;
const TOKENIZERS: u64 = 1500;
const TEMPLATES: u64 = 1500;
const TENSORS: u64 = 1500;

const SHARD: &str = "model-00001-of-00002.safetensors";

fn open(path: &Path) -> Result<Checkpoint, Error> {
    Checkpoint::open(path, &Device::Cpu, &mut |_| {})
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn copy_of(name: &str) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Bytes of all files in a folder.
fn size_of_folder(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().metadata().unwrap().len() as usize).sum()
}

/// The end of a safetensors file's header.
fn header_end(bytes: &[u8]) -> usize {
    8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize
}

#[test]
fn spoilt_shards_open_or_are_refused() {
    let copy = copy_of("tiny-hf");
    let path = copy.path().join(SHARD);
    let whole = fs::read(&path).unwrap();
    let header = header_end(&whole);
    cases(
        1_000_000,
        SHARDS,
        |dice| dice.spoil_near(&whole, header),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            reads(size_of_folder(copy.path()), || open(copy.path()));
        },
    );
}

#[test]
fn tensors_with_spoilt_headers_are_read_or_refused() {
    let whole = fs::read(fixture("tiny-hf").join(SHARD)).unwrap();
    let end = header_end(&whole);
    let header: Value = serde_json::from_slice(&whole[8..end]).unwrap();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("optimizer.safetensors");
    cases(
        2_000_000,
        TENSORS,
        |dice| {
            let header = dice.spoil_json(&header);
            [&(header.len() as u64).to_le_bytes(), &*header, &whole[end..]].concat()
        },
        |bytes| {
            fs::write(&path, bytes).unwrap();
            reads(bytes.len(), || read_tensors(&path, &Device::Cpu));
        },
    );
}

#[test]
fn spoilt_gguf_files_open_or_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    for (seed, name, header) in [(3_000_000, "tiny.gguf", 10_000), (4_000_000, "spm.gguf", 10_000)] {
        let whole = fs::read(fixture(name)).unwrap();
        cases(
            seed,
            GGUFS / 2,
            |dice| dice.spoil_near(&whole, header),
            |bytes| {
                fs::write(&path, bytes).unwrap();
                if let Some(model) = reads(bytes.len(), || open(&path)) {
                    uses(&model.tokenizer);
                }
            },
        );
    }
}

#[test]
fn spoilt_configurations_are_read_or_refused() {
    let copy = copy_of("tiny-hf");
    let path = copy.path().join("config.json");
    let whole = json_of(&path);
    cases(
        5_000_000,
        CONFIGS,
        |dice| dice.spoil_json(&whole),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            reads(size_of_folder(copy.path()), || open(copy.path()));
        },
    );
}

#[test]
fn spoilt_indexes_are_read_or_refused() {
    let copy = copy_of("tiny-hf");
    let path = copy.path().join("model.safetensors.index.json");
    let whole = json_of(&path);
    cases(
        6_000_000,
        INDEXES,
        |dice| dice.spoil_json(&whole),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            reads(size_of_folder(copy.path()), || open(copy.path()));
        },
    );
}

/// Does what is done with a tokenizer; texts that it can't cut are refused in a line.
fn uses(tokenizer: &Tokenizer) {
    for text in ["The capital of France is Paris", "", "  \n\u{1b}é日 12345", "<|begin|><|end|>"] {
        if let Some(ids) = reads(text.len(), || tokenizer.encode(text)) {
            tokenizer.text(&ids);
        }
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
    for (seed, whole) in [(7_000_000, byte_level), (8_000_000, sentence_piece)] {
        cases(
            seed,
            TOKENIZERS / 2,
            |dice| dice.spoil_json(&whole),
            |bytes| {
                if let Some(tokenizer) = reads(bytes.len(), || Tokenizer::from_json(bytes)) {
                    uses(&tokenizer);
                }
            },
        );
    }
}

#[test]
fn spoilt_chat_templates_are_taken_or_refused() {
    let examples = json_of(&fixture("chat.json"));
    let templates: Vec<&str> = examples["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|example| example["template"].as_str().unwrap())
        .collect();
    let special = || BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    cases(
        9_000_000,
        TEMPLATES,
        |dice| {
            let template = dice.pick(&templates).as_bytes().to_vec();
            dice.spoil(&template)
        },
        |bytes| {
            let source = String::from_utf8_lossy(bytes);
            reads(bytes.len(), || ChatTemplate::new(&source, special()));
        },
    );
}
