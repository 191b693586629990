//! Garbage from a seed: spoilt bytes and spoilt JSON.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

/// No input may take longer, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a failed case that are shown.
const SHOWN: usize = 256;

/// Numbers that lengths and counts lie with.
const LIES: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// A source of chance that gives the same for the same seed.
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// A copy with a few faults, most of them in the first `focus` bytes, where a header is.
    pub(crate) fn spoil_near(&mut self, whole: &[u8], focus: usize) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return bytes;
            }
            let reach = if self.one_in(4) { bytes.len() } else { focus.clamp(1, bytes.len()) };
            let at = self.below(reach);
            match self.below(8) {
                0 | 1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes[at] = self.below(256) as u8,
                3 => {
                    let lie = self.pick(&LIES).to_le_bytes();
                    let size = *self.pick(&[1, 2, 4, 8]);
                    bytes.iter_mut().skip(at).zip(&lie[..size]).for_each(|(byte, lie)| *byte = *lie);
                }
                4 => bytes.truncate(at),
                5 => {
                    let end = at + self.below((bytes.len() - at).min(64) + 1);
                    bytes.drain(at..end);
                }
                6 => {
                    let end = at + self.below((bytes.len() - at).min(64) + 1);
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                _ => {
                    let count = self.below(16);
                    let strange = self.bytes(count);
                    bytes.splice(at..at, strange);
                }
            }
        }
        bytes
    }

    /// A copy with a few faults anywhere.
    pub(crate) fn spoil(&mut self, whole: &[u8]) -> Vec<u8> {
        self.spoil_near(whole, whole.len())
    }

    /// JSON with a few of its values replaced, moved or gone, and now and then with faults in its text.
    pub(crate) fn spoil_json(&mut self, whole: &Value) -> Vec<u8> {
        let mut value = whole.clone();
        for _ in 0..=self.below(3) {
            let mut place = self.below(count(&value));
            let strange = self.strange(whole);
            let Some(spoilt) = nth(&mut value, &mut place) else { continue };
            match (self.below(4), &mut *spoilt) {
                (0, Value::Object(fields)) if !fields.is_empty() => {
                    let at = self.below(fields.len());
                    let name = fields.keys().nth(at).unwrap().clone();
                    fields.remove(&name);
                }
                (0, Value::Array(items)) if !items.is_empty() => {
                    let at = self.below(items.len());
                    items.remove(at);
                }
                (1, Value::Object(fields)) => {
                    fields.insert("\u{1b}[31m\nstrange".to_owned(), strange);
                }
                (1, Value::Array(items)) => items.push(strange),
                _ => *spoilt = strange,
            }
        }
        let text = value.to_string().into_bytes();
        if self.one_in(4) { self.spoil(&text) } else { text }
    }

    /// A value that is seldom the right one.
    fn strange(&mut self, whole: &Value) -> Value {
        match self.below(16) {
            0 => Value::Null,
            1 => self.one_in(2).into(),
            2 => (*self.pick(&LIES)).into(),
            3 => (-1).into(),
            4 => i64::MIN.into(),
            5 => 1e308.into(),
            6 => (-0.5).into(),
            7 => "".into(),
            8 => "\u{1b}]0;title\u{7}\r\n\u{202e}\0".into(),
            9 => "x".repeat(1000).into(),
            10 => json!([]),
            11 => json!({}),
            12 => (0..100).fold(json!(0), |inner, _| json!([inner])),
            13 => Value::Array(vec![json!(7); 1000]),
            _ => {
                let mut place = self.below(count(whole));
                let mut copy = whole.clone();
                nth(&mut copy, &mut place).map(Value::take).unwrap_or_default()
            }
        }
    }
}

/// Values in a value, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// The value at a place in the order of [`count`].
fn nth<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| nth(item, place)),
        Value::Object(fields) => fields.values_mut().find_map(|field| nth(field, place)),
        _ => None,
    }
}

/// `count` rounds, or as many times that as `LLAMASCAPE_FUZZ_ROUNDS` says.
pub(crate) fn rounds(count: u64) -> u64 {
    let times = std::env::var("LLAMASCAPE_FUZZ_ROUNDS").ok().and_then(|times| times.parse().ok());
    count * times.unwrap_or(1)
}

/// Says what a case was if it panics.
struct Case<'a> {
    seed: u64,
    bytes: &'a [u8],
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex =
                self.bytes.iter().take(SHOWN).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            eprintln!("the case of seed {}, {} bytes: {hex}", self.seed, self.bytes.len());
        }
    }
}

/// Makes `count` inputs, the first from `seed` and each from the next one, and tries each.
pub(crate) fn cases(
    seed: u64,
    count: u64,
    make: impl Fn(&mut Dice) -> Vec<u8>,
    mut attempt: impl FnMut(&[u8]),
) {
    for seed in (seed..).take(rounds(count) as usize) {
        let bytes = make(&mut Dice::new(seed));
        let case = Case { seed, bytes: &bytes };
        let begun = Instant::now();
        attempt(case.bytes);
        assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    }
}

#[test]
fn the_same_seed_gives_the_same_garbage() {
    let whole = json!({"a": [1, {"b": "c"}], "d": null});
    let garbage = |seed| {
        let mut dice = Dice::new(seed);
        (dice.spoil(b"a text that is long enough"), dice.spoil_json(&whole))
    };
    assert_eq!(garbage(1), garbage(1));
    assert_ne!(garbage(1), garbage(2));
    assert_eq!(count(&whole), 6);
}
