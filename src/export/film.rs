//! The slices of a run as an animated GIF.

use std::io::{Error, Result, Write};

use gif::{Encoder, Frame, Repeat};

use super::picture::{Scale, raster};
use crate::protocol::Slice;

/// A film that is being written.
pub struct Film<'a, W: Write> {
    encoder: Encoder<W>,
    scale: &'a Scale,
    /// Pixels of its height and width.
    side: u16,
    /// Hundredths of a second between two frames.
    delay: u16,
}

impl<'a, W: Write> Film<'a, W> {
    /// Begins a square film that starts again at its end, with so many pixels a side and frames a second.
    pub fn begin(file: W, side: u16, frames_a_second: u16, scale: &'a Scale) -> Result<Self> {
        let mut encoder = Encoder::new(file, side, side, &scale.table()).map_err(Error::other)?;
        encoder.set_repeat(Repeat::Infinite).map_err(Error::other)?;
        let delay = (100.0 / f32::from(frames_a_second)).round() as u16;
        Ok(Self { encoder, scale, side, delay })
    }

    /// Adds a slice, whatever its grid.
    pub fn show(&mut self, slice: &Slice) -> Result<()> {
        let side = usize::from(self.side);
        let pixels: Vec<u8> = raster(slice, side, side).map(|loss| self.scale.entry(loss)).collect();
        let frame = Frame {
            width: self.side,
            height: self.side,
            delay: self.delay,
            buffer: pixels.into(),
            ..Frame::default()
        };
        self.encoder.write_frame(&frame).map_err(Error::other)
    }

    /// Writes the end.
    pub fn end(self) -> Result<()> {
        self.encoder.into_inner().map_err(Error::other)?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchInfo, PlaneInfo};

    #[test]
    fn slices_of_any_grid_are_frames_of_one_size_and_one_scale() {
        let slice = |side: usize, loss: f32| Slice {
            step: 1,
            generation: 1,
            alphas: (0..side).map(|i| i as f64).collect(),
            betas: (0..side).map(|i| i as f64).collect(),
            loss: vec![loss; side * side],
            center: f64::from(loss),
            finest: true,
            plane: PlaneInfo::default(),
            batch: BatchInfo { tokens: 1, sha256: String::new(), source: String::new() },
            seconds: 0.0,
            method: String::new(),
            sharpness: None,
        };
        let slices = [slice(3, 5.0), slice(5, 3.0), slice(2, f32::NAN)];
        let scale = Scale::shared(&slices, vec![[0, 0, 0], [250, 200, 100]]);
        let mut file = Vec::new();
        let mut film = Film::begin(&mut file, 16, 20, &scale).unwrap();
        for slice in &slices {
            film.show(slice).unwrap();
        }
        film.end().unwrap();

        assert!(file.starts_with(b"GIF89a"));
        let mut decoder = gif::DecodeOptions::new().read_info(&file[..]).unwrap();
        let table = decoder.global_palette().unwrap().to_vec();
        let mut colors = Vec::new();
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert_eq!((frame.width, frame.height, frame.delay), (16, 16, 5));
            assert!(frame.buffer.iter().all(|entry| *entry == frame.buffer[0]));
            let at = 3 * usize::from(frame.buffer[0]);
            colors.push([table[at], table[at + 1], table[at + 2]]);
        }
        assert_eq!(colors, [[250, 200, 100], [0, 0, 0], [128, 128, 128]]);
    }
}
