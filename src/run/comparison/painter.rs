//! The thread that evaluates what takes a while: the slices around both models, the way from one to the other, and
//! the norms of their gradients.

use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Error, Result};

use super::model::Model;
use crate::landscape::directions::{LossFunction, difference_plane};
use crate::landscape::evaluator::Objective;
use crate::landscape::path;
use crate::landscape::plane::{Normalization, Plane, product};
use crate::landscape::selection::Selection;
use crate::landscape::survey::{Control, Grid, Survey};
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::protocol::comparison::{PathLoss, PlaneChoice, Side};
use crate::run::desk::{Desk, Ticket};
use crate::train::corpus::Batch;

/// A model as it is painted.
#[derive(Debug, Clone)]
pub(super) struct Sitter {
    pub(super) llama: Llama,
    /// The weights of its checkpoint: directions are scaled to them, however far it is trained.
    pub(super) checkpoint: Params,
    /// The weights now, which nothing may write to.
    pub(super) weights: Params,
    /// Tells its weights from those it had before.
    pub(super) revision: u64,
    pub(super) batch: Batch,
}

impl Sitter {
    /// A model as it is now.
    pub(super) fn of(model: &Model) -> Result<Self> {
        Ok(Self {
            llama: model.llama().clone(),
            checkpoint: model.checkpoint().params.clone(),
            weights: model.weights()?,
            revision: model.revision(),
            batch: model.batch(),
        })
    }
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
    /// A level of a slice.
    Level {
        side: Side,
        survey: Arc<Survey>,
        grid: Grid,
        seconds: f64,
    },
    /// There will be no slice of this side.
    NoSlice(Side, Error),
    Path(Result<PathLoss>),
    GradNorm(Side, Result<f64>),
    /// A bug has ended the job, with these words.
    Failed(String),
    /// Nothing follows.
    End,
}

/// The handle of the thread. It ends when the handle is dropped.
#[derive(Debug)]
pub(super) struct Painter {
    desk: Desk<Job>,
}

impl Painter {
    /// Starts the thread; `tell` is called on it with every part.
    pub(super) fn spawn(
        device: Device,
        threads: usize,
        tell: impl Fn(Painted) + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("painter-{index}"))
            .build()
            .map_err(std::io::Error::other)?;
        let mut studio = Studio { device, planes: [None, None], recipe: None };
        let tell = Arc::new(tell);
        let told = Arc::clone(&tell);
        let work = move |job: Job, ticket: &Ticket| {
            let tell = |part| told(Painted { ticket: ticket.number(), part });
            pool.install(|| studio.paint(&job, &|| ticket.is_wanted(), &tell));
            tell(Part::End);
        };
        let failed = move |ticket, message| tell(Painted { ticket, part: Part::Failed(message) });
        Ok(Self { desk: Desk::spawn("painter", work, failed)? })
    }

    /// Drops whatever is being evaluated for this job, and returns its number.
    pub(super) fn start(&self, job: Job) -> u64 {
        self.desk.start(job)
    }

    /// Drops whatever is being evaluated.
    pub(super) fn cancel(&self) -> u64 {
        self.desk.cancel()
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
    /// Revisions of both models, where the plane follows them.
    revisions: Option<[u64; 2]>,
}

impl Studio {
    fn paint(&mut self, job: &Job, go_on: &(dyn Fn() -> bool + Sync), tell: &(dyn Fn(Part) + Sync)) {
        let started = Instant::now();
        let control = Control { go_on, before: &|_| (), progress: &|_| () };
        let fill = |mut canvas: Canvas| match canvas.grid.fill(
            &canvas.survey,
            canvas.survey.points_at_once(),
            &control,
        ) {
            Ok(false) => None,
            Ok(true) => {
                let (side, survey, grid) = (canvas.side, Arc::clone(&canvas.survey), canvas.grid.clone());
                tell(Part::Level { side, survey, grid, seconds: started.elapsed().as_secs_f64() });
                Some(canvas)
            }
            Err(error) => {
                tell(Part::NoSlice(canvas.side, error));
                None
            }
        };
        let mut canvases = Vec::new();
        for side in Side::BOTH {
            let Some(grid) = job.grids[side as usize].clone().filter(|_| go_on()) else { continue };
            match self.survey(job, side) {
                Ok(survey) => canvases.extend(fill(Canvas { side, survey: Arc::new(survey), grid })),
                Err(error) => tell(Part::NoSlice(side, error)),
            }
        }
        let [a, b] = &job.sitters;
        if job.path && go_on() {
            let (llama, device) = (a.llama.clone(), &self.device);
            match path::between(llama, &a.weights, &b.weights, &a.batch, &control, device) {
                Ok(None) => {}
                Ok(Some(way)) => tell(Part::Path(Ok(way))),
                Err(error) => tell(Part::Path(Err(error))),
            }
        }
        for side in Side::BOTH.into_iter().filter(|side| job.gradients[*side as usize]) {
            if go_on() {
                tell(Part::GradNorm(side, self.grad_norm(&job.sitters[side as usize])));
            }
        }
        loop {
            canvases.retain(|canvas| canvas.grid.alphas().len() < job.finest && go_on());
            if canvases.is_empty() {
                return;
            }
            let finer = |canvas: Canvas| Canvas { grid: canvas.grid.finer(), ..canvas };
            canvases = canvases.into_iter().map(finer).filter_map(fill).collect();
        }
    }

    fn survey(&mut self, job: &Job, side: Side) -> Result<Survey> {
        let plane = self.plane(job, side)?;
        let Sitter { llama, weights, batch, .. } = &job.sitters[side as usize];
        let (llama, weights) = (llama.clone(), weights.clone());
        Survey::new(llama, weights, plane, batch, Objective::Mean, None, &self.device)
    }

    /// The plane of a slice. All but [`PlaneChoice::Own`] have one for both.
    fn plane(&mut self, job: &Job, side: Side) -> Result<Plane> {
        let follows = job.plane == PlaneChoice::Through;
        let revisions = follows.then(|| job.sitters.each_ref().map(|sitter| sitter.revision));
        let recipe = Recipe { choice: job.plane, seeds: job.seeds, revisions };
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
