//! A bug in the engine: who is told, and what is left.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod example;

use std::path::Path;

use llamascape::protocol::{Outcome, ToScreen, VERSION};
use llamascape::ranks::Ranks;
use llamascape::run::client;
use llamascape::run::dir::{RunDir, RunState};
use llamascape::run::host::{Begin, Work, host};
use llamascape::run::journal::Logs;
use llamascape::run::mode::Mode;
use llamascape::run::panics;
use tempfile::TempDir;

#[test]
fn an_engine_that_panics_tells_its_screens_and_leaves_a_report_with_the_run() {
    let home = TempDir::new().unwrap();
    let settings = example::settings("unlucky");
    let dir = RunDir::create(Some(&home.path().join("run")), &settings).unwrap();
    panics::install("engine", || {});

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut screen = None;
    let connect = |socket: &Path| {
        screen = Some(runtime.block_on(async {
            let mut link = client::connect(socket, true).await.unwrap();
            assert_eq!(link.frames.recv().await.unwrap().unwrap(), ToScreen::Welcome { version: VERSION });
            link
        }));
    };
    let (mode, begin) = (Mode::Headless, Begin::New);
    let work = Work { dir: &dir, settings: &settings, mode, begin, ranks: &Ranks::alone() };
    let ended = host(&work, Logs::default(), connect, &mut |_, _| panic!("out of\nluck"));
    let error = ended.unwrap_err().to_string();
    assert!(error.starts_with("the engine panicked: out of\\nluck; "), "{error}");
    assert!(error.contains(dir.path().join("panic.txt").to_str().unwrap()), "{error}");

    let mut link = screen.unwrap();
    let told = runtime.block_on(async {
        loop {
            if let ToScreen::Closed(outcome) = link.frames.recv().await.unwrap().unwrap() {
                return outcome;
            }
        }
    });
    assert_eq!(told, Outcome::Failed { error });

    let report = std::fs::read_to_string(dir.path().join("panic.txt")).unwrap();
    for line in ["command: engine\n", "run: unlucky\n", "message: out of\\nluck\n", "backtrace:\n"] {
        assert!(report.contains(line), "{line}: {report}");
    }
    assert!(report.contains("tests/panics.rs:"), "{report}");
    assert_eq!(dir.state().unwrap().state, RunState::Crashed);
}
