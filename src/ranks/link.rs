//! The job as MPI has it: the one place that calls it. What goes wrong inside MPI ends the job, as is its default.

use std::cell::Cell;
use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, MatchedReceiveVec, Root, Source};

use super::RanksError;

/// Bytes of one message at most: MPI counts them in 31 bits.
const LONGEST: usize = 1 << 30;
/// How long a process that waits to be told something looks out for it at every moment, and how often afterwards: the
/// first may be writing a checkpoint, and its threads can use the core.
const PATIENCE: Duration = Duration::from_millis(2);
const NAP: Duration = Duration::from_micros(200);
/// Of the messages between two processes.
const TAG: i32 = 1;

/// All processes.
pub(super) struct Link {
    world: SimpleCommunicator,
    on_node: (usize, usize),
    share: f64,
    lost: Cell<bool>,
    /// Ends MPI when it is dropped, as the last of these.
    _universe: Universe,
}

impl Link {
    pub(super) fn join(started: usize) -> Result<Self, RanksError> {
        let library = || mpi::environment::library_version().unwrap_or_default();
        let library = || library().lines().next().unwrap_or("unknown").trim_end_matches('\0').to_owned();
        let begun = mpi::initialize_with_threading(Threading::Funneled);
        let (universe, level) = begun.ok_or_else(|| RanksError::Threads(library()))?;
        if level < Threading::Funneled {
            return Err(RanksError::Threads(library()));
        }
        let world = universe.world();
        let found = count(world.size());
        if found != started {
            return Err(RanksError::Apart { started, found, library: library() });
        }
        let node = world.split_shared(world.rank());
        let on_node = (count(node.rank()), count(node.size()));
        let share = share_of_cores(&node);
        Ok(Self { world, on_node, share, lost: Cell::new(false), _universe: universe })
    }

    pub(super) fn rank(&self) -> usize {
        count(self.world.rank())
    }

    pub(super) fn size(&self) -> usize {
        count(self.world.size())
    }

    pub(super) fn on_node(&self) -> (usize, usize) {
        self.on_node
    }

    /// The share of the cores it may use that a process should.
    pub(super) fn share(&self) -> f64 {
        self.share
    }

    /// The bytes of one process, for all.
    pub(super) fn broadcast(&self, from: usize, mut bytes: Vec<u8>) -> Vec<u8> {
        let root = self.world.process_at_rank(from as i32);
        let mut length = bytes.len() as u64;
        mpi::request::scope(|scope| {
            let mut request = root.immediate_broadcast_into(scope, &mut length);
            let since = Instant::now();
            while let Err(pending) = request.test() {
                request = pending;
                if since.elapsed() < PATIENCE {
                    std::thread::yield_now();
                } else {
                    std::thread::sleep(NAP);
                }
            }
        });
        bytes.resize(length as usize, 0);
        bytes.chunks_mut(LONGEST).for_each(|chunk| root.broadcast_into(chunk));
        bytes
    }

    pub(super) fn broadcast_numbers(&self, numbers: &mut [f32]) {
        self.world.process_at_rank(0).broadcast_into(numbers);
    }

    pub(super) fn sum(&self, numbers: &mut [f64]) {
        let own = numbers.to_vec();
        self.world.all_reduce_into(&own[..], numbers, SystemOperation::sum());
    }

    pub(super) fn sum_vector(&self, from: &[f32], into: &mut [f32]) {
        self.world.all_reduce_into(from, into, SystemOperation::sum());
    }

    pub(super) fn least(&self, number: usize) -> usize {
        let mut least = 0;
        self.world.all_reduce_into(&(number as u64), &mut least, SystemOperation::min());
        least as usize
    }

    /// Sends bytes to one process, which must [receive](Self::receive) them.
    pub(super) fn send(&self, to: usize, bytes: &[u8]) {
        self.world.process_at_rank(to as i32).send_with_tag(bytes, TAG);
    }

    /// What a process has sent and which, if something is there.
    pub(super) fn receive(&self) -> Option<(usize, Vec<u8>)> {
        let message = self.world.any_process().immediate_matched_probe_with_tag(TAG)?;
        let (bytes, status) = message.matched_receive_vec();
        Some((count(status.source_rank()), bytes))
    }

    pub(super) fn lose(&self) {
        self.lost.set(true);
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.get()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // To end MPI is to wait until all do, and the others may be waiting for this one.
        if self.lost.get() || std::thread::panicking() {
            self.world.abort(1);
        }
    }
}

/// A number that MPI gives, which is never negative.
fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

/// The share that this process should take of the cores it may use, where each core is divided among the processes of
/// the machine that may use it.
#[cfg(target_os = "linux")]
fn share_of_cores(node: &SimpleCommunicator) -> f64 {
    use rustix::thread::{CpuSet, sched_getaffinity};
    let Ok(cores) = sched_getaffinity(None) else { return 1.0 / f64::from(node.size()) };
    let own: Vec<i32> = (0..CpuSet::MAX_CPU).map(|core| i32::from(cores.is_set(core))).collect();
    let mut users = vec![0; own.len()];
    node.all_reduce_into(&own[..], &mut users[..], SystemOperation::sum());
    let of_each =
        own.iter().zip(&users).filter(|(own, _)| **own > 0).map(|(_, users)| 1.0 / f64::from(*users));
    of_each.sum::<f64>() / f64::from(cores.count().max(1))
}

#[cfg(not(target_os = "linux"))]
fn share_of_cores(node: &SimpleCommunicator) -> f64 {
    1.0 / f64::from(node.size())
}
