//! `probe`: sweep one or two single parameters of a model.

use std::num::NonZero;
use std::sync::atomic::Ordering;

use anyhow::{anyhow, bail};
use candle_core::DType;
use serde::Serialize;

use super::at_least_one;
use super::choices::ObjectiveName;
use super::model::{self, AskArgs, BatchArgs, SelectionArgs};
use super::progress::Progress;
use super::ranges::range;
use super::usage::Usage;
use crate::export::surface::finite;
use crate::landscape::directions::LossFunction;
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::Plane;
use crate::landscape::probe::{self, Entry};
use crate::landscape::survey::{Control, Grid, Method, Survey, evenly};
use crate::model::device;
use crate::model::llama::Llama;
use crate::model::params::Params;

/// Points of a sweep at most.
const MOST: usize = 1 << 22;

/// Sweep one or two single parameters: what turning one knob does to the loss
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// org/name or org/name@revision on the Hub, a folder in its layout, a .gguf file, a run by name or folder, or
    /// RUN@STEP
    model: String,
    #[command(flatten)]
    batch: BatchArgs,
    /// A parameter, such as `model.layers.29.mlp.down_proj.weight[12,34]`; twice for a pair
    #[arg(long, value_name = "NAME[I,J]", required_unless_present = "rank_by_gradient")]
    param: Vec<String>,
    /// List this many parameters with the largest gradients, and sweep the first
    #[arg(
        long,
        value_name = "COUNT",
        conflicts_with = "param",
        value_parser = at_least_one::<NonZero<usize>>
    )]
    rank_by_gradient: Option<NonZero<usize>>,
    #[command(flatten)]
    selection: SelectionArgs,
    /// How far to go from the parameter's value
    #[arg(long, value_name = "LO:HI", default_value = "-1:1", allow_hyphen_values = true, value_parser = range)]
    range: (f64, f64),
    /// Values of each parameter [default: 101, 25 for a pair]
    #[arg(long, value_name = "COUNT", value_parser = at_least_one::<NonZero<usize>>)]
    points: Option<NonZero<usize>>,
    /// The loss: mean over all predicted tokens, or the last token
    #[arg(long, value_name = "LOSS", default_value = "mean")]
    objective: ObjectiveName,
    #[command(flatten)]
    ask: AskArgs,
}

/// What `--json` prints. Losses are in nats; what is not finite is null.
#[derive(Debug, Serialize)]
struct Probe {
    model: String,
    objective: &'static str,
    params: Vec<Entry>,
    /// Absolute values, for each parameter.
    values: Vec<Vec<f64>>,
    loss: Sweep,
    p_target: Sweep,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranked: Vec<Entry>,
}

/// A value for each point; with two parameters a row for each value of the second.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Sweep {
    One(Vec<Option<f64>>),
    Two(Vec<Vec<Option<f64>>>),
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.ask.threads
    }

    /// Sweeps and prints.
    pub(super) fn run(self) -> anyhow::Result<()> {
        if self.param.len() > 2 {
            let problem = format!("--param: {} parameters; a sweep takes one or two", self.param.len());
            return Err(Usage::error(problem));
        }
        self.ask.begin();
        let interrupted = super::interrupt::flag()?;
        let device = device::open(self.ask.device)?;
        let checkpoint = model::open(&self.model, &device, self.ask.quiet)?;
        let (batch, _) = self.batch.batch(&self.model, &checkpoint)?;
        let (params, objective) = (&checkpoint.params, Objective::from(self.objective));
        let llama = Llama::new(&checkpoint.config, DType::F32, &device)?;
        let function = LossFunction { llama: &llama, batch: &batch, objective, device: &device };
        let (turned, ranked) = if let Some(count) = self.rank_by_gradient {
            let names = self.selection.selection()?.names(params)?;
            let ranked = probe::rank(params, &function.gradient(params, &names)?, count.get())?;
            (ranked[..1].to_vec(), ranked)
        } else {
            (self.named(params, &function)?, Vec::new())
        };
        let at = |entry: &'_ Entry| -> (String, usize) { (entry.name.clone(), entry.flat) };
        let (first, second) = (at(&turned[0]), turned.get(1).map(at));
        let second = second.as_ref().map(|(name, flat)| (name.as_str(), *flat));
        let plane = Plane::entries(params, (&first.0, first.1), second)?;
        let count =
            self.points.map_or(if second.is_some() { probe::SIDE } else { probe::POINTS }, NonZero::get);
        if count.saturating_mul(if second.is_some() { count } else { 1 }) > MOST {
            return Err(Usage::error(format!(
                "--points {count}: a sweep has at most {MOST} points, of both parameters together"
            )));
        }
        let (low, high) = self.range;
        if count > 1 && low >= high {
            return Err(Usage::error(format!("--range {low}:{high}: {count} points need a width")));
        }
        let moves = evenly(low, high, count);
        let mut grid = Grid::new(moves.clone(), if second.is_some() { moves.clone() } else { vec![0.0] });
        let method = Some(Method::Stack);
        let survey = Survey::new(llama.clone(), params.clone(), plane, &batch, objective, method, &device)?;
        let progress = Progress::new(self.ask.quiet);
        let total = grid.points().len();
        let report = |grid: &Grid| progress.show_if_due(|| format!("{} of {total} points", grid.known()));
        let go_on = || !interrupted.load(Ordering::Relaxed);
        let control = Control { go_on: &go_on, before: &|_| (), progress: &report };
        let complete = grid.fill(&survey, survey.points_at_once(), &control)?;
        progress.end();
        if !complete {
            bail!("interrupted after {} of {total} points", grid.known());
        }
        let sweep = |values: Vec<f64>| match second {
            None => Sweep::One(finite(&values)),
            Some(_) => Sweep::Two(finite(&values).chunks(count).map(<[_]>::to_vec).collect()),
        };
        let targets = grid.points().iter().map(|point| point.map_or(f64::NAN, |losses| (-losses.last).exp()));
        let probe = Probe {
            model: checkpoint.name.clone(),
            objective: objective.name(),
            values: turned.iter().map(|p| moves.iter().map(|moved| p.value + moved).collect()).collect(),
            params: turned,
            loss: sweep(grid.loss()),
            p_target: sweep(targets.collect()),
            ranked,
        };
        if self.ask.json {
            super::print(&format!("{}\n", serde_json::to_string(&probe)?))?;
        } else {
            super::print(&probe.table(&grid))?;
        }
        Ok(())
    }
}

impl Args {
    /// The parameters that `--param` names.
    fn named(&self, params: &Params, function: &LossFunction) -> anyhow::Result<Vec<Entry>> {
        for text in &self.param {
            probe::parts(text).map_err(|problem| Usage::error(format!("--param {problem}")))?;
        }
        let place =
            |text: &String| probe::place(text, params).map_err(|problem| anyhow!("--param {problem}"));
        let places = self.param.iter().map(place).collect::<anyhow::Result<Vec<_>>>()?;
        if let [first, second] = &places[..]
            && first == second
        {
            return Err(Usage::error(format!("--param: both are {}; a pair needs two", self.param[0])));
        }
        let names: Vec<String> = places.iter().map(|(name, _)| name.clone()).collect();
        let gradient = function.gradient(params, &names)?;
        let read = |(name, flat)| Ok(Entry::read(params, &gradient, name, flat)?);
        places.into_iter().map(read).collect()
    }
}

impl Probe {
    fn table(&self, grid: &Grid) -> String {
        let mut table = String::new();
        let shown = if self.ranked.is_empty() { &self.params } else { &self.ranked };
        for param in shown {
            let index = param.index.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let name = super::printable(&param.name);
            table.push_str(&format!(
                "{name}[{index}]  value {:.6}  gradient {:.6}\n",
                param.value, param.grad
            ));
        }
        let losses = grid.loss();
        let best = (0..losses.len())
            .filter(|i| losses[*i].is_finite())
            .min_by(|a, b| losses[*a].total_cmp(&losses[*b]));
        if let Some(best) = best {
            let columns = grid.alphas().len();
            let values: Vec<String> = self
                .values
                .iter()
                .zip([best % columns, best / columns])
                .map(|(values, at)| format!("{:.4}", values[at]))
                .collect();
            table.push_str(&format!(
                "{} points, {} loss; the least is {:.4} at {}\n",
                losses.len(),
                self.objective,
                losses[best],
                values.join(", ")
            ));
        }
        table
    }
}
