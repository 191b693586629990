//! A model as a person has named it.

use candle_core::Device;

use crate::model::checkpoint::{Checkpoint, Error, Loading, Place};

/// Where a model lies, and what to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// A folder, a file, or on the Hub.
    pub place: Place,
    /// Its name where its own would not do.
    pub name: Option<String>,
}

impl Source {
    /// Opens the model; what the Hub has is fetched first, unless the cache holds it.
    pub fn open(&self, device: &Device, progress: &mut dyn FnMut(Loading)) -> Result<Checkpoint, Error> {
        let mut checkpoint = Checkpoint::open_at(&self.place, device, progress)?;
        if let Some(name) = &self.name {
            // A run is called `folder@step` by its checkpoint, and its folder's name begins with the time.
            checkpoint.name = match checkpoint.name.rsplit_once('@') {
                Some((_, step)) => format!("{name}@{step}"),
                None => name.clone(),
            };
        }
        Ok(checkpoint)
    }
}
