//! Normal numbers that are the same on every machine and for every number of threads.

#![expect(clippy::inline_always, reason = "vector instructions reach only what is inlined into the dispatch")]

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

/// Numbers that one worker draws at a time. Even, because they are made in pairs.
const CHUNK: usize = 1 << 14;

/// A generator for one purpose: the same seed and name give the same numbers everywhere.
pub fn generator(seed: u64, name: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// `count` standard normal numbers by Box and Muller's method, from a counter-based generator seeded with
/// `seed` and the tensor's name. Each chunk starts at a place of its own in the stream, so threads do not matter;
/// the logarithm, sine and cosine are made of operations that IEEE 754 defines to the last bit, so neither do
/// machine and platform.
pub fn normal(seed: u64, name: &str, count: usize) -> Vec<f32> {
    let generator = generator(seed, name);
    let mut numbers = vec![0.0; count];
    numbers.par_chunks_mut(CHUNK).enumerate().for_each(|(index, chunk)| {
        let mut words = generator.clone();
        words.set_word_pos((index * CHUNK) as u128);
        let mut bytes = vec![0; 4 * chunk.len().next_multiple_of(2)];
        words.fill_bytes(&mut bytes);
        let (pairs, rest) = bytes.as_chunks::<8>();
        debug_assert!(rest.is_empty());
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for (pair, words) in chunk.chunks_mut(2).zip(pairs) {
                    let words = u64::from_le_bytes(*words);
                    let (first, second) = box_muller(words as u32, (words >> 32) as u32);
                    pair[0] = first;
                    if let Some(last) = pair.get_mut(1) {
                        *last = second;
                    }
                }
            },
        );
    });
    numbers
}

/// Two independent standard normal numbers from two uniform words.
#[inline(always)]
fn box_muller(radius: u32, angle: u32) -> (f32, f32) {
    // The middle of the word's interval in (0, 1): never 0, whose logarithm is infinite. 23 bits are exact.
    let unit = ((radius >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0);
    let length = (-2.0 * ln(unit)).sqrt();
    let (sine, cosine) = sine_and_cosine(angle);
    (length * cosine, length * sine)
}

/// `ln(x)` of a positive normal number: `x = 2^n m` with `m` around 1, and `ln m = 2 artanh((m - 1) / (m + 1))`
/// by its power series, whose first term left out is below 1e-8.
#[inline(always)]
fn ln(x: f32) -> f32 {
    /// The bits of `sqrt(1 / 2)`, the least `m`.
    const LEAST: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_sub(LEAST);
    let n = (shifted as i32) >> 23;
    let m = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(LEAST));
    let t = (m - 1.0) / (m + 1.0);
    let square = t * t;
    let series = 1.0 / 9.0;
    let series = series * square + 1.0 / 7.0;
    let series = series * square + 1.0 / 5.0;
    let series = series * square + 1.0 / 3.0;
    let series = series * square + 1.0;
    n as f32 * std::f32::consts::LN_2 + 2.0 * t * series
}

/// Sine and cosine of a word as a share of a full turn: the nearest quarter is told from its two highest bits,
/// the rest lies within an eighth of a turn and is left to the power series.
#[inline(always)]
fn sine_and_cosine(turn: u32) -> (f32, f32) {
    let quarter = turn.wrapping_add(1 << 29) >> 30;
    let rest = turn.wrapping_sub(quarter << 30) as i32;
    // 24 bits are exact.
    let x = (rest >> 6) as f32 * (std::f32::consts::TAU / 67_108_864.0);
    let square = x * x;
    let sine = 1.0 / 362_880.0;
    let sine = sine * square - 1.0 / 5040.0;
    let sine = sine * square + 1.0 / 120.0;
    let sine = sine * square - 1.0 / 6.0;
    let sine = x + x * square * sine;
    let cosine = -1.0 / 3_628_800.0;
    let cosine = cosine * square + 1.0 / 40_320.0;
    let cosine = cosine * square - 1.0 / 720.0;
    let cosine = cosine * square + 1.0 / 24.0;
    let cosine = cosine * square - 0.5;
    let cosine = 1.0 + square * cosine;
    let (s, c) = if quarter & 1 == 0 { (sine, cosine) } else { (cosine, sine) };
    let sign = |negative: u32, x: f32| f32::from_bits(x.to_bits() ^ (negative << 31));
    (sign(quarter >> 1, s), sign((quarter ^ (quarter >> 1)) & 1, c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_and_name_give_the_same_numbers_however_many_are_asked_for() {
        let many = normal(11, "model.norm.weight", 3 * CHUNK + 1);
        assert_eq!(many[..CHUNK + 8], normal(11, "model.norm.weight", CHUNK + 8));
        assert_ne!(many[..8], normal(111, "model.norm.weight", 8));
        assert_ne!(many[..8], normal(11, "lm_head.weight", 8));
    }

    #[test]
    fn logarithm_sine_and_cosine_are_right() {
        for i in 1..200_000_u32 {
            let x = i as f32 / 200_000.0;
            assert!((f64::from(ln(x)) - f64::from(x).ln()).abs() < 1e-6 * (1.0 - f64::from(x).ln()), "{x}");
            let word = i.wrapping_mul(2_654_435_761);
            let angle = std::f64::consts::TAU * f64::from(word) / 4_294_967_296.0;
            let (sine, cosine) = sine_and_cosine(word);
            assert!((f64::from(sine) - angle.sin()).abs() < 3e-7, "{word}: {sine}");
            assert!((f64::from(cosine) - angle.cos()).abs() < 3e-7, "{word}: {cosine}");
        }
    }

    /// Any change of these numbers changes every plane that a person has noted by its seeds.
    #[test]
    fn a_seed_means_these_numbers() {
        let bits: Vec<u32> = normal(11, "w", 4).into_iter().map(f32::to_bits).collect();
        assert_eq!(bits, [1_021_349_444, 3_203_239_290, 1_073_246_951, 3_196_186_928]);
    }

    #[test]
    fn one_thread_draws_what_many_draw() {
        let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        let three = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let draw = || normal(7, "w", 5 * CHUNK);
        assert_eq!(one.install(draw), three.install(draw));
    }

    #[test]
    fn the_numbers_are_normal() {
        let numbers = normal(1, "w", 400_000);
        let n = numbers.len() as f64;
        let moment = |k: i32| numbers.iter().map(|&x| f64::from(x).powi(k)).sum::<f64>() / n;
        // Five standard errors of each moment of a standard normal: 0, 1, 0 and 3.
        let bound = |variance: f64| 5.0 * (variance / n).sqrt();
        assert!(moment(1).abs() < bound(1.0));
        assert!((moment(2) - 1.0).abs() < bound(2.0));
        assert!(moment(3).abs() < bound(15.0));
        assert!((moment(4) - 3.0).abs() < bound(96.0));
    }
}
