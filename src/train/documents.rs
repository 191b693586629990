//! The texts that a model learns from, as they are read.

use std::path::{Path, PathBuf};

use super::corpus::CorpusError;

/// One text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// All of it.
    pub text: String,
    /// The byte at which the answer begins, where the text is a question with its answer.
    pub answer: Option<usize>,
}

impl Document {
    /// A text that is no question.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), answer: None }
    }
}

/// The documents of a file, or of all .txt, .md and .jsonl files under a folder in the order of their paths.
pub fn read_documents(path: &Path) -> Result<Vec<Document>, CorpusError> {
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
    documents.retain(|document: &Document| !document.text.trim().is_empty());
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

fn read_file(path: &Path, documents: &mut Vec<Document>) -> Result<(), CorpusError> {
    let bytes = std::fs::read(path).map_err(|source| CorpusError::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8(bytes).map_err(|_| CorpusError::NotText(path.to_owned()))?;
    if path.extension().is_none_or(|extension| extension != "jsonl") {
        documents.push(Document::plain(text));
        return Ok(());
    }
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value = serde_json::from_str::<serde_json::Value>(line).unwrap_or_default();
        let field = |name: &str| value.get(name)?.as_str();
        documents.push(match (field("text"), field("prompt"), field("completion")) {
            (Some(text), _, _) => Document::plain(text),
            (None, Some(prompt), Some(completion)) => {
                Document { text: format!("{prompt}{completion}"), answer: Some(prompt.len()) }
            }
            _ => return Err(CorpusError::NotJsonl { path: path.to_owned(), line: index + 1 }),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_and_its_completion_are_one_text_that_knows_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(&path, r#"{"prompt": "2 + 2 =", "completion": " 4"}"#).unwrap();
        assert_eq!(
            read_documents(&path).unwrap(),
            [Document { text: "2 + 2 = 4".to_owned(), answer: Some(7) }]
        );
        std::fs::write(&path, r#"{"prompt": "2 + 2 ="}"#).unwrap();
        assert!(read_documents(&path).is_err());
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
        let documents = read_documents(folder.path()).unwrap();
        assert_eq!(documents, [Document::plain("first"), Document::plain("second")]);
    }
}
