//! Parameters that one process has, for all processes of its job.

use candle_core::{Device, Error, Result, Tensor};

use super::host::{Numbers, zeros};
use super::params::Params;
use crate::ranks::Ranks;

/// Gives the parameters of the first process to the others, which have to [take] them.
pub fn give(ranks: &Ranks, params: &Params) -> Result<()> {
    let shapes: Vec<(&str, &[usize])> = params.iter().map(|(name, tensor)| (name, tensor.dims())).collect();
    let given = ranks.tell(&shapes).map_err(Error::wrap).and_then(|()| {
        params.iter().try_for_each(|(_, tensor)| {
            let tensor = tensor.to_device(&Device::Cpu)?.contiguous()?;
            ranks.give(&Numbers::of(&tensor)?);
            Ok(())
        })
    });
    // The others wait for the rest of them.
    given.inspect_err(|_| ranks.lose())
}

/// Takes the parameters that the first process gives, into this machine's memory.
pub fn take(ranks: &Ranks) -> Result<Params> {
    let shapes: Vec<(String, Vec<usize>)> = ranks.hear().map_err(Error::wrap)?;
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let mut numbers = zeros(shape.iter().product());
        ranks.take(&mut numbers);
        Ok((name, Tensor::from_vec(numbers, shape, &Device::Cpu)?))
    };
    shapes.into_iter().map(tensor).collect()
}

/// The same parameters on a device.
pub fn on(device: &Device, params: &Params) -> Result<Params> {
    params.iter().map(|(name, tensor)| Ok((name.to_owned(), tensor.to_device(device)?))).collect()
}
