//! The adaptor as the library sees it from above, and the peer from below.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use flate2::{Compress as Zlib, Compression, FlushCompress};
use proptest::prelude::*;

use super::super::head::{self, Head};
use super::super::scripted::Scripted;
use super::*;
use crate::error::{Error, Kind};

const TEXT: u8 = 0x81;
const RSV1: u8 = 0x40;
const KEY: [u8; 4] = *b"mask";

fn terms(bits: u8, kept: bool) -> Terms {
    let window = Window { bits, kept };
    Terms { server: window, client: window }
}

fn pieces(bytes: &[u8], len: usize) -> VecDeque<Vec<u8>> {
    bytes.chunks(len).map(<[u8]>::to_vec).collect()
}

fn limits(size: usize) -> Limits {
    Limits { size, ratio: None }
}

/// What comes up of what a peer sends in pieces, with the error that ends it.
fn read(
    wire: &[u8],
    piece: usize,
    end: End,
    terms: &Terms,
    max: usize,
) -> (Vec<u8>, Option<Error>) {
    let stream =
        Scripted { gives: pieces(wire, piece), rests: None, takes: 0, taken: Arc::default() };
    let mut stream = over(ByteStream::other(stream), &[], end, terms, Compress::Auto, limits(max));
    let mut cx = Context::from_waker(Waker::noop());
    let mut plain = Vec::new();
    loop {
        let mut space = vec![0; piece.min(5000)];
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut stream).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => return (plain, None),
            Poll::Ready(Ok(())) => plain.extend_from_slice(buf.filled()),
            Poll::Ready(Err(error)) => return (plain, Some(Error::io(error))),
            Poll::Pending => unreachable!("it gives whatever it has"),
        }
    }
}

/// What goes down of what the library sends in pieces.
fn write(plain: &[u8], piece: usize, end: End, terms: &Terms, compress: Compress) -> Vec<u8> {
    let taken = Arc::<Mutex<Vec<u8>>>::default();
    let stream =
        Scripted { gives: VecDeque::new(), rests: None, takes: piece, taken: taken.clone() };
    let mut stream = over(ByteStream::other(stream), &[], end, terms, compress, limits(0));
    let mut cx = Context::from_waker(Waker::noop());
    for mut piece in plain.chunks(piece) {
        while !piece.is_empty() {
            match Pin::new(&mut stream).poll_write(&mut cx, piece) {
                Poll::Ready(taken) => piece = &piece[taken.unwrap()..],
                // It has compressed much at once, and takes no second break.
                Poll::Pending => {}
            }
        }
    }
    assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_ready());
    taken.lock().unwrap().clone()
}

/// One frame, masked if there is a key. `first` is FIN, the reserved bits and the opcode.
fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    Head::new(0, false, key, payload.len()).write(&mut frame);
    frame[0] = first;
    let at = frame.len();
    frame.extend_from_slice(payload);
    if let Some(key) = key {
        head::mask(&mut frame[at..], key, 0);
    }
    frame
}

/// The frames of plain bytes: first byte, whether masked, payload.
fn frames(mut bytes: &[u8]) -> Vec<(u8, bool, Vec<u8>)> {
    let mut frames = Vec::new();
    while let Some((head, len)) = Head::parse(bytes) {
        let mut payload = bytes[len..][..head.len as usize].to_vec();
        if let Some(key) = head.key {
            head::mask(&mut payload, key, 0);
        }
        frames.push((bytes[0], head.key.is_some(), payload));
        bytes = &bytes[len + head.len as usize..];
    }
    assert!(bytes.is_empty(), "the beginning of a frame is left");
    frames
}

/// What frames say, whatever pieces they come in.
fn messages(plain: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let (mut messages, mut open) = (Vec::new(), None::<(u8, Vec<u8>)>);
    for (first, _, payload) in frames(plain) {
        assert_eq!(first & 0x70, 0, "reserved bits are set");
        match first & 0x0f {
            0 => open.as_mut().expect("a message is under way").1.extend(payload),
            8.. => {
                messages.push((first & 0x0f, payload));
                continue;
            }
            opcode => assert!(open.replace((opcode, payload)).is_none(), "a message in another"),
        }
        if first & 0x80 != 0 {
            messages.extend(open.take());
        }
    }
    messages
}

/// What DEFLATE makes of messages with one window, each without its tail.
fn deflated(messages: &[&[u8]], bits: u8) -> Vec<Vec<u8>> {
    let mut zlib = Zlib::new_with_window_bits(Compression::new(6), false, bits);
    let mut one = |data: &&[u8]| {
        let mut out = Vec::with_capacity(data.len() + 100);
        zlib.compress_vec(data, &mut out, FlushCompress::Sync).unwrap();
        out.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap().to_vec()
    };
    messages.iter().map(&mut one).collect()
}

/// A message that a client has compressed.
fn compressed(payload: &[u8]) -> Vec<u8> {
    frame(TEXT | RSV1, Some(KEY), payload)
}

fn as_server(wire: &[u8]) -> (Vec<u8>, Option<Error>) {
    read(wire, usize::MAX, End::Server, &terms(15, true), 1 << 20)
}

#[test]
fn a_message_is_inflated_as_one_frame() {
    // The examples of RFC 7692 section 7.2.3.
    let one = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    let messages = [&one[..], &again, &stored, &last, &one, &two_blocks];
    let wire: Vec<_> = messages.into_iter().flat_map(compressed).collect();
    let (plain, error) = as_server(&wire);
    assert!(error.is_none());
    assert_eq!(frames(&plain), vec![(TEXT, true, b"Hello".to_vec()); 6]);
}

#[test]
fn empty_messages_are_empty() {
    let empty: [&[u8]; 6] = [
        &[0x00],
        &[0x00, 0x00, 0x00, 0xff, 0xff, 0x00],
        &[],
        &[0x03, 0x00],
        &[0x03, 0x00, 0x00],
        &[0],
    ];
    let (mut wire, mut want) = (Vec::new(), Vec::new());
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for payload in empty {
        wire.extend(compressed(payload));
        wire.extend(compressed(&hello));
        want.extend([(TEXT, true, Vec::new()), (TEXT, true, b"Hello".to_vec())]);
    }
    for kept in [true, false] {
        let (plain, error) = read(&wire, usize::MAX, End::Server, &terms(15, kept), 100);
        assert!(error.is_none());
        assert_eq!(frames(&plain), want);
    }
}

#[test]
fn the_end_of_a_block_may_be_split_over_frames() {
    let two_blocks = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    for at in 0..=two_blocks.len() {
        let (one, other) = two_blocks.split_at(at);
        let ping = frame(0x89, Some(KEY), b"?");
        let wire = [
            frame(0x01 | RSV1, Some(KEY), one),
            ping.clone(),
            frame(0x00, Some(KEY), other),
            frame(0x80, Some(KEY), b""),
            compressed(&two_blocks),
        ];
        let (plain, error) = as_server(&wire.concat());
        assert!(error.is_none());
        let hello = (TEXT, true, b"Hello".to_vec());
        // It is answered at once, not when the message has been inflated.
        assert_eq!(frames(&plain), [(0x89, true, b"?".to_vec()), hello.clone(), hello]);
    }
}

#[test]
fn frames_that_break_a_rule_are_left_to_the_library() {
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    for (wire, at) in [
        // Reserved bits that mean nothing here.
        (frame(0x89 | RSV1, Some(KEY), b""), 0),
        (frame(0x80 | RSV1, Some(KEY), &hello), 0),
        (frame(TEXT | RSV1 | 0x20, Some(KEY), &hello), 0),
        (frame(TEXT | 0x10, Some(KEY), &hello), 0),
        (frame(0x83 | RSV1, Some(KEY), &hello), 0),
        // No mask, nothing to continue.
        (frame(TEXT | RSV1, None, &hello), 0),
        (frame(0x80, Some(KEY), &hello), 0),
        // Within a compressed message: it begins, so that the library knows.
        ([frame(1 | RSV1, Some(KEY), &hello), frame(TEXT, Some(KEY), b"x")].concat(), 1),
        ([frame(1 | RSV1, Some(KEY), &hello), frame(TEXT | RSV1, Some(KEY), b"x")].concat(), 1),
        ([frame(1 | RSV1, Some(KEY), &hello), frame(0x80 | RSV1, Some(KEY), b"x")].concat(), 0),
        // Within a plain one.
        ([frame(1, Some(KEY), b"x"), frame(TEXT | RSV1, Some(KEY), &hello)].concat(), 1),
    ] {
        let (plain, error) = as_server(&wire);
        assert!(error.is_none());
        assert_eq!(frames(&plain)[at..].last(), frames(&wire).last(), "{wire:x?}");
        assert_eq!(frames(&plain).len(), at + 1, "{wire:x?}");
    }
}

#[test]
fn what_does_not_inflate_ends_with_1007() {
    for payload in [&[0x07, 0x00][..], &[0xf2, 0x00, 0x11, 0x00, 0x00], &[0, 5, 0, 0, 0, 0]] {
        let (plain, error) = as_server(&compressed(payload));
        assert_eq!(error.unwrap().kind(), Kind::Protocol(1007), "{payload:x?}");
        assert_eq!(plain, b"");
    }
    // What came before a message cannot be referred to where no window is kept.
    let messages = deflated(&[&b"what was said before"[..]; 2], 15);
    let wire: Vec<_> = messages.iter().flat_map(|it| compressed(it)).collect();
    assert!(as_server(&wire).1.is_none());
    let (plain, error) = read(&wire, usize::MAX, End::Server, &terms(15, false), 100);
    assert_eq!(error.unwrap().kind(), Kind::Protocol(1007));
    assert_eq!(messages_of(&plain), ["what was said before"]);
}

fn messages_of(plain: &[u8]) -> Vec<String> {
    messages(plain).into_iter().map(|(_, data)| String::from_utf8(data).unwrap()).collect()
}

#[test]
fn a_message_may_be_inflated_to_the_limit() {
    let zeros = vec![0; 100_000];
    let wire = compressed(&deflated(&[&zeros], 15)[0]);
    assert!(wire.len() < 200);
    let read = |max| read(&wire, usize::MAX, End::Server, &terms(15, true), max);
    let (plain, error) = read(100_000);
    assert!(error.is_none());
    assert_eq!(messages(&plain), [(1, zeros)]);
    let (plain, error) = read(99_999);
    assert_eq!(error.unwrap().kind(), Kind::Protocol(1009));
    assert!(plain.len() < 99_999);
}

#[test]
fn what_does_not_shrink_goes_as_it_is() {
    let noise: Vec<_> = std::iter::repeat_with(|| fastrand::u8(..)).take(3_000_000).collect();
    let short = b"a".repeat(63);
    for key in [None, Some(KEY)] {
        let end = if key.is_some() { End::Client } else { End::Server };
        let plain =
            [frame(0x82, key, &noise), frame(TEXT, key, &short), frame(TEXT, key, b"")].concat();
        let wire = write(&plain, usize::MAX, end, &terms(15, true), Compress::Level(6));
        assert!(wire == plain);
    }
    // A window of 2^8 bytes is more than zlib can do.
    let plain = frame(TEXT, None, &b"a".repeat(1000));
    assert!(write(&plain, usize::MAX, End::Server, &terms(8, true), Compress::Level(6)) == plain);
}

#[test]
fn what_shrinks_is_compressed() {
    let said = b"a".repeat(3_000_000);
    let plain = [frame(TEXT, Some(KEY), &said), frame(TEXT, Some(KEY), &said[..100])].concat();
    let wire = write(&plain, usize::MAX, End::Client, &terms(15, true), Compress::Auto);
    assert!(wire.len() < 50_000);
    let sent = frames(&wire);
    let heads: Vec<_> = sent.iter().map(|(first, ..)| *first).collect();
    // So that others get their turn.
    assert_eq!(heads[..3], [0x01 | RSV1, 0x00, 0x00]);
    assert_eq!(heads[heads.len() - 2..], [0x80, TEXT | RSV1]);
    assert!(sent.iter().all(|(_, masked, _)| *masked));
    let keys: Vec<_> = wire.windows(4).filter(|it| *it == KEY).collect();
    assert!(keys.len() <= 2, "a key masks more than one frame");
}

/// Messages that have something in common, and some that do not shrink.
fn said() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let words = || prop::collection::vec("(alpha|beta|gamma|delta|[a-z]{1,6}) ", 0..200);
    let one = prop_oneof![
        4 => words().prop_map(|words| (1, words.concat().into_bytes())),
        2 => prop::collection::vec(any::<u8>(), 0..3000).prop_map(|data| (2, data)),
        1 => (any::<u8>(), 0usize..70_000).prop_map(|(byte, len)| (2, vec![byte; len])),
        1 => prop::collection::vec(any::<u8>(), 0..125).prop_map(|data| (9, data)),
    ];
    prop::collection::vec(one, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn messages_arrive_as_they_were_sent(
        said in said(),
        cut in prop::option::of(1usize..2000),
        (down, up) in (1usize..70_000, 1usize..70_000),
        bits in 8u8..=15,
        kept: bool,
        level in 0u8..=9,
        masked: bool,
    ) {
        let (near, far, key) = match masked {
            true => (End::Client, End::Server, Some(KEY)),
            false => (End::Server, End::Client, None),
        };
        let compress = if level == 0 { Compress::Auto } else { Compress::Level(level) };
        let mut plain = Vec::new();
        for (opcode, data) in &said {
            match cut.filter(|_| *opcode < 8 && !data.is_empty()) {
                None => plain.extend(frame(0x80 | opcode, key, data)),
                Some(cut) => {
                    for (i, part) in data.chunks(cut).enumerate() {
                        plain.extend(frame(if i == 0 { *opcode } else { 0 }, key, part));
                        plain.extend(frame(0x8a, key, b""));
                    }
                    plain.extend(frame(0x80, key, b""));
                }
            }
        }
        let terms = terms(bits, kept);
        let wire = write(&plain, down, near, &terms, compress);
        let (inflated, error) = read(&wire, up, far, &terms, 1 << 20);
        prop_assert!(error.is_none(), "{}", error.unwrap());
        let without_pongs = |plain: &[u8]| {
            let mut messages = messages(plain);
            messages.retain(|(opcode, _)| *opcode != 10);
            messages
        };
        prop_assert_eq!(without_pongs(&inflated), said);
        prop_assert_eq!(&inflated, &read(&wire, usize::MAX, far, &terms, 1 << 20).0);
        prop_assert!(frames(&wire).iter().all(|(_, it, _)| *it == masked));
    }

    #[test]
    fn any_bytes_come_up_the_same_in_pieces(
        parts in prop::collection::vec(
            (any::<u8>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)),
            0..12,
        ),
        piece in 1usize..40,
        kept: bool,
    ) {
        let wire: Vec<_> =
            parts.iter().flat_map(|(first, masked, data)| frame(*first, masked.then_some(KEY), data)).collect();
        let terms = terms(15, kept);
        let whole = read(&wire, usize::MAX, End::Server, &terms, 1000);
        let split = read(&wire, piece, End::Server, &terms, 1000);
        prop_assert_eq!(split.0, whole.0);
        prop_assert_eq!(split.1.map(|it| it.kind()), whole.1.map(|it| it.kind()));
    }
}
