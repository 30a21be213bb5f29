//! A run from its start to its report: tells the threads what to do, and adds up what they say.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, getrlimit, setrlimit};
use time::OffsetDateTime;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::clock::{nanos, now};
use super::failure::is_exhaustion;
use super::plan::{self, Plan};
use super::progress::{Shown, State};
use super::report::{Report, Step, Validity};
use super::result::{Outcome, Told};
use super::saturation;
use super::tally::Tally;
use super::worker::{News, Order, Round, Tick, Worker};
use crate::cli::bench::{BenchArgs, Workload};
use crate::context::Context;
use crate::error::{Error, Kind, Result};

/// Measures what the flags ask for; `told` is told of every second.
///
/// # Errors
/// No connection could be opened.
pub(crate) async fn run(
    args: &BenchArgs,
    plan: Plan,
    cx: &Arc<Context>,
    told: &mut Told<'_>,
) -> Result<Report> {
    let plan = Arc::new(plan);
    raise_limit();
    let mut run = Run::start(args, cx, plan, told)?;
    let outcome = run.measure().await;
    run.close().await;
    outcome
}

/// Lets this process have as many descriptors as it may.
fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it cannot be, connections will say so.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// The time between an order and what it is about, so that all threads have it by then.
const LEAD: u64 = 20_000_000;

struct Run<'a> {
    args: &'a BenchArgs,
    cx: &'a Arc<Context>,
    plan: Arc<Plan>,
    threads: Vec<Thread>,
    /// What threads say, with the number of the thread.
    news: mpsc::UnboundedReceiver<(usize, News)>,
    shown: Shown,
    told: &'a mut Told<'a>,
    /// Of the whole run: connections and failures.
    life: Tally,
}

struct Thread {
    orders: mpsc::UnboundedSender<Order>,
    handle: thread::JoinHandle<()>,
    /// As it was last said.
    open: usize,
    in_flight: u64,
    ended: bool,
}

impl<'a> Run<'a> {
    /// Starts the threads.
    fn start(
        args: &'a BenchArgs,
        cx: &'a Arc<Context>,
        plan: Arc<Plan>,
        told: &'a mut Told<'a>,
    ) -> Result<Self> {
        let (said, news) = mpsc::unbounded_channel();
        let thread = |index: usize| {
            let (orders, todo) = mpsc::unbounded_channel();
            let (plan, cx, said) = (plan.clone(), cx.clone(), said.clone());
            let work = move || work(plan, cx, index, said, todo);
            let handle = thread::Builder::new().name(format!("bench-{index}")).spawn(work);
            Ok(Thread {
                orders,
                handle: handle.map_err(Error::io)?,
                open: 0,
                in_flight: 0,
                ended: false,
            })
        };
        let threads = (0..plan.threads).map(thread).collect::<Result<_>>()?;
        let shown = Shown::new(&args.progress);
        Ok(Self { args, cx, plan, threads, news, shown, told, life: Tally::default() })
    }

    async fn measure(&mut self) -> Result<Report> {
        self.wait_for_start().await;
        self.connect().await?;
        let rates = plan::rates(self.args, &self.plan);
        if self.args.load.find_max {
            return self.find_max(rates[0].unwrap_or(1000.0)).await;
        }
        let mut steps = Vec::new();
        let mut last = None;
        for (i, rate) in rates.iter().enumerate() {
            let report = self.round(*rate, i).await?;
            steps.extend(rate.filter(|_| rates.len() > 1).map(|rate| step(rate, &report, None)));
            let interrupted = report.interrupted;
            last = Some(report);
            if interrupted {
                break;
            }
        }
        let mut report = last.expect("there is a rate");
        report.steps = steps;
        Ok(report)
    }

    /// Returns at the time of `--start-at`.
    async fn wait_for_start(&self) {
        let Some(at) = self.args.machine.start_at else { return };
        while let Ok(left) = Duration::try_from(at - OffsetDateTime::now_utc()) {
            tokio::select! {
                // The clock of the world may be set meanwhile.
                () = tokio::time::sleep(left.min(Duration::from_secs(10))) => {}
                () = self.cx.stop.cancelled() => return,
            }
        }
    }

    /// Opens all connections.
    ///
    /// # Errors
    /// None could be opened.
    async fn connect(&mut self) -> Result<()> {
        let began = now();
        self.order(|| Order::Connect(began + LEAD));
        let all = (self.plan.connections + self.plan.publishers) as f64;
        let total = Some(all / self.plan.ramp);
        self.hear_from_all(|run, _| {
            let state = run.state("connect", began, total);
            run.shown.show(&state);
        })
        .await?;
        if self.plan.workload == Workload::Connect || self.life.counts.opened > 0 {
            return Ok(());
        }
        if self.cx.stop.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted before a connection was open"));
        }
        let first = self.life.errors.values().next().map(|failures| failures.first.as_str());
        let what = format!("no connection could be opened: {}", first.unwrap_or("none was tried"));
        Err(Error::new(Kind::Expectation, what))
    }

    /// Sends at a rate of all segments, or in a closed loop, and says what came of it.
    async fn round(&mut self, rate: Option<f64>, number: usize) -> Result<Report> {
        let load = &self.args.load;
        let pace = plan::pace(self.args, &self.plan, rate);
        let start = now() + LEAD;
        // The connections are warm after the first round.
        let warm_up = if number == 0 { load.warm_up } else { load.warm_up.min(WARM_AGAIN) };
        let from = start + nanos(warm_up);
        let segment = self.plan.segment;
        let (messages, to) = match load.messages {
            Some(all) => (Some(segment.share(all as usize).1 as u64), u64::MAX / 2),
            None => (None, from.saturating_add(nanos(load.duration))),
        };
        let sending = Arc::new(AtomicUsize::new(self.threads.len()));
        let round = Round { pace, start, measures: from..to, messages, sending };
        let keeps = self.args.machine.segment.is_some();
        let mut outcome = Outcome::new(&round, OffsetDateTime::now_utc() + warm_up, keeps);
        let throttled = saturation::throttled();
        self.order(|| Order::Drive(round.clone()));
        let endless = load.messages.is_some() || load.duration == Duration::MAX;
        let total = (!endless).then_some(load.duration.as_secs_f64());
        let threads = self.threads.len();
        self.hear_from_all(|run, tick| {
            let whole = outcome.add(tick, threads, run.told);
            let (phase, since, total) = match now() {
                at if at < from => ("warm-up", start, Some(warm_up.as_secs_f64())),
                _ => ("measure", from, total),
            };
            let mut state = run.state(phase, since, total);
            state.last(outcome.intervals.last());
            // Threads say the same second one after the other.
            if whole || outcome.intervals.is_empty() {
                run.shown.show(&state);
            }
        })
        .await?;
        outcome.throttled = saturation::throttled() - throttled;
        outcome.interrupted = self.cx.stop.is_cancelled();
        if self.life.errors.keys().any(is_exhaustion) {
            outcome.verdict.add_always("there were no descriptors or ports left".to_owned());
        }
        Ok(outcome.report(self.args, &self.plan, &self.life, rate, self.told))
    }

    /// Searches the highest rate at which every objective is met.
    async fn find_max(&mut self, first: f64) -> Result<Report> {
        let (mut held, mut broken): (Option<Report>, Option<f64>) = (None, None);
        let mut steps = Vec::new();
        let mut rate = first;
        loop {
            let report = self.round(Some(rate), steps.len()).await?;
            let holds = self.holds(&report);
            steps.push(step(rate, &report, Some(holds)));
            if report.interrupted {
                held.get_or_insert(report);
                break;
            }
            match holds {
                true => held = Some(report),
                false => {
                    broken = Some(rate);
                    if held.is_none() && steps.len() >= DOWNWARDS {
                        held = Some(report);
                        break;
                    }
                }
            }
            let low = steps.iter().filter(|step| step.held == Some(true)).map(|step| step.rate);
            rate = match (low.reduce(f64::max), broken) {
                (Some(low), None) => low * 2.0,
                (None, Some(high)) => high / 2.0,
                (Some(low), Some(high)) if high / low > CLOSE => (low * high).sqrt(),
                _ => break,
            };
        }
        let mut report = held.expect("the loop ends with one");
        report.steps = steps;
        Ok(report)
    }

    /// Whether a rate was reached, and every objective met.
    fn holds(&self, report: &Report) -> bool {
        let reached = report.rate.target.is_none_or(|target| report.rate.achieved >= 0.99 * target);
        let met = self.args.load.slo.iter().all(|slo| slo.judge(report).passed);
        let limited =
            report.validity == Validity::ClientLimited && !self.args.machine.allow_limited;
        reached && met && !limited && report.measured.counts.dropped == 0
    }

    /// Closes all connections, and ends the threads.
    async fn close(&mut self) {
        self.order(|| Order::Close);
        let _ = self.hear_from_all(|_, _| ()).await;
        for Thread { orders, handle, .. } in self.threads.drain(..) {
            drop(orders);
            let _ = handle.join();
        }
    }

    fn order(&self, order: impl Fn() -> Order) {
        for thread in &self.threads {
            let _ = thread.orders.send(order());
        }
    }

    /// Listens until every thread has done what it was told to.
    ///
    /// # Errors
    /// A thread has failed; the others have done it all the same.
    async fn hear_from_all(&mut self, mut each: impl FnMut(&mut Self, Tick)) -> Result<()> {
        let mut busy = self.threads.iter().filter(|thread| !thread.ended).count();
        let mut outcome = Ok(());
        while busy > 0 {
            let Some((thread, news)) = self.news.recv().await else { break };
            match news {
                News::Tick(tick) => {
                    self.threads[thread].open = tick.open;
                    self.threads[thread].in_flight = tick.in_flight;
                    self.life.add_connections(&tick.tally);
                    each(self, *tick);
                }
                News::Done => busy -= 1,
                News::Failed(error) => {
                    busy -= 1;
                    self.threads[thread].ended = true;
                    outcome = Err(error);
                }
            }
        }
        outcome
    }

    fn state(&self, phase: &'static str, since: u64, total_s: Option<f64>) -> State {
        State {
            phase,
            elapsed_s: now().saturating_sub(since) as f64 / 1e9,
            total_s,
            open: self.threads.iter().map(|thread| thread.open as u64).sum(),
            failed: self.life.counts.failed,
            in_flight: self.threads.iter().map(|thread| thread.in_flight).sum(),
            errors: self.life.counts.errors,
            ..State::default()
        }
    }
}

/// The time that is left out at the start of a second rate.
const WARM_AGAIN: Duration = Duration::from_millis(500);
/// A rate that holds and one that does not are close enough, by this factor.
const CLOSE: f64 = 1.05;
/// How often the first rate is halved before it is given up.
const DOWNWARDS: usize = 10;

fn step(rate: f64, report: &Report, held: Option<bool>) -> Step {
    Step {
        rate,
        achieved: report.rate.achieved,
        response_us: report.measured.response_us.clone(),
        held,
        validity: report.validity,
    }
}

/// What one thread does.
fn work(
    plan: Arc<Plan>,
    cx: Arc<Context>,
    index: usize,
    said: mpsc::UnboundedSender<(usize, News)>,
    todo: mpsc::UnboundedReceiver<Order>,
) {
    let work = AssertUnwindSafe(|| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let worker = Worker::new(plan, cx, index, said.clone());
        runtime.block_on(LocalSet::new().run_until(worker.run(todo)))
    });
    let error = match catch_unwind(work) {
        Ok(Ok(())) => return,
        Ok(Err(error)) => Error::io(error),
        Err(_) => Error::new(Kind::Local, "a thread has panicked"),
    };
    let _ = said.send((index, News::Failed(error)));
}
