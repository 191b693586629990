//! What a model learns from: documents as tokens, and the batches drawn from them.

use std::path::{Path, PathBuf};

use candle_core::{Device, Result as CandleResult, Tensor};
use rand_chacha::rand_core::Rng;

use crate::model::gaussian::generator;

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
    /// A line of a .jsonl file that is no object with a "text" field.
    #[error("{path}, line {line}: not an object with a \"text\" field of text")]
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
    /// Too little to cut one row from.
    #[error("the data has {tokens} tokens, one row needs {needed}: give more text or a smaller --context")]
    TooShort {
        /// Tokens to train on.
        tokens: usize,
        /// The context and one token more.
        needed: usize,
    },
}

/// The documents of a file, or of all .txt, .md and .jsonl files under a folder in the order of their paths.
pub fn read_documents(path: &Path) -> Result<Vec<String>, CorpusError> {
    let read = |source| CorpusError::Read { path: path.to_owned(), source };
    let mut documents = Vec::new();
    if std::fs::metadata(path).map_err(read)?.is_dir() {
        let mut files = Vec::new();
        collect_files(path, &mut files)?;
        files.sort();
        if files.is_empty() {
            return Err(CorpusError::NoFiles(path.to_owned()));
        }
        for file in files {
            read_file(&file, &mut documents)?;
        }
    } else {
        read_file(path, &mut documents)?;
    }
    documents.retain(|text| !text.trim().is_empty());
    if documents.is_empty() { Err(CorpusError::Empty(path.to_owned())) } else { Ok(documents) }
}

fn collect_files(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), CorpusError> {
    let read = |source| CorpusError::Read { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(read)?);
        if kind.is_dir() {
            collect_files(&path, files)?;
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("txt" | "md" | "jsonl")) {
            files.push(path);
        }
    }
    Ok(())
}

fn read_file(path: &Path, documents: &mut Vec<String>) -> Result<(), CorpusError> {
    let bytes = std::fs::read(path).map_err(|source| CorpusError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|_| CorpusError::NotText(path.to_owned()))?;
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        documents.push(text);
        return Ok(());
    }
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value = serde_json::from_str::<serde_json::Value>(line).ok();
        let Some(text) = value.as_ref().and_then(|value| value.get("text")?.as_str()) else {
            return Err(CorpusError::NotJsonl { path: path.to_owned(), line: index + 1 });
        };
        documents.push(text.to_owned());
    }
    Ok(())
}

/// Tokens of documents, one after another.
#[derive(Debug, Clone)]
pub struct Corpus {
    tokens: Vec<u32>,
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
        Self { tokens, starts }
    }

    /// Splits off the last `share` of the tokens, cutting the document it falls into.
    #[must_use]
    pub fn split(mut self, share: f64) -> (Self, Self) {
        let at = ((1.0 - share) * self.tokens.len() as f64).round() as usize;
        let tail = self.tokens.split_off(at);
        let next = self.starts.partition_point(|&start| start <= at);
        let mut starts = vec![0];
        starts.extend(self.starts.drain(next..).map(|start| start - at));
        if self.starts.last() != Some(&at) {
            self.starts.push(at);
        }
        (self, Self { tokens: tail, starts })
    }

    /// The tokens of all documents.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Fails unless one row of `context` inputs can be cut from this.
    pub fn check(&self, context: usize) -> Result<(), CorpusError> {
        if self.tokens.len() > context {
            return Ok(());
        }
        Err(CorpusError::TooShort { tokens: self.tokens.len(), needed: context + 1 })
    }

    /// One row of `length` tokens. A place is drawn, each token alike. In a document that is long enough the
    /// row is a window that starts there; shorter documents are taken whole, one drawn after another, until
    /// the row is full: a row of a corpus of sentences starts at the start of a sentence.
    fn row(&self, generator: &mut impl Rng, length: usize) -> Vec<u32> {
        let mut row = Vec::with_capacity(length);
        while row.len() < length {
            let place = below(generator, self.tokens.len());
            let document = self.starts.partition_point(|&start| start <= place) - 1;
            let (start, end) = (self.starts[document], self.starts[document + 1]);
            let missing = length - row.len();
            let from = if row.is_empty() && end - start > length { place.min(end - length) } else { start };
            row.extend(&self.tokens[from..end.min(from + missing)]);
        }
        row
    }

    /// Batch number `index` of a run: a function of the seed and that number alone.
    pub fn batch(&self, seed: u64, index: u64, rows: usize, context: usize) -> Batch {
        let mut generator = generator(seed, &format!("batch {index}"));
        Batch::new((0..rows).map(|_| self.row(&mut generator, context + 1)).collect())
    }

    /// The corpus from its beginning as rows of `context` inputs, at most `rows` of them; a shorter corpus is
    /// one shorter row. As in training, no row begins inside a short document: what the end of a row cuts off
    /// is left out.
    pub fn in_order(&self, rows: usize, context: usize) -> Batch {
        let length = (context + 1).min(self.tokens.len());
        let (mut batch, mut from) = (Vec::new(), 0);
        while batch.len() < rows && from + length <= self.tokens.len() {
            batch.push(self.tokens[from..from + length].to_vec());
            from += length;
            let next = self.starts.partition_point(|&start| start < from);
            if let (Some(&start), Some(&end)) = (self.starts.get(next - 1), self.starts.get(next))
                && end - start <= length
            {
                from = end;
            }
        }
        Batch::new(batch)
    }
}

/// A number in `0..bound`, by the high half of a product: the bias is below 2^-32 for any corpus in memory.
fn below(generator: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(generator.next_u64()) * bound as u128) >> 64) as usize
}

/// Rows of equal length: each token but the first of a row is predicted from those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    rows: Vec<Vec<u32>>,
}

impl Batch {
    /// A batch of these rows, which must be equally long and have at least two tokens each.
    pub fn new(rows: Vec<Vec<u32>>) -> Self {
        Self { rows }
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<u32>] {
        &self.rows
    }

    /// Its first rows, `count` of them at most.
    #[must_use]
    pub fn head(mut self, count: usize) -> Self {
        self.rows.truncate(count);
        self
    }

    /// Its rows in at most `parts` batches of nearly equal size, in order.
    pub fn split(&self, parts: usize) -> Vec<Self> {
        let rows = self.rows.len().div_ceil(parts.max(1)).max(1);
        self.rows.chunks(rows).map(|rows| Self::new(rows.to_vec())).collect()
    }

    /// Tokens that are predicted.
    pub fn predicted(&self) -> usize {
        self.rows.iter().map(|row| row.len() - 1).sum()
    }

    /// Inputs of a row.
    pub fn seq(&self) -> usize {
        self.rows.first().map_or(0, |row| row.len() - 1)
    }

    /// Inputs and targets, row by row.
    pub fn flat(&self) -> (Vec<u32>, Vec<u32>) {
        let width = self.seq();
        let inputs = self.rows.iter().flat_map(|row| &row[..width]).copied().collect();
        let targets = self.rows.iter().flat_map(|row| &row[1..]).copied().collect();
        (inputs, targets)
    }

    /// Inputs and targets, both `(rows, length - 1)` of `u32`.
    pub fn tensors(&self, device: &Device) -> CandleResult<(Tensor, Tensor)> {
        let shape = (self.rows.len(), self.seq());
        let (inputs, targets) = self.flat();
        Ok((Tensor::from_vec(inputs, shape, device)?, Tensor::from_vec(targets, shape, device)?))
    }

    /// SHA-256 of the token ids, row by row as little-endian `u32`, in hexadecimal.
    pub fn sha256(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        self.rows.iter().flatten().for_each(|id| hash.update(id.to_le_bytes()));
        let hex = |hex: String, byte: &u8| format!("{hex}{byte:02x}");
        hash.finalize().iter().fold(String::new(), hex)
    }
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
        let starts: Vec<u32> = batch.rows().iter().map(|row| row[0]).collect();
        assert_eq!(starts, [0, 20, 26, 32, 38, 44, 50]);
        assert_eq!(corpus().in_order(10, 99).rows(), [corpus().tokens()]);
    }

    #[test]
    fn every_token_is_drawn() {
        let corpus = corpus();
        let seen: std::collections::BTreeSet<u32> =
            corpus.batch(3, 1, 400, 8).rows().iter().flatten().copied().collect();
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
    fn jsonl_without_text_is_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, "{\"text\": \"one\"}\n\n{\"txt\": 2}\n").unwrap();
        let error = read_documents(&path).unwrap_err().to_string();
        assert!(error.contains("a.jsonl, line 3"), "{error}");
    }

    #[test]
    fn a_folder_gives_its_texts_in_the_order_of_their_paths() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("b/2.md"), "second").unwrap();
        std::fs::write(folder.path().join("a.txt"), "first").unwrap();
        std::fs::write(folder.path().join("c.bin"), [0xff]).unwrap();
        assert_eq!(read_documents(folder.path()).unwrap(), ["first", "second"]);
    }
}
