//! Hugging Face's `config.json`, as transformers 4 and 5 write it.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::{Error, quoted};
use crate::model::config::{LlamaConfig, RopeScaling};

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be parsed.
    #[error("is not a JSON object ({0}): fetch it again")]
    NotJson(String),
    /// It is not a Llama.
    #[error("model_type {0} is not supported: only Llama models (model_type \"llama\") are")]
    ModelType(String),
    /// It rotates in a way that is not implemented.
    #[error("rope_type {0} is not supported: default, linear and llama3 are")]
    RopeType(String),
    /// A field is missing, or its value makes no sense.
    #[error("{field} {problem}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What is wrong, such as `is 0: it must be at least 1`.
        problem: String,
    },
}

impl ConfigError {
    fn field(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Field { field, problem: problem.into() }
    }
}

/// Reads a `config.json`.
pub(super) fn read(path: &Path) -> Result<LlamaConfig, Error> {
    let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
    parse(&text).map_err(|problem| Error::Config { path: path.to_owned(), problem })
}

/// Understands the text of a `config.json`.
fn parse(text: &str) -> Result<LlamaConfig, ConfigError> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|cause| ConfigError::NotJson(cause.to_string()))?;
    let fields = Fields(&object);
    refuse_other_models(&fields)?;

    let hidden_size = fields.required_size("hidden_size")?;
    let num_attention_heads = fields.required_size("num_attention_heads")?;
    let head_dim = match fields.size("head_dim")? {
        Some(head_dim) => head_dim,
        None if num_attention_heads > 0 && hidden_size.is_multiple_of(num_attention_heads) => {
            hidden_size / num_attention_heads
        }
        None => {
            let problem =
                format!("{hidden_size} cannot be shared among num_attention_heads {num_attention_heads}");
            return Err(ConfigError::field("hidden_size", problem));
        }
    };
    // Where a field is missing, transformers takes these values.
    let max_position_embeddings = fields.size("max_position_embeddings")?.unwrap_or(2048);
    let (rope_theta, rope_scaling) = rope(&fields, max_position_embeddings)?;
    let config = LlamaConfig {
        vocab_size: fields.required_size("vocab_size")?,
        hidden_size,
        intermediate_size: fields.required_size("intermediate_size")?,
        num_hidden_layers: fields.required_size("num_hidden_layers")?,
        num_attention_heads,
        num_key_value_heads: fields.size("num_key_value_heads")?.unwrap_or(num_attention_heads),
        head_dim,
        max_position_embeddings,
        rms_norm_eps: fields.number("rms_norm_eps")?.unwrap_or(1e-6),
        rope_theta,
        rope_scaling,
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        attention_bias: fields.flag("attention_bias")?.unwrap_or(false),
        mlp_bias: fields.flag("mlp_bias")?.unwrap_or(false),
        bos_token_id: fields.token_ids("bos_token_id")?.first().copied(),
        eos_token_ids: fields.token_ids("eos_token_id")?,
    };
    check(&config)?;
    Ok(config)
}

fn refuse_other_models(fields: &Fields) -> Result<(), ConfigError> {
    let is_llama = match fields.get("model_type") {
        Some(model_type) => model_type == "llama",
        None => fields
            .get("architectures")
            .and_then(Value::as_array)
            .is_some_and(|names| names.iter().any(|name| name == "LlamaForCausalLM")),
    };
    if !is_llama {
        let named = fields.get("model_type").or_else(|| fields.get("architectures"));
        return Err(ConfigError::ModelType(named.map_or("(none)".to_owned(), shown)));
    }
    if let Some(activation) = fields.get("hidden_act").filter(|activation| *activation != "silu") {
        let problem = format!("{} is not supported: Llama uses \"silu\"", shown(activation));
        return Err(ConfigError::field("hidden_act", problem));
    }
    if let Some(quantization) = fields.get("quantization_config") {
        let method = quantization.get("quant_method").map_or("(unnamed)".to_owned(), shown);
        let problem = format!("{method} is not supported: use the model in full precision, or a .gguf file");
        return Err(ConfigError::field("quantization_config", problem));
    }
    Ok(())
}

/// `rope_theta` and the scaling, from `rope_parameters` (transformers 5) or `rope_scaling` (transformers 4).
fn rope(fields: &Fields, context: usize) -> Result<(f64, Option<RopeScaling>), ConfigError> {
    let empty = Map::new();
    let mut parameters = Fields(&empty);
    for field in ["rope_parameters", "rope_scaling"] {
        match fields.get(field) {
            None => {}
            Some(Value::Object(object)) => parameters = Fields(object),
            Some(other) => {
                return Err(ConfigError::field(field, format!("is {}: it must be an object", shown(other))));
            }
        }
    }
    let theta = match parameters.number("rope_theta")? {
        Some(theta) => theta,
        None => fields.number("rope_theta")?.unwrap_or(10_000.0),
    };
    for part in [fields, &parameters] {
        if let Some(factor) =
            part.number("partial_rotary_factor")?.filter(|factor| factor.total_cmp(&1.0).is_ne())
        {
            let problem = format!("{factor} is not supported: Llama rotates whole heads");
            return Err(ConfigError::field("partial_rotary_factor", problem));
        }
    }
    let scaling = match parameters.get("rope_type").or_else(|| parameters.get("type")) {
        None => None,
        Some(Value::String(name)) => match name.as_str() {
            "default" => None,
            "linear" => Some(RopeScaling::Linear { factor: parameters.required_number("factor")? }),
            "llama3" => {
                let original = "original_max_position_embeddings";
                let of_model = fields.size(original)?;
                Some(RopeScaling::Llama3 {
                    factor: parameters.required_number("factor")?,
                    low_freq_factor: parameters.required_number("low_freq_factor")?,
                    high_freq_factor: parameters.required_number("high_freq_factor")?,
                    original_max_position_embeddings: match of_model {
                        Some(size) => size,
                        None => parameters.size(original)?.unwrap_or(context),
                    },
                })
            }
            "longrope" => Some(divisors(&parameters)?),
            _ => return Err(ConfigError::RopeType(quoted(name))),
        },
        Some(other) => return Err(ConfigError::RopeType(shown(other))),
    };
    Ok((theta, scaling))
}

/// `longrope` with one list for all lengths and no scaling of the attention is what [`RopeScaling::Divisors`]
/// says, and how [`to_json`] writes it.
fn divisors(parameters: &Fields) -> Result<RopeScaling, ConfigError> {
    let list = |name| {
        let numbers = parameters.get(name).and_then(Value::as_array)?;
        numbers.iter().map(|number| number.as_f64().map(|number| number as f32)).collect::<Option<Vec<_>>>()
    };
    match (list("short_factor"), list("long_factor"), parameters.number("attention_factor")?) {
        (Some(short), Some(long), Some(1.0)) if short == long => Ok(RopeScaling::Divisors(short)),
        _ => Err(ConfigError::RopeType(quoted("longrope"))),
    }
}

/// Refuses what no model can be built from.
pub(super) fn check(config: &LlamaConfig) -> Result<(), ConfigError> {
    // Far above any Llama, and small enough that no product of two of them overflows.
    const LARGEST: usize = 1 << 24;
    let sizes = [
        ("vocab_size", config.vocab_size),
        ("hidden_size", config.hidden_size),
        ("intermediate_size", config.intermediate_size),
        ("num_hidden_layers", config.num_hidden_layers),
        ("num_attention_heads", config.num_attention_heads),
        ("num_key_value_heads", config.num_key_value_heads),
        ("head_dim", config.head_dim),
        ("max_position_embeddings", config.max_position_embeddings),
    ];
    for (field, size) in sizes {
        let most = if field == "num_hidden_layers" { 1 << 12 } else { LARGEST };
        if !(1..=most).contains(&size) {
            return Err(ConfigError::field(field, format!("is {size}: it must be from 1 to {most}")));
        }
    }
    if !config.num_attention_heads.is_multiple_of(config.num_key_value_heads) {
        let problem = format!(
            "{} is not a multiple of num_key_value_heads {}",
            config.num_attention_heads, config.num_key_value_heads
        );
        return Err(ConfigError::field("num_attention_heads", problem));
    }
    if !config.head_dim.is_multiple_of(2) {
        let problem = format!("is {}: rotary embeddings need an even one", config.head_dim);
        return Err(ConfigError::field("head_dim", problem));
    }
    positive("rope_theta", config.rope_theta)?;
    if !(config.rms_norm_eps.is_finite() && config.rms_norm_eps >= 0.0) {
        let problem = format!("is {}: it must not be negative", config.rms_norm_eps);
        return Err(ConfigError::field("rms_norm_eps", problem));
    }
    match &config.rope_scaling {
        None => {}
        Some(RopeScaling::Linear { factor }) => positive("factor", *factor)?,
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        }) => {
            positive("factor", *factor)?;
            positive("low_freq_factor", *low_freq_factor)?;
            if *original_max_position_embeddings == 0 {
                return Err(ConfigError::field(
                    "original_max_position_embeddings",
                    "is 0: it must be at least 1",
                ));
            }
            if !(high_freq_factor.is_finite() && high_freq_factor > low_freq_factor) {
                let problem =
                    format!("is {high_freq_factor}: it must be above low_freq_factor {low_freq_factor}");
                return Err(ConfigError::field("high_freq_factor", problem));
            }
        }
        Some(RopeScaling::Divisors(divisors)) => {
            if divisors.len() != config.head_dim / 2 {
                let problem = format!(
                    "are {} frequencies: head_dim {} has half as many as itself",
                    divisors.len(),
                    config.head_dim
                );
                return Err(ConfigError::field("rope factors", problem));
            }
            for divisor in divisors {
                positive("rope factors", f64::from(*divisor))?;
            }
        }
    }
    Ok(())
}

fn positive(field: &'static str, number: f64) -> Result<(), ConfigError> {
    if number.is_finite() && number > 0.0 {
        return Ok(());
    }
    Err(ConfigError::field(field, format!("is {number}: it must be above 0")))
}

/// The text of `config.json`, which transformers 4 (`rope_theta`, `rope_scaling`, `torch_dtype`) and 5
/// (`rope_parameters`, `dtype`) read alike.
pub(super) fn to_json(config: &LlamaConfig) -> Value {
    let scaling = match &config.rope_scaling {
        None => Value::Null,
        Some(RopeScaling::Linear { factor }) => json!({"rope_type": "linear", "factor": factor}),
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        }) => {
            json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_freq_factor,
                "high_freq_factor": high_freq_factor,
                "original_max_position_embeddings": original_max_position_embeddings,
            })
        }
        Some(RopeScaling::Divisors(divisors)) => json!({
            "rope_type": "longrope",
            "short_factor": divisors,
            "long_factor": divisors,
            "factor": 1.0,
            "attention_factor": 1.0,
            "original_max_position_embeddings": config.max_position_embeddings,
        }),
    };
    let mut parameters = scaling.as_object().cloned().unwrap_or_default();
    parameters.entry("rope_type").or_insert_with(|| "default".into());
    parameters.insert("rope_theta".to_owned(), config.rope_theta.into());
    json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling,
        "rope_parameters": parameters,
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": config.attention_bias,
        "mlp_bias": config.mlp_bias,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": eos_to_json(config),
        "dtype": "float32",
        "torch_dtype": "float32",
    })
}

/// The text of `generation_config.json`.
pub(super) fn generation_to_json(config: &LlamaConfig) -> Value {
    json!({"bos_token_id": config.bos_token_id, "eos_token_id": eos_to_json(config)})
}

fn eos_to_json(config: &LlamaConfig) -> Value {
    match config.eos_token_ids.as_slice() {
        [] => Value::Null,
        [id] => (*id).into(),
        ids => ids.into(),
    }
}

/// The fields of an object, read with errors that name them. `null` counts as absent.
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    /// The field, if it is there, as `convert` understands it.
    fn read<T>(
        &self,
        field: &'static str,
        kind: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        let wrong = |value| ConfigError::field(field, format!("is {}: it must be {kind}", shown(value)));
        self.get(field).map(|value| convert(value).ok_or_else(|| wrong(value))).transpose()
    }

    fn size(&self, field: &'static str) -> Result<Option<usize>, ConfigError> {
        self.read(field, "a whole number", |value| usize::try_from(value.as_u64()?).ok())
    }

    fn required_size(&self, field: &'static str) -> Result<usize, ConfigError> {
        self.size(field)?.ok_or_else(|| ConfigError::field(field, "is missing"))
    }

    fn number(&self, field: &'static str) -> Result<Option<f64>, ConfigError> {
        self.read(field, "a number", Value::as_f64)
    }

    fn required_number(&self, field: &'static str) -> Result<f64, ConfigError> {
        self.number(field)?.ok_or_else(|| ConfigError::field(field, "is missing"))
    }

    fn flag(&self, field: &'static str) -> Result<Option<bool>, ConfigError> {
        self.read(field, "true or false", Value::as_bool)
    }

    /// One id, or a list of them.
    fn token_ids(&self, field: &'static str) -> Result<Vec<u32>, ConfigError> {
        let id = |value: &Value| u32::try_from(value.as_u64()?).ok();
        let ids = self.read(field, "a token id or a list of them", |value| match value {
            Value::Array(values) => values.iter().map(id).collect(),
            value => Some(vec![id(value)?]),
        })?;
        Ok(ids.unwrap_or_default())
    }
}

/// A JSON value as it may stand in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        other => quoted(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SmolLM2-135M's, as far as it matters.
    fn smollm2() -> Value {
        json!({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 49152,
            "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
            "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_act": "silu",
            "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100_000,
            "rope_scaling": null, "tie_word_embeddings": true, "bos_token_id": 0, "eos_token_id": 0,
        })
    }

    fn with(changes: Value) -> Result<LlamaConfig, ConfigError> {
        let mut config = smollm2();
        let Value::Object(changes) = changes else { panic!("{changes} is no object") };
        config.as_object_mut().unwrap().extend(changes);
        parse(&config.to_string())
    }

    fn refusal(changes: Value) -> String {
        with(changes).unwrap_err().to_string()
    }

    fn llama3() -> RopeScaling {
        RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        }
    }

    #[test]
    fn a_configuration_of_transformers_4_is_understood() {
        let config = parse(&smollm2().to_string()).unwrap();
        assert_eq!((config.head_dim, config.num_key_value_heads), (64, 3));
        assert!((config.rope_theta - 100_000.0).abs() < f64::EPSILON);
        assert_eq!((config.bos_token_id, config.eos_token_ids), (Some(0), vec![0]));
        assert!(config.tie_word_embeddings && !config.attention_bias && !config.mlp_bias);
        let scaling = json!({"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192, "rope_type": "llama3"});
        assert_eq!(with(json!({"rope_scaling": scaling})).unwrap().rope_scaling, Some(llama3()));
        let linear = with(json!({"rope_scaling": {"type": "linear", "factor": 2}})).unwrap();
        assert_eq!(linear.rope_scaling, Some(RopeScaling::Linear { factor: 2.0 }));
    }

    #[test]
    fn a_configuration_of_transformers_5_is_understood() {
        let parameters = json!({"rope_theta": 500_000.0, "rope_type": "llama3", "factor": 32.0,
            "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192});
        let config = with(json!({"rope_theta": null, "rope_parameters": parameters})).unwrap();
        assert!((config.rope_theta - 500_000.0).abs() < f64::EPSILON);
        assert_eq!(config.rope_scaling, Some(llama3()));
        let plain = with(json!({"rope_parameters": {"rope_theta": 5000.0, "rope_type": "default"}})).unwrap();
        assert!((plain.rope_theta - 5000.0).abs() < f64::EPSILON);
        assert_eq!(plain.rope_scaling, None);
    }

    #[test]
    fn missing_fields_have_the_values_transformers_gives_them() {
        let config =
            with(json!({"num_key_value_heads": null, "rope_theta": null, "tie_word_embeddings": null,
            "rms_norm_eps": null, "max_position_embeddings": null, "model_type": null}))
            .unwrap();
        assert_eq!((config.num_key_value_heads, config.max_position_embeddings), (9, 2048));
        assert!((config.rope_theta - 10_000.0).abs() < f64::EPSILON);
        assert!((config.rms_norm_eps - 1e-6).abs() < f64::EPSILON);
        assert!(!config.tie_word_embeddings);
    }

    #[test]
    fn a_written_configuration_reads_as_the_same() {
        let plain = parse(&smollm2().to_string()).unwrap();
        let scalings = [
            None,
            Some(RopeScaling::Linear { factor: 2.5 }),
            Some(llama3()),
            Some(RopeScaling::Divisors((0..32).map(|i| 1.0 + 0.1 * i as f32).collect())),
        ];
        for (rope_scaling, eos) in scalings.into_iter().zip([vec![], vec![2], vec![2, 7], vec![0]]) {
            let config = LlamaConfig { rope_scaling, eos_token_ids: eos, head_dim: 64, ..plain.clone() };
            assert_eq!(parse(&to_json(&config).to_string()).unwrap(), config);
        }
    }

    #[test]
    fn other_models_are_refused_by_name() {
        let refused = "is not supported: only Llama models (model_type \"llama\") are";
        assert_eq!(refusal(json!({"model_type": "gemma3"})), format!("model_type \"gemma3\" {refused}"));
        let unnamed = json!({"model_type": null, "architectures": ["GPT2LMHeadModel"]});
        assert_eq!(refusal(unnamed), format!(r#"model_type "[\"GPT2LMHeadModel\"]" {refused}"#));
        for rope_type in ["dynamic", "yarn", "longrope"] {
            assert_eq!(
                refusal(json!({"rope_scaling": {"rope_type": rope_type, "factor": 4.0}})),
                format!("rope_type \"{rope_type}\" is not supported: default, linear and llama3 are")
            );
        }
        assert!(refusal(json!({"hidden_act": "gelu"})).starts_with("hidden_act \"gelu\" is not supported"));
        let gptq = refusal(json!({"quantization_config": {"quant_method": "gptq"}}));
        assert!(gptq.starts_with("quantization_config \"gptq\" is not supported"), "{gptq}");
        assert!(refusal(json!({"partial_rotary_factor": 0.5})).starts_with("partial_rotary_factor 0.5"));
    }

    #[test]
    fn nonsense_is_refused_with_the_fields_name() {
        for (changes, message) in [
            (
                json!({"num_attention_heads": 0}),
                "hidden_size 576 cannot be shared among num_attention_heads 0",
            ),
            (
                json!({"num_attention_heads": 7}),
                "hidden_size 576 cannot be shared among num_attention_heads 7",
            ),
            (
                json!({"num_key_value_heads": 2}),
                "num_attention_heads 9 is not a multiple of num_key_value_heads 2",
            ),
            (json!({"num_key_value_heads": 0}), "num_key_value_heads is 0: it must be from 1 to 16777216"),
            (json!({"num_hidden_layers": 0}), "num_hidden_layers is 0: it must be from 1 to 4096"),
            (
                json!({"vocab_size": 1_u64 << 40}),
                "vocab_size is 1099511627776: it must be from 1 to 16777216",
            ),
            (json!({"vocab_size": -1}), "vocab_size is -1: it must be a whole number"),
            (json!({"vocab_size": null}), "vocab_size is missing"),
            (json!({"head_dim": 33}), "head_dim is 33: rotary embeddings need an even one"),
            (json!({"rope_theta": 0}), "rope_theta is 0: it must be above 0"),
            (json!({"rms_norm_eps": -1.0}), "rms_norm_eps is -1: it must not be negative"),
            (
                json!({"eos_token_id": [1, "x"]}),
                "eos_token_id is \"[1,\\\"x\\\"]\": it must be a token id or a list of them",
            ),
            (json!({"rope_scaling": {"rope_type": "linear"}}), "factor is missing"),
            (
                json!({"rope_scaling": {"rope_type": "linear", "factor": 0}}),
                "factor is 0: it must be above 0",
            ),
            (json!({"rope_scaling": "linear"}), "rope_scaling is \"linear\": it must be an object"),
        ] {
            assert_eq!(refusal(changes), message);
        }
    }
}
