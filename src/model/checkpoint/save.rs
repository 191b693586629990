//! Writing a checkpoint so that it is either there in full or not at all.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::config::{generation_to_json, to_json};
use super::error::Error;
use super::safetensors;
use crate::model::chat::ChatTemplate;
use crate::model::config::LlamaConfig;
use crate::model::params::Params;
use crate::model::tokenizer::Tokenizer;

/// Saves a model as a folder that transformers opens. A checkpoint of that name is replaced.
///
/// The folder appears under its name only when every file in it has reached the disk.
pub fn save(
    folder: &Path,
    config: &LlamaConfig,
    params: &Params,
    tokenizer: &Tokenizer,
    chat: Option<&ChatTemplate>,
) -> Result<(), Error> {
    write_folder(folder, |staging| write_model(staging, config, params, tokenizer, chat))
}

/// Has `fill` write the files of a folder, then puts the folder into place under its name.
///
/// Until then it is a hidden sibling, which is removed if anything fails. A checkpoint that has the name
/// already is replaced; any other folder is left alone and is an error.
pub fn write_folder<E: From<Error>>(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if !may_replace(folder)? {
        let problem = "is there already and is no checkpoint: choose another folder";
        return Err(Error::unsupported(folder, problem).into());
    }
    let staging = Staging::create(folder)?;
    fill(&staging.0)?;
    Ok(staging.put_into_place(folder)?)
}

/// Writes the files of a model into a folder that is there.
pub fn write_model(
    folder: &Path,
    config: &LlamaConfig,
    params: &Params,
    tokenizer: &Tokenizer,
    chat: Option<&ChatTemplate>,
) -> Result<(), Error> {
    let path = folder.join("tokenizer.json");
    let text = tokenizer.to_json().map_err(|problem| Error::Tokenizer { path: path.clone(), problem })?;
    write_file(&path, &text)?;
    write_json(&folder.join("tokenizer_config.json"), &tokenizer_to_json(config, tokenizer, chat))?;
    write_json(&folder.join("generation_config.json"), &generation_to_json(config))?;
    safetensors::write_tensors(&folder.join(safetensors::WHOLE), params)?;
    write_json(&folder.join("config.json"), &to_json(config))
}

/// What transformers' `AutoTokenizer` needs beside `tokenizer.json`.
fn tokenizer_to_json(config: &LlamaConfig, tokenizer: &Tokenizer, chat: Option<&ChatTemplate>) -> Value {
    let mut fields = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_position_embeddings,
        "clean_up_tokenization_spaces": false,
    });
    let bos = config.bos_token_id.and_then(|id| tokenizer.name(id));
    let eos = tokenizer.eos().and_then(|id| tokenizer.name(id));
    for (field, name) in [("bos_token", bos), ("eos_token", eos)] {
        if let Some(name) = name {
            fields[field] = name.into();
        }
    }
    if let Some(chat) = chat {
        // A template means the tokens that it came with, which may end an answer and not a text.
        for (field, token) in chat.special() {
            fields[field] = token.as_str().into();
        }
        fields["chat_template"] = chat.source().into();
    }
    fields
}

fn write_json(path: &Path, value: &Value) -> Result<(), Error> {
    write_file(path, &format!("{value:#}\n"))
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(path))
}

/// Whether nothing but an empty folder or a checkpoint has this name.
fn may_replace(folder: &Path) -> Result<bool, Error> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(folder.join("config.json").is_file() || entries.next().is_none()),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(cause) => Err(Error::io(folder)(cause)),
    }
}

/// A hidden folder beside the one it will become; removed when it is dropped.
struct Staging(PathBuf);

impl Staging {
    fn create(folder: &Path) -> Result<Self, Error> {
        let parent = parent_of(folder);
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
        let path = hidden_sibling(folder, "partial");
        // A process of the same number may have been killed here.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(Error::io(&path))?;
        Ok(Self(path))
    }

    fn put_into_place(self, folder: &Path) -> Result<(), Error> {
        sync_all(&self.0)?;
        if folder.exists() {
            // In one stroke, so that there is a whole folder of that name at every moment.
            exchange(&self.0, folder).map_err(Error::io(folder))?;
        } else {
            fs::rename(&self.0, folder).map_err(Error::io(folder))?;
        }
        sync(parent_of(folder))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // Gone already when it was put into place, or what was there before.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Lets two folders change names, or where the file system can't do that in one stroke, in two.
fn exchange(new: &Path, old: &Path) -> std::io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
            let aside = hidden_sibling(old, "replaced");
            fs::rename(old, &aside)?;
            fs::rename(new, old)?;
            fs::rename(&aside, new)
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes a checkpoint. It loses its name first, so that whoever is killed meanwhile leaves no half of one.
pub fn remove(folder: &Path) -> std::io::Result<()> {
    let aside = hidden_sibling(folder, "removed");
    // A process of the same number may have been killed here.
    let _ = fs::remove_dir_all(&aside);
    fs::rename(folder, &aside)?;
    fs::remove_dir_all(aside)
}

/// Removes what writers that were killed have left beside `folder`'s children. Nobody may be writing there.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let Some(of) = name.strip_prefix('.').filter(|of| of.starts_with("checkpoint-")) else { continue };
        if let Some((of, _)) = of.split_once(".replaced-") {
            // Between two names there was neither: the old one comes back.
            let original = folder.join(of);
            if original.exists() || fs::rename(entry.path(), original).is_err() {
                let _ = fs::remove_dir_all(entry.path());
            }
        } else if of.contains(".partial-") || of.contains(".removed-") {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Has the disk confirm a folder and every file in it.
fn sync_all(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.is_dir() { sync_all(&path)? } else { sync(&path)? }
    }
    sync(folder)
}

fn sync(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}

fn parent_of(folder: &Path) -> &Path {
    folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn hidden_sibling(folder: &Path, purpose: &str) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    parent_of(folder).join(format!(".{name}.{purpose}-{}", std::process::id()))
}
