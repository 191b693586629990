//! Each operation of our own against the composed one of candle, forward and backward, and its gradient against
//! finite differences of the composed one in f64, at even sizes and odd ones.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

use candle_core::{DType, Device, Tensor, Var};
use llamascape::model::attention::{Attention, Strip};
use llamascape::model::gaussian;
use llamascape::model::kernels::{self, Rotary, Turn};
use llamascape::model::ops;

fn numbers(name: &str, count: usize) -> Vec<f32> {
    gaussian::normal(3, name, count)
}

fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

fn close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(1.0_f32, |most, x| most.max(x.abs()));
    for (place, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}, number {place}: {a} for {b}");
    }
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.detach().to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// What the composed operation `f` gives, and the gradients of `sum(weights * f)` for each input: from candle's
/// backward pass in f32, after comparing them with central differences in f64.
fn composed(
    f: &dyn Fn(&[Tensor]) -> Tensor,
    inputs: &[(Vec<f32>, Vec<usize>)],
    weights: &[f32],
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let vars: Vec<Var> =
        inputs.iter().map(|(x, shape)| Var::from_tensor(&tensor(x, shape)).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
    let out = f(&tensors);
    let weighted = |out: &Tensor| {
        let weights = tensor(weights, out.dims()).to_dtype(out.dtype()).unwrap();
        (out * weights).unwrap().sum_all().unwrap()
    };
    let grads = weighted(&out).backward().unwrap();
    let grads: Vec<Vec<f32>> = vars.iter().map(|var| flat(grads.get(var).unwrap())).collect();

    let wide: Vec<Tensor> = tensors.iter().map(|x| x.detach().to_dtype(DType::F64).unwrap()).collect();
    for (which, grad) in grads.iter().enumerate() {
        // Every seventh number, and the first and the last.
        let places = (0..grad.len()).step_by(7).chain([grad.len() - 1]);
        for place in places {
            let at = |step: f64| {
                let mut inputs = wide.clone();
                let mut values: Vec<f64> = inputs[which].flatten_all().unwrap().to_vec1().unwrap();
                values[place] += step;
                inputs[which] = Tensor::from_vec(values, wide[which].dims(), &Device::Cpu).unwrap();
                weighted(&f(&inputs)).to_scalar::<f64>().unwrap()
            };
            let slope = (at(1e-4) - at(-1e-4)) / 2e-4;
            let got = f64::from(grad[place]);
            assert!(
                (got - slope).abs() < 2e-5 * slope.abs().max(1.0),
                "input {which}, {place}: {got} for {slope}"
            );
        }
    }
    (flat(&out), grads)
}

#[test]
fn root_mean_square_norm() {
    for (rows, width) in [(1, 1), (1, 16), (3, 17), (5, 48)] {
        let (x, gain) = (numbers("x", rows * width), numbers("gain", width));
        let (dy, residual) = (numbers("dy", rows * width), numbers("residual", rows * width));
        let inputs = [(x.clone(), vec![rows, width]), (gain.clone(), vec![width])];
        let f = |x: &[Tensor]| ops::rms_norm(&x[0], &x[1], 1e-5).unwrap();
        let (out, grads) = composed(&f, &inputs, &dy);

        let mut ours = vec![0.0; rows * width];
        kernels::rms_norm(&x, &gain, 1e-5, &mut ours);
        close("norm", &ours, &out, 1e-5);
        let (mut dx, mut d_gain) = (vec![0.0; rows * width], vec![1.0; width]);
        kernels::rms_norm_backward(&x, &gain, 1e-5, &dy, &residual, &mut dx, &mut d_gain);
        let added: Vec<f32> = grads[0].iter().zip(&residual).map(|(a, b)| a + b).collect();
        close("norm's input", &dx, &added, 1e-5);
        let added: Vec<f32> = grads[1].iter().map(|a| a + 1.0).collect();
        close("norm's gain", &d_gain, &added, 1e-5);
    }
}

#[test]
fn rotary_embedding() {
    for (texts, seq, heads, half) in [(1, 1, 1, 1), (2, 5, 3, 4), (1, 9, 2, 7)] {
        let (width, positions) = (heads * 2 * half, seq + 2);
        let x = numbers("x", texts * seq * width);
        let angles = numbers("angles", positions * half);
        let tables = Rotary {
            cos: angles.iter().map(|a| a.cos()).collect(),
            sin: angles.iter().map(|a| a.sin()).collect(),
            half,
        };
        let table = |values: &[f32]| tensor(&values[..seq * half], &[seq, half]);
        let f = |x: &[Tensor]| {
            let (cos, sin) = (table(&tables.cos), table(&tables.sin));
            let (cos, sin) = (cos.to_dtype(x[0].dtype()).unwrap(), sin.to_dtype(x[0].dtype()).unwrap());
            let heads = x[0].reshape((texts, seq, heads, 2 * half)).unwrap().transpose(1, 2).unwrap();
            let turned = ops::rotary(&heads.contiguous().unwrap(), &cos, &sin).unwrap();
            turned.transpose(1, 2).unwrap().reshape((texts * seq, width)).unwrap()
        };
        let dy = numbers("dy", x.len());
        let (out, grads) = composed(&f, &[(x.clone(), vec![texts * seq, width])], &dy);
        let mut ours = x;
        kernels::rotate(&mut ours, heads, seq, &tables, Turn::Forward);
        close("rotation", &ours, &out, 1e-5);
        let mut back = dy;
        kernels::rotate(&mut back, heads, seq, &tables, Turn::Back);
        close("rotation's input", &back, &grads[0], 1e-5);
    }
}

#[test]
fn causal_attention_with_grouped_keys() {
    for (heads, kv_heads, head_dim, seq) in
        [(1, 1, 2, 1), (2, 1, 4, 3), (4, 2, 6, 7), (3, 3, 5, 64), (2, 1, 4, 65)]
    {
        let attention = Attention { heads, kv_heads, head_dim, seq };
        let q = numbers("q", seq * heads * head_dim);
        let k = numbers("k", seq * kv_heads * head_dim);
        let v = numbers("v", seq * kv_heads * head_dim);
        let f = |x: &[Tensor]| {
            let split = |x: &Tensor, heads: usize| {
                let x = x.reshape((1, seq, heads, head_dim)).unwrap();
                x.transpose(1, 2).unwrap().contiguous().unwrap()
            };
            let mask = ops::causal_mask(0, seq, &x[0]).unwrap();
            let (q, k, v) = (split(&x[0], heads), split(&x[1], kv_heads), split(&x[2], kv_heads));
            let out = ops::causal_attention(&q, &k, &v, &mask).unwrap();
            out.transpose(1, 2).unwrap().reshape((seq, heads * head_dim)).unwrap()
        };
        let inputs = [
            (q.clone(), vec![seq, heads * head_dim]),
            (k.clone(), vec![seq, kv_heads * head_dim]),
            (v.clone(), vec![seq, kv_heads * head_dim]),
        ];
        let dy = numbers("dy", q.len());
        let (out, grads) = composed(&f, &inputs, &dy);

        let (mut ours, mut sums, mut strip) = (vec![0.0; q.len()], vec![0.0; heads * seq], Strip::default());
        attention.forward([&q, &k, &v], &mut ours, &mut sums, &mut strip);
        close("attention", &ours, &out, 1e-5);
        let (mut d_q, mut d_k, mut d_v) = (vec![9.0; q.len()], vec![9.0; k.len()], vec![9.0; v.len()]);
        attention.backward([&q, &k, &v], &dy, &sums, [&mut d_q, &mut d_k, &mut d_v], &mut strip);
        close("queries", &d_q, &grads[0], 1e-5);
        close("keys", &d_k, &grads[1], 1e-5);
        close("values", &d_v, &grads[2], 1e-5);
    }
}

#[test]
fn gated_unit() {
    for count in [1, 15, 16, 33] {
        let (gate, up, dy) = (numbers("gate", count), numbers("up", count), numbers("dy", count));
        let f = |x: &[Tensor]| ops::swiglu(&x[0], &x[1]).unwrap();
        let (out, grads) = composed(&f, &[(gate.clone(), vec![count]), (up.clone(), vec![count])], &dy);
        let mut ours = vec![0.0; count];
        kernels::swiglu(&gate, &up, &mut ours);
        close("unit", &ours, &out, 1e-5);
        let (mut d, mut d_gate, mut d_up) = (dy, vec![0.0; count], vec![0.0; count]);
        kernels::swiglu_backward(&gate, &up, &mut d, &mut d_gate, &mut d_up);
        close("gate", &d_gate, &grads[0], 1e-5);
        close("up", &d_up, &grads[1], 1e-5);
        close("the unit again", &d, &out, 1e-5);
    }
}

#[test]
fn cross_entropy_of_each_row_but_those_that_are_ignored() {
    for (rows, vocabulary) in [(1, 1), (1, 2), (4, 17), (3, 100)] {
        let logits: Vec<f32> = numbers("logits", rows * vocabulary).into_iter().map(|x| 4.0 * x).collect();
        let target = |row: usize| if row == 2 { ops::IGNORED } else { (row * 7 % vocabulary) as u32 };
        let targets: Vec<u32> = (0..rows).map(target).collect();
        let f = |x: &[Tensor]| {
            let targets = Tensor::from_slice(&targets, rows, &Device::Cpu).unwrap();
            ops::cross_entropy(&x[0], &targets).unwrap()
        };
        let scale = 0.25;
        let (out, grads) = composed(&f, &[(logits.clone(), vec![rows, vocabulary])], &vec![scale; rows]);
        for (row, target) in targets.iter().enumerate() {
            let here = row * vocabulary..(row + 1) * vocabulary;
            if *target == ops::IGNORED {
                close("an ignored row", &[out[row]], &[0.0], 0.0);
                close("an ignored row's gradient", &grads[0][here], &vec![0.0; vocabulary], 0.0);
                continue;
            }
            let mut ours = logits[here.clone()].to_vec();
            close("loss alone", &[kernels::cross_entropy(&ours, *target as usize)], &[out[row]], 1e-5);
            let loss = kernels::cross_entropy_backward(&mut ours, *target as usize, scale);
            close("loss", &[loss], &[out[row]], 1e-5);
            close("logits", &ours, &grads[0][here], 1e-5);
        }
    }
}
