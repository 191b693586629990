//! The engine's side of the socket: a thread that greets screens, sends them what changed on the board and
//! passes on what they ask for. It also takes the signals that end the engine.

use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;

use super::board::{Board, Cursor};
use super::input::Input;
use super::wire::{self, MAX_ASK, WireError};
use crate::protocol::{Outcome, ToEngine, ToScreen, Update, VERSION};

/// Updates go out at most this often: 30 a second.
const INTERVAL: Duration = Duration::from_millis(33);
/// How long a screen may take for the last frame.
const FAREWELL: Duration = Duration::from_secs(2);
/// Connections at once. Others wait until one ends.
const MOST: usize = 128;
/// How long a connection may take to say what it is.
const GREETING: Duration = Duration::from_secs(5);
/// Commands of a screen that may wait for the engine; beyond that the screen waits.
const WAITING: usize = 64;

/// What the threads of an engine share.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What screens see.
    pub board: Arc<Board>,
    /// What the engine obeys.
    pub inputs: Sender<Input>,
    /// Screens that are connected.
    pub viewers: Arc<AtomicU32>,
}

/// The running server. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    /// Binds `socket` with mode 0600 and serves until the board is closed.
    pub fn start(socket: &Path, shared: Shared) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // A socket of an engine that crashed is in the way; the run's lock says that this one is not in use.
        if socket.exists() {
            std::fs::remove_file(socket)?;
        }
        // The signals are caught before anybody can know of the engine.
        let (listener, signals) = {
            let _guard = runtime.enter();
            (UnixListener::bind(socket)?, Signals::catch()?)
        };
        std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
        let thread = thread::Builder::new()
            .name("server".to_owned())
            .spawn(move || runtime.block_on(serve(listener, signals, shared)))?;
        Ok(Self { socket: socket.to_owned(), thread: Some(thread) })
    }

    /// Waits until every screen has had its last frame. The board must be closed.
    pub fn finish(mut self) {
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the server panicked");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.socket) {
            log::debug!("{}: {error}", self.socket.display());
        }
    }
}

async fn serve(listener: UnixListener, signals: Signals, shared: Shared) {
    let own = rustix::process::geteuid().as_raw();
    let mut screens = tokio::task::JoinSet::new();
    let mut changed = shared.board.subscribe();
    // The run may have ended before this thread began.
    changed.mark_changed();
    tokio::spawn(obey_signals(signals, shared.inputs.clone()));
    loop {
        tokio::select! {
            accepted = listener.accept(), if screens.len() < MOST => match accepted {
                Ok((stream, _)) => match admit(stream.peer_cred().map(|peer| peer.uid()), own) {
                    Ok(()) => {
                        screens.spawn(screen(stream, shared.clone()));
                    }
                    Err(reason) => log::warn!("a connection was dropped: {reason}"),
                },
                Err(error) => {
                    // Out of files, most likely: the next one may find room.
                    log::warn!("a screen could not connect: {error}");
                    tokio::time::sleep(INTERVAL).await;
                }
            },
            Some(_) = screens.join_next() => {}
            _ = changed.changed() => {
                if shared.board.is_closed() {
                    break;
                }
            }
        }
    }
    let last_frames = async { while screens.join_next().await.is_some() {} };
    if tokio::time::timeout(FAREWELL, last_frames).await.is_err() {
        log::warn!("a screen did not take its last frame");
    }
}

/// Whether the user `peer` may watch and command an engine of the user `own`. The socket's mode keeps others out
/// already where the system heeds it.
fn admit(peer: std::io::Result<u32>, own: u32) -> Result<(), String> {
    match peer {
        Ok(peer) if peer == own => Ok(()),
        Ok(peer) => Err(format!("it is of user {peer}, the engine of user {own}")),
        Err(error) => Err(format!("the system does not say whose it is: {error}")),
    }
}

/// The signals that end an engine.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// None where whoever has started it wants it to outlive its terminal.
    hang_up: Option<Signal>,
}

impl Signals {
    /// Needs a tokio runtime around it.
    fn catch() -> std::io::Result<Self> {
        // A file that may not grow is a disk that is full: caught once, the signal leaves it at the error.
        drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
        let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
        let hang_up = if ignores_hang_up() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { terminate: terminate?, interrupt: interrupt?, hang_up })
    }

    /// Returns whether it is one that a person sends again where the end takes too long.
    async fn wait(&mut self) -> bool {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.terminate.recv() => true,
            _ = self.interrupt.recv() => true,
            _ = hang_up => false,
        }
    }
}

/// Whether a hang-up is ignored, as `nohup` has it. Caught, it would end the engine after all.
fn ignores_hang_up() -> bool {
    match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => is_ignored(&status, SignalKind::hangup().as_raw_value()),
        // Where the system doesn't tell: nohup leads stderr away from the terminal.
        Err(_) => !std::io::stderr().is_terminal(),
    }
}

/// Whether a process with this `/proc/PID/status` ignores a signal.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The first signal has the engine save and end, after the step in hand; the second ends the process at once. A hang-up
/// never does: where a session ends it comes along with the others.
async fn obey_signals(mut signals: Signals, inputs: Sender<Input>) {
    let (mut ends, mut is_told) = (false, false);
    loop {
        let tells = signals.wait().await;
        if tells && is_told {
            log::error!("told to end at once: what is not saved is lost");
            std::process::exit(1);
        }
        is_told |= tells;
        if !ends {
            ends = true;
            log::info!("told to end: after this step and a checkpoint; told again, at once");
            // The engine is gone already where nobody listens.
            let _ = inputs.send(Input::Stop);
        }
    }
}

/// Counts a screen for as long as it lives.
struct Presence(Shared);

impl Presence {
    fn new(shared: Shared) -> Self {
        shared.viewers.fetch_add(1, Ordering::Relaxed);
        let _ = shared.inputs.send(Input::ViewersChanged);
        Self(shared)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.0.viewers.fetch_sub(1, Ordering::Relaxed);
        let _ = self.0.inputs.send(Input::ViewersChanged);
    }
}

async fn screen<S: AsyncRead + AsyncWrite>(stream: S, shared: Shared) {
    let (mut from, mut to) = tokio::io::split(stream);
    let read_only = match tokio::time::timeout(GREETING, wire::read_within(&mut from, MAX_ASK)).await {
        Ok(Ok(ToEngine::Hello { version: VERSION, read_only })) => read_only,
        Ok(Ok(ToEngine::Hello { version, .. })) => {
            let reason = format!(
                "this engine speaks version {VERSION} of the protocol, the screen version {version}: \
                 use the same build of llamascape for both"
            );
            log::warn!("{reason}");
            let _ = wire::write(&mut to, &ToScreen::Refused { reason }).await;
            return;
        }
        // Somebody has asked whether anybody listens.
        Ok(Err(WireError::Io(error))) if error.kind() == std::io::ErrorKind::UnexpectedEof => return,
        Ok(Ok(ToEngine::Command(_)) | Err(_)) | Err(_) => {
            log::warn!("a connection that is no screen of llamascape was dropped");
            return;
        }
    };
    let presence = Presence::new(shared.clone());
    // Whichever side ends first ends the connection.
    tokio::select! {
        () = send_updates(&mut to, &shared.board) => {}
        error = receive_commands(&mut from, &presence.0, read_only) => {
            if !matches!(&error, WireError::Io(_)) {
                log::warn!("a screen was dropped: {error}");
            }
        }
    }
}

/// Sends what changed, coalesced to the pace of the screen, and at last how the run ended.
async fn send_updates(to: &mut (impl AsyncWrite + Unpin), board: &Board) {
    if wire::write(to, &ToScreen::Welcome { version: VERSION }).await.is_err() {
        return;
    }
    let (mut cursor, mut changed) = (Cursor::default(), board.subscribe());
    loop {
        changed.mark_unchanged();
        let (update, outcome) = board.since(&mut cursor);
        if update != Update::default() && wire::write(to, &ToScreen::Update(Box::new(update))).await.is_err()
        {
            return;
        }
        if let Some(outcome) = outcome {
            if let Outcome::Failed { error } = &outcome {
                log::debug!("telling a screen: {error}");
            }
            let _ = wire::write(to, &ToScreen::Closed(outcome)).await;
            return;
        }
        tokio::time::sleep(INTERVAL).await;
        if changed.changed().await.is_err() {
            return;
        }
    }
}

async fn receive_commands(
    from: &mut (impl AsyncRead + Unpin),
    shared: &Shared,
    read_only: bool,
) -> WireError {
    let turns = Arc::new(Semaphore::new(WAITING));
    loop {
        match wire::read_within(from, MAX_ASK).await {
            Ok(ToEngine::Command(command)) if !read_only => {
                // None where there are no turns any more, which nobody brings about.
                let turn = Arc::clone(&turns).acquire_owned().await.ok();
                let _ = shared.inputs.send(Input::Command(command, turn));
            }
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Command;

    #[test]
    fn a_connection_is_admitted_for_the_engines_own_user_alone() {
        assert_eq!(admit(Ok(1000), 1000), Ok(()));
        let refused = admit(Ok(1001), 1000).unwrap_err();
        assert!(refused.contains("1001") && refused.contains("1000"), "{refused}");
        assert!(admit(Ok(0), 1000).is_err(), "nor for root");
        assert!(admit(Err(std::io::Error::other("no")), 1000).is_err());
    }

    #[test]
    fn a_signal_is_ignored_whose_bit_is_set() {
        let status = "Name:\tllamascape\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert!(is_ignored(status, 1) && is_ignored(status, 13));
        assert!(!is_ignored(status, 2) && !is_ignored(status, 15) && !is_ignored("", 1));
    }

    #[test]
    fn a_screen_that_asks_faster_than_the_engine_obeys_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut asked = Vec::new();
            for _ in 0..3 * WAITING {
                wire::write(&mut asked, &ToEngine::Command(Command::Pause)).await.unwrap();
            }
            let (inputs, inbox) = std::sync::mpsc::channel();
            let shared = Shared { board: Arc::default(), inputs, viewers: Arc::default() };
            let mut from = asked.as_slice();
            let mut receiving = std::pin::pin!(receive_commands(&mut from, &shared, false));
            for _ in 0..2 {
                tokio::select! {
                    biased;
                    error = &mut receiving => panic!("{error}"),
                    () = tokio::task::yield_now() => {}
                }
                // The engine obeys them all, and the screen goes on.
                assert_eq!(inbox.try_iter().count(), WAITING);
            }
        });
    }
}
