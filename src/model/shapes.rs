//! Which tensors a Llama has, and how large they are.

use super::config::LlamaConfig;

/// Every parameter's Hugging Face name and dimensions, in the order the data flows through them.
///
/// A tied output head is not listed: it is the embedding. The initialiser and every loader follow this list.
pub fn parameter_shapes(config: &LlamaConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let query = config.num_attention_heads * config.head_dim;
    let key_value = config.num_key_value_heads * config.head_dim;

    let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden])];
    for layer in 0..config.num_hidden_layers {
        let mut add = |name: &str, dims: &[usize]| {
            shapes.push((format!("model.layers.{layer}.{name}"), dims.to_vec()));
        };
        add("input_layernorm.weight", &[hidden]);
        for (name, output, input) in [
            ("q_proj", query, hidden),
            ("k_proj", key_value, hidden),
            ("v_proj", key_value, hidden),
            ("o_proj", hidden, query),
        ] {
            add(&format!("self_attn.{name}.weight"), &[output, input]);
            if config.attention_bias {
                add(&format!("self_attn.{name}.bias"), &[output]);
            }
        }
        add("post_attention_layernorm.weight", &[hidden]);
        for (name, output, input) in
            [("gate_proj", inner, hidden), ("up_proj", inner, hidden), ("down_proj", hidden, inner)]
        {
            add(&format!("mlp.{name}.weight"), &[output, input]);
            if config.mlp_bias {
                add(&format!("mlp.{name}.bias"), &[output]);
            }
        }
    }
    shapes.push(("model.norm.weight".to_owned(), vec![hidden]));
    if !config.tie_word_embeddings {
        shapes.push(("lm_head.weight".to_owned(), vec![config.vocab_size, hidden]));
    }
    shapes
}

/// The fields that decide the dimensions of a parameter, with their values, for a person to compare.
pub(super) fn deciding_fields(config: &LlamaConfig, name: &str) -> String {
    let hidden = format!("hidden_size {}", config.hidden_size);
    if name.contains("k_proj") || name.contains("v_proj") {
        format!("num_key_value_heads {}, head_dim {}, {hidden}", config.num_key_value_heads, config.head_dim)
    } else if name.contains("q_proj") || name.contains("o_proj") {
        format!("num_attention_heads {}, head_dim {}, {hidden}", config.num_attention_heads, config.head_dim)
    } else if name.contains("mlp") {
        format!("intermediate_size {}, {hidden}", config.intermediate_size)
    } else if name.contains("norm") {
        hidden
    } else {
        format!("vocab_size {}, {hidden}", config.vocab_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> LlamaConfig {
        LlamaConfig {
            vocab_size: 11,
            hidden_size: 8,
            intermediate_size: 12,
            num_hidden_layers: 1,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 6,
            max_position_embeddings: 16,
            rms_norm_eps: 1e-5,
            rope_theta: 10000.0,
            rope_scaling: None,
            tie_word_embeddings: true,
            attention_bias: false,
            mlp_bias: false,
            bos_token_id: None,
            eos_token_ids: vec![],
        }
    }

    #[test]
    fn parameters_follow_the_data() {
        let shapes = parameter_shapes(&config());
        let expected: Vec<(String, Vec<usize>)> = [
            ("model.embed_tokens.weight", vec![11, 8]),
            ("model.layers.0.input_layernorm.weight", vec![8]),
            ("model.layers.0.self_attn.q_proj.weight", vec![24, 8]),
            ("model.layers.0.self_attn.k_proj.weight", vec![12, 8]),
            ("model.layers.0.self_attn.v_proj.weight", vec![12, 8]),
            ("model.layers.0.self_attn.o_proj.weight", vec![8, 24]),
            ("model.layers.0.post_attention_layernorm.weight", vec![8]),
            ("model.layers.0.mlp.gate_proj.weight", vec![12, 8]),
            ("model.layers.0.mlp.up_proj.weight", vec![12, 8]),
            ("model.layers.0.mlp.down_proj.weight", vec![8, 12]),
            ("model.norm.weight", vec![8]),
        ]
        .map(|(name, dims)| (name.to_owned(), dims))
        .into();
        assert_eq!(shapes, expected);
    }

    #[test]
    fn a_bias_follows_its_weight_and_an_untied_head_comes_last() {
        let config =
            LlamaConfig { attention_bias: true, mlp_bias: true, tie_word_embeddings: false, ..config() };
        let shapes = parameter_shapes(&config);
        let at = |name: &str| shapes.iter().position(|(n, _)| n == name).unwrap();
        let bias = at("model.layers.0.self_attn.o_proj.bias");
        assert_eq!(bias, at("model.layers.0.self_attn.o_proj.weight") + 1);
        assert_eq!(shapes[bias].1, [8]);
        assert_eq!(shapes[at("model.layers.0.mlp.gate_proj.bias")].1, [12]);
        assert_eq!(shapes.last().unwrap(), &("lm_head.weight".to_owned(), vec![11, 8]));
    }
}
