//! What a model learns from: documents as tokens, and the batches drawn from them.

use std::ops::Range;
use std::path::PathBuf;

use candle_core::{Device, Result as CandleResult, Tensor};
use rand_chacha::rand_core::Rng;
use serde::{Deserialize, Serialize};

use crate::model::gaussian::generator;
use crate::model::ops::IGNORED;

/// Why a corpus can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// A file or folder can't be read.
    #[error("{path}: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Bytes that are no text.
    #[error("{0}: not UTF-8 text; --data takes .txt, .md and .jsonl files")]
    NotText(PathBuf),
    /// A line of a .jsonl file that holds no text.
    #[error(
        "{path}, line {line}: not an object with a \"text\" field of text, or with \"prompt\" and \"completion\""
    )]
    NotJsonl {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A folder without a file to read.
    #[error("{0}: no .txt, .md or .jsonl file in this folder")]
    NoFiles(PathBuf),
    /// Nothing but white space.
    #[error("{0}: there is no text in it")]
    Empty(PathBuf),
    /// Only answers are to be learnt, and none is known.
    #[error(
        "there are no answers to learn: --answers-only takes builtin-qa, or .jsonl with \"prompt\" and \"completion\""
    )]
    NoAnswers,
    /// Too little to cut one row from.
    #[error("the data has {tokens} tokens, one row needs {needed}: give more text or a smaller --context")]
    TooShort {
        /// Tokens to train on.
        tokens: usize,
        /// The context and one token more.
        needed: usize,
    },
}

/// Tokens of documents, one after another.
#[derive(Debug, Clone)]
pub struct Corpus {
    tokens: Vec<u32>,
    /// Which tokens are not to be predicted, a flag for each; empty where all are.
    ignored: Vec<bool>,
    /// Where each document starts, and the end of the last.
    starts: Vec<usize>,
}

impl Corpus {
    /// Joins documents; each should end with the token that ends a text.
    pub fn new(documents: impl IntoIterator<Item = Vec<u32>>) -> Self {
        let (mut tokens, mut starts) = (Vec::new(), vec![0]);
        for document in documents.into_iter().filter(|document| !document.is_empty()) {
            tokens.extend(document);
            starts.push(tokens.len());
        }
        Self { tokens, ignored: Vec::new(), starts }
    }

    /// The same, but of each document only the tokens from a place on are to be predicted.
    pub fn of_answers(documents: impl IntoIterator<Item = (Vec<u32>, usize)>) -> Self {
        let mut ignored = Vec::new();
        let tokens = |(document, answer): (Vec<u32>, usize)| {
            ignored.extend((0..document.len()).map(|place| place < answer));
            document
        };
        let documents: Vec<Vec<u32>> = documents.into_iter().map(tokens).collect();
        Self { ignored, ..Self::new(documents) }
    }

    /// Splits off the last `share` of the tokens, cutting the document it falls into.
    #[must_use]
    pub fn split(mut self, share: f64) -> (Self, Self) {
        let at = ((1.0 - share) * self.tokens.len() as f64).round() as usize;
        let tail = self.tokens.split_off(at);
        let ignored = self.ignored.split_off(at.min(self.ignored.len()));
        let next = self.starts.partition_point(|&start| start <= at);
        let mut starts = vec![0];
        starts.extend(self.starts.drain(next..).map(|start| start - at));
        if self.starts.last() != Some(&at) {
            self.starts.push(at);
        }
        (self, Self { tokens: tail, ignored, starts })
    }

    /// The tokens of all documents.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Fails unless one row of `context` inputs can be cut from this.
    pub fn check(&self, context: usize) -> Result<(), CorpusError> {
        if self.tokens.len() <= context {
            return Err(CorpusError::TooShort { tokens: self.tokens.len(), needed: context + 1 });
        }
        if !self.ignored.is_empty() && self.ignored.iter().all(|ignored| *ignored) {
            return Err(CorpusError::NoAnswers);
        }
        Ok(())
    }

    /// SHA-256 of all tokens and of which of them are to be predicted, in hexadecimal.
    pub fn sha256(&self) -> String {
        let ids = self.tokens.iter().flat_map(|id| id.to_le_bytes());
        sha256(ids.chain(self.ignored.iter().map(|ignored| u8::from(*ignored))))
    }

    /// The places of tokens as a piece of a row.
    fn extend(&self, row: &mut Row, places: Range<usize>) {
        row.tokens.extend(&self.tokens[places.clone()]);
        row.ignored.extend(self.ignored.get(places).into_iter().flatten());
    }

    /// One row of `length` tokens. A place is drawn, each token alike. In a document that is long enough the
    /// row is a window that starts there; shorter documents are taken whole, one drawn after another, until
    /// the row is full: a row of a corpus of sentences starts at the start of a sentence.
    fn row(&self, generator: &mut impl Rng, length: usize) -> Row {
        let mut row = Row::default();
        while row.tokens.len() < length {
            let place = below(generator, self.tokens.len());
            let document = self.starts.partition_point(|&start| start <= place) - 1;
            let (start, end) = (self.starts[document], self.starts[document + 1]);
            let missing = length - row.tokens.len();
            let from =
                if row.tokens.is_empty() && end - start > length { place.min(end - length) } else { start };
            self.extend(&mut row, from..end.min(from + missing));
        }
        row
    }

    /// Batch number `index` of a run: a function of the seed and that number alone.
    pub fn batch(&self, seed: u64, index: u64, rows: usize, context: usize) -> Batch {
        /// Draws before a batch without a token to predict is taken as it is.
        const DRAWS: usize = 100;
        let mut generator = generator(seed, &format!("batch {index}"));
        let mut batch = || Batch { rows: (0..rows).map(|_| self.row(&mut generator, context + 1)).collect() };
        let first = batch();
        let again = std::iter::repeat_with(batch).take(DRAWS);
        if first.predicted() > 0 {
            first
        } else {
            again.into_iter().find(|b| b.predicted() > 0).unwrap_or(first)
        }
    }

    /// The corpus from its beginning as rows of `context` inputs, at most `rows` of them; a shorter corpus is
    /// one shorter row. As in training, no row begins inside a short document: what the end of a row cuts off
    /// is left out. A corpus without two tokens is no row.
    pub fn in_order(&self, rows: usize, context: usize) -> Batch {
        let length = (context + 1).min(self.tokens.len());
        if length < 2 {
            return Batch { rows: Vec::new() };
        }
        let (mut batch, mut from) = (Vec::new(), 0);
        while batch.len() < rows && from + length <= self.tokens.len() {
            let mut row = Row::default();
            self.extend(&mut row, from..from + length);
            batch.push(row);
            from += length;
            let next = self.starts.partition_point(|&start| start < from);
            if let (Some(&start), Some(&end)) = (self.starts.get(next - 1), self.starts.get(next))
                && end - start <= length
            {
                from = end;
            }
        }
        Batch { rows: batch }
    }
}

/// A number in `0..bound`, by the high half of a product: the bias is below 2^-32 for any corpus in memory.
fn below(generator: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(generator.next_u64()) * bound as u128) >> 64) as usize
}

/// The tokens of one row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    tokens: Vec<u32>,
    /// Which of them are not to be predicted; empty where all are.
    ignored: Vec<bool>,
}

impl Row {
    /// What is to be predicted at each input.
    fn targets(&self) -> impl Iterator<Item = u32> {
        let ignored = |place: usize| self.ignored.get(place).is_some_and(|ignored| *ignored);
        let target = move |(place, id): (usize, &u32)| if ignored(place) { IGNORED } else { *id };
        self.tokens.iter().enumerate().skip(1).map(target)
    }
}

/// Rows of equal length: each token but the first of a row is predicted from those before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    rows: Vec<Row>,
}

impl Batch {
    /// A batch of these rows, which must be equally long and have at least two tokens each.
    pub fn new(rows: Vec<Vec<u32>>) -> Self {
        let row = |tokens| Row { tokens, ignored: Vec::new() };
        Self { rows: rows.into_iter().map(row).collect() }
    }

    /// The tokens of each row.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.rows.iter().map(|row| &*row.tokens)
    }

    /// Its first rows, `count` of them at most.
    #[must_use]
    pub fn head(mut self, count: usize) -> Self {
        self.rows.truncate(count);
        self
    }

    /// Its rows, so many at a time.
    pub fn parts(&self, rows: usize) -> impl Iterator<Item = Self> {
        self.rows.chunks(rows.max(1)).map(|rows| Self { rows: rows.to_vec() })
    }

    /// The rows of all these batches that fall to process `rank` of `size`, in batches that take as much less memory;
    /// none where there are fewer rows than processes.
    pub fn portion(batches: &[Self], rank: usize, size: usize) -> Vec<Self> {
        let rows: Vec<&Row> = batches.iter().flat_map(|batch| &batch.rows).collect();
        let largest = batches.iter().map(|batch| batch.rows.len()).max().unwrap_or(0);
        let own = &rows[rows.len() * rank / size..rows.len() * (rank + 1) / size];
        let batch = |rows: &[&Row]| Self { rows: rows.iter().copied().cloned().collect() };
        own.chunks(largest.div_ceil(size).max(1)).map(batch).collect()
    }

    /// The same with only the last token of each row to be predicted.
    #[must_use]
    pub fn of_last(mut self) -> Self {
        for row in &mut self.rows {
            let length = row.tokens.len();
            row.ignored = (1..=length).map(|place| place < length).collect();
        }
        self
    }

    /// Tokens that are predicted.
    pub fn predicted(&self) -> usize {
        self.rows.iter().flat_map(Row::targets).filter(|target| *target != IGNORED).count()
    }

    /// Inputs of a row.
    pub fn seq(&self) -> usize {
        self.rows.first().map_or(0, |row| row.tokens.len().saturating_sub(1))
    }

    /// Inputs and targets, row by row. A target that is not to be predicted is [`IGNORED`].
    pub fn flat(&self) -> (Vec<u32>, Vec<u32>) {
        let width = self.seq();
        let inputs = self.rows.iter().flat_map(|row| &row.tokens[..width]).copied().collect();
        (inputs, self.rows.iter().flat_map(Row::targets).collect())
    }

    /// The same as tensors, both `(rows, length - 1)` of `u32`.
    pub fn tensors(&self, device: &Device) -> CandleResult<(Tensor, Tensor)> {
        let shape = (self.rows.len(), self.seq());
        let (inputs, targets) = self.flat();
        Ok((Tensor::from_vec(inputs, shape, device)?, Tensor::from_vec(targets, shape, device)?))
    }

    /// SHA-256 of the token ids, row by row as little-endian `u32`, in hexadecimal.
    pub fn sha256(&self) -> String {
        sha256(self.rows().flatten().flat_map(|id| id.to_le_bytes()))
    }
}

/// SHA-256 in hexadecimal.
fn sha256(bytes: impl Iterator<Item = u8>) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    let mut buffer = Vec::with_capacity(1 << 16);
    for byte in bytes {
        buffer.push(byte);
        if buffer.len() == buffer.capacity() {
            hash.update(&buffer);
            buffer.clear();
        }
    }
    hash.update(&buffer);
    let hex = |hex: String, byte: &u8| format!("{hex}{byte:02x}");
    hash.finalize().iter().fold(String::new(), hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents `[0 1 2 9] [10 11 9] [20 .. 59 9]`.
    fn corpus() -> Corpus {
        Corpus::new([vec![0, 1, 2, 9], vec![10, 11, 9], (20..60).chain([9]).collect()])
    }

    #[test]
    fn a_batch_is_a_function_of_seed_and_number() {
        let corpus = corpus();
        assert_eq!(corpus.batch(1, 5, 4, 8), corpus.batch(1, 5, 4, 8));
        assert_ne!(corpus.batch(1, 5, 4, 8), corpus.batch(1, 6, 4, 8));
        assert_ne!(corpus.batch(1, 5, 4, 8), corpus.batch(2, 5, 4, 8));
    }

    #[test]
    fn rows_start_at_short_documents_or_inside_long_ones() {
        for row in corpus().batch(3, 1, 200, 8).rows() {
            assert_eq!(row.len(), 9);
            assert!(row[0] == 0 || row[0] == 10 || row[0] >= 20 || row[0] == 9, "{row:?}");
            if row[0] >= 20 {
                assert!(row.windows(2).all(|w| w[1] == w[0] + 1 || w[1] == 9), "{row:?}");
            }
        }
    }

    #[test]
    fn rows_in_order_start_where_training_rows_may() {
        let batch = corpus().in_order(10, 5);
        let starts: Vec<u32> = batch.rows().map(|row| row[0]).collect();
        assert_eq!(starts, [0, 20, 26, 32, 38, 44, 50]);
        assert_eq!(corpus().in_order(10, 99), Batch::new(vec![corpus().tokens().to_vec()]));
    }

    #[test]
    fn every_token_is_drawn() {
        let corpus = corpus();
        let seen: std::collections::BTreeSet<u32> =
            corpus.batch(3, 1, 400, 8).rows().flatten().copied().collect();
        let all: std::collections::BTreeSet<u32> = corpus.tokens().iter().copied().collect();
        assert_eq!(seen, all);
    }

    #[test]
    fn a_split_keeps_every_token_once() {
        let (head, tail) = corpus().split(0.25);
        assert_eq!(tail.tokens().len(), 12);
        let joined: Vec<u32> = head.tokens().iter().chain(tail.tokens()).copied().collect();
        assert_eq!(joined, corpus().tokens());
        assert_eq!(head.batch(1, 1, 20, 4).rows().len(), 20);
        assert_eq!(tail.batch(1, 1, 20, 4).rows().len(), 20);
    }

    #[test]
    fn data_shorter_than_a_row_is_refused_with_numbers() {
        let error = corpus().check(64).unwrap_err().to_string();
        assert!(error.contains("48 tokens") && error.contains("65"), "{error}");
    }

    #[test]
    fn of_answers_only_the_answers_are_predicted_wherever_a_row_begins() {
        let corpus = Corpus::of_answers([(vec![1, 2, 3, 4], 2), (vec![5, 6, 7], 2), (vec![8, 9], 2)]);
        for index in 0..50 {
            let batch = corpus.batch(4, index, 1, 3);
            let (inputs, targets) = batch.flat();
            assert_eq!((inputs.len(), targets.len()), (3, 3));
            for (target, id) in targets.iter().zip(batch.rows().flat_map(|row| &row[1..])) {
                let answer = [3, 4, 7].contains(id);
                assert_eq!(*target, if answer { *id } else { IGNORED }, "{batch:?}");
            }
            assert!(batch.predicted() > 0, "{batch:?}");
        }
        let none = Corpus::of_answers([(vec![1, 2, 3, 4], 4)]);
        assert!(matches!(none.check(2), Err(CorpusError::NoAnswers)));
        assert!(corpus.check(2).is_ok());
        assert_ne!(corpus.sha256(), Corpus::new([vec![1, 2, 3, 4], vec![5, 6, 7], vec![8, 9]]).sha256());
    }

    #[test]
    fn every_row_of_a_step_falls_to_one_process() {
        let batches = [corpus().batch(1, 1, 5, 8), corpus().batch(1, 2, 5, 8)];
        let all: Vec<&[u32]> = batches.iter().flat_map(Batch::rows).collect();
        for size in [1, 2, 3, 7, 16] {
            let portions: Vec<Vec<Batch>> =
                (0..size).map(|rank| Batch::portion(&batches, rank, size)).collect();
            let dealt: Vec<&[u32]> = portions.iter().flatten().flat_map(Batch::rows).collect();
            assert_eq!(dealt, all, "{size} processes");
            let most = portions.iter().flatten().map(|batch| batch.rows().len()).max();
            assert_eq!(most, Some(5_usize.div_ceil(size)));
        }
        assert_eq!(Batch::portion(&batches, 0, 1), batches);
    }

    #[test]
    fn a_split_keeps_what_is_not_predicted() {
        let corpus = Corpus::of_answers([(vec![1, 2, 3, 4], 2), (vec![5, 6, 7, 8], 3)]);
        let (head, tail) = corpus.split(0.5);
        assert_eq!(head.in_order(1, 3).flat().1, [IGNORED, 3, 4]);
        assert_eq!(tail.in_order(1, 3).flat().1, [IGNORED, IGNORED, 8]);
    }
}
