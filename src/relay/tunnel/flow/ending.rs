//! How a tunnel comes to its end.

use std::io;
use std::time::Duration;

use super::{Ends, Flow, Lane, Sink, Stage, Turn};
use crate::endpoint::Side;
use crate::relay::tunnel::{End, SIDES, frames};
use crate::relay::{Count, Counts};

/// How long, in tenths of a second, a side may take to come to the end of its message and to answer
/// our Close.
pub(super) const GRACE: u32 = 50;

/// How long nothing may come, in tenths of a second, once a side has closed or ended.
pub(super) const LINGER: u32 = 100;

impl Flow {
    /// Marks it for a Close, if it is one of those meant; see [`Self::close_marked`].
    pub(in crate::relay::tunnel) fn mark(&mut self, tag: Option<u32>, code: u16) -> bool {
        let meant = tag.is_none_or(|tag| tag == self.cold.tag);
        if meant {
            self.cold.marked = Some(code);
        }
        meant
    }

    /// Closes it if it was marked for this code and has not ended meanwhile.
    pub(in crate::relay::tunnel) fn close_marked(
        &mut self,
        code: u16,
        ends: &mut impl Ends,
        turn: &Turn<'_>,
    ) {
        if self.cold.marked == Some(code) {
            self.close(code, End::Closing(code), ends, turn);
        }
    }

    /// Closes both sides with our own Close, each as soon as a message to it has ended.
    pub(in crate::relay::tunnel) fn close(
        &mut self,
        code: u16,
        why: End,
        ends: &mut impl Ends,
        turn: &Turn<'_>,
    ) {
        if self.stage != Stage::Open {
            return;
        }
        self.stage = Stage::Closing;
        self.wait(GRACE, turn);
        // Where a side has closed already, ours is the answer to it.
        if self.cold.first.is_none() {
            self.cold.end.get_or_insert(why);
        }
        self.cold.code = code;
        for from in SIDES {
            let lane = self.lane(from);
            if lane.sink == Sink::Open && lane.track.between_messages() {
                self.say_close(from, code, ends, turn);
            }
        }
        self.settle(ends);
    }

    /// Ends it at once.
    pub(in crate::relay::tunnel) fn cut(&mut self) {
        self.cold.end.get_or_insert(End::Closing(End::CUT));
        self.stage = Stage::Broken;
    }

    /// Looks what the time has come for.
    pub(in crate::relay::tunnel) fn tick(&mut self, ends: &mut impl Ends, turn: &Turn<'_>) {
        if self.timed && reached(turn.now, self.cold.deadline) {
            let whole = self.lanes.iter().all(Lane::is_whole);
            self.stage = if whole { Stage::Over } else { Stage::Broken };
        }
        if self.stage != Stage::Open || self.cold.first.is_some() {
            return;
        }
        let limits = turn.limits;
        if limits.idle.is_some_and(|idle| passed(self.active, turn.now, idle)) {
            return self.close(1001, End::Idle, ends, turn);
        }
        let Some(ping) = limits.ping else { return };
        // A Ping behind much else would come late; and where much is said, TCP finds out itself who
        // does not take it.
        let quiet = self.lanes.iter().all(|lane| passed(lane.heard, turn.now, ping));
        for side in SIDES {
            let (out, into) = (self.lane(side), self.lane(side.other()));
            if out.pinged && passed(out.heard, turn.now, limits.ping_timeout) {
                let why = io::Error::new(io::ErrorKind::TimedOut, "no answer to a ping");
                return self.fail(side, why);
            }
            let ready = into.sink == Sink::Open && into.track.between_messages();
            if quiet && ready && into.tail.is_none() && !out.ended && !out.pinged {
                let out = self.lane_mut(side);
                (out.pinged, out.heard) = (true, turn.now);
                self.pass(side.other(), &frames::ping(side == Side::Far), ends, turn);
            }
        }
    }

    /// Tells the owner.
    pub(in crate::relay::tunnel) fn tell(self) {
        let Self { lanes: [up, down], cold, .. } = self;
        let count = |lane: &Lane| Count { bytes: lane.bytes, messages: lane.messages };
        let counts = Counts { received: count(&up), sent: count(&down) };
        let closed = |by| match by {
            Side::Near => up.track.closed(),
            Side::Far => down.track.closed(),
        };
        let said = cold.first.and_then(|by| closed(by).map(|code| End::Closed { by, code }));
        let end = cold.end.or(said).or(cold.gone);
        cold.owner.ended(&counts, end.unwrap_or(End::Closing(End::CUT)));
    }

    /// Says our own Close to the other side, in place of whatever else might come from this one.
    pub(super) fn say_close(
        &mut self,
        from: Side,
        code: u16,
        ends: &mut impl Ends,
        turn: &Turn<'_>,
    ) {
        self.pass(from, &frames::close(code, from == Side::Near), ends, turn);
        self.mute(from);
    }

    pub(super) fn mute(&mut self, from: Side) {
        let lane = self.lane_mut(from);
        if lane.sink == Sink::Open {
            lane.sink = Sink::Mute;
        }
    }

    /// A side has ended its direction, or failed.
    pub(super) fn source_ended(
        &mut self,
        from: Side,
        failed: Option<io::Error>,
        ends: &mut impl Ends,
        turn: &Turn<'_>,
    ) {
        self.lane_mut(from).ended = true;
        if let Some(error) = failed
            && self.stage == Stage::Open
            && self.cold.first.is_none()
        {
            return self.fail(from, error);
        }
        self.cold.gone.get_or_insert(End::Gone(from));
        self.linger(turn);
        self.settle(ends);
    }

    /// A side could not be written to. What it said before is still to be read, and may tell why.
    pub(super) fn sink_failed(
        &mut self,
        to: Side,
        error: io::Error,
        ends: &mut impl Ends,
        turn: &Turn<'_>,
    ) {
        let lane = self.lane_mut(to.other());
        lane.sink = Sink::Deaf;
        lane.tail = None;
        self.cold.gone.get_or_insert(End::Lost(to, error));
        self.linger(turn);
        self.settle(ends);
    }

    fn fail(&mut self, side: Side, error: io::Error) {
        self.cold.gone.get_or_insert(End::Lost(side, error));
        self.stage = Stage::Broken;
    }

    /// Passes on the ends of directions, and notices the end of all.
    pub(super) fn settle(&mut self, ends: &mut impl Ends) {
        if self.is_over() {
            return;
        }
        let orderly = self.cold.first.is_some() || self.stage == Stage::Closing;
        for side in SIDES {
            let (out, into) = (self.lane(side), self.lane(side.other()));
            if out.ended && out.tail.is_none() && into.sink == Sink::Deaf && !orderly {
                self.stage = Stage::Broken;
                return;
            }
        }
        // After both Closes one side still has to end. For the client that would be us, its server;
        // but were it us for the backend too, our ports would be used up by connections in TIME_WAIT.
        let ended = self.stage == Stage::Closing || self.lanes.iter().any(|lane| lane.ended);
        if ended && self.lanes.iter().all(Lane::is_done) {
            self.stage = Stage::Over;
            return;
        }
        for from in SIDES {
            let lane = self.lane_mut(from);
            if lane.ended && lane.tail.is_none() && matches!(lane.sink, Sink::Open | Sink::Mute) {
                lane.sink = Sink::Shut;
                ends.end(from.other());
            }
        }
    }

    /// Something ends, or comes while it does: the rest is waited for. Our own Close does not let
    /// itself be put off.
    pub(super) fn linger(&mut self, turn: &Turn<'_>) {
        if self.stage == Stage::Open {
            self.wait(LINGER, turn);
        }
    }

    /// Sets the time at which it is over.
    fn wait(&mut self, tenths: u32, turn: &Turn<'_>) {
        self.timed = true;
        self.cold.deadline = turn.now.wrapping_add(tenths);
    }
}

/// Whether a moment has come; the clock may have begun anew.
fn reached(now: u32, moment: u32) -> bool {
    now.wrapping_sub(moment) < u32::MAX / 2
}

/// Whether so much time has passed.
fn passed(since: u32, now: u32, time: Duration) -> bool {
    u128::from(now.wrapping_sub(since)) * 100 >= time.as_millis()
}
