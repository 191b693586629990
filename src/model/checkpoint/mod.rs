//! Models on disk: folders in Hugging Face layout, GGUF files, and the checkpoints of a run.

mod chat;
mod config;
mod error;
mod gguf;
mod gguf_header;
mod gguf_sentencepiece;
mod gguf_tokenizer;
pub mod hub;
mod safetensors;
mod save;

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::chat::ChatTemplate;
use super::config::LlamaConfig;
use super::memory::available;
use super::params::Params;
use super::shapes::{deciding_fields, parameter_shapes};
use super::tokenizer::Tokenizer;
pub use config::ConfigError;
pub use error::Error;
use error::dimensions;
pub(crate) use error::quoted;
use hub::{Fetching, Hub, HubId};
pub use safetensors::{read_tensors, write_tensors};
pub use save::{remove, save, sweep, write_folder, write_model};

/// Where a model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A folder or a file.
    Path(PathBuf),
    /// On the Hugging Face Hub, or in the cache of what was fetched from it.
    Hub(HubId),
}

/// How far the opening of a model is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loading {
    /// Bytes that are fetched, and how many there are.
    Fetching {
        /// Here already.
        done: u64,
        /// Of the whole fetch.
        total: u64,
    },
    /// The weights that are read, from 0 to 1.
    Reading(f32),
}

impl Loading {
    /// The share that is done, from 0 to 1.
    pub fn share(self) -> f32 {
        match self {
            Self::Fetching { done, total } => done as f32 / total.max(1) as f32,
            Self::Reading(share) => share,
        }
    }
}

impl std::fmt::Display for Loading {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Fetching { done, total } => {
                let [done, total] = [done, total].map(|bytes| *bytes as f64 / 1e6);
                write!(f, "fetching {done:.0} of {total:.0} MB")
            }
            Self::Reading(_) => f.write_str("reading weights"),
        }
    }
}

/// A model and all that is needed to use it.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    /// What to call it: the name of its folder or file, `run@step` for a run's.
    pub name: String,
    /// Its shape.
    pub config: LlamaConfig,
    /// Its weights, in f32.
    pub params: Params,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// How it wants to be spoken to, where it says so.
    pub chat: Option<ChatTemplate>,
}

impl Checkpoint {
    /// Whether a number means the same token to both models.
    pub fn has_tokens_of(&self, other: &Self) -> bool {
        self.config.vocab_size == other.config.vocab_size && self.tokenizer.same_tokens(&other.tokenizer)
    }

    /// Opens a model wherever it is: what the Hub has is fetched first, unless the cache holds it.
    pub fn open_at(place: &Place, device: &Device, progress: &mut dyn FnMut(Loading)) -> Result<Self, Error> {
        let id = match place {
            Place::Path(path) => {
                return Self::open(path, device, &mut |share| progress(Loading::Reading(share)));
            }
            Place::Hub(id) => id,
        };
        let hub = Hub::from_env(|name| std::env::var(name).ok())?;
        let fetched = |at: Fetching| Loading::Fetching { done: at.done, total: at.total };
        let folder = hub.snapshot(id, &mut |at| progress(fetched(at)))?;
        let mut checkpoint = Self::open(&folder, device, &mut |share| progress(Loading::Reading(share)))?;
        checkpoint.name = id.to_string();
        Ok(checkpoint)
    }

    /// Opens a folder in Hugging Face layout, a GGUF file, or the newest checkpoint in a run's folder.
    ///
    /// `progress` is told how much of the weights is read, from 0 to 1.
    pub fn open(path: &Path, device: &Device, progress: &mut dyn FnMut(f32)) -> Result<Self, Error> {
        let kind = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::NoSuchPath(path.to_owned()));
            }
            Err(cause) => return Err(Error::io(path)(cause)),
        };
        let name = name_of(path);
        if kind.is_file() {
            return gguf::open(path, name, device, progress);
        }
        if path.join("config.json").is_file() {
            return open_folder(path, name, device, progress);
        }
        match newest(path)? {
            Some((step, folder)) => open_folder(&folder, format!("{name}@{step}"), device, progress),
            None => Err(Error::not_a_model(path, "the folder has no config.json and no checkpoint-N")),
        }
    }
}

fn open_folder(
    folder: &Path,
    name: String,
    device: &Device,
    progress: &mut dyn FnMut(f32),
) -> Result<Checkpoint, Error> {
    let mut config = config::read(&folder.join("config.json"))?;
    let tokenizer = open_tokenizer(folder, &config)?;
    let params = safetensors::load(folder, &mut config, device, progress)?;
    let chat = chat::of_folder(folder);
    Ok(Checkpoint { name, config, params, tokenizer, chat })
}

fn open_tokenizer(folder: &Path, config: &LlamaConfig) -> Result<Tokenizer, Error> {
    let path = folder.join("tokenizer.json");
    if !path.is_file() && folder.join("tokenizer.model").is_file() {
        let problem = "tokenizer.model alone is not supported: save the tokenizer with transformers' \
                       AutoTokenizer, which writes a tokenizer.json";
        return Err(Error::unsupported(folder, problem));
    }
    let tokenizer =
        Tokenizer::from_file(&path).map_err(|problem| Error::Tokenizer { path: path.clone(), problem })?;
    Ok(fit(tokenizer, config, &path))
}

/// Ends texts as the configuration says, and warns of tokens that the model has no embedding for.
fn fit(tokenizer: Tokenizer, config: &LlamaConfig, path: &Path) -> Tokenizer {
    if tokenizer.vocab_size() > config.vocab_size {
        log::warn!(
            "{}: {} tokens, but the model embeds {}: text with the others cannot be evaluated",
            path.display(),
            tokenizer.vocab_size(),
            config.vocab_size
        );
    }
    match config.eos_token_ids.first() {
        Some(&eos) => tokenizer.with_eos(eos),
        None => tokenizer,
    }
}

/// The `checkpoint-N` with the largest N that has a configuration.
fn newest(run: &Path) -> Result<Option<(u64, PathBuf)>, Error> {
    let mut newest = None;
    for entry in std::fs::read_dir(run).map_err(Error::io(run))? {
        let entry = entry.map_err(Error::io(run))?;
        let name = entry.file_name();
        if let Some(step) = name.to_str().and_then(step_of)
            && entry.path().join("config.json").is_file()
            && newest.as_ref().is_none_or(|(known, _)| *known < step)
        {
            newest = Some((step, entry.path()));
        }
    }
    Ok(newest)
}

/// The step of a checkpoint whose folder has this name. One that is written another way, such as `checkpoint-050`, is
/// somebody else's.
pub fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("checkpoint-")?.parse().ok()?;
    (name == format!("checkpoint-{step}")).then_some(step)
}

/// The last component of a path; `.` and `..` are resolved first.
fn name_of(path: &Path) -> String {
    let resolved = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_stem().filter(|_| path.is_file()).or(path.file_name()).or(resolved.file_name());
    name.unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What a file says of a tensor: the file that holds it, and its dimensions.
struct Listed<'a> {
    path: &'a Path,
    dims: &'a [usize],
}

/// Compares what the configuration asks for with what the files list, before any weight is read.
///
/// `origin` is where the configuration stands, `path` what to name when a tensor is nowhere.
fn check_listing<'a>(
    config: &LlamaConfig,
    origin: &str,
    path: &Path,
    device: &Device,
    listed: impl Fn(&str) -> Option<Listed<'a>>,
) -> Result<Vec<(String, Vec<usize>)>, Error> {
    const NAMED: usize = 3;
    let shapes = parameter_shapes(config);
    let mut missing = Vec::new();
    for (name, dims) in &shapes {
        match listed(name) {
            None => missing.push(name.as_str()),
            Some(listed) if listed.dims != dims => {
                return Err(Error::Shape {
                    path: listed.path.to_owned(),
                    tensor: name.clone(),
                    found: dimensions(listed.dims),
                    asked_by: format!("{origin} ({})", deciding_fields(config, name)),
                    asked: dimensions(dims),
                });
            }
            Some(_) => {}
        }
    }
    if missing.is_empty() {
        let elements: usize = shapes.iter().map(|(_, dims)| dims.iter().product::<usize>()).sum();
        if device.is_cpu() {
            check_memory(path, elements, available())?;
        }
        return Ok(shapes);
    }
    let tensors = match missing.len().checked_sub(NAMED) {
        None | Some(0) => missing.join(", "),
        Some(more) => format!("{} and {more} more", missing[..NAMED].join(", ")),
    };
    Err(Error::MissingTensors { path: path.to_owned(), tensors, asked_by: origin.to_owned() })
}

/// Refuses weights that no memory holds: what is not there is not noticed before the process is killed.
fn check_memory(path: &Path, elements: usize, available: u64) -> Result<(), Error> {
    let needed = (elements as u64).saturating_mul(size_of::<f32>() as u64);
    if needed > available {
        return Err(Error::Memory { path: path.to_owned(), needed, available });
    }
    Ok(())
}

/// Warns of tensors that no Llama of this shape has.
fn warn_of_others(path: &Path, mut others: Vec<&str>) {
    others.sort_unstable();
    if let Some(first) = others.first() {
        log::warn!(
            "{}: ignores {} tensors that the model does not use, such as {}",
            path.display(),
            others.len(),
            quoted(first)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_no_memory_holds_are_refused_with_both_numbers() {
        let error = check_memory(Path::new("model"), 70_000_000_000, 24_000_000_000).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model: its weights take 280.0 GB as f32, 24.0 GB of memory can be had: close other programs or take a \
             smaller model"
        );
        assert!(check_memory(Path::new("model"), 1_000_000, 4_000_000).is_ok());
    }
}
