//! A script played against one connection, and what came of it.

use std::future::poll_fn;
use std::time::Duration;

use futures_util::SinkExt;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::end::End;
use super::play::{Play, after};
use super::reports::Reports;
use super::script::Script;
use super::step::Action;
use super::tap::{By, Rejects, Shared, Tap};
use super::template::Captures;
use super::wire::Wire;
use crate::context::Context;
use crate::duplex::{Close, Duplex, MessageStream, Watched};
use crate::endpoint::Endpoint;
use crate::error::{Error, Kind, Result};
use crate::framing::Typing;
use crate::report;
use crate::trace::{Facts, Trace};

/// One run of a script.
pub struct Session<'a> {
    pub(super) script: &'a Script,
    pub(super) target: String,
    typing: Typing,
    stop: CancellationToken,
    rejects: Rejects,
    pub(super) started: Instant,
    pub(super) tally: Shared,
    pub(super) stage: Stage,
    /// What became of the handshake checks, in their order.
    pub(super) checked: Vec<Result<(), String>>,
    /// How long the steps took that were played to their end.
    pub(super) took: Vec<Duration>,
    reports: Reports,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Connecting,
    Handshake,
    Step(usize),
    Count,
    Played,
}

/// What is left to do after the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: all was as expected, and goodbye has been said.
    Over,
    /// To judge the peer's Close, which has come before there was anything to expect.
    Closed(Close),
    /// The join goes on as without a script.
    Relay,
}

impl<'a> Session<'a> {
    /// The run begins: time is measured from here on.
    ///
    /// # Errors
    /// A file to be sent is not the text that `--text` says it is, or a report has no place.
    pub fn new(script: &'a Script, cx: &Context, target: &Endpoint) -> Result<Self> {
        let typing = cx.shared.join.typing();
        for step in &script.steps {
            if let Action::SendFile(data) = &step.action
                && typing == Typing::Text
                && str::from_utf8(data).is_err()
            {
                let what = format!("{}: not UTF-8, so it cannot be sent as text", step.written);
                return Err(Error::new(Kind::Usage, what));
            }
        }
        let rejects = script.rejects.iter().map(|(written, pattern)| {
            let matcher = pattern.matcher(&Captures::new());
            matcher
                .map(|matcher| (written.to_string(), matcher))
                .map_err(|why| Error::new(Kind::Usage, format!("{written}: {why}")))
        });
        Ok(Self {
            rejects: rejects.collect::<Result<_>>()?,
            script,
            // Without a password.
            target: format!("{target:#}"),
            typing,
            stop: cx.stop.clone(),
            started: Instant::now(),
            tally: Shared::default(),
            stage: Stage::Connecting,
            checked: Vec::new(),
            took: Vec::new(),
            reports: Reports::create(script)?,
        })
    }

    /// Holds the outcome of connecting against what is expected of the handshakes. Nothing is left
    /// to do where a refusal was what was expected.
    ///
    /// # Errors
    /// The error of connecting, or the first check that failed.
    pub async fn greet(&mut self, far: Result<Duplex>, trace: &Trace) -> Result<Option<Duplex>> {
        let facts = trace.facts().clone();
        let far = match far {
            Ok(far) => Some(far),
            // Whether an answer that refuses is a failure is for the checks to say.
            Err(error) if self.script.looks_at(error.kind(), facts.unmet) => None,
            Err(error) => {
                // This may be the second attempt, after one that had come further.
                self.stage = Stage::Connecting;
                return Err(error);
            }
        };
        self.stage = Stage::Handshake;
        if let Err(error) = self.check(&facts) {
            if let Some(Duplex::Messages(mut far)) = far {
                let finish = async {
                    let _ = far.close().await;
                    poll_fn(|cx| far.poll_finish(cx)).await
                };
                let _ = timeout(Close::PATIENCE, finish).await;
            }
            return Err(error);
        }
        if self.script.is_empty() {
            self.stage = Stage::Played;
        }
        Ok(far)
    }

    fn check(&mut self, facts: &Facts) -> Result<()> {
        let checks = &self.script.checks;
        self.checked = checks.iter().map(|(_, check)| check.check(facts)).collect();
        match self.failed_check() {
            None => Ok(()),
            Some((at, why)) => {
                Err(Error::new(Kind::Expectation, format!("{}: {why}", checks[at].0)))
            }
        }
    }

    /// The first check that failed, and how.
    pub(super) fn failed_check(&self) -> Option<(usize, &str)> {
        let mut failed = self.checked.iter().enumerate();
        failed.find_map(|(at, outcome)| Some((at, outcome.as_ref().err()?.as_str())))
    }

    /// The far end as the script wants it: counted, and on guard for what it rejects.
    pub fn watch(&mut self, far: MessageStream) -> MessageStream {
        Watched::boxed(far, Tap::new(self.tally.clone(), self.rejects.clone()))
    }

    /// Plays the steps over a watched far end. What arrives is passed to the near end; what the
    /// near end says is sent on after the last step that sends. If nothing is left to do, or the
    /// script has failed, goodbye has been said to the far end.
    ///
    /// # Errors
    /// The step that failed, and why.
    pub async fn play(
        &mut self,
        near: &mut MessageStream,
        far: &mut MessageStream,
    ) -> Result<Next> {
        let mut wire = Wire::new(near, far, self.script.decides());
        let stop = self.stop.clone();
        let outcome = tokio::select! {
            outcome = self.steps(&mut wire) => outcome,
            () = stop.cancelled() => {
                let why = Error::new(Kind::Terminated, "going away");
                wire.abort(&why);
                Err(why)
            }
        };
        if matches!(outcome, Ok(Next::Relay)) {
            return outcome;
        }
        let _ = timeout(Close::PATIENCE, wire.goodbye(self.closing())).await;
        let shown = wire.shown().await;
        outcome.and_then(|next| shown.map(|()| next))
    }

    async fn steps(&mut self, wire: &mut Wire<'_>) -> Result<Next> {
        let steps = &self.script.steps;
        self.took.clear();
        let last_said = steps.iter().rposition(|step| step.action.sends());
        let mut play = Play::new(self.script.options.strict, self.typing, self.tally.clone());
        for (at, step) in steps.iter().enumerate() {
            self.stage = Stage::Step(at);
            wire.input = last_said.is_none_or(|last| at > last);
            let started = Instant::now();
            let played = play.step(step, wire).await;
            let took = started.elapsed();
            if report::logs_messages() {
                let outcome = if played.is_ok() { "done" } else { "failed" };
                report::verbose(format_args!("{}: {outcome} after {took:.1?}", self.place()));
            }
            played.map_err(|error| self.located(&error))?;
            self.took.push(took);
        }
        wire.input = true;
        if let Some(count) = self.script.options.count {
            self.stage = Stage::Count;
            self.count(count, wire).await.map_err(|error| self.located(&error))?;
        }
        self.stage = Stage::Played;
        wire.settle().await?;
        match wire.end() {
            _ if self.script.decides() || self.closing() => Ok(Next::Over),
            None => Ok(Next::Relay),
            Some(End::Eof) => Ok(Next::Over),
            Some(End::Closed(close)) => Ok(Next::Closed(close.clone())),
            Some(End::Lost(error)) => Err(error.clone()),
        }
    }

    /// Waits until so many messages were received, those of the steps included.
    async fn count(&self, count: u64, wire: &mut Wire<'_>) -> Result<()> {
        let until = self.script.within.and_then(after);
        loop {
            wire.forget();
            let so_far = self.tally.get().received.messages;
            if so_far >= count {
                return Ok(());
            }
            if let Some(end) = wire.end() {
                let error = end.error();
                let what = format!("{error} after {so_far} of {count} messages");
                return Err(Error::new(error.kind(), what));
            }
            if !wire.pull(until).await? {
                let within = self.script.within.unwrap_or_default();
                let what = format!("{so_far} of {count} messages within {within:?}");
                return Err(Error::new(Kind::NoMessage, what));
            }
        }
    }

    /// Whether our Close was sent before the peer's came.
    fn closing(&self) -> bool {
        self.tally.get().close.as_ref().is_some_and(|(_, by)| *by == By::Us)
    }

    /// Says at which step an error came up; a rejected message is nothing that a step did.
    fn located(&self, error: &Error) -> Error {
        if self.tally.get().rejected.is_some() || error.kind() == Kind::ClosedOutput {
            return error.clone();
        }
        let located = Error::new(error.kind(), format!("{}: {error}", self.place()));
        match error.advice() {
            Some(hint) => located.hint(hint),
            None => located,
        }
    }

    /// Where the run is.
    fn place(&self) -> String {
        match self.stage {
            Stage::Step(at) => format!("step {} ({})", at + 1, self.script.steps[at].written),
            Stage::Count => "--count".to_owned(),
            Stage::Connecting => "connecting".to_owned(),
            Stage::Handshake => "looking at the handshake".to_owned(),
            Stage::Played => "both ends are still open".to_owned(),
        }
    }

    /// What `--timeout` ends a run with.
    pub fn out_of_time(&self, limit: Duration) -> Error {
        let what = format!("not finished after {limit:?} (--timeout): {}", self.place());
        Error::new(Kind::Timeout, what)
    }

    /// Writes the reports of a run that has ended, and hands on its outcome.
    ///
    /// # Errors
    /// The outcome's own, or a report that cannot be written.
    pub fn finish(&self, outcome: Result<()>, trace: &Trace) -> Result<()> {
        let facts = trace.facts().clone();
        let written = self.reports.write(self, outcome.as_ref().err(), &facts);
        if let (Err(_), Err(error)) = (&outcome, &written) {
            report::warn(format_args!("{error}"));
        }
        outcome.and(written)
    }
}
