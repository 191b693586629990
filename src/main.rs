//! The `llamascape` program.

use std::process::ExitCode;

use llamascape::ranks::Launch;

fn main() -> ExitCode {
    let launch = Launch::here();
    // All processes of a job were typed alike: what is wrong with that the first one says.
    let is_silent = !launch.is_first();
    let cli = match llamascape::cli::parse() {
        Ok(cli) => cli,
        Err(_) if is_silent => return ExitCode::SUCCESS,
        Err(error) => error.exit(),
    };
    set_threads(cli.threads());
    llamascape::run::panics::install(cli.command_name(), llamascape::terminal::rescue);
    match cli.join(&launch) {
        // What went wrong is said before the other processes are ended.
        Ok(ranks) => code(cli.run(&ranks)),
        Err(_) if is_silent => ExitCode::SUCCESS,
        Err(error) => code(Err(error)),
    }
}

/// Says what went wrong, and returns what the process ends with.
fn code(ended: anyhow::Result<()>) -> ExitCode {
    match ended.map_err(anyhow::Error::downcast::<clap::Error>) {
        Ok(()) => ExitCode::SUCCESS,
        // Some wrong usage is seen only by the command itself.
        Err(Ok(usage)) => {
            // Nobody can be told where stderr is gone.
            let _ = usage.print();
            ExitCode::from(usage.exit_code() as u8)
        }
        Err(Err(error)) => {
            llamascape::cli::print_error(&error);
            if error.is::<llamascape::cli::Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// candle and rayon size themselves by these variables alone. Unset, candle takes the machine's physical cores,
/// whatever share of them this process may use. Its second pool, for elementwise operations, spins while it
/// waits and so takes from the slices what it gives to the steps: it gets one thread.
#[expect(unsafe_code, reason = "the standard library has no safe way to set a variable of this process")]
fn set_threads(threads: usize) {
    for (name, threads) in [("RAYON_NUM_THREADS", threads), ("CANDLE_NUM_THREADS", 1)] {
        // SAFETY: `main` has started no thread yet, so nothing reads the environment meanwhile.
        unsafe { std::env::set_var(name, threads.to_string()) };
    }
}
