//! The thread that evaluates slices beside the training.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use candle_core::{Device, Error, Result};

use super::desk::{Desk, Ticket};
use super::planes::Directions;
use crate::landscape::curvature::critical_multiple;
use crate::landscape::directions::{LossFunction, difference};
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Direction, Plane};
use crate::landscape::survey::{Control, Grid, Method, Survey};
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::protocol::{PlaneInfo, PlaneKind};
use crate::train::corpus::Batch;

/// The share of one core that a slice takes beside training, for each core there is. The threads of a step wait
/// for each other, so a core that is lent holds up its neighbours: a tenth lent costs up to a fifth of the steps.
const SHARE: f64 = 0.1;
/// A coarse picture takes no longer than this where one core can do it at all, whatever the share.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A slice to evaluate.
#[derive(Debug)]
pub struct Job {
    /// The model.
    pub llama: Llama,
    /// The weights at the centre, which nothing may write to: see [`Params::frozen`].
    pub origin: Params,
    /// The directions to look along.
    pub directions: Directions,
    /// The batch.
    pub batch: Batch,
    /// Where to compute.
    pub device: Device,
    /// How far the plane is looked at.
    pub range: f64,
    /// Points a side of the last level.
    pub finest: usize,
    /// Training goes on meanwhile: one thread, and pauses between points.
    pub beside_training: bool,
    /// The step that led here, to measure its sharpness.
    pub step: Option<LastStep>,
}

/// An optimizer step as its own batch, or some rows of it, sees it.
#[derive(Debug)]
pub struct LastStep {
    /// The weights before it.
    pub before: Params,
    /// Its batch.
    pub batch: Batch,
}

/// A level of a slice, or why the job failed.
#[derive(Debug)]
pub struct Report {
    /// The number that [`Slicer::start`] gave the job.
    pub ticket: u64,
    /// What came of it.
    pub level: Result<Level>,
}

/// A level of a slice.
#[derive(Debug)]
pub struct Level {
    /// The weights and the plane.
    pub survey: Arc<Survey>,
    /// The losses.
    pub grid: Grid,
    /// Seconds since the job began.
    pub seconds: f64,
    /// The smallest multiple of the last step at which the loss of its batch would have risen, if that is known
    /// by now: see [`critical_multiple`].
    pub critical_multiple: Option<f64>,
    /// Nothing follows.
    pub last: bool,
}

/// The handle of the thread. It ends when the handle is dropped.
#[derive(Debug)]
pub struct Slicer {
    desk: Desk<Job>,
}

impl Slicer {
    /// Starts the thread; `report` is called on it with every level.
    pub fn spawn(threads: usize, report: impl Fn(Report) + Send + Sync + 'static) -> std::io::Result<Self> {
        let pool = |threads| {
            let name = |index| format!("slicer-{index}");
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build();
            pool.map_err(std::io::Error::other)
        };
        let (one, all) = (pool(1)?, pool(threads)?);
        let report = Arc::new(report);
        let tell = Arc::clone(&report);
        let work = move |job: Job, ticket: &Ticket| {
            let pool = if job.beside_training { &one } else { &all };
            let tell = |level| tell(Report { ticket: ticket.number(), level });
            let outcome =
                pool.install(|| evaluate(job, threads, &|| ticket.is_wanted(), &|level| tell(Ok(level))));
            if let Err(error) = outcome {
                tell(Err(error));
            }
        };
        let failed = move |ticket, message| report(Report { ticket, level: Err(Error::Msg(message)) });
        Ok(Self { desk: Desk::spawn("slicer", work, failed)? })
    }

    /// Drops whatever is being evaluated for this job, and returns its ticket.
    pub fn start(&self, job: Job) -> u64 {
        self.desk.start(job)
    }

    /// Drops whatever is being evaluated.
    pub fn cancel(&self) {
        self.desk.cancel();
    }
}

/// Evaluates level after level, until the finest or until another job is wanted.
fn evaluate(
    job: Job,
    threads: usize,
    wanted: &(dyn Fn() -> bool + Sync),
    tell: &dyn Fn(Level),
) -> Result<()> {
    let started = Instant::now();
    if !wanted() {
        return Ok(());
    }
    let llama = job.llama;
    let function =
        LossFunction { llama: &llama, batch: &job.batch, objective: Objective::Mean, device: &job.device };
    let plane = job.directions.plane(&function, &job.origin, wanted)?;
    let survey =
        Survey::new(llama.clone(), job.origin, plane, &job.batch, Objective::Mean, None, &job.device)?;
    let survey = Arc::new(survey);
    let pace = job.beside_training.then(|| Pace::new(threads));
    let before = |points| {
        if let Some(pace) = &pace {
            pace.wait(points, wanted);
        }
    };
    let control = Control { go_on: wanted, before: &before, progress: &|_| () };
    let (mut grid, mut step, mut critical_multiple) = (Grid::coarse(job.range), job.step, None);
    while grid.fill(&survey, survey.points_at_once(), &control)? {
        let last = grid.alphas().len() >= job.finest;
        // A person waits for the first picture, not for this.
        if last && let Some(step) = step.take() {
            critical_multiple = sharpness(&llama, survey.origin(), step, &job.device, wanted)
                .inspect_err(|error| log::error!("the sharpness of the step can't be measured: {error}"))
                .unwrap_or(None);
        }
        let seconds = started.elapsed().as_secs_f64();
        let survey = Arc::clone(&survey);
        tell(Level { survey, grid: grid.clone(), seconds, critical_multiple, last });
        if last {
            break;
        }
        grid = grid.finer();
    }
    Ok(())
}

/// The critical multiple of the step that led to `after`, on its own batch.
fn sharpness(
    llama: &Llama,
    after: &Params,
    step: LastStep,
    device: &Device,
    wanted: &dyn Fn() -> bool,
) -> Result<Option<f64>> {
    let names: Vec<String> = after.iter().map(|(name, _)| name.to_owned()).collect();
    let update = difference(&step.before, after, &names)?;
    let info = PlaneInfo { kind: PlaneKind::Update.name().to_owned(), ..PlaneInfo::default() };
    let line = Plane::new(update, Direction::default(), info)?;
    if line.info().norms[0] == 0.0 {
        return Ok(None);
    }
    let (llama, method) = (llama.clone(), Some(Method::Materialise));
    let survey = Survey::new(llama, step.before, line, &step.batch, Objective::Mean, method, device)?;
    // Where the slice is no longer wanted, all losses are the same and nothing is found.
    let loss_at = |multiple: f64| {
        let losses = survey.losses(&[[multiple, 0.0]], wanted)?;
        Ok(losses.and_then(|losses| losses.first().copied()).map_or(f64::NEG_INFINITY, |losses| losses.loss))
    };
    let start = loss_at(0.0)?;
    critical_multiple(loss_at, start)
}

/// Keeps the points of a slice apart, so that training keeps most of the machine. For one thread.
struct Pace {
    started: Instant,
    /// Points begun.
    points: AtomicU64,
    /// Nanoseconds slept.
    slept: AtomicU64,
    /// The share of one core that may be taken.
    share: f64,
}

impl Pace {
    /// The longest sleep without asking whether the slice is still wanted.
    const NAP: Duration = Duration::from_millis(20);

    fn new(threads: usize) -> Self {
        let share = (SHARE * threads as f64).min(1.0);
        Self { started: Instant::now(), points: AtomicU64::new(0), slept: AtomicU64::new(0), share }
    }

    /// Sleeps until the next points may begin.
    fn wait(&self, points: usize, wanted: &dyn Fn() -> bool) {
        let begun = self.points.fetch_add(points as u64, Ordering::Relaxed);
        let elapsed = self.started.elapsed();
        let slept = Duration::from_nanos(self.slept.load(Ordering::Relaxed));
        let due = due(begun, elapsed.saturating_sub(slept), self.share);
        while wanted()
            && let left = due.saturating_sub(self.started.elapsed())
            && !left.is_zero()
        {
            thread::sleep(left.min(Self::NAP));
        }
        let pause = self.started.elapsed().saturating_sub(elapsed);
        self.slept.fetch_add(pause.as_nanos() as u64, Ordering::Relaxed);
    }
}

/// When the next point may begin, counted from the start of the job: `busy` was spent on the first `points`.
///
/// The share decides, unless it would keep a coarse picture longer than the patience that one core could meet.
fn due(points: u64, busy: Duration, share: f64) -> Duration {
    let by_share = busy.div_f64(share);
    let coarse = (Grid::COARSE * Grid::COARSE) as f64;
    let by_patience = PATIENCE.mul_f64(points as f64 / coarse);
    if busy <= by_patience { by_share.min(by_patience) } else { by_share }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn quick_points_take_their_share_of_a_core() {
        assert_eq!(due(10, MS(40), 0.4), MS(100));
    }

    #[test]
    fn slower_points_still_complete_a_coarse_picture_in_time() {
        // 15 ms a point: at a share of 0.4 a picture would take three seconds.
        assert_eq!(due(81, MS(81 * 15), 0.4), PATIENCE);
    }

    #[test]
    fn points_that_no_core_could_do_in_time_fall_back_to_the_share() {
        assert_eq!(due(10, MS(1000), 0.4), MS(2500));
    }
}
