//! Parse, run, turn the outcome into an exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use tokio::runtime::Builder;
use towline::cli::{Cli, Command};
use towline::error::{Error, Kind, Result};
use towline::{command, report};

/// A handshake is some sixty small allocations, and a crowd of them frees what others took.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::read().unwrap_or_else(|error| error.exit());
    report::init(&cli.report);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let silent =
                matches!(error.kind(), Kind::ClosedOutput | Kind::Interrupted | Kind::Terminated);
            if !silent {
                report::error(&error);
            }
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let mut runtime = match &cli.command {
        // One join is one task, which a second thread would only have to wake.
        // Load is made by threads of its own.
        Command::Connect(_) | Command::Bench(_) => Builder::new_current_thread(),
        // All that goes through one session is one stream, too.
        Command::Tunnel(args) if args.shared.ssh_pool.connections == 1 => {
            Builder::new_current_thread()
        }
        _ => Builder::new_multi_thread(),
    };
    if let Command::Proxy(args) = &cli.command {
        runtime.worker_threads(args.threads().tasks);
    }
    let runtime = runtime.enable_all().build().map_err(Error::io)?;
    let outcome = runtime.block_on(command::run(cli));
    // A read of stdin cannot be cancelled; the process does not wait for it.
    runtime.shutdown_background();
    outcome
}
