//! The operations of a Llama, each with a gradient on every device and for every float type.
//!
//! candle's own fused versions of these have no backward pass and cut the gradient without an error, so what
//! is here is composed of operations that have one.

use candle_core::{CpuStorage, D, DType, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use super::host::{read_back, read_scalar};
use super::kernels;

/// Root mean square normalisation, `x / sqrt(mean(x^2) + eps) * weight` (arXiv 1910.07467), over the last
/// dimension. `x` is `(.., hidden_size)`, `weight` `(hidden_size)`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let mean_square = (x.sqr()?.sum_keepdim(D::Minus1)? / x.dim(D::Minus1)? as f64)?; // (.., 1)
    x.broadcast_div(&(mean_square + eps)?.sqrt()?)?.broadcast_mul(weight)
}

/// Rotary position embedding (arXiv 2104.09864) in the layout of Hugging Face: the two halves of a head are the
/// real and the imaginary parts. `x` is `(batch, heads, seq, head_dim)`, `cos` and `sin` are
/// `(seq, head_dim / 2)`.
pub fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let re = x.narrow(D::Minus1, 0, half)?; // (batch, heads, seq, head_dim / 2)
    let im = x.narrow(D::Minus1, half, half)?;
    let rotated_re = (re.broadcast_mul(cos)? - im.broadcast_mul(sin)?)?;
    let rotated_im = (im.broadcast_mul(cos)? + re.broadcast_mul(sin)?)?;
    Tensor::cat(&[rotated_re, rotated_im], D::Minus1)
}

/// Causal attention with grouped keys and values (arXiv 2305.13245), `softmax(q k^T / sqrt(head_dim) + mask) v`.
/// `q` is `(batch, heads, seq, head_dim)`, `k` and `v` are `(batch, kv_heads, keys, head_dim)`, `mask` is
/// [`causal_mask`], `(seq, keys)`.
pub fn causal_attention(q: &Tensor, k: &Tensor, v: &Tensor, mask: &Tensor) -> Result<Tensor> {
    let (batch, heads, seq, head_dim) = q.dims4()?;
    let (_, kv_heads, keys, _) = k.dims4()?;
    let group = heads / kv_heads;
    // The query heads of one group sit one below the other, so keys and values need no copies:
    // (batch, kv_heads, group * seq, head_dim)
    let q = q.reshape((batch, kv_heads, group * seq, head_dim))?;
    let scores = (q.matmul(&k.t()?)? / (head_dim as f64).sqrt())?; // (batch, kv_heads, group * seq, keys)
    let scores = scores.reshape((batch, heads, seq, keys))?.broadcast_add(mask)?;
    let weights = softmax(&scores)?.reshape((batch, kv_heads, group * seq, keys))?;
    weights.matmul(v)?.reshape((batch, heads, seq, head_dim))
}

/// The gated unit `silu(gate) * up` (arXiv 2002.05202). Both are `(.., intermediate_size)`.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()?.mul(up)
}

/// The target of a position whose token is not to be predicted.
pub const IGNORED: u32 = u32::MAX;

/// Cross-entropy in nats of each row, `log(sum(exp(logits))) - logits[target]`, and 0 where the target is
/// [`IGNORED`]. `logits` is `(rows, vocab_size)`, `targets` `(rows)` of `u32`; the result is `(rows)`.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let ignored = targets.eq(IGNORED)?; // (rows)
    let targets = ignored.where_cond(&targets.zeros_like()?, targets)?;
    let picked = logits.gather(&targets.unsqueeze(1)?, 1)?.squeeze(1)?; // (rows)
    // The maximum is subtracted for range only; the result does not depend on it, so no gradient flows there.
    let max = logits.max_keepdim(1)?.detach(); // (rows, 1)
    let sum = logits.broadcast_sub(&max)?.exp()?.sum(1)?; // (rows)
    let losses = ((sum.log()? + max.squeeze(1)?)? - picked)?;
    ignored.where_cond(&losses.zeros_like()?, &losses)
}

/// `exp(x) / sum(exp(x))` over the last dimension.
fn softmax(x: &Tensor) -> Result<Tensor> {
    let exp = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    exp.broadcast_div(&exp.sum_keepdim(D::Minus1)?)
}

/// The mask of [`causal_attention`] for `seq` positions that follow `seen` others, `(seq, seen + seq)`: zero where a
/// position may look, minus infinity at what comes after it.
pub fn causal_mask(seen: usize, seq: usize, like: &Tensor) -> Result<Tensor> {
    let keys = seen + seq;
    let masked = |i: usize, j: usize| if j > seen + i { f32::NEG_INFINITY } else { 0.0 };
    let mask: Vec<f32> = (0..seq).flat_map(|i| (0..keys).map(move |j| masked(i, j))).collect();
    Tensor::from_vec(mask, (seq, keys), like.device())?.to_dtype(like.dtype())
}

/// Elements that one thread sums at a time: the sums are added in order, so the threads do not matter.
pub const CHUNK: usize = 1 << 14;

/// Sum of the squares of each tensor in `f64`, in one read-back where the tensors lie on a device.
pub fn square_sums(tensors: &[Tensor]) -> Result<Vec<f64>> {
    if tensors.iter().all(|tensor| tensor.device().is_cpu() && tensor.dtype() == DType::F32) {
        return tensors.iter().map(|tensor| dot(tensor, tensor)).collect();
    }
    let sums = tensors.iter().map(|tensor| tensor.sqr()?.sum_all()).collect::<Result<Vec<_>>>()?;
    read_back(&Tensor::stack(&sums, 0)?)
}

/// Scalar product of two contiguous tensors of one shape, in `f64` on the CPU.
pub fn dot(a: &Tensor, b: &Tensor) -> Result<f64> {
    if !a.device().is_cpu() || a.dtype() != DType::F32 {
        return read_scalar(&(a * b)?.sum_all()?);
    }
    let ((a, a_layout), (b, b_layout)) = (a.storage_and_layout(), b.storage_and_layout());
    let (Storage::Cpu(a), Storage::Cpu(b)) = (&*a, &*b) else { bail!("one tensor is not on the CPU") };
    let (a, b) = (contiguous(a, a_layout)?, contiguous(b, b_layout)?);
    let chunks = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    let sums: Vec<f64> = chunks.map(|(a, b)| kernels::dot(a, b)).collect();
    Ok(sums.into_iter().sum())
}

/// The numbers of a contiguous `f32` tensor on the CPU.
pub fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("the tensor is not contiguous"),
    }
}
