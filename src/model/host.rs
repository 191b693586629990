//! The numbers of tensors, in this machine's memory.

use std::cell::RefCell;
use std::ops::Deref;

use candle_core::{CpuStorage, DType, Device, Error, InplaceOp1, Layout, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// The numbers of one contiguous `f32` tensor on the CPU, borrowed: nothing may write to it meanwhile.
pub struct Numbers<'a> {
    /// candle's guard, whose type has no public name.
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    range: (usize, usize),
}

impl<'a> Numbers<'a> {
    /// Opens a tensor; fails for one that is elsewhere, of another type or not contiguous.
    pub fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        match layout.contiguous_offsets() {
            Some(range) if tensor.dtype() == DType::F32 && tensor.device().is_cpu() => {
                Ok(Self { storage: Box::new(storage), range })
            }
            _ => bail!("a tensor is not contiguous f32 on the CPU"),
        }
    }
}

impl Deref for Numbers<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &**self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => &values[self.range.0..self.range.1],
            // `of` has made sure that there is no other case.
            _ => &[],
        }
    }
}

/// The numbers of a tensor wherever it lies, row by row. A device is waited for: one step of training does that once, and
/// so does one pass over points of a slice.
pub fn read_back(tensor: &Tensor) -> Result<Vec<f64>> {
    #[cfg(test)]
    READ_BACKS.set(READ_BACKS.get() + 1);
    // Not every device has f64.
    tensor.flatten_all()?.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec1()
}

/// [`read_back`] of a tensor of one number.
pub fn read_scalar(tensor: &Tensor) -> Result<f64> {
    match read_back(tensor)?[..] {
        [number] => Ok(number),
        ref numbers => bail!("one number is asked for, there are {}", numbers.len()),
    }
}

#[cfg(test)]
thread_local! {
    static READ_BACKS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// How often this thread has called [`read_back`].
#[cfg(test)]
pub(crate) fn read_backs() -> usize {
    READ_BACKS.get()
}

/// So many zeros in memory that is there. The system hands out zeros of its own for `vec![0.0; count]`, and has all
/// threads wait for each page of them that is read before it is written: of sums in large tensors every page is.
pub fn zeros(count: usize) -> Vec<f32> {
    /// Numbers that one thread writes at a time.
    const PIECE: usize = 1 << 16;
    rayon::iter::repeat_n(0.0, count).with_min_len(PIECE).collect()
}

/// Lets `change` write to the numbers of a contiguous `f32` tensor on the CPU, which no graph may hold.
pub fn write<R>(tensor: &Tensor, change: impl FnOnce(&mut [f32]) -> R) -> Result<R> {
    let write = Write { change: RefCell::new(Some(change)), result: RefCell::new(None) };
    tensor.inplace_op1(&write)?;
    write.result.into_inner().ok_or_else(|| Error::msg("nothing was written"))
}

/// candle lends a tensor's numbers only to an operation.
struct Write<F, R> {
    change: RefCell<Option<F>>,
    result: RefCell<Option<R>>,
}

impl<R, F: FnOnce(&mut [f32]) -> R> InplaceOp1 for Write<F, R> {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (Some((start, end)), CpuStorage::F32(values)) = (layout.contiguous_offsets(), storage) else {
            bail!("a tensor is not contiguous f32");
        };
        *self.result.borrow_mut() = self.change.take().map(|change| change(&mut values[start..end]));
        Ok(())
    }
}
