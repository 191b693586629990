//! Faults, for real: terminals that hang up, processes that are stopped and killed, disks that take no more.

// What a process is at is read from /proc.
#![cfg(target_os = "linux")]
// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

mod program;
mod pty;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use llamascape::protocol::{Status, ToScreen};
use llamascape::run::client::{self, Link};
use llamascape::run::dir::{RunDir, RunState};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use serde_json::Value;
use tempfile::TempDir;

use pty::Pty;

/// Long enough for a debug build on a busy machine; a test that works never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

const ENDLESS: [&str; 3] = ["--headless", "--steps", "1000000000"];

/// Waits until something is so.
fn until(what: &str, so: impl Fn() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < PATIENCE, "waited for {what}");
        // The processor is for those who are waited for.
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn piped(mut command: Command) -> Command {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A place for runs. Engines that are still there at its end are killed.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        piped(program::llamascape(self.path(), arguments))
    }

    /// What a command comes to.
    fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// The one line that a command ends with which can do nothing.
    fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let error = String::from_utf8(output.stderr).unwrap();
        let said: Vec<&str> = error.lines().filter(|line| line.starts_with("llamascape: ")).collect();
        assert_eq!((output.status.code(), said.len()), (Some(1), 1), "{arguments:?}: {error}");
        said[0].to_owned()
    }

    fn screen(&self, arguments: &[&str]) -> Pty {
        Pty::start(self.path(), 100, 30, arguments)
    }

    /// A screen on a new run that trains.
    fn watched(&self, name: &str, more: &[&str]) -> (Pty, Run) {
        let screen = self.screen(&[&quick(name)[..], more].concat());
        screen.until("a step", |text| shown(text) > 0);
        (screen, self.run())
    }

    /// A new run without a screen that trains.
    fn unwatched(&self, name: &str, more: &[&str]) -> (Child, Run) {
        self.begun(self.command(&[&quick(name)[..], &ENDLESS[..], more].concat()))
    }

    /// The run of this command.
    fn begun(&self, mut command: Command) -> (Child, Run) {
        let engine = command.spawn().unwrap();
        until("a run", || self.folder().is_some_and(|run| run.join("metrics.jsonl").is_file()));
        (engine, self.run())
    }

    fn folder(&self) -> Option<PathBuf> {
        let runs = std::fs::read_dir(self.path().join("llamascape/runs")).ok()?;
        Some(runs.flatten().next()?.path())
    }

    /// The one run there is.
    fn run(&self) -> Run {
        Run(RunDir::open(&self.folder().unwrap()).unwrap())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let run = self.folder().and_then(|folder| RunDir::open(&folder).ok());
        if let Some(engine) = run.and_then(|run| Some(engine(&run.socket().ok()?))) {
            let _ = kill_process(engine, Signal::KILL);
        }
    }
}

/// A run whose steps take next to no time.
fn quick(name: &str) -> Vec<&str> {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny.gguf");
    let text = "The capital of France is Paris";
    let what = ["train", "--name", name, "--model", model, "--text", text];
    [&what[..], &["--threads", "1", "--grid", "9", "--slice-every", "off"]].concat()
}

/// A run and the engine that has it.
struct Run(RunDir);

impl Run {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path().join(file)).unwrap_or_default()
    }

    /// The newest step that is written down.
    fn step(&self) -> u64 {
        let step = |line: &str| serde_json::from_str::<Value>(line).ok()?["step"].as_u64();
        self.read("metrics.jsonl").lines().rev().find_map(step).unwrap_or(0)
    }

    /// Waits for so many more steps.
    fn until_more(&self, steps: u64) {
        let first = self.step();
        until("more steps", || self.step() >= first + steps);
    }

    /// The last step, after checking that none is missing.
    fn last_of_all_steps(&self) -> u64 {
        let step = |line: &str| serde_json::from_str::<Value>(line).unwrap()["step"].as_u64().unwrap();
        let steps: Vec<u64> = self.read("metrics.jsonl").lines().map(step).collect();
        let last = steps.len() as u64;
        assert!(steps.into_iter().eq(1..=last), "a step is missing");
        last
    }

    fn until_checkpoint(&self) {
        until("a checkpoint", || !self.0.checkpoints().unwrap().is_empty());
    }

    fn has_checkpoint(&self, step: u64) -> bool {
        self.0.checkpoint(step).join("model.safetensors").is_file()
    }

    fn state(&self) -> RunState {
        self.0.state().unwrap().state
    }

    fn log(&self) -> String {
        self.read("engine.log")
    }

    fn engine(&self) -> Pid {
        engine(&self.0.socket().unwrap())
    }
}

/// The engine that listens at `NAME-PID.sock`.
fn engine(socket: &Path) -> Pid {
    let name = socket.file_stem().unwrap().to_str().unwrap();
    Pid::from_raw(name.rsplit_once('-').unwrap().1.parse().unwrap()).unwrap()
}

/// The step on the status line; 0 where there is none yet.
fn shown(text: &str) -> u64 {
    let step = |line: &str| {
        let rest = line.trim_start().strip_prefix("step ")?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    text.lines().rev().find_map(step).unwrap_or(0)
}

fn proc(process: Pid, file: &str) -> String {
    std::fs::read_to_string(format!("/proc/{}/{file}", process.as_raw_pid())).unwrap()
}

/// A field of `/proc/PID/stat`, counted from 3, the state.
fn stat(process: Pid, field: usize) -> String {
    let stat = proc(process, "stat");
    // The name of the program before it may hold anything.
    let fields = stat.rsplit_once(')').unwrap().1;
    fields.split_whitespace().nth(field - 3).unwrap().to_owned()
}

fn niceness(process: Pid) -> i32 {
    stat(process, 19).parse().unwrap()
}

/// Kibibytes of memory in use.
fn resident(process: Pid) -> u64 {
    let status = proc(process, "status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// How many files and sockets it has open.
fn open_files(process: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", process.as_raw_pid())).unwrap().count()
}

/// Waits for the end of an engine without a screen: its exit code and what it said.
fn ended(engine: Child) -> (Option<i32>, String) {
    let output = engine.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_terminal_that_hangs_up_takes_its_screen_along_and_leaves_the_training() {
    let home = Home::new();
    let (screen, run) = home.watched("hung", &[]);
    assert_eq!(niceness(run.engine()), (niceness(screen.pid()) + 5).min(19), "the screen comes first");
    assert_eq!(screen.hang_up(), 0, "not a panic");
    run.until_more(200);

    let at = run.step();
    let mut screen = home.screen(&["attach", "hung"]);
    screen.until("the run and where it is", |text| {
        text.lines().next().is_some_and(|line| line.contains("hung ")) && shown(text) >= at
    });
    kill_process(run.engine(), Signal::TERM).unwrap();
    screen.until("the end", |text| text.contains("ended at step"));
    screen.press("q");
    let (code, text) = screen.end();
    let last = run.last_of_all_steps();
    assert_eq!(code, 0, "{text}");
    assert!(text.contains(&format!("hung ended at step {last}; its checkpoint is")), "{text}");
    assert!(run.has_checkpoint(last) && run.state() == RunState::Stopped);
    assert!(!run.log().contains("panicked"), "{}", run.log());
}

#[test]
fn a_screen_that_is_killed_is_not_missed_and_the_run_of_an_engine_that_is_killed_goes_on() {
    let home = Home::new();
    let (screen, run) = home.watched("killed", &["--save-every", "50"]);
    screen.kill();
    run.until_more(100);
    let at = run.step();
    let screen = home.screen(&["attach", "killed"]);
    screen.until("the newest steps", |text| shown(text) >= at);
    let second = home.refusal(&["train", "--headless", "--resume", "killed"]);
    assert!(second.contains("another engine is training this run"), "{second}");

    run.until_checkpoint();
    let socket = run.0.socket().unwrap();
    kill_process(run.engine(), Signal::KILL).unwrap();
    let (code, text) = screen.end();
    assert!(code == 1 && text.contains("lost the engine of killed"), "{text}");

    // What a dead engine leaves says that it is alive.
    until("the end of its lock", || run.state() == RunState::Crashed);
    assert!(socket.exists() && run.read("state.json").contains("\"running\""));
    let runs: Value = serde_json::from_slice(&home.output(&["runs", "--json"]).stdout).unwrap();
    assert_eq!(runs["runs"][0]["state"], "crashed");
    let mut screen = home.screen(&["replay", "killed"]);
    screen.until("how it ended", |text| text.contains("crashed at step "));
    screen.press("q");
    assert_eq!(screen.end().0, 0);
    let refused = home.refusal(&["attach", "killed"]);
    assert!(refused.contains("killed is not running"), "{refused}");

    let last = run.0.checkpoints().unwrap().last().unwrap() + 3;
    let steps = last.to_string();
    let resumed = home.output(&["train", "--headless", "--resume", "killed", "--steps", &steps]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    assert_eq!(run.last_of_all_steps(), last);
    assert!(run.has_checkpoint(last) && run.state() == RunState::Stopped && !socket.exists());
}

#[test]
fn a_screen_that_is_stopped_holds_up_no_step_and_catches_up() {
    let home = Home::new();
    let (mut screen, run) = home.watched("stopped", &[]);
    run.until_more(200);
    let before = resident(run.engine());
    screen.signal(Signal::STOP);
    until("the screen's stop", || stat(screen.pid(), 3) == "T");
    run.until_more(1000);
    let grown = resident(run.engine()).saturating_sub(before);
    assert!(grown < 64 << 10, "the engine has grown by {grown} KiB");

    let at = run.step();
    screen.signal(Signal::CONT);
    screen.until("the newest step", |text| shown(text) >= at);
    screen.press("D");
    assert_eq!(screen.end().0, 0);
}

/// Listens to an engine until it says something of where it stands.
async fn hear(link: &mut Link, wanted: impl Fn(&Status) -> bool) {
    let heard = async {
        loop {
            let frame = link.frames.recv().await.unwrap().unwrap();
            assert!(matches!(frame, ToScreen::Welcome { .. } | ToScreen::Update(_)), "{frame:?}");
            if let ToScreen::Update(update) = frame
                && update.status.as_ref().is_some_and(&wanted)
            {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
}

#[test]
fn screens_come_and_go_and_no_step_is_lost_and_no_file_stays_open() {
    let home = Home::new();
    let (mut first, run) = home.watched("crowd", &[]);
    run.until_more(50);
    let (engine, socket) = (run.engine(), run.0.socket().unwrap());
    let open = open_files(engine);
    let others = [(); 2].map(|()| home.screen(&["attach", "crowd", "--read-only"]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..20 {
            let mut link = client::connect(&socket, true).await.unwrap();
            hear(&mut link, |status| status.step > 0).await;
        }
        let mut links = Vec::new();
        for _ in 0..10 {
            links.push(client::connect(&socket, true).await.unwrap());
        }
        for link in &mut links {
            hear(link, |status| status.viewers == 13).await;
        }
    });
    drop(runtime);
    for other in &others {
        other.until("the others' leaving", |text| text.contains(" 3 viewers"));
    }
    for mut other in others {
        other.press("D");
        assert_eq!(other.end().0, 0);
    }
    first.until("its being alone", |text| text.contains("1 viewer "));
    until("as many open files as before", || open_files(engine) <= open);

    first.press("qs");
    assert_eq!(first.end().0, 0);
    assert!(run.has_checkpoint(run.last_of_all_steps()));
}

#[test]
fn screens_that_come_and_go_leave_nothing_in_the_memory_of_an_engine_that_waits() {
    let home = Home::new();
    let mut first = home.screen(&[&quick("waiting")[..], &["--paused"]].concat());
    first.until("the first prediction", |text| text.contains("step 0 ") && text.contains("[Paris]"));
    first.press("SSS");
    // From here on no states are added to those that are kept to go back to.
    first.until("its waiting", |text| shown(text) == 30 && text.contains("paused"));
    let run = home.run();
    let (engine, socket) = (run.engine(), run.0.socket().unwrap());
    let visits = |count: usize| {
        for _ in 0..count {
            // What holds the connection ends with it.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut link = client::connect(&socket, true).await.unwrap();
                hear(&mut link, |status| status.viewers == 2 && status.step == 30).await;
            });
            drop(runtime);
            first.until("the visitor's leaving", |text| text.contains("1 viewer "));
        }
    };
    // The first ones bring what is there for all that follow.
    visits(3);
    let (held, open) = (resident(engine), open_files(engine));
    visits(30);
    let grown = resident(engine).saturating_sub(held);
    assert!(grown < 8 << 10, "the engine has grown by {grown} KiB");
    until("as many open files as before", || open_files(engine) <= open);
    first.press("qs");
    assert_eq!(first.end().0, 0);
}

#[test]
fn a_disk_that_takes_no_more_stops_no_training_and_what_it_missed_is_added_later() {
    let home = Home::new();
    let (engine, run) = home.unwatched("full", &["--save-every", "500"]);
    let process = Pid::from_child(&engine);
    run.until_checkpoint();
    let unlimited = getrlimit(Resource::Fsize);
    // No file may grow beyond 16 KB: all but the smallest are longer by now.
    prlimit(Some(process), Resource::Fsize, Rlimit { current: Some(16 << 10), ..unlimited }).unwrap();
    until("the refusal of steps", || run.log().contains("metrics.jsonl can't be written"));
    until("the refusal of a checkpoint", || run.log().contains("is not saved: "));
    let weights = |step: &u64| std::fs::read(run.0.checkpoint(*step).join("model.safetensors")).unwrap();
    let contents = || run.0.checkpoints().unwrap().iter().map(weights).collect::<Vec<_>>();
    let (kept, at) = (contents(), run.0.state().unwrap().step);
    until("steps nevertheless", || run.0.state().unwrap().step >= at + 200);
    assert!(contents() == kept && !kept.is_empty(), "the checkpoints are as they were");

    prlimit(Some(process), Resource::Fsize, unlimited).unwrap();
    until("room again", || run.log().contains("metrics.jsonl is written again"));
    kill_process(process, Signal::TERM).unwrap();
    let (code, said) = ended(engine);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("metrics.jsonl can't be written, training goes on").count(), 1, "{said}");
    assert!(run.has_checkpoint(run.last_of_all_steps()));
}

#[test]
fn an_engine_whose_folder_is_gone_ends_when_it_has_to_save_and_puts_none_in_its_place() {
    let home = Home::new();
    let (engine, run) = home.unwatched("gone", &["--save-every", "200"]);
    run.until_checkpoint();
    let away = home.path().join("away");
    std::fs::rename(run.path(), &away).unwrap();
    let (code, said) = ended(engine);
    assert_eq!(code, Some(1), "{said}");
    let reason = format!("llamascape: the run's folder is gone: {}", run.path().display());
    assert!(said.lines().last() == Some(reason.as_str()) && !said.contains("panicked"), "{said}");
    assert!(!run.path().exists() && !RunDir::open(&away).unwrap().checkpoints().unwrap().is_empty());
}

#[test]
fn a_person_is_told_that_the_folder_is_gone_and_the_engine_ends_with_the_last_screen() {
    let home = Home::new();
    let (mut screen, run) = home.watched("gone", &[]);
    let away = home.path().join("away");
    std::fs::rename(run.path(), &away).unwrap();
    screen.until("what fails first", |text| text.contains("where the run stands can't be written"));
    screen.press("W");
    screen.until("why it is not saved", |text| text.contains("is not saved: the run's folder is gone"));
    screen.press("D");
    assert_eq!(screen.end().0, 0);
    until("the engine's end", || RunDir::open(&away).unwrap().lock().is_ok());
    assert!(!run.path().exists());
}

#[test]
fn the_first_interrupt_saves_and_the_second_ends_an_engine_at_once() {
    let home = Home::new();
    let (engine, run) = home.unwatched("asked", &[]);
    run.until_more(20);
    kill_process(Pid::from_child(&engine), Signal::INT).unwrap();
    let (code, said) = ended(engine);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("told to end") && run.has_checkpoint(run.last_of_all_steps()), "{said}");

    let home = Home::new();
    // Two that come while it is stopped are both there when it goes on, and a save takes longer than to see them.
    let (engine, run) = home.unwatched("told", &[]);
    run.until_more(20);
    let process = Pid::from_child(&engine);
    kill_process(process, Signal::STOP).unwrap();
    until("its stop", || stat(process, 3) == "T");
    for signal in [Signal::INT, Signal::TERM, Signal::CONT] {
        kill_process(process, signal).unwrap();
    }
    let (code, said) = ended(engine);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("told to end at once") && run.state() == RunState::Crashed, "{said}");
}

#[test]
fn a_terminal_that_hangs_up_has_a_run_without_a_screen_save_and_end() {
    let home = Home::new();
    let terminal = home.screen(&[&quick("closed")[..], &ENDLESS[..]].concat());
    terminal.until("a step", |text| text.contains("step "));
    until("a run", || home.folder().is_some_and(|run| run.join("metrics.jsonl").is_file()));
    let run = home.run();
    run.until_more(20);
    assert_eq!(terminal.hang_up(), 0);
    let last = run.last_of_all_steps();
    assert!(run.has_checkpoint(last) && run.state() == RunState::Stopped, "{}", run.log());

    // A session that ends sends both; and the hang-up alone never ends it at once.
    let home = Home::new();
    let (engine, run) = home.unwatched("session", &[]);
    run.until_more(20);
    let process = Pid::from_child(&engine);
    kill_process(process, Signal::STOP).unwrap();
    until("its stop", || stat(process, 3) == "T");
    for signal in [Signal::HUP, Signal::TERM, Signal::CONT] {
        kill_process(process, signal).unwrap();
    }
    let (code, said) = ended(engine);
    assert_eq!(code, Some(0), "{said}");
    assert!(run.has_checkpoint(run.last_of_all_steps()), "{said}");
}

#[test]
fn a_run_that_is_to_outlive_its_terminal_hears_no_hang_up() {
    let home = Home::new();
    let mut command = piped(program::program(home.path(), "sh"));
    // What nohup does.
    command.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_llamascape")]);
    command.args([&quick("kept")[..], &ENDLESS[..]].concat());
    let (engine, run) = home.begun(command);
    run.until_more(20);
    let process = Pid::from_child(&engine);
    kill_process(process, Signal::HUP).unwrap();
    run.until_more(200);
    kill_process(process, Signal::TERM).unwrap();
    let (code, said) = ended(engine);
    assert!(code == Some(0) && run.has_checkpoint(run.last_of_all_steps()), "{said}");
}

#[test]
fn control_z_gives_the_terminal_to_the_shell_and_fg_brings_the_screen_back() {
    let home = Home::new();
    let script = "set -m; \"$0\" \"$@\"; jobs; read line; fg; echo \"left with $?\"";
    let mut terminal = Pty::script(home.path(), 100, 30, script, &quick("shelved"));
    terminal.until("a step", |text| shown(text) > 0);
    let run = home.run();

    terminal.press("\x1a");
    terminal.until("the shell's word", |text| text.contains("Stopped"));
    terminal.check_given_back();
    let screens = proc(terminal.pid(), &format!("task/{}/children", terminal.pid().as_raw_pid()));
    let screen = Pid::from_raw(screens.trim().parse().unwrap()).unwrap();
    assert_eq!(stat(screen, 3), "T");
    run.until_more(100);

    let at = run.step();
    terminal.press("\n");
    terminal.until("the picture", |text| {
        let has = |line: Option<&str>, word: &str| line.is_some_and(|line| line.contains(word));
        has(text.lines().next(), "shelved ") && has(text.lines().last(), "quit") && shown(text) >= at
    });
    terminal.press("D");
    let (code, text) = terminal.end();
    assert!(code == 0 && text.contains("left with 0"), "{text}");
}

#[test]
fn control_z_does_nothing_where_no_shell_could_bring_the_screen_back() {
    let home = Home::new();
    let (mut screen, run) = home.watched("alone", &[]);
    screen.press("\x1a");
    run.until_more(50);
    let at = run.step();
    screen.until("the newest steps", |text| shown(text) >= at);
    screen.press("D");
    assert_eq!(screen.end().0, 0);
}
