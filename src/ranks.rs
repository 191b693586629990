//! The processes of one job: what the first one tells the others, what they add up, and work that is dealt among them.
//! A process that nobody has started beside others is a job of one, in which all of this costs nothing.
//!
//! The first process leads: it alone reads and writes files and speaks to people. The others wait for what it
//! [tells](Ranks::tell) them and take from it whatever they need, so nothing is read, said or refused more than once.
//! A [`Ranks`] can't leave the thread that has joined, which is the one that MPI must know of:
//! `MPI_THREAD_FUNNELED` is enough.

mod deal;
mod launch;
#[cfg(feature = "mpi")]
mod link;
#[cfg(not(feature = "mpi"))]
#[path = "ranks/no_link.rs"]
mod link;

use std::fmt;
use std::num::NonZero;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use deal::{Crew, Outcome, Work};
pub use launch::Launch;
use link::Link;

/// Numbers that travel at a time: few enough that a copy of them takes little room.
const PIECE: usize = 1 << 24;

/// Why processes can't work together.
#[derive(Debug, thiserror::Error)]
pub enum RanksError {
    /// The program was built without MPI.
    #[error(
        "{0} processes were started, and this program was built without MPI: get one with \
         `cargo install --path . --features mpi`"
    )]
    NotBuilt(usize),
    /// They don't find each other.
    #[error(
        "{started} processes were started, and MPI knows of {found}: this program was built for another MPI, \
         {library}; build it where the launcher's own mpicc comes first on the path"
    )]
    Apart {
        /// As the launcher says.
        started: usize,
        /// As MPI says.
        found: usize,
        /// The MPI of this program.
        library: String,
    },
    /// MPI wants a process to have one thread.
    #[error("this MPI does not work with programs of several threads: {0}")]
    Threads(String),
    /// They are not of one version, for instance.
    #[error("what another process says can't be understood: {0}")]
    Garbled(String),
}

/// The processes of a job, seen from one of them.
#[derive(Clone)]
pub struct Ranks(Option<Rc<Link>>);

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Ranks").field("rank", &self.rank()).field("size", &self.size()).finish()
    }
}

impl Ranks {
    /// Whether the program was built for several processes.
    pub const CAN_BE_SEVERAL: bool = cfg!(feature = "mpi");

    /// One process.
    pub fn alone() -> Self {
        Self(None)
    }

    /// The processes that a launcher has started. MPI is begun where these are several, and ended with the last clone
    /// of what is returned.
    pub fn join(launch: &Launch) -> Result<Self, RanksError> {
        if launch.size() < 2 {
            return Ok(Self::alone());
        }
        Ok(Self(Some(Rc::new(Link::join(launch.size())?))))
    }

    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |link| link.rank())
    }

    /// How many processes there are.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |link| link.size())
    }

    /// Whether there are others.
    pub fn are_several(&self) -> bool {
        self.0.is_some()
    }

    /// Whether this process leads.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// The number of this process among those on its machine, and how many these are.
    pub fn on_node(&self) -> (usize, usize) {
        self.0.as_ref().map_or((0, 1), |link| link.on_node())
    }

    /// The threads that this process should compute with: a core that several processes may use is shared alike.
    pub fn cores(&self) -> usize {
        let available = std::thread::available_parallelism().map_or(1, NonZero::get);
        let share = self.0.as_ref().map_or(1.0, |link| link.share());
        ((available as f64 * share + 1e-6) as usize).max(1)
    }

    /// Tells all others something, which each of them has to [hear](Self::hear). Only the first does.
    pub fn tell(&self, word: &impl Serialize) -> Result<(), RanksError> {
        let Some(link) = &self.0 else { return Ok(()) };
        link.broadcast(0, encode(word)?);
        Ok(())
    }

    /// Waits for what the first process tells.
    pub fn hear<T: DeserializeOwned>(&self) -> Result<T, RanksError> {
        let bytes = self.0.as_ref().map_or_else(Vec::new, |link| link.broadcast(0, Vec::new()));
        decode(&bytes)
    }

    /// Gives all others the numbers of the first. They know how many there are.
    pub fn give(&self, numbers: &[f32]) {
        let Some(link) = &self.0 else { return };
        let mut copy = Vec::new();
        for piece in numbers.chunks(PIECE) {
            copy.clear();
            copy.extend_from_slice(piece);
            link.broadcast_numbers(&mut copy);
        }
    }

    /// Takes the numbers that the first process gives.
    pub fn take(&self, numbers: &mut [f32]) {
        let Some(link) = &self.0 else { return };
        numbers.chunks_mut(PIECE).for_each(|piece| link.broadcast_numbers(piece));
    }

    /// Adds up the numbers of all processes, place by place. All call it, and all have the same sums.
    pub fn sum(&self, numbers: &mut [f64]) {
        if let Some(link) = &self.0 {
            link.sum(numbers);
        }
    }

    /// The same for vectors, which travel together in few large pieces, by way of `room`.
    pub fn sum_vectors<'a>(&self, vectors: impl Iterator<Item = &'a mut [f32]>, room: &mut [Vec<f32>; 2]) {
        let Some(link) = &self.0 else { return };
        let [outgoing, incoming] = room;
        let mut parts: Vec<&mut [f32]> = vectors.flat_map(|vector| vector.chunks_mut(PIECE)).collect();
        let mut rest = &mut parts[..];
        while !rest.is_empty() {
            let mut length = 0;
            let fits = |part: &&&mut [f32]| {
                length += part.len();
                length <= PIECE
            };
            let (now, later) = {
                let count = rest.iter().take_while(fits).count().max(1);
                std::mem::take(&mut rest).split_at_mut(count)
            };
            rest = later;
            outgoing.clear();
            for part in now.iter() {
                outgoing.extend_from_slice(part);
            }
            incoming.resize(outgoing.len(), 0.0);
            link.sum_vector(outgoing, incoming);
            let mut sums = &incoming[..];
            for part in now {
                let (own, others) = sums.split_at(part.len());
                part.copy_from_slice(own);
                sums = others;
            }
        }
    }

    /// The least of what all processes have. All call it.
    pub fn least(&self, number: usize) -> usize {
        self.0.as_ref().map_or(number, |link| link.least(number))
    }

    /// What this process has come to, unless one has failed: then all fail, with the words of the first that did. All
    /// call it.
    pub fn settle<T>(&self, outcome: Result<T, String>) -> Result<T, String> {
        let Some(link) = &self.0 else { return outcome };
        let failed = link.least(if outcome.is_err() { link.rank() } else { link.size() });
        if failed == link.size() {
            return outcome;
        }
        let own = outcome.err().filter(|_| failed == link.rank()).unwrap_or_default();
        let reason = String::from_utf8_lossy(&link.broadcast(failed, own.into_bytes())).into_owned();
        Err(said_by(failed, reason))
    }

    /// Notes that the others wait for something that will not come. They are ended with this process, however it ends.
    pub fn lose(&self) {
        if let Some(link) = &self.0 {
            link.lose();
        }
    }

    /// Whether that was noted.
    pub fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(|link| link.is_lost())
    }
}

/// The words of a process, with its number unless they are the first's own.
fn said_by(rank: usize, reason: String) -> String {
    if rank == 0 { reason } else { format!("process {rank}: {reason}") }
}

fn encode(word: &impl Serialize) -> Result<Vec<u8>, RanksError> {
    rmp_serde::to_vec_named(word).map_err(|error| RanksError::Garbled(error.to_string()))
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RanksError> {
    rmp_serde::from_slice(bytes).map_err(|error| RanksError::Garbled(error.to_string()))
}
