//! A log of the histograms of every second, which the tools of HdrHistogram read.

use std::io::Write;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};

use crate::bench::tally::{Metric, Tally};
use crate::error::{Error, Kind, Result};

/// Written second by second, so that what was measured is there whatever happens.
#[derive(Debug)]
pub struct HdrLog<W> {
    to: W,
}

impl<W: Write> HdrLog<W> {
    /// Writes the head: what the numbers are, and when the measured part began.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(mut to: W, started: SystemTime) -> Result<Self> {
        let mut head = IntervalLogWriterBuilder::new();
        head.add_comment(concat!("[Logged with towline ", env!("CARGO_PKG_VERSION"), "]"));
        head.add_comment("[Histogram log format version 1.3]");
        head.add_comment("[Values are in microseconds]");
        head.with_start_time(started).with_base_time(started);
        head.begin_log_with(&mut to, &mut V2DeflateSerializer::new()).map_err(Error::io)?;
        to.flush().map_err(Error::io)?;
        Ok(Self { to })
    }

    /// Writes what was measured in a second: its start after that of the measured part, and its
    /// length. Each metric is a line, with its name as tag.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn interval(&mut self, start: Duration, length: Duration, tally: &Tally) -> Result<()> {
        let mut serializer = V2DeflateSerializer::new();
        let mut log = IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.to, &mut serializer)
            .map_err(Error::io)?;
        for metric in Metric::ALL {
            let Some(times) = tally.histogram(metric).filter(|it| !it.is_empty()) else { continue };
            let tag = Tag::new(metric.name());
            log.write_histogram(times, start, length, tag).map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => Error::io(error),
                IntervalLogWriterError::SerializeError(error) => Error::new(Kind::Local, error),
            })?;
        }
        self.to.flush().map_err(Error::io)
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::bench::report::measured::histogram;

    #[test]
    fn a_log_is_read_back() {
        let started = SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_072_000_250);
        let mut bytes = Vec::new();
        let mut log = HdrLog::begin(&mut bytes, started).unwrap();
        let mut tally = Tally::default();
        for second in 0..3_u64 {
            (1..=100).for_each(|i| tally.time(Metric::SendLag, i * 1_000 * (second + 1)));
            tally.time(Metric::Response, 5_000_000);
            log.interval(Duration::from_secs(second), Duration::from_secs(1), &tally).unwrap();
            tally = Tally::default();
        }
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("#[StartTime: 1764072000.250 (seconds since epoch)]\n"), "{text}");
        let entries = IntervalLogIterator::new(text.as_bytes()).map(Result::unwrap);
        let intervals = entries.filter_map(|entry| match entry {
            LogEntry::Interval(interval) => Some(interval),
            _ => None,
        });
        let intervals: Vec<_> = intervals.collect();
        assert_eq!(intervals.len(), 6);
        let last = &intervals[5];
        assert_eq!(&*last.tag().unwrap(), "send_lag");
        assert_eq!(last.start_timestamp(), Duration::from_secs(2));
        assert_eq!(last.duration(), Duration::from_secs(1));
        let times = histogram(last.encoded_histogram()).unwrap();
        assert_eq!((times.len(), times.max()), (100, 300));
    }
}
