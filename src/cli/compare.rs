//! `compare`: what two models say of one text, and the way from one to the other.

use std::io::IsTerminal;
use std::num::NonZero;

use anyhow::bail;
use candle_core::{DType, Device};
use serde::Serialize;

use super::eval::{self, Evaluation};
use super::model::AskArgs;
use super::progress::Progress;
use super::screen;
use crate::app::{Bindings, comparison};
use crate::generate::Sampling;
use crate::landscape::path::between;
use crate::landscape::survey::Control;
use crate::model::checkpoint::Checkpoint;
use crate::model::device;
use crate::model::llama::Llama;
use crate::predict::{divergences, mean_divergences};
use crate::protocol::comparison::PathLoss;
use crate::run::comparison::{Host, PROMPT, Settings, pair};
use crate::train::corpus::Batch;

/// Tokens whose overlap is counted.
const TOP: usize = 10;

/// What two models say of one text, and the loss on the way from one to the other
///
/// On a terminal: side by side, with a landscape around each. Without models, a small pair is compared that is trained
/// once: one has read statements, the other has learnt to answer questions.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// org/name or org/name@revision on the Hub, a folder in its layout, a .gguf file, a run by name or folder, or
    /// RUN@STEP
    #[arg(requires = "b")]
    a: Option<String>,
    /// The other one
    b: Option<String>,
    /// Every token after the first is predicted; the last is the target [default: the capital of France]
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Measure the gradient norms too; the screen does so in any case
    #[arg(long)]
    grad: bool,
    /// A reads the text inside its chat template: the last word begins the answer, the rest is the user's message
    #[arg(long)]
    template_a: bool,
    /// B likewise
    #[arg(long)]
    template_b: bool,
    /// Learning rate of steps on the screen [default: 1e-5, of models below 20 million parameters 3e-4]
    #[arg(long, value_name = "RATE", value_parser = super::train::rate)]
    lr: Option<f64>,
    /// Points a side of the finest picture on the screen: 9, 17, 33 or 65
    #[arg(long, value_name = "SIDE", default_value = "33", value_parser = super::train::side)]
    grid: usize,
    /// Softmax temperature of what a model writes on the screen; 0 takes the likeliest token
    #[arg(long, value_name = "T", default_value = "0", value_parser = eval::temperature)]
    temperature: f64,
    /// It draws from the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value = "1", value_parser = eval::share)]
    top_p: f64,
    /// Seed of its draws
    #[arg(long, value_name = "SEED", default_value = "0")]
    seed: u64,
    #[command(flatten)]
    ask: AskArgs,
    #[command(flatten)]
    screen: screen::Args,
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

    /// Opens the screen of the comparison with these keys, or prints what it comes to.
    pub(super) fn run(self, threads: usize, bindings: Bindings<comparison::Action>) -> anyhow::Result<()> {
        let look = self.screen.look()?;
        if self.ask.json || !std::io::stdout().is_terminal() {
            return self.print(threads);
        }
        crate::terminal::check_size()?;
        let sources = match (&self.a, &self.b) {
            (Some(a), Some(b)) => Some([super::model::find(a)?, super::model::find(b)?]),
            _ => None,
        };
        let Self { temperature, top_p, seed, .. } = self;
        let host = Host::start(Settings {
            models: sources,
            text: self.text,
            templates: [self.template_a, self.template_b],
            device: self.ask.device,
            threads,
            learning_rate: self.lr,
            grid: self.grid,
            sampling: Sampling { temperature, top_p, seed },
        })?;
        match screen::compare(&host, look, bindings)? {
            Some(error) => bail!("{error}"),
            None => Ok(()),
        }
    }

    /// Opens the two models, or the pair in their place, and says what they are asked.
    fn open(&self, threads: usize, device: &Device) -> anyhow::Result<([Checkpoint; 2], String)> {
        let quiet = self.ask.quiet;
        let (models, usual) = if let (Some(a), Some(b)) = (&self.a, &self.b) {
            ([super::model::open(a, device, quiet)?, super::model::open(b, device, quiet)?], PROMPT)
        } else {
            let progress = Progress::new(quiet);
            let sources = pair::open(device::choice(device), threads, &|| true, &mut |which, line, share| {
                let name = ["pretrained", "instruct"][which];
                progress.show_if_due(|| format!("{name}: {line}, {:.0} %", 100.0 * share));
            });
            progress.end();
            let [a, b] = sources?.map(|source| source.open(device, &mut |_| {}));
            ([a?, b?], pair::QUESTION)
        };
        Ok((models, self.text.clone().unwrap_or_else(|| usual.to_owned())))
    }

    /// Prints the comparison.
    fn print(self, threads: usize) -> anyhow::Result<()> {
        self.ask.begin();
        let device = device::open(self.ask.device)?;
        let ([a, b], text) = self.open(threads, &device)?;
        let progress = Progress::new(self.ask.quiet);
        progress.show("reading the text with both");
        let prompt_a = eval::prompt(&a, &text, self.template_a)?;
        let prompt_b = eval::prompt(&b, &text, self.template_b)?;
        let llama_a = Llama::new(&a.config, DType::F32, &device)?;
        let llama_b = Llama::new(&b.config, DType::F32, &device)?;
        let of_a = Evaluation::of(&a, &llama_a, &prompt_a, TOP, self.grad, &device)?;
        let of_b = Evaluation::of(&b, &llama_b, &prompt_b, TOP, self.grad, &device)?;
        let alike = a.has_tokens_of(&b);
        let same_text = alike && prompt_a.ids() == prompt_b.ids();
        let kl = if same_text {
            Some(mean_divergences(&divergences(&of_a.reading, &of_b.reading)?))
        } else {
            None
        };
        let path = if same_text && a.config.computes_like(&b.config) {
            progress.show("going from one to the other");
            let batch = Batch::new(vec![prompt_a.ids().to_vec()]);
            between(llama_a, &a.params, &b.params, &batch, &Control::QUIET, &device)?
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
