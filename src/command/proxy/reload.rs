//! A file of flags that is read again: when it changes, and on SIGHUP.

use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::Signal;
use tokio::time::{MissedTickBehavior, interval};

use super::{check, check_tls};
use crate::cli::ProxyArgs;
use crate::context::Context;
use crate::error::Result;
use crate::proxy::Current;
use crate::report;
use crate::signal;
use crate::stamp::Stamp;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// The file of `--config`.
pub(super) struct Reloading {
    file: PathBuf,
    /// Of what was read last.
    read: Option<Stamp>,
    hangups: Signal,
    /// The flags of the start: where we listen and what all connections share stays as it is.
    start: ProxyArgs,
}

impl Reloading {
    /// Follows the file of `--config`, if there is one. SIGHUP is taken over from now on.
    pub(super) fn of(args: &ProxyArgs) -> Result<Option<Self>> {
        let Some(file) = args.routing.config.clone() else { return Ok(None) };
        let read = args.routing.from_file.stamp;
        Ok(Some(Self { file, read, hangups: signal::hangups()?, start: args.clone() }))
    }

    /// Has `proxy` do what the file says, for ever.
    pub(super) async fn run(mut self, proxy: &Current, cx: &Context) {
        loop {
            self.wait().await;
            let file = self.file.display();
            match self.read(proxy, cx) {
                Ok(()) => report::note(format_args!("{file}: read again")),
                Err(error) => {
                    report::warn(format_args!("{error}; what it said before still holds"));
                }
            }
        }
    }

    async fn wait(&mut self) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = self.read;
        loop {
            tokio::select! {
                _ = self.hangups.recv() => break,
                _ = ticks.tick() => {}
            }
            // While it is written it changes again, and while it is replaced it is not there.
            let now = Stamp::of(&self.file);
            if now.is_some() && now != self.read && now == seen {
                break;
            }
            seen = now;
        }
        self.read = Stamp::of(&self.file);
    }

    fn read(&self, proxy: &Current, cx: &Context) -> Result<()> {
        let args = ProxyArgs::read_again()?.with_start_of(&self.start);
        check(&args)?;
        let tls = cx.tls.renewed(args.shared.tls.clone(), args.tls.clone());
        check_tls(&args, &tls)?;
        for flag in args.routing.from_file.late(&self.start.routing.from_file) {
            let file = self.file.display();
            report::warn(format_args!("{file}: {flag} is heeded at the next start"));
        }
        proxy.change(args)?;
        cx.tls.become_as(&tls);
        Ok(())
    }
}
