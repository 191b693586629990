//! The loss on a plane: the evaluation of a slice, row by row, coarse to fine.

use std::sync::Mutex;

use candle_core::{Device, Error, Result};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::evaluator::{Evaluator, Losses, Objective};
use super::plane::Plane;
use super::stack::Stack;
use crate::model::llama::Llama;
use crate::model::params::Params;
use crate::ranks::{Crew, Outcome, Ranks};
use crate::train::corpus::Batch;

/// How the points of a slice are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// Many points at once, whose weights share three matrices.
    Stack,
    /// One point after another, with weights built for it.
    Materialise,
}

impl Method {
    /// Tokens of a batch up to which stacking wins: beyond, the second product costs more than building weights.
    const STACK_TOKENS: usize = 64;
    /// Rows of activations that are stacked: enough for the matrix products to be quick.
    const STACK_ROWS: usize = 256;

    /// The rule: a function of the batch's shape alone.
    pub fn for_tokens(tokens: usize) -> Self {
        if tokens <= Self::STACK_TOKENS { Self::Stack } else { Self::Materialise }
    }

    /// What a person types.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stack => "stack",
            Self::Materialise => "materialise",
        }
    }
}

/// Everything a point of a slice depends on: frozen weights, a plane through them, one batch and which loss.
#[derive(Debug)]
pub struct Survey {
    origin: Params,
    plane: Plane,
    method: Method,
    evaluation: Evaluation,
}

#[derive(Debug)]
enum Evaluation {
    Cpu(Evaluator),
    /// On a GPU the model itself is run, with weights built for each point.
    Device(Stack),
}

impl Survey {
    /// A survey around `origin`, which nothing may write to: see [`Params::frozen`]. Without a method, the rule
    /// chooses.
    pub fn new(
        llama: Llama,
        origin: Params,
        plane: Plane,
        batch: &Batch,
        objective: Objective,
        method: Option<Method>,
        device: &Device,
    ) -> Result<Self> {
        let (evaluation, method) = if device.is_cpu() {
            let evaluator = Evaluator::new(&llama, &origin, &plane, batch, objective)?;
            let method = method.unwrap_or_else(|| Method::for_tokens(batch.predicted()));
            (Evaluation::Cpu(evaluator), method)
        } else {
            let stack = Stack::new(llama, &origin, &plane, batch, objective, device)?;
            (Evaluation::Device(stack), method.unwrap_or(Method::Stack))
        };
        Ok(Self { origin, plane, method, evaluation })
    }

    /// The weights at (0, 0).
    pub fn origin(&self) -> &Params {
        &self.origin
    }

    /// The plane.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// How its points are evaluated.
    pub fn method(&self) -> Method {
        self.method
    }

    /// Points that a worker takes on at once.
    pub fn points_at_once(&self) -> usize {
        match (&self.evaluation, self.method) {
            (Evaluation::Cpu(evaluator), Method::Stack) => {
                Method::STACK_ROWS.div_ceil(evaluator.rows_per_point())
            }
            (Evaluation::Device(stack), Method::Stack) => stack.points_at_once(),
            (_, Method::Materialise) => 1,
        }
    }

    /// Bytes of this machine's memory that a worker needs for that many points at once, beside the weights and the
    /// directions.
    pub fn bytes(&self, points: usize) -> usize {
        match &self.evaluation {
            Evaluation::Cpu(evaluator) => evaluator.bytes(points),
            Evaluation::Device(_) => 0,
        }
    }

    /// The losses at `origin + alpha d1 + beta d2` for each point `[alpha, beta]`, on the calling thread. `go_on`
    /// is asked many times a second; once it says no, the rest is left and `None` comes back.
    pub fn losses(&self, points: &[[f64; 2]], go_on: &dyn Fn() -> bool) -> Result<Option<Vec<Losses>>> {
        match &self.evaluation {
            Evaluation::Cpu(evaluator) => evaluator.losses(points, go_on),
            Evaluation::Device(_) if !go_on() => Ok(None),
            Evaluation::Device(stack) => stack.losses(&self.origin, &self.plane, points).map(Some),
        }
    }

    /// The loss at one point. The weights of every point are built from the origin's, so no rounding adds up
    /// from point to point.
    pub fn loss(&self, alpha: f64, beta: f64) -> Result<f64> {
        let losses = self.losses(&[[alpha, beta]], &|| true)?;
        let first = losses.and_then(|losses| losses.first().copied());
        first.map(|losses| losses.loss).ok_or_else(|| Error::msg("no loss was computed"))
    }

    fn work(&self, points: &[[f64; 2]], go_on: &dyn Fn() -> bool) -> Outcome<Vec<Losses>> {
        self.losses(points, go_on).map_err(|error| error.to_string())
    }

    /// Evaluates the pieces of a grid that the first process deals, until there are no more.
    pub fn help(&self, ranks: &Ranks, is_called: &dyn Fn() -> bool) -> Result<()> {
        let work = |points: &Vec<[f64; 2]>, go_on: &dyn Fn() -> bool| self.work(points, go_on);
        let crew = Crew { threads: rayon::current_num_threads(), work: &work };
        ranks.help(&crew, is_called).map_err(Error::wrap)
    }
}

/// What a filling grid asks and tells.
pub struct Control<'a> {
    /// Asked many times a second; once it says no, the rest is left.
    pub go_on: &'a (dyn Fn() -> bool + Sync),
    /// Called before so many points are begun; it may wait.
    pub before: &'a (dyn Fn(usize) + Sync),
    /// Called after some points are done.
    pub progress: &'a (dyn Fn(&Grid) + Sync),
}

impl Control<'_> {
    /// To the end, in silence.
    pub const QUIET: Control<'static> = Control { go_on: &|| true, before: &|_| (), progress: &|_| () };
}

/// A grid of points and what is known of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    alphas: Vec<f64>,
    betas: Vec<f64>,
    /// Row by row, rows along beta.
    points: Vec<Option<Losses>>,
}

impl Grid {
    /// Points a side at the coarsest level of a square grid.
    pub const COARSE: usize = 9;

    /// An empty grid of these coordinates.
    pub fn new(alphas: Vec<f64>, betas: Vec<f64>) -> Self {
        let points = vec![None; alphas.len() * betas.len()];
        Self { alphas, betas, points }
    }

    /// An empty coarse grid over `-range..=range` in both directions.
    pub fn coarse(range: f64) -> Self {
        let side = evenly(-range, range, Self::COARSE);
        Self::new(side.clone(), side)
    }

    /// Coordinates along the first direction.
    pub fn alphas(&self) -> &[f64] {
        &self.alphas
    }

    /// Coordinates along the second direction.
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// What is known, row by row, rows along beta.
    pub fn points(&self) -> &[Option<Losses>] {
        &self.points
    }

    /// Losses row by row, rows along beta; NaN where nothing is known.
    pub fn loss(&self) -> Vec<f64> {
        self.points.iter().map(|point| point.map_or(f64::NAN, |losses| losses.loss)).collect()
    }

    /// Points that are known.
    pub fn known(&self) -> usize {
        self.points.iter().flatten().count()
    }

    /// Notes the losses of the point in this row and column.
    pub fn set(&mut self, row: usize, column: usize, losses: Losses) {
        self.points[row * self.alphas.len() + column] = Some(losses);
    }

    /// The next level of a square grid: twice the resolution, the known points kept.
    #[must_use]
    pub fn finer(&self) -> Self {
        let between = |values: &[f64]| -> Vec<f64> {
            let pairs = values.windows(2).flat_map(|w| [w[0], f64::midpoint(w[0], w[1])]);
            pairs.chain(values.last().copied()).collect()
        };
        let mut finer = Self::new(between(&self.alphas), between(&self.betas));
        for (index, losses) in self.points.iter().enumerate() {
            let (row, column) = (index / self.alphas.len(), index % self.alphas.len());
            if let Some(losses) = losses {
                finer.set(2 * row, 2 * column, *losses);
            }
        }
        finer
    }

    fn is_known(&self, (row, column): (usize, usize)) -> bool {
        self.points[row * self.alphas.len() + column].is_some()
    }

    /// Forgets what is known of pieces that were left in the middle, as a file of another origin may have them, so
    /// that all pieces are those of an evaluation that was never interrupted: which points are evaluated together
    /// changes the last bits of their losses.
    pub fn keep_pieces(&mut self, most: usize) {
        for piece in self.cut(most, |_| true) {
            if !piece.iter().all(|place| self.is_known(*place)) {
                for (row, column) in piece {
                    self.points[row * self.alphas.len() + column] = None;
                }
            }
        }
    }

    /// What is missing, in pieces of at most `most` points: those of the whole grid where each is either known or
    /// missing, so that what was interrupted goes on to the same numbers.
    fn pieces(&self, most: usize) -> Vec<Vec<(usize, usize)>> {
        let mut whole = self.cut(most, |_| true);
        let known = |piece: &[(usize, usize)]| piece.iter().filter(|place| self.is_known(**place)).count();
        if whole.iter().all(|piece| [0, piece.len()].contains(&known(piece))) {
            whole.retain(|piece| known(piece) == 0);
            return whole;
        }
        self.cut(most, |place| !self.is_known(place))
    }

    /// The places that are `wanted`, coarse rows first, in pieces of nearly equal length and at most `most` points:
    /// rows and columns. Rows that fill a third of a piece are cut for themselves, since points of one row are
    /// cheaper.
    fn cut(&self, most: usize, wanted: impl Fn((usize, usize)) -> bool) -> Vec<Vec<(usize, usize)>> {
        /// Pieces at least where rows are not kept apart, for as many threads.
        const PIECES: usize = 2;
        let mut order: Vec<usize> = (0..self.betas.len()).collect();
        // The more often a row's number is halved without a rest, the coarser the level it belongs to.
        order.sort_by_key(|row| std::cmp::Reverse(if *row == 0 { u32::MAX } else { row.trailing_zeros() }));
        let wanted = |row: &usize| -> Vec<(usize, usize)> {
            (0..self.alphas.len()).map(|column| (*row, column)).filter(|place| wanted(*place)).collect()
        };
        let cut = |points: Vec<(usize, usize)>, most: usize| {
            let pieces = points.len().div_ceil(most.max(1)).max(1);
            let length = points.len().div_ceil(pieces).max(1);
            points.chunks(length).map(<[_]>::to_vec).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<(usize, usize)>> = order.iter().map(wanted).filter(|row| !row.is_empty()).collect();
        let total: usize = rows.iter().map(Vec::len).sum();
        if rows.len() > 1 && 3 * total / rows.len() >= most {
            return rows.into_iter().flat_map(|row| cut(row, most)).collect();
        }
        cut(rows.concat(), most.min(total.div_ceil(PIECES)))
    }

    /// Evaluates all that is missing with the threads of the rayon pool this runs in, at most `most` points at
    /// once. The number of threads changes no bit of the result. Returns whether the grid is complete.
    pub fn fill(&mut self, survey: &Survey, most: usize, control: &Control) -> Result<bool> {
        let (alphas, betas) = (self.alphas.clone(), self.betas.clone());
        let pieces = self.pieces(most);
        let shared = Mutex::new(&mut *self);
        pieces.into_par_iter().with_max_len(1).try_for_each(|piece| -> Result<()> {
            if !(control.go_on)() {
                return Ok(());
            }
            (control.before)(piece.len());
            let points: Vec<[f64; 2]> =
                piece.iter().map(|(row, column)| [alphas[*column], betas[*row]]).collect();
            if let Some(losses) = survey.losses(&points, control.go_on)? {
                let mut grid = shared.lock().map_err(|_| Error::msg("a worker of the slice panicked"))?;
                for ((row, column), losses) in piece.into_iter().zip(losses) {
                    grid.set(row, column, losses);
                }
                (control.progress)(&grid);
            }
            Ok(())
        })?;
        Ok(self.known() == self.points.len())
    }

    /// The same with the threads of all processes of a job, of which the others have to [`help`](Survey::help). Their
    /// number changes no bit either: the pieces are the same. None waits for `control.before`.
    pub fn fill_with(
        &mut self,
        ranks: &Ranks,
        survey: &Survey,
        most: usize,
        control: &Control,
    ) -> Result<bool> {
        if !ranks.are_several() {
            return self.fill(survey, most, control);
        }
        let pieces = self.pieces(most);
        let point = |(row, column): &(usize, usize)| [self.alphas[*column], self.betas[*row]];
        let points: Vec<Vec<[f64; 2]>> =
            pieces.iter().map(|piece| piece.iter().map(point).collect()).collect();
        let work = |points: &Vec<[f64; 2]>, go_on: &dyn Fn() -> bool| survey.work(points, go_on);
        let crew = Crew { threads: rayon::current_num_threads(), work: &work };
        let dealt = ranks.deal(&points, &crew, control.go_on, &mut |number, losses: Vec<Losses>| {
            for ((row, column), losses) in pieces[number].iter().zip(losses) {
                self.set(*row, *column, losses);
            }
            (control.progress)(self);
        });
        dealt.map_err(Error::msg)?;
        Ok(self.known() == self.points.len())
    }
}

/// `count` numbers from `low` to `high` at equal distances; one number is the middle.
pub fn evenly(low: f64, high: f64, count: usize) -> Vec<f64> {
    if count == 1 {
        return vec![f64::midpoint(low, high)];
    }
    let last = count.saturating_sub(1) as f64;
    (0..count).map(|i| (low * (last - i as f64) + high * i as f64) / last).collect()
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    fn known(loss: f64) -> Losses {
        Losses { loss, last: loss }
    }

    #[test]
    fn a_finer_grid_keeps_what_is_known_at_the_same_coordinates() {
        let mut grid = Grid::coarse(0.5);
        for row in 0..9 {
            for column in 0..9 {
                grid.set(row, column, known(grid.alphas()[column] + 10.0 * grid.betas()[row]));
            }
        }
        let finer = grid.finer();
        assert_eq!((finer.alphas().len(), finer.points().len() - finer.known()), (17, 17 * 17 - 81));
        assert_eq!((finer.alphas()[0], finer.alphas()[8], finer.betas()[16]), (-0.5, 0.0, 0.5));
        for (index, loss) in finer.loss().into_iter().enumerate().filter(|(_, loss)| !loss.is_nan()) {
            assert_eq!(loss, finer.alphas()[index % 17] + 10.0 * finer.betas()[index / 17]);
        }
    }

    #[test]
    fn every_missing_point_is_in_one_piece_and_coarse_rows_come_first() {
        let mut grid = Grid::new(evenly(-1.0, 1.0, 7), evenly(0.0, 1.0, 5));
        grid.set(2, 3, known(1.0));
        let rows = |piece: &Vec<(usize, usize)>| {
            let mut rows: Vec<usize> = piece.iter().map(|(row, _)| *row).collect();
            rows.dedup();
            rows
        };
        for most in [1, 4, 7, 12, 100] {
            let pieces = grid.pieces(most);
            let mut points = pieces.concat();
            points.sort_unstable();
            points.dedup();
            assert_eq!((points.len(), pieces.concat().len()), (34, 34), "{most}");
            assert!(!points.contains(&(2, 3)) && pieces.iter().all(|piece| piece.len() <= most));
            let mut order: Vec<usize> = pieces.iter().flat_map(rows).collect();
            order.dedup();
            assert_eq!(order, [0, 4, 2, 1, 3], "{most}");
        }
        assert!(grid.pieces(12).iter().all(|piece| rows(piece).len() == 1), "long rows are kept apart");
        assert_eq!(grid.pieces(100).len(), 2, "short rows are put together, for some threads");
    }

    #[test]
    fn what_was_interrupted_goes_on_in_the_pieces_that_it_was_begun_in() {
        for (columns, rows, most) in [(25, 9, 12), (7, 5, 43), (33, 1, 10)] {
            let mut grid = Grid::new(evenly(-1.0, 1.0, columns), evenly(0.0, 1.0, rows));
            let pieces = grid.pieces(most);
            let (done, left): (Vec<_>, Vec<_>) =
                pieces.into_iter().enumerate().partition(|(index, _)| index % 3 == 1);
            for (row, column) in done.into_iter().flat_map(|(_, piece)| piece) {
                grid.set(row, column, known(1.0));
            }
            let left: Vec<_> = left.into_iter().map(|(_, piece)| piece).collect();
            assert_eq!(grid.pieces(most), left);
            // A point that is known alone is of no use.
            let (row, column) = left[0][0];
            grid.set(row, column, known(1.0));
            grid.keep_pieces(most);
            assert_eq!(grid.pieces(most), left);
        }
    }

    #[test]
    fn coordinates_are_even_and_meet_their_ends_and_middle() {
        assert_eq!(evenly(-1.0, 1.0, 5), [-1.0, -0.5, 0.0, 0.5, 1.0]);
        assert_eq!(evenly(0.25, 0.75, 1), [0.5]);
        assert_eq!(evenly(-0.3, 0.3, 25)[12], 0.0);
    }
}
