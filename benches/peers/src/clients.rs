//! Many WebSocket clients that each say something and wait for it to come back.

use std::collections::VecDeque;
use std::io::BufRead;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, lookup_host};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::{Result, say, trust};

type Ws = WebSocketStream<Box<dyn Stream>>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How many handshakes are in flight at once: a listener's backlog may be short.
const AT_ONCE: u64 = 64;

/// What each client does.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) url: String,
    pub(crate) sizes: Sizes,
    pub(crate) rounds: u64,
    /// How many messages of a client may be on their way.
    pub(crate) window: u64,
    /// The address to connect from; one address has only so many ports.
    pub(crate) source: IpAddr,
}

/// `128`, or `1-4096` for all of them in turn.
#[derive(Clone, Copy)]
pub(crate) struct Sizes(usize, usize);

impl FromStr for Sizes {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (least, most) = text.split_once('-').unwrap_or((text, text));
        Ok(Self(least.parse()?, most.parse()?))
    }
}

impl Sizes {
    fn message(self, number: u64) -> Message {
        // A step that is prime to most ranges visits all of them, the large among the small.
        let range = self.1 - self.0 + 1;
        let size = self.0 + (number as usize).wrapping_mul(2_654_435_761) % range;
        Message::Binary(Bytes::from(vec![b'm'; size]))
    }
}

/// Opens them all, and has them talk once for every line of stdin.
pub(crate) async fn run(plan: Plan, connections: u64) -> Result {
    let mut idle = Vec::new();
    let mut opening = JoinSet::new();
    for _ in 0..connections {
        if opening.len() as u64 == AT_ONCE {
            idle.extend(opening.join_next().await.transpose()?.transpose()?);
        }
        let plan = plan.clone();
        opening.spawn(async move {
            let mut ws = open(&plan).await?;
            talk(&mut ws, &plan, 0, 1, &mut Vec::new()).await?;
            Result::Ok(ws)
        });
    }
    while let Some(opened) = opening.join_next().await {
        idle.push(opened??);
    }
    say("ready")?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let started = Instant::now();
        let mut talking = JoinSet::new();
        for (number, mut ws) in idle.drain(..).enumerate() {
            let plan = plan.clone();
            talking.spawn(async move {
                let mut times = Vec::new();
                talk(&mut ws, &plan, number as u64, plan.rounds, &mut times).await?;
                Result::Ok((ws, times))
            });
        }
        let mut times = Vec::new();
        while let Some(done) = talking.join_next().await {
            let (ws, more) = done??;
            idle.push(ws);
            times.extend(more);
        }
        let (total, seconds) = (connections * plan.rounds, started.elapsed().as_secs_f64());
        let [p50, p99] = quantiles(times, [0.5, 0.99]);
        say(&format!(
            r#"{{"messages":{total},"seconds":{seconds:.3},"p50":{p50:.6},"p99":{p99:.6}}}"#
        ))?;
    }
    Ok(())
}

/// Connects, talks and leaves, so many times.
pub(crate) async fn sessions(plan: Plan, count: u64, at_once: u64) -> Result {
    let started = Instant::now();
    let mut open_now = JoinSet::new();
    for _ in 0..count {
        if open_now.len() as u64 == at_once {
            open_now.join_next().await.transpose()?.transpose()?;
        }
        let plan = plan.clone();
        open_now.spawn(async move {
            let mut ws = open(&plan).await?;
            talk(&mut ws, &plan, 0, plan.rounds, &mut Vec::new()).await?;
            ws.close(None).await?;
            while let Some(Ok(_)) = ws.next().await {}
            Result::Ok(())
        });
    }
    while let Some(done) = open_now.join_next().await {
        done??;
    }
    let seconds = started.elapsed().as_secs_f64();
    say(&format!(r#"{{"sessions":{count},"seconds":{seconds:.3}}}"#))
}

async fn open(plan: &Plan) -> Result<Ws> {
    let request = plan.url.as_str().into_client_request()?;
    let secure = request.uri().scheme_str() == Some("wss");
    let host = request.uri().host().unwrap_or("127.0.0.1");
    let port = request.uri().port_u16().unwrap_or(if secure { 443 } else { 80 });
    let to = lookup_host((host, port)).await?.next().ok_or("no address")?;
    let socket = TcpSocket::new_v4()?;
    if plan.source != Ipv4Addr::LOCALHOST {
        socket.bind((plan.source, 0).into())?;
    }
    let tcp = socket.connect(to).await?;
    tcp.set_nodelay(true)?;
    let stream: Box<dyn Stream> = match secure {
        true => {
            let connector = TlsConnector::from(Arc::new(trust::anyone()?));
            Box::new(connector.connect(host.to_owned().try_into()?, tcp).await?)
        }
        false => Box::new(tcp),
    };
    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
    Ok(client_async_with_config(request, stream, Some(config)).await?.0)
}

/// Sends messages, a window of them ahead of the answers, and notes how long each took.
async fn talk(
    ws: &mut Ws,
    plan: &Plan,
    offset: u64,
    rounds: u64,
    times: &mut Vec<Duration>,
) -> Result {
    let mut sent = 0;
    let mut waiting = VecDeque::new();
    while sent < rounds || !waiting.is_empty() {
        while sent < rounds && (waiting.len() as u64) < plan.window {
            let message = plan.sizes.message(offset + sent);
            waiting.push_back((message.clone(), Instant::now()));
            ws.feed(message).await?;
            sent += 1;
        }
        ws.flush().await?;
        let back = ws.next().await.ok_or("the server closed")??;
        let Some((message, since)) = waiting.pop_front() else { break };
        if back != message {
            return Err("another message came back".into());
        }
        times.push(since.elapsed());
    }
    Ok(())
}

/// In seconds.
fn quantiles<const N: usize>(mut times: Vec<Duration>, which: [f64; N]) -> [f64; N] {
    times.sort_unstable();
    which.map(|q| {
        let at = ((times.len() as f64 * q) as usize).min(times.len().saturating_sub(1));
        times.get(at).map_or(0.0, Duration::as_secs_f64)
    })
}
