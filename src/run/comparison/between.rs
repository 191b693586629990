//! What only two models together have.

use candle_core::Result;

use super::model::Model;
use crate::predict::{Reading, divergences, likeliest, mean_divergences};
use crate::protocol::comparison::{Between, Place};

/// Tokens whose overlap is counted.
const TOP: usize = 10;

/// What the readings of two models come to. They are `alike` where a number means the same token to both.
pub(super) fn between(
    models: [&Model; 2],
    readings: [&Reading; 2],
    alike: bool,
    same_shape: bool,
) -> Result<Between> {
    let [a, b] = models.map(|model| model.prompt().ids());
    let mut between = Between::default();
    let no_path = match (alike, a == b) {
        (false, _) => {
            between.caveat = Some("tokenizers differ: losses do not compare, no KL".to_owned());
            Some("tokenizers differ")
        }
        (true, false) => {
            between.caveat = Some("they read different texts: there is no KL".to_owned());
            Some("texts differ")
        }
        (true, true) => {
            let kl = divergences(readings[0], readings[1])?;
            between.kl = Some(mean_divergences(&kl));
            between.next = kl.last().copied();
            let losses = readings[0].token_losses.iter().zip(&readings[1].token_losses);
            let tokenizer = &models[0].checkpoint().tokenizer;
            let place = |(&id, ((in_a, in_b), kl)): (&u32, ((&f64, &f64), [f64; 2]))| Place {
                token: tokenizer.token(id),
                losses: [*in_a, *in_b],
                kl,
            };
            between.places = a.iter().skip(1).zip(losses.zip(kl)).map(place).collect();
            None
        }
    };
    let no_path = if same_shape { no_path } else { Some("shapes differ") };
    between.no_path = no_path.map(str::to_owned);
    if alike {
        let [in_a, in_b] = readings.map(|reading| likeliest(&reading.target, TOP));
        between.overlap = Some(in_a.iter().filter(|id| in_b.contains(id)).count());
    }
    Ok(between)
}
