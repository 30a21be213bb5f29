//! That messages are the same however they come, and the same as the library alone would make of
//! them.

use std::io::Cursor;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::super::scripted::Scripted;
use super::*;
use crate::buffers::LARGE;

const KEY: [u8; 4] = *b"mask";

fn frames(wire: &[u8], piece: usize, role: Role, max: usize) -> (Frames, Arc<Mutex<Vec<u8>>>) {
    let taken = Arc::<Mutex<Vec<u8>>>::default();
    let gives = wire.chunks(piece).map(<[u8]>::to_vec).collect();
    let stream = Scripted { gives, rests: Some(true), takes: piece, taken: taken.clone() };
    (Frames::new(ByteStream::other(stream), &[], role, max), taken)
}

/// Polls as a task would that is woken for each piece.
fn finish<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let cx = &mut Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(done) = poll(cx) {
            return done;
        }
    }
}

/// What came of frames: messages, and why there were no more.
type Outcome = (Vec<Body>, Option<String>);

fn ours(wire: &[u8], piece: usize, role: Role, max: usize) -> (Outcome, Vec<u8>) {
    let (mut frames, taken) = frames(wire, piece, role, max);
    let mut messages = Vec::new();
    let why = loop {
        match finish(|cx| frames.poll_next(cx)) {
            Some(Ok(message)) => messages.push(message),
            other => break other.map(|it| it.unwrap_err().to_string()),
        }
    };
    let _ = finish(|cx| frames.poll_flush(cx));
    let taken = taken.lock().unwrap().clone();
    ((messages, why), taken)
}

/// The same by the library alone.
fn library(wire: &[u8], role: Role, max: usize) -> (Outcome, Vec<u8>) {
    struct Both<'a>(Cursor<&'a [u8]>, Vec<u8>);
    impl io::Read for Both<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(buf)
        }
    }
    impl io::Write for Both<'_> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.1.write(buf)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let config = WebSocketConfig::default().max_message_size(Some(max)).max_frame_size(Some(max));
    let mut library = WebSocketContext::new(role, Some(config));
    let mut stream = Both(Cursor::new(wire), Vec::new());
    let mut messages = Vec::new();
    let why = loop {
        match library.read(&mut stream) {
            Ok(message) => messages.push(body(message)),
            Err(Fault::AlreadyClosed | Fault::ConnectionClosed) => break None,
            Err(fault) => break Some(fault.to_string()),
        }
    };
    let _ = library.flush(&mut stream);
    ((messages, why), stream.1)
}

/// A frame, by its first byte; the payload is text.
fn frame(first: u8, masked: bool, len: usize) -> Vec<u8> {
    let key = masked.then_some(KEY);
    let mut frame = Vec::new();
    Head::new(0, false, key, len).write(&mut frame);
    frame[0] = first;
    let at = frame.len();
    frame.extend(b"some text ".iter().cycle().take(len));
    if let Some(key) = key {
        head::mask(&mut frame[at..], key, 0);
    }
    frame
}

fn sequence() -> impl Strategy<Value = Vec<(u8, bool, usize)>> {
    let first = prop_oneof![
        12 => prop::sample::select(vec![0x81, 0x82]),
        6 => prop::sample::select(vec![0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        // Wrong, unless it is a Close.
        1 => prop::sample::select(vec![0x88, 0xc1, 0x83, 0x09]),
    ];
    let len = prop_oneof![
        8 => 0usize..130,
        2 => 4000usize..5000,
        1 => 65_500usize..66_000,
        1 => prop::sample::select(vec![LARGE - 1, LARGE, LARGE + 1, 3 * LARGE, 5 * LARGE]),
    ];
    prop::collection::vec((first, prop::bool::weighted(0.98), len), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn messages_are_those_of_the_library(
        sequence in sequence(),
        piece in prop_oneof![1usize..20, 100usize..5000, Just(1 << 20)],
        server: bool,
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let mut wire: Vec<u8> = sequence
            .into_iter()
            .flat_map(|(first, right, len)| {
                let len = if first & 8 != 0 { len.min(126) } else { len };
                frame(first, right == server, len)
            })
            .collect();
        if let Some(cut) = cut {
            wire.truncate(cut.index(wire.len()) + 1);
        }
        // Byte by byte what is long takes too long.
        let piece = piece.max(wire.len() / 2000);
        let max = 4 * LARGE;
        let (want, said) = library(&wire, role, max);
        let (got, written) = ours(&wire, piece, role, max);
        prop_assert_eq!(got, want);
        // Masks are random.
        prop_assert_eq!(written.len(), said.len());
        if server {
            prop_assert_eq!(written, said);
        }
    }

    #[test]
    fn what_is_sent_is_read_as_it_was(
        messages in prop::collection::vec((any::<bool>(), prop_oneof![
            8 => 0usize..200,
            2 => 15_000usize..17_000,
            1 => 65_000usize..66_000,
            1 => Just(5 * LARGE),
        ]), 1..40),
        piece in prop_oneof![100usize..5000, Just(1 << 20)],
        server: bool,
    ) {
        let (role, other) = match server {
            true => (Role::Server, Role::Client),
            false => (Role::Client, Role::Server),
        };
        let (mut sender, wire) = frames(&[], piece, role, 0);
        let mut sent = Vec::new();
        for (text, len) in messages {
            finish(|cx| sender.poll_ready(cx)).unwrap();
            let payload: String = "größer ".chars().cycle().take(len).collect();
            let body = if text { Body::Text(payload.into()) } else { Body::Binary(payload.into()) };
            sent.push(body.clone());
            sender.start_send(body).unwrap();
        }
        finish(|cx| sender.poll_flush(cx)).unwrap();
        let wire = wire.lock().unwrap().clone();
        let ((got, _), _) = library(&wire, other, usize::MAX);
        prop_assert_eq!(got, sent);
    }
}

#[test]
fn a_quiet_connection_holds_nothing() {
    let wire = [frame(0x82, true, 3 * LARGE), frame(0x81, true, 10)].concat();
    let (mut frames, _) = frames(&wire, 1 << 20, Role::Server, 1 << 20);
    for _ in 0..2 {
        let message = finish(|cx| frames.poll_next(cx)).unwrap().unwrap();
        frames.start_send(message).unwrap();
        finish(|cx| frames.poll_flush(cx)).unwrap();
    }
    assert!(frames.poll_next(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(frames.wire.capacity(), 0);
}
