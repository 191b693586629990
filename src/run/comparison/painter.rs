//! The thread that evaluates what takes a while: the slices around both models, the way from one to the other, and
//! the norms of their gradients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use candle_core::{Device, Error, Result};

use crate::landscape::directions::{LossFunction, difference_plane};
use crate::landscape::evaluator::Objective;
use crate::landscape::path;
use crate::landscape::plane::{Normalization, Plane, product};
use crate::landscape::selection::Selection;
use crate::landscape::survey::{Control, Grid, Survey};
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::protocol::comparison::{PathLoss, PlaneChoice, Side};
use crate::train::corpus::Batch;

/// A model as it is painted.
#[derive(Debug, Clone)]
pub(super) struct Sitter {
    pub(super) llama: Llama,
    /// The weights of its checkpoint: directions are scaled to them, however far it is trained.
    pub(super) checkpoint: Params,
    /// The weights now, which nothing may write to.
    pub(super) weights: Params,
    /// Steps between the two.
    pub(super) steps: u64,
    pub(super) batch: Batch,
}

/// What is to be evaluated, all of it in one order: coarse slices, the way, the gradients, finer slices.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) sitters: [Sitter; 2],
    pub(super) plane: PlaneChoice,
    pub(super) seeds: [u64; 2],
    /// What is known of each slice that is wanted.
    pub(super) grids: [Option<Grid>; 2],
    /// Columns of the finest level.
    pub(super) finest: usize,
    pub(super) path: bool,
    pub(super) gradients: [bool; 2],
}

/// A part of a job that is done, under the job's number.
#[derive(Debug)]
pub(super) struct Painted {
    pub(super) ticket: u64,
    pub(super) part: Part,
}

#[derive(Debug)]
pub(super) enum Part {
    Level {
        side: Side,
        survey: Arc<Survey>,
        grid: Grid,
        seconds: f64,
        finest: bool,
    },
    Path(PathLoss),
    GradNorm(Side, f64),
    /// Nothing follows; an error says why.
    End(Result<()>),
}

/// The handle of the thread. It ends when the handle is dropped.
#[derive(Debug)]
pub(super) struct Painter {
    jobs: Sender<(u64, Job)>,
    /// The job that is wanted; any other one stops at its next point.
    wanted: Arc<AtomicU64>,
}

impl Painter {
    /// Starts the thread; `tell` is called on it with every part.
    pub(super) fn spawn(
        device: Device,
        threads: usize,
        tell: impl Fn(Painted) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let wanted = Arc::new(AtomicU64::new(0));
        let painter = Self { jobs, wanted: Arc::clone(&wanted) };
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("painter-{index}"))
            .build()
            .map_err(std::io::Error::other)?;
        let studio = Studio { device, planes: [None, None], recipe: None };
        thread::Builder::new()
            .name("painter".to_owned())
            .spawn(move || work(studio, &pool, &inbox, &wanted, &tell))?;
        Ok(painter)
    }

    /// Drops whatever is being evaluated for this job, and returns its number.
    pub(super) fn start(&self, job: Job) -> u64 {
        let ticket = self.cancel();
        if self.jobs.send((ticket, job)).is_err() {
            log::error!("the thread of the slices has ended: there will be no more");
        }
        ticket
    }

    /// Drops whatever is being evaluated.
    pub(super) fn cancel(&self) -> u64 {
        self.wanted.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Drop for Painter {
    fn drop(&mut self) {
        self.cancel();
    }
}

fn work(
    mut studio: Studio,
    pool: &rayon::ThreadPool,
    inbox: &Receiver<(u64, Job)>,
    wanted: &AtomicU64,
    tell: &(dyn Fn(Painted) + Sync),
) {
    while let Ok((ticket, job)) = inbox.recv() {
        let go_on = || wanted.load(Ordering::Relaxed) == ticket;
        let outcome = pool.install(|| studio.paint(&job, &go_on, &|part| tell(Painted { ticket, part })));
        if go_on() {
            tell(Painted { ticket, part: Part::End(outcome) });
        }
    }
}

/// What the thread keeps from job to job.
struct Studio {
    device: Device,
    /// Planes that are made, and from what.
    planes: [Option<Plane>; 2],
    recipe: Option<Recipe>,
}

/// What planes are made from.
#[derive(Debug, PartialEq)]
struct Recipe {
    choice: PlaneChoice,
    seeds: [u64; 2],
    /// Steps of both models, where the plane follows them.
    steps: Option<[u64; 2]>,
}

impl Studio {
    fn paint(
        &mut self,
        job: &Job,
        go_on: &(dyn Fn() -> bool + Sync),
        tell: &(dyn Fn(Part) + Sync),
    ) -> Result<()> {
        let started = Instant::now();
        let control = Control { go_on, before: &|_| (), progress: &|_| () };
        let mut canvases = Vec::new();
        for side in Side::BOTH {
            let Some(grid) = job.grids[side as usize].clone().filter(|_| go_on()) else { continue };
            let plane = self.plane(job, side)?;
            let Sitter { llama, weights, batch, .. } = job.sitters[side as usize].clone();
            let survey = Survey::new(llama, weights, plane, &batch, Objective::Mean, None, &self.device)?;
            let mut canvas = Canvas { side, survey: Arc::new(survey), grid };
            canvas.fill(job.finest, started, &control, tell)?;
            canvases.push(canvas);
        }
        let [a, b] = &job.sitters;
        if job.path && go_on() {
            let way =
                path::between(a.llama.clone(), &a.weights, &b.weights, &a.batch, &control, &self.device)?;
            if let Some(way) = way {
                tell(Part::Path(way));
            }
        }
        for side in Side::BOTH.into_iter().filter(|side| job.gradients[*side as usize]) {
            if go_on() {
                tell(Part::GradNorm(side, self.grad_norm(&job.sitters[side as usize])?));
            }
        }
        while go_on() && canvases.iter().any(|canvas| canvas.grid.alphas().len() < job.finest) {
            for canvas in canvases.iter_mut().filter(|canvas| canvas.grid.alphas().len() < job.finest) {
                canvas.grid = canvas.grid.finer();
                canvas.fill(job.finest, started, &control, tell)?;
            }
        }
        Ok(())
    }

    /// The plane of a slice. All but [`PlaneChoice::Own`] have one for both.
    fn plane(&mut self, job: &Job, side: Side) -> Result<Plane> {
        let follows = job.plane == PlaneChoice::Through;
        let steps = follows.then(|| job.sitters.each_ref().map(|sitter| sitter.steps));
        let recipe = Recipe { choice: job.plane, seeds: job.seeds, steps };
        if self.recipe.as_ref() != Some(&recipe) {
            // The old directions go before there is room for new ones.
            self.planes = [None, None];
            self.recipe = Some(recipe);
        }
        let side = if job.plane == PlaneChoice::Own { side } else { Side::A } as usize;
        if let Some(plane) = &self.planes[side] {
            return Ok(plane.clone());
        }
        let [a, b] = &job.sitters;
        let plane = match job.plane {
            PlaneChoice::Own | PlaneChoice::Shared => {
                let params = &job.sitters[side].checkpoint;
                let names = Selection::default().names(params).map_err(Error::wrap)?;
                Plane::random(params, &names, job.seeds, Normalization::Filter)?
            }
            PlaneChoice::Through => {
                let names: Vec<String> = a.weights.iter().map(|(name, _)| name.to_owned()).collect();
                difference_plane(&a.weights, &b.weights, &names, "to B", job.seeds)?
            }
        };
        Ok(self.planes[side].insert(plane).clone())
    }

    /// Norm of the gradient of the mean loss over all parameters.
    fn grad_norm(&self, sitter: &Sitter) -> Result<f64> {
        let Sitter { llama, weights, batch, .. } = sitter;
        let function = LossFunction { llama, batch, objective: Objective::Mean, device: &self.device };
        let names: Vec<String> = weights.iter().map(|(name, _)| name.to_owned()).collect();
        let gradient = function.gradient(weights, &names)?;
        Ok(product(&gradient, &gradient)?.sqrt())
    }
}

/// A slice being evaluated.
struct Canvas {
    side: Side,
    survey: Arc<Survey>,
    grid: Grid,
}

impl Canvas {
    /// Evaluates what is missing of a level, and tells where something was.
    fn fill(
        &mut self,
        finest: usize,
        started: Instant,
        control: &Control,
        tell: &dyn Fn(Part),
    ) -> Result<()> {
        if !self.grid.fill(&self.survey, self.survey.points_at_once(), control)? {
            return Ok(());
        }
        let finest = self.grid.alphas().len() >= finest;
        let (side, survey, grid) = (self.side, Arc::clone(&self.survey), self.grid.clone());
        tell(Part::Level { side, survey, grid, seconds: started.elapsed().as_secs_f64(), finest });
        Ok(())
    }
}
