//! A slow link between a program and its terminal: what is sent arrives later, and no faster than the link carries it.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What ends a picture: that of a synchronized update.
const PICTURE_END: &[u8] = b"\x1b[?2026l";

/// A link, and what has gone over it towards the terminal.
#[derive(Clone)]
pub(crate) struct Link {
    /// Bytes a second towards the terminal.
    pub(crate) rate: f64,
    /// How late everything arrives, in either direction.
    pub(crate) delay: Duration,
    /// Bytes that wait before it, as in the buffers of a socket, until the program itself has to wait.
    pub(crate) room: usize,
    pub(crate) traffic: Arc<Mutex<Traffic>>,
}

/// Bytes towards the terminal.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) bytes: usize,
    /// The most that have waited at once.
    pub(crate) most_waiting: usize,
    /// The size of every picture.
    pub(crate) pictures: Vec<usize>,
    /// Those of the picture that is not whole yet.
    unfinished: Vec<u8>,
}

impl Traffic {
    fn note(&mut self, bytes: &[u8], waiting: usize) {
        self.bytes += bytes.len();
        self.most_waiting = self.most_waiting.max(waiting);
        self.unfinished.extend_from_slice(bytes);
        let ends = |window: &[u8]| window == PICTURE_END;
        while let Some(at) = self.unfinished.windows(PICTURE_END.len()).position(ends) {
            let picture = self.unfinished.drain(..at + PICTURE_END.len());
            self.pictures.push(picture.len());
        }
    }
}

impl Link {
    /// Carries what `output` gives to `arrive`, until that says that it is enough; at the end come no bytes.
    pub(super) fn carry(
        self,
        mut output: impl Read + Send + 'static,
        mut arrive: impl FnMut(&[u8]) -> bool + Send + 'static,
    ) -> thread::JoinHandle<()> {
        let (sender, arrivals) = mpsc::channel::<(Instant, Vec<u8>)>();
        thread::spawn(move || {
            let mut bytes = [0; 1024];
            // When all that waits is sent.
            let mut free = Instant::now();
            loop {
                let room = Duration::from_secs_f64(self.room as f64 / self.rate);
                thread::sleep(free.saturating_duration_since(Instant::now()).saturating_sub(room));
                let count = output.read(&mut bytes).unwrap_or(0);
                let now = Instant::now();
                free = free.max(now) + Duration::from_secs_f64(count as f64 / self.rate);
                let waiting = (free - now).as_secs_f64() * self.rate;
                self.traffic.lock().unwrap().note(&bytes[..count], waiting as usize);
                if sender.send((free + self.delay, bytes[..count].to_vec())).is_err() || count == 0 {
                    return;
                }
            }
        });
        thread::spawn(move || {
            for (due, bytes) in arrivals {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if !arrive(&bytes) {
                    return;
                }
            }
        })
    }

    /// A keyboard at the far end of it.
    pub(super) fn keyboard(&self, mut keyboard: Box<dyn Write + Send>) -> Box<dyn Write + Send> {
        let (sender, typed) = mpsc::channel::<(Instant, Vec<u8>)>();
        thread::spawn(move || {
            for (due, keys) in typed {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                // A program that has ended reads no keys.
                let _ = keyboard.write_all(&keys).and_then(|()| keyboard.flush());
            }
        });
        Box::new(Late { sender, delay: self.delay })
    }
}

/// What is written to it is late.
struct Late {
    sender: mpsc::Sender<(Instant, Vec<u8>)>,
    delay: Duration,
}

impl Write for Late {
    fn write(&mut self, keys: &[u8]) -> std::io::Result<usize> {
        let _ = self.sender.send((Instant::now() + self.delay, keys.to_vec()));
        Ok(keys.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
