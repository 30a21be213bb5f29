//! Peers written by hand, frame by frame, so that they can do what no library lets them do.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{DEADLINE, port};

/// A TCP server on a free port of the loopback; each connection has a thread.
///
/// Dropping it waits for the threads, and passes on the panic of one: an assertion in a peer is
/// an assertion of the test.
pub(crate) struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<Vec<JoinHandle<()>>>>,
}

/// Starts a server that hands each connection to `serve`.
pub(crate) fn tcp_server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, serve) = (stop.clone(), Arc::new(serve));
    let acceptor = thread::spawn(move || {
        let mut peers = Vec::new();
        for stream in listener.incoming() {
            if stopped.load(Ordering::SeqCst) {
                break;
            }
            let (stream, serve) = (timed(stream.unwrap()), serve.clone());
            peers.push(thread::spawn(move || serve(stream)));
        }
        peers
    });
    Server { address, stop, acceptor: Some(acceptor) }
}

/// Starts a server that answers each handshake and hands the WebSocket to `serve`.
pub(crate) fn ws_server(serve: impl Fn(Ws) + Send + Sync + 'static) -> Server {
    tcp_server(move |stream| serve(Ws::accept(stream)))
}

impl Server {
    /// As `127.0.0.1:45123`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// As `ws://127.0.0.1:45123/path`; the path begins with a slash.
    pub(crate) fn ws(&self, path: &str) -> String {
        format!("ws://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // The acceptor sees the flag when the next connection comes.
        let _ = TcpStream::connect(self.address);
        let Some(Ok(peers)) = self.acceptor.take().map(JoinHandle::join) else { return };
        for peer in peers {
            if let Err(panic) = peer.join()
                && !thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

/// A port that refuses connections, and that nobody gets by chance meanwhile. A program that is
/// told its number can listen there.
pub(crate) struct ClosedPort {
    pub(crate) port: u16,
    _bound: OwnedFd,
}

impl ClosedPort {
    pub(crate) fn new() -> Self {
        let flags = SocketFlags::CLOEXEC;
        let bound = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        // As servers do: two that both do may have one port as long as only one listens.
        sockopt::set_socket_reuseaddr(&bound, true).unwrap();
        bind(&bound, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddr::try_from(getsockname(&bound).unwrap()).unwrap();
        Self { port: address.port(), _bound: bound }
    }
}

/// Sends a request as it is and returns all that comes back until the server closes.
#[track_caller]
pub(crate) fn exchange(port: u16, request: impl AsRef<[u8]>) -> String {
    let mut stream = timed(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap());
    stream.write_all(request.as_ref()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads a request and answers it with these bytes.
#[track_caller]
pub(crate) fn answer_http(mut stream: TcpStream, answer: &str) {
    read_head(&mut stream);
    stream.write_all(answer.as_bytes()).unwrap();
}

/// Makes a peer that says nothing fail its test instead of stopping it.
fn timed(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Either end of a WebSocket, after its handshake.
pub(crate) struct Ws {
    /// For those who want to write bytes that are no frames.
    pub(crate) stream: TcpStream,
    /// The other end's part of the handshake: request line or status line, and headers.
    pub(crate) head: String,
    client: bool,
}

/// One frame as it was on the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub(crate) first: u8,
    /// Unmasked.
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) const CONTINUATION: u8 = 0;
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const BINARY: u8 = 2;
    pub(crate) const CLOSE: u8 = 8;
    pub(crate) const PING: u8 = 9;
    pub(crate) const PONG: u8 = 10;
    pub(crate) const FIN: u8 = 0x80;

    pub(crate) fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    pub(crate) fn fin(&self) -> bool {
        self.first & Self::FIN != 0
    }

    pub(crate) fn text(&self) -> &str {
        assert_eq!(self.opcode(), Self::TEXT, "not a text message: {self:?}");
        std::str::from_utf8(&self.payload).unwrap()
    }

    /// The code of a Close; 1005 if there is none.
    pub(crate) fn code(&self) -> u16 {
        assert_eq!(self.opcode(), Self::CLOSE, "not a Close: {self:?}");
        match self.payload[..] {
            [high, low, ..] => u16::from_be_bytes([high, low]),
            _ => 1005,
        }
    }

    /// The reason of a Close.
    pub(crate) fn reason(&self) -> &str {
        assert_eq!(self.opcode(), Self::CLOSE, "not a Close: {self:?}");
        std::str::from_utf8(self.payload.get(2..).unwrap_or_default()).unwrap()
    }
}

impl Ws {
    /// Answers a handshake without a subprotocol.
    #[track_caller]
    pub(crate) fn accept(stream: TcpStream) -> Self {
        Self::accept_with(stream, "")
    }

    /// Answers a handshake; `headers` are more lines of the answer, each ended by `\r\n`.
    #[track_caller]
    pub(crate) fn accept_with(mut stream: TcpStream, headers: &str) -> Self {
        let head = read_head(&mut stream);
        let key = header(&head, "sec-websocket-key").expect("a handshake has a key");
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
        );
        stream.write_all(answer.as_bytes()).unwrap();
        Self { stream, head, client: false }
    }

    /// Connects to `ws://host:port/path`.
    #[track_caller]
    pub(crate) fn connect(address: &str) -> Self {
        Self::connect_with(address, "")
    }

    /// Connects; `headers` are more lines of the request, each ended by `\r\n`.
    #[track_caller]
    pub(crate) fn connect_with(address: &str, headers: &str) -> Self {
        let ws = Self::try_connect(address, headers);
        assert!(ws.head.starts_with("HTTP/1.1 101 "), "no WebSocket: {}", ws.head);
        ws
    }

    /// Sends a handshake and reads the answer's head, whatever it is.
    #[track_caller]
    pub(crate) fn try_connect(address: &str, headers: &str) -> Self {
        let rest = address.strip_prefix("ws://").expect("a ws:// address");
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port(address))).unwrap();
        Self::request(timed(stream), path, headers)
    }

    /// Plays the client of a handshake over a stream that is already there.
    #[track_caller]
    pub(crate) fn request(mut stream: TcpStream, path: &str, headers: &str) -> Self {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let head = read_head(&mut stream);
        Self { stream, head, client: true }
    }

    /// A header of the other end's part of the handshake.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// Sends one frame. `first` is FIN, reserved bits and opcode, legal or not.
    #[track_caller]
    pub(crate) fn frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        let frame = self.encode(first, payload.as_ref());
        self.stream.write_all(&frame).unwrap();
    }

    /// The bytes of one frame, for those who send a part of them.
    pub(crate) fn encode(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = if self.client { 0x80 } else { 0 };
        let mut frame = vec![first];
        match payload.len() {
            n @ 0..126 => frame.push(mask | n as u8),
            n @ 126..0x1_0000 => {
                frame.push(mask | 126);
                frame.extend((n as u16).to_be_bytes());
            }
            n => {
                frame.push(mask | 127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        if self.client {
            const KEY: [u8; 4] = *b"mask";
            frame.extend(KEY);
            frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            frame.extend(payload);
        }
        frame
    }

    #[track_caller]
    pub(crate) fn text(&mut self, text: &str) {
        self.frame(Frame::FIN | Frame::TEXT, text);
    }

    #[track_caller]
    pub(crate) fn binary(&mut self, bytes: impl AsRef<[u8]>) {
        self.frame(Frame::FIN | Frame::BINARY, bytes);
    }

    /// Sends a Close; the other end's answer is for [`Ws::recv`].
    #[track_caller]
    pub(crate) fn close(&mut self, code: u16, reason: &str) {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend(reason.as_bytes());
        self.frame(Frame::FIN | Frame::CLOSE, payload);
    }

    /// The next frame. Panics at the end of the stream.
    #[track_caller]
    pub(crate) fn recv(&mut self) -> Frame {
        self.try_recv().expect("a frame, not the end of the stream")
    }

    /// The next frame; none at the end of the stream, be it clean or a reset.
    #[track_caller]
    pub(crate) fn try_recv(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("no frame came in {DEADLINE:?}")
            }
            Err(_) => return None,
        }
        let len = match head[1] & 0x7f {
            126 => u16::from_be_bytes(self.take()?).into(),
            127 => u64::from_be_bytes(self.take()?),
            n => n.into(),
        };
        let masked = head[1] & 0x80 != 0;
        assert_eq!(masked, !self.client, "clients mask, servers do not (RFC 6455 section 5.1)");
        let key: [u8; 4] = if masked { self.take()? } else { [0; 4] };
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).ok()?;
        payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
        Some(Frame { first: head[0], payload })
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Reads until the Close, answers it, and returns its code.
    #[track_caller]
    pub(crate) fn until_close(&mut self) -> u16 {
        loop {
            let frame = self.recv();
            if frame.opcode() == Frame::CLOSE {
                let _ =
                    self.stream.write_all(&self.encode(Frame::FIN | Frame::CLOSE, &frame.payload));
                return frame.code();
            }
        }
    }

    /// Says back every message until the Close, which it answers.
    #[track_caller]
    pub(crate) fn echo(mut self) {
        while let Some(frame) = self.try_recv() {
            match frame.opcode() {
                Frame::PONG => {}
                Frame::PING => self.frame(Frame::FIN | Frame::PONG, &frame.payload),
                _ => self.frame(frame.first, &frame.payload),
            }
            if frame.opcode() == Frame::CLOSE {
                break;
            }
        }
    }

    /// Ends the TCP connection cleanly, without a Close.
    pub(crate) fn hang_up(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Ends the TCP connection with a reset.
    pub(crate) fn reset(self) {
        sockopt::set_socket_linger(&self.stream, Some(std::time::Duration::ZERO)).unwrap();
    }
}

/// Everything up to the empty line, a byte at a time so that nothing after it is lost.
#[track_caller]
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1..) => head.push(byte[0]),
            Ok(0) => break,
            Err(error) => panic!("no head: {error}; so far {:?}", String::from_utf8_lossy(&head)),
        }
    }
    String::from_utf8(head).unwrap()
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}
