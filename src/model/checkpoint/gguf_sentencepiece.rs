//! `SentencePiece` tokenizers of GGUF files (`tokenizer.ggml.model` "llama"), as Llama 2, Mistral and `TinyLlama` have.
//!
//! Such a file has no merges but a score for each piece. llama.cpp joins the two neighbours whose piece has the
//! best score, the leftmost of equals (`llm_tokenizer_spm_session` in its src/llama-vocab.cpp). Merges in the
//! order of the scores do the same, but for two cases: pieces of the same score, which a trained model does not
//! have but a vocabulary that was enlarged by hand may; and pieces of which not every character is a piece,
//! which no merge leads to.

use std::collections::HashSet;
use std::path::Path;

use candle_core::quantized::gguf_file::Value as Metadatum;
use serde_json::{Value, json};

use super::error::Error;
use super::gguf::whole_number;
use super::gguf_tokenizer::{CONTROL, Metadata, Parts, UNKNOWN, flag, texts};

/// What stands for one byte of a character that is no piece (`enum llama_token_type` in llama.h).
const BYTE: u64 = 6;
/// Bytes of a piece that is joined from others. Runs of spaces or dashes are the longest.
const LONGEST: usize = 256;

/// The `tokenizer.json` of transformers' `LlamaTokenizerFast`, where its conversion is called legacy: a space comes
/// before the text and behind each special token, as in llama.cpp.
pub(super) fn parts(path: &Path, metadata: &Metadata) -> Result<Parts, Error> {
    // What llama.cpp takes where the file does not say.
    const UNKNOWN_ID: u64 = 0;
    const BOS_ID: u64 = 1;
    const EOS_ID: u64 = 2;
    let tokens = texts(path, metadata, "tokenizer.ggml.tokens")?;
    let scores = scores(path, metadata, tokens.len())?;
    let kinds = match metadata.get("tokenizer.ggml.token_type") {
        Some(Metadatum::Array(kinds)) => kinds.as_slice(),
        _ => &[],
    };
    let is_text = |id: usize| {
        let kind = kinds.get(id).and_then(whole_number);
        !matches!(kind, Some(UNKNOWN | CONTROL | BYTE))
    };
    let unknown =
        metadata.get("tokenizer.ggml.unknown_token_id").and_then(whole_number).unwrap_or(UNKNOWN_ID);
    let unknown = usize::try_from(unknown).ok().and_then(|id| tokens.get(id));
    let replace =
        |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
    let mut normalizers = vec![replace(" ", "▁")];
    let mut decoders = vec![replace("▁", " "), json!({"type": "ByteFallback"}), json!({"type": "Fuse"})];
    if flag(metadata, "tokenizer.ggml.add_space_prefix", true) {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    Ok(Parts {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        pre_tokenizer: Value::Null,
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        model: json!({
            "type": "BPE",
            "unk_token": unknown,
            "fuse_unk": true,
            "byte_fallback": true,
            "merges": merges(&tokens, &scores, is_text),
        }),
        adds_bos: true,
        bos: Some(BOS_ID),
        eos: Some(EOS_ID),
    })
}

/// Each way to join two pieces to a third, the best piece first, and of one piece that with the longest beginning.
///
/// With the longest beginning first, the left one of two ways that overlap in a text comes first, as in "ab|a|ba"
/// with the piece "aba".
fn merges<'a>(tokens: &[&'a str], scores: &[f32], is_text: impl Fn(usize) -> bool) -> Vec<[&'a str; 2]> {
    let pieces: Vec<(f32, &str)> = scores
        .iter()
        .zip(tokens)
        .enumerate()
        .filter(|(id, _)| is_text(*id))
        .map(|(_, (score, token))| (*score, *token))
        .collect();
    let known: HashSet<&str> = pieces.iter().map(|(_, piece)| *piece).collect();
    let mut merges = Vec::new();
    for &(score, piece) in pieces.iter().filter(|(_, piece)| piece.len() <= LONGEST) {
        let places = piece.char_indices().rev().map(|(place, _)| place).filter(|place| *place > 0);
        let halves = places.map(|place| piece.split_at(place));
        let joined = halves.filter(|(left, right)| known.contains(left) && known.contains(right));
        merges.extend(joined.map(|(left, right)| (score, [left, right])));
    }
    merges.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    merges.into_iter().map(|(_, merge)| merge).collect()
}

fn scores(path: &Path, metadata: &Metadata, count: usize) -> Result<Vec<f32>, Error> {
    const KEY: &str = "tokenizer.ggml.scores";
    let Some(Metadatum::Array(values)) = metadata.get(KEY) else {
        return Err(Error::damaged(path, format!("lacks {KEY}")));
    };
    let score = |value: &Metadatum| match value {
        Metadatum::F32(score) => Some(*score),
        Metadatum::I32(score) => Some(*score as f32),
        _ => None,
    };
    let scores = values.iter().map(score).collect::<Option<Vec<_>>>().filter(|scores| scores.len() >= count);
    scores.ok_or_else(|| Error::damaged(path, format!("{KEY} is not a number for each token")))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::PathBuf;

    use super::super::gguf_header::Header;
    use super::super::gguf_tokenizer::read;
    use super::*;
    use crate::model::tokenizer::Tokenizer;

    /// `make_spm.py` made the file and the ids.
    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn metadata() -> Metadata {
        let path = fixture("spm.gguf");
        Header::read(&path, &File::open(&path).unwrap()).unwrap().metadata
    }

    fn tokenizer(metadata: &Metadata) -> Tokenizer {
        read(Path::new("m.gguf"), metadata).unwrap()
    }

    fn cut(metadata: &Metadata, text: &str) -> Vec<String> {
        let tokenizer = tokenizer(metadata);
        tokenizer.encode(text).unwrap().into_iter().map(|id| tokenizer.token(id).text).collect()
    }

    #[test]
    fn text_becomes_the_ids_of_sentencepiece() {
        let expected: Value = serde_json::from_slice(&fs::read(fixture("spm.json")).unwrap()).unwrap();
        let tokenizer = tokenizer(&metadata());
        for entry in expected.as_array().unwrap() {
            let text = entry["text"].as_str().unwrap();
            assert_eq!(json!(tokenizer.encode(text).unwrap()), entry["ids"], "{text:?}");
        }
    }

    #[test]
    fn the_file_decides_about_the_space_before_a_text() {
        let mut metadata = metadata();
        assert_eq!(cut(&metadata, "The capital"), ["<s>", " The", " capital"]);
        metadata.insert("tokenizer.ggml.add_space_prefix".to_owned(), Metadatum::Bool(false));
        assert_eq!(cut(&metadata, "The capital"), ["<s>", "T", "he", " capital"]);
    }

    #[test]
    fn the_file_decides_about_the_beginning_and_end_of_a_text() {
        let mut metadata = metadata();
        metadata.remove("tokenizer.ggml.bos_token_id");
        metadata.remove("tokenizer.ggml.eos_token_id");
        metadata.insert("tokenizer.ggml.add_eos_token".to_owned(), Metadatum::Bool(true));
        assert_eq!(cut(&metadata, "is"), ["<s>", " is", "</s>"]);
        metadata.insert("tokenizer.ggml.add_bos_token".to_owned(), Metadatum::Bool(false));
        assert_eq!(cut(&metadata, "is"), [" is", "</s>"]);
    }

    #[test]
    fn the_best_piece_is_joined_first_and_from_its_longest_beginning() {
        let tokens = ["<s>", "a", "b", "ab", "ba", "aba", "<s>a"];
        let scores = [0.0, -9.0, -9.0, -2.0, -3.0, -1.0, 0.0];
        assert_eq!(
            merges(&tokens, &scores, |id| id != 0),
            [["ab", "a"], ["a", "ba"], ["a", "b"], ["b", "a"]],
            "and none from a token that is no text"
        );
    }

    #[test]
    fn a_file_without_a_score_for_each_token_is_damaged() {
        let refusal = |metadata: &Metadata| read(Path::new("m.gguf"), metadata).unwrap_err().to_string();
        let mut metadata = metadata();
        metadata.insert("tokenizer.ggml.scores".to_owned(), Metadatum::Array(vec![Metadatum::F32(0.0)]));
        assert!(refusal(&metadata).contains("tokenizer.ggml.scores is not a number for each token"));
        metadata.remove("tokenizer.ggml.scores");
        assert!(refusal(&metadata).contains("lacks tokenizer.ggml.scores"));
    }
}
