//! How a person names a model of the Hub.

use std::fmt;
use std::path::Path;

use hf_hub::{Repo, RepoType};

/// What a model is fetched at where nothing else is said.
const MAIN: &str = "main";

/// A model on the Hub at one revision: `org/name` or `org/name@revision`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    repo: String,
    revision: String,
}

impl HubId {
    /// Reads `org/name[@revision]`; nothing where the Hub would not have such a name.
    ///
    /// A name that ends in `.gguf` is a file's.
    pub fn parse(text: &str) -> Option<Self> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let (owner, name) = repo.split_once('/')?;
        let is_file = Path::new(name).extension().is_some_and(|extension| {
            ["gguf", "git"].iter().any(|other| extension.eq_ignore_ascii_case(other))
        });
        let valid = is_name(owner) && is_name(name) && !is_file && is_revision(revision);
        valid.then(|| Self { repo: repo.to_owned(), revision: revision.to_owned() })
    }

    /// `org/name`.
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// The same model at another revision, as the library wants it.
    pub(super) fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.clone(), RepoType::Model, revision.to_owned())
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repo)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        Ok(())
    }
}

/// The Hub's own rules for the names of people and models.
fn is_name(text: &str) -> bool {
    const LONGEST: usize = 96;
    (1..=LONGEST).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
        && !text.contains("--")
        && !text.contains("..")
}

/// A branch, a tag, a commit or a path such as `refs/pr/1`, which becomes a path in the cache.
fn is_revision(text: &str) -> bool {
    const LONGEST: usize = 255;
    text.len() <= LONGEST
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))
}

/// A commit in full.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
