//! What is tried beside a run: the wormhole, single parameters, and how the loss curves.
//!
//! A thread of its own works on copies of the run's weights, so that nothing that is tried here changes the run. It
//! takes one task after another; a task that waits interrupts what is in hand at its next point or step.

mod curving;
mod hole;
mod turning;

use std::sync::Arc;
use std::thread;

use candle_core::{Device, Result, bail};

use super::board::Board;
use super::desk::Tray;
use crate::escape::without_backtrace;
use crate::model::llama::Llama;
use crate::model::memory::{available, give_back, size};
use crate::model::params::Params;
use crate::model::tokenizer::Tokenizer;
use crate::predict::Prompt;
use crate::protocol::{probe, wormhole};
use crate::train::corpus::Batch;
use hole::Hole;
use turning::Turning;

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
        if self.weights.is_small() { 1e-3 } else { 1e-5 }
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

/// An error in one line.
fn plain(error: &candle_core::Error) -> String {
    without_backtrace(&error.to_string()).replace('\n', " ")
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

impl Task {
    /// Whether this one makes `earlier` pointless, which waits: what takes new weights leaves the old ones, and what was
    /// asked of them.
    fn replaces(&self, earlier: &Self) -> bool {
        match self {
            Self::Lay(..) => matches!(earlier, Self::Lay(..) | Self::Wormhole(_)),
            Self::Open(_) => matches!(earlier, Self::Open(_) | Self::Probe(_)),
            Self::Curvature(_) => matches!(earlier, Self::Curvature(_)),
            Self::Wormhole(_) | Self::Probe(_) => false,
        }
    }
}

/// The handle of the thread. It ends when the handle is dropped.
#[derive(Debug)]
pub struct Lab {
    tasks: Arc<Tray<Task>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lab {
    /// Starts the thread; what it finds is published on the board.
    pub fn spawn(board: Arc<Board>, threads: usize) -> std::io::Result<Self> {
        let tasks = Arc::new(Tray::default());
        let inbox = Arc::clone(&tasks);
        let thread =
            thread::Builder::new().name("lab".to_owned()).spawn(move || work(&inbox, &board, threads))?;
        Ok(Self { tasks, thread: Some(thread) })
    }

    /// Gives it something to do, which interrupts what it does now.
    pub fn tell(&self, task: Task) {
        if self.thread.as_ref().is_none_or(thread::JoinHandle::is_finished) {
            log::error!("what is tried beside the run has ended: nothing more can be tried");
            return;
        }
        self.tasks.put(task, Task::replaces);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.tasks.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("what was tried beside the run panicked");
        }
    }
}

fn work(tasks: &Tray<Task>, board: &Board, threads: usize) {
    let name = |index| format!("lab-{index}");
    let pool = match rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build() {
        Ok(pool) => pool,
        Err(error) => return log::error!("nothing can be tried: {error}"),
    };
    let mut bench = Bench { board, tasks, laid: 0, hole: None, turning: None };
    loop {
        if bench.is_busy() && tasks.is_empty() {
            pool.install(|| bench.work());
            continue;
        }
        match tasks.take() {
            Some(task) => pool.install(|| bench.obey(task)),
            None => return,
        }
    }
}

/// What is being tried.
struct Bench<'a> {
    board: &'a Board,
    /// Tasks that wait.
    tasks: &'a Tray<Task>,
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
            Task::Curvature(ground) => curving::find(&ground, self.board, &|| self.tasks.is_empty()),
        }
    }

    /// Does a piece of what is in hand: a step, a level of a picture, a sweep.
    fn work(&mut self) {
        let tasks = self.tasks;
        let go_on = move || tasks.is_empty();
        if let Some(turning) = self.turning.as_mut().filter(|turning| turning.is_busy()) {
            turning.work(self.board, &go_on);
        } else if let Some(hole) = &mut self.hole {
            hole.work(self.board, &go_on);
        }
    }
}
