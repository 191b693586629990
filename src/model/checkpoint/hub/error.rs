//! Why a model does not come from the Hub.

use std::path::{Path, PathBuf};

/// What keeps a model from being fetched: one line of what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// There is no folder for the cache.
    #[error("there is no home folder to keep models of the Hub in: set HOME, HF_HOME or HF_HUB_CACHE")]
    NoHome,
    /// `HF_ENDPOINT` cannot be asked.
    #[error("HF_ENDPOINT is {0}: it is an address such as https://huggingface.co")]
    Endpoint(String),
    /// The token cannot be sent.
    #[error(
        "the token of the Hub holds a character that no token has: check HF_TOKEN, or sign in again with \
         `hf auth login`"
    )]
    Token,
    /// The token is not, or no longer, one.
    #[error("{host} does not accept the token: check HF_TOKEN, or sign in again with `hf auth login`")]
    TokenRefused {
        /// Who refuses it.
        host: String,
    },
    /// Nobody has such a model, or it is somebody's own.
    #[error(
        "{id}: {host} has no such model, or a private one: check the name, and set HF_TOKEN for a private one"
    )]
    NoSuchModel {
        /// The model.
        id: String,
        /// Who was asked.
        host: String,
    },
    /// The model is shown to those who asked for it.
    #[error("{id}: only for those who have been granted access: ask for access at {page} and set HF_TOKEN")]
    Gated {
        /// The model.
        id: String,
        /// Where to ask.
        page: String,
    },
    /// The model is there, the revision is not.
    #[error("{repo}: {host} has no branch, tag or commit {revision} of it: choose one from its page")]
    NoSuchRevision {
        /// The model.
        repo: String,
        /// What is not there.
        revision: String,
        /// Who was asked.
        host: String,
    },
    /// The model would have to be fetched, and that is not allowed.
    #[error(
        "{id}: the cache {} does not hold all of it, and nothing is fetched while HF_HUB_OFFLINE is set: unset \
         it, or fetch the model elsewhere",
        cache.display()
    )]
    Offline {
        /// The model.
        id: String,
        /// Where it was sought.
        cache: PathBuf,
    },
    /// Nobody answers, or not to the end.
    #[error(
        "{host}: {cause}: check the network, HF_ENDPOINT and HTTPS_PROXY; models in the cache open without a \
         network, and with HF_HUB_OFFLINE=1 none is tried"
    )]
    Network {
        /// Who was asked.
        host: String,
        /// What happened.
        cause: String,
    },
    /// The server has trouble of its own.
    #[error("{host} answers with status {status}: try again later; what has arrived is kept")]
    Server {
        /// Who was asked.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The server is something else than a Hub.
    #[error("{host}: {problem}: this is not how the Hub answers: check HF_ENDPOINT")]
    Answer {
        /// Who was asked.
        host: String,
        /// What does not fit.
        problem: String,
    },
    /// A model of a kind that is not opened here.
    #[error("{id}: {problem}")]
    Unusable {
        /// The model.
        id: String,
        /// What it lacks, and what to use instead.
        problem: String,
    },
    /// What arrived is not what was announced.
    #[error("{id}: {file} arrives damaged: its checksum is not the one that the Hub names; try again later")]
    Damaged {
        /// The model.
        id: String,
        /// The file.
        file: String,
    },
    /// The list of shards cannot be read.
    #[error(transparent)]
    Index(#[from] Box<crate::model::checkpoint::Error>),
    /// The operating system refused.
    #[error("{}: {cause}", path.display())]
    Disk {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

impl HubError {
    pub(super) fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::Disk { path: path.to_owned(), cause }
    }

    /// Another try may go better.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Network { .. } | Self::Damaged { .. } => true,
            Self::Server { status, .. } => *status >= 500 || [408, 429].contains(status),
            _ => false,
        }
    }
}
