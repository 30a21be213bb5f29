//! `help`: what `--help` says, and the topics that belong to no verb.

use crate::cli::{self, Topic};
use crate::error::{Kind, Result};
use crate::report;

use super::man::{addresses, ssh};

/// Prints a topic on stdout.
///
/// # Errors
/// stdout cannot be written.
pub(super) fn run(topic: Option<Topic>) -> Result<()> {
    let text = match topic {
        None => verb(None),
        Some(Topic::Connect) => verb(Some("connect")),
        Some(Topic::Serve) => verb(Some("serve")),
        Some(Topic::Proxy) => verb(Some("proxy")),
        Some(Topic::Tunnel) => verb(Some("tunnel")),
        Some(Topic::Bench) => verb(Some("bench")),
        Some(Topic::Completions) => verb(Some("completions")),
        Some(Topic::Man) => verb(Some("man")),
        Some(Topic::Addresses) => addresses::page().text(),
        Some(Topic::Ssh) => ssh::page().text(),
        Some(Topic::ExitCodes) => exit_codes(),
    };
    report::page(text.as_bytes())
}

/// The same text as `towline VERB --help`.
fn verb(name: Option<&str>) -> String {
    let mut command = cli::command();
    command.build();
    let command = match name {
        None => &mut command,
        Some(name) => command.find_subcommand_mut(name).expect("a topic names a verb"),
    };
    command.render_long_help().to_string()
}

fn exit_codes() -> String {
    let table = |table: &[(u8, &str)]| -> String {
        table.iter().map(|(code, meaning)| format!("{code:>5}  {meaning}\n")).collect()
    };
    format!(
        "Exit codes\n\n{}\n\
         They are the same in every verb but `bench`, and stay the same between versions.\n\
         --ok-close adds to the close codes that count as a clean end.\n\n\
         Exit codes of `towline bench`, where 1, 3 and 4 mean something else\n\n{}",
        table(Kind::TABLE),
        table(Kind::BENCH_TABLE)
    )
}
