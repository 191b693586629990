//! A slice as a picture: one coloured square a sample, nothing interpolated.

use crate::protocol::Slice;

/// Stops of the colour map viridis (Smith and van der Walt, 2015, in the public domain), from the least loss to
/// the greatest.
const STOPS: [[u8; 3]; 9] = [
    [68, 1, 84],
    [71, 44, 122],
    [59, 81, 139],
    [44, 113, 142],
    [33, 144, 141],
    [39, 173, 129],
    [92, 200, 99],
    [170, 220, 50],
    [253, 231, 37],
];
/// What is not finite.
const BAD: [u8; 3] = [128, 128, 128];
/// Pixels of the picture's width at least.
const WIDTH: usize = 264;

/// The share of losses that the colours of a shared scale must be able to tell apart.
const ROBUST: f64 = 0.98;
/// The top of a shared scale is the greatest loss, unless that stretches the robust range by more than this factor.
const STRETCH: f32 = 2.0;

/// Which colour a loss has.
#[derive(Debug, Clone)]
pub struct Scale {
    /// The loss of the first stop.
    least: f32,
    /// The loss of the last one.
    most: f32,
    stops: Vec<[u8; 3]>,
}

impl Scale {
    /// The scale of one slice alone.
    fn of(slice: &Slice) -> Self {
        let finite = || slice.loss.iter().copied().filter(|loss| loss.is_finite());
        let (least, most) =
            (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
        Self { least, most, stops: STOPS.to_vec() }
    }

    /// One scale for all of these slices, in a colour map of these stops, from the least loss to the greatest. A few
    /// losses far above all others do not take the colours from the rest: they have the last one.
    pub fn shared(slices: &[Slice], stops: Vec<[u8; 3]>) -> Self {
        let losses = slices.iter().flat_map(|slice| slice.loss.iter().copied());
        let mut finite: Vec<f32> = losses.filter(|loss| loss.is_finite()).collect();
        finite.sort_unstable_by(f32::total_cmp);
        let (least, highest) = match finite[..] {
            [least, .., highest] => (least, highest),
            _ => (0.0, 0.0),
        };
        let robust = finite.get((finite.len().saturating_sub(1) as f64 * ROBUST) as usize);
        let robust = robust.copied().unwrap_or(highest);
        let stretched = robust > least && highest - least > STRETCH * (robust - least);
        Self { least, most: if stretched { robust } else { highest }, stops }
    }

    /// Where a loss lies, from 0 to 1; `None` where it is not finite.
    fn share(&self, loss: f32) -> Option<f32> {
        let Self { least, most, .. } = *self;
        let share = if most > least { (loss - least) / (most - least) } else { 0.0 };
        loss.is_finite().then_some(share.clamp(0.0, 1.0))
    }

    /// The colour of a share, between two stops.
    fn mixed(&self, share: f32) -> [u8; 3] {
        let place = share * self.stops.len().saturating_sub(1) as f32;
        let stop = (place as usize).min(self.stops.len().saturating_sub(2));
        let from = self.stops.get(stop).copied().unwrap_or(BAD);
        let to = self.stops.get(stop + 1).copied().unwrap_or(from);
        std::array::from_fn(|channel| {
            let (from, to) = (f32::from(from[channel]), f32::from(to[channel]));
            (from + (place - stop as f32) * (to - from)).round() as u8
        })
    }

    fn color(&self, loss: f32) -> [u8; 3] {
        self.share(loss).map_or(BAD, |share| self.mixed(share))
    }

    /// A table of 256 colours: the last one is that of what is not finite.
    pub(super) fn table(&self) -> Vec<u8> {
        let greatest = u8::MAX - 1;
        let finite = (0..=greatest).map(|entry| self.mixed(f32::from(entry) / f32::from(greatest)));
        finite.chain([BAD]).flatten().collect()
    }

    /// The number of a loss's colour in that table.
    pub(super) fn entry(&self, loss: f32) -> u8 {
        let greatest = f32::from(u8::MAX - 1);
        self.share(loss).map_or(u8::MAX, |share| (share * greatest).round() as u8)
    }
}

/// A picture as PNG, with its height and width: betas upwards, alphas to the right, dark where the loss is least.
pub fn png(slice: &Slice) -> Result<((u32, u32), Vec<u8>), png::EncodingError> {
    let (columns, rows) = (slice.alphas.len(), slice.betas.len());
    let side = WIDTH.div_ceil(columns.max(1));
    let (height, width) = (rows * side, columns * side);
    let file = encoded(slice, width, height, &Scale::of(slice))?;
    Ok(((height as u32, width as u32), file))
}

/// A square picture as PNG, with so many pixels a side, in the colours of a scale that others may share.
pub fn square(slice: &Slice, side: u16, scale: &Scale) -> Result<Vec<u8>, png::EncodingError> {
    encoded(slice, side.into(), side.into(), scale)
}

fn encoded(slice: &Slice, width: usize, height: usize, scale: &Scale) -> Result<Vec<u8>, png::EncodingError> {
    let pixels: Vec<u8> = raster(slice, width, height).flat_map(|loss| scale.color(loss)).collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}

/// The loss at each pixel of a picture, row by row from the top, of a slice with as many losses as points.
pub(super) fn raster(slice: &Slice, width: usize, height: usize) -> impl Iterator<Item = f32> {
    let (columns, rows) = (slice.alphas.len(), slice.betas.len());
    (0..height).flat_map(move |y| {
        let row = rows - 1 - y * rows / height;
        (0..width).map(move |x| slice.loss[row * columns + x * columns / width])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchInfo, PlaneInfo};

    /// A slice with two rows of these losses.
    fn slice(loss: &[f32]) -> Slice {
        let columns = loss.len() / 2;
        Slice {
            step: 1,
            generation: 1,
            alphas: (0..columns).map(|column| column as f64).collect(),
            betas: vec![-1.0, 1.0],
            loss: loss.to_vec(),
            center: 2.0,
            finest: true,
            plane: PlaneInfo::default(),
            batch: BatchInfo { tokens: 1, sha256: String::new(), source: String::new() },
            seconds: 0.0,
            method: String::new(),
            sharpness: None,
        }
    }

    #[test]
    fn the_least_loss_is_dark_the_greatest_bright_and_beta_points_up() {
        let slice = slice(&[1.0, f32::NAN, 2.0, 3.0]);
        let ((height, width), file) = png(&slice).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let pixel = |x: u32, y: u32| {
            let at = 3 * (y * width + x) as usize;
            [pixels[at], pixels[at + 1], pixels[at + 2]]
        };
        assert_eq!(pixel(0, height - 1), STOPS[0]);
        assert_eq!(pixel(width - 1, height - 1), BAD);
        assert_eq!(pixel(0, 0), STOPS[4]);
        assert_eq!(pixel(width - 1, 0), STOPS[8]);
    }

    #[test]
    fn a_shared_scale_is_that_of_all_slices_but_for_a_spike() {
        let map = vec![[0, 0, 0], [200, 100, 50]];
        let slices = [slice(&[1.0, 2.0]), slice(&[4.0, 5.0])];
        let scale = Scale::shared(&slices, map.clone());
        assert_eq!([1.0, 3.0, 5.0].map(|loss| scale.color(loss)), [[0, 0, 0], [100, 50, 25], [200, 100, 50]]);

        let mut losses: Vec<f32> = (0..100).map(|i| i as f32).collect();
        losses[99] = 1e6;
        let scale = Scale::shared(&[slice(&losses)], map.clone());
        assert_eq!([97.0, 1e6].map(|loss| scale.entry(loss)), [254, 254]);
        assert_eq!([48.5, f32::NAN].map(|loss| scale.entry(loss)), [127, 255]);
        assert_eq!(scale.table().len(), 3 * 256);
        assert_eq!(Scale::shared(&[], map).color(1.0), [0, 0, 0]);
        assert!(square(&slices[1], 30, &scale).unwrap().starts_with(b"\x89PNG"));
    }
}
