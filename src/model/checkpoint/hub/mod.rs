//! Checkpoints of the Hugging Face Hub, fetched once and kept in the cache that Python's `huggingface_hub` uses.
//!
//! What is in the cache is opened as it is: nobody is asked whether there is something newer.

mod client;
mod error;
mod folder;
mod id;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use hf_hub::api::RepoInfo;

use super::error::quoted;
use super::safetensors::{INDEX, WHOLE, shards_of};
use client::Client;
pub use error::HubError;
use folder::RepoFolder;
pub use id::HubId;

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
/// What a model is opened without, but not of one mind with other programs.
const OPTIONAL: [&str; 3] = ["tokenizer_config.json", "chat_template.jinja", "generation_config.json"];

/// Where models of the Hub come from and where they are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Hub {
    /// The folder of `models--org--name`.
    pub cache: PathBuf,
    /// The server.
    pub endpoint: String,
    /// Who asks. It is sent to the endpoint and to nobody else.
    pub token: Option<String>,
    /// Nothing is fetched.
    pub offline: bool,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "secret"))
            .field("offline", &self.offline)
            .finish()
    }
}

/// How far a fetch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetching<'a> {
    /// The file that is coming.
    pub file: &'a str,
    /// Bytes that are here, of all files.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

impl Hub {
    /// Reads the variables that `huggingface_hub` reads, each through `lookup`; an empty one counts as none.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let either = |name: &str, older: &str| set(name).or_else(|| set(older));
        let is_true = |value: Option<String>| {
            let value = value.unwrap_or_default().to_ascii_lowercase();
            ["1", "true", "yes", "on"].contains(&value.as_str())
        };
        let home = || set("HOME").map(PathBuf::from).or_else(|| etcetera::home_dir().ok());
        let folder = |text: String| match text.strip_prefix("~/") {
            Some(rest) => home().map(|home| home.join(rest)),
            None => Some(PathBuf::from(text)),
        };

        let own = match (set("HF_HOME"), set("XDG_CACHE_HOME")) {
            (Some(own), _) => folder(own),
            (None, Some(caches)) => folder(caches).map(|caches| caches.join("huggingface")),
            (None, None) => home().map(|home| home.join(".cache/huggingface")),
        };
        let cache = match either("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE") {
            Some(cache) => folder(cache),
            None => own.as_ref().map(|own| own.join("hub")),
        };
        let in_file = || {
            let path = match set("HF_TOKEN_PATH") {
                Some(path) => folder(path),
                None => own.as_ref().map(|own| own.join("token")),
            };
            std::fs::read_to_string(path?).ok()
        };
        let token = if is_true(set("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
            None
        } else {
            either("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN").or_else(in_file)
        };
        // What is copied or written by an editor ends in a new line.
        let token = token.map(|token| token.replace(['\r', '\n'], "").trim().to_owned());
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".to_owned());
        Ok(Self {
            cache: cache.ok_or(HubError::NoHome)?,
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            token: token.filter(|token| !token.is_empty()),
            offline: is_true(either("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
        })
    }

    /// The folder of a model's files. What the cache lacks is fetched; if it lacks nothing, nobody is asked.
    ///
    /// A fetch that is interrupted goes on where it was the next time.
    pub fn snapshot(&self, id: &HubId, progress: &mut dyn FnMut(Fetching<'_>)) -> Result<PathBuf, HubError> {
        let folder = RepoFolder::new(&self.cache, id);
        if let Some(snapshot) = folder.whole() {
            return Ok(snapshot);
        }
        if self.offline {
            return Err(HubError::Offline { id: id.to_string(), cache: self.cache.clone() });
        }
        let client = Client::new(self, id)?;
        let listing = client.list()?;
        let commit = &listing.sha;
        let names = if is_listed(&listing, WHOLE) || !is_listed(&listing, INDEX) {
            names_of(id, &listing, BTreeSet::from([WHOLE.to_owned()]))?
        } else {
            fetch(&client, &folder, commit, [INDEX.to_owned()].into(), &mut |_| {})?;
            let shards = shards_of(&folder.snapshot(commit).join(INDEX)).map_err(Box::new)?;
            names_of(id, &listing, shards)?
        };
        fetch(&client, &folder, commit, names, progress)?;
        folder.note(commit)?;
        Ok(folder.snapshot(commit))
    }
}

/// Fetches the files of a commit that are not there.
fn fetch(
    client: &Client<'_>,
    folder: &RepoFolder,
    commit: &str,
    names: BTreeSet<String>,
    progress: &mut dyn FnMut(Fetching<'_>),
) -> Result<(), HubError> {
    let missing = names.into_iter().filter(|name| !folder.holds(commit, name));
    let files = missing.map(|name| client.describe(commit, &name)).collect::<Result<Vec<_>, HubError>>()?;
    let total: u64 = files.iter().map(|file| file.size).sum();
    let mut before = 0;
    for file in &files {
        let mut report = |here: u64| progress(Fetching { file: &file.name, done: before + here, total });
        report(0);
        folder.store(commit, file, |part| client.receive(file, part, &mut report))?;
        before += file.size;
        progress(Fetching { file: &file.name, done: before, total });
    }
    Ok(())
}

/// The files to fetch, `weights` among them, or why this model is none that can be opened.
fn names_of(id: &HubId, listing: &RepoInfo, weights: BTreeSet<String>) -> Result<BTreeSet<String>, HubError> {
    let unusable = |problem: String| HubError::Unusable { id: id.to_string(), problem };
    if let Some(absent) = weights.iter().find(|name| !is_plain(name) || !is_listed(listing, name)) {
        return Err(unusable(if absent == WHOLE {
            without_safetensors(listing)
        } else {
            format!("its index names the shard {}, which it does not have", quoted(absent))
        }));
    }
    if !is_listed(listing, CONFIG) {
        return Err(unusable(format!("has no {CONFIG}: it is no checkpoint in Hugging Face layout")));
    }
    if !is_listed(listing, TOKENIZER) {
        return Err(unusable(format!(
            "has no {TOKENIZER}: save the model and its tokenizer with transformers' AutoTokenizer, which \
             writes one, and give that folder"
        )));
    }
    let optional = OPTIONAL.into_iter().filter(|name| is_listed(listing, name));
    Ok(optional.chain([CONFIG, TOKENIZER]).map(str::to_owned).chain(weights).collect())
}

/// What a model without safetensors has, and what to do.
fn without_safetensors(listing: &RepoInfo) -> String {
    let first = |ending: &str| {
        let mut names = listing.siblings.iter().map(|sibling| sibling.rfilename.as_str());
        names.find(|name| name.ends_with(ending))
    };
    if let Some(name) = first(".gguf") {
        return format!(
            "has no {WHOLE}, but GGUF files such as {}: download one and give its path",
            quoted(name)
        );
    }
    match first(".bin").or_else(|| first(".pth")).or_else(|| first(".pt")).or_else(|| first(".safetensors")) {
        Some(name) => format!(
            "has no {WHOLE}, but {}: convert it with transformers' save_pretrained and give that folder",
            quoted(name)
        ),
        None => format!("has no {WHOLE} and no other weights: choose another model"),
    }
}

fn is_listed(listing: &RepoInfo, name: &str) -> bool {
    listing.siblings.iter().any(|sibling| sibling.rfilename == name)
}

/// Text of a server that may become a file's name and a part of an address.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}
