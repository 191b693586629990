//! A poster of which the surfaces turn once around, as an animated GIF.

use std::io::{Error, ErrorKind, Result, Write};

use gif::{Encoder, Frame, Repeat};

use super::raster::pixels;
use super::{Poster, View};

/// Pictures of one turn.
pub const PICTURES: usize = 48;
/// Hundredths of a second that each stands.
const DELAY: u16 = 8;
/// How carefully the 256 colours of a picture are chosen, from 1, the most, to 30.
const SPEED: i32 = 10;

/// Writes the film, so many pixels wide, of surfaces seen from `tilt` degrees above the horizon. Before each picture
/// `go_on` is told how many there are already; if it says no, the film ends with an error of kind `Interrupted`.
pub fn write(
    file: impl Write,
    poster: &Poster,
    tilt: f64,
    width: u16,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<()> {
    let mut frames = (0..PICTURES).map(|drawn| {
        if !go_on(drawn) {
            return Err(ErrorKind::Interrupted.into());
        }
        let turn = 360.0 * drawn as f64 / PICTURES as f64;
        frame(&Poster { view: View::Surface { turn, tilt }, ..poster.clone() }, width)
    });
    let Some(first) = frames.next().transpose()? else { return Ok(()) };
    let mut encoder = Encoder::new(file, width, first.height, &[]).map_err(Error::other)?;
    encoder.set_repeat(Repeat::Infinite).map_err(Error::other)?;
    encoder.write_frame(&first).map_err(Error::other)?;
    for frame in frames {
        encoder.write_frame(&frame?).map_err(Error::other)?;
    }
    encoder.into_inner().map_err(Error::other)?.flush()
}

fn frame(poster: &Poster, width: u16) -> Result<Frame<'static>> {
    let picture = pixels(&poster.svg(), width.into()).map_err(Error::other)?;
    let height = u16::try_from(picture.height()).map_err(Error::other)?;
    // The sheet is opaque: its colours are the same with and without their opacity multiplied in.
    let frame = Frame::from_rgba_speed(width, height, &mut picture.take(), SPEED);
    Ok(Frame { delay: DELAY, ..frame })
}
