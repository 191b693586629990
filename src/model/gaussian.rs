//! Normal numbers that are the same on every machine and for every number of threads.

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
/// `seed` and the tensor's name. The logarithm and the cosine are libm's own and not the platform's, so a seed
/// means the same tensor on every machine; each chunk starts at a place of its own in the stream, so threads
/// do not matter either.
pub fn normal(seed: u64, name: &str, count: usize) -> Vec<f32> {
    let generator = generator(seed, name);
    let mut numbers = vec![0.0; count];
    numbers.par_chunks_mut(CHUNK).enumerate().for_each(|(index, chunk)| {
        let mut words = generator.clone();
        words.set_word_pos((index * CHUNK) as u128);
        for pair in chunk.chunks_mut(2) {
            let radius = (-2.0 * libm::logf(unit(words.next_u32()))).sqrt();
            let angle = std::f32::consts::TAU * unit(words.next_u32());
            pair[0] = radius * libm::cosf(angle);
            if let Some(second) = pair.get_mut(1) {
                *second = radius * libm::sinf(angle);
            }
        }
    });
    numbers
}

/// The middle of the word's interval in (0, 1): never 0, whose logarithm is infinite.
fn unit(word: u32) -> f32 {
    ((f64::from(word) + 0.5) / 4_294_967_296.0) as f32
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
