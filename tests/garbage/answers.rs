//! What terminals answer, with keys and other sequences between.

#[allow(dead_code, reason = "the answers are read here, and nothing is asked")]
#[path = "../../src/terminal/query.rs"]
mod query;

use super::dice::{Dice, cases};
use super::{MOST, memory};

const ANSWERS: u64 = 20_000;

/// What terminals say, whole and in every kind.
const SAID: [&[u8]; 16] = [
    b"\x1b]11;rgb:dcdc/bbbb/cccc\x07",
    b"\x1b]11;rgb:f/f/f\x1b\\",
    b"\x1b]11;rgba:ff/ff/ff/ff\x1b\\",
    b"\x1b]10;rgb:0/0/0\x07",
    b"\x1b[?2026;2$y",
    b"\x1b[?2026;0$y",
    b"\x1b_Gi=31;OK\x1b\\",
    b"\x1b_Gi=31;EINVAL:no\x1b\\",
    b"\x1b[6;20;10t",
    b"\x1b[6;99999999;0t",
    b"\x1b[3;2R",
    b"\x1b[3;65536R",
    b"\x1b[?62;4;22c",
    b"\x1b[?6c",
    b"abc\x1bOA\x1b[A\x1b[200~paste\x1b[201~",
    b"\x1b",
];

fn said(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(8) {
        let piece = *dice.pick(&SAID);
        bytes.extend(if dice.one_in(3) { dice.spoil(piece) } else { piece.to_vec() });
    }
    bytes
}

#[test]
fn spoilt_answers_are_read_or_passed_over_however_they_arrive() {
    cases("answers of a terminal", ANSWERS, said, |bytes| {
        let (answer, peak) = memory::peak(|| query::Answer::read(bytes));
        assert!(peak < MOST / 1024, "{peak}");
        // They come in pieces: once the last question is answered in one, it stays answered.
        let mut whole = false;
        for end in 0..=bytes.len() {
            let so_far = query::Answer::read(&bytes[..end]);
            assert!(so_far.is_whole || !whole, "{end}");
            whole = so_far.is_whole;
        }
        assert_eq!(whole, answer.is_whole);
        answer != query::Answer::default()
    });
}
