#![no_main]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use towline::cli::value::Compress;
use towline::duplex::{ByteStream, Io};
use towline::endpoint::deflate::{End, Limits, Terms, Window, over};

/// The longest message, in bytes.
const MAX: usize = 100_000;
const LIMITS: Limits = Limits { size: MAX, ratio: None };

fuzz_target!(|input: (bool, bool, bool, u8, u8, &[u8])| {
    let (client, kept, masks, bits, piece, bytes) = input;
    let window = Window { bits: 8 + bits % 8, kept };
    let terms = Terms { server: window, client: window };
    let end = if client { End::Client } else { End::Server };
    let piece = usize::from(piece).max(1);

    // What a peer may send comes up the same in pieces.
    let whole = read(bytes, usize::MAX, end, &terms);
    assert_eq!(read(bytes, piece, end, &terms), whole);

    // What we send is what comes up at the other end.
    let frame = frame(bytes, client && masks);
    let wire = write(&frame, piece, end, &terms, Compress::Level(1 + bits % 9));
    let other = if client { End::Server } else { End::Client };
    let (up, failed) = read(&wire, piece, other, &terms);
    if masks == client && bytes.len() <= MAX {
        assert!(!failed);
        assert_eq!(payload(&up), bytes);
    }
});

/// All that comes up, and whether it ends with an error.
fn read(bytes: &[u8], piece: usize, end: End, terms: &Terms) -> (Vec<u8>, bool) {
    let stream = Pipe { bytes: bytes.to_vec(), piece, taken: Arc::default() };
    let mut stream = over(ByteStream::other(stream), &[], end, terms, Compress::Auto, LIMITS);
    let mut cx = Context::from_waker(Waker::noop());
    let (mut all, mut space) = (Vec::new(), [0; 4096]);
    loop {
        let mut buf = ReadBuf::new(&mut space);
        match Pin::new(&mut stream).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(())) if buf.filled().is_empty() => return (all, false),
            Poll::Ready(Ok(())) => all.extend_from_slice(buf.filled()),
            Poll::Ready(Err(_)) => return (all, true),
            Poll::Pending => panic!("there is more to read"),
        }
    }
}

fn write(bytes: &[u8], piece: usize, end: End, terms: &Terms, compress: Compress) -> Vec<u8> {
    let taken = Arc::<Mutex<Vec<u8>>>::default();
    let stream = Pipe { bytes: Vec::new(), piece, taken: taken.clone() };
    let mut stream = over(ByteStream::other(stream), &[], end, terms, compress, LIMITS);
    let mut cx = Context::from_waker(Waker::noop());
    let mut rest = bytes;
    while !rest.is_empty() {
        if let Poll::Ready(taken) = Pin::new(&mut stream).poll_write(&mut cx, rest) {
            rest = &rest[taken.unwrap()..];
        }
    }
    assert!(Pin::new(&mut stream).poll_flush(&mut cx).is_ready());
    let all = taken.lock().unwrap();
    all.clone()
}

/// One binary message.
fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
    let mut frame = vec![0x82, if masked { 0xff } else { 0x7f }];
    frame.extend((payload.len() as u64).to_be_bytes());
    let key = if masked { *b"mask" } else { [0; 4] };
    frame.extend(if masked { &key[..] } else { &[] });
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// What frames carry.
fn payload(mut frames: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let [_, second, rest @ ..] = frames {
        let (len, rest) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            len => (usize::from(len), rest),
        };
        let (key, rest) = match second & 0x80 {
            0 => ([0; 4], rest),
            _ => (rest[..4].try_into().unwrap(), &rest[4..]),
        };
        all.extend(rest[..len].iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        frames = &rest[len..];
    }
    all
}

/// Gives and takes bytes in pieces.
struct Pipe {
    bytes: Vec<u8>,
    piece: usize,
    taken: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = self.bytes.len().min(self.piece).min(buf.remaining());
        buf.put_slice(&self.bytes[..len]);
        self.bytes.drain(..len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let len = buf.len().min(self.piece);
        self.taken.lock().unwrap().extend_from_slice(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Io for Pipe {}
