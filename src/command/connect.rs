//! `connect`: two ends, joined once, or again and again with `--reconnect`.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::backoff::Backoff;
use crate::cli::{ConnectArgs, ConsoleArgs, PersistArgs};
use crate::console::Raw;
use crate::context::Context;
use crate::duplex::{ByteStream, Duplex, MessageStream, mute};
use crate::endpoint::{Call, Endpoint, Shape, Side};
use crate::error::{Error, Kind, Result};
use crate::framing::Framing;
use crate::probe::{self, Next};
use crate::recording::{self, Log};
use crate::relay::{self, Ended, Options, Pair};
use crate::signal::Signals;
use crate::trace::Trace;
use crate::{console, report};

mod fan;

/// A connection that has lived for this long was a good one: the next pauses begin small again.
const STABLE: Duration = Duration::from_secs(10);

/// How long a probe may take where `--timeout` does not say.
const PROBE_TIME: Duration = Duration::from_secs(60);

/// Joins the two addresses.
///
/// # Errors
/// Whatever ends the join other than well.
pub async fn run(args: ConnectArgs) -> Result<()> {
    let cx = Arc::new(Context::for_connect(&args));
    cx.tls.check_client()?;
    // A redirect may lead to TLS.
    if !args.addresses.iter().any(Endpoint::is_tls) && cx.shared.ws.max_redirects == 0 {
        cx.tls.check_no_client()?;
    }
    let mut signals = Signals::listen()?;
    if args.addresses.len() > 2 {
        return match signals.run(&cx.stop, cx.until_ended(fan::run(&args, &cx))).await {
            (Some(signal), _) => Err(Error::new(signal, "interrupted")),
            (None, outcome) => outcome,
        };
    }
    let mut session = Session::new(&args, &cx)?;
    let timeout = args.persist.timeout.or(args.script.decides().then_some(PROBE_TIME));
    let run = async {
        let outcome = match timeout {
            Some(patience) => session.run_within(patience).await,
            None => session.run().await,
        };
        // It may be a child that has to be stopped.
        session.near_end = None;
        outcome
    };
    let outcome = match signals.run(&cx.stop, cx.until_ended(run)).await {
        (Some(signal), Err(_)) => Err(Error::new(signal, "interrupted")),
        (_, outcome) => outcome,
    };
    session.probe.finish(outcome, &session.trace)
}

struct Session<'a> {
    args: &'a ConnectArgs,
    probe: probe::Session<'a>,
    /// What was found out by the last attempt to connect.
    trace: Trace,
    cx: &'a Arc<Context>,
    near: Endpoint,
    far: Endpoint,
    options: Options,
    /// The near end, once it is open. It outlives the connections to the far end.
    near_end: Option<Duplex>,
    /// Where all that is said is written down.
    log: Option<Arc<Log>>,
}

impl<'a> Session<'a> {
    fn new(args: &'a ConnectArgs, cx: &'a Arc<Context>) -> Result<Self> {
        let mut addresses = args.addresses.clone();
        let far = addresses.pop().expect("clap asks for an address");
        let near = addresses.pop().unwrap_or_else(Endpoint::console);
        let framing = cx.shared.join.framing([near.framing(), far.framing()]);
        let mut options = Options::new(cx, framing);
        options.keep_near = args.persist.reconnect;
        let probe = probe::Session::new(&args.script, cx, &far)?;
        let trace = Trace::default();
        // Unusable files are found before anything is connected.
        let ConsoleArgs { log, replay, speed, .. } = &args.console;
        let log = log.as_deref().map(Log::create).transpose()?;
        let near_end = match replay {
            Some(path) => {
                let replay = recording::replay(path, *speed, options.decoder.clone())?;
                Some(Duplex::Messages(replay))
            }
            None => None,
        };
        Ok(Self { args, probe, trace, cx, near, far, options, near_end, log })
    }

    /// Gives up when the time is over, after the far end was told.
    async fn run_within(&mut self, patience: Duration) -> Result<()> {
        let stop = self.cx.stop.clone();
        {
            let run = self.run();
            tokio::pin!(run);
            if let Ok(outcome) = timeout(patience, &mut run).await {
                return outcome;
            }
            stop.cancel();
            let _ = run.await;
        }
        Err(self.probe.out_of_time(patience))
    }

    /// Connects and joins, as often as the flags ask for it.
    async fn run(&mut self) -> Result<()> {
        let persist = &self.args.persist;
        let mut backoff = Backoff::new(Duration::from_millis(250), persist.max_delay);
        let began = Instant::now();
        let mut patience = persist.wait_ready;
        loop {
            let failure = match self.dial().await {
                Ok(far_end) => {
                    patience = None;
                    let since = Instant::now();
                    let outcome = self.join(far_end).await;
                    if !persist.reconnect || !is_loss(&outcome) {
                        return outcome
                            .and_then(|ended| judge(&ended, persist, &self.near, &self.far));
                    }
                    if since.elapsed() >= STABLE {
                        backoff.reset();
                    }
                    outcome.and_then(|ended| judge(&ended, persist, &self.near, &self.far)).err()
                }
                Err(error) => {
                    let waiting = patience.is_some_and(|patience| began.elapsed() < patience);
                    let retries = persist.max_retries.is_none_or(|most| backoff.attempts() < most);
                    let again = is_transient(&error) && !self.args.script.allows(error.kind());
                    if !again || !(waiting || (persist.reconnect && retries)) {
                        // A refusal may be what the probe is about.
                        return self.probe.greet(Err(error), &self.trace).await.map(drop);
                    }
                    Some(error)
                }
            };
            let mut pause = backoff.pause();
            if let Some(patience) = patience {
                pause = pause.min(patience.saturating_sub(began.elapsed()));
            }
            match failure {
                Some(error) => {
                    report::verbose(format_args!("{error}; next attempt in {pause:.1?}"));
                }
                None => report::verbose(format_args!(
                    "{:#}: closed; next attempt in {pause:.1?}",
                    self.far
                )),
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.cx.stop.cancelled() => return Err(Error::new(Kind::Terminated, "stopped")),
            }
        }
    }

    /// Connects the far end; stdin is not read before that has succeeded.
    async fn dial(&mut self) -> Result<Duplex> {
        self.trace = Trace::default();
        let call = Call {
            cx: self.cx,
            near: self.near_shape(),
            side: Side::Far,
            peer: None,
            trace: &self.trace,
        };
        tokio::select! {
            far_end = self.far.connect_in_time(&call) => far_end,
            () = self.cx.stop.cancelled() => Err(Error::new(Kind::Terminated, "stopped")),
        }
    }

    /// What the near end deals in, as far as that can be told before it is opened.
    fn near_shape(&self) -> Shape {
        // A script deals in messages.
        let raw = matches!(self.cx.shared.join.frame, None | Some(Framing::Raw))
            && self.args.script.is_empty();
        match (&self.near_end, self.near.shape()) {
            (Some(near_end), _) => near_end.shape(),
            _ if self.log.is_some() => Shape::Messages,
            _ if self.is_shell() => Shape::Bytes,
            _ if self.near.is_console() && console::is_interactive(&self.cx.shared.join) => {
                Shape::Messages
            }
            (None, Shape::Either) if raw => Shape::Bytes,
            (None, Shape::Either) => Shape::Messages,
            (None, shape) => shape,
        }
    }

    async fn join(&mut self, far_end: Duplex) -> Result<Ended> {
        let Some(mut far_end) = self.probe.greet(Ok(far_end), &self.trace).await? else {
            return Ok(Ended::default());
        };
        if self.log.is_some() || !self.args.script.is_empty() {
            far_end = Duplex::Messages(far_end.into_messages(&self.options.decoder));
        }
        let near_end = match self.near_end.take() {
            Some(near_end) => near_end,
            None => self.open_near(&far_end).await?,
        };
        let mut pair = match Pair::new(near_end, far_end, &self.options.decoder) {
            Pair::Messages(near, far) => Pair::Messages(near, self.watched(far)),
            bytes @ Pair::Bytes(..) => bytes,
        };
        let ended = self.play(&mut pair).await;
        self.near_end = Some(pair.into_near());
        ended
    }

    /// The far end with all who look at what passes.
    fn watched(&mut self, mut far: MessageStream) -> MessageStream {
        if report::logs_messages() {
            far = recording::told(far, format!("{:#}", self.far));
        }
        if let Some(log) = &self.log {
            far = log.wrap(far);
        }
        match self.args.script.is_empty() {
            true => far,
            false => self.probe.watch(far),
        }
    }

    /// Plays the script, if there is one, and joins the ends if it leaves anything to do.
    async fn play(&mut self, pair: &mut Pair) -> Result<Ended> {
        if let Pair::Messages(near, far) = pair
            && !self.args.script.is_empty()
        {
            match self.probe.play(near, far).await? {
                Next::Relay => {}
                Next::Over => return Ok(Ended::default()),
                Next::Closed(close) => {
                    let (close, by) = (Some(close), Some(Side::Far));
                    return Ok(Ended { close, by });
                }
            }
        }
        let (moved, outcome) = relay::relay(pair, &self.options).await;
        if report::logs_messages() && matches!(pair, Pair::Bytes(..)) {
            let (sent, received) = (moved.received.bytes, moved.sent.bytes);
            report::verbose(format_args!("{:#}: {sent} bytes sent, {received} received", self.far));
        }
        outcome.map_err(|error| error.at(format_args!("{:#}", self.far)))
    }

    async fn open_near(&self, far_end: &Duplex) -> Result<Duplex> {
        let trace = Trace::default();
        let call = Call {
            cx: self.cx,
            near: far_end.shape(),
            side: Side::Near,
            peer: None,
            trace: &trace,
        };
        if self.is_shell() {
            return Ok(Duplex::Bytes(ByteStream::other(Raw::open()?)));
        }
        let near_end = self.near.connect_in_time(&call).await?;
        // A script that speaks for itself needs no stdin, unless it is asked for or a person sits
        // there.
        let asked = self.args.addresses.len() > 1 || io::stdin().is_terminal();
        Ok(match self.args.script.sends() && !asked {
            true => Duplex::Messages(mute(near_end.into_messages(&self.options.decoder))),
            false => near_end,
        })
    }

    /// Whether a person is to type into a program that thinks it has this terminal.
    fn is_shell(&self) -> bool {
        let plain = self.cx.shared.join.frame.is_none() && self.args.script.is_empty();
        let terminals = self.near.is_console() && self.far.is_terminal() && console::is_terminal();
        plain && self.log.is_none() && terminals
    }
}

/// A join that was ended by a Close other than the ordinary one has failed.
fn judge(ended: &Ended, persist: &PersistArgs, near: &Endpoint, far: &Endpoint) -> Result<()> {
    match &ended.close {
        Some(close) if !close.is_clean() && !persist.ok_close.contains(&close.code) => {
            let peer = if ended.by == Some(Side::Near) { near } else { far };
            Err(Error::closed(close).at(format_args!("{peer:#}")))
        }
        _ => Ok(()),
    }
}

/// Whether the far end has gone, and it makes sense to connect again: not after our own end, and
/// not after a Close 1008, with which a server says that it does not want us.
fn is_loss(outcome: &Result<Ended>) -> bool {
    match outcome {
        Ok(ended) => match (&ended.close, ended.by) {
            (Some(close), Some(Side::Far)) => close.code != 1008,
            _ => false,
        },
        Err(error) => {
            matches!(error.kind(), Kind::Lost | Kind::Closed(..) if error.kind() != Kind::Closed(1008))
        }
    }
}

/// Whether the next attempt to connect may go better.
fn is_transient(error: &Error) -> bool {
    match error.kind() {
        Kind::Resolve | Kind::Refused | Kind::Timeout | Kind::Lost => true,
        Kind::Status(status) => status >= 500,
        _ => false,
    }
}
