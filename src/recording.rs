//! What was said: written down (`--log`), said again (`--replay`), told on stderr (`-vv`).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

use crate::duplex::{Body, ByteStream, Message, MessageStream, Watch, Watched, voiced};
use crate::endpoint::Console;
use crate::error::{Error, Kind, Result, plain};
use crate::framing::{Clock, Decoder, Direction, Envelope, Framed};
use crate::report;

/// The file of `--log`. Times count from its creation, so that one file holds all connections of a
/// run that reconnects.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    clock: Clock,
}

impl Log {
    /// Creates the file, readable by its owner alone: it holds all that was said.
    ///
    /// # Errors
    /// [`Kind::Usage`] if it cannot be created.
    pub(crate) fn create(path: &Path) -> Result<Arc<Self>> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(path);
        let file = file.map_err(|error| unusable(path, &error))?;
        Ok(Arc::new(Self { path: path.to_owned(), file, clock: Clock::start() }))
    }

    /// Records what goes through the far end of a join.
    pub(crate) fn wrap(self: &Arc<Self>, far: MessageStream) -> MessageStream {
        Watched::boxed(far, Recorder(self.clone()))
    }

    /// One write a message, so that what is in the file is whole when the run is killed.
    fn write(&self, message: &Message, dir: Direction) -> Result<()> {
        let mut line = BytesMut::new();
        Envelope::of(message, self.clock.now(), Some(dir)).write(&mut line);
        (&self.file).write_all(&line).map_err(|error| Error::io(error).at(self.path.display()))
    }
}

/// Writes down what passes.
struct Recorder(Arc<Log>);

impl Watch for Recorder {
    fn received(&mut self, message: &Message) -> Result<()> {
        self.0.write(message, Direction::In)
    }

    fn sent(&mut self, message: &Message) -> Result<()> {
        self.0.write(message, Direction::Out)
    }
}

/// Tells on stderr what `who`, a far end, says and is told.
pub(crate) fn told(far: MessageStream, who: String) -> MessageStream {
    Watched::boxed(far, Teller(who))
}

struct Teller(String);

impl Watch for Teller {
    fn received(&mut self, message: &Message) -> Result<()> {
        report::received(&self.0, message);
        Ok(())
    }

    fn sent(&mut self, message: &Message) -> Result<()> {
        report::sent(&self.0, message);
        Ok(())
    }
}

/// What was said in a recording, when it was said.
struct Replay {
    records: std::vec::IntoIter<Record>,
    next: Option<(Message, Pin<Box<Sleep>>)>,
    started: Option<Instant>,
}

/// A message that was sent, and how long after the first record.
struct Record {
    message: Message,
    due: Duration,
}

/// The near end of a join that says what was said in a recording, and prints what is received. The
/// whole recording is read at once, so that a malformed line is found before anything is sent.
///
/// # Errors
/// [`Kind::Usage`], naming the file and the line.
pub(crate) fn replay(path: &Path, speed: f64, decoder: Decoder) -> Result<MessageStream> {
    let file = File::open(path).map_err(|error| unusable(path, &error))?;
    let records = read(BufReader::new(file), speed, path)?.into_iter();
    let output = Framed::new(ByteStream::other(Console::new()), decoder);
    Ok(voiced(Replay { records, next: None, started: None }, Box::new(output)))
}

/// The messages that were sent in a recording, and of each whether it is text.
///
/// # Errors
/// [`Kind::Usage`], naming the file and the line.
pub(crate) fn outgoing(path: &Path) -> Result<Vec<(bool, Bytes)>> {
    let file = File::open(path).map_err(|error| unusable(path, &error))?;
    let records = read(BufReader::new(file), f64::INFINITY, path)?;
    let messages = records.into_iter().filter_map(|record| match record.message.body {
        Body::Text(text) => Some((true, text.into())),
        Body::Binary(bytes) => Some((false, bytes)),
        _ => None,
    });
    Ok(messages.collect())
}

fn read(mut input: impl BufRead, speed: f64, path: &Path) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut first = None;
    let mut due = Duration::ZERO;
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = input.read_until(b'\n', &mut line).map_err(|error| unusable(path, &error))?;
        if read == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let malformed =
            |why: String| Error::new(Kind::Usage, why).at(format!("{}:{number}", path.display()));
        let envelope = Envelope::parse(&line).map_err(malformed)?;
        if let Some(ts) = envelope.ts {
            let since = ts - *first.get_or_insert(ts);
            due = pause(since / speed).ok_or_else(|| malformed(format!("ts {ts} is too large")))?;
        }
        let sent = envelope.dir != Some(Direction::In);
        let message = envelope.into_message().map_err(malformed)?;
        if sent {
            records.push(Record { message, due });
        }
    }
    Ok(records)
}

/// A time that a timer can wait for.
fn pause(seconds: f64) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);
    let pause = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
    (pause <= LONGEST).then_some(pause)
}

fn unusable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::Usage, plain(error)).at(path.display())
}

impl Stream for Replay {
    type Item = Result<Message>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.next.is_none() {
            let Some(Record { message, due }) = this.records.next() else {
                return Poll::Ready(None);
            };
            let started = *this.started.get_or_insert_with(Instant::now);
            this.next = Some((message, Box::pin(tokio::time::sleep_until(started + due))));
        }
        if let Some((_, sleep)) = &mut this.next {
            ready!(sleep.as_mut().poll(cx));
        }
        Poll::Ready(this.next.take().map(|(message, _)| Ok(message)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str, speed: f64) -> Result<Vec<(u128, String)>> {
        let read = read(text.as_bytes(), speed, Path::new("s.ndjson"))?;
        let show = |record: Record| {
            let payload = String::from_utf8_lossy(record.message.payload()).into_owned();
            (record.due.as_millis(), payload)
        };
        Ok(read.into_iter().map(show).collect())
    }

    const SESSION: &str = r#"{"ts":10.5,"dir":"in","type":"text","data":"welcome"}
{"ts":11.5,"dir":"out","type":"text","data":"a"}

{"type":"text","data":"by hand"}
{"ts":9.0,"dir":"out","type":"text","data":"b"}
{"ts":14.5,"dir":"out","type":"close","code":1000,"reason":"bye"}
"#;

    #[test]
    fn what_was_sent_is_due_when_it_was_sent() {
        let want = |all: [(u128, &str); 4]| all.map(|(at, text)| (at, text.to_owned())).to_vec();
        let all = records(SESSION, 1.0).unwrap();
        assert_eq!(all, want([(1000, "a"), (1000, "by hand"), (0, "b"), (4000, "bye")]));
        let all = records(SESSION, 4.0).unwrap();
        assert_eq!(all, want([(250, "a"), (250, "by hand"), (0, "b"), (1000, "bye")]));
        let all = records(SESSION, f64::INFINITY).unwrap();
        assert_eq!(all, want([(0, "a"), (0, "by hand"), (0, "b"), (0, "bye")]));
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = records("{\"type\":\"text\",\"data\":\"\"}\n\nhello\n", 1.0).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().starts_with("s.ndjson:3: not an envelope"), "{error}");
        let late = "{\"ts\":0,\"type\":\"ping\"}\n{\"ts\":1e300,\"type\":\"ping\"}";
        let error = records(late, 1.0).unwrap_err();
        assert!(error.to_string().starts_with("s.ndjson:2: ts 1"), "{error}");
    }
}
