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

/// A picture as PNG, with its height and width: betas upwards, alphas to the right, dark where the loss is least.
pub fn png(slice: &Slice) -> Result<((u32, u32), Vec<u8>), png::EncodingError> {
    let (columns, rows) = (slice.alphas.len(), slice.betas.len());
    let side = WIDTH.div_ceil(columns.max(1));
    let size = ((rows * side) as u32, (columns * side) as u32);
    let finite = || slice.loss.iter().copied().filter(|loss| loss.is_finite());
    let (least, most) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let pixels = (0..rows * side).flat_map(|y| (0..columns * side).map(move |x| (y, x)));
    let pixels = pixels.flat_map(|(y, x)| {
        let loss = slice.loss[(rows - 1 - y / side) * columns + x / side];
        color(loss, least, most)
    });
    let pixels: Vec<u8> = pixels.collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, size.1, size.0);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok((size, file))
}

fn color(loss: f32, least: f32, most: f32) -> [u8; 3] {
    if !loss.is_finite() {
        return BAD;
    }
    let share = if most > least { (loss - least) / (most - least) } else { 0.0 };
    let place = share * (STOPS.len() - 1) as f32;
    let stop = (place as usize).min(STOPS.len() - 2);
    let (from, to) = (STOPS[stop], STOPS[stop + 1]);
    let mix = |channel: usize| {
        let (from, to) = (f32::from(from[channel]), f32::from(to[channel]));
        (from + (place - stop as f32) * (to - from)).round() as u8
    };
    [mix(0), mix(1), mix(2)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{BatchInfo, PlaneInfo};

    #[test]
    fn the_least_loss_is_dark_the_greatest_bright_and_beta_points_up() {
        let slice = Slice {
            step: 1,
            generation: 1,
            alphas: vec![-1.0, 1.0],
            betas: vec![-1.0, 1.0],
            loss: vec![1.0, f32::NAN, 2.0, 3.0],
            center: 2.0,
            finest: true,
            plane: PlaneInfo::default(),
            batch: BatchInfo { tokens: 1, sha256: String::new(), source: String::new() },
            seconds: 0.0,
            sharpness: None,
        };
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
}
