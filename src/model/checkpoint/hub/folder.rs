//! One model's folder in the cache, laid out as Python's `huggingface_hub` does, so that both use one cache.
//!
//! `blobs` hold the bytes under their `ETag`, `snapshots` link to them by commit and name, and `refs` say which
//! commit a branch or tag is. A file is in `snapshots` only when all of it has reached the disk.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo};
use sha2::{Digest, Sha256};

use super::client::Remote;
use super::error::HubError;
use super::id::{HubId, is_commit};
use super::{CONFIG, TOKENIZER};
use crate::model::checkpoint::safetensors;

pub(super) struct RepoFolder {
    paths: CacheRepo,
    root: PathBuf,
    locks: PathBuf,
    revision: String,
}

impl RepoFolder {
    pub(super) fn new(cache: &Path, id: &HubId) -> Self {
        let repo = id.at(id.revision());
        let name = repo.folder_name();
        Self {
            root: cache.join(&name),
            locks: cache.join(".locks").join(name),
            revision: id.revision().to_owned(),
            paths: Cache::new(cache.to_owned()).repo(repo),
        }
    }

    /// Where the files of a commit are.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.paths.pointer_path(commit)
    }

    /// The revision's snapshot, if all that a model is opened from is in it.
    pub(super) fn whole(&self) -> Option<PathBuf> {
        let commit = if is_commit(&self.revision) {
            self.revision.clone()
        } else {
            fs::read_to_string(self.reference()).ok()?.trim().to_owned()
        };
        let snapshot = is_commit(&commit).then(|| self.snapshot(&commit))?;
        let whole = [CONFIG, TOKENIZER].iter().all(|name| snapshot.join(name).is_file())
            && safetensors::files_of(&snapshot).is_ok();
        whole.then_some(snapshot)
    }

    /// A file of a commit is there.
    pub(super) fn holds(&self, commit: &str, name: &str) -> bool {
        self.snapshot(commit).join(name).is_file()
    }

    /// Has `receive` bring the bytes of a file that are not there yet, then gives it its name.
    pub(super) fn store(
        &self,
        commit: &str,
        remote: &Remote,
        receive: impl FnOnce(&mut Part) -> Result<(), HubError>,
    ) -> Result<(), HubError> {
        let blob = self.paths.blob_path(&remote.etag);
        let blobs = self.root.join("blobs");
        fs::create_dir_all(&blobs).map_err(HubError::disk(&blobs))?;
        let _lock = self.lock(&remote.etag)?;
        if !fs::metadata(&blob).is_ok_and(|found| found.len() == remote.size) {
            let mut part = Part::open(blobs.join(format!("{}.incomplete", remote.etag)))?;
            receive(&mut part)?;
            part.finish(&blob)?;
        }
        self.link(commit, remote, &blob)
    }

    fn link(&self, commit: &str, remote: &Remote, blob: &Path) -> Result<(), HubError> {
        let snapshot = self.snapshot(commit);
        fs::create_dir_all(&snapshot).map_err(HubError::disk(&snapshot))?;
        let link = snapshot.join(&remote.name);
        // A link that leads nowhere would be in the way.
        if link.is_symlink() && !link.is_file() {
            fs::remove_file(&link).map_err(HubError::disk(&link))?;
        }
        if symlink(Path::new("../../blobs").join(&remote.etag), &link).is_ok() || link.is_file() {
            return Ok(());
        }
        // On a disk without links the file itself gets the name.
        fs::rename(blob, &link).map_err(HubError::disk(&link))
    }

    /// Notes which commit the revision is. Last of all: what it names is taken for whole.
    pub(super) fn note(&self, commit: &str) -> Result<(), HubError> {
        if is_commit(&self.revision) {
            return Ok(());
        }
        let path = self.reference();
        let _lock = self.lock(commit)?;
        if fs::read_to_string(&path).is_ok_and(|known| known == commit) {
            return Ok(());
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(HubError::disk(folder))?;
        }
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(format!(".{}.tmp", std::process::id()));
        fs::write(&unfinished, commit)
            .and_then(|()| fs::rename(&unfinished, &path))
            .map_err(HubError::disk(&path))
    }

    fn reference(&self) -> PathBuf {
        self.root.join("refs").join(&self.revision)
    }

    /// Keeps others, Python included, from the same bytes or commit for as long as the result lives.
    fn lock(&self, what: &str) -> Result<Option<File>, HubError> {
        fs::create_dir_all(&self.locks).map_err(HubError::disk(&self.locks))?;
        let path = self.locks.join(format!("{what}.lock"));
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HubError::disk(&path))?;
        let locked = match file.try_lock() {
            Err(TryLockError::WouldBlock) => {
                log::info!("{}: waits for another that fetches the same", path.display());
                file.lock()
            }
            Err(TryLockError::Error(cause)) => Err(cause),
            Ok(()) => Ok(()),
        };
        // Some network disks have no locks: the file is fetched twice at worst.
        match locked {
            Ok(()) => Ok(Some(file)),
            Err(cause) => {
                log::warn!("{}: cannot be locked: {cause}", path.display());
                Ok(None)
            }
        }
    }
}

/// A file of which not all has arrived; the next try goes on where it ends.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    length: u64,
    hash: Sha256,
}

impl Part {
    fn open(path: PathBuf) -> Result<Self, HubError> {
        let open = || -> io::Result<_> {
            let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
            let (mut length, mut hash, mut bytes) = (0_u64, Sha256::new(), vec![0; 1 << 16]);
            loop {
                let read = file.read(&mut bytes)?;
                if read == 0 {
                    return Ok((file, length, hash));
                }
                hash.update(&bytes[..read]);
                length += read as u64;
            }
        };
        let (file, length, hash) = open().map_err(HubError::disk(&path))?;
        Ok(Self { path, file, length, hash })
    }

    /// Bytes that are there.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// SHA-256 of what is there, in hexadecimal.
    pub(super) fn sha256(&self) -> String {
        let digest = self.hash.clone().finalize();
        digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes).map_err(HubError::disk(&self.path))?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what has arrived.
    pub(super) fn clear(&mut self) -> Result<(), HubError> {
        self.file.set_len(0).and_then(|()| self.file.rewind()).map_err(HubError::disk(&self.path))?;
        self.hash = Sha256::new();
        self.length = 0;
        Ok(())
    }

    fn finish(self, blob: &Path) -> Result<(), HubError> {
        self.file.sync_all().map_err(HubError::disk(&self.path))?;
        fs::rename(&self.path, blob).map_err(HubError::disk(blob))
    }
}
