//! Jobs for a thread beside the loop that asks for them. A newer job takes the place of one that waits: each may hold a
//! copy of the weights.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::panics;

/// A thread that does the newest job that it is given. It ends when this is dropped, which waits for that.
#[derive(Debug)]
pub struct Desk<J> {
    tray: Arc<Tray<(u64, J)>>,
    /// The job that is wanted; any other one stops at its next point.
    newest: Arc<AtomicU64>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Which job it is, and whether anybody still wants it.
#[derive(Debug)]
pub struct Ticket {
    number: u64,
    newest: Arc<AtomicU64>,
}

impl Ticket {
    /// The number that [`Desk::start`] gave the job.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether no other job was started since, and this one not cancelled.
    pub fn is_wanted(&self) -> bool {
        self.newest.load(Ordering::Relaxed) == self.number
    }
}

impl<J: Send + 'static> Desk<J> {
    /// Starts the thread, which calls `work` with one job after another. A panic ends no more than its job: `failed` is
    /// called with its number and what the panic said.
    pub fn spawn(
        name: &str,
        mut work: impl FnMut(J, &Ticket) + Send + 'static,
        failed: impl Fn(u64, String) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (tray, newest) = (Arc::new(Tray::<(u64, J)>::default()), Arc::new(AtomicU64::new(0)));
        let (inbox, wanted) = (Arc::clone(&tray), Arc::clone(&newest));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            while let Some((number, job)) = inbox.take() {
                let ticket = Ticket { number, newest: Arc::clone(&wanted) };
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| work(job, &ticket))) {
                    failed(number, panics::message(&*panic).to_owned());
                }
            }
        })?;
        Ok(Self { tray, newest, thread: Some(thread) })
    }

    /// Drops whatever is in hand or waits for this job, and returns its number.
    pub fn start(&self, job: J) -> u64 {
        let number = self.cancel();
        self.tray.put((number, job), |_, _| true);
        number
    }
}

impl<J> Desk<J> {
    /// Drops whatever is in hand or waits, and returns a number that no job has had.
    pub fn cancel(&self) -> u64 {
        let number = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        self.tray.clear();
        number
    }
}

impl<J> Drop for Desk<J> {
    fn drop(&mut self) {
        self.cancel();
        self.tray.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("a thread beside the run panicked");
        }
    }
}

/// Where jobs lie until the thread takes them.
#[derive(Debug)]
pub struct Tray<J> {
    waiting: Mutex<Waiting<J>>,
    changed: Condvar,
}

#[derive(Debug)]
struct Waiting<J> {
    jobs: VecDeque<J>,
    is_closed: bool,
}

impl<J> Default for Tray<J> {
    fn default() -> Self {
        let waiting = Waiting { jobs: VecDeque::new(), is_closed: false };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }
}

impl<J> Tray<J> {
    /// Puts a job behind those that wait, and drops the ones that it replaces.
    pub fn put(&self, job: J, replaces: impl Fn(&J, &J) -> bool) {
        let mut waiting = self.lock();
        let (gone, kept): (VecDeque<J>, VecDeque<J>) =
            std::mem::take(&mut waiting.jobs).into_iter().partition(|earlier| replaces(&job, earlier));
        waiting.jobs = kept;
        waiting.jobs.push_back(job);
        drop(waiting);
        self.changed.notify_one();
        // What they hold may be large: nobody has to wait for that.
        drop(gone);
    }

    /// Drops all jobs that wait.
    pub fn clear(&self) {
        let gone = std::mem::take(&mut self.lock().jobs);
        drop(gone);
    }

    /// There will be no more.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_one();
    }

    /// Whether nothing waits and there may be more.
    pub fn is_empty(&self) -> bool {
        let waiting = self.lock();
        waiting.jobs.is_empty() && !waiting.is_closed
    }

    /// Waits for a job; none where there will be no more.
    pub fn take(&self) -> Option<J> {
        let mut waiting = self.lock();
        loop {
            if waiting.is_closed {
                return None;
            }
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Nothing is done under the lock that could be left half-done.
    fn lock(&self) -> MutexGuard<'_, Waiting<J>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    type Job = Box<dyn FnOnce(&Ticket) + Send>;

    /// A desk, and the numbers and last words of jobs that panicked.
    fn desk() -> (Desk<Job>, Receiver<(u64, String)>) {
        let (failed, failures) = channel();
        let failed = move |number, message| failed.send((number, message)).unwrap();
        (Desk::spawn("desk", |job: Job, ticket: &Ticket| job(ticket), failed).unwrap(), failures)
    }

    /// A job that says its number when it is done.
    fn saying(numbers: &Sender<u64>) -> Job {
        let numbers = numbers.clone();
        Box::new(move |ticket| numbers.send(ticket.number()).unwrap())
    }

    #[test]
    fn a_job_that_panics_is_told_of_and_the_next_is_done() {
        let ((desk, failures), (done, numbers)) = (desk(), channel());
        let first = desk.start(Box::new(|_| panic!("no such plane")));
        assert_eq!(failures.recv().unwrap(), (first, "no such plane".to_owned()));
        let second = desk.start(saying(&done));
        assert_eq!(numbers.recv().unwrap(), second);
    }

    #[test]
    fn the_job_in_hand_is_no_longer_wanted_and_the_newest_alone_follows() {
        let ((desk, _), (done, numbers)) = (desk(), channel());
        let ((begun, begins), (gate, open)) = (channel(), channel::<()>());
        desk.start(Box::new(move |ticket| {
            begun.send(ticket.is_wanted()).unwrap();
            open.recv().unwrap();
            begun.send(ticket.is_wanted()).unwrap();
        }));
        assert!(begins.recv().unwrap());
        desk.start(saying(&done));
        let newest = desk.start(saying(&done));
        gate.send(()).unwrap();
        assert!(!begins.recv().unwrap());
        assert_eq!(numbers.recv().unwrap(), newest);
    }

    #[test]
    fn what_waits_when_the_desk_goes_is_left_and_what_is_in_hand_is_waited_for() {
        let ((desk, _), (done, numbers)) = (desk(), channel());
        let ((begun, begins), (ended, end)) = (channel(), channel());
        desk.start(Box::new(move |ticket| {
            begun.send(()).unwrap();
            while ticket.is_wanted() {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
        }));
        begins.recv().unwrap();
        desk.tray.put((0, saying(&done)), |_, _| false);
        drop((desk, done));
        assert_eq!((end.try_recv(), numbers.iter().count()), (Ok(()), 0));
    }
}
