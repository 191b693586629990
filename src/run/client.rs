//! The screen's side of the socket.

use std::path::Path;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::wire::{self, WireError};
use crate::protocol::{Command, ToEngine, ToScreen, VERSION};

/// Frames that may wait for the screen; beyond that the engine coalesces.
const WAITING: usize = 8;

/// An open connection to an engine. The tasks behind it end with it.
#[derive(Debug)]
pub struct Link {
    /// What the engine says; the last item says why there are no more.
    pub frames: mpsc::Receiver<Result<ToScreen, WireError>>,
    /// What the person asks for. Typing is never blocked by the engine.
    pub commands: mpsc::UnboundedSender<Command>,
}

/// Connects to the engine that listens at `socket`. Needs a running tokio runtime.
pub async fn connect(socket: &Path, read_only: bool) -> Result<Link, WireError> {
    Ok(link(UnixStream::connect(socket).await?, read_only))
}

/// Speaks the protocol over any stream: a socket, or a pipe in memory.
pub fn link<S>(stream: S, read_only: bool) -> Link
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut from, mut to) = tokio::io::split(stream);
    let (frames, inbox) = mpsc::channel(WAITING);
    let (commands, mut outbox) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let hello = ToEngine::Hello { version: VERSION, read_only };
        let mut result = wire::write(&mut to, &hello).await;
        while result.is_ok()
            && let Some(command) = outbox.recv().await
        {
            result = wire::write(&mut to, &ToEngine::Command(command)).await;
        }
    });
    tokio::spawn(async move {
        loop {
            let frame = wire::read(&mut from).await;
            let ended = frame.is_err();
            if frames.send(frame).await.is_err() || ended {
                return;
            }
        }
    });
    Link { frames: inbox, commands }
}
