//! Weights in safetensors files (github.com/huggingface/safetensors#format), whole or in shards.
//!
//! Files are read tensor by tensor, not mapped: a mapped file that is truncated while it is in use ends the
//! process.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ::safetensors::tensor::{Dtype, Metadata, TensorInfo};
use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use super::error::{Error, quoted};
use super::{Listed, check_listing, warn_of_others};
use crate::model::config::LlamaConfig;
use crate::model::host::Numbers;
use crate::model::params::Params;

pub(super) const WHOLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// The format's own bound on the header, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// Reads the weights of a folder in Hugging Face layout, as f32. A configuration that ties a head which the files
/// hold with other numbers is corrected.
pub(super) fn load(
    folder: &Path,
    config: &mut LlamaConfig,
    device: &Device,
    progress: &mut dyn FnMut(f32),
) -> Result<Params, Error> {
    let (listing, paths) = files_of(folder)?;
    let mut files = paths.into_iter().map(Shard::open).collect::<Result<Vec<_>, _>>()?;
    let mut holders = HashMap::new();
    for (number, file) in files.iter().enumerate() {
        for name in file.metadata.offset_keys() {
            // One of them is an old copy, and nothing says which.
            if let Some(&other) = holders.get(&name) {
                let other: &Shard = &files[other];
                let problem = format!("holds {}, which {} holds too", quoted(&name), other.path.display());
                return Err(Error::damaged(&file.path, problem));
            }
            holders.insert(name, number);
        }
    }
    let copy = if config.tie_word_embeddings { copies_embedding(&mut files, &holders)? } else { None };
    if copy == Some(false) {
        // As transformers 5 does.
        config.tie_word_embeddings = false;
        log::warn!(
            "{}: {HEAD} differs from the embedding that config.json ties it to: the model is read untied",
            listing.display()
        );
    }
    let shapes =
        check_listing(config, "config.json", &listing, device, |name| listed(&files, &holders, name))?;
    // Older files carry the rotary frequencies, and some a copy of a tied head: both follow from the rest.
    let is_needless =
        |name: &str| name.ends_with("rotary_emb.inv_freq") || (name == HEAD && copy == Some(true));
    let asked: BTreeSet<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
    let is_other = |name: &&str| !asked.contains(name) && !is_needless(name);
    warn_of_others(&listing, holders.keys().map(String::as_str).filter(is_other).collect());

    let total: usize = shapes.iter().map(|(_, dims)| dims.iter().product::<usize>()).sum();
    let mut done = 0;
    let mut params = Params::default();
    for (name, dims) in shapes {
        let Some(&holder) = holders.get(&name) else { continue };
        let tensor = files[holder].tensor(&name, device)?;
        params.insert(name, tensor);
        done += dims.iter().product::<usize>();
        progress(done as f32 / total as f32);
    }
    Ok(params)
}

/// What the files say of a tensor; `holders` are those that hold each.
fn listed<'a>(files: &'a [Shard], holders: &HashMap<String, usize>, name: &str) -> Option<Listed<'a>> {
    let file = &files[*holders.get(name)?];
    Some(Listed { path: &file.path, dims: &file.metadata.info(name)?.shape })
}

/// Whether the head is the embedding again, to the bit as f32; `None` where there is no head of its dimensions.
fn copies_embedding(files: &mut [Shard], holders: &HashMap<String, usize>) -> Result<Option<bool>, Error> {
    // Numbers that are compared at a time: neither tensor is held as a whole.
    const PIECE: usize = 1 << 13;
    let [embedding, head] = [EMBEDDING, HEAD].map(|name| listed(files, holders, name));
    let Some(dims) = embedding.zip(head).and_then(|(a, b)| (a.dims == b.dims).then_some(a.dims)) else {
        return Ok(None);
    };
    let count: usize = dims.iter().product();
    let (embedding, head) = (holders[EMBEDDING], holders[HEAD]);
    for first in (0..count).step_by(PIECE) {
        let piece = PIECE.min(count - first);
        let ours = files[embedding].bits(EMBEDDING, first, piece)?;
        if files[head].bits(HEAD, first, piece)? != ours {
            return Ok(Some(false));
        }
    }
    Ok(Some(true))
}

/// `model.safetensors.index.json`: which file holds which tensor.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The file that lists the tensors, and the files that hold them.
pub(super) fn files_of(folder: &Path) -> Result<(PathBuf, Vec<PathBuf>), Error> {
    let whole = folder.join(WHOLE);
    if whole.is_file() {
        return Ok((whole.clone(), vec![whole]));
    }
    let index = folder.join(INDEX);
    if !index.is_file() {
        return Err(Error::unsupported(
            folder,
            format!("has neither {WHOLE} nor {INDEX}: other formats must be converted with transformers"),
        ));
    }
    let mut paths = Vec::new();
    for shard in shards_of(&index)? {
        let path = folder.join(&shard);
        if !path.is_file() {
            return Err(Error::damaged(&index, format!("the shard {} is not there", quoted(&shard))));
        }
        paths.push(path);
    }
    Ok((index, paths))
}

/// The names of the files that an index of shards lists.
pub(super) fn shards_of(index: &Path) -> Result<BTreeSet<String>, Error> {
    let text = std::fs::read(index).map_err(Error::io(index))?;
    let parsed: Index = serde_json::from_slice(&text)
        .map_err(|cause| Error::damaged(index, format!("is no index of shards ({cause})")))?;
    let shards: BTreeSet<String> = parsed.weight_map.into_values().collect();
    for shard in &shards {
        // A name that leads out of the folder is not one that transformers writes.
        if Path::new(shard).file_name().is_none_or(|name| name != shard.as_str()) {
            return Err(Error::damaged(index, format!("{} is no file name", quoted(shard))));
        }
    }
    Ok(shards)
}

/// One safetensors file, open.
struct Shard {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the first tensor's bytes begin.
    data: u64,
}

impl Shard {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let mut file = File::open(&path).map_err(Error::io(&path))?;
        let length = file.metadata().map_err(Error::io(&path))?.len();
        let mut prefix = [0; 8];
        if length < prefix.len() as u64 {
            return Err(Error::damaged(&path, format!("has only {length} bytes")));
        }
        file.read_exact(&mut prefix).map_err(Error::io(&path))?;
        let header = u64::from_le_bytes(prefix);
        if header > LONGEST_HEADER || header > length - 8 {
            let problem = format!("claims a header of {header} bytes in a file of {length}");
            return Err(Error::damaged(&path, problem));
        }
        let mut text = vec![0; header as usize];
        file.read_exact(&mut text).map_err(Error::io(&path))?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|cause| {
            Error::damaged(&path, format!("its header is not valid ({})", cause.to_string().escape_debug()))
        })?;
        let data = 8 + header;
        let held = length - data;
        if metadata.data_len() as u64 != held {
            let problem =
                format!("holds {held} bytes of tensors, its header asks for {}", metadata.data_len());
            return Err(Error::damaged(&path, problem));
        }
        Ok(Self { path, file, metadata, data })
    }

    /// What the file says of one tensor, which must be listed.
    fn info(&self, name: &str) -> Result<&TensorInfo, Error> {
        let info = self.metadata.info(name);
        info.ok_or_else(|| Error::damaged(&self.path, format!("lists no {}", quoted(name))))
    }

    /// Reads one tensor, which must be listed, as f32.
    fn tensor(&mut self, name: &str, device: &Device) -> Result<Tensor, Error> {
        let dims = self.info(name)?.shape.clone();
        if dims.contains(&0) {
            return Err(Error::damaged(&self.path, format!("{} has no numbers", quoted(name))));
        }
        let numbers = self.numbers(name, 0, dims.iter().product())?;
        numbers.reshape(dims).and_then(|tensor| tensor.to_device(device)).map_err(Error::tensor(&self.path))
    }

    /// Reads the bits of some numbers of one tensor, as f32.
    fn bits(&mut self, name: &str, first: usize, count: usize) -> Result<Vec<u32>, Error> {
        let numbers =
            self.numbers(name, first, count)?.to_vec1::<f32>().map_err(Error::tensor(&self.path))?;
        Ok(numbers.into_iter().map(f32::to_bits).collect())
    }

    /// Reads some numbers of one tensor, which must be listed, as f32: `(count)` on the CPU.
    fn numbers(&mut self, name: &str, first: usize, count: usize) -> Result<Tensor, Error> {
        let info = self.info(name)?;
        let begin = info.data_offsets.0;
        let dtype = match info.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => {
                let problem = format!("{} is {other:?}: only F32, F16 and BF16 are supported", quoted(name));
                return Err(Error::unsupported(&self.path, problem));
            }
        };
        let size = dtype.size_in_bytes();
        let mut bytes = vec![0; count * size];
        let begin = self.data + (begin + first * size) as u64;
        self.file.seek(SeekFrom::Start(begin)).map_err(Error::io(&self.path))?;
        self.file.read_exact(&mut bytes).map_err(Error::io(&self.path))?;
        Tensor::from_raw_buffer(&bytes, dtype, &[count], &Device::Cpu)
            .and_then(|tensor| tensor.to_dtype(DType::F32))
            .map_err(Error::tensor(&self.path))
    }
}

/// Reads all tensors of one file, in the order of their names.
pub fn read_tensors(path: &Path, device: &Device) -> Result<Params, Error> {
    let mut file = Shard::open(path.to_owned())?;
    let mut names: Vec<String> = file.metadata.tensors().into_keys().collect();
    names.sort_unstable();
    names
        .into_iter()
        .map(|name| {
            let tensor = file.tensor(&name, device)?;
            Ok((name, tensor))
        })
        .collect()
}

/// Writes parameters as one file of f32, in their order, and has the disk confirm it.
pub fn write_tensors(path: &Path, params: &Params) -> Result<(), Error> {
    let mut end = 0;
    let infos = params.iter().map(|(name, tensor)| {
        let begin = end;
        end += tensor.elem_count() * size_of::<f32>();
        let info =
            TensorInfo { dtype: Dtype::F32, shape: tensor.dims().to_vec(), data_offsets: (begin, end) };
        (name.to_owned(), info)
    });
    // transformers refuses files that do not say which library's layout they follow.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut header = Metadata::new(Some(format), infos.collect())
        .map_err(|cause| cause.to_string())
        .and_then(|metadata| serde_json::to_string(&metadata).map_err(|cause| cause.to_string()))
        .map_err(|problem| {
            Error::unsupported(path, format!("these parameters cannot be saved ({problem})"))
        })?;
    // Tensors begin at a multiple of 8 bytes.
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }

    let io = |cause| Error::io(path)(cause);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    file.write_all(header.as_bytes()).map_err(io)?;
    let mut bytes = Vec::new();
    for (_, tensor) in params.iter() {
        // Nothing is copied of what lies here as it is written.
        let tensor =
            tensor.to_device(&Device::Cpu).and_then(|tensor| tensor.to_dtype(DType::F32)?.contiguous());
        let tensor = tensor.map_err(Error::tensor(path))?;
        let numbers = Numbers::of(&tensor).map_err(Error::tensor(path))?;
        for numbers in numbers.chunks(1 << 12) {
            bytes.clear();
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            file.write_all(&bytes).map_err(io)?;
        }
    }
    let file = file.into_inner().map_err(|cause| io(cause.into_error()))?;
    file.sync_all().map_err(io)
}
