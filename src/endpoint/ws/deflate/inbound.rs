//! What the peer sends: frames of compressed messages become plain ones, all else stays as it is.

use bytes::{Buf, BytesMut};

use super::super::head::{self, Head, Part};
use super::Limits;
use super::codec::{Corrupt, Inflater};
use crate::error::{Error, Kind, Result};

/// The longest plain frame that is made of a compressed message, in bytes. A message that is
/// longer becomes several, so that no more than this is held of it.
const CHUNK: usize = 16 << 10;

/// A message that is not longer than this may have shrunk to anything, in bytes.
const SHORT: u64 = 64 << 10;

/// What is kept free before a plain frame, for its head.
const SPACE: usize = head::LONGEST;

/// One direction of a connection.
pub(super) struct Inbound {
    inflater: Inflater,
    limits: Limits,
    /// Whether the peer has to mask what it sends.
    masked: bool,
    state: State,
    message: Message,
    /// How much of a message was inflated so far, and what to, in bytes.
    taken: u64,
    size: u64,
    /// Space for a head, and the plain frame that is being filled; nothing while none is.
    frame: Vec<u8>,
    /// Where in `frame` that starts which has to be handed on, once it has been filled.
    ready: Option<usize>,
}

#[derive(Clone, Copy)]
enum State {
    /// Before the head of a frame.
    Head,
    /// In a frame that stays as it is, of which so much is to come.
    Pass(u64),
    /// In the payload of a compressed frame.
    Payload(Payload),
    /// At the end of a compressed message, of which so much of the tail is to be inflated.
    Tail(&'static [u8]),
    /// After an error, which nothing is looked at.
    Broken,
}

#[derive(Clone, Copy)]
struct Payload {
    head: Head,
    /// How much is to come, in bytes.
    left: u64,
    /// How much of what has come has its mask taken off.
    bare: usize,
}

/// The message that is under way.
#[derive(Clone, Copy, PartialEq)]
enum Message {
    None,
    Plain,
    /// A compressed one, and the opcode of its next plain frame: none but the first says what it is.
    Compressed(u8),
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes are to be read.
    Read,
    /// So many of the next bytes are to be handed on as they are; see [`Inbound::passed`].
    Pass(u64),
    /// A frame is ready; see [`Inbound::hand_on`].
    Ready,
}

impl Inbound {
    pub(super) fn new(inflater: Inflater, masked: bool, limits: Limits) -> Self {
        Self {
            inflater,
            limits,
            masked,
            state: State::Head,
            message: Message::None,
            taken: 0,
            size: 0,
            frame: Vec::new(),
            ready: None,
        }
    }

    /// Takes of `input` what can be taken until something is to be done.
    ///
    /// # Errors
    /// [`Kind::Protocol`]: a message becomes too long (1009) or not well compressed (1007). All that
    /// follows it is handed on unseen.
    pub(super) fn step(&mut self, input: &mut BytesMut) -> Result<Step> {
        let step = self.advance(input);
        if step.is_err() {
            self.state = State::Broken;
            self.frame = Vec::new();
            self.ready = None;
        }
        step
    }

    fn advance(&mut self, input: &mut BytesMut) -> Result<Step> {
        loop {
            if self.ready.is_some() {
                return Ok(Step::Ready);
            }
            match self.state {
                State::Broken => return Ok(Step::Pass(u64::MAX)),
                State::Pass(left) => return Ok(Step::Pass(left)),
                State::Head => match Head::parse(input) {
                    Some((head, len)) => self.begin(head, len, input),
                    None => return Ok(Step::Read),
                },
                State::Payload(payload) if payload.left > 0 && input.is_empty() => {
                    return Ok(Step::Read);
                }
                State::Payload(payload) => self.payload(payload, input)?,
                State::Tail(tail) => {
                    let used = self.inflate(tail)?;
                    self.state = State::Tail(&tail[used..]);
                    if self.is_full() {
                        self.fill(false);
                    } else {
                        self.fill(true);
                        self.inflater.end();
                        (self.state, self.message) = (State::Head, Message::None);
                    }
                }
            }
        }
    }

    /// Says that so many bytes were handed on as they are.
    pub(super) fn passed(&mut self, len: usize) {
        if let State::Pass(left) = &mut self.state {
            *left -= len as u64;
            if *left == 0 {
                self.state = State::Head;
            }
        }
    }

    /// Hands on what it can of a frame that is ready, and returns how many bytes that were.
    pub(super) fn hand_on(&mut self, put: impl FnOnce(&[u8]) -> usize) -> usize {
        let Some(from) = self.ready else { return 0 };
        let len = put(&self.frame[from..]);
        if from + len < self.frame.len() {
            self.ready = Some(from + len);
        } else {
            self.frame = Vec::new();
            self.ready = None;
        }
        len
    }

    fn begin(&mut self, head: Head, len: usize, input: &mut BytesMut) {
        let message = match (head.part(), self.message) {
            (Part::Start { compressed: true }, Message::None) => Message::Compressed(head.opcode()),
            (Part::Start { compressed: false }, Message::None) => Message::Plain,
            (Part::Continuation, it) => it,
            (Part::Start { .. }, Message::Compressed(opcode)) if opcode != 0 => {
                // The library has to hear of the message within which another one cannot begin.
                self.fill(false);
                return;
            }
            (Part::Start { .. } | Part::Other, it) => return self.pass(head, len, it),
        };
        match message {
            Message::Compressed(_) if head.key.is_some() == self.masked => {
                if self.message == Message::None {
                    (self.taken, self.size) = (0, 0);
                }
                self.message = message;
                input.advance(len);
                self.state = State::Payload(Payload { head, left: head.len, bare: 0 });
            }
            _ if head.is_last() => self.pass(head, len, Message::None),
            message => self.pass(head, len, message),
        }
    }

    /// Leaves a frame as it is: the library knows all rules but those of compression.
    fn pass(&mut self, head: Head, len: usize, message: Message) {
        self.message = message;
        self.state = State::Pass(head.len.saturating_add(len as u64));
    }

    fn payload(&mut self, mut payload: Payload, input: &mut BytesMut) -> Result<()> {
        let here = usize::try_from(payload.left).map_or(input.len(), |left| left.min(input.len()));
        if let Some(key) = payload.head.key {
            let at = payload.head.len - payload.left + payload.bare as u64;
            head::mask(&mut input[payload.bare..here], key, at);
            payload.bare = here;
        }
        let used = self.inflate(&input[..here])?;
        input.advance(used);
        payload.left -= used as u64;
        payload.bare = payload.bare.saturating_sub(used);
        self.state = match payload {
            // A frame that is full may be only a part of what its data inflates to.
            Payload { left: 0, head, .. } if !self.is_full() => match head.is_last() {
                true => State::Tail(self.inflater.tail()),
                false => State::Head,
            },
            payload => State::Payload(payload),
        };
        if self.is_full() {
            self.fill(false);
        }
        Ok(())
    }

    /// Inflates into the frame until that is full or all was used.
    fn inflate(&mut self, data: &[u8]) -> Result<usize> {
        if self.frame.is_empty() {
            self.frame.reserve_exact(SPACE + (4 * data.len()).clamp(256, CHUNK));
            self.frame.resize(SPACE, 0);
        }
        let before = self.frame.len();
        let used = self.inflater.inflate(data, &mut self.frame, SPACE + CHUNK);
        let used = used.map_err(|Corrupt| {
            Error::new(Kind::Protocol(1007), "a compressed message that cannot be inflated")
        })?;
        self.taken += used as u64;
        self.size += (self.frame.len() - before) as u64;
        self.check_length()?;
        Ok(used)
    }

    fn check_length(&self) -> Result<()> {
        let Limits { size, ratio } = self.limits;
        let too_long = |limit: String| {
            let what = format!("a message that inflates to more than {limit}");
            Error::new(Kind::Protocol(1009), what)
        };
        if self.size > size as u64 {
            return Err(too_long(format!("the limit of {size} bytes")).hint("raise --max-message"));
        }
        match ratio {
            Some(ratio) if self.size > SHORT.max(self.taken.saturating_mul(ratio.into())) => {
                Err(too_long(format!("{ratio} times its length (--max-inflate)")))
            }
            _ => Ok(()),
        }
    }

    fn is_full(&self) -> bool {
        self.frame.len() >= SPACE + CHUNK
    }

    /// Puts a head before the frame, which makes it ready.
    fn fill(&mut self, last: bool) {
        let Message::Compressed(opcode) = &mut self.message else { return };
        self.frame.resize(self.frame.len().max(SPACE), 0);
        // Zeros mask nothing, and satisfy a library that asks for a mask.
        let key = self.masked.then_some([0; 4]);
        let head = Head::new(std::mem::take(opcode), last, key, self.frame.len() - SPACE);
        let mut bytes = Vec::with_capacity(SPACE);
        head.write(&mut bytes);
        let from = SPACE - bytes.len();
        self.frame[from..SPACE].copy_from_slice(&bytes);
        self.ready = Some(from);
    }
}
