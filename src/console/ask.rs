//! Questions to the person at the terminal, whatever stdin and stdout are.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::time::timeout_at;
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::lock::lock;

/// The longest answer, in bytes.
const LONGEST: usize = 1024;

/// Whether there is somebody to ask.
pub(crate) fn can_ask() -> bool {
    OpenOptions::new().read(true).write(true).open("/dev/tty").is_ok()
}

/// Gives `work` no more than so much time, not counting what a person takes to answer questions.
pub(crate) async fn within<T>(patience: Duration, work: impl Future<Output = T>) -> Option<T> {
    // `inf` is a time that never comes.
    let mut deadline = Instant::now() + patience.min(Duration::from_secs(86400 * 365));
    let mut asked = time_spent_asking();
    let mut work = pin!(work);
    loop {
        if let Ok(outcome) = timeout_at(deadline.into(), &mut work).await {
            return Some(outcome);
        }
        let asked_by_now = time_spent_asking();
        if asked_by_now == asked {
            return None;
        }
        deadline += asked_by_now - asked;
        asked = asked_by_now;
    }
}

/// How long all questions of this run have been open.
fn time_spent_asking() -> Duration {
    let clock = lock(&CLOCK);
    clock.spent + clock.since.map_or(Duration::ZERO, |since| since.elapsed())
}

/// The time that questions take is the person's, not the network's.
static CLOCK: Mutex<Clock> = Mutex::new(Clock { spent: Duration::ZERO, since: None });

struct Clock {
    spent: Duration,
    /// When the question that is open now was asked.
    since: Option<Instant>,
}

/// Asks a question and waits for a line. Where it is a secret, what is typed is not shown.
///
/// # Errors
/// [`Kind::Auth`] if there is no terminal, or the person ends the input.
pub(crate) async fn ask(question: &str, secret: bool) -> Result<Zeroizing<String>> {
    let nobody = |_| Error::new(Kind::Auth, "there is no terminal to ask at");
    let mut tty = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(nobody)?;
    let _ = tty.write_all(question.as_bytes());
    let asking = Asking::new(tty, secret)?;
    let (tty, over) = (asking.tty.clone(), asking.over.clone());
    let answer = tokio::task::spawn_blocking(move || read_line(&tty, &over)).await;
    if secret {
        let _ = (&*asking.tty).write_all(b"\n");
    }
    drop(asking);
    let unanswered = || Error::new(Kind::Auth, "the question was not answered");
    answer.ok().flatten().ok_or_else(unanswered)
}

/// The terminal while a question is open. It is put back as soon as nobody waits for the answer.
struct Asking {
    tty: Arc<File>,
    over: Arc<AtomicBool>,
    found: Option<Termios>,
}

impl Asking {
    fn new(tty: File, secret: bool) -> Result<Self> {
        let found = match secret {
            true => {
                let found = tcgetattr(&tty).map_err(|error| Error::io(error.into()))?;
                let mut quiet = found.clone();
                quiet.local_modes.remove(LocalModes::ECHO);
                tcsetattr(&tty, OptionalActions::Flush, &quiet)
                    .map_err(|error| Error::io(error.into()))?;
                Some(found)
            }
            false => None,
        };
        lock(&CLOCK).since = Some(Instant::now());
        Ok(Self { tty: Arc::new(tty), over: Arc::default(), found })
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let mut clock = lock(&CLOCK);
        let spent = clock.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        clock.spent += spent;
        drop(clock);
        if let Some(found) = &self.found {
            let _ = tcsetattr(&*self.tty, OptionalActions::Now, found);
        }
    }
}

/// Reads up to the end of the line; none where the input has ended or nobody waits any more.
fn read_line(tty: &File, over: &AtomicBool) -> Option<Zeroizing<String>> {
    let look = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    loop {
        if over.load(Ordering::Relaxed) {
            return None;
        }
        if poll(&mut [PollFd::new(tty, PollFlags::IN)], Some(&look)) == Ok(0) {
            continue;
        }
        let mut byte = [0];
        match (&*tty).read(&mut byte) {
            Ok(1) if byte[0] == b'\n' => break,
            Ok(1) if line.len() < LONGEST => line.push(byte[0]),
            Ok(1) => {}
            _ => return None,
        }
    }
    String::from_utf8(line.to_vec()).ok().map(Zeroizing::new)
}
