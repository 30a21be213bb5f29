//! Without sockets and clocks, so that both do what a test needs.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::ending::{GRACE, LINGER};
use super::*;
use crate::relay::tunnel::End;

const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
const WORLD: &[u8] = b"\x81\x05world";
const CLOSE: &[u8] = b"\x88\x02\x03\xe9";

/// What a side says and hears.
#[derive(Default)]
struct Fake {
    says: VecDeque<io::Result<Vec<u8>>>,
    heard: Vec<u8>,
    /// How much more it takes.
    room: usize,
    deaf: bool,
    ended: bool,
}

impl Ends for [Fake; 2] {
    fn read(&mut self, side: Side, into: &mut [u8]) -> io::Result<usize> {
        let said = self[side as usize].says.pop_front();
        let said = said.unwrap_or(Err(io::ErrorKind::WouldBlock.into()))?;
        into[..said.len()].copy_from_slice(&said);
        Ok(said.len())
    }

    fn write(&mut self, side: Side, data: &[u8]) -> io::Result<usize> {
        let side = &mut self[side as usize];
        let len = data.len().min(side.room);
        match len {
            _ if side.deaf => return Err(io::ErrorKind::BrokenPipe.into()),
            0 => return Err(io::ErrorKind::WouldBlock.into()),
            _ => side.heard.extend_from_slice(&data[..len]),
        }
        side.room -= len;
        Ok(len)
    }

    fn end(&mut self, side: Side) {
        self[side as usize].ended = true;
    }
}

struct Told(Sender<End>);

impl Owner for Told {
    fn ended(self: Box<Self>, _: &Counts, end: End) {
        self.0.send(end).unwrap();
    }
}

struct Scene {
    flow: Flow,
    ends: [Fake; 2],
    limits: Limits,
    now: u32,
    moved: Counts,
    told: Receiver<End>,
}

impl Scene {
    fn new(limits: Limits) -> Self {
        let (sender, told) = channel();
        // A clock that begins anew soon.
        let now = u32::MAX - 3;
        let flow = Flow::new(Box::new(Told(sender)), 0, false, now);
        let ends = [(); 2].map(|()| Fake { room: usize::MAX, ..Fake::default() });
        Self { flow, ends, limits, now, moved: Counts::default(), told }
    }

    fn act(&mut self, what: impl FnOnce(&mut Flow, &mut [Fake; 2], &mut Turn<'_>)) {
        let Self { flow, ends, limits, now, moved, .. } = self;
        what(flow, ends, &mut Turn { limits, now: *now, moved });
    }

    fn read(&mut self, from: Side, what: io::Result<Vec<u8>>) {
        self.ends[from as usize].says.push_back(what);
        assert!(self.flow.reads(from));
        self.act(|flow, ends, turn| flow.readable(from, ends, &mut [0; 4096], turn));
    }

    fn say(&mut self, from: Side, what: &[u8]) {
        self.read(from, Ok(what.into()));
    }

    fn close(&mut self, code: u16) {
        self.act(|flow, ends, turn| flow.close(code, End::Closing(code), ends, turn));
    }

    /// Lets time pass, and looks.
    fn pass(&mut self, tenths: u32) {
        self.now = self.now.wrapping_add(tenths);
        self.act(|flow, ends, turn| flow.tick(ends, turn));
    }

    /// What a side has heard since this was last asked.
    fn heard(&mut self, side: Side) -> Vec<u8> {
        std::mem::take(&mut self.ends[side as usize].heard)
    }

    /// How it ended, and whether with a reset.
    #[track_caller]
    fn end(self) -> (End, bool) {
        assert!(self.flow.is_over());
        let broken = self.flow.is_broken();
        self.flow.tell();
        (self.told.recv().unwrap(), broken)
    }
}

#[test]
fn who_does_not_read_stops_the_other_from_being_read() {
    let mut scene = Scene::new(Limits::default());
    scene.ends[0].room = 3;
    scene.say(Side::Far, WORLD);
    assert_eq!(scene.heard(Side::Near), WORLD[..3]);
    assert!(!scene.flow.reads(Side::Far) && scene.flow.writes(Side::Near));
    assert!(scene.flow.reads(Side::Near) && !scene.flow.writes(Side::Far));
    scene.ends[0].room = 100;
    scene.act(|flow, ends, turn| flow.writable(Side::Near, ends, turn));
    assert_eq!(scene.heard(Side::Near), WORLD[3..]);
    assert!(scene.flow.reads(Side::Far) && !scene.flow.writes(Side::Near));
}

#[test]
fn an_end_waits_for_what_was_said_before_it() {
    let mut scene = Scene::new(Limits::default());
    scene.ends[0].room = 0;
    scene.say(Side::Far, CLOSE);
    scene.say(Side::Near, CLOSE);
    scene.read(Side::Near, Ok(Vec::new()));
    assert!(scene.ends[1].ended && !scene.ends[0].ended && !scene.flow.is_over());
    scene.ends[0].room = 100;
    scene.act(|flow, ends, turn| flow.writable(Side::Near, ends, turn));
    assert_eq!(scene.heard(Side::Near), CLOSE);
    assert!(matches!(scene.end(), (End::Closed { by: Side::Far, code: 1001 }, false)));
}

#[test]
fn pings_stand_where_a_message_has_ended() {
    let limits = Limits {
        ping: Some(Duration::from_secs(3)),
        ping_timeout: Duration::from_secs(2),
        ..Limits::default()
    };
    let mut scene = Scene::new(limits);
    scene.say(Side::Far, &WORLD[..4]);
    scene.pass(29);
    assert_eq!(scene.heard(Side::Near), WORLD[..4]);
    scene.pass(1);
    // The backend's message is under way: only it can be pinged itself.
    assert_eq!(scene.heard(Side::Near), b"");
    assert_eq!(scene.heard(Side::Far)[..2], [0x89, 0x80]);
    scene.pass(19);
    scene.say(Side::Far, &WORLD[4..]);
    scene.pass(29);
    assert_eq!(scene.heard(Side::Near), WORLD[4..]);
    scene.pass(1);
    assert_eq!(scene.heard(Side::Near), b"\x89\x00");
    assert_eq!(scene.heard(Side::Far)[..2], [0x89, 0x80]);
    // An answer is passed on: it says nothing wrong, and nothing has to be held to find it.
    scene.pass(19);
    scene.say(Side::Near, b"\x8a\x80abcd");
    assert_eq!(scene.heard(Side::Far), b"\x8a\x80abcd");
    assert!(!scene.flow.is_over());
    scene.pass(1);
    let (end, broken) = scene.end();
    let why = match end {
        End::Lost(Side::Far, why) => why,
        end => panic!("{end:?}"),
    };
    assert!(broken && why.kind() == io::ErrorKind::TimedOut);
}

#[test]
fn pings_are_no_messages() {
    let limits = Limits { idle: Some(Duration::from_secs(3)), ..Limits::default() };
    let mut scene = Scene::new(limits);
    scene.pass(20);
    scene.say(Side::Far, WORLD);
    scene.pass(20);
    scene.say(Side::Near, b"\x8a\x80abcd");
    assert!(scene.flow.stage == Stage::Open);
    scene.pass(10);
    assert_eq!(scene.heard(Side::Near), [WORLD, CLOSE].concat());
    scene.say(Side::Near, b"\x88\x80abcd");
    scene.say(Side::Far, CLOSE);
    assert!(matches!(scene.end(), (End::Idle, false)));
}

#[test]
fn who_does_not_answer_a_close_is_cut() {
    let mut scene = Scene::new(Limits::default());
    scene.close(1012);
    scene.pass(GRACE - 1);
    assert!(!scene.flow.is_over());
    scene.pass(1);
    assert!(matches!(scene.end(), (End::Closing(1012), false)));
}

#[test]
fn who_does_not_end_its_message_is_cut_so_that_it_shows() {
    let mut scene = Scene::new(Limits::default());
    scene.say(Side::Near, &HELLO[..8]);
    scene.close(1012);
    assert_eq!(scene.heard(Side::Far), HELLO[..8]);
    scene.pass(GRACE);
    assert!(matches!(scene.end(), (End::Closing(1012), true)));
}

#[test]
fn a_busy_side_is_closed_between_two_messages() {
    let mut scene = Scene::new(Limits::default());
    scene.say(Side::Far, &WORLD[..4]);
    scene.close(1012);
    scene.say(Side::Far, &[&WORLD[4..], WORLD, &WORLD[..3]].concat());
    assert_eq!(scene.heard(Side::Near), [WORLD, b"\x88\x02\x03\xf4"].concat());
    scene.say(Side::Far, &[&WORLD[3..], CLOSE].concat());
    scene.say(Side::Near, CLOSE);
    assert!(matches!(scene.end(), (End::Closing(1012), false)));
}

#[test]
fn a_close_that_is_under_way_is_answered_by_ours() {
    let mut scene = Scene::new(Limits::default());
    scene.say(Side::Near, CLOSE);
    scene.close(1012);
    assert_eq!(scene.heard(Side::Near), b"\x88\x02\x03\xf4");
    assert_eq!(scene.heard(Side::Far), CLOSE);
    scene.say(Side::Far, CLOSE);
    assert!(matches!(scene.end(), (End::Closed { by: Side::Near, code: 1001 }, false)));
}

#[test]
fn a_close_without_an_answer_ends_it_in_the_end() {
    let mut scene = Scene::new(Limits::default());
    scene.say(Side::Far, CLOSE);
    scene.pass(LINGER - 1);
    assert!(!scene.flow.is_over());
    scene.pass(1);
    assert!(matches!(scene.end(), (End::Closed { by: Side::Far, code: 1001 }, false)));
}

#[test]
fn who_ends_without_a_close_still_hears_for_a_while() {
    let mut scene = Scene::new(Limits::default());
    scene.read(Side::Near, Ok(Vec::new()));
    assert!(scene.ends[1].ended && !scene.ends[0].ended);
    scene.pass(LINGER - 1);
    scene.say(Side::Far, WORLD);
    assert_eq!(scene.heard(Side::Near), WORLD);
    scene.pass(LINGER - 1);
    assert!(!scene.flow.is_over());
    scene.pass(1);
    assert!(matches!(scene.end(), (End::Gone(Side::Near), false)));
}

#[test]
fn the_last_words_of_a_side_that_has_failed_are_delivered() {
    let mut scene = Scene::new(Limits::default());
    scene.ends[1].deaf = true;
    scene.say(Side::Near, HELLO);
    scene.say(Side::Far, &[WORLD, CLOSE].concat());
    scene.read(Side::Far, Err(io::ErrorKind::ConnectionReset.into()));
    assert_eq!(scene.heard(Side::Near), [WORLD, CLOSE].concat());
    // The client's own Close is waited for: a socket with unread bytes would be reset.
    assert!(scene.ends[0].ended && !scene.flow.is_over());
    scene.say(Side::Near, CLOSE);
    assert!(matches!(scene.end(), (End::Closed { by: Side::Far, code: 1001 }, false)));
}

#[test]
fn who_cannot_be_written_to_is_lost() {
    let mut scene = Scene::new(Limits::default());
    scene.ends[1].deaf = true;
    scene.say(Side::Near, HELLO);
    assert!(!scene.flow.is_over());
    scene.read(Side::Far, Ok(Vec::new()));
    let (end, broken) = scene.end();
    assert!(broken && matches!(end, End::Lost(Side::Far, _)), "{end:?}");
}

#[test]
fn nothing_follows_a_piece_of_a_wrong_frame() {
    let mut scene = Scene::new(Limits { police: true, ..Limits::default() });
    scene.say(Side::Near, &[HELLO, b"\x81"].concat());
    scene.say(Side::Near, b"\x05world");
    assert_eq!(scene.heard(Side::Far), [HELLO, b"\x81"].concat());
    assert_eq!(scene.heard(Side::Near), b"\x88\x02\x03\xea");
    scene.read(Side::Near, Ok(Vec::new()));
    assert!(scene.ends[1].ended);
    scene.pass(GRACE);
    let (end, _) = scene.end();
    assert!(matches!(end, End::Protocol(Side::Near, 1002, _)), "{end:?}");
}

#[test]
fn the_longest_message_of_a_client_is_limited() {
    let mut scene = Scene::new(Limits { max_message: Some(5), ..Limits::default() });
    scene.say(Side::Near, HELLO);
    scene.say(Side::Far, b"\x81\x06longer");
    scene.say(Side::Near, b"\x81\x86\0\0\0\0longer");
    assert_eq!(scene.heard(Side::Near), b"\x81\x06longer\x88\x02\x03\xf1");
    scene.say(Side::Near, CLOSE);
    scene.say(Side::Far, CLOSE);
    assert!(matches!(scene.end(), (End::Protocol(Side::Near, 1009, _), false)));
}
