//! The screen behind a slow link, as over SSH: the viewer runs where the engine does, and its terminal is far away.

// What is simulated, and what is printed, are times.
#![cfg(target_os = "linux")]
// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod pty;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pty::{Link, Pty};

/// Long enough for a debug build on a busy machine; a test that works never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pictures before the first key.
const ALONE: usize = 6;
/// How often the help is asked for.
const TIMES: usize = 10;
/// What may wait before the link: a quarter of a second of it, and more than a picture of the whole screen.
const MOST_WAITING: usize = 32 << 10;

/// 256 colours, and a terminal that is far away.
const FAR: &str = "unset COLORTERM; export SSH_CONNECTION=far; exec \"$0\" \"$@\"";

/// The step on the status line; 0 where there is none yet.
fn shown(text: &str) -> u64 {
    let step = |line: &str| {
        let rest = line.trim_start().strip_prefix("step ")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    text.lines().rev().find_map(step).unwrap_or(0)
}

/// Waits until both terminals show the same in every cell.
fn until_the_same(one: &Pty, other: &Pty) {
    let started = Instant::now();
    loop {
        let (cells, others) = (one.cells(), other.cells());
        let Some(differs) = cells.iter().zip(&others).find(|(cell, other)| cell != other) else { return };
        assert!(started.elapsed() < PATIENCE, "the screens differ: {differs:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_slow_link_carries_the_training_and_the_keys_and_is_never_filled() {
    let home = tempfile::tempdir().unwrap();
    let link = Link {
        rate: 125e3,
        delay: Duration::from_millis(20),
        room: 4 * MOST_WAITING,
        traffic: Arc::default(),
    };
    let arguments = ["train", "--name", "far", "--threads", "1", "--grid", "17"];
    let mut far = Pty::behind(&link, home.path(), 100, 40, FAR, &arguments);
    far.until("the training", |text| shown(text) > 1 && text.contains("training"));

    let carried = || {
        let traffic = link.traffic.lock().unwrap();
        (traffic.bytes, traffic.pictures.len())
    };
    let (begun, (bytes, pictures)) = (Instant::now(), carried());
    far.until("pictures of the training alone", |_| carried().1 >= pictures + ALONE);
    let rate = (carried().0 - bytes) as f64 / begun.elapsed().as_secs_f64();

    let mut step = 0;
    let mut answers = Vec::new();
    for _ in 0..TIMES {
        // Other pictures are under way when it is asked for.
        step = shown(&far.until("more steps", |text| shown(text) > step));
        let asked = Instant::now();
        far.press("?");
        far.until("the help", |text| text.contains(" Keys ") && text.contains("esc closes"));
        answers.push(asked.elapsed().as_secs_f64() * 1e3);
        far.press("\x1b");
        far.until("the screen below", |text| !text.contains(" Keys "));
    }

    let near = Pty::script(home.path(), 100, 40, FAR, &["attach", "far"]);
    near.until("the run", |text| shown(text) >= step);
    far.press(" ");
    for screen in [&far, &near] {
        let paused = |text: &str| text.contains("paused") && text.contains("17x17 samples");
        screen.until("the pause and the last slice", paused);
    }
    until_the_same(&far, &near);
    far.press("qs");
    assert_eq!(far.end().0, 0);
    near.kill();

    let traffic = link.traffic.lock().unwrap();
    let largest = traffic.pictures.iter().max().unwrap();
    answers.sort_by(f64::total_cmp);
    println!(
        "{:.1} kB/s while no key is pressed; the largest picture {:.1} kB; at most {:.1} kB waited; the help came after \
         {:.0} ms at the median, {:.0} ms at the 95th percentile",
        rate / 1e3,
        *largest as f64 / 1e3,
        traffic.most_waiting as f64 / 1e3,
        answers[TIMES / 2],
        answers[TIMES * 95 / 100],
    );
    assert!(traffic.most_waiting < MOST_WAITING, "{} bytes waited at once", traffic.most_waiting);
}
