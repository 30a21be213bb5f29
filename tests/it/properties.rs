//! What holds for all inputs, over generated ones.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::prelude::*;
use towline::duplex::{Body, Close, Message};
use towline::endpoint::Endpoint;
use towline::framing::{Decoder, Encoder, Envelope, Framing, Typing};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_address_is_written_back(text in address()) {
        let address: Endpoint = text.parse().map_err(|why| fail(format!("{text}: {why}")))?;
        let written = address.to_string();
        let again: Endpoint = written.parse().map_err(|why| fail(format!("{written}: {why}")))?;
        prop_assert_eq!(&again, &address);
        prop_assert_eq!(again.to_string(), written);
    }

    #[test]
    fn a_chain_is_written_back(hops in vec(carrier(), 1..4), last in over_a_stream()) {
        let text = format!("{},{last}", hops.join(","));
        let address: Endpoint = text.parse().map_err(|why| fail(format!("{text}: {why}")))?;
        let written = address.to_string();
        prop_assert_eq!(written.parse::<Endpoint>().ok(), Some(address), "{} became {}", text, written);
    }

    /// A name or a command can hold anything, a comma and a scheme included: then it is a chain.
    #[test]
    fn whatever_is_accepted_is_written_back(scheme in one_of(SCHEMES), rest in "\\PC{0,30}") {
        let text = format!("{scheme}:{rest}");
        if let Ok(address) = text.parse::<Endpoint>() {
            let written = address.to_string();
            prop_assert_eq!(written.parse::<Endpoint>().ok(), Some(address), "{} became {}", text, written);
        }
    }

    #[test]
    fn lines_keep_their_boundaries(lines in vec("([^\n]*[^\n\r])?", 0..6)) {
        round_trip(Framing::Lines, texts(lines))?;
    }

    #[test]
    fn zero_bytes_keep_boundaries(units in vec("[^\0]{0,20}", 0..6)) {
        round_trip(Framing::Nul, texts(units))?;
    }

    #[test]
    fn empty_lines_keep_boundaries(units in vec("[^\n\r]+(\n[^\n\r]+){0,3}", 0..6)) {
        round_trip(Framing::Blank, texts(units))?;
    }

    #[test]
    fn lengths_keep_any_message(units in vec(vec(any::<u8>(), 0..20), 0..6)) {
        round_trip(Framing::Len, units.into_iter().map(Message::binary).collect())?;
    }

    #[test]
    fn the_whole_is_one_message(unit in "\\PC{0,40}") {
        round_trip(Framing::Whole, texts([unit]))?;
    }

    #[test]
    fn json_keeps_any_message(messages in vec(message(), 0..6)) {
        round_trip(Framing::Json, messages)?;
    }

    #[test]
    fn raw_keeps_the_bytes(bytes in vec(any::<u8>(), 0..40), cut in 0..40usize) {
        let (head, tail) = bytes.split_at(cut.min(bytes.len()));
        let messages = decode(Framing::Raw, Typing::Auto, [head, tail])?;
        let joined: Vec<u8> = messages.iter().flat_map(Message::payload).copied().collect();
        prop_assert_eq!(joined, bytes);
    }

    #[test]
    fn a_message_survives_its_envelope(message in message(), ts in 0.0..1e9) {
        let mut line = BytesMut::new();
        Envelope::of(&message, ts, None).write(&mut line);
        let again = Envelope::parse(&line).and_then(Envelope::into_message);
        prop_assert_eq!(again, Ok(message));
    }
}

const SCHEMES: &[&str] = &[
    "tcp", "unix", "tls", "ws", "wss", "exec", "sh", "pty", "file", "echo", "null", "hub",
    "socks5", "http",
];

fn one_of(of: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(of)
}

/// One hop of each kind, as a user would write it.
fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("-".to_owned()),
        Just("null:".to_owned()),
        Just("tcp:".to_owned()),
        host_port().prop_map(|at| format!("tcp://{at}")),
        host_port(),
        "/[a-z/.]{1,20}".prop_map(|path| format!("unix:{path}")),
        "@[a-z]{1,20}".prop_map(|name| format!("unix:{name}")),
        (one_of(&["sh", "pty"]), "[a-z][ -+.-~]{0,20}").prop_map(|(s, c)| format!("{s}:{c}")),
        // A quote that is not closed is refused.
        "[a-z]+( ('[a-z\"]{0,5}'|[a-z$=/]{1,5})){0,3}".prop_map(|words| format!("exec:{words}")),
        "[a-z/.]{1,20}".prop_map(|path| format!("file:{path}")),
        "[ -+--~é]{0,20}".prop_map(|prefix| format!("echo:{prefix}")),
        "[a-z][a-z0-9]{0,10}".prop_map(|name| format!("hub:{name}")),
        over_a_stream(),
        proxy(),
    ]
}

/// What can stand in front of anything that wants a stream or a network.
fn carrier() -> impl Strategy<Value = String> {
    prop_oneof![proxy(), over_a_stream()]
}

fn over_a_stream() -> impl Strategy<Value = String> {
    prop_oneof![
        host_port().prop_map(|at| format!("tls://{at}")),
        (one_of(&["ws", "wss"]), host(), port(), path())
            .prop_map(|(scheme, host, port, path)| format!("{scheme}://{host}{port}{path}")),
    ]
}

fn proxy() -> impl Strategy<Value = String> {
    let login = "([a-zA-Z0-9._~-]|%2C|%40|%3a|%20|%c3%a9){1,10}";
    let login = proptest::option::of((login, login));
    // An HTTP user name cannot have a colon.
    (one_of(&["socks5", "http"]), login, host_port()).prop_map(|(scheme, login, at)| {
        let login = login.map(|(user, pw)| format!("{}:{pw}@", user.replace("%3a", "")));
        format!("{scheme}://{}{at}", login.unwrap_or_default())
    })
}

fn host_port() -> impl Strategy<Value = String> {
    (host(), any::<u16>()).prop_map(|(host, port)| format!("{host}:{port}"))
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z][a-z0-9-]{0,8}(\\.[a-z]{2,5}){0,2}",
        any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
    ]
}

fn port() -> impl Strategy<Value = String> {
    proptest::option::of(any::<u16>())
        .prop_map(|port| port.map_or(String::new(), |port| format!(":{port}")))
}

fn path() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "/[a-z/%.,:@-]{0,12}(\\?[a-z=&,:/]{0,8})?"]
}

/// Those that may go over the wire; 1005 stands for none.
fn close_code() -> impl Strategy<Value = u16> {
    prop_oneof![1000..=1003_u16, Just(Close::NO_CODE), 1007..=1014_u16, 3000..=4999_u16]
}

fn message() -> impl Strategy<Value = Message> {
    let control = || vec(any::<u8>(), 0..126);
    let body = prop_oneof![
        any::<String>().prop_map(|text| Body::Text(text.into())),
        vec(any::<u8>(), 0..20).prop_map(|data| Body::Binary(data.into())),
        control().prop_map(|data| Body::Ping(data.into())),
        control().prop_map(|data| Body::Pong(data.into())),
        (close_code(), any::<String>()).prop_map(|(code, why)| Body::Close(Close::new(code, &why))),
    ];
    let name = || proptest::option::of("[a-z0-9#]{1,5}".prop_map(Into::into));
    (body, name(), name()).prop_map(|(body, from, to)| Message { body, from, to })
}

fn texts(units: impl IntoIterator<Item = String>) -> Vec<Message> {
    units.into_iter().map(Message::text).collect()
}

/// Writes messages and reads them back, with the bytes cut in two at every place there is.
fn round_trip(framing: Framing, messages: Vec<Message>) -> Result<(), TestCaseError> {
    let (mut encoder, mut written) = (Encoder::new(framing), BytesMut::new());
    for message in &messages {
        encoder.encode(message, &mut written).map_err(fail)?;
    }
    for cut in 0..=written.len() {
        let (head, tail) = written.split_at(cut);
        let again = decode(framing, Typing::Auto, [head, tail])?;
        prop_assert_eq!(&again, &messages, "cut at {} of {:?}", cut, written);
    }
    Ok(())
}

fn decode(
    framing: Framing,
    typing: Typing,
    pieces: [&[u8]; 2],
) -> Result<Vec<Message>, TestCaseError> {
    let mut decoder = Decoder::new(framing, typing, 1 << 20);
    let (mut buf, mut messages) = (BytesMut::new(), Vec::new());
    for (piece, eof) in [(pieces[0], false), (pieces[1], false), (&[][..], true)] {
        buf.extend_from_slice(piece);
        while let Some(message) = decoder.decode(&mut buf, eof).map_err(fail)? {
            messages.push(message);
        }
    }
    Ok(messages)
}

fn fail(why: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(why.to_string())
}
