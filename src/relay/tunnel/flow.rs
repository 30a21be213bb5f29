//! What a tunnel does, apart from its sockets: the same wherever they are.

use std::io;

use bytes::{Buf, Bytes, BytesMut};

use super::frames::{Found, Rules, Tracker};
use super::{End, Limits, Owner, SIDES};
use crate::endpoint::Side;
use crate::relay::{Count, Counts};

mod ending;

/// How much more has to come of a payload for it to be worth going through a kernel pipe.
const BULK: u64 = 64 << 10;

/// The two connections, as far as they can be read and written now. What would have to wait is
/// [`io::ErrorKind::WouldBlock`].
pub(super) trait Ends {
    /// Reads once.
    fn read(&mut self, side: Side, into: &mut [u8]) -> io::Result<usize>;

    /// Writes once.
    fn write(&mut self, side: Side, data: &[u8]) -> io::Result<usize>;

    /// Ends the direction to a side.
    fn end(&mut self, side: Side);

    /// Moves at most `most` bytes to the other side without looking at them, if it can.
    fn splice(&mut self, _from: Side, _most: u64) -> Option<io::Result<Spliced>> {
        None
    }
}

/// What was moved unseen.
pub(super) struct Spliced {
    /// How much was read; 0 is the end.
    pub(super) len: usize,
    /// What of it could not be written, and why if not for want of room.
    pub(super) rest: Bytes,
    pub(super) failed: Option<io::Error>,
}

/// What all tunnels share during one round.
pub(super) struct Turn<'a> {
    pub(super) limits: &'a Limits,
    /// The time, in tenths of a second since some moment.
    pub(super) now: u32,
    /// What was moved in this round.
    pub(super) moved: &'a mut Counts,
}

/// One tunnel.
pub(super) struct Flow {
    /// The directions, by where they come from.
    lanes: [Lane; 2],
    cold: Box<Cold>,
    /// When a message last came, in whichever direction.
    active: u32,
    stage: Stage,
    /// Whether `Cold::deadline` is one.
    timed: bool,
}

/// What is rarely needed.
struct Cold {
    owner: Box<dyn Owner>,
    tag: u32,
    extensions: bool,
    /// Why we end it, if we do.
    end: Option<End>,
    /// Whose Close came first.
    first: Option<Side>,
    /// Who ended or failed first.
    gone: Option<End>,
    /// The code of our own Close.
    code: u16,
    /// When it is over at the latest.
    deadline: u32,
    /// The code it will be closed with when its turn comes.
    marked: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// Our own Close is under way.
    Closing,
    Over,
    /// Over, in a way that the sides must not take for an orderly end.
    Broken,
}

/// One direction.
#[derive(Default)]
struct Lane {
    track: Tracker,
    bytes: u64,
    messages: u64,
    /// What the sink has not taken yet. Until it has, the source is not read.
    tail: Option<Box<BytesMut>>,
    /// When the source was last heard, or pinged.
    heard: u32,
    /// The source has ended.
    ended: bool,
    /// The source owes an answer to our ping.
    pinged: bool,
    /// Large payloads come.
    bulk: bool,
    sink: Sink,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sink {
    #[default]
    Open,
    /// It has had its last word, though its connection has not ended.
    Mute,
    /// The direction to it has ended.
    Shut,
    /// It cannot be written to any more.
    Deaf,
}

impl Lane {
    /// Whether nothing more is to come through.
    fn is_done(&self) -> bool {
        (self.ended || self.track.closed().is_some()) && self.tail.is_none()
    }

    /// Whether what the sink has had is not a piece of something.
    fn is_whole(&self) -> bool {
        self.tail.is_none() && (self.sink == Sink::Mute || self.track.between_frames())
    }
}

impl Flow {
    pub(super) fn new(owner: Box<dyn Owner>, tag: u32, extensions: bool, now: u32) -> Self {
        let lane = || Lane { heard: now, ..Lane::default() };
        Self {
            lanes: [lane(), lane()],
            cold: Box::new(Cold {
                owner,
                tag,
                extensions,
                end: None,
                first: None,
                gone: None,
                code: 0,
                deadline: 0,
                marked: None,
            }),
            active: now,
            stage: Stage::Open,
            timed: false,
        }
    }

    /// Whether a side is to be read when it can be.
    pub(super) fn reads(&self, side: Side) -> bool {
        let lane = self.lane(side);
        !lane.ended && lane.tail.is_none()
    }

    /// Whether a side is to be written to when it can be.
    pub(super) fn writes(&self, side: Side) -> bool {
        self.lane(side.other()).tail.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over | Stage::Broken)
    }

    /// Whether the sides are to see a reset.
    pub(super) fn is_broken(&self) -> bool {
        self.stage == Stage::Broken
    }

    /// Whether it has to be looked at now and then, whatever the limits are.
    pub(super) fn is_timed(&self) -> bool {
        self.timed
    }

    /// Passes on what was read behind the heads.
    pub(super) fn begin(
        &mut self,
        early: &[Vec<u8>; 2],
        ends: &mut impl Ends,
        turn: &mut Turn<'_>,
    ) {
        for (side, early) in SIDES.into_iter().zip(early) {
            if !early.is_empty() {
                self.take(side, early, ends, turn);
            }
        }
    }

    /// Reads a side once and passes on what came.
    pub(super) fn readable(
        &mut self,
        from: Side,
        ends: &mut impl Ends,
        scratch: &mut [u8],
        turn: &mut Turn<'_>,
    ) {
        if self.lane(from).bulk && self.splice(from, ends, turn) {
            return;
        }
        match ends.read(from, scratch) {
            Ok(0) => self.source_ended(from, None, ends, turn),
            Ok(len) => {
                self.take(from, &scratch[..len], ends, turn);
                let lane = self.lane_mut(from);
                lane.bulk = len == scratch.len() && lane.track.left() > BULK;
            }
            Err(error) if waits(&error) => {}
            Err(error) => self.source_ended(from, Some(error), ends, turn),
        }
    }

    /// Writes to a side what it has not taken yet.
    pub(super) fn writable(&mut self, to: Side, ends: &mut impl Ends, turn: &Turn<'_>) {
        let lane = self.lane_mut(to.other());
        let Some(tail) = &mut lane.tail else { return };
        match ends.write(to, tail) {
            Ok(len) => {
                tail.advance(len);
                if tail.is_empty() {
                    lane.tail = None;
                    self.settle(ends);
                }
            }
            Err(error) if waits(&error) => {}
            Err(error) => self.sink_failed(to, error, ends, turn),
        }
    }

    /// Takes what a side has said.
    pub(super) fn take(
        &mut self,
        from: Side,
        chunk: &[u8],
        ends: &mut impl Ends,
        turn: &mut Turn<'_>,
    ) {
        self.hear(from, chunk.len() as u64, turn);
        let mut rest = chunk;
        if self.lane(from).sink == Sink::Open {
            rest = &chunk[self.forward(from, chunk, ends, turn)..];
        }
        if self.lane(from).sink != Sink::Open {
            self.overhear(from, rest);
        }
        self.settle(ends);
    }

    /// Passes on what a side has said, up to its Close or to where our own stands instead, and
    /// says how much was looked at.
    fn forward(
        &mut self,
        from: Side,
        chunk: &[u8],
        ends: &mut impl Ends,
        turn: &mut Turn<'_>,
    ) -> usize {
        let rules = self.rules(from, turn.limits);
        let closing = self.stage == Stage::Closing;
        let lane = self.lane_mut(from);
        let (mut at, mut messages) = (0, 0);
        // Where the last frame ended, if nothing of the next one can have been passed on before.
        let mut whole = lane.track.between_frames().then_some(0);
        let last = loop {
            let (len, found) = lane.track.feed(&chunk[at..], &rules);
            at += len;
            match found {
                Found::Nothing | Found::Wrong(..) | Found::Close => break found,
                Found::Message => messages += 1,
                Found::Frame => {}
            }
            whole = Some(at);
            if closing && lane.track.between_messages() {
                break Found::Message;
            }
        };
        lane.messages += messages;
        let moved = lane_of(turn.moved, from);
        moved.messages += messages;
        if messages > 0 || !self.lane(from).track.between_frames() {
            self.active = turn.now;
        }
        match last {
            Found::Wrong(code, why) => {
                self.pass(from, &chunk[..whole.unwrap_or(0)], ends, turn);
                match whole {
                    Some(_) => self.say_close(from, code, ends, turn),
                    None => self.mute(from),
                }
                self.close(code, End::Protocol(from, code, why), ends, turn);
            }
            Found::Close => {
                self.pass(from, &chunk[..at], ends, turn);
                self.mute(from);
                self.cold.first.get_or_insert(from);
                self.linger(turn);
            }
            Found::Message => {
                self.pass(from, &chunk[..at], ends, turn);
                self.say_close(from, self.cold.code, ends, turn);
            }
            Found::Frame | Found::Nothing => self.pass(from, chunk, ends, turn),
        }
        at
    }

    /// Takes what has no reader any more: it may hold the Close that is waited for.
    fn overhear(&mut self, from: Side, mut rest: &[u8]) {
        loop {
            let (len, found) = self.lane_mut(from).track.feed(rest, &Rules::default());
            rest = &rest[len..];
            match found {
                Found::Nothing => return,
                Found::Close => drop(self.cold.first.get_or_insert(from)),
                _ => {}
            }
        }
    }

    /// Moves bulk unseen; false where it has to be read.
    fn splice(&mut self, from: Side, ends: &mut impl Ends, turn: &mut Turn<'_>) -> bool {
        let lane = self.lane_mut(from);
        // The last byte of a payload is left to be read, so that the end of a frame is seen there.
        let most = lane.track.left().saturating_sub(1);
        let spliced = match lane.sink {
            Sink::Open if most >= BULK => ends.splice(from, most),
            _ => None,
        };
        let Some(spliced) = spliced else {
            lane.bulk = false;
            return false;
        };
        match spliced {
            Ok(Spliced { len: 0, .. }) => self.source_ended(from, None, ends, turn),
            Ok(Spliced { len, rest, failed }) => {
                lane.track.skip(len as u64);
                if !rest.is_empty() {
                    lane.tail = Some(Box::new(BytesMut::from(rest)));
                }
                self.active = turn.now;
                self.hear(from, len as u64, turn);
                if let Some(error) = failed {
                    self.sink_failed(from.other(), error, ends, turn);
                }
            }
            Err(error) if waits(&error) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                lane.bulk = false;
                return false;
            }
            Err(error) => self.source_ended(from, Some(error), ends, turn),
        }
        true
    }

    /// Writes to the other side, after what is waiting for it.
    fn pass(&mut self, from: Side, data: &[u8], ends: &mut impl Ends, turn: &Turn<'_>) {
        let lane = self.lane_mut(from);
        if data.is_empty() {
            return;
        }
        if let Some(tail) = &mut lane.tail {
            tail.extend_from_slice(data);
            return;
        }
        match ends.write(from.other(), data) {
            Ok(len) if len == data.len() => {}
            Ok(len) => lane.tail = Some(Box::new(BytesMut::from(&data[len..]))),
            Err(error) if waits(&error) => lane.tail = Some(Box::new(BytesMut::from(data))),
            Err(error) => self.sink_failed(from.other(), error, ends, turn),
        }
    }

    /// Notes that so many bytes came.
    fn hear(&mut self, from: Side, len: u64, turn: &mut Turn<'_>) {
        let lane = self.lane_mut(from);
        (lane.heard, lane.pinged) = (turn.now, false);
        lane.bytes += len;
        lane_of(turn.moved, from).bytes += len;
        if self.timed {
            self.linger(turn);
        }
    }

    /// What is asked of a side's frames. The backend is trusted.
    fn rules(&self, from: Side, limits: &Limits) -> Rules {
        match from {
            Side::Near => Rules {
                police: limits.police,
                extensions: self.cold.extensions,
                max_message: limits.max_message,
            },
            Side::Far => Rules::default(),
        }
    }

    fn lane(&self, from: Side) -> &Lane {
        &self.lanes[from as usize]
    }

    fn lane_mut(&mut self, from: Side) -> &mut Lane {
        &mut self.lanes[from as usize]
    }
}

fn lane_of(counts: &mut Counts, from: Side) -> &mut Count {
    match from {
        Side::Near => &mut counts.received,
        Side::Far => &mut counts.sent,
    }
}

fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
