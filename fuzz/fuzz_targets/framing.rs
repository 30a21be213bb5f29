#![no_main]

use std::sync::Once;

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use towline::cli::ReportArgs;
use towline::duplex::Message;
use towline::error::Result;
use towline::framing::{Decoder, Framing, Typing};
use towline::report;

const FRAMINGS: [Framing; 7] = [
    Framing::Lines,
    Framing::Nul,
    Framing::Whole,
    Framing::Blank,
    Framing::Len,
    Framing::Json,
    Framing::Raw,
];
const TYPINGS: [Typing; 3] = [Typing::Auto, Typing::Text, Typing::Binary];
/// Small, so that it is reached.
const MAX: usize = 64;

fuzz_target!(|input: (u8, u8, Vec<u8>, &[u8])| {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| report::init(&ReportArgs { quiet: true, ..ReportArgs::default() }));
    let (framing, typing, cuts, bytes) = input;
    let framing = FRAMINGS[usize::from(framing) % FRAMINGS.len()];
    let typing = TYPINGS[usize::from(typing) % TYPINGS.len()];
    let (whole, end) = decode(framing, typing, [bytes]);
    let (pieces, end_of_pieces) = decode(framing, typing, cut(bytes, &cuts));
    if framing == Framing::Raw {
        // Messages are what one read returned; together they are the same bytes.
        let joined = |messages: &[Message]| -> Vec<u8> {
            messages.iter().flat_map(Message::payload).copied().collect()
        };
        assert!(end.is_err() || joined(&whole) == joined(&pieces));
    } else {
        assert_eq!(whole, pieces);
    }
    assert_eq!(end.map_err(|it| it.kind()), end_of_pieces.map_err(|it| it.kind()));
});

/// The messages before the end or the error.
fn decode<'a>(
    framing: Framing,
    typing: Typing,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Message>, Result<()>) {
    let mut decoder = Decoder::new(framing, typing, MAX);
    let (mut buf, mut messages) = (BytesMut::new(), Vec::new());
    let mut pieces = pieces.into_iter();
    loop {
        let piece = pieces.next();
        buf.extend_from_slice(piece.unwrap_or_default());
        loop {
            match decoder.decode(&mut buf, piece.is_none()) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) if piece.is_none() => return (messages, Ok(())),
                Ok(None) => break,
                Err(error) => return (messages, Err(error)),
            }
        }
    }
}

/// Cuts `bytes` after each of the lengths in turn.
fn cut<'a>(bytes: &'a [u8], lengths: &[u8]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (bytes, Vec::new());
    for &len in lengths {
        let (piece, after) = rest.split_at(usize::from(len).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}
