//! Models in GGUF files, as llama.cpp writes them for the architecture `llama`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::Value;
use candle_core::{Device, Result as TensorResult, Tensor};

use super::config::{ConfigError, check};
use super::error::{Error, quoted};
use super::gguf_header::Header;
use super::{Checkpoint, Listed, chat, check_listing, fit, gguf_tokenizer, warn_of_others};
use crate::model::config::{LlamaConfig, RopeScaling};
use crate::model::params::Params;

const ROPE_FREQUENCIES: &str = "rope_freqs.weight";

/// Opens a GGUF file: weights as f32, under their Hugging Face names.
pub(super) fn open(
    path: &Path,
    name: String,
    device: &Device,
    progress: &mut dyn FnMut(f32),
) -> Result<Checkpoint, Error> {
    let file = File::open(path).map_err(Error::io(path))?;
    let header = Header::read(path, &file)?;
    let mut reader = Weights { path, header: &header, file: BufReader::new(&file) };
    let mut config = config_of(path, &header)?;
    if header.tensors.contains_key(ROPE_FREQUENCIES) {
        if config.rope_scaling.is_some() {
            let problem = "scales the rotary embedding twice, by llama.rope.scaling and by rope_freqs.weight";
            return Err(Error::unsupported(path, problem));
        }
        let divisors = reader.read(ROPE_FREQUENCIES)?.flatten_all().and_then(|divisors| divisors.to_vec1());
        config.rope_scaling = Some(RopeScaling::Divisors(divisors.map_err(Error::tensor(path))?));
    }
    check(&config).map_err(|problem| Error::Config { path: path.to_owned(), problem })?;
    let tokenizer = gguf_tokenizer::read(path, &header.metadata)?;
    let tokenizer = fit(tokenizer, &config, path);
    let params = reader.params(&config, device, progress)?;
    let chat = chat::of_gguf(path, &header.metadata);
    Ok(Checkpoint { name, config, params, tokenizer, chat })
}

/// The weights of an open file.
struct Weights<'a> {
    path: &'a Path,
    header: &'a Header,
    file: BufReader<&'a File>,
}

impl Weights<'_> {
    fn params(
        &mut self,
        config: &LlamaConfig,
        device: &Device,
        progress: &mut dyn FnMut(f32),
    ) -> Result<Params, Error> {
        let header = self.header;
        let shapes = check_listing(config, "its metadata", self.path, device, |name| {
            let info = header.tensors.get(&gguf_name(name))?;
            Some(Listed { path: self.path, dims: info.shape.dims() })
        })?;
        let asked: BTreeSet<String> = shapes.iter().map(|(name, _)| gguf_name(name)).collect();
        let is_other = |name: &&str| !asked.contains(*name) && *name != ROPE_FREQUENCIES;
        warn_of_others(self.path, header.tensors.keys().map(String::as_str).filter(is_other).collect());

        let total: usize = shapes.iter().map(|(_, dims)| dims.iter().product::<usize>()).sum();
        let mut done = 0;
        let mut params = Params::default();
        for (name, dims) in shapes {
            let stored = self.read(&gguf_name(&name))?;
            let heads = if name.contains("q_proj") {
                Some(config.num_attention_heads)
            } else if name.contains("k_proj") {
                Some(config.num_key_value_heads)
            } else {
                None
            };
            let tensor = match heads {
                Some(heads) => halves(&stored, heads),
                None => Ok(stored),
            };
            let tensor =
                tensor.and_then(|tensor| tensor.to_device(device)).map_err(Error::tensor(self.path))?;
            params.insert(name, tensor);
            done += dims.iter().product::<usize>();
            progress(done as f32 / total as f32);
        }
        Ok(params)
    }

    /// One tensor as f32, as it lies in the file.
    fn read(&mut self, gguf_name: &str) -> Result<Tensor, Error> {
        let Some(info) = self.header.tensors.get(gguf_name) else {
            return Err(Error::damaged(self.path, format!("lists no {gguf_name}")));
        };
        info.read(&mut self.file, self.header.data, &Device::Cpu)
            .and_then(|quantized| quantized.dequantize(&Device::Cpu))
            .map_err(Error::tensor(self.path))
    }
}

/// Undoes the permutation that llama.cpp's converter applies to the rows of q and k (`LlamaModel.permute` in
/// its `convert_hf_to_gguf.py`): GGUF puts the two numbers that are rotated together side by side, Hugging
/// Face half a head apart.
fn halves(stored: &Tensor, heads: usize) -> TensorResult<Tensor> {
    let dims = stored.dims().to_vec(); // (heads * head_dim, ..)
    let pairs = dims[0] / heads / 2;
    let mut split = vec![heads, pairs, 2];
    split.extend(&dims[1..]); // (heads, head_dim / 2, 2, ..)
    stored.reshape(split)?.transpose(1, 2)?.contiguous()?.reshape(dims)
}

/// llama.cpp's name of a parameter (gguf-py/gguf/tensor_mapping.py).
fn gguf_name(name: &str) -> String {
    let Some(of_layer) = name.strip_prefix("model.layers.") else {
        return name
            .replace("model.embed_tokens", "token_embd")
            .replace("model.norm", "output_norm")
            .replace("lm_head", "output");
    };
    let mut block = format!("blk.{of_layer}");
    for (theirs, ours) in [
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ] {
        block = block.replace(theirs, ours);
    }
    block
}

/// The shape of the model, from the metadata and from which tensors there are.
fn config_of(path: &Path, header: &Header) -> Result<LlamaConfig, Error> {
    let metadata = Metadata { path, header };
    match metadata.text("general.architecture")? {
        Some("llama") => {}
        other => {
            let problem = format!("general.architecture {} is not supported: only llama is", shown(other));
            return Err(Error::unsupported(path, problem));
        }
    }
    if metadata.size("split.count")?.is_some_and(|parts| parts > 1) {
        return Err(Error::unsupported(
            path,
            "is one part of several: join them with llama-gguf-split --merge",
        ));
    }
    if metadata.size("llama.expert_count")?.is_some_and(|experts| experts > 0) {
        return Err(Error::unsupported(path, "llama.expert_count: mixtures of experts are not supported"));
    }
    let hidden_size = metadata.required_size("llama.embedding_length")?;
    let num_attention_heads = metadata.required_size("llama.attention.head_count")?;
    let head_dim = match metadata.size("llama.attention.key_length")? {
        Some(length) => length,
        None if num_attention_heads > 0 => hidden_size / num_attention_heads,
        None => return Err(metadata.wrong("llama.attention.head_count", "is 0")),
    };
    for key in ["llama.attention.value_length", "llama.rope.dimension_count"] {
        if metadata.size(key)?.is_some_and(|length| length != head_dim) {
            let problem =
                format!("{key} differs from the width of a head, {head_dim}: that is not supported");
            return Err(Error::unsupported(path, problem));
        }
    }
    let Some(embedding) = header.tensors.get("token_embd.weight") else {
        return Err(Error::damaged(path, "lacks token_embd.weight"));
    };
    let holds = |name: &str| header.tensors.contains_key(name);
    Ok(LlamaConfig {
        vocab_size: embedding.shape.dims()[0],
        hidden_size,
        intermediate_size: metadata.required_size("llama.feed_forward_length")?,
        num_hidden_layers: metadata.required_size("llama.block_count")?,
        num_attention_heads,
        num_key_value_heads: metadata.size("llama.attention.head_count_kv")?.unwrap_or(num_attention_heads),
        head_dim,
        max_position_embeddings: metadata.required_size("llama.context_length")?,
        rms_norm_eps: metadata
            .number("llama.attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| metadata.wrong("llama.attention.layer_norm_rms_epsilon", "is missing"))?,
        rope_theta: metadata.number("llama.rope.freq_base")?.unwrap_or(10_000.0),
        rope_scaling: scaling_of(&metadata)?,
        tie_word_embeddings: !holds("output.weight"),
        attention_bias: holds("blk.0.attn_q.bias"),
        mlp_bias: holds("blk.0.ffn_gate.bias"),
        bos_token_id: metadata.token("tokenizer.ggml.bos_token_id")?,
        eos_token_ids: metadata.token("tokenizer.ggml.eos_token_id")?.into_iter().collect(),
    })
}

fn scaling_of(metadata: &Metadata) -> Result<Option<RopeScaling>, Error> {
    const FACTOR: &str = "llama.rope.scaling.factor";
    match metadata.text("llama.rope.scaling.type")? {
        None => {
            let factor =
                metadata.number("llama.rope.scale_linear")?.filter(|factor| factor.total_cmp(&1.0).is_ne());
            Ok(factor.map(|factor| RopeScaling::Linear { factor }))
        }
        Some("none") => Ok(None),
        Some("linear") => {
            let factor = metadata.number(FACTOR)?.ok_or_else(|| metadata.wrong(FACTOR, "is missing"))?;
            Ok(Some(RopeScaling::Linear { factor }))
        }
        Some(other) => {
            let problem =
                format!("llama.rope.scaling.type {} is not supported: none and linear are", quoted(other));
            Err(Error::unsupported(metadata.path, problem))
        }
    }
}

fn shown(text: Option<&str>) -> String {
    text.map_or_else(|| "(none)".to_owned(), quoted)
}

/// Metadata, read with errors that name the key.
struct Metadata<'a> {
    path: &'a Path,
    header: &'a Header,
}

impl<'a> Metadata<'a> {
    fn wrong(&self, field: &'static str, problem: &str) -> Error {
        Error::Config {
            path: self.path.to_owned(),
            problem: ConfigError::Field { field, problem: problem.to_owned() },
        }
    }

    fn read<T>(
        &self,
        key: &'static str,
        problem: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let value = self.header.metadata.get(key);
        value.map(|value| convert(value).ok_or_else(|| self.wrong(key, problem))).transpose()
    }

    fn text(&self, key: &'static str) -> Result<Option<&'a str>, Error> {
        self.read(key, "is not a text", |value| value.to_string().ok().map(String::as_str))
    }

    fn size(&self, key: &'static str) -> Result<Option<usize>, Error> {
        self.read(key, "is not a size", |value| usize::try_from(whole_number(value)?).ok())
    }

    fn required_size(&self, key: &'static str) -> Result<usize, Error> {
        self.size(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    fn token(&self, key: &'static str) -> Result<Option<u32>, Error> {
        self.read(key, "is not a token id", |value| u32::try_from(whole_number(value)?).ok())
    }

    fn number(&self, key: &'static str) -> Result<Option<f64>, Error> {
        self.read(key, "is not a number", |value| match value {
            // Written as 1e-5, stored as the nearest f32: the shortest decimal that is this f32 was meant.
            Value::F32(number) => number.to_string().parse().ok(),
            Value::F64(number) => Some(*number),
            _ => None,
        })
    }
}

/// Any of the integer types.
pub(super) fn whole_number(value: &Value) -> Option<u64> {
    match *value {
        Value::I8(number) => u64::try_from(number).ok(),
        Value::I16(number) => u64::try_from(number).ok(),
        Value::I32(number) => u64::try_from(number).ok(),
        Value::I64(number) => u64::try_from(number).ok(),
        Value::Bool(_) => None,
        ref value => value.to_u64().ok(),
    }
}
