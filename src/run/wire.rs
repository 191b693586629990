//! Frames: a length of four bytes, little-endian, then a value as a `MessagePack` map with named fields.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest frame, in bytes. A slice of 65 by 65 points takes some 20 KB, a full history 0.5 MB.
pub const MAX_FRAME: usize = 16 << 20;

/// Why a connection can't go on.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The other side closed it, or the system did.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The other side announced more than a frame may hold.
    #[error("a frame of {0} bytes is longer than the {MAX_FRAME} allowed")]
    TooLong(usize),
    /// A value that can't be written.
    #[error("a frame can't be written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Bytes that are not the value expected.
    #[error("a frame can't be read: {0}")]
    Decode(#[from] rmp_serde::decode::Error),
}

/// Writes one value as a frame.
pub async fn write<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), value: &T) -> Result<(), WireError> {
    let body = rmp_serde::to_vec_named(value)?;
    let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_FRAME);
    let length = length.ok_or(WireError::TooLong(body.len()))?;
    let mut frame = length.to_le_bytes().to_vec();
    frame.extend(body);
    to.write_all(&frame).await?;
    to.flush().await?;
    Ok(())
}

/// Reads one frame.
pub async fn read<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> Result<T, WireError> {
    let length = from.read_u32_le().await? as usize;
    if length > MAX_FRAME {
        return Err(WireError::TooLong(length));
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).await?;
    Ok(rmp_serde::from_slice(&body)?)
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
        assert!(matches!(error, WireError::TooLong(_)), "{error}");
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
