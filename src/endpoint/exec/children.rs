//! Every child of this process: how many there may be, and how each is stopped and reaped.

use std::collections::HashSet;
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::{Child, ChildStderr};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::complaints::pass_on_lines;
use crate::cli::ExecArgs;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::report;

/// The children of one run.
pub(crate) struct Children {
    guards: TaskTracker,
    groups: Groups,
    room: Arc<Semaphore>,
    max: usize,
    grace: Duration,
}

/// The process groups that are not known to be gone.
type Groups = Arc<Mutex<HashSet<Pid>>>;

struct KillOnDrop<'a>(&'a Groups);

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        for group in lock(self.0).drain() {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// The right to start one more child.
pub(super) struct Permit(OwnedSemaphorePermit);

/// How a child's connection talks with the task that stops and reaps it. To drop it is to ask for
/// a gentle stop.
pub(super) struct Guarded {
    /// Asks for the child to be stopped.
    pub(super) stop: Option<oneshot::Sender<Stop>>,
    /// How the child has ended.
    pub(super) outcome: oneshot::Receiver<Result<()>>,
}

/// Where the stop ladder (end of input, SIGHUP, SIGTERM, SIGKILL) begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Its input has ended, which is reason enough to end for most programs.
    Gently,
    /// With SIGHUP.
    Now,
}

impl Children {
    /// None yet.
    pub(crate) fn new(args: &ExecArgs) -> Self {
        let max = args.max_children.min(Semaphore::MAX_PERMITS);
        Self {
            guards: TaskTracker::new(),
            groups: Groups::default(),
            room: Arc::new(Semaphore::new(max)),
            max,
            grace: args.stop_grace,
        }
    }

    /// Runs `work` and then waits until no child is left. Each is stopped when its connection is
    /// dropped, which takes no longer than the steps of the ladder. If this is not awaited to its
    /// end, what is left is killed.
    pub(crate) async fn until_stopped<T>(&self, work: impl Future<Output = T>) -> T {
        let _left = KillOnDrop(&self.groups);
        let outcome = work.await;
        self.guards.close();
        self.guards.wait().await;
        outcome
    }

    /// Whether one more child may be started.
    pub(super) fn admit(&self) -> Result<Permit> {
        self.room.clone().try_acquire_owned().map(Permit).map_err(|_| {
            let running = match self.max {
                1 => "1 child is running already".to_owned(),
                max => format!("{max} children are running already"),
            };
            Error::new(Kind::Local, running).hint("raise --max-children")
        })
    }

    /// Watches over a child in a task of its own, which outlives the child's connection: until
    /// the child and all of its process group are gone.
    pub(super) fn guard(
        &self,
        child: Child,
        stderr: Option<ChildStderr>,
        permit: Permit,
        mut who: String,
        hop: String,
    ) -> Guarded {
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        if let Some(group) = group {
            who = format!("{who} {group}");
        }
        report::verbose(format_args!("{who}: started"));
        let (tell, outcome) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let complaints = {
            let who = who.clone();
            tokio::spawn(async move {
                if let Some(stderr) = stderr {
                    pass_on_lines(stderr, who).await;
                }
            })
        };
        let guard = Guard {
            child,
            group,
            who,
            hop,
            grace: self.grace,
            complaints,
            signalled: false,
            outcome: None,
            tell: Some(tell),
        };
        let groups = self.groups.clone();
        lock(&groups).extend(group);
        self.guards.spawn(async move {
            guard.watch(stopped).await;
            if let Some(group) = group {
                lock(&groups).remove(&group);
            }
            drop(permit.0);
        });
        Guarded { stop: Some(stop), outcome }
    }
}

struct Guard {
    child: Child,
    /// The child leads a process group of its own.
    group: Option<Pid>,
    who: String,
    hop: String,
    grace: Duration,
    complaints: tokio::task::JoinHandle<()>,
    signalled: bool,
    outcome: Option<Result<()>>,
    tell: Option<oneshot::Sender<Result<()>>>,
}

impl Guard {
    async fn watch(mut self, mut stop: oneshot::Receiver<Stop>) {
        let stop = tokio::select! {
            stop = &mut stop => stop,
            () = self.ended() => {
                if !self.has_group() {
                    return;
                }
                // What it has left running may still use its output.
                let _ = stop.await;
                Ok(Stop::Now)
            }
        };
        self.stop(stop.unwrap_or(Stop::Gently)).await;
    }

    /// The stop ladder.
    async fn stop(&mut self, begin: Stop) {
        /// How long the system may take to end what was killed.
        const LAST: Duration = Duration::from_secs(2);
        if begin == Stop::Gently && timeout(self.grace, self.gone()).await.is_ok() {
            return;
        }
        for (signal, name) in [(Signal::HUP, "SIGHUP"), (Signal::TERM, "SIGTERM")] {
            report::verbose(format_args!("{}: stopping it with {name}", self.who));
            self.signal(signal);
            if timeout(self.grace, self.gone()).await.is_ok() {
                return;
            }
        }
        report::warn(format_args!("{}: did not stop; killed", self.who));
        self.signal(Signal::KILL);
        // Not even SIGKILL ends a process inside a system call that cannot be interrupted.
        if timeout(LAST, self.gone()).await.is_err() {
            report::warn(format_args!("{}: still there after SIGKILL", self.who));
        }
    }

    fn signal(&mut self, signal: Signal) {
        let Some(group) = self.group else { return };
        self.signalled = true;
        let _ = kill_process_group(group, signal);
        // A stopped process (SIGTTIN, SIGTSTP) would not see the signal.
        let _ = kill_process_group(group, Signal::CONT);
    }

    /// Waits until the child and its process group are gone. May be cancelled and called again.
    async fn gone(&mut self) {
        /// Nobody says when a group becomes empty.
        const LOOK: Duration = Duration::from_millis(20);
        self.ended().await;
        while self.has_group() {
            sleep(LOOK).await;
        }
    }

    /// Whether anything is left in the group. Its number cannot be taken by others while there is.
    fn has_group(&self) -> bool {
        self.group.is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    /// Waits until the child itself has ended and says how. May be cancelled and called again.
    async fn ended(&mut self) {
        /// What the child has left running may keep stderr open.
        const LAST_WORDS: Duration = Duration::from_millis(200);
        if self.tell.is_none() {
            return;
        }
        if self.outcome.is_none() {
            let status = self.child.wait().await;
            self.outcome = Some(self.judge(status));
        }
        if !self.complaints.is_finished() {
            let _ = timeout(LAST_WORDS, &mut self.complaints).await;
        }
        if let Some((tell, outcome)) = self.tell.take().zip(self.outcome.clone()) {
            let _ = tell.send(outcome);
        }
    }

    /// Whether the child has done well. One that was told to stop is not blamed for how it did.
    fn judge(&self, status: io::Result<ExitStatus>) -> Result<()> {
        let status = status.map_err(|error| Error::io(error).at(&self.hop))?;
        report::verbose(format_args!("{}: {}", self.who, said(status)));
        if status.success() || self.signalled {
            return Ok(());
        }
        let exit = status.code().and_then(|code| u32::try_from(code).ok()).map(Error::exit);
        Err(exit.unwrap_or_else(|| Error::new(Kind::Local, said(status))).at(&self.hop))
    }
}

/// As `exit 3` or `signal 9 (SIGKILL)`.
pub(crate) fn said(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit {code}"),
        None => status.to_string().replacen("signal: ", "signal ", 1),
    }
}
