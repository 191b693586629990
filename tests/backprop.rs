//! The gradient over plain slices against candle's, on models and batches of even and odd sizes.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use llamascape::model::backprop::{Backprop, Texts};
use llamascape::model::config::LlamaConfig;
use llamascape::model::gaussian;
use llamascape::model::llama::Llama;
use llamascape::model::ops::IGNORED;
use llamascape::model::params::Params;
use llamascape::model::shapes::parameter_shapes;

fn config(tied: bool, biased: bool) -> LlamaConfig {
    LlamaConfig {
        vocab_size: 37,
        hidden_size: 24,
        intermediate_size: 41,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        max_position_embeddings: 80,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: tied,
        attention_bias: biased,
        mlp_bias: biased,
        bos_token_id: None,
        eos_token_ids: vec![],
    }
}

fn params(config: &LlamaConfig) -> Params {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let centre = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        let values = gaussian::normal(5, &name, shape.iter().product()).into_iter().map(|x| centre + 0.3 * x);
        let tensor = Tensor::from_vec(values.collect::<Vec<f32>>(), shape, &Device::Cpu).unwrap();
        (name, tensor)
    };
    parameter_shapes(config).into_iter().map(tensor).collect()
}

/// Inputs and targets; every third target is ignored where `masked`.
fn batch(texts: usize, seq: usize, masked: bool) -> (Vec<u32>, Vec<u32>) {
    let ids: Vec<u32> = (0..=texts * seq).map(|i| (i * i * 5 + i) as u32 % 37).collect();
    let target = |(place, id): (usize, &u32)| if masked && place % 3 == 1 { IGNORED } else { *id };
    (ids[..texts * seq].to_vec(), ids[1..].iter().enumerate().map(target).collect())
}

fn predicted(targets: &[u32]) -> usize {
    targets.iter().filter(|target| **target != IGNORED).count()
}

#[test]
fn loss_and_gradient_are_candles_at_every_size() {
    let sizes = [(1, 1), (1, 7), (2, 3), (3, 5), (8, 6), (2, 70)];
    let kinds = [(true, false, false), (false, true, false), (true, true, true)];
    // Rows of 256 logits are stored with room behind them.
    let cases = kinds.map(|kind| (kind, 37)).into_iter().chain([(kinds[0], 256)]);
    for ((tied, biased, masked), vocab_size) in cases {
        let config = LlamaConfig { vocab_size, ..config(tied, biased) };
        let (llama, params) = (Llama::new(&config, DType::F32, &Device::Cpu).unwrap(), params(&config));
        // One for all sizes, so that what a batch leaves behind would show in the next.
        let mut backprop = Backprop::new(&llama, &params, |_| true, 2).unwrap();
        for (texts, seq) in sizes {
            let (inputs, targets) = batch(texts, seq, masked);
            let count = predicted(&targets);
            let vars = params.clone().into_vars().unwrap();
            let shaped = |ids: &[u32]| Tensor::from_slice(ids, (texts, seq), &Device::Cpu).unwrap();
            let loss = llama.loss(&vars.params(), &shaped(&inputs), &shaped(&targets)).unwrap();
            let theirs = vars.gradients(&loss.backward().unwrap()).unwrap();
            let loss = f64::from(loss.to_scalar::<f32>().unwrap());

            let batch = Texts { inputs: &inputs, targets: &targets, seq };
            let alone = backprop.loss(&params, &batch).unwrap() / count as f64;
            let ours = backprop.gradient(&params, &[batch], (count as f32).recip()).unwrap();
            let ours = ours / count as f64;
            assert!((ours - loss).abs() < 1e-5 && (alone - loss).abs() < 1e-5, "{ours} {alone} {loss}");
            let norm = theirs.iter().map(norm).fold(0.0, f64::hypot);
            for (((name, _), theirs), ours) in params.iter().zip(&theirs).zip(backprop.gradients()) {
                let ours = Tensor::from_slice(ours.as_ref().unwrap(), theirs.dims(), &Device::Cpu).unwrap();
                let off = self::norm(&(theirs - ours).unwrap());
                let allowed = 1e-5 * self::norm(theirs).max(1e-2 * norm);
                assert!(off <= allowed, "{texts} texts of {seq}: {name} is off by {off:e} of {norm}");
            }
        }
    }
}

fn norm(tensor: &Tensor) -> f64 {
    let square = tensor.detach().to_dtype(DType::F64).unwrap().sqr().unwrap().sum_all().unwrap();
    square.to_scalar::<f64>().unwrap().sqrt()
}

#[test]
fn threads_change_no_bit() {
    let config = LlamaConfig {
        vocab_size: 300,
        hidden_size: 96,
        intermediate_size: 200,
        head_dim: 24,
        ..config(true, false)
    };
    let (llama, params) = (Llama::new(&config, DType::F32, &Device::Cpu).unwrap(), params(&config));
    for texts in [1, 2, 5, 8] {
        let (inputs, targets) = batch(texts, 33, false);
        let gradients = |threads: usize| {
            let mut backprop = Backprop::new(&llama, &params, |_| true, threads).unwrap();
            let batch = Texts { inputs: &inputs, targets: &targets, seq: 33 };
            let loss = backprop.gradient(&params, &[batch], 0.01).unwrap();
            let bits = |x: &f32| x.to_bits();
            let gradients = backprop.into_gradients().into_iter().flatten().flatten();
            (loss.to_bits(), gradients.map(|x| bits(&x)).collect::<Vec<u32>>())
        };
        let one = gradients(1);
        for threads in [2, 3, 4, 8] {
            assert!(gradients(threads) == one, "{texts} texts, {threads} threads");
        }
    }
}

#[test]
fn batches_add_up() {
    let config = config(false, true);
    let (llama, params) = (Llama::new(&config, DType::F32, &Device::Cpu).unwrap(), params(&config));
    let (inputs, targets) = batch(8, 5, false);
    let texts = |places: std::ops::Range<usize>| Texts {
        inputs: &inputs[places.clone()],
        targets: &targets[places],
        seq: 5,
    };
    let mut whole = Backprop::new(&llama, &params, |_| true, 1).unwrap();
    whole.gradient(&params, &[texts(0..40)], 0.1).unwrap();
    let mut halves = Backprop::new(&llama, &params, |_| true, 1).unwrap();
    halves.gradient(&params, &[texts(0..20), texts(20..40)], 0.1).unwrap();
    for ((name, _), (whole, halves)) in params.iter().zip(whole.gradients().iter().zip(halves.gradients())) {
        for (a, b) in whole.iter().flatten().zip(halves.iter().flatten()) {
            assert!((a - b).abs() < 1e-5, "{name}: {a} {b}");
        }
    }
}

#[test]
fn what_is_not_trained_has_no_gradient_and_leaves_the_others_theirs() {
    let config = config(true, false);
    let (llama, params) = (Llama::new(&config, DType::F32, &Device::Cpu).unwrap(), params(&config));
    let (inputs, targets) = batch(4, 6, false);
    let texts = Texts { inputs: &inputs, targets: &targets, seq: 6 };
    let mut all = Backprop::new(&llama, &params, |_| true, 1).unwrap();
    all.gradient(&params, &[texts], 0.1).unwrap();
    for trained in ["layers.2", "norm", "embed", "layers.1.mlp.down_proj"] {
        let mut some = Backprop::new(&llama, &params, |name| name.contains(trained), 1).unwrap();
        some.gradient(&params, &[texts], 0.1).unwrap();
        for ((name, _), (all, some)) in params.iter().zip(all.gradients().iter().zip(some.gradients())) {
            assert_eq!(some.is_some(), name.contains(trained), "{name}");
            assert!(some.is_none() || some == all, "{name}");
        }
    }
}

#[test]
fn a_batch_that_does_not_fit_is_refused() {
    let config = config(true, false);
    let (llama, params) = (Llama::new(&config, DType::F32, &Device::Cpu).unwrap(), params(&config));
    let mut backprop = Backprop::new(&llama, &params, |_| true, 1).unwrap();
    let ids = [0; 162];
    for (inputs, targets, seq, problem) in [
        (&ids[..0], &ids[..0], 3, "no texts"),
        (&ids[..6], &ids[..5], 3, "no texts"),
        (&ids[..5], &ids[..5], 3, "no texts"),
        (&ids[..81], &ids[..81], 81, "context of 80"),
        (&[0, 37][..], &[0, 0][..], 2, "token 37"),
        (&[0, 0][..], &[0, 37][..], 2, "token 37"),
        (&[0, IGNORED][..], &[0, 0][..], 2, "outside"),
    ] {
        let error = backprop.loss(&params, &Texts { inputs, targets, seq }).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}
