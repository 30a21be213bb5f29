//! The far sides of a bridge between WebSocket and TCP, and of a client: one thread each, no library for what is
//! moved, as little work as there can be, so that what is measured is what stands between.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::time::Instant;

use rustix::net::{RecvFlags, recv};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::payload::{CHUNK, Payload, STAMP};
use crate::{Result, say};

/// What one read takes.
const ROOM: usize = 256 << 10;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// Sends that much as a client: binary messages of `size` bytes, as many at once as make a piece.
pub(crate) fn ws_source(bytes: u64, port: u16, size: usize) -> Result {
    let mut tcp = connect(port)?;
    let mut payload = Payload::bytes(bytes);
    let mut frames = Vec::new();
    let mut like = 0;
    while let Some(piece) = payload.next() {
        if piece.len() == like {
            // Only the stamp is new, and it is in the first message.
            let at = 2 + extended(size.min(like)).len() + KEY.len();
            stamp(&mut frames, at, &piece[..STAMP]);
        } else {
            frames.clear();
            piece.chunks(size).for_each(|message| put(&mut frames, message));
            like = piece.len();
        }
        tcp.write_all(&frames)?;
    }
    tcp.write_all(&CLOSE)?;
    while tcp.read(&mut [0; 1024])? > 0 {}
    Ok(())
}

/// Takes that much as a client, in messages of any size.
pub(crate) fn ws_sink(bytes: u64, port: u16) -> Result {
    let mut tcp = connect(port)?;
    let mut check = Check::new(bytes);
    let (mut buf, mut have) = (vec![0; ROOM], 0);
    // What is left of the payload of a frame.
    let mut left = 0;
    while !check.is_over() {
        let read = tcp.read(&mut buf[have..])?;
        if read == 0 {
            return Err("the end came too early".into());
        }
        have += read;
        let mut at = 0;
        // What may follow is a Close.
        while at < have && !check.is_over() {
            if left == 0 {
                let Some((head, len)) = head(&buf[at..have]) else { break };
                at += head;
                left = len;
            }
            let len = left.min(have - at);
            check.take(&buf[at..at + len])?;
            at += len;
            left -= len;
        }
        buf.copy_within(at..have, 0);
        have -= at;
    }
    tcp.write_all(&CLOSE)?;
    check.say()
}

/// Takes messages from the client that comes, until it closes or leaves. They are counted, and the kernel throws them
/// away.
pub(crate) fn ws_count() -> Result {
    let mut tcp = accept()?;
    let request = http_head(&mut tcp)?;
    let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = derive_accept_key(key.ok_or("there is no Sec-WebSocket-Key")?.trim().as_bytes());
    write!(
        tcp,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    let (mut buf, mut bytes) = (vec![0; ROOM], 0);
    loop {
        let mut start = [0; 2];
        let gone = tcp.read(&mut start[..1])? == 0;
        if gone || start[0] & 0x0f == 8 {
            // Who has left does not take it.
            let _ = tcp.write_all(&[0x88, 0]);
            return say(&format!(r#"{{"bytes":{bytes}}}"#));
        }
        tcp.read_exact(&mut start[1..])?;
        let len = start[1];
        let mut long = [0; 8];
        let width = [0, 2, 8][usize::from(len & 0x7f).saturating_sub(125)];
        tcp.read_exact(&mut long[8 - width..])?;
        let mut left = if width == 0 { u64::from(len & 0x7f) } else { u64::from_be_bytes(long) };
        bytes += left;
        tcp.read_exact(&mut [0; KEY.len()])?;
        while left > 0 {
            let room = left.min(ROOM as u64) as usize;
            match recv(&tcp, &mut buf[..room], RecvFlags::TRUNC)?.1 {
                0 => return Err("the end came too early".into()),
                read => left -= read as u64,
            }
        }
    }
}

/// Sends that much to whoever connects.
pub(crate) fn tcp_source(bytes: u64) -> Result {
    let mut tcp = accept()?;
    let mut payload = Payload::bytes(bytes);
    while let Some(piece) = payload.next() {
        tcp.write_all(piece)?;
    }
    tcp.shutdown(Shutdown::Write)?;
    // A bridge that goes at once may reset this.
    let _ = tcp.read(&mut [0; 1024]);
    Ok(())
}

/// Takes that much from whoever connects, and compares one piece in `every`; the others are counted, and the
/// kernel throws them away. What is lost or doubled moves the numbers in those that follow; to see what is altered
/// or swapped takes an `every` of 1.
pub(crate) fn tcp_sink(bytes: u64, every: u64) -> Result {
    let tcp = accept()?;
    let mut check = Check::new(bytes);
    let mut buf = vec![0; ROOM];
    while !check.is_over() {
        let (left, compared) = check.stretch(every);
        let flags = if compared { RecvFlags::empty() } else { RecvFlags::TRUNC };
        match recv(&tcp, &mut buf[..left.min(ROOM)], flags)?.1 {
            0 => return Err("the end came too early".into()),
            read if compared => check.take(&buf[..read])?,
            read => check.count(read),
        }
    }
    check.say()
}

fn accept() -> Result<TcpStream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    say(&format!("listening {}", listener.local_addr()?.port()))?;
    Ok(listener.accept()?.0)
}

fn connect(port: u16) -> Result<TcpStream> {
    let mut tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    tcp.set_nodelay(true)?;
    write!(
        tcp,
        "GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    let answer = http_head(&mut tcp)?;
    match answer.starts_with("HTTP/1.1 101") {
        true => Ok(tcp),
        false => Err(answer.into()),
    }
}

fn http_head(tcp: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        tcp.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head)?)
}

/// Appends a masked binary message.
fn put(frames: &mut Vec<u8>, message: &[u8]) {
    let len = extended(message.len());
    let short = match len.len() {
        0 => message.len() as u8,
        2 => 126,
        _ => 127,
    };
    frames.extend([0x82, 0x80 | short]);
    frames.extend(len);
    frames.extend(KEY);
    frames.extend(message.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
}

fn stamp(frames: &mut [u8], at: usize, stamp: &[u8]) {
    for (i, byte) in stamp.iter().enumerate() {
        frames[at + i] = byte ^ KEY[i % 4];
    }
}

/// The extended length of a frame.
fn extended(len: usize) -> Vec<u8> {
    match len {
        0..126 => Vec::new(),
        126..65_536 => (len as u16).to_be_bytes().into(),
        _ => (len as u64).to_be_bytes().into(),
    }
}

/// The length of the head of an unmasked frame, and of its payload.
fn head(frame: &[u8]) -> Option<(usize, usize)> {
    let (extended, len) = match frame.get(1)? {
        126 => (2, None),
        127 => (8, None),
        len => (0, Some(usize::from(*len))),
    };
    let long = frame.get(2..2 + extended)?.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
    Some((2 + extended, len.unwrap_or(long)))
}

/// Compares what comes with what was sent.
struct Check {
    payload: Payload,
    /// What is to come next, from `at` on.
    want: Vec<u8>,
    at: usize,
    bytes: u64,
    taken: u64,
    since: Option<Instant>,
}

impl Check {
    fn new(bytes: u64) -> Self {
        let payload = Payload::bytes(bytes);
        Self { payload, want: Vec::with_capacity(CHUNK), at: 0, bytes, taken: 0, since: None }
    }

    fn is_over(&self) -> bool {
        self.taken == self.bytes
    }

    /// How much comes that is compared, where one piece in `every` is, or how much that is only counted.
    fn stretch(&self, every: u64) -> (usize, bool) {
        let (chunk, all) = (CHUNK as u64, every * CHUNK as u64);
        let at = self.taken % all;
        let compared = at < chunk;
        let end = if compared { chunk } else { all };
        ((end - at) as usize, compared)
    }

    fn count(&mut self, len: usize) {
        self.since.get_or_insert_with(Instant::now);
        self.taken += len as u64;
    }

    fn take(&mut self, mut piece: &[u8]) -> Result {
        self.since.get_or_insert_with(Instant::now);
        while !piece.is_empty() {
            if self.at == self.want.len() {
                self.payload.skip_to(self.taken / CHUNK as u64);
                let next = self.payload.next().ok_or("more came than was sent")?;
                if self.want.len() == next.len() {
                    self.want[..STAMP].copy_from_slice(&next[..STAMP]);
                } else {
                    self.want.clear();
                    self.want.extend(next);
                }
                self.at = 0;
            }
            let len = piece.len().min(self.want.len() - self.at);
            if piece[..len] != self.want[self.at..self.at + len] {
                return Err(format!("something else came after {} bytes", self.taken).into());
            }
            piece = &piece[len..];
            self.at += len;
            self.taken += len as u64;
        }
        Ok(())
    }

    fn say(self) -> Result {
        let seconds = self.since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        say(&format!(r#"{{"bytes":{},"seconds":{seconds:.6}}}"#, self.taken))
    }
}
