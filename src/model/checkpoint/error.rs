//! What can be wrong with a checkpoint.

use std::path::{Path, PathBuf};

use super::config::ConfigError;
use super::hub::HubError;
use super::step_of;
use crate::model::memory::size;
use crate::model::tokenizer;

/// Why a checkpoint cannot be opened or saved: one line of what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there.
    #[error(
        "no such file or folder: {}; a MODEL is a folder in Hugging Face layout, a .gguf file, a run, or org/name on \
         the Hub",
        .0.display()
    )]
    NoSuchPath(PathBuf),
    /// Something else is there.
    #[error(
        "{}: {problem}; a MODEL is a folder in Hugging Face layout, a .gguf file or a run",
        path.display()
    )]
    NotAModel {
        /// The file or folder.
        path: PathBuf,
        /// What it lacks.
        problem: String,
    },
    /// The operating system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file does not follow its format.
    #[error("{}: {problem}; the file is damaged or incomplete: {}", path.display(), remedy(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        problem: String,
    },
    /// A good file, of a kind that is not opened here.
    #[error("{}: {problem}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is, and what to use instead.
        problem: String,
    },
    /// The configuration describes no Llama that can be built.
    #[error("{}: {problem}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it.
        problem: ConfigError,
    },
    /// A tensor's dimensions differ from what the configuration says.
    #[error("{}: {tensor} is {found}, {asked_by} asks for {asked}", path.display())]
    Shape {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor's Hugging Face name.
        tensor: String,
        /// Its dimensions, such as `128x64`.
        found: String,
        /// Where the other dimensions come from, with the fields that decide.
        asked_by: String,
        /// The dimensions it should have.
        asked: String,
    },
    /// Tensors that the configuration asks for are not there.
    #[error("{}: lacks {tensors}, which {asked_by} asks for", path.display())]
    MissingTensors {
        /// The file that should hold them.
        path: PathBuf,
        /// Their names, the first few if they are many.
        tensors: String,
        /// Where the configuration stands.
        asked_by: String,
    },
    /// The tokenizer cannot be read.
    #[error("{}: {problem}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: tokenizer::Error,
    },
    /// More weights than memory.
    #[error(
        "{}: its weights take {} as f32, {} of memory can be had: close other programs or take a smaller model",
        path.display(),
        size(*needed),
        size(*available)
    )]
    Memory {
        /// The file or folder.
        path: PathBuf,
        /// Bytes that the weights take.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// A tensor operation failed, for want of memory on the device as a rule.
    #[error("{}: {cause}", path.display())]
    Tensor {
        /// The file in hand.
        path: PathBuf,
        /// What the tensor library says.
        cause: candle_core::Error,
    },
    /// The model does not come from the Hub.
    #[error(transparent)]
    Hub(#[from] HubError),
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::Io { path: path.to_owned(), cause }
    }

    pub(crate) fn damaged(path: &Path, problem: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), problem: problem.into() }
    }

    pub(crate) fn unsupported(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unsupported { path: path.to_owned(), problem: problem.into() }
    }

    pub(super) fn not_a_model(path: &Path, problem: impl Into<String>) -> Self {
        Self::NotAModel { path: path.to_owned(), problem: problem.into() }
    }

    pub(super) fn tensor(path: &Path) -> impl FnOnce(candle_core::Error) -> Self {
        move |cause| Self::Tensor { path: path.to_owned(), cause }
    }
}

/// What to do about a damaged file: that of a run's own checkpoint is nowhere else.
fn remedy(path: &Path) -> &'static str {
    let folder = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    if folder.and_then(step_of).is_some() {
        "take a checkpoint of another step, RUN@STEP"
    } else {
        "fetch it again"
    }
}

/// Text from a file as it may stand in a message: quoted, on one line, without control characters, not long.
pub(crate) fn quoted(text: &str) -> String {
    const LONGEST: usize = 80;
    if text.chars().count() <= LONGEST {
        return format!("{text:?}");
    }
    format!("{:?}...", text.chars().take(LONGEST).collect::<String>())
}

/// Dimensions as people write them: `128x64`.
pub(super) fn dimensions(dims: &[usize]) -> String {
    if dims.is_empty() {
        return "a single number".to_owned();
    }
    dims.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_is_fetched_again_unless_it_is_of_a_run() {
        let told = |path: &str| Error::damaged(Path::new(path), "ends too soon").to_string();
        assert!(told("model/model.safetensors").ends_with("damaged or incomplete: fetch it again"));
        assert!(told("run/checkpoint-latest/config.json").ends_with("fetch it again"));
        let own = told("run/checkpoint-40/model.safetensors");
        assert!(own.ends_with("damaged or incomplete: take a checkpoint of another step, RUN@STEP"), "{own}");
    }
}
