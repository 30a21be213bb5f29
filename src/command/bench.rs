//! `bench`: load, and what came of it.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::bench;
use crate::bench::report::verdict;
use crate::bench::tally::Tally;
use crate::cli::bench::{BenchArgs, BenchCommand};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::signal::Signals;

mod compare;
mod merge;
mod output;

use output::Output;

/// Measures, and prints the report; or does something with reports.
///
/// # Errors
/// Nothing could be measured, or the figures cannot be believed, or a gate failed.
pub async fn run(args: BenchArgs) -> Result<()> {
    let outcome = match &args.command {
        Some(BenchCommand::Compare(args)) => compare::run(args),
        Some(BenchCommand::Merge(args)) => merge::run(args),
        None => measure(&args).await,
    };
    outcome.map_err(Error::of_bench)
}

async fn measure(args: &BenchArgs) -> Result<()> {
    let cx = Arc::new(Context::for_bench(args));
    cx.tls.check_client()?;
    let plan = bench::Plan::new(args)?;
    let mut output = Output::create(&args.output)?;
    if let Some(asked) = bench::asked(args, &plan) {
        output.check(&asked)?;
    }
    let mut signals = Signals::listen()?;
    let mut log = None;
    let mut told = |began: OffsetDateTime, length, tally: &Tally| {
        let (first, log) = log.get_or_insert_with(|| (began, output.begin_log(began.into())));
        let since = (began - *first).unsigned_abs();
        if let Ok(Some(open)) = log
            && let Err(error) = open.interval(since, length, tally)
        {
            *log = Err(error);
        }
    };
    let (signal, outcome) = signals.run(&cx.stop, bench::run(args, plan, &cx, &mut told)).await;
    let mut report = outcome?;
    if let Some((_, Err(error))) = log {
        return Err(error);
    }
    output.write(&mut report)?;
    match signal {
        Some(signal) => Err(Error::new(signal, "interrupted")),
        None => verdict(&report, args.machine.allow_limited),
    }
}
