//! Parse, run, turn the outcome into an exit code.

use std::process::ExitCode;

use mimalloc::MiMalloc;
use tokio::runtime::Builder;
use towline::cli::{Cli, Command};
use towline::error::{Error, Kind, Result};
use towline::threads::cores;
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
    let runtime = runtime(&cli.command).enable_all().build().map_err(Error::io)?;
    let outcome = runtime.block_on(command::run(cli));
    // A read of stdin cannot be cancelled; the process does not wait for it.
    runtime.shutdown_background();
    outcome
}

fn runtime(command: &Command) -> Builder {
    let threads = match command {
        Command::Proxy(args) => args.threads().tasks,
        // Of several sessions each can have a thread; all that goes through one is one stream.
        Command::Tunnel(args) if args.shared.ssh_pool.connections > 1 => cores(),
        // One join is one task, which a second thread would only have to wake. Peers are served, and
        // load is made, by threads of their own.
        _ => 1,
    };
    if threads == 1 {
        return Builder::new_current_thread();
    }
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads);
    builder
}
