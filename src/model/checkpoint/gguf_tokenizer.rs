//! The tokenizer in a GGUF file's metadata, put into the words of a `tokenizer.json`.

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::gguf_file::Value as Metadatum;
use serde_json::{Map, Value, json};

use super::error::{Error, quoted};
use super::gguf::whole_number;
use super::gguf_sentencepiece;
use crate::model::tokenizer::Tokenizer;

pub(super) type Metadata = HashMap<String, Metadatum>;

/// How text is cut before bytes are merged: the regular expressions of the models' own `tokenizer.json`. The
/// two differ in how many digits go together.
const LLAMA_3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
const QWEN_2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// What a token is for (`enum llama_token_type` in llama.h). The others are plain entries of the vocabulary.
pub(super) const UNKNOWN: u64 = 2;
pub(super) const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// Builds the tokenizer that the metadata describes.
pub(super) fn read(path: &Path, metadata: &Metadata) -> Result<Tokenizer, Error> {
    let mut parts = match text(metadata, "tokenizer.ggml.model") {
        Some("gpt2") => byte_pairs(path, metadata)?,
        Some("llama") => gguf_sentencepiece::parts(path, metadata)?,
        other => {
            let problem = format!(
                "tokenizer.ggml.model {} is not supported, gpt2 (byte-level BPE) and llama (SentencePiece) \
                 are: use the Hugging Face folder of this model",
                other.map_or_else(|| "(none)".to_owned(), quoted)
            );
            return Err(Error::unsupported(path, problem));
        }
    };
    let tokens = texts(path, metadata, "tokenizer.ggml.tokens")?;
    let vocab: Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| ((*token).to_owned(), id.into())).collect();
    if vocab.len() != tokens.len() {
        return Err(Error::damaged(path, "tokenizer.ggml.tokens has the same token twice"));
    }
    parts.model["vocab"] = vocab.into();
    let file = json!({
        "version": "1.0",
        "added_tokens": added_tokens(metadata, &tokens),
        "post_processor": post_processor(path, metadata, &tokens, &parts)?,
        "normalizer": parts.normalizer,
        "pre_tokenizer": parts.pre_tokenizer,
        "decoder": parts.decoder,
        "model": parts.model,
    });
    Tokenizer::from_json(file.to_string().as_bytes())
        .map_err(|problem| Error::Tokenizer { path: path.to_owned(), problem })
}

/// What kinds of tokenizers differ in: parts of a `tokenizer.json`, the vocabulary apart.
pub(super) struct Parts {
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    pub(super) decoder: Value,
    pub(super) model: Value,
    /// Whether texts begin with a token of their own where the file does not say.
    pub(super) adds_bos: bool,
    /// The tokens that begin and end a text where the file does not say.
    pub(super) bos: Option<u64>,
    pub(super) eos: Option<u64>,
}

/// Byte-level BPE, as GPT-2 has it: the file lists the merges.
fn byte_pairs(path: &Path, metadata: &Metadata) -> Result<Parts, Error> {
    let rules = Rules::of(path, text(metadata, "tokenizer.ggml.pre"))?;
    let merges = texts(path, metadata, "tokenizer.ggml.merges")?
        .into_iter()
        .map(split_merge)
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Error::damaged(path, "tokenizer.ggml.merges has one that is no pair"))?;
    Ok(Parts {
        normalizer: rules.normalizer,
        pre_tokenizer: rules.pre_tokenizer,
        decoder: byte_level(true),
        model: json!({"type": "BPE", "ignore_merges": rules.ignores_merges, "merges": merges}),
        adds_bos: rules.adds_bos,
        bos: None,
        eos: None,
    })
}

/// What `tokenizer.ggml.pre` stands for.
struct Rules {
    normalizer: Value,
    pre_tokenizer: Value,
    /// Whether a piece that is a token as a whole is that token, whatever the merges say.
    ignores_merges: bool,
    /// Whether texts begin with a token of their own where the file does not say.
    adds_bos: bool,
}

impl Rules {
    /// The rules of llama.cpp (`llama_vocab::impl::load` in src/llama-vocab.cpp) for the supported names.
    ///
    /// A file that names none is taken for GPT-2's. llama.cpp then guesses at a finer cut and warns of bad results.
    fn of(path: &Path, pre: Option<&str>) -> Result<Self, Error> {
        let plain = |pre_tokenizer| Self {
            normalizer: Value::Null,
            pre_tokenizer,
            ignores_merges: false,
            adds_bos: false,
        };
        Ok(match pre {
            None | Some("default" | "gpt-2" | "granite-docling" | "mellum" | "olmo" | "trillion") => {
                plain(byte_level(true))
            }
            Some("smollm" | "minerva-7b" | "refact" | "starcoder") => {
                let digits = json!({"type": "Digits", "individual_digits": true});
                plain(sequence(&digits, &byte_level(true)))
            }
            Some("llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "midm-2.0" | "pixtral") => Self {
                ignores_merges: true,
                adds_bos: true,
                ..plain(sequence(&split(LLAMA_3), &byte_level(false)))
            },
            Some("smaug-bpe" | "dbrx") => plain(sequence(&split(LLAMA_3), &byte_level(false))),
            Some("qwen2") => Self {
                normalizer: json!({"type": "NFC"}),
                ..plain(sequence(&split(QWEN_2), &byte_level(false)))
            },
            Some(other) => {
                let problem = format!(
                    "tokenizer.ggml.pre {} is not supported, default, gpt-2, smollm, llama-bpe and qwen2 \
                     are: use the Hugging Face folder of this model",
                    quoted(other)
                );
                return Err(Error::unsupported(path, problem));
            }
        })
    }
}

fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

fn split(regex: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false})
}

fn sequence(first: &Value, second: &Value) -> Value {
    json!({"type": "Sequence", "pretokenizers": [first, second]})
}

/// The two halves of a merge. The first may itself begin with the space that separates them.
fn split_merge(merge: &str) -> Option<[&str; 2]> {
    let first = merge.chars().next()?.len_utf8();
    let space = first + merge[first..].find(' ')?;
    Some([&merge[..space], &merge[space + 1..]])
}

/// Tokens that are looked for in the text before anything else.
fn added_tokens(metadata: &Metadata, tokens: &[&str]) -> Vec<Value> {
    let Some(Metadatum::Array(kinds)) = metadata.get("tokenizer.ggml.token_type") else { return Vec::new() };
    let mut added = Vec::new();
    for (id, (token, kind)) in tokens.iter().zip(kinds).enumerate() {
        let is_special = match whole_number(kind) {
            Some(UNKNOWN | CONTROL) => true,
            Some(USER_DEFINED) => false,
            _ => continue,
        };
        added.push(json!({
            "id": id, "content": token, "special": is_special, "normalized": false,
            "single_word": false, "lstrip": false, "rstrip": false,
        }));
    }
    added
}

/// Puts the beginning and end of a text around it, where the file asks for them.
fn post_processor(path: &Path, metadata: &Metadata, tokens: &[&str], parts: &Parts) -> Result<Value, Error> {
    let token = |key: &str, otherwise: Option<u64>| {
        let id = metadata.get(key).and_then(whole_number).or(otherwise);
        let name = id.and_then(|id| tokens.get(usize::try_from(id).ok()?));
        id.zip(name).ok_or_else(|| Error::damaged(path, format!("{key} names no token")))
    };
    let mut template = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut special = Map::new();
    let mut mark = |(id, name): (u64, &&str)| {
        special.insert((*name).to_owned(), json!({"id": name, "ids": [id], "tokens": [name]}));
        json!({"SpecialToken": {"id": name, "type_id": 0}})
    };
    if flag(metadata, "tokenizer.ggml.add_bos_token", parts.adds_bos) {
        template.insert(0, mark(token("tokenizer.ggml.bos_token_id", parts.bos)?));
    }
    if flag(metadata, "tokenizer.ggml.add_eos_token", false) {
        template.push(mark(token("tokenizer.ggml.eos_token_id", parts.eos)?));
    }
    if template.len() == 1 {
        return Ok(Value::Null);
    }
    let mut pair = template.clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    Ok(json!({"type": "TemplateProcessing", "single": template, "pair": pair, "special_tokens": special}))
}

fn text<'a>(metadata: &'a Metadata, key: &str) -> Option<&'a str> {
    metadata.get(key)?.to_string().ok().map(String::as_str)
}

pub(super) fn flag(metadata: &Metadata, key: &str, otherwise: bool) -> bool {
    match metadata.get(key) {
        Some(Metadatum::Bool(flag)) => *flag,
        _ => otherwise,
    }
}

pub(super) fn texts<'a>(path: &Path, metadata: &'a Metadata, key: &str) -> Result<Vec<&'a str>, Error> {
    let Some(Metadatum::Array(values)) = metadata.get(key) else {
        return Err(Error::damaged(path, format!("lacks {key}")));
    };
    let texts = values.iter().map(|value| value.to_string().ok().map(String::as_str)).collect::<Option<_>>();
    texts.ok_or_else(|| Error::damaged(path, format!("{key} is not a list of texts")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Metadatum {
        Metadatum::Array(texts.iter().map(|text| Metadatum::String((*text).to_owned())).collect())
    }

    /// A vocabulary with whole words and numbers that no merge leads to, as Llama 3's has.
    fn metadata(pre: &str) -> Metadata {
        let tokens = [
            "<bos>", "<eos>", "<tool>", "a", "b", "ab", "Ġ", "1", "2", "3", "4", "12", "123", "word", "w",
            "o", "Ã", "©",
        ];
        let kinds = [3, 3, 4, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1].map(Metadatum::I32);
        let text = |text: &str| Metadatum::String(text.to_owned());
        [
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text(pre)),
            ("tokenizer.ggml.tokens", strings(&tokens)),
            ("tokenizer.ggml.merges", strings(&["a b", "1 2"])),
            ("tokenizer.ggml.token_type", Metadatum::Array(kinds.into())),
            ("tokenizer.ggml.bos_token_id", Metadatum::U32(0)),
            ("tokenizer.ggml.eos_token_id", Metadatum::U32(1)),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    fn cut(metadata: &Metadata, text: &str) -> Vec<String> {
        let tokenizer = read(Path::new("m.gguf"), metadata).unwrap();
        tokenizer.encode(text).unwrap().into_iter().map(|id| tokenizer.token(id).text).collect()
    }

    #[test]
    fn smollm_cuts_digits_apart() {
        assert_eq!(cut(&metadata("smollm"), "ab 12"), ["ab", " ", "1", "2"]);
        assert_eq!(cut(&metadata("gpt-2"), "ab 12"), ["ab", " ", "12"]);
    }

    #[test]
    fn qwen2_cuts_digits_apart_and_composes_characters() {
        assert_eq!(cut(&metadata("qwen2"), "12"), ["1", "2"]);
        assert_eq!(cut(&metadata("qwen2"), "e\u{301}"), ["<0xC3>", "<0xA9>"]);
    }

    #[test]
    fn llama_bpe_takes_up_to_three_digits_whole_words_and_a_beginning_of_text() {
        assert_eq!(cut(&metadata("llama-bpe"), "1234word"), ["<bos>", "123", "4", "word"]);
    }

    #[test]
    fn other_names_of_a_rule_stand_for_it() {
        assert_eq!(cut(&metadata("refact"), "ab 12"), ["ab", " ", "1", "2"]);
        assert_eq!(cut(&metadata("falcon3"), "1234"), ["<bos>", "123", "4"]);
        assert_eq!(cut(&metadata("smaug-bpe"), "1234"), ["12", "3", "4"]);
    }

    #[test]
    fn the_file_decides_about_the_beginning_and_end_of_a_text() {
        let mut metadata = metadata("llama-bpe");
        metadata.insert("tokenizer.ggml.add_bos_token".to_owned(), Metadatum::Bool(false));
        assert_eq!(cut(&metadata, "ab"), ["ab"]);
        metadata.insert("tokenizer.ggml.add_eos_token".to_owned(), Metadatum::Bool(true));
        assert_eq!(cut(&metadata, "ab"), ["ab", "<eos>"]);
    }

    #[test]
    fn control_and_user_defined_tokens_are_found_in_text() {
        assert_eq!(cut(&metadata("smollm"), "a<tool>b<eos>"), ["a", "<tool>", "b", "<eos>"]);
    }

    #[test]
    fn other_tokenizers_are_refused_by_name() {
        let refusal = |metadata: &Metadata| read(Path::new("m.gguf"), metadata).unwrap_err().to_string();
        assert_eq!(
            refusal(&metadata("tekken")),
            "m.gguf: tokenizer.ggml.pre \"tekken\" is not supported, default, gpt-2, smollm, llama-bpe and \
             qwen2 are: use the Hugging Face folder of this model"
        );
        let mut unigram = metadata("default");
        unigram.insert("tokenizer.ggml.model".to_owned(), Metadatum::String("t5".to_owned()));
        assert_eq!(
            refusal(&unigram),
            "m.gguf: tokenizer.ggml.model \"t5\" is not supported, gpt2 (byte-level BPE) and llama \
             (SentencePiece) are: use the Hugging Face folder of this model"
        );
        let mut wrong = metadata("smollm");
        wrong.insert("tokenizer.ggml.merges".to_owned(), strings(&["a x"]));
        assert!(refusal(&wrong).contains("is not a tokenizer.json that can be used"), "{}", refusal(&wrong));
    }
}
