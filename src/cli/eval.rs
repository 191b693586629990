//! `eval`: loss and next-token probabilities of a text.

use std::num::NonZero;

use anyhow::anyhow;
use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use super::at_least_one;
use super::model::AskArgs;
use crate::generate::{Generator, Sampling};
use crate::model::checkpoint::Checkpoint;
use crate::model::device;
use crate::model::llama::Llama;
use crate::predict::{Prompt, Reading, likeliest, rank};
use crate::protocol::Token;

/// Loss and next-token probabilities of a text.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// org/name or org/name@revision on the Hub, a folder in its layout, a .gguf file, a run by name or folder, or
    /// RUN@STEP
    model: String,
    /// Every token after the first is predicted; the last is the target
    #[arg(long, value_name = "TEXT")]
    text: String,
    /// Likeliest tokens to print
    #[arg(long, value_name = "COUNT", default_value = "8", value_parser = at_least_one::<NonZero<usize>>)]
    top: NonZero<usize>,
    /// Measure the gradient norm of the mean loss, over all parameters
    #[arg(long)]
    grad: bool,
    /// Put the text into the model's chat template: its last word begins the answer, the rest is the user's message
    #[arg(long)]
    template: bool,
    /// Let the model write on from the text, by so many tokens at most
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one::<NonZero<usize>>)]
    write: Option<NonZero<usize>>,
    /// Softmax temperature of --write; 0 takes the likeliest token
    #[arg(long, value_name = "T", default_value = "0", requires = "write", value_parser = temperature)]
    temperature: f64,
    /// --write draws from the likeliest tokens that together have this probability
    #[arg(long, value_name = "P", default_value = "1", requires = "write", value_parser = share)]
    top_p: f64,
    /// Seed of the draws of --write
    #[arg(long, value_name = "SEED", default_value = "0", requires = "write")]
    seed: u64,
    #[command(flatten)]
    ask: AskArgs,
}

/// What `--json` prints. Losses are in nats; what is not finite is null.
#[derive(Debug, Serialize)]
pub(super) struct Evaluation {
    pub(super) model: String,
    /// The text inside the chat template, where it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rendered: Option<String>,
    pub(super) tokens: Vec<Token>,
    pub(super) token_losses: Vec<f64>,
    pub(super) loss: f64,
    pub(super) next: Vec<Likely>,
    target: Target,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grad_norm: Option<f64>,
    /// What follows the text, with --write.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<String>,
    #[serde(skip)]
    pub(super) reading: Reading,
}

/// A token and its probability.
#[derive(Debug, Serialize)]
pub(super) struct Likely {
    #[serde(flatten)]
    pub(super) token: Token,
    pub(super) p: f64,
}

#[derive(Debug, Serialize)]
struct Target {
    #[serde(flatten)]
    token: Token,
    p: f64,
    loss: f64,
    rank: usize,
    top: Vec<Likely>,
}

impl Args {
    /// The threads that were asked for.
    pub(super) fn threads(&self) -> Option<NonZero<usize>> {
        self.ask.threads
    }

    /// Prints what the model says of the text.
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.ask.begin();
        let device = device::open(self.ask.device)?;
        let checkpoint = super::model::open(&self.model, &device, self.ask.quiet)?;
        let prompt = prompt(&checkpoint, &self.text, self.template)?;
        let llama = Llama::new(&checkpoint.config, DType::F32, &device)?;
        let mut evaluation =
            Evaluation::of(&checkpoint, &llama, &prompt, self.top.get(), self.grad, &device)?;
        if let Some(count) = self.write {
            let Self { temperature, top_p, seed, .. } = self;
            let generator = Generator::new(prompt.ids(), count.get(), Sampling { temperature, top_p, seed });
            let written = generator.finish(&llama, &checkpoint.params, &checkpoint.tokenizer)?;
            evaluation.written = Some(written);
        }
        if self.ask.json {
            super::print(&format!("{}\n", serde_json::to_string(&evaluation)?))?;
        } else {
            super::print(&evaluation.table())?;
        }
        Ok(())
    }
}

impl Evaluation {
    /// What a model says of a text, with the `count` likeliest tokens of each distribution.
    pub(super) fn of(
        checkpoint: &Checkpoint,
        llama: &Llama,
        prompt: &Prompt,
        count: usize,
        with_gradient: bool,
        device: &Device,
    ) -> anyhow::Result<Self> {
        let Checkpoint { name, params, tokenizer, .. } = checkpoint;
        let ids = prompt.ids();
        let reading = Reading::of(llama, params, ids, device)?;
        let target = prompt.target();
        let grad_norm = if with_gradient {
            let vars = params.clone().into_vars()?;
            let row = Tensor::new(ids, device)?.unsqueeze(0)?;
            let (inputs, targets) = (row.narrow(1, 0, ids.len() - 1)?, row.narrow(1, 1, ids.len() - 1)?);
            let grads = llama.loss(&vars.params(), &inputs, &targets)?.backward()?;
            Some(vars.grad_norm(&grads)?)
        } else {
            None
        };
        let top = |probabilities: &[f64]| -> Vec<Likely> {
            let likely = |id: u32| Likely { token: tokenizer.token(id), p: probabilities[id as usize] };
            likeliest(probabilities, count).into_iter().map(likely).collect()
        };
        Ok(Self {
            model: name.clone(),
            rendered: prompt.rendered().map(str::to_owned),
            written: None,
            tokens: ids.iter().map(|&id| tokenizer.token(id)).collect(),
            loss: reading.loss(),
            next: top(&reading.next),
            target: Target {
                token: tokenizer.token(target),
                p: reading.target[target as usize],
                loss: reading.token_losses[ids.len() - 2],
                rank: rank(&reading.target, target),
                top: top(&reading.target),
            },
            token_losses: reading.token_losses.clone(),
            grad_norm,
            reading,
        })
    }
}

/// The text of `--text` as this model reads it, inside its chat template if that is wished for.
pub(super) fn prompt(checkpoint: &Checkpoint, text: &str, template: bool) -> anyhow::Result<Prompt> {
    Prompt::of(checkpoint, text, template).map_err(|problem| anyhow!("--text: {problem}"))
}

pub(super) fn temperature(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|t: &f64| t.is_finite() && *t >= 0.0);
    number.ok_or_else(|| "not a temperature: 0 or more".to_owned())
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|p: &f64| *p > 0.0 && *p <= 1.0);
    number.ok_or_else(|| "not a share: above 0, at most 1".to_owned())
}

impl Evaluation {
    /// The same for a person.
    fn table(&self) -> String {
        let mut table = format!("{}\nloss {:.4} nats a token", super::printable(&self.model), self.loss);
        if let Some(norm) = self.grad_norm {
            table.push_str(&format!(", gradient norm {norm:.4}"));
        }
        if let Some(rendered) = &self.rendered {
            table.push_str(&format!("\nread as {}", super::printable(rendered)));
        }
        table.push_str("\n\n  loss     token\n");
        let losses = [None].into_iter().chain(self.token_losses.iter().map(Some));
        for (token, loss) in self.tokens.iter().zip(losses) {
            let loss = loss.map_or_else(|| "-".to_owned(), |loss| format!("{loss:.4}"));
            table.push_str(&format!("  {loss:>7}  {}\n", super::printable(&token.text)));
        }
        table.push_str(&format!("\nbefore the last token, rank {} of the target\n", self.target.rank));
        bars(&mut table, &self.target.top);
        table.push_str("\nafter the text\n");
        bars(&mut table, &self.next);
        if let Some(written) = &self.written {
            table.push_str(&format!("\nit writes: {}\n", super::printable(written)));
        }
        table
    }
}

/// Tokens with their probabilities, a line each.
pub(super) fn bars(table: &mut String, tokens: &[Likely]) {
    for Likely { token, p } in tokens {
        let bar = "#".repeat((p * 40.0).round() as usize);
        table.push_str(&format!("  {p:.4}  {:20} {bar}\n", super::printable(&token.text)));
    }
}
