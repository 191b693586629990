//! The real binary in a real pseudo-terminal, and what its user sees.

#![allow(dead_code, unused_imports, reason = "each file of tests is a crate that uses a part of this")]

mod link;

use std::io::{Read, Write};
use std::num::NonZero;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

pub(crate) use link::Link;

/// Long enough for a debug build on a busy machine; a test that works never waits for it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program and the terminal it runs in.
pub(crate) struct Pty {
    child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keyboard: Box<dyn Write + Send>,
    seen: Arc<(Mutex<Seen>, Condvar)>,
    reader: thread::JoinHandle<()>,
    /// The terminal's modes before the program ran.
    modes: String,
}

struct Seen {
    parser: vt100::Parser,
    ended: bool,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn shell(script: &str, arguments: &[&str]) -> CommandBuilder {
    let mut command = CommandBuilder::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_llamascape")]);
    command.args(arguments);
    command
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

impl Pty {
    /// Runs llamascape with these arguments; its runs and sockets lie under `home`.
    pub(crate) fn start(home: &Path, columns: u16, rows: u16, arguments: &[&str]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_llamascape"));
        command.args(arguments);
        Self::spawn(home, columns, rows, command, None)
    }

    /// Runs a script of the shell, to which `"$0" "$@"` is llamascape with these arguments.
    pub(crate) fn script(home: &Path, columns: u16, rows: u16, script: &str, arguments: &[&str]) -> Self {
        Self::spawn(home, columns, rows, shell(script, arguments), None)
    }

    /// The same with a link between the program and its terminal.
    pub(crate) fn behind(
        link: &Link,
        home: &Path,
        columns: u16,
        rows: u16,
        script: &str,
        arguments: &[&str],
    ) -> Self {
        Self::spawn(home, columns, rows, shell(script, arguments), Some(link))
    }

    fn spawn(home: &Path, columns: u16, rows: u16, mut command: CommandBuilder, link: Option<&Link>) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        command.env("XDG_STATE_HOME", home);
        command.env("XDG_RUNTIME_DIR", home);
        command.env("XDG_CACHE_HOME", home);
        command.env("XDG_CONFIG_HOME", home.join("config"));
        for name in ["NO_COLOR", "SSH_CONNECTION", "COLORFGBG", "STY"] {
            command.env_remove(name);
        }
        let modes = format!("{:?}", pair.master.get_termios());
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let keyboard = pair.master.take_writer().unwrap();
        let mut output = pair.master.try_clone_reader().unwrap();
        let parser = vt100::Parser::new(cells(rows), cells(columns), 0);
        let seen = Arc::new((Mutex::new(Seen { parser, ended: false }), Condvar::new()));
        let shared = Arc::clone(&seen);
        let arrive = move |bytes: &[u8]| {
            let mut seen = shared.0.lock().unwrap();
            seen.parser.process(bytes);
            seen.ended |= bytes.is_empty();
            shared.1.notify_all();
            !seen.ended
        };
        let reader = match link {
            Some(link) => link.clone().carry(output, arrive),
            None => thread::spawn(move || {
                let mut bytes = [0; 8192];
                loop {
                    let count = output.read(&mut bytes).unwrap_or(0);
                    if !arrive(&bytes[..count]) {
                        return;
                    }
                }
            }),
        };
        let keyboard = match link {
            Some(link) => link.keyboard(keyboard),
            None => keyboard,
        };
        Self { child, master: pair.master, keyboard, seen, reader, modes }
    }

    /// The program's process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap().cast_signed()).unwrap()
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.send(keys.as_bytes());
    }

    /// Sends what no keyboard need have.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.keyboard.write_all(bytes).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Changes the window's size.
    pub(crate) fn resize(&mut self, columns: u16, rows: u16) {
        self.seen.0.lock().unwrap().parser.screen_mut().set_size(cells(rows), cells(columns));
        self.master.resize(size(columns, rows)).unwrap();
    }

    /// Waits until the text on the screen is as wanted, and returns it.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let started = Instant::now();
        let mut seen = self.seen.0.lock().unwrap();
        loop {
            let text = seen.parser.screen().contents();
            if wanted(&text) {
                return text;
            }
            let left = PATIENCE.saturating_sub(started.elapsed());
            assert!(!left.is_zero() && !seen.ended, "waited for {what}; the screen shows\n{text}");
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// What every cell shows, and its colours. A cell that nothing was written to is blank.
    pub(crate) fn cells(&self) -> Vec<String> {
        let seen = self.seen.0.lock().unwrap();
        let screen = seen.parser.screen();
        let (rows, columns) = screen.size();
        let places = (0..rows.get()).flat_map(|row| (0..columns.get()).map(move |column| (row, column)));
        let cell = |(row, column)| {
            let cell = screen.cell(row, column).unwrap();
            let text = if cell.has_contents() { cell.contents() } else { " " };
            format!("{row}:{column} {text} {:?} {:?}", cell.fgcolor(), cell.bgcolor())
        };
        places.map(cell).collect()
    }

    /// Waits for the program's end and returns its exit code and what is left on the screen, after checking
    /// that the terminal is as the program found it.
    pub(crate) fn end(mut self) -> (u32, String) {
        let code = self.child.wait().unwrap().exit_code();
        let mut seen = self.seen.0.lock().unwrap();
        while !seen.ended {
            seen = self.seen.1.wait(seen).unwrap();
        }
        self.check(seen.parser.screen());
        (code, seen.parser.screen().contents())
    }

    /// Checks that the terminal is as the program found it, while it may still be there.
    pub(crate) fn check_given_back(&self) {
        self.check(self.seen.0.lock().unwrap().parser.screen());
    }

    fn check(&self, screen: &vt100::Screen) {
        assert!(!screen.alternate_screen(), "the other screen is still up");
        assert!(!screen.hide_cursor(), "the cursor is still hidden");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None, "the mouse is still taken");
        assert!(!screen.bracketed_paste() && !screen.application_cursor(), "an input mode is still on");
        assert_eq!(
            format!("{:?}", self.master.get_termios()),
            self.modes,
            "the terminal's modes are changed"
        );
    }

    /// Closes the terminal, as a window that is closed or a connection that drops does it, and returns the program's
    /// exit code. It must be at work on its screen: whoever reads here lets go of the terminal with what comes next.
    pub(crate) fn hang_up(self) -> u32 {
        let Self { child, master, keyboard, seen, reader, .. } = self;
        seen.0.lock().unwrap().ended = true;
        drop((master, keyboard));
        reader.join().unwrap();
        exit_code(child)
    }

    /// Kills the program.
    pub(crate) fn kill(self) {
        self.signal(Signal::KILL);
        exit_code(self.child);
    }
}

/// Waits for a program's end.
fn exit_code(mut child: Box<dyn Child + Send + Sync>) -> u32 {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.exit_code();
        }
        assert!(started.elapsed() < PATIENCE, "waited for the program's end");
        // The processor is for the one that is waited for.
        thread::sleep(Duration::from_millis(5));
    }
}
