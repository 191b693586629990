//! `compare`: what two models say of one text, and the way from one to the other.

use std::num::NonZero;

use candle_core::DType;
use serde::Serialize;

use super::eval::{Asked, Evaluation};
use super::model::AskArgs;
use super::progress::Progress;
use crate::landscape::path::{PathLoss, between};
use crate::model::checkpoint::Checkpoint;
use crate::model::device;
use crate::model::llama::Llama;
use crate::model::shapes::parameter_shapes;
use crate::predict::divergences;
use crate::train::corpus::Batch;

/// Tokens whose overlap is counted.
const TOP: usize = 10;

/// What two models say of one text, and the loss on the way from one to the other
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// org/name[@revision] on the Hub, a folder in its layout, a .gguf file, a run by name or folder, or RUN@STEP
    a: String,
    /// The other one
    b: String,
    /// Every token after the first is predicted; the last is the target
    #[arg(long, value_name = "TEXT")]
    text: String,
    /// Measure the gradient norms too
    #[arg(long)]
    grad: bool,
    /// A reads the text inside its chat template: the last word begins the answer, the rest is the user's message
    #[arg(long)]
    template_a: bool,
    /// B likewise
    #[arg(long)]
    template_b: bool,
    #[command(flatten)]
    ask: AskArgs,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Comparison {
    a: Evaluation,
    b: Evaluation,
    /// Mean over the places of the text, in nats; null where the tokens differ.
    kl_ab: Option<f64>,
    kl_ba: Option<f64>,
    /// The share of the ten likeliest tokens after the text that both have; null where the vocabularies differ.
    top_overlap: Option<f64>,
    /// Null where the shapes or the tokens differ.
    path: Option<PathLoss>,
    /// A number means the same token to both.
    #[serde(skip)]
    alike: bool,
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
        let texts =
            [Asked::of(&a, &self.text, self.template_a)?, Asked::of(&b, &self.text, self.template_b)?];
        let llamas = [&a, &b].map(|model| Llama::new(&model.config, DType::F32, &device));
        let [llama_a, llama_b] = llamas;
        let (llama_a, llama_b) = (llama_a?, llama_b?);
        let evaluate = |model: &Checkpoint, llama: &Llama, text| {
            Evaluation::of(model, llama, text, TOP, self.grad, &device)
        };
        let of_a = evaluate(&a, &llama_a, &texts[0])?;
        let of_b = evaluate(&b, &llama_b, &texts[1])?;
        let alike = a.config.vocab_size == b.config.vocab_size && a.tokenizer.same_tokens(&b.tokenizer);
        let [ids, of_other] = texts.map(|text| text.ids);
        let same_text = alike && ids == of_other;
        let kl = if same_text {
            let at_places = divergences(&of_a.reading, &of_b.reading)?;
            let mean = |way: usize| at_places.iter().map(|kl| kl[way]).sum::<f64>() / at_places.len() as f64;
            Some([mean(0), mean(1)])
        } else {
            None
        };
        let path = if same_text && parameter_shapes(&a.config) == parameter_shapes(&b.config) {
            progress.show("going from one to the other");
            Some(between(llama_a, &a.params, &b.params, &Batch::new(vec![ids]), &device)?)
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
            alike,
            a: of_a,
            b: of_b,
        };
        if self.ask.json {
            return super::print(&format!("{}\n", serde_json::to_string(&comparison)?));
        }
        super::print(&comparison.table())
    }
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
        for (side, evaluation) in [("a", a), ("b", b)] {
            if let Some(rendered) = &evaluation.rendered {
                table.push_str(&format!("{side} reads {}\n", super::printable(rendered)));
            }
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
            _ if self.alike => table.push_str("the texts differ: there is no KL\n"),
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
                table.push_str(
                    "\nthere is no way from one to the other: they differ in shape, tokens or text\n",
                );
            }
        }
        table
    }
}
