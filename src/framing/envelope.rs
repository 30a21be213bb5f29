//! The JSON envelope: one object a line, the same in and out, so that a recording can be replayed.

use std::io::Write;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::duplex::{Body, Close, Message, Text};

/// One message as a JSON object. Unknown fields are ignored, so that scripts can add their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// Seconds since the session began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ts: Option<f64>,
    /// Which way a recorded message went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<Direction>,
    /// The peer it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The one peer it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: EnvelopeKind,
    /// The payload of a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The payload of anything else, base64 with padding (RFC 4648 section 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub b64: Option<String>,
    /// The code of a Close; none where it carried none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    /// The reason of a Close.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Which way a recorded message went, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the peer.
    In,
    /// To the peer.
    Out,
}

/// The types of message an envelope can hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnvelopeKind {
    /// Text.
    #[default]
    Text,
    /// Binary.
    Binary,
    /// A Ping.
    Ping,
    /// A Pong.
    Pong,
    /// A Close.
    Close,
}

impl Envelope {
    /// Puts a message into an envelope.
    pub fn of(message: &Message, ts: f64, dir: Option<Direction>) -> Self {
        let mut envelope = Self {
            ts: Some(ts),
            dir,
            from: message.from.as_deref().map(str::to_owned),
            to: message.to.as_deref().map(str::to_owned),
            ..Self::default()
        };
        let base64 = |data: &Bytes| (!data.is_empty()).then(|| STANDARD.encode(data));
        match &message.body {
            Body::Text(text) => envelope.data = Some(text.as_str().to_owned()),
            Body::Binary(data) => {
                envelope.kind = EnvelopeKind::Binary;
                envelope.b64 = Some(STANDARD.encode(data));
            }
            Body::Ping(data) => {
                envelope.kind = EnvelopeKind::Ping;
                envelope.b64 = base64(data);
            }
            Body::Pong(data) => {
                envelope.kind = EnvelopeKind::Pong;
                envelope.b64 = base64(data);
            }
            Body::Close(close) => {
                envelope.kind = EnvelopeKind::Close;
                envelope.code = (close.code != Close::NO_CODE).then_some(close.code);
                envelope.reason =
                    (!close.reason.is_empty()).then(|| close.reason.as_str().to_owned());
            }
        }
        envelope
    }

    /// How long a line may be that holds a payload of up to `payload` bytes: JSON can spell one
    /// byte as `\u0041`, and the other fields need room too.
    pub fn longest(payload: usize) -> usize {
        const FIELDS: usize = 4096;
        payload.saturating_mul(6).saturating_add(FIELDS)
    }

    /// Reads one line.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| format!("not an envelope: {error}"))
    }

    /// Takes the message out.
    ///
    /// # Errors
    /// A field that the type needs is missing, or does not belong to it.
    pub fn into_message(self) -> Result<Message, String> {
        let decode = |b64: Option<String>| match (b64, &self.data) {
            (Some(b64), None) => {
                STANDARD.decode(b64).map(Bytes::from).map_err(|e| format!("b64: {e}"))
            }
            (None, Some(data)) => Ok(Bytes::from(data.clone())),
            (None, None) => Ok(Bytes::new()),
            (Some(_), Some(_)) => Err("has both data and b64".to_owned()),
        };
        let body = match self.kind {
            EnvelopeKind::Text if self.b64.is_some() => {
                let bytes = decode(self.b64)?;
                Body::Text(Text::try_from(bytes).map_err(|_| "b64 of a text is not UTF-8")?)
            }
            EnvelopeKind::Text => Body::Text(self.data.ok_or("a text without data")?.into()),
            EnvelopeKind::Binary if self.b64.is_none() && self.data.is_none() => {
                return Err("a binary without b64".to_owned());
            }
            EnvelopeKind::Binary => Body::Binary(decode(self.b64)?),
            EnvelopeKind::Ping => Body::Ping(control(decode(self.b64)?)?),
            EnvelopeKind::Pong => Body::Pong(control(decode(self.b64)?)?),
            EnvelopeKind::Close => {
                let reason = self.reason.unwrap_or_default();
                if reason.len() > Close::LONGEST_REASON {
                    let most = Close::LONGEST_REASON;
                    return Err(format!("a close reason of more than {most} bytes"));
                }
                let code = self.code.unwrap_or(Close::NO_CODE);
                if code != Close::NO_CODE && !Close::may_be_sent(code) {
                    return Err(format!("the close code {code} cannot be sent"));
                }
                Body::Close(Close::new(code, &reason))
            }
        };
        let name = |name: Option<String>| name.map(Into::into);
        Ok(Message { body, from: name(self.from), to: name(self.to) })
    }

    /// Appends the envelope as one line.
    pub fn write(&self, out: &mut BytesMut) {
        let mut writer = out.writer();
        // Neither can fail: the buffer grows, and every field is a string or a number.
        let _ = serde_json::to_writer(&mut writer, self);
        let _ = writer.write_all(b"\n");
    }
}

fn control(data: Bytes) -> Result<Bytes, String> {
    const MOST: usize = Message::LONGEST_CONTROL;
    match data.len() {
        0..=MOST => Ok(data),
        n => Err(format!("a control message of {n} bytes; at most {MOST} fit")),
    }
}

/// Counts the seconds of `ts`.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// The session begins now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since then, to the microsecond.
    pub fn now(self) -> f64 {
        (self.0.elapsed().as_secs_f64() * 1e6).round() / 1e6
    }
}
