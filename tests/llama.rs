//! The Llama against numbers that are not its own: finite differences, and candle-transformers' Llama.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::llama as reference;
use llamascape::generate::{Generator, Sampling};
use llamascape::model::config::{LlamaConfig, RopeScaling};
use llamascape::model::gaussian;
use llamascape::model::llama::{Cache, Llama};
use llamascape::model::params::Params;
use llamascape::model::shapes::parameter_shapes;

/// Two layers, two query heads to each key head, untied, no biases.
fn config() -> LlamaConfig {
    LlamaConfig {
        vocab_size: 29,
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        max_position_embeddings: 32,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: false,
        attention_bias: false,
        mlp_bias: false,
        bos_token_id: None,
        eos_token_ids: vec![],
    }
}

/// Every wavelength regime of the rule is met: kept, stretched, and between.
fn llama3() -> RopeScaling {
    RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 16,
    }
}

/// Numbers large enough that every part of the model matters: nothing is near a linear regime.
fn random_params(config: &LlamaConfig, dtype: DType) -> Params {
    parameter_shapes(config)
        .into_iter()
        .map(|(name, shape)| {
            let numbers = gaussian::normal(5, &name, shape.iter().product());
            let centre = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            let numbers: Vec<f32> = numbers.into_iter().map(|x| centre + 0.3 * x).collect();
            let tensor = Tensor::from_vec(numbers, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            (name, tensor)
        })
        .collect()
}

/// Three rows of `seq` tokens.
fn ids(seq: usize, vocab_size: usize) -> Tensor {
    let ids: Vec<u32> = (0..3 * seq as u32).map(|i| i * i * 7 % vocab_size as u32).collect();
    Tensor::from_vec(ids, (3, seq), &Device::Cpu).unwrap()
}

fn gradients_match_finite_differences(config: &LlamaConfig) {
    const STEP: f64 = 1e-5;
    let llama = Llama::new(config, DType::F64, &Device::Cpu).unwrap();
    let params = random_params(config, DType::F64);
    let row = ids(9, config.vocab_size);
    let (inputs, targets) = (row.narrow(1, 0, 8).unwrap(), row.narrow(1, 1, 8).unwrap());
    let loss =
        |params: &Params| -> f64 { llama.loss(params, &inputs, &targets).unwrap().to_scalar().unwrap() };

    let vars = params.clone().into_vars().unwrap();
    let grads = llama.loss(&vars.params(), &inputs, &targets).unwrap().backward().unwrap();
    for (name, var) in vars.iter() {
        let grad = grads.get(var.as_tensor()).unwrap_or_else(|| panic!("{name} received no gradient"));
        let grad: Vec<f64> = grad.flatten_all().unwrap().to_vec1().unwrap();
        let start: Vec<f64> = var.as_detached_tensor().flatten_all().unwrap().to_vec1().unwrap();
        // The entry of the largest gradient, and some of whatever size.
        let largest = (0..grad.len()).max_by(|&a, &b| grad[a].abs().total_cmp(&grad[b].abs())).unwrap();
        for index in [largest, 0, grad.len() / 3, grad.len() - 1] {
            let at = |moved: f64| {
                let mut numbers = start.clone();
                numbers[index] += moved;
                let mut params = params.clone();
                params.insert(name, Tensor::from_vec(numbers, var.shape(), &Device::Cpu).unwrap());
                loss(&params)
            };
            let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
            assert!(
                (slope - grad[index]).abs() < 1e-6 * grad[index].abs().max(1e-2),
                "{name}[{index}]: the gradient is {}, finite differences say {slope}",
                grad[index]
            );
        }
        assert!(grad[largest].abs() > 1e-6, "{name} has a gradient of nothing");
    }
}

#[test]
fn every_tensors_gradient_matches_finite_differences() {
    gradients_match_finite_differences(&config());
}

#[test]
fn so_it_does_with_a_tied_head_biases_and_llama3_rope() {
    gradients_match_finite_differences(&LlamaConfig {
        tie_word_embeddings: true,
        attention_bias: true,
        mlp_bias: true,
        rope_scaling: Some(llama3()),
        ..config()
    });
}

fn logits_agree_with_candle_transformers(config: &LlamaConfig) {
    let params = random_params(config, DType::F32);
    let ids = ids(20, config.vocab_size);
    let ours = Llama::new(config, DType::F32, &Device::Cpu).unwrap().forward(&params, &ids).unwrap();

    let theirs = reference::Config {
        hidden_size: config.hidden_size,
        intermediate_size: config.intermediate_size,
        vocab_size: config.vocab_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: config.num_attention_heads,
        num_key_value_heads: config.num_key_value_heads,
        use_flash_attn: false,
        rms_norm_eps: config.rms_norm_eps,
        rope_theta: config.rope_theta as f32,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: match config.rope_scaling {
            Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            }) => Some(reference::Llama3RopeConfig {
                factor: factor as f32,
                low_freq_factor: low_freq_factor as f32,
                high_freq_factor: high_freq_factor as f32,
                original_max_position_embeddings,
                rope_type: reference::Llama3RopeType::Llama3,
            }),
            _ => None,
        },
        max_position_embeddings: config.max_position_embeddings,
        tie_word_embeddings: config.tie_word_embeddings,
    };
    let tensors = params.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    let llama = reference::Llama::load(weights, &theirs).unwrap();
    // Its forward pass answers for the last position only, so every prefix is run.
    for seq in 1..=20 {
        let mut cache = reference::Cache::new(false, DType::F32, &theirs, &Device::Cpu).unwrap();
        let prefix = ids.narrow(1, 0, seq).unwrap();
        let wanted = llama.forward(&prefix, 0, &mut cache).unwrap(); // (batch, vocab_size)
        let got = ours.narrow(1, seq - 1, 1).unwrap().squeeze(1).unwrap();
        let worst = (got - wanted).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
        assert!(worst < 1e-4, "position {seq}: logits differ by {worst}");
    }
}

#[test]
fn logits_agree_with_candle_transformers_with_grouped_keys() {
    logits_agree_with_candle_transformers(&config());
}

#[test]
fn logits_agree_with_candle_transformers_with_a_tied_head_and_llama3_rope() {
    logits_agree_with_candle_transformers(&LlamaConfig {
        tie_word_embeddings: true,
        rope_scaling: Some(llama3()),
        ..config()
    });
}

#[test]
fn token_by_token_the_model_says_what_it_says_of_the_whole_text() {
    let config = LlamaConfig { rope_scaling: Some(llama3()), ..config() };
    let params = random_params(&config, DType::F32);
    let llama = Llama::new(&config, DType::F32, &Device::Cpu).unwrap();
    let ids: Vec<u32> = (0..12).map(|i| i * 7 % 29).collect();
    let whole = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let whole: Vec<Vec<f32>> = llama.forward(&params, &whole).unwrap().squeeze(0).unwrap().to_vec2().unwrap();
    let mut cache = Cache::default();
    // Five at once, as a prompt is read, then one by one.
    let pieces = std::iter::once(0..5).chain((5..12).map(|at| at..at + 1));
    for piece in pieces {
        let last = piece.end - 1;
        let logits: Vec<f32> = llama.next(&params, &ids[piece], &mut cache).unwrap().to_vec1().unwrap();
        let difference = logits.iter().zip(&whole[last]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference < 1e-5, "{difference} at token {last}");
    }
    assert_eq!(cache.seen(), 12);
}

#[test]
fn a_context_that_no_text_fills_costs_nothing() {
    let short = LlamaConfig { head_dim: 12, ..config() };
    let long = LlamaConfig { max_position_embeddings: 1 << 24, ..short.clone() };
    let (params, ids) = (random_params(&short, DType::F32), ids(9, short.vocab_size));
    let said = |config: &LlamaConfig| {
        let llama = Llama::new(config, DType::F32, &Device::Cpu).unwrap();
        let rotary = llama.rotary(9).unwrap();
        assert_eq!((rotary.cos.len(), rotary.sin.len()), (9 * 6, 9 * 6));
        let logits: Vec<f32> =
            llama.forward(&params, &ids).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        logits.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
    };
    assert_eq!(said(&long), said(&short));
}

#[test]
fn what_is_written_is_the_likeliest_or_drawn_from_the_seed_and_ends_where_it_must() {
    let config = config();
    let params = random_params(&config, DType::F32);
    let write = |config: &LlamaConfig, count: usize, sampling: Sampling| {
        let llama = Llama::new(config, DType::F32, &Device::Cpu).unwrap();
        let mut generator = Generator::new(&[3, 1, 4], count, sampling);
        std::iter::from_fn(|| generator.next(&llama, &params, None).unwrap()).collect::<Vec<u32>>()
    };
    let greedy = write(&config, 8, Sampling::GREEDY);
    let llama = Llama::new(&config, DType::F32, &Device::Cpu).unwrap();
    let mut ids = vec![3, 1, 4];
    for id in &greedy {
        let input = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = llama.forward(&params, &input).unwrap().get(0).unwrap().get(ids.len() - 1).unwrap();
        assert_eq!(logits.argmax(0).unwrap().to_scalar::<u32>().unwrap(), *id);
        ids.push(*id);
    }
    assert_eq!(greedy.len(), 8);

    let warm = |seed| Sampling { temperature: 2.0, top_p: 0.9, seed };
    assert_eq!(write(&config, 8, warm(1)), write(&config, 8, warm(1)));
    assert!((2..9).any(|seed| write(&config, 8, warm(seed)) != write(&config, 8, warm(1))));
    // Hardly any probability is left to draw from but the likeliest token.
    assert_eq!(write(&config, 8, Sampling { temperature: 1.0, top_p: 1e-6, seed: 5 }), greedy);

    assert_eq!(
        write(&config, 99, Sampling::GREEDY).len(),
        30,
        "the context holds 32 tokens, one is not read"
    );
    let ended = LlamaConfig { eos_token_ids: vec![greedy[2]], ..config.clone() };
    let before: Vec<u32> = greedy.iter().copied().take_while(|id| *id != greedy[2]).collect();
    assert_eq!(write(&ended, 8, Sampling::GREEDY), before);
}
