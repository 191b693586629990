//! GGUF files: their bytes, their fields, and blocks of every type.

use std::fs;

use tempfile::TempDir;

use super::dice::{Dice, LIES, cases};
use super::models::{open, works};
use super::{fixture, reads};

const BYTES: u64 = 400;
const FIELDS: u64 = 800;
const BLOCKS: u64 = 60;

/// Types of values in the metadata (`enum gguf_type` in ggml's gguf.h).
const U32: u32 = 4;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;
/// Numbers and bytes of a block of each type that is read (`enum ggml_type` in ggml.h).
const BLOCK: [(u32, u64, u64); 13] = [
    (0, 1, 4),
    (1, 1, 2),
    (30, 1, 2),
    (2, 32, 18),
    (3, 32, 20),
    (6, 32, 22),
    (7, 32, 24),
    (8, 32, 34),
    (10, 256, 84),
    (11, 256, 110),
    (12, 256, 144),
    (13, 256, 176),
    (14, 256, 210),
];

/// A file by its parts.
#[derive(Clone)]
struct Gguf {
    version: u32,
    /// Tensors and entries of the metadata, as the file claims them; without a lie as many as there are.
    claimed: [Option<u64>; 2],
    /// Key, type, and the bytes of the value.
    metadata: Vec<(String, u32, Vec<u8>)>,
    tensors: Vec<Tensor>,
    /// Where the data begins is a multiple of this.
    alignment: usize,
    data: Vec<u8>,
}

#[derive(Clone)]
struct Tensor {
    name: String,
    dims: Vec<u64>,
    kind: u32,
    offset: u64,
}

/// Takes so many bytes from the front.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (head, tail) = bytes.split_at(count);
    *bytes = tail;
    head
}

fn number(bytes: &mut &[u8], size: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..size].copy_from_slice(take(bytes, size));
    u64::from_le_bytes(wide)
}

fn text(bytes: &mut &[u8]) -> String {
    let length = number(bytes, 8) as usize;
    String::from_utf8(take(bytes, length).to_vec()).unwrap()
}

/// Passes over a value of this type.
fn pass(bytes: &mut &[u8], kind: u32) {
    match kind {
        0 | 1 | 7 => drop(take(bytes, 1)),
        2 | 3 => drop(take(bytes, 2)),
        4..=6 => drop(take(bytes, 4)),
        10..=12 => drop(take(bytes, 8)),
        TEXT => drop(text(bytes)),
        _ => {
            let (kind, count) = (number(bytes, 4) as u32, number(bytes, 8));
            (0..count).for_each(|_| pass(bytes, kind));
        }
    }
}

/// A text as a file has it.
fn texted(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Gguf {
    /// Takes a whole file apart.
    fn of(whole: &[u8]) -> Self {
        let mut rest = whole;
        assert_eq!(take(&mut rest, 4), b"GGUF");
        let version = number(&mut rest, 4) as u32;
        let (tensors, entries) = (number(&mut rest, 8), number(&mut rest, 8));
        let metadata = (0..entries).map(|_| {
            let (key, kind) = (text(&mut rest), number(&mut rest, 4) as u32);
            let before = rest;
            pass(&mut rest, kind);
            (key, kind, before[..before.len() - rest.len()].to_vec())
        });
        let metadata = metadata.collect();
        let tensors = (0..tensors).map(|_| {
            let (name, rank) = (text(&mut rest), number(&mut rest, 4));
            let dims = (0..rank).map(|_| number(&mut rest, 8)).collect();
            Tensor { name, dims, kind: number(&mut rest, 4) as u32, offset: number(&mut rest, 8) }
        });
        let tensors = tensors.collect();
        let begin = (whole.len() - rest.len()).next_multiple_of(32);
        let data = whole.get(begin..).unwrap_or_default().to_vec();
        Self { version, claimed: [None; 2], metadata, tensors, alignment: 32, data }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        for (claimed, count) in self.claimed.iter().zip([self.tensors.len(), self.metadata.len()]) {
            bytes.extend(claimed.unwrap_or(count as u64).to_le_bytes());
        }
        for (key, kind, value) in &self.metadata {
            bytes.extend([&*texted(key), &kind.to_le_bytes(), value].concat());
        }
        for Tensor { name, dims, kind, offset } in &self.tensors {
            bytes.extend(texted(name));
            bytes.extend((dims.len() as u32).to_le_bytes());
            bytes.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend(offset.to_le_bytes());
        }
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend(&self.data);
        bytes
    }

    fn set(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.metadata.retain(|(known, ..)| known != key);
        self.metadata.push((key.to_owned(), kind, value.to_vec()));
    }

    /// Makes one field another.
    fn spoil(&mut self, dice: &mut Dice) {
        let (entry, tensor) = (dice.below(self.metadata.len()), dice.below(self.tensors.len()));
        let other = self.tensors[dice.below(self.tensors.len())].clone();
        let (key, kind, value) = &mut self.metadata[entry];
        let tensor = &mut self.tensors[tensor];
        match dice.below(20) {
            0 => drop(self.metadata.remove(entry)),
            1 => *kind = dice.below(14) as u32,
            2 => *value = dice.spoil_near(value, 16),
            // A number at its ends, whatever its type.
            3 | 4 => {
                let lie = dice.pick(&LIES).to_le_bytes();
                value.iter_mut().zip(lie).for_each(|(byte, lie)| *byte = lie);
            }
            5 => value.iter_mut().for_each(|byte| *byte = 0xff),
            6 => *key = dice.pick(&["", "\u{1b}[31m", "general.alignment", "llama.vocab_size"]).to_string(),
            7 => {
                let twice = self.metadata[entry].clone();
                self.metadata.push(twice);
            }
            8 => {
                let alignment = *dice.pick(&[0, 1, 7, 8, 16, 24, 64, 4096, 1 << 31, u32::MAX]);
                self.set("general.alignment", U32, &alignment.to_le_bytes());
                if (1..=4096).contains(&alignment) {
                    self.alignment = alignment as usize;
                }
            }
            9 => self.claimed[dice.below(2)] = Some(*dice.pick(&LIES)),
            10 => self.version = dice.below(5) as u32,
            11 => {
                let dim = dice.below(tensor.dims.len());
                tensor.dims[dim] = *dice.pick(&LIES);
            }
            12 => tensor.dims.reverse(),
            13 => tensor.dims.push(*dice.pick(&[0, 1, 2, u64::MAX])),
            14 => tensor.kind = dice.below(40) as u32,
            15 => tensor.offset = *dice.pick(&LIES),
            16 => tensor.offset = other.offset,
            17 => tensor.name = other.name,
            18 => self.data = dice.spoil(&self.data),
            _ => {
                let at = dice.below(self.data.len() + 1);
                self.data.truncate(at);
            }
        }
    }
}

#[test]
fn spoilt_gguf_files_open_or_are_refused_and_what_opens_can_be_used() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let attempt = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        reads(bytes.len(), || open(&path)).map(works).is_some()
    };
    let whole = fs::read(fixture("tiny.gguf")).unwrap();
    let byte_level = Gguf::of(&whole);
    assert!(byte_level.bytes() == whole, "it is put together as it was");
    let mut sentence_piece = byte_level.clone();
    sentence_piece.metadata.retain(|(key, ..)| !key.starts_with("tokenizer."));
    let other = Gguf::of(&fs::read(fixture("spm.gguf")).unwrap());
    let tokenizer = other.metadata.into_iter().filter(|(key, ..)| key.starts_with("tokenizer."));
    sentence_piece.metadata.extend(tokenizer);
    for (name, parts) in [("GGUF", byte_level), ("GGUF of SentencePiece", sentence_piece)] {
        let whole = parts.bytes();
        attempt(&whole);
        open(&path).unwrap();
        cases(&format!("bytes of {name}"), BYTES / 2, |dice| dice.spoil_near(&whole, 10_000), attempt);
        let spoil = |dice: &mut Dice| {
            let mut parts = parts.clone();
            for _ in 0..=dice.below(2) {
                parts.spoil(dice);
            }
            parts.bytes()
        };
        cases(&format!("fields of {name}"), FIELDS / 2, spoil, attempt);
    }
}

/// A model of one layer, wide enough for blocks of any type, whose numbers are chance.
fn of_blocks(dice: &mut Dice, tiny: &Gguf) -> Vec<u8> {
    let mut parts = tiny.clone();
    let is_tokens = |(key, ..): &&(String, u32, Vec<u8>)| key == "tokenizer.ggml.tokens";
    let tokens = parts.metadata.iter().find(is_tokens).unwrap().2.clone();
    let vocab = u64::from_le_bytes(tokens[4..12].try_into().unwrap());
    parts.metadata.retain(|(key, ..)| !key.starts_with("llama."));
    for (key, value) in [
        ("llama.embedding_length", 256_u32),
        ("llama.feed_forward_length", 256),
        ("llama.block_count", 1),
        ("llama.context_length", 64),
        ("llama.attention.head_count", 8),
        ("llama.attention.head_count_kv", 8),
    ] {
        parts.set(key, U32, &value.to_le_bytes());
    }
    parts.set("llama.attention.layer_norm_rms_epsilon", 6, &1e-5_f32.to_le_bytes());
    parts.tensors.clear();
    parts.data.clear();
    let matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    let of_layer = matrices.iter().map(|name| (format!("blk.0.{name}.weight"), vec![256, 256]));
    let norms = ["blk.0.attn_norm.weight", "blk.0.ffn_norm.weight", "output_norm.weight"];
    let embedding = [("token_embd.weight".to_owned(), vec![256, vocab])];
    let all = of_layer.chain(norms.map(|name| (name.to_owned(), vec![256]))).chain(embedding);
    for (name, dims) in all {
        let (kind, numbers, size) = *dice.pick(&BLOCK);
        let offset = parts.data.len().next_multiple_of(32);
        parts.data.resize(offset, 0);
        let count = dims.iter().product::<u64>() / numbers * size;
        // Chance alone is not a number too often: half of the tensors are of one byte over and over.
        let bytes = if dice.one_in(2) {
            dice.bytes(count as usize)
        } else {
            vec![dice.below(64) as u8; count as usize]
        };
        parts.data.extend(bytes);
        parts.tensors.push(Tensor { name, dims, kind, offset: offset as u64 });
    }
    parts.bytes()
}

#[test]
fn blocks_of_every_type_are_numbers_whatever_is_in_them() {
    let tiny = Gguf::of(&fs::read(fixture("tiny.gguf")).unwrap());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    cases(
        "blocks of GGUF",
        BLOCKS,
        |dice| of_blocks(dice, &tiny),
        |bytes| {
            fs::write(&path, bytes).unwrap();
            let model = reads(bytes.len(), || open(&path)).unwrap();
            assert_eq!(model.params.len(), 11);
            works(model);
            true
        },
    );
}

#[test]
fn arrays_and_texts_inside_one_another_end_where_the_file_does() {
    let tiny = Gguf::of(&fs::read(fixture("tiny.gguf")).unwrap());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    let nested = |dice: &mut Dice| {
        let mut value = Vec::new();
        for _ in 0..dice.below(2000) {
            value.extend((if dice.one_in(50) { TEXT } else { ARRAY }).to_le_bytes());
            value.extend(dice.pick(&[1, 2, 1 << 20, u64::MAX]).to_le_bytes());
        }
        let mut parts = tiny.clone();
        parts.set("tokenizer.ggml.tokens", ARRAY, &value);
        parts.bytes()
    };
    cases("arrays of GGUF", FIELDS / 8, nested, |bytes| {
        fs::write(&path, bytes).unwrap();
        reads(bytes.len(), || open(&path)).is_some()
    });
}
