//! Texts to learn from.

use std::fs;
use std::path::Path;

use llamascape::model::tokenizer::Tokenizer;
use llamascape::train::corpus::Corpus;
use llamascape::train::documents::read_documents;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::{fixture, reads};

const TEXTS: u64 = 800;
const TRAINED: u64 = 40;

fn line() -> Value {
    json!({"text": "The capital of France is Paris.", "prompt": "2 + 2 =", "completion": " 4", "n": 1})
}

/// Lines of JSON, plain text, and what is no text.
fn texts(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(6) {
        match dice.below(8) {
            0 => bytes.extend(dice.spoil("Le ciel est bleu. 日本語 é\u{301} \u{feff}".as_bytes())),
            1 => {
                let count = dice.below(300);
                bytes.extend(dice.bytes(count));
            }
            2 => bytes.extend(b"\0".repeat(dice.below(2000))),
            3 => bytes.extend(b"x".repeat(dice.below(100_000))),
            4 => bytes.extend("\u{1b}[31m\r\n\u{202e}\u{2028}".as_bytes()),
            5 => {
                let mut line = line();
                line.as_object_mut().unwrap().remove("text");
                bytes.extend(dice.spoil_json(&line));
            }
            6 => bytes.extend(line().to_string().into_bytes()),
            _ => bytes.extend(dice.spoil_json(&line())),
        }
        if !dice.one_in(4) {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// Cuts what is read into tokens and draws batches from it.
fn is_learnt(path: &Path, tokenizer: &Tokenizer) -> bool {
    let bytes = fs::metadata(path).unwrap().len() as usize;
    let Some(documents) = reads(bytes, || read_documents(path)) else { return false };
    let cut = documents.iter().map(|document| match document.answer {
        Some(answer) => tokenizer.encode_from(&document.text, answer).unwrap(),
        None => (tokenizer.encode(&document.text).unwrap(), 0),
    });
    let (train, held_out) = Corpus::of_answers(cut).split(0.05);
    for context in [1, 8] {
        if reads(bytes, || train.check(context)).is_some() {
            let batch = train.batch(7, 3, 2, context);
            assert!(batch.predicted() <= 2 * context);
        }
        held_out.in_order(4, context).predicted();
    }
    true
}

#[test]
fn spoilt_texts_are_learnt_or_refused() {
    let folder = TempDir::new().unwrap();
    let tokenizer = Tokenizer::from_file(&fixture("tiny-hf").join("tokenizer.json")).unwrap();
    for (target, name) in [("lines to learn", "a.jsonl"), ("texts to learn", "a.txt")] {
        let path = folder.path().join(name);
        cases(target, TEXTS / 2, texts, |bytes| {
            fs::write(&path, bytes).unwrap();
            is_learnt(&path, &tokenizer)
        });
    }
}

#[test]
fn a_tokenizer_is_made_of_any_text() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.md");
    cases("texts to make a tokenizer of", TRAINED, texts, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        fs::write(&path, text.as_bytes()).unwrap();
        let Some(documents) = reads(bytes.len(), || read_documents(&path)) else { return false };
        let texts = || documents.iter().map(|document| document.text.as_str());
        let tokenizer = Tokenizer::train(texts(), 300).unwrap();
        assert_eq!(tokenizer.to_json().unwrap(), Tokenizer::train(texts(), 300).unwrap().to_json().unwrap());
        for text in texts() {
            let ids = tokenizer.encode(text).unwrap();
            assert_eq!(tokenizer.text(&ids), text, "every text is the text of its tokens");
        }
        is_learnt(&path, &tokenizer)
    });
}
