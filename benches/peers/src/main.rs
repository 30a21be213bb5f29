//! What `benches/run` needs besides the tools it compares: neutral far sides that check every
//! byte, a client for many connections, and the plain tokio-tungstenite echo server that the
//! library's own example shows.
//!
//! Listeners take a free port of the loopback and print `listening PORT` first; what a run came to
//! is printed as one JSON line.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use tokio::net::TcpListener;

mod bridge;
mod clients;
mod echo;
mod flow;
mod payload;
mod tcp;
mod trust;
mod ws;

use payload::{Digest, Payload};

pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "\
peers data BYTES              that many bytes to stdout
peers lines COUNT             that many short lines to stdout
peers digest                  count and hash stdin
peers count                   only count it
peers sink [--lines]          one WebSocket: count and hash the messages (a newline after each)
peers source data BYTES       one WebSocket: send that in messages of 64 KiB, then Close 1000
peers source lines COUNT      one WebSocket: send one text message a line, then Close 1000
peers echo [READ_BUFFER]      a WebSocket echo server
peers clients URL CONNECTIONS SIZE ROUNDS [WINDOW [SOURCE]]
                              connect, echo one message on each, print `ready`; for every line of
                              stdin that many round trips on each, WINDOW of them at once, then
                              print what it came to. SIZE is a number or a range, as 1-4096
peers sessions URL COUNT AT_ONCE SIZE ROUNDS
                              connect, make that many round trips and close, COUNT times
peers tcp-sink [PORT]         count and hash one TCP connection, to PORT or one that comes
peers tcp-source BYTES [PORT] the same, sending that and waiting for the other end's end
peers bridge PORT             WebSockets to TCP connections to PORT, on fastwebsockets
peers flow ws-source BYTES PORT SIZE
                              send that as a client, in messages of SIZE bytes
peers flow ws-sink BYTES PORT the same the other way, comparing
peers flow ws-count           count what the client that comes sends, and throw it away
peers flow tcp-source BYTES   send that to the connection that comes
peers flow tcp-sink BYTES EVERY
                              count what comes, and compare one piece of 64 KiB in EVERY
";

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        ["data", bytes] => number(bytes).and_then(|n| Payload::bytes(n).write_to_stdout()),
        ["lines", count] => number(count).and_then(|n| Payload::lines(n).write_to_stdout()),
        ["digest"] => Digest::of_stdin(),
        ["count"] => payload::count_stdin(),
        ["sink"] => ws::sink(false).await,
        ["sink", "--lines"] => ws::sink(true).await,
        ["source", kind, amount] => match number(amount) {
            Ok(n) if kind == "lines" => ws::source(Payload::lines(n)).await,
            Ok(n) => ws::source(Payload::bytes(n)).await,
            Err(error) => Err(error),
        },
        ["echo"] => echo::serve(None).await,
        ["echo", buffer] => match number(buffer) {
            Ok(n) => echo::serve(Some(n as usize)).await,
            Err(error) => Err(error),
        },
        ["clients", url, connections, size, rounds] => {
            clients(url, connections, size, rounds, "1", "127.0.0.1").await
        }
        ["clients", url, connections, size, rounds, window] => {
            clients(url, connections, size, rounds, window, "127.0.0.1").await
        }
        ["clients", url, connections, size, rounds, window, source] => {
            clients(url, connections, size, rounds, window, source).await
        }
        ["sessions", url, count, at_once, size, rounds] => {
            sessions(url, count, at_once, size, rounds).await
        }
        ["tcp-sink"] => tcp::sink(None).await,
        ["tcp-sink", port] => match port.parse() {
            Ok(port) => tcp::sink(Some(port)).await,
            Err(error) => Err(error.into()),
        },
        ["tcp-source", bytes] => match number(bytes) {
            Ok(n) => tcp::source(Payload::bytes(n), None).await,
            Err(error) => Err(error),
        },
        ["tcp-source", bytes, port] => match (number(bytes), port.parse()) {
            (Ok(n), Ok(port)) => tcp::source(Payload::bytes(n), Some(port)).await,
            _ => Err("not a number".into()),
        },
        ["bridge", port] => match port.parse() {
            Ok(port) => bridge::serve(port).await,
            Err(error) => Err(error.into()),
        },
        ["flow", ref rest @ ..] => flow(rest),
        _ => Err(USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn flow(args: &[&str]) -> Result {
    match *args {
        ["ws-source", bytes, port, size] => {
            flow::ws_source(number(bytes)?, port.parse()?, size.parse()?)
        }
        ["ws-sink", bytes, port] => flow::ws_sink(number(bytes)?, port.parse()?),
        ["ws-count"] => flow::ws_count(),
        ["tcp-source", bytes] => flow::tcp_source(number(bytes)?),
        ["tcp-sink", bytes, every] => flow::tcp_sink(number(bytes)?, number(every)?.max(1)),
        _ => Err(USAGE.into()),
    }
}

async fn clients(
    url: &str,
    connections: &str,
    size: &str,
    rounds: &str,
    window: &str,
    source: &str,
) -> Result {
    clients::run(plan(url, size, rounds, window, source)?, number(connections)?).await
}

async fn sessions(url: &str, count: &str, at_once: &str, size: &str, rounds: &str) -> Result {
    let plan = plan(url, size, rounds, "1", "127.0.0.1")?;
    clients::sessions(plan, number(count)?, number(at_once)?).await
}

fn plan(url: &str, sizes: &str, rounds: &str, window: &str, source: &str) -> Result<clients::Plan> {
    Ok(clients::Plan {
        url: url.to_owned(),
        sizes: sizes.parse()?,
        rounds: number(rounds)?,
        window: number(window)?,
        source: source.parse()?,
    })
}

fn number(text: &str) -> Result<u64> {
    Ok(text.parse()?)
}

/// A listener on a free port, which is printed.
pub(crate) async fn listen() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    say(&format!("listening {}", listener.local_addr()?.port()))?;
    Ok(listener)
}

pub(crate) fn say(line: &str) -> Result {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
