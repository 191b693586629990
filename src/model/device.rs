//! The device that a person's choice stands for on this machine.

use candle_core::Device;
use serde::{Deserialize, Serialize};

/// Where to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// A GPU where this build has one that works, the CPU otherwise.
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of that number.
    Cuda(usize),
    /// Apple's GPU.
    Metal,
}

/// Why a device can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The program was built without it.
    #[error("--device {0}: this program was built without it: cargo install --path . --features {0}")]
    NotBuilt(&'static str),
    /// It is not there or does not work.
    #[error("--device {name}: {reason}; --device cpu works everywhere")]
    Failed {
        /// What was asked for.
        name: String,
        /// The first line of what the driver says.
        reason: String,
    },
}

/// Opens the device. With [`DeviceChoice::Auto`] a GPU that fails is a reason in the log, and the CPU it is.
pub fn open(choice: DeviceChoice) -> Result<Device, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(index) => cuda(index),
        DeviceChoice::Metal => metal(),
        DeviceChoice::Auto => {
            let gpu = if cfg!(feature = "metal") { metal() } else { cuda(0) };
            Ok(gpu.unwrap_or_else(|error| {
                match error {
                    DeviceError::NotBuilt(name) => {
                        log::info!("computing on the CPU: this build has no {name}");
                    }
                    DeviceError::Failed { name, reason } => {
                        log::warn!("computing on the CPU: {name} can't be used: {reason}");
                    }
                }
                Device::Cpu
            }))
        }
    }
}

/// What another process has to open to compute on devices like this one.
pub fn choice(device: &Device) -> DeviceChoice {
    match device.location() {
        candle_core::DeviceLocation::Cpu => DeviceChoice::Cpu,
        candle_core::DeviceLocation::Cuda { gpu_id } => DeviceChoice::Cuda(gpu_id),
        candle_core::DeviceLocation::Metal { .. } => DeviceChoice::Metal,
    }
}

/// Opens the device for the process of this number among those of the machine. They share out its GPUs, unless one
/// other than the first was asked for.
pub fn open_nth(choice: DeviceChoice, nth: usize) -> Result<Device, DeviceError> {
    match choice {
        DeviceChoice::Cuda(0) => {
            // Slurm may show each process a GPU of its own, as its first.
            let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok().filter(|list| !list.is_empty());
            cuda(visible.map_or(nth, |list| nth % list.split(',').count()))
        }
        choice => open(choice),
    }
}

fn cuda(index: usize) -> Result<Device, DeviceError> {
    if !cfg!(feature = "cuda") {
        return Err(DeviceError::NotBuilt("cuda"));
    }
    Device::new_cuda(index).map_err(|error| failed(format!("cuda:{index}"), &error))
}

fn metal() -> Result<Device, DeviceError> {
    if !cfg!(feature = "metal") {
        return Err(DeviceError::NotBuilt("metal"));
    }
    Device::new_metal(0).map_err(|error| failed("metal".to_owned(), &error))
}

fn failed(name: String, error: &candle_core::Error) -> DeviceError {
    let reason = error.to_string().lines().next().unwrap_or_default().to_owned();
    DeviceError::Failed { name, reason }
}

/// The device in words, such as `cpu, 2 threads`.
pub fn describe(device: &Device, threads: usize) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu if threads == 1 => "cpu, 1 thread".to_owned(),
        candle_core::DeviceLocation::Cpu => format!("cpu, {threads} threads"),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { .. } => "metal".to_owned(),
    }
}
