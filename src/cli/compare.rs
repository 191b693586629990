//! `compare`: what two models say of one text, and the way from one to the other.

use std::num::NonZero;

use candle_core::{DType, Device};
use serde::Serialize;

use super::eval::{Evaluation, tokens_of};
use super::model::AskArgs;
use super::progress::Progress;
use crate::landscape::directions::difference;
use crate::landscape::evaluator::Objective;
use crate::landscape::plane::{Plane, product};
use crate::landscape::survey::{Control, Grid, Survey, evenly};
use crate::model::checkpoint::Checkpoint;
use crate::model::device;
use crate::model::llama::Llama;
use crate::model::shapes::parameter_shapes;
use crate::predict::divergences;
use crate::train::corpus::Batch;

/// Points of the way from one model to the other.
const POINTS: usize = 21;
/// Tokens whose overlap is counted.
const TOP: usize = 10;

/// What two models say of one text, and the loss on the way from one to the other
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A folder in Hugging Face layout, a .gguf file, a run by name or folder, or RUN@STEP
    a: String,
    /// The other one
    b: String,
    /// Every token after the first is predicted; the last is the target
    #[arg(long, value_name = "TEXT")]
    text: String,
    /// Measure the gradient norms too
    #[arg(long)]
    grad: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Comparison {
    a: Evaluation,
    b: Evaluation,
    /// Mean over the places of the text, in nats; null where the vocabularies differ.
    kl_ab: Option<f64>,
    kl_ba: Option<f64>,
    /// The share of the ten likeliest tokens after the text that both have; null where the vocabularies differ.
    top_overlap: Option<f64>,
    /// Null where the shapes differ.
    path: Option<Path>,
}

/// The mean loss of the text at `(1 - t) a + t b`.
#[derive(Debug, Serialize)]
struct Path {
    t: Vec<f64>,
    loss: Vec<f64>,
    /// How far the loss rises above the straight line between its ends.
    barrier: f64,
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.ask.threads
    }

    /// Prints the comparison.
    pub(super) fn run(self) -> anyhow::Result<()> {
        let device = device::open(self.ask.device)?;
        let a = super::model::open(&self.a, &device, self.ask.quiet)?;
        let b = super::model::open(&self.b, &device, self.ask.quiet)?;
        let progress = Progress::new(self.ask.quiet);
        progress.show("reading the text with both");
        let evaluate = |model: &Checkpoint| Evaluation::of(model, &self.text, TOP, self.grad, &device);
        let (of_a, of_b) = (evaluate(&a)?, evaluate(&b)?);
        let ids = tokens_of(&a, &self.text)?;
        let alike = same_tokens(&a, &b);
        let llamas = [&a, &b].map(|model| Llama::new(&model.config, DType::F32, &device));
        let [llama_a, llama_b] = llamas;
        let (llama_a, llama_b) = (llama_a?, llama_b?);
        let kl = alike
            .then(|| divergences([(&llama_a, &a.params), (&llama_b, &b.params)], &ids, &device))
            .transpose()?;
        let path = if alike && parameter_shapes(&a.config) == parameter_shapes(&b.config) {
            progress.show("going from one to the other");
            Some(path(llama_a, &a, &b, ids, of_a.loss, &device)?)
        } else {
            None
        };
        progress.end();
        let shared = of_a.next.iter().filter(|a| of_b.next.iter().any(|b| a.token.id == b.token.id)).count();
        let comparison = Comparison {
            kl_ab: kl.map(|kl| kl[0]),
            kl_ba: kl.map(|kl| kl[1]),
            top_overlap: alike.then(|| shared as f64 / of_a.next.len() as f64),
            path,
            a: of_a,
            b: of_b,
        };
        if self.ask.json {
            return super::print(&format!("{}\n", serde_json::to_string(&comparison)?));
        }
        super::print(&comparison.table())
    }
}

/// Whether a number means the same token to both.
fn same_tokens(a: &Checkpoint, b: &Checkpoint) -> bool {
    let (a, b, sizes) = (&a.tokenizer, &b.tokenizer, [a.config.vocab_size, b.config.vocab_size]);
    let count = a.vocab_size();
    count == b.vocab_size() && sizes[0] == sizes[1] && (0..count as u32).all(|id| a.token(id) == b.token(id))
}

/// The loss on the straight way between two models of one shape.
fn path(
    llama: Llama,
    a: &Checkpoint,
    b: &Checkpoint,
    ids: Vec<u32>,
    loss_of_a: f64,
    device: &Device,
) -> anyhow::Result<Path> {
    let names: Vec<String> = a.params.iter().map(|(name, _)| name.to_owned()).collect();
    let difference = difference(&a.params, &b.params, &names)?;
    if product(&difference, &difference)? == 0.0 {
        let t = evenly(0.0, 1.0, POINTS);
        return Ok(Path { t, loss: vec![loss_of_a; POINTS], barrier: 0.0 });
    }
    // The second direction is not gone along; its seeds mean nothing.
    let plane = Plane::along(difference, "path", [0, 0])?;
    let batch = Batch::new(vec![ids]);
    let survey = Survey::new(llama, a.params.clone(), plane, &batch, Objective::Mean, None, device)?;
    let mut grid = Grid::new(evenly(0.0, 1.0, POINTS), vec![0.0]);
    grid.fill(&survey, survey.points_at_once(), &Control::QUIET)?;
    let (t, loss) = (grid.alphas().to_vec(), grid.loss());
    let straight = |t: f64| (1.0 - t) * loss[0] + t * loss[POINTS - 1];
    let barrier = t.iter().zip(&loss).map(|(t, loss)| loss - straight(*t)).fold(f64::NEG_INFINITY, f64::max);
    Ok(Path { t, loss, barrier })
}

impl Comparison {
    /// The same for a person.
    fn table(&self) -> String {
        let (a, b) = (&self.a, &self.b);
        let mut table = format!("a  {}\nb  {}\n", super::printable(&a.model), super::printable(&b.model));
        table.push_str(&format!("\nloss         {:>9.4} {:>9.4}\n", a.loss, b.loss));
        if let (Some(a), Some(b)) = (a.grad_norm, b.grad_norm) {
            table.push_str(&format!("gradient     {a:>9.4} {b:>9.4}\n"));
        }
        match (self.kl_ab, self.kl_ba, self.top_overlap) {
            (Some(ab), Some(ba), Some(overlap)) => {
                table.push_str(&format!("KL a|b, b|a  {ab:>9.4} {ba:>9.4} nats\n"));
                table.push_str(&format!("likeliest ten in common: {:.0} %\n", 100.0 * overlap));
                table.push_str("\n     a        b  token\n");
                let losses = a.token_losses.iter().zip(&b.token_losses);
                for (token, (a, b)) in a.tokens.iter().skip(1).zip(losses) {
                    let text = super::printable(&token.text);
                    table.push_str(&format!("{a:>8.4} {b:>8.4}  {text}\n"));
                }
            }
            _ => table
                .push_str("the tokenizers differ: losses a token are not comparable, and there is no KL\n"),
        }
        for (side, evaluation) in [("a", a), ("b", b)] {
            table.push_str(&format!("\nafter the text, {side}\n"));
            super::eval::bars(&mut table, &evaluation.next);
        }
        match &self.path {
            Some(path) => {
                let losses: Vec<String> = path.loss.iter().map(|loss| format!("{loss:.3}")).collect();
                table.push_str(&format!(
                    "\nloss from a to b, barrier {:.4}\n{}\n",
                    path.barrier,
                    losses.join(" ")
                ));
            }
            None => {
                table.push_str("\nthere is no way from one to the other: they differ in shape or tokens\n");
            }
        }
        table
    }
}
