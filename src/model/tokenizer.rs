//! Text to token ids and back to something a person can read.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, PreTokenizerWrapper};

use super::checkpoint::quoted;
use crate::protocol::Token;

/// Ends every document of a trained tokenizer's corpus.
const END_OF_TEXT: &str = "<|endoftext|>";

/// The names under which tokenizers of the Llama family end a text, the most common first.
const ENDS: [&str; 5] = [END_OF_TEXT, "<|end_of_text|>", "</s>", "<|im_end|>", "<|eot_id|>"];

/// The bytes, and [`END_OF_TEXT`].
const SMALLEST: usize = 257;

/// Bytes of a word, or of the spaces between two, that a tokenizer is made of at a time.
const LONGEST_WORD: usize = 256;

/// The largest id of a token: no model embeds more tokens.
const LARGEST_ID: u64 = (1 << 24) - 1;

/// What can go wrong with a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Read(std::io::Error),
    /// The file is no tokenizer.
    #[error("is not a tokenizer.json that can be used ({0}): fetch it again, or save it with transformers")]
    Format(String),
    /// Fewer tokens than there are bytes.
    #[error("a byte-level tokenizer has at least {SMALLEST} tokens, not {0}: choose a larger vocabulary")]
    TooSmall(usize),
    /// The text could not be cut into tokens, or the corpus not be learnt from.
    #[error("the tokenizer failed: {0}")]
    Failed(String),
}

/// Cuts text into tokens.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    vocab_size: usize,
    spelling: Spelling,
    eos: Option<u32>,
}

/// How a vocabulary writes down the bytes of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Each byte as one printable character (GPT-2).
    ByteLevel,
    /// Characters, with `▁` for a space and `<0x0A>` for a lone byte (`SentencePiece`).
    SentencePiece,
}

impl Tokenizer {
    /// Learns a byte-level BPE from documents: at most `vocab_size` tokens, `<|endoftext|>` with id 0.
    ///
    /// The same documents give the same tokenizer, byte for byte. What has no end of a word for 256 bytes is
    /// learnt from in pieces: the library's work grows with the square of a word.
    pub fn train<I, S>(documents: I, vocab_size: usize) -> Result<Self, Error>
    where
        I: Iterator<Item = S> + Send,
        S: AsRef<str> + Send,
    {
        if vocab_size < SMALLEST {
            return Err(Error::TooSmall(vocab_size));
        }
        let byte_level = ByteLevel::default().add_prefix_space(false);
        let mut trained = tokenizers::TokenizerBuilder::<BPE, tokenizers::NormalizerWrapper, _, _, _>::new()
            .with_model(BPE::default())
            .with_pre_tokenizer(Some(byte_level))
            .with_post_processor(Some(byte_level.trim_offsets(false)))
            .with_decoder(Some(byte_level))
            .build()?;
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocab_size)
            .show_progress(false)
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let cut = |document: S| pieces(document.as_ref()).map(str::to_owned).collect::<Vec<_>>();
        trained.train(&mut trainer, documents.flat_map(cut))?;
        Self::from_json(trained.to_string(false)?.as_bytes())
    }

    /// Reads a `tokenizer.json`.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        Self::from_json(&std::fs::read(path).map_err(Error::Read)?)
    }

    /// Understands the bytes of a `tokenizer.json`.
    ///
    /// Truncation and padding, which some files ask for, are left out: they would change what is measured.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Error> {
        // The library panics where a file breaks off inside some of its parts: what reaches it is whole.
        let file = serde_json::from_slice(bytes).map_err(|cause| Error::Format(cause.to_string()))?;
        check_merges(&file)?;
        check_ids(&file)?;
        for part in ["normalizer", "pre_tokenizer", "post_processor"] {
            check_parts(&file[part])?;
        }
        let mut inner =
            tokenizers::Tokenizer::from_bytes(bytes).map_err(|cause| Error::Format(one_line(&cause)))?;
        inner.with_truncation(None)?;
        inner.with_padding(None);
        let ids = inner.get_vocab(true).into_values();
        let vocab_size = ids.max().map_or(0, |id| id as usize + 1);
        let spelling = if spells_bytes(&inner) { Spelling::ByteLevel } else { Spelling::SentencePiece };
        let eos = ENDS.iter().find_map(|name| inner.token_to_id(name));
        Ok(Self { inner, vocab_size, spelling, eos })
    }

    /// The text of its `tokenizer.json`: the same tokenizer gives the same text.
    pub fn to_json(&self) -> Result<String, Error> {
        Ok(self.inner.to_string(true)?)
    }

    /// The ids of a text, with the tokens that the tokenizer's own post-processor adds (a beginning of text,
    /// as a rule) and no others.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.inner.encode_fast(text, true)?.get_ids().to_vec())
    }

    /// The ids of a text, and the place of the first that holds something of what begins at this byte.
    pub fn encode_from(&self, text: &str, byte: usize) -> Result<(Vec<u32>, usize), Error> {
        let encoding = self.inner.encode(text, true)?;
        let place = encoding.get_offsets().iter().position(|(_, end)| *end > byte);
        Ok((encoding.get_ids().to_vec(), place.unwrap_or(encoding.len())))
    }

    /// The ids of a text and nothing added.
    pub fn encode_raw(&self, text: &str) -> Result<Vec<u32>, Error> {
        Ok(self.inner.encode_fast(text, false)?.get_ids().to_vec())
    }

    /// The largest id plus one: the number of tokens, and of unused ids where the ids have holes.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The token that ends a text, if there is one.
    pub fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The same tokenizer, with texts ended by another token, as a model's configuration may say.
    #[must_use]
    pub(super) fn with_eos(self, eos: u32) -> Self {
        Self { eos: Some(eos), ..self }
    }

    /// The name of a token in the vocabulary, as `tokenizer_config.json` refers to it.
    pub(super) fn name(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// A token as it reads: its text, `<0xE2>` for each byte that is no character by itself, and `<id 7>` for
    /// an id that the vocabulary does not use.
    pub fn token(&self, id: u32) -> Token {
        Token { id, text: self.text(&[id]) }
    }

    /// Tokens as they read one after another: bytes that only together make a character are that character.
    pub fn text(&self, ids: &[u32]) -> String {
        readable(&ids.iter().flat_map(|&id| self.bytes(id)).collect::<Vec<u8>>())
    }

    fn bytes(&self, id: u32) -> Vec<u8> {
        let Some(name) = self.inner.id_to_token(id) else { return format!("<id {id}>").into_bytes() };
        if self.inner.get_added_vocabulary().get_added_tokens_decoder().contains_key(&id) {
            return name.into_bytes();
        }
        match self.spelling {
            Spelling::ByteLevel => bytes_of(&name),
            Spelling::SentencePiece => match lone_byte(&name) {
                Some(byte) => vec![byte],
                None => name.replace('\u{2581}', " ").into_bytes(),
            },
        }
    }

    /// Whether every id stands for the same text in both.
    pub fn same_tokens(&self, other: &Self) -> bool {
        self.vocab_size == other.vocab_size
            && (0..self.vocab_size as u32).all(|id| self.inner.id_to_token(id) == other.inner.id_to_token(id))
    }
}

impl From<tokenizers::Error> for Error {
    fn from(cause: tokenizers::Error) -> Self {
        Self::Failed(one_line(&cause))
    }
}

fn one_line(cause: &tokenizers::Error) -> String {
    cause.to_string().escape_debug().to_string()
}

/// A text, cut where words or the spaces between them go on for [`LONGEST_WORD`] bytes.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let (mut begin, mut word, mut is_space) = (0, 0, false);
    let mut ends = Vec::new();
    for (place, character) in text.char_indices() {
        if character.is_whitespace() != is_space {
            (word, is_space) = (place, !is_space);
        } else if place - word >= LONGEST_WORD {
            word = place;
            ends.push(place);
        }
    }
    ends.push(text.len());
    ends.into_iter().map(move |end| &text[std::mem::replace(&mut begin, end)..end])
}

/// Refuses merges longer than the longest token: the library takes for granted that there are none.
fn check_merges(file: &Value) -> Result<(), Error> {
    let model = &file["model"];
    let (Some(vocab), Some(merges)) = (model["vocab"].as_object(), model["merges"].as_array()) else {
        return Ok(());
    };
    let longest = vocab.keys().map(String::len).max().unwrap_or(0);
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    let fits = |merge: &Value| {
        let pair = match merge {
            Value::String(line) => line.split_once(' '),
            pair => pair[0].as_str().zip(pair[1].as_str()),
        };
        pair.and_then(|(left, right)| Some(left.len() + right.strip_prefix(prefix)?.len()))
            .is_some_and(|length| length <= longest)
    };
    match merges.iter().find(|merge| !fits(merge)) {
        Some(merge) => Err(Error::Format(format!("the merge {} makes no token", quoted(&merge.to_string())))),
        None => Ok(()),
    }
}

/// Refuses ids that no model has: what is done for every id up to the largest would take forever. An id of two tokens
/// is refused, too: the file that the library writes would lack one of them.
fn check_ids(file: &Value) -> Result<(), Error> {
    let vocab = file["model"]["vocab"].as_object();
    let mut tokens = HashMap::new();
    for (token, id) in vocab.into_iter().flatten() {
        if let Some(other) = id.as_u64().and_then(|id| tokens.insert(id, token)) {
            let [one, other] = [other, token].map(|token| quoted(token));
            return Err(Error::Format(format!("the tokens {one} and {other} have the same id, {id}")));
        }
    }
    match vocab.into_iter().flatten().find(|(_, id)| id.as_u64().is_some_and(|id| id > LARGEST_ID)) {
        Some((token, id)) => {
            Err(Error::Format(format!("the token {} has the id {id}, which no model has", quoted(token))))
        }
        None => Ok(()),
    }
}

/// Refuses parts on which the library panics, now or with the first text: maps of characters as `SentencePiece`
/// compiles them, which it reads unchecked, pieces of no length, and templates that name a second text where there is
/// one, or tokens that their list does not have.
fn check_parts(part: &Value) -> Result<(), Error> {
    for list in ["normalizers", "pretokenizers", "processors"] {
        part[list].as_array().into_iter().flatten().try_for_each(check_parts)?;
    }
    if part["type"] == "Precompiled" || !part["precompiled_charsmap"].is_null() {
        return Err(Error::Format("its normalizer Precompiled is not supported".to_owned()));
    }
    if part["type"] == "FixedLength" && part["length"] == 0 {
        return Err(Error::Format("its pre-tokenizer FixedLength has the length 0".to_owned()));
    }
    if part["single"].as_array().into_iter().flatten().any(|piece| piece["Sequence"]["id"] == "B") {
        return Err(Error::Format("its template for one text names a second".to_owned()));
    }
    let templates = ["single", "pair"].into_iter().filter_map(|template| part[template].as_array());
    let mut names = templates.flatten().filter_map(|piece| piece["SpecialToken"]["id"].as_str());
    match names.find(|name| part["special_tokens"][name].is_null()) {
        Some(name) => {
            Err(Error::Format(format!("its template names {}, which it does not list", quoted(name))))
        }
        None => Ok(()),
    }
}

fn spells_bytes(tokenizer: &tokenizers::Tokenizer) -> bool {
    fn decodes(decoder: &DecoderWrapper) -> bool {
        match decoder {
            DecoderWrapper::ByteLevel(_) => true,
            DecoderWrapper::Sequence(sequence) => sequence.get_decoders().iter().any(decodes),
            _ => false,
        }
    }
    fn splits(pre_tokenizer: &PreTokenizerWrapper) -> bool {
        match pre_tokenizer {
            PreTokenizerWrapper::ByteLevel(_) => true,
            PreTokenizerWrapper::Sequence(sequence) => sequence.as_ref().iter().any(splits),
            _ => false,
        }
    }
    tokenizer.get_decoder().is_some_and(decodes) || tokenizer.get_pre_tokenizer().is_some_and(splits)
}

/// The bytes that a byte-level token stands for. A character outside GPT-2's alphabet stands for itself.
fn bytes_of(name: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    for character in name.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    bytes
}

/// GPT-2 writes printable bytes as the characters of Latin-1 and the other 68, in order, as those from U+0100
/// (`bytes_to_unicode` in github.com/openai/gpt-2, src/encoder.py).
fn byte_of(character: char) -> Option<u8> {
    let is_printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(character) {
        code @ 0..=0xFF => Some(code as u8).filter(is_printable),
        code @ 0x100..0x144 => (0..=0xFF).filter(|byte| !is_printable(byte)).nth((code - 0x100) as usize),
        _ => None,
    }
}

/// The byte of a `SentencePiece` byte token such as `<0x0A>`.
fn lone_byte(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Text where the bytes are text, `<0xE2>` for each byte where they are not.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("<0x{byte:02X}>")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTS: [&str; 3] = [
        "The capital of France is Paris. The capital of Italy is Rome.",
        "A café in Paris; the cafés of Rome, 1999 — or 2001?",
        "the the the then there these capital capitals",
    ];

    #[test]
    fn a_text_is_cut_only_where_a_word_or_the_space_after_it_does_not_end() {
        for whole in ["", " a  b ", &"word ".repeat(1000), &"é".repeat(LONGEST_WORD / 2)] {
            assert_eq!(pieces(whole).collect::<Vec<_>>(), [whole]);
        }
        let long = format!("a {}\n{}b", "日".repeat(1000), " ".repeat(1000));
        let cut: Vec<&str> = pieces(&long).collect();
        assert_eq!(cut.concat(), long);
        assert!(cut.len() > 10 && cut.iter().all(|piece| piece.len() < 2 * LONGEST_WORD), "{cut:?}");
    }

    fn trained() -> Tokenizer {
        Tokenizer::train(DOCUMENTS.iter(), 300).unwrap()
    }

    fn texts(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        tokenizer.encode(text).unwrap().into_iter().map(|id| tokenizer.token(id).text).collect()
    }

    #[test]
    fn training_twice_gives_the_same_file() {
        let first = trained().to_json().unwrap();
        for _ in 0..20 {
            assert_eq!(trained().to_json().unwrap(), first);
        }
    }

    #[test]
    fn a_trained_vocabulary_is_at_most_as_large_as_asked_for() {
        assert_eq!(trained().vocab_size(), 300);
        let exhausted = Tokenizer::train(["abc"].iter(), 4096).unwrap();
        assert_eq!(exhausted.vocab_size(), SMALLEST + 2);
        assert_eq!(
            Tokenizer::train(DOCUMENTS.iter(), 256).unwrap_err().to_string(),
            "a byte-level tokenizer has at least 257 tokens, not 256: choose a larger vocabulary"
        );
    }

    #[test]
    fn a_trained_tokenizer_ends_texts_with_id_0_and_adds_nothing() {
        let tokenizer = trained();
        assert_eq!(tokenizer.eos(), Some(0));
        assert_eq!(tokenizer.token(0).text, "<|endoftext|>");
        assert_eq!(tokenizer.encode(" the").unwrap(), tokenizer.encode_raw(" the").unwrap());
        assert_eq!(texts(&tokenizer, "The capital of"), ["The", " capital", " of"]);
    }

    #[test]
    fn any_text_is_cut_into_tokens_that_read_as_it() {
        let tokenizer = trained();
        for text in ["The cafés\n\tof 1999 ", "a\u{0}b", " ", ""] {
            assert_eq!(texts(&tokenizer, text).concat(), text);
        }
    }

    #[test]
    fn bytes_that_are_no_character_read_as_numbers() {
        let tokenizer = trained();
        assert_eq!(texts(&tokenizer, "日"), ["<0xE6>", "<0x97>", "<0xA5>"]);
        assert_eq!(tokenizer.token(300).text, "<id 300>");
    }

    #[test]
    fn every_byte_has_its_own_character() {
        let bytes: std::collections::BTreeSet<u8> =
            ByteLevel::alphabet().into_iter().map(|character| byte_of(character).unwrap()).collect();
        assert_eq!(bytes.len(), 256);
        assert_eq!(bytes_of("Ġcaf\u{c3}\u{a9}Ċ"), " café\n".as_bytes());
        assert_eq!(byte_of('日'), None);
    }

    #[test]
    fn a_file_gives_back_the_tokenizer_it_was_made_from() {
        let tokenizer = trained();
        let again = Tokenizer::from_json(tokenizer.to_json().unwrap().as_bytes()).unwrap();
        assert_eq!(again.to_json().unwrap(), tokenizer.to_json().unwrap());
        assert_eq!(again.eos(), Some(0));
    }

    #[test]
    fn sentencepiece_tokens_read_as_text() {
        let file = serde_json::json!({
            "added_tokens": [{"id": 5, "content": "</s>", "special": true, "normalized": false,
                              "single_word": false, "lstrip": false, "rstrip": false}],
            "decoder": {"type": "ByteFallback"},
            "truncation": {"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0},
            "model": {"type": "BPE", "byte_fallback": true, "merges": [["▁", "a"]],
                      "vocab": {"▁": 0, "a": 1, "▁a": 2, "<0x0A>": 3, "<0xE2>": 4}},
        });
        let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
        let text = |id| tokenizer.token(id).text;
        assert_eq!([text(2), text(3), text(4), text(5)], [" a", "\n", "<0xE2>", "</s>"]);
        assert_eq!(tokenizer.vocab_size(), 6);
        assert_eq!(
            tokenizer.encode("▁aa").unwrap(),
            [2, 1],
            "the file's truncation to one token is left out"
        );
    }

    #[test]
    fn a_merge_that_makes_no_token_is_refused() {
        for merges in [r#"[["ab", "cd"]]"#, r#"["ab cd"]"#, r#"["ab"]"#, "[3]"] {
            let file = format!(
                r#"{{"model": {{"type": "BPE", "vocab": {{"ab": 0, "cd": 1}}, "merges": {merges}}}}}"#
            );
            let message = Tokenizer::from_json(file.as_bytes()).unwrap_err().to_string();
            assert!(message.contains("is not a tokenizer.json that can be used (the merge "), "{message}");
        }
    }

    #[test]
    fn what_is_no_tokenizer_is_refused_in_one_line() {
        for file in ["", "{", "{}", "[]", "{\"model\": {\"type\": \"Nonsense\"}}"] {
            let message = Tokenizer::from_json(file.as_bytes()).unwrap_err().to_string();
            assert!(message.starts_with("is not a tokenizer.json") && !message.contains('\n'), "{message}");
        }
    }
}
