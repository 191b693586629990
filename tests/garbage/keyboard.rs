//! Bytes on the keyboard of a real terminal: keys, pastes, the mouse, answers that come late, and none of these.

use std::fs;
use std::path::Path;

use llamascape::run::dir::RunDir;
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::pty::Pty;
use super::runs;

/// Each is a process in a terminal.
const TERMINALS: u64 = 5;

/// What terminals send for keys, the mouse, pastes and answers.
const SENT: [&[u8]; 20] = [
    b"\x1b[A",
    b"\x1bOP",
    b"\x1b[1;5D",
    b"\x1b[5~",
    b"\x1b[200~pasted \x1b[31m text\r\n\x1b[201~",
    b"\x1b[<0;10;5M",
    b"\x1b[<64;200;99m",
    b"\x1b[<0;999999999999;5M",
    b"\x1b[<0;0;0M",
    b"\x1b[12;4R",
    b"\x1b[M !!",
    b"\x1b]11;rgb:dcdc/bbbb/cccc\x07",
    b"\x1b_Gi=31;OK\x1b\\",
    b"\x1b[?62;4c",
    b"\x1b[97;5u",
    b"\x1b[I\x1b[O",
    b":prompt \xc3\xa9\r",
    b"/line\r",
    b"1234567?xLcgTm[]",
    b"\x1b\x1b\x1b",
];

fn sent(dice: &mut Dice) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..300 {
        let piece = *dice.pick(&SENT);
        bytes.extend(if dice.one_in(3) { dice.spoil(piece) } else { piece.to_vec() });
        if dice.one_in(8) {
            let count = dice.below(30);
            bytes.extend(dice.bytes(count));
        }
    }
    // Ctrl-Z and Ctrl-\\ stop the program, as they should; what leaves it comes at the end.
    bytes.retain(|byte| !matches!(byte, 0x03 | 0x1a | 0x1c | b'q' | b'D' | b'e'));
    bytes
}

#[test]
fn whatever_is_typed_the_program_draws_on_and_gives_the_terminal_back() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("llamascape/runs/run");
    let dir = RunDir::create(Some(&folder), &runs::settings(Path::new("/models/a"))).unwrap();
    fs::write(dir.path().join("state.json"), runs::state().to_string()).unwrap();
    let line = "{\"step\":1,\"loss\":1.5,\"grad_norm\":0.5,\"lr\":0.01}\n";
    fs::write(dir.path().join("metrics.jsonl"), line).unwrap();
    cases("bytes of a keyboard", TERMINALS, sent, |bytes| {
        let script = "cd \"$XDG_STATE_HOME\" && exec \"$0\" \"$@\"";
        let mut pty = Pty::script(home.path(), 100, 30, script, &["replay", "run"]);
        pty.until("the run", |text| text.contains("step"));
        for (index, piece) in bytes.chunks(256).enumerate() {
            pty.send(piece);
            if index % 4 == 3 {
                pty.resize(80 + 10 * (index % 5) as u16, 24 + (index % 7) as u16);
            }
        }
        // What was begun, a paste, the mouse or an answer, takes what comes until its last letter. Twice Ctrl-C leaves from
        // wherever one is.
        pty.press("\x1b[201~Mmuc\x1b[201~\x1b\x1b\x1b\x03\x03\x03\x03");
        let (code, _) = pty.end();
        assert_eq!(code, 0);
        true
    });
}
