//! What is tried beside a run: the wormhole, single parameters, and how the loss curves.
//!
//! A thread of its own works on copies of the run's weights, so that nothing that is tried here changes the run. It
//! takes one task after another; a task that waits interrupts what is in hand at its next point or step.

mod curving;
mod hole;
mod turning;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use candle_core::{Device, Result, bail};

use super::board::Board;
use crate::model::llama::Llama;
use crate::model::memory::{available, give_back, size};
use crate::model::params::Params;
use crate::model::tokenizer::Tokenizer;
use crate::predict::Prompt;
use crate::protocol::{probe, wormhole};
use crate::train::corpus::Batch;
use hole::Hole;
use turning::Turning;

/// Parameters of a small model, less than.
const SMALL: usize = 20_000_000;

/// The weights of a run, and all that is needed to try something with them.
#[derive(Debug)]
pub struct Ground {
    /// The model.
    pub llama: Llama,
    /// Its weights, which nothing may write to: see [`Params::frozen`].
    pub weights: Params,
    /// The text whose mean loss is looked at.
    pub prompt: Prompt,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// Where to compute.
    pub device: Device,
    /// Threads to compute with, where that is the CPU.
    pub threads: usize,
    /// The step of the run.
    pub step: u64,
    /// The parameters that the run does not train.
    pub frozen: Vec<String>,
}

impl Ground {
    /// The text as a batch of one row.
    fn batch(&self) -> Batch {
        Batch::new(vec![self.prompt.ids().to_vec()])
    }

    /// The rate of the steps that are taken from here: one at which a small model gets anywhere in a few of them
    /// destroys what a large one has learnt.
    fn learning_rate(&self) -> f64 {
        if self.weights.elements() < SMALL { 1e-3 } else { 1e-5 }
    }

    /// Fails with both numbers where something would take more bytes than can be had.
    fn check_memory(&self, what: &str, needed: usize) -> Result<()> {
        let (needed, available) = (needed as u64, available());
        if self.device.is_cpu() && needed > available {
            bail!(
                "{what} would take {}, {} can be had: close other programs or take a smaller model",
                size(needed),
                size(available)
            );
        }
        Ok(())
    }
}

/// An error in one line: candle adds a backtrace where `RUST_BACKTRACE` is set.
fn plain(error: &candle_core::Error) -> String {
    let text = error.to_string();
    text.split("\n   0: ").next().unwrap_or_default().replace('\n', " ")
}

/// Something to try.
#[derive(Debug)]
pub enum Task {
    /// A plane for the wormhole, through these weights.
    Lay(wormhole::Setting, Box<Ground>),
    /// What comes after that.
    Wormhole(wormhole::Ask),
    /// The parameters of these weights.
    Open(Box<Ground>),
    /// What comes after that.
    Probe(probe::Ask),
    /// How the loss curves around these weights.
    Curvature(Box<Ground>),
}

/// The handle of the thread. It ends when the handle is dropped.
#[derive(Debug)]
pub struct Lab {
    tasks: Option<Sender<Task>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lab {
    /// Starts the thread; what it finds is published on the board.
    pub fn spawn(board: Arc<Board>, threads: usize) -> std::io::Result<Self> {
        let (tasks, inbox) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&waiting);
        let thread = thread::Builder::new()
            .name("lab".to_owned())
            .spawn(move || work(&inbox, &counter, &board, threads))?;
        Ok(Self { tasks: Some(tasks), waiting, thread: Some(thread) })
    }

    /// Gives it something to do, which interrupts what it does now.
    pub fn tell(&self, task: Task) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        if self.tasks.as_ref().is_none_or(|tasks| tasks.send(task).is_err()) {
            log::error!("what is tried beside the run has ended: nothing more can be tried");
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        drop(self.tasks.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("what was tried beside the run panicked");
        }
    }
}

fn work(inbox: &Receiver<Task>, waiting: &AtomicUsize, board: &Board, threads: usize) {
    let name = |index| format!("lab-{index}");
    let pool = match rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build() {
        Ok(pool) => pool,
        Err(error) => return log::error!("nothing can be tried: {error}"),
    };
    let mut bench = Bench { board, waiting, laid: 0, hole: None, turning: None };
    loop {
        let task = if bench.is_busy() {
            match inbox.try_recv() {
                Ok(task) => Some(task),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return,
            }
        } else {
            match inbox.recv() {
                Ok(task) => Some(task),
                Err(_) => return,
            }
        };
        match task {
            Some(task) => {
                waiting.fetch_sub(1, Ordering::Relaxed);
                pool.install(|| bench.obey(task));
            }
            None => pool.install(|| bench.work()),
        }
    }
}

/// What is being tried.
struct Bench<'a> {
    board: &'a Board,
    /// Tasks that wait.
    waiting: &'a AtomicUsize,
    /// Planes that were laid for the wormhole.
    laid: u64,
    hole: Option<Hole>,
    turning: Option<Turning>,
}

impl Bench<'_> {
    /// Whether there is more to do without another task.
    fn is_busy(&self) -> bool {
        self.hole.as_ref().is_some_and(Hole::is_busy) || self.turning.as_ref().is_some_and(Turning::is_busy)
    }

    fn obey(&mut self, task: Task) {
        match task {
            Task::Lay(setting, ground) => {
                if let Err(reason) = hole::check(&setting) {
                    log::warn!("no plane is laid: {reason}");
                    return;
                }
                // The memory of the one before it.
                self.hole = None;
                self.laid += 1;
                self.hole = Hole::lay(setting, *ground, self.laid, self.board);
            }
            Task::Wormhole(wormhole::Ask::End) => {
                if let Some(hole) = self.hole.take() {
                    hole.end(self.board);
                    give_back();
                }
            }
            Task::Wormhole(ask) => {
                if let Some(hole) = &mut self.hole {
                    hole.obey(&ask, self.board);
                }
            }
            Task::Open(ground) => {
                self.turning = None;
                self.turning = Turning::open(*ground, self.board);
            }
            Task::Probe(probe::Ask::End) => {
                if let Some(turning) = self.turning.take() {
                    turning.end(self.board);
                    give_back();
                }
            }
            Task::Probe(ask) => {
                if let Some(turning) = &mut self.turning {
                    turning.obey(ask, self.board);
                }
            }
            Task::Curvature(ground) => curving::find(&ground, self.board, &|| self.is_free()),
        }
    }

    /// Does a piece of what is in hand: a step, a level of a picture, a sweep.
    fn work(&mut self) {
        let waiting = self.waiting;
        let go_on = move || waiting.load(Ordering::Relaxed) == 0;
        if let Some(turning) = self.turning.as_mut().filter(|turning| turning.is_busy()) {
            turning.work(self.board, &go_on);
        } else if let Some(hole) = &mut self.hole {
            hole.work(self.board, &go_on);
        }
    }

    /// No task waits.
    fn is_free(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }
}
