//! Checkpoints of other programs open as those programs mean them; damaged ones are refused in one line.
//!
//! `tests/fixtures/make_gguf.py` made the files and the numbers.

// Numbers are compared bit for bit, and what fails to unwrap fails the test.
#![allow(clippy::float_cmp, clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use llamascape::model::checkpoint::{Checkpoint, save, write_folder};
use llamascape::model::config::RopeScaling;
use llamascape::model::llama::Llama;
use llamascape::model::params::Params;
use llamascape::model::shapes::parameter_shapes;
use serde_json::{Value, json};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn expected(which: &str) -> Value {
    serde_json::from_slice::<Value>(&fs::read(fixture("tiny.json")).unwrap()).unwrap()[which].take()
}

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path, &Device::Cpu, &mut |_| {}).unwrap()
}

/// Why a path cannot be opened: always one line.
fn refusal(path: &Path) -> String {
    let message = Checkpoint::open(path, &Device::Cpu, &mut |_| {}).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message:?}");
    message
}

fn numbers(values: &Value) -> Vec<f32> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}

fn ids(values: &Value) -> Vec<u32> {
    values.as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as u32).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Names, dimensions and the bits of every number.
fn contents(params: &Params) -> Vec<(String, Vec<usize>, Vec<u32>)> {
    let bits = |tensor: &Tensor| values(tensor).into_iter().map(f32::to_bits).collect();
    params.iter().map(|(name, tensor)| (name.to_owned(), tensor.dims().to_vec(), bits(tensor))).collect()
}

/// A copy of a fixture that a test may spoil.
fn copy_of(name: &str) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn change_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// A GGUF file like the fixture, with one text in it replaced by another of the same length.
fn gguf_with(from: &str, to: &str) -> TempDir {
    assert_eq!(from.len(), to.len());
    let mut bytes = fs::read(fixture("tiny.gguf")).unwrap();
    // Texts follow their length in eight bytes, which keeps keys that merely contain the text apart.
    let framed = [&(from.len() as u64).to_le_bytes(), from.as_bytes()].concat();
    let at = bytes.windows(framed.len()).position(|window| window == framed).unwrap() + 8;
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("model.gguf"), bytes).unwrap();
    folder
}

#[test]
fn a_gguf_file_says_its_own_shape() {
    let tiny = open(&fixture("tiny.gguf"));
    assert_eq!(tiny.name, "tiny");
    let config = &tiny.config;
    assert_eq!((config.vocab_size, config.hidden_size, config.intermediate_size), (300, 64, 96));
    assert_eq!((config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads), (2, 4, 2));
    assert_eq!((config.head_dim, config.max_position_embeddings), (16, 128));
    assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-5, 5000.0));
    let divisors = vec![1.0, 1.0, 1.1, 1.7, 2.9, 8.0, 31.7, 32.0];
    assert_eq!(config.rope_scaling, Some(RopeScaling::Divisors(divisors)));
    assert_eq!((config.bos_token_id, config.eos_token_ids.as_slice()), (Some(1), [2].as_slice()));
    assert!(config.tie_word_embeddings && !config.attention_bias && !config.mlp_bias);
}

#[test]
fn a_folder_says_its_own_shape() {
    let config = open(&fixture("tiny-hf")).config;
    assert_eq!((config.head_dim, config.hidden_size, config.num_attention_heads), (12, 32, 4));
    assert_eq!(config.rope_theta, 20000.0);
    let llama3 = RopeScaling::Llama3 {
        factor: 4.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64,
    };
    assert_eq!(config.rope_scaling, Some(llama3));
    assert_eq!(config.eos_token_ids, [1, 0]);
    assert!(!config.tie_word_embeddings && config.attention_bias && config.mlp_bias);
}

#[test]
fn parameters_come_in_the_order_of_the_data_as_f32() {
    for name in ["tiny.gguf", "tiny-hf"] {
        let checkpoint = open(&fixture(name));
        let found: Vec<_> = checkpoint
            .params
            .iter()
            .map(|(name, tensor)| (name.to_owned(), tensor.dims().to_vec()))
            .collect();
        assert_eq!(found, parameter_shapes(&checkpoint.config));
        assert!(checkpoint.params.iter().all(|(_, tensor)| tensor.dtype() == DType::F32));
    }
}

#[test]
fn weights_are_those_of_the_reference_bit_for_bit() {
    for (name, which) in [("tiny.gguf", "gguf"), ("tiny-hf", "hf")] {
        let params = open(&fixture(name)).params;
        for entry in expected(which)["entries"].as_array().unwrap() {
            let name = entry["name"].as_str().unwrap();
            let mut tensor = params.get(name).unwrap().clone();
            for at in ids(&entry["index"]) {
                tensor = tensor.get(at as usize).unwrap();
            }
            let value = tensor.to_scalar::<f32>().unwrap();
            assert_eq!(f64::from(value), entry["value"].as_f64().unwrap(), "{name} {}", entry["index"]);
        }
    }
}

#[test]
fn text_becomes_the_ids_of_the_reference() {
    for (name, which) in [("tiny.gguf", "gguf"), ("tiny-hf", "hf")] {
        let (tokenizer, expected) = (open(&fixture(name)).tokenizer, expected(which));
        assert_eq!(tokenizer.encode(expected["text"].as_str().unwrap()).unwrap(), ids(&expected["ids"]));
        assert_eq!(tokenizer.vocab_size() as u64, expected["vocab_size"].as_u64().unwrap());
    }
}

#[test]
fn a_beginning_of_text_comes_only_from_the_tokenizers_own_rules() {
    let folder = open(&fixture("tiny-hf")).tokenizer;
    assert_eq!(folder.encode("is").unwrap(), [&[0], folder.encode_raw("is").unwrap().as_slice()].concat());
    let gguf = open(&fixture("tiny.gguf")).tokenizer;
    assert_eq!(gguf.encode("is").unwrap(), gguf.encode_raw("is").unwrap());
}

#[test]
fn texts_end_as_the_configuration_says() {
    assert_eq!(open(&fixture("tiny.gguf")).tokenizer.eos(), Some(2));
    assert_eq!(open(&fixture("tiny-hf")).tokenizer.eos(), Some(1));
}

#[test]
fn logits_and_losses_agree_with_transformers() {
    for (name, which) in [("tiny.gguf", "gguf"), ("tiny-hf", "hf")] {
        let (checkpoint, expected) = (open(&fixture(name)), expected(which));
        let ids = ids(&expected["ids"]);
        let model = Llama::new(&checkpoint.config, DType::F32, &Device::Cpu).unwrap();
        let input = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = model.forward(&checkpoint.params, &input).unwrap();
        let logits = logits.squeeze(0).unwrap().to_vec2::<f32>().unwrap();
        let near = |a: f32, b: f32| (a - b).abs() < 2e-5;

        let last = numbers(&expected["last_logits"]);
        assert_eq!(last.len(), checkpoint.config.vocab_size);
        assert!(logits.last().unwrap().iter().zip(&last).all(|(a, b)| near(*a, *b)), "{name}: last logits");

        let loss = |row: &[f32], target: u32| {
            let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
            (sum.ln() - f64::from(row[target as usize])) as f32
        };
        for ((row, target), reference) in logits.iter().zip(&ids[1..]).zip(numbers(&expected["losses"])) {
            let loss = loss(row, *target);
            assert!(near(loss, reference), "{name}: {loss} is not {reference}");
        }
    }
}

#[test]
fn progress_rises_to_one() {
    for name in ["tiny.gguf", "tiny-hf"] {
        let mut told = Vec::new();
        Checkpoint::open(&fixture(name), &Device::Cpu, &mut |part| told.push(part)).unwrap();
        assert!(told.is_sorted() && told.len() > 2, "{told:?}");
        assert_eq!(told.last(), Some(&1.0));
    }
}

#[test]
fn a_saved_checkpoint_opens_bit_identical() {
    for name in ["tiny.gguf", "tiny-hf"] {
        let original = open(&fixture(name));
        let home = TempDir::new().unwrap();
        let (first, second) = (home.path().join("first"), home.path().join("second"));
        save(&first, &original.config, &original.params, &original.tokenizer, original.chat.as_ref())
            .unwrap();
        let opened = open(&first);
        assert_eq!(opened.name, "first");
        assert_eq!(opened.config, original.config);
        assert_eq!(contents(&opened.params), contents(&original.params));
        assert_eq!(opened.tokenizer.to_json().unwrap(), original.tokenizer.to_json().unwrap());
        assert_eq!(opened.tokenizer.eos(), original.tokenizer.eos());

        save(&second, &opened.config, &opened.params, &opened.tokenizer, opened.chat.as_ref()).unwrap();
        for entry in fs::read_dir(&first).unwrap() {
            let file = entry.unwrap().file_name();
            let (a, b) = (fs::read(first.join(&file)).unwrap(), fs::read(second.join(&file)).unwrap());
            assert!(a == b, "{} differs between two saves", file.display());
        }
    }
}

#[test]
fn a_saved_checkpoint_keeps_the_chat_template_and_its_tokens() {
    assert_eq!(open(&fixture("tiny-hf")).chat, None);
    let copy = copy_of("tiny-hf");
    let config = json!({"bos_token": "<|begin|>", "eos_token": {"content": "<|turn|>"}});
    fs::write(copy.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    fs::write(
        copy.path().join("chat_template.jinja"),
        "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}",
    )
    .unwrap();
    let original = open(copy.path());
    let text = original.chat.as_ref().unwrap().render("is").unwrap();
    assert_eq!(text, "<|begin|>is<|turn|>");
    let ids = original.tokenizer.encode_raw(&text).unwrap();
    assert_eq!(ids.iter().filter(|id| **id == 0).count(), 1, "{ids:?}");

    let home = TempDir::new().unwrap();
    let place = home.path().join("checkpoint-1");
    save(&place, &original.config, &original.params, &original.tokenizer, original.chat.as_ref()).unwrap();
    let saved = open(&place);
    assert_eq!(saved.chat, original.chat);
    assert_eq!(saved.tokenizer.eos(), original.tokenizer.eos());
}

#[test]
fn a_run_opens_at_its_newest_complete_checkpoint() {
    let tiny = open(&fixture("tiny.gguf"));
    let home = TempDir::new().unwrap();
    let run = home.path().join("tidy-otter");
    for step in [9, 100, 20] {
        save(
            &run.join(format!("checkpoint-{step}")),
            &tiny.config,
            &tiny.params,
            &tiny.tokenizer,
            tiny.chat.as_ref(),
        )
        .unwrap();
    }
    fs::create_dir(run.join("checkpoint-300")).unwrap();
    assert_eq!(open(&run).name, "tidy-otter@100");
}

#[test]
fn a_save_replaces_a_checkpoint_and_leaves_nothing_beside_it() {
    let (gguf, folder) = (open(&fixture("tiny.gguf")), open(&fixture("tiny-hf")));
    let home = TempDir::new().unwrap();
    let place = home.path().join("checkpoint-1");
    save(&place, &gguf.config, &gguf.params, &gguf.tokenizer, gguf.chat.as_ref()).unwrap();
    save(&place, &folder.config, &folder.params, &folder.tokenizer, folder.chat.as_ref()).unwrap();
    assert_eq!(open(&place).config, folder.config);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_save_that_fails_keeps_what_was_there() {
    let tiny = open(&fixture("tiny.gguf"));
    let home = TempDir::new().unwrap();
    let place = home.path().join("checkpoint-1");
    save(&place, &tiny.config, &tiny.params, &tiny.tokenizer, tiny.chat.as_ref()).unwrap();
    let failed: anyhow::Result<()> = write_folder(&place, |staging| {
        fs::write(staging.join("config.json"), "half")?;
        anyhow::bail!("the disk is full")
    });
    assert_eq!(failed.unwrap_err().to_string(), "the disk is full");
    assert_eq!(open(&place).config, tiny.config);
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_save_never_replaces_a_folder_that_is_no_checkpoint() {
    let tiny = open(&fixture("tiny.gguf"));
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("thesis.tex"), "").unwrap();
    let message = save(home.path(), &tiny.config, &tiny.params, &tiny.tokenizer, tiny.chat.as_ref())
        .unwrap_err()
        .to_string();
    assert!(message.ends_with("is there already and is no checkpoint: choose another folder"), "{message}");
    assert!(home.path().join("thesis.tex").exists());
}

#[test]
fn a_path_that_leads_nowhere_is_told_what_a_model_is() {
    assert_eq!(
        refusal(Path::new("no/such/model")),
        "no such file or folder: no/such/model; a MODEL is a folder in Hugging Face layout, a .gguf file, \
         a run, or org/name on the Hub"
    );
    let empty = TempDir::new().unwrap();
    assert!(refusal(empty.path()).contains("the folder has no config.json and no checkpoint-N; a MODEL is"));
    assert!(
        refusal(&fixture("make_gguf.py")).contains("the file does not begin like a .gguf file; a MODEL is")
    );
}

#[test]
fn a_tensor_of_another_shape_is_refused_with_both_shapes_and_the_fields_that_decide() {
    let copy = copy_of("tiny-hf");
    change_json(&copy.path().join("config.json"), |config| config["num_key_value_heads"] = 4.into());
    let message = refusal(copy.path());
    assert!(
        message.ends_with(
            "model-00001-of-00002.safetensors: model.layers.0.self_attn.k_proj.weight is 24x32, config.json \
             (num_key_value_heads 4, head_dim 12, hidden_size 32) asks for 48x32"
        ),
        "{message}"
    );
}

#[test]
fn missing_tensors_are_named() {
    let copy = copy_of("tiny-hf");
    change_json(&copy.path().join("config.json"), |config| config["num_hidden_layers"] = 3.into());
    let message = refusal(copy.path());
    assert!(
        message.ends_with(
            "model.safetensors.index.json: lacks model.layers.2.input_layernorm.weight, \
             model.layers.2.self_attn.q_proj.weight, model.layers.2.self_attn.q_proj.bias and 13 more, which \
             config.json asks for"
        ),
        "{message}"
    );
}

/// A copy of the folder whose configuration ties the head.
fn tied_copy() -> TempDir {
    let copy = copy_of("tiny-hf");
    change_json(&copy.path().join("config.json"), |config| config["tie_word_embeddings"] = true.into());
    copy
}

/// A model whose configuration ties the head, in one file that holds an embedding of BF16 and this head.
fn tied_beside(head: impl FnOnce(&Tensor) -> Tensor) -> TempDir {
    let copy = tied_copy();
    let params = open(&fixture("tiny-hf")).params;
    let mut tensors: HashMap<String, Tensor> =
        params.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    let embedding = tensors["model.embed_tokens.weight"].clone();
    tensors.insert("model.embed_tokens.weight".to_owned(), embedding.to_dtype(DType::BF16).unwrap());
    tensors.insert("lm_head.weight".to_owned(), head(&embedding));
    candle_core::safetensors::save(&tensors, copy.path().join("model.safetensors")).unwrap();
    copy
}

#[test]
fn a_copy_of_a_tied_head_is_left_out() {
    let mut headless = contents(&open(&fixture("tiny-hf")).params);
    headless.retain(|(name, ..)| name != "lm_head.weight");
    for dtype in [DType::F32, DType::BF16] {
        let copy = tied_beside(|embedding| embedding.to_dtype(dtype).unwrap());
        let opened = open(copy.path());
        assert!(opened.config.tie_word_embeddings);
        assert_eq!(contents(&opened.params), headless);
    }
    // One of other dimensions cannot be the model's.
    let copy = tied_beside(|embedding| embedding.narrow(0, 0, 279).unwrap());
    let opened = open(copy.path());
    assert!(opened.config.tie_word_embeddings && opened.params.get("lm_head.weight").is_none());
}

#[test]
fn a_head_that_is_not_the_embedding_it_is_tied_to_counts() {
    let original = open(&fixture("tiny-hf"));
    let copy = tied_copy();
    let opened = open(copy.path());
    assert_eq!(opened.config, original.config);
    assert_eq!(contents(&opened.params), contents(&original.params));

    let home = TempDir::new().unwrap();
    let place = home.path().join("checkpoint-1");
    save(&place, &opened.config, &opened.params, &opened.tokenizer, opened.chat.as_ref()).unwrap();
    let saved: Value = serde_json::from_slice(&fs::read(place.join("config.json")).unwrap()).unwrap();
    assert_eq!(saved["tie_word_embeddings"], false);
    assert_eq!(contents(&open(&place).params), contents(&original.params));
}

#[test]
fn one_bit_makes_another_head() {
    let embedding = values(open(&fixture("tiny-hf")).params.get("model.embed_tokens.weight").unwrap());
    for at in [0, embedding.len() - 1] {
        let mut head = embedding.clone();
        head[at] = f32::from_bits(head[at].to_bits() ^ 1);
        let wanted = head.clone();
        let copy = tied_beside(|like| Tensor::from_vec(head, like.shape(), &Device::Cpu).unwrap());
        let opened = open(copy.path());
        assert!(!opened.config.tie_word_embeddings);
        assert_eq!(values(opened.params.get("lm_head.weight").unwrap()), wanted);
    }
}

#[test]
fn a_tensor_in_two_shards_is_refused() {
    let copy = copy_of("tiny-hf");
    let shard = |number: u32| copy.path().join(format!("model-0000{number}-of-00002.safetensors"));
    fs::copy(shard(1), shard(2)).unwrap();
    let message = refusal(copy.path());
    let begin = format!("{}: holds \"", shard(2).display());
    let end = format!(
        "\", which {} holds too; the file is damaged or incomplete: fetch it again",
        shard(1).display()
    );
    assert!(message.starts_with(&begin) && message.ends_with(&end), "{message}");
}

#[test]
fn missing_files_of_a_folder_are_named() {
    let shard = "model-00002-of-00002.safetensors";
    let copy = copy_of("tiny-hf");
    fs::remove_file(copy.path().join(shard)).unwrap();
    assert!(refusal(copy.path()).contains("model.safetensors.index.json: the shard \"model-00002-of-00002"));
    fs::remove_file(copy.path().join("model.safetensors.index.json")).unwrap();
    assert!(refusal(copy.path()).contains("has neither model.safetensors nor model.safetensors.index.json"));
    fs::remove_file(copy.path().join("tokenizer.json")).unwrap();
    assert!(refusal(copy.path()).contains("tokenizer.json: cannot be read"));
}

#[test]
fn an_index_cannot_lead_out_of_its_folder() {
    let copy = copy_of("tiny-hf");
    change_json(&copy.path().join("model.safetensors.index.json"), |index| {
        index["weight_map"]["lm_head.weight"] = "../secret\u{1b}.safetensors".into();
    });
    let message = refusal(copy.path());
    assert!(message.contains(r#""../secret\u{1b}.safetensors" is no file name"#), "{message}");
}

#[test]
fn a_truncated_shard_is_refused_by_name_at_every_length() {
    let name = "model-00001-of-00002.safetensors";
    let whole = fs::read(fixture("tiny-hf").join(name)).unwrap();
    let copy = copy_of("tiny-hf");
    for part in 0..64 {
        fs::write(copy.path().join(name), &whole[..whole.len() * part / 64]).unwrap();
        let message = refusal(copy.path());
        assert!(message.contains(name) && message.contains("damaged or incomplete"), "{message}");
    }
}

#[test]
fn a_shard_with_flipped_bits_opens_or_is_refused_in_one_line() {
    let name = "model-00001-of-00002.safetensors";
    let whole = fs::read(fixture("tiny-hf").join(name)).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let copy = copy_of("tiny-hf");
    let mut refused = 0;
    for at in (0..8).chain((8..header).step_by(17)) {
        let mut spoiled = whole.clone();
        spoiled[at] ^= 1 << (at % 8);
        fs::write(copy.path().join(name), &spoiled).unwrap();
        if let Err(error) = Checkpoint::open(copy.path(), &Device::Cpu, &mut |_| {}) {
            assert!(!error.to_string().contains('\n'), "byte {at}: {error}");
            refused += 1;
        }
    }
    assert!(refused > 8);
}

#[test]
fn a_truncated_gguf_file_is_refused_by_name_at_every_length() {
    let whole = fs::read(fixture("tiny.gguf")).unwrap();
    let home = TempDir::new().unwrap();
    let path = home.path().join("short.gguf");
    for part in 0..64 {
        fs::write(&path, &whole[..whole.len() * part / 64]).unwrap();
        let message = refusal(&path);
        assert!(message.contains("short.gguf: "), "{message}");
        assert!(message.contains("damaged or incomplete"), "{message}");
    }
}

#[test]
fn a_gguf_file_with_flipped_bits_opens_or_is_refused_in_one_line() {
    let whole = fs::read(fixture("tiny.gguf")).unwrap();
    let home = TempDir::new().unwrap();
    let path = home.path().join("flipped.gguf");
    let mut refused = 0;
    // All of the counts and of the first keys, then a sample of the rest, of every bit.
    for at in (0..400).chain((400..whole.len()).step_by(97)) {
        let mut spoiled = whole.clone();
        spoiled[at] ^= 1 << (at % 8);
        fs::write(&path, &spoiled).unwrap();
        if let Err(error) = Checkpoint::open(&path, &Device::Cpu, &mut |_| {}) {
            assert!(!error.to_string().contains('\n'), "byte {at}: {error}");
            refused += 1;
        }
    }
    assert!(refused > 100);
}

#[test]
fn what_is_not_supported_in_a_gguf_file_is_refused_by_name() {
    for (from, to, message) in [
        ("llama", "gemma", "general.architecture \"gemma\" is not supported: only llama is"),
        ("gpt2", "bert", "tokenizer.ggml.model \"bert\" is not supported"),
        ("smollm", "falcon", "tokenizer.ggml.pre \"falcon\" is not supported"),
        ("blk.1.ffn_up.weight", "blk.1.ffn_ub.weight", "lacks model.layers.1.mlp.up_proj.weight"),
        ("llama.block_count", "llama.block_counX", "llama.block_count is missing"),
    ] {
        let folder = gguf_with(from, to);
        let found = refusal(&folder.path().join("model.gguf"));
        assert!(found.contains("model.gguf: ") && found.contains(message), "{found}");
    }
}

#[test]
fn other_models_are_refused_by_name() {
    for (field, value, message) in [
        ("model_type", json!("mistral"), "config.json: model_type \"mistral\" is not supported"),
        ("hidden_act", json!("gelu"), "config.json: hidden_act \"gelu\" is not supported"),
        ("rope_parameters", json!({"rope_type": "yarn"}), "config.json: rope_type \"yarn\" is not supported"),
        ("num_attention_heads", json!(0), "config.json: num_attention_heads is 0"),
        ("hidden_size", json!("wide"), "config.json: hidden_size is \"wide\": it must be a whole number"),
    ] {
        let copy = copy_of("tiny-hf");
        change_json(&copy.path().join("config.json"), |config| config[field] = value);
        let found = refusal(copy.path());
        assert!(found.contains(message), "{found}");
    }
}
