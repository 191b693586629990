//! Frames: a length of four bytes, little-endian, then a value as a `MessagePack` map with named fields.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::journal::brief;

/// The longest frame, in bytes. A slice of 65 by 65 points takes some 20 KB, a full history 0.5 MB.
pub const MAX_FRAME: usize = 16 << 20;
/// The longest frame that a screen sends, in bytes. A prompt of 4096 characters takes 16 KB at most.
pub const MAX_ASK: usize = 1 << 16;
/// Values inside one another at most. Ours are some ten deep, and what is deeper could take the stack.
const DEEPEST: usize = 64;

/// Why a connection can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side closed it, or the system did.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The other side announced more than a frame may hold.
    #[error("a frame of {bytes} bytes is longer than the {most} allowed")]
    TooLong {
        /// What was announced, in bytes.
        bytes: usize,
        /// What is allowed.
        most: usize,
    },
    /// A value that can't be written.
    #[error("a frame can't be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Bytes that are not the value expected.
    #[error("a frame can't be read: {}", brief(&.0.to_string()))]
    Decode(#[from] rmp_serde::decode::Error),
}

/// Writes one value as a frame.
pub async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), value: &T) -> Result<(), WireError> {
    let body = rmp_serde::to_vec_named(value)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_FRAME);
    let length = length.ok_or(WireError::TooLong { bytes: body.len(), most: MAX_FRAME })?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    to.write_all(&frame).await?;
    to.flush().await?;
    Ok(())
}

/// Reads one frame of at most [`MAX_FRAME`] bytes.
pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> Result<T, WireError> {
    read_within(from, MAX_FRAME).await
}

/// Reads one frame of at most `most` bytes.
pub async fn read_within<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    most: usize,
) -> Result<T, WireError> {
    let bytes = from.read_u32_le().await? as usize;
    if bytes > most {
        return Err(WireError::TooLong { bytes, most });
    }
    let mut body = vec![0; bytes];
    from.read_exact(&mut body).await?;
    let mut decoder = rmp_serde::Deserializer::from_read_ref(&body);
    decoder.set_max_depth(DEEPEST);
    Ok(T::deserialize(&mut decoder)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Command, Point, ToEngine, ToScreen, Update};

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn a_frame_comes_out_as_it_went_in_with_infinities() {
        let point = Point {
            step: 3,
            loss: f64::INFINITY,
            held_out: None,
            grad_norm: 0.5,
            learning_rate: 1e-3,
            spike: false,
        };
        let sent = ToScreen::Update(Box::new(Update { points: vec![point], ..Update::default() }));
        let received: ToScreen = block_on(async {
            let mut pipe = Vec::new();
            write(&mut pipe, &sent).await.unwrap();
            read(&mut pipe.as_slice()).await.unwrap()
        });
        assert_eq!(sent, received);
    }

    #[test]
    fn a_frame_that_announces_too_much_is_refused_before_anything_is_allocated() {
        let bytes = u32::MAX.to_le_bytes();
        let error = block_on(read::<ToEngine>(&mut bytes.as_slice())).unwrap_err();
        assert!(matches!(error, WireError::TooLong { .. }), "{error}");
    }

    #[test]
    fn values_deep_inside_one_another_are_an_error() {
        let deep = |depth: usize| {
            let mut body = b"\x81\xa5Hello\x83\xa7version\x05\xa9read_only\xc2\xa4junk".to_vec();
            body.extend([0x91].repeat(depth));
            body.push(0xc0);
            let frame = [&(body.len() as u32).to_le_bytes(), &*body].concat();
            block_on(read_within::<ToEngine>(&mut frame.as_slice(), MAX_ASK))
        };
        assert_eq!(deep(3).unwrap(), ToEngine::Hello { version: 5, read_only: false });
        assert!(matches!(deep(100), Err(WireError::Decode(_))));
        assert!(matches!(deep(60_000), Err(WireError::Decode(_))));
    }

    #[test]
    fn garbage_and_a_cut_frame_are_errors() {
        let mut whole = Vec::new();
        block_on(write(&mut whole, &ToEngine::Command(Command::Step(10)))).unwrap();
        for cut in 0..whole.len() {
            assert!(block_on(read::<ToEngine>(&mut &whole[..cut])).is_err(), "cut at {cut}");
        }
        let mut garbage = 4_u32.to_le_bytes().to_vec();
        garbage.extend([0xc1; 4]);
        assert!(matches!(block_on(read::<ToEngine>(&mut garbage.as_slice())), Err(WireError::Decode(_))));
    }
}
