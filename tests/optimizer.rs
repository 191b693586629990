//! The optimizers against PyTorch's, with clipping, on a matrix and a vector.
//!
//! The numbers are what this prints (torch 2.9.1):
//!
//! ```python
//! import torch
//! def run(make):
//!     w = torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.0, -0.3]], requires_grad=True)
//!     b = torch.tensor([1.0, -2.0], requires_grad=True)
//!     optimizer = make(w, b)
//!     for k in range(1, 4):
//!         optimizer.zero_grad()
//!         c = torch.tensor([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]]) * k
//!         ((w * c).sum() + (b * torch.tensor([0.3, -0.2])).sum() * k).backward()
//!         norm = torch.nn.utils.clip_grad_norm_([w, b], 5.0)
//!         optimizer.step()
//!     print(norm.item(), w.flatten().tolist(), b.tolist())
//! run(lambda w, b: torch.optim.AdamW([{"params": [w], "weight_decay": 0.1},
//!     {"params": [b], "weight_decay": 0.0}], lr=0.05, betas=(0.9, 0.95)))
//! run(lambda w, b: torch.optim.Adam([w, b], lr=0.05))
//! run(lambda w, b: torch.optim.SGD([w, b], lr=0.05))
//! ```

// What fails to unwrap fails the test; the numbers are as Python prints them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::unreadable_literal)]

use candle_core::{Device, Tensor};
use llamascape::model::params::{Params, Vars};
use llamascape::protocol::OptimizerKind;
use llamascape::train::optimizer::{Gradient, Optimizer, Refusal, StepNorms};

/// Where a gradient lies when the optimizer takes it.
#[derive(Debug, Clone, Copy)]
enum Place {
    Host,
    Device,
}

impl Place {
    fn step(
        self,
        optimizer: &mut Optimizer,
        vars: &Vars,
        loss: &Tensor,
        grads: &[Tensor],
        rate: f64,
    ) -> Result<StepNorms, Refusal> {
        let flat = |grad: &Tensor| Some(grad.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        match self {
            Self::Host => {
                let tensors: Vec<_> = grads.iter().map(flat).collect();
                let loss = f64::from(loss.to_scalar::<f32>().unwrap());
                optimizer.step(vars, &Gradient::Host { loss, tensors: &tensors }, rate)
            }
            Self::Device => {
                let tensors = grads.iter().cloned().map(Some).collect();
                optimizer.step(vars, &Gradient::Device { loss: loss.detach(), tensors }, rate)
            }
        }
    }
}

/// Three steps; the last gradient norm and the weights after them.
fn three_steps(kind: OptimizerKind, place: Place) -> (f64, Vec<f32>, Vec<f32>) {
    let cpu = &Device::Cpu;
    let params = Params::from_iter([
        ("w".to_owned(), Tensor::new(&[[0.5_f32, -1.0, 2.0], [0.1, 0.0, -0.3]], cpu).unwrap()),
        ("b".to_owned(), Tensor::new(&[1.0_f32, -2.0], cpu).unwrap()),
    ]);
    let vars = params.into_vars().unwrap();
    let mut optimizer = Optimizer::new(kind, 0.1, 5.0);
    let mut norm = 0.0;
    for k in 1..=3 {
        let params = vars.params();
        let c = (Tensor::new(&[[1.0_f32, 2.0, -1.0], [0.5, 0.0, 3.0]], cpu).unwrap() * f64::from(k)).unwrap();
        let d = (Tensor::new(&[0.3_f32, -0.2], cpu).unwrap() * f64::from(k)).unwrap();
        let part = |name: &str, by: &Tensor| (params.get(name).unwrap() * by).unwrap().sum_all().unwrap();
        let loss = (part("w", &c) + part("b", &d)).unwrap();
        let grads = vars.gradients(&loss.backward().unwrap()).unwrap();
        norm = place.step(&mut optimizer, &vars, &loss, &grads, 0.05).unwrap().grad_norm;
    }
    let values = |name: &str| -> Vec<f32> {
        vars.params().get(name).unwrap().detach().flatten_all().unwrap().to_vec1().unwrap()
    };
    (norm, values("w"), values("b"))
}

fn agrees(kind: OptimizerKind, norm: f64, w: [f32; 6], b: [f32; 2]) {
    for place in [Place::Host, Place::Device] {
        let (our_norm, our_w, our_b) = three_steps(kind, place);
        assert!((our_norm - norm).abs() < 1e-5, "{place:?}: {our_norm} for {norm}");
        for (ours, theirs) in our_w.iter().chain(&our_b).zip(w.iter().chain(&b)) {
            assert!((ours - theirs).abs() < 1e-5, "{place:?}: {our_w:?} {our_b:?}");
        }
    }
}

#[test]
fn three_steps_of_adamw_land_where_pytorchs_do() {
    agrees(
        OptimizerKind::AdamW,
        11.7652,
        [0.3435684, -1.134044, 2.119119, -0.05046155, 0.0, -0.4444915],
        [0.8502831, -1.850283],
    );
}

#[test]
fn three_steps_of_adam_land_where_pytorchs_do() {
    agrees(
        OptimizerKind::Adam,
        11.7652,
        [0.3499517, -1.150048, 2.150048, -0.0500483, 0.0, -0.4500484],
        [0.8499516, -1.849952],
    );
}

#[test]
fn three_steps_of_sgd_land_where_pytorchs_do() {
    agrees(
        OptimizerKind::Sgd,
        11.7652,
        [0.3225054, -1.354989, 2.177495, 0.0112527, 0.0, -0.8324838],
        [0.9467516, -1.964501],
    );
}

#[test]
fn a_gradient_that_is_not_finite_moves_nothing_and_is_named_by_its_place() {
    let cpu = &Device::Cpu;
    let start = Tensor::new(&[1.0_f32, 2.0], cpu).unwrap();
    let params = Params::from_iter([("a".to_owned(), start.clone()), ("b".to_owned(), start)]);
    let vars = params.into_vars().unwrap();
    let params = vars.params();
    let infinite = Tensor::new(&[1.0_f32, f32::INFINITY], cpu).unwrap();
    let loss = (params.get("a").unwrap() + (params.get("b").unwrap() * infinite).unwrap()).unwrap();
    let loss = loss.sum_all().unwrap();
    let grads = vars.gradients(&loss.backward().unwrap()).unwrap();
    for place in [Place::Host, Place::Device] {
        let mut optimizer = Optimizer::new(OptimizerKind::AdamW, 0.1, 1.0);
        let finite = loss.zeros_like().unwrap();
        match place.step(&mut optimizer, &vars, &finite, &grads, 0.1) {
            Err(Refusal::Gradients(places)) => assert_eq!(places, [1]),
            other => panic!("{other:?}"),
        }
        let outcome = place.step(&mut optimizer, &vars, &(finite / 0.0).unwrap(), &grads, 0.1);
        assert!(matches!(outcome, Err(Refusal::Loss)), "{outcome:?}");
        assert_eq!(optimizer.updates(), 0);
        for (_, tensor) in vars.detached().iter() {
            assert_eq!(tensor.to_vec1::<f32>().unwrap(), [1.0, 2.0]);
        }
    }
}
