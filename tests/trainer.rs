//! The trainer: what a step may change, how one goes back, and what happens when numbers go bad.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor};
use llamascape::model::llama::Llama;
use llamascape::model::params::Params;
use llamascape::protocol::OptimizerKind;
use llamascape::train::composed::Composed;
use llamascape::train::corpus::{Batch, Corpus};
use llamascape::train::optimizer::{Gradient, Optimizer};
use llamascape::train::preset::{Preset, initial_params};
use llamascape::train::schedule::{Schedule, Shape};
use llamascape::train::trainer::{Objective, Progress, Recipe, Trainer};

const CPU: Device = Device::Cpu;

fn recipe() -> Recipe {
    Recipe {
        seed: 1,
        schedule: Schedule { peak: 1e-2, shape: Shape::Constant, warmup: 0, decay_steps: 1 },
        optimizer: OptimizerKind::AdamW,
        weight_decay: 0.1,
        clip: 1.0,
        accumulate: 2,
        dtype: DType::F32,
    }
}

fn corpus() -> Corpus {
    Corpus::new([(0..600_u32).map(|i| i * i % 61).collect::<Vec<u32>>()])
}

/// nano with 64 tokens.
fn model() -> (Llama, Params) {
    let config = Preset::named("nano").unwrap().config(64, 16, None);
    (Llama::new(&config, DType::F32, &CPU).unwrap(), initial_params(&config, 3, &CPU).unwrap())
}

fn trainer(recipe: Recipe, trained: impl Fn(&str) -> bool) -> Trainer {
    let (llama, params) = model();
    let held_out = corpus().in_order(2, 16);
    let objective = Objective::Corpus { train: corpus(), held_out, rows: 4, context: 16 };
    Trainer::new(llama, params, trained, objective, recipe, &CPU, 2).unwrap()
}

/// Every bit of these tensors.
fn bits_of(params: &Params) -> Vec<(String, Vec<u32>)> {
    let bits = |tensor: &Tensor| {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    };
    params.iter().map(|(name, tensor)| (name.to_owned(), bits(tensor))).collect()
}

/// Every bit of the weights and moments.
fn bits(trainer: &Trainer) -> Vec<(String, Vec<u32>)> {
    let snapshot = trainer.snapshot();
    [bits_of(&snapshot.params), bits_of(&snapshot.moments)].concat()
}

fn steps(trainer: &mut Trainer, count: usize) {
    (0..count).for_each(|_| drop(trainer.step().unwrap()));
}

#[test]
fn a_state_that_is_gone_back_to_leads_the_same_way_again() {
    let mut trainer = trainer(recipe(), |_| true);
    steps(&mut trainer, 2);
    let kept = trainer.snapshot().frozen().unwrap();
    let at_two = bits(&trainer);
    steps(&mut trainer, 3);
    trainer.scale_learning_rate(2.0);
    let at_five = bits(&trainer);
    for _ in 0..2 {
        trainer.restore(&kept).unwrap();
        assert!(bits(&trainer) == at_two);
        assert_eq!((trainer.steps_taken(), trainer.tokens()), (2, 2 * 2 * 4 * 16));
        steps(&mut trainer, 3);
        assert!(bits(&trainer) == at_five);
    }
}

#[test]
fn weights_that_are_moved_by_hand_are_gone_on_from_with_empty_moments_and_no_step() {
    let mut trainer = trainer(recipe(), |_| true);
    steps(&mut trainer, 2);
    let (kept, at_two) = (trainer.snapshot().frozen().unwrap(), bits(&trainer));
    let scaled = kept.params.iter().map(|(name, weight)| (name.to_owned(), (weight * 1.5).unwrap()));
    let there: Params = scaled.collect();
    let given = bits_of(&there);
    trainer.move_to(&there).unwrap();
    // The weights, and no moment after them.
    assert!(bits(&trainer) == given && at_two.len() > given.len());
    let progress = trainer.progress();
    assert_eq!(progress, Progress { optimizer_updates: 0, moves: 1, ..kept.progress });
    assert!(progress.order() > kept.progress.order());
    steps(&mut trainer, 1);
    assert_eq!(trainer.steps_taken(), 3);
    assert!(bits_of(&there) == given, "what was given is copied");
    trainer.restore(&kept).unwrap();
    assert!(bits(&trainer) == at_two);
    assert_eq!(trainer.progress(), kept.progress);
}

#[test]
fn weights_of_another_model_or_that_move_what_is_frozen_are_refused() {
    let mut trainer = trainer(recipe(), |name| !name.contains("layers.1."));
    steps(&mut trainer, 1);
    let (kept, before) = (trainer.snapshot().frozen().unwrap(), bits(&trainer));
    let scaled = |wanted: fn(&str) -> bool| -> Params {
        let scale = |name: &str| if wanted(name) { 1.5 } else { 1.0 };
        let weights = kept.params.iter();
        weights.map(|(name, weight)| (name.to_owned(), (weight * scale(name)).unwrap())).collect()
    };
    let refusal = trainer.move_to(&scaled(|_| true)).unwrap_err();
    assert!(refusal.contains("layers.1.") && refusal.ends_with("is frozen and would change"), "{refusal}");
    assert!(trainer.move_to(&Params::default()).unwrap_err().ends_with("is missing"));
    assert!(bits(&trainer) == before);
    trainer.move_to(&scaled(|name| !name.contains("layers.1."))).unwrap();
    assert!(bits(&trainer) != before);
}

#[test]
fn the_loss_of_other_weights_is_that_which_a_trainer_of_them_has() {
    let (llama, params) = model();
    let text = Batch::new(vec![(0..17).collect()]);
    let objective = Objective::Text(text.clone());
    let mut own = Trainer::new(llama, params.clone(), |_| true, objective, recipe(), &CPU, 1).unwrap();
    let mut other = trainer(recipe(), |_| true);
    steps(&mut other, 3);
    let wanted = own.step().unwrap().norms.loss;
    assert!((other.loss(&params, &text).unwrap() - wanted).abs() < 1e-5);
    let there = other.params();
    assert!((other.loss(&there, &text).unwrap() - wanted).abs() > 1e-3);
}

#[test]
fn what_is_frozen_stays_to_the_bit_and_has_no_moments() {
    let frozen = |name: &str| name.contains("layers.1.") || name == "model.embed_tokens.weight";
    let mut trainer = trainer(recipe(), |name| !frozen(name));
    let before = bits(&trainer);
    steps(&mut trainer, 3);
    let after = bits(&trainer);
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        assert_eq!(before == after, frozen(name), "{name}");
    }
    assert!(
        after.iter().all(|(name, _)| !(frozen(name) || name.starts_with("model.embed_tokens.weight.exp"))
            || !name.contains("exp_avg"))
    );
}

#[test]
fn a_step_that_is_not_finite_is_not_taken_and_says_where_the_numbers_went_bad() {
    // One step of the first length leaves weights whose products overflow, one of the second no number at all.
    for (length, culprit) in
        [(1e30, "the gradient of model.norm.weight"), (1e40, "model.embed_tokens.weight")]
    {
        let schedule = Schedule { peak: length, ..recipe().schedule };
        let recipe = Recipe { schedule, optimizer: OptimizerKind::Sgd, clip: 0.0, ..recipe() };
        let mut trainer = trainer(recipe, |_| true);
        steps(&mut trainer, 1);
        let before = bits(&trainer);
        let error = trainer.step().unwrap_err().to_string();
        assert!(error.starts_with(&format!("step 2: {culprit}")) && error.contains("not finite"), "{error}");
        assert!(bits(&trainer) == before && trainer.steps_taken() == 1);
        assert_eq!(trainer.bad_weight().is_some(), length > 1e38);
    }
}

#[test]
fn the_graph_of_other_devices_gives_the_same_gradient_in_f32_and_nearly_in_bf16() {
    let (llama, params) = model();
    let vars = params.into_vars().unwrap();
    let batches: Vec<Batch> = (0..2).map(|index| corpus().batch(5, index, 4, 16)).collect();
    let tokens = batches.iter().map(Batch::predicted).sum();
    let trained: Vec<bool> = vars.iter().map(|(name, _)| !name.contains("layers.3")).collect();
    let norms = |dtype: DType| {
        let llama = Llama::new(llama.config(), dtype, &CPU).unwrap();
        let composed = Composed { llama: &llama, trained: &trained, dtype };
        let (loss, tensors) = composed.gradient(&vars, &batches, tokens, &CPU).unwrap();
        let mut optimizer = Optimizer::new(OptimizerKind::AdamW, 0.1, 0.5);
        optimizer.step(&vars, &Gradient::Device { loss, tensors }, 0.0).unwrap()
    };
    let mut own =
        trainer(Recipe { seed: 5, accumulate: 2, clip: 0.5, ..recipe() }, |name| !name.contains("layers.3"));
    let own = own.step().unwrap().norms;
    let (f32, bf16) = (norms(DType::F32), norms(DType::BF16));
    let close =
        |a: f64, b: f64, share: f64| assert!((a - b).abs() < share * b.abs().max(1e-3), "{a} for {b}");
    close(f32.loss, own.loss, 1e-5);
    close(bf16.loss, own.loss, 1e-2);
    close(f32.clipped_norm, 0.5, 1e-5);
    for ((f32, bf16), own) in f32.per_tensor.iter().zip(&bf16.per_tensor).zip(&own.per_tensor) {
        close(f32.gradient, own.gradient, 1e-4);
        close(f32.weight, own.weight, 1e-6);
        close(bf16.gradient, own.gradient, 5e-2);
    }
}

#[test]
fn a_gradient_over_two_batches_is_that_of_both_at_once() {
    let twice = trainer(recipe(), |_| true).step().unwrap();
    let batches = [0, 1].map(|index| corpus().batch(1, index, 4, 16));
    let rows = batches.iter().flat_map(Batch::rows).map(<[u32]>::to_vec).collect();
    let (llama, params) = model();
    let objective = Objective::Text(Batch::new(rows));
    let recipe = Recipe { accumulate: 1, ..recipe() };
    let once = Trainer::new(llama, params, |_| true, objective, recipe, &CPU, 1).unwrap().step().unwrap();
    assert_eq!(twice.tokens, once.tokens);
    assert!((twice.norms.loss - once.norms.loss).abs() < 1e-5);
    assert!((twice.norms.grad_norm / once.norms.grad_norm - 1.0).abs() < 1e-5);
}
