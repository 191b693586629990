//! Garbage from a seed: spoilt bytes and spoilt JSON.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Value, json};

/// No input may take longer, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of a failed case that are shown.
const SHOWN: usize = 256;

/// Characters of a text or items of an array that is not made larger.
const LARGE: usize = 1000;

/// Numbers that lengths and counts lie with.
pub(crate) const LIES: [u64; 12] = [
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

    /// The beginning of one and the end of another.
    pub(crate) fn splice(&mut self, one: &[u8], other: &[u8]) -> Vec<u8> {
        let (head, tail) = (self.below(one.len() + 1), self.below(other.len() + 1));
        [&one[..head], &other[tail..]].concat()
    }

    /// JSON with a few of its values replaced, moved or gone, and now and then with faults in its text.
    pub(crate) fn spoil_json(&mut self, whole: &Value) -> Vec<u8> {
        let text = self.spoil_value(whole).to_string().into_bytes();
        if self.one_in(4) { self.spoil(&text) } else { text }
    }

    /// JSON with a few of its values replaced, moved or gone.
    pub(crate) fn spoil_value(&mut self, whole: &Value) -> Value {
        let mut value = whole.clone();
        for _ in 0..=self.below(3) {
            let mut place = self.below(count(&value));
            let strange = self.strange(whole);
            let Some(spoilt) = nth(&mut value, &mut place) else { continue };
            if self.one_in(2) {
                self.shift(spoilt);
                continue;
            }
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
        value
    }

    /// Makes a value another of its kind, which is more often taken.
    fn shift(&mut self, value: &mut Value) {
        const NUMBERS: [f64; 12] =
            [0.0, -0.0, 1.0, -1.0, 0.5, 1e-308, 1e-30, 1e30, -1e30, 1e308, -1e308, 16_777_217.0];
        const TEXTS: [&str; 8] =
            ["", " ", "\u{1b}]0;x\u{7}", "\n\n", "\u{202e}é日", "a\u{301}\u{feff}", "--", "\0"];
        match value {
            Value::Bool(flag) => *flag = !*flag,
            Value::Number(number) if number.is_f64() => *value = (*self.pick(&NUMBERS)).into(),
            Value::Number(number) => {
                let near = number.as_u64().unwrap_or(0).wrapping_add(self.below(5) as u64).wrapping_sub(2);
                *value = if self.one_in(2) { near } else { *self.pick(&LIES) }.into();
            }
            Value::String(text) => {
                let strange = *self.pick(&TEXTS);
                let place = self.below(text.len() + 1);
                match self.below(4) {
                    0 => strange.clone_into(text),
                    1 if text.len() < LARGE => *text = text.repeat(1 + self.below(200)),
                    _ if text.is_char_boundary(place) => text.insert_str(place, strange),
                    _ => text.clear(),
                }
            }
            Value::Array(items) if !items.is_empty() => {
                let at = self.below(items.len());
                match self.below(5) {
                    0 => items.truncate(at),
                    1 => items.insert(at, items[at].clone()),
                    2 => items.reverse(),
                    3 if items.len() < LARGE => {
                        let again = items.clone();
                        (0..self.below(20)).for_each(|_| items.extend(again.iter().cloned()));
                    }
                    _ => drop(items.remove(at)),
                }
            }
            Value::Null | Value::Array(_) => {}
            Value::Object(fields) => {
                let at = self.below(fields.len().max(1));
                if let Some(field) = fields.values_mut().nth(at) {
                    self.shift(field);
                }
            }
        }
    }

    /// A value that is seldom the right one.
    fn strange(&mut self, whole: &Value) -> Value {
        match self.below(18) {
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
            14 => 1e-308.into(),
            15 => self.below(1000).into(),
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

/// What a variable of the environment says.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `count` rounds, or as many times that as `LLAMASCAPE_FUZZ_ROUNDS` says.
pub(crate) fn rounds(count: u64) -> u64 {
    count * number("LLAMASCAPE_FUZZ_ROUNDS").unwrap_or(1)
}

/// Says what a case was if it panics, and keeps it in a file.
struct Case<'a> {
    target: &'a str,
    seed: u64,
    bytes: &'a [u8],
}

/// Keeps a case in a file, and returns where.
fn kept(seed: u64, bytes: &[u8]) -> String {
    let file = std::env::temp_dir().join(format!("llamascape-case-{seed}"));
    std::fs::write(&file, bytes).map_or_else(|error| error.to_string(), |()| file.display().to_string())
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { target, seed, bytes } = self;
            let hex = bytes.iter().take(SHOWN).fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            let kept = kept(*seed, bytes);
            eprintln!("{target}: the case of seed {seed}, {} bytes ({kept}): {hex}", bytes.len());
        }
    }
}

/// A number of its own for each name (FNV-1a), above those of the cases.
fn first_seed(target: &str) -> u64 {
    let hash =
        target.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    u64::from(hash) << 32
}

/// Ends the process where a case takes so long that it may never end, and says which. It hears each case begin.
fn watch(target: &str) -> mpsc::Sender<(u64, Vec<u8>)> {
    let (begins, begun) = mpsc::channel();
    let target = target.to_owned();
    std::thread::spawn(move || {
        let (mut seed, mut bytes) = (0, Vec::new());
        loop {
            match begun.recv_timeout(2 * PATIENCE) {
                Ok(next) => (seed, bytes) = next,
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    eprintln!("{target}: the case of seed {seed} comes to no end ({})", kept(seed, &bytes));
                    std::process::exit(101);
                }
            }
        }
    });
    begins
}

/// Makes `count` inputs for what is named, the seed of the first from the name and of each from the one before, and
/// tries each. What is tried says whether it was taken; one line at the end says how many were.
pub(crate) fn cases(
    target: &str,
    count: u64,
    make: impl Fn(&mut Dice) -> Vec<u8>,
    mut attempt: impl FnMut(&[u8]) -> bool,
) {
    let (mut first, mut count) = (first_seed(target), rounds(count));
    if let Some(seed) = number("LLAMASCAPE_FUZZ_SEED") {
        (first, count) = (seed, u64::from(seed >> 32 == first >> 32));
    }
    let (begins, all, mut taken) = (watch(target), Instant::now(), 0);
    for seed in first..first + count {
        let bytes = make(&mut Dice::new(seed));
        let case = Case { target, seed, bytes: &bytes };
        begins.send((seed, bytes.clone())).unwrap();
        let begun = Instant::now();
        taken += u64::from(attempt(case.bytes));
        assert!(begun.elapsed() < PATIENCE, "it took {:?}", begun.elapsed());
    }
    println!("fuzz {target}: {count} inputs, {taken} taken, {:.1} s", all.elapsed().as_secs_f64());
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
