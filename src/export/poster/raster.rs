//! A poster in pixels.

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum RasterError {
    /// Nothing here draws SVG.
    #[error(
        "this build draws no .png: write a .svg, which browsers, Inkscape and rsvg-convert turn into one"
    )]
    Missing,
}

/// A document of SVG as PNG, so many pixels wide.
pub fn rasterise(_svg: &str, _width: u32) -> Result<Vec<u8>, RasterError> {
    Err(RasterError::Missing)
}
