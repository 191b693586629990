//! A poster in pixels.

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use crate::model::memory::{available, size};

/// The font that stands for any sans-serif: the one that is compiled in.
const FAMILY: &str = "DejaVu Sans";

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum RasterError {
    /// The document is none.
    #[error("the poster can't be read back: {0}")]
    Svg(#[from] resvg::usvg::Error),
    /// A sheet of so many pixels is none, or takes too much memory.
    #[error("{width} x {height} pixels would take {}, {} can be had: give a smaller --dpi", size(*.needed), size(*.available))]
    Memory {
        /// Pixels from the left to the right.
        width: u32,
        /// Pixels from the top to the bottom.
        height: u32,
        /// Bytes that they take.
        needed: u64,
        /// Bytes that there are.
        available: u64,
    },
    /// The pixels can't be written as PNG.
    #[error("the picture can't be encoded: {0}")]
    Png(String),
}

/// A document of SVG as PNG, so many pixels wide.
pub fn rasterise(svg: &str, width: u32) -> Result<Vec<u8>, RasterError> {
    pixels(svg, width)?.encode_png().map_err(|error| RasterError::Png(error.to_string()))
}

/// The pixels of a document of SVG, so many from the left to the right.
pub(super) fn pixels(svg: &str, width: u32) -> Result<Pixmap, RasterError> {
    let mut options = Options::default();
    let fonts = options.fontdb_mut();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.load_font_data(dejavu::sans::bold().to_vec());
    fonts.set_sans_serif_family(FAMILY);
    let tree = Tree::from_str(svg, &options)?;
    let scale = f64::from(width) / f64::from(tree.size().width());
    let height = (f64::from(tree.size().height()) * scale).round() as u32;
    // Four bytes a pixel, and as many again while it is encoded.
    let (needed, available) = (8 * u64::from(width) * u64::from(height), available());
    let memory = RasterError::Memory { width, height, needed, available };
    if needed > available {
        return Err(memory);
    }
    let Some(mut pixels) = Pixmap::new(width, height) else { return Err(memory) };
    let scale = Transform::from_scale(scale as f32, scale as f32);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    Ok(pixels)
}
