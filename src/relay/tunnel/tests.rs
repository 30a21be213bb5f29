//! Both ways of moving bytes, over real sockets.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;

mod ends;

/// How many threads: a task for each tunnel, or a thread for all.
#[cfg(target_os = "linux")]
const WAYS: [usize; 2] = [0, 1];
#[cfg(not(target_os = "linux"))]
const WAYS: [usize; 1] = [0];

/// A masked text message with a mask of zeros.
const HELLO: &[u8] = b"\x81\x85\0\0\0\0hello";
/// What the backend says.
const WORLD: &[u8] = b"\x81\x05world";

struct Told(oneshot::Sender<(Counts, End)>);

impl Owner for Told {
    fn ended(self: Box<Self>, counts: &Counts, end: End) {
        let _ = self.0.send((*counts, end));
    }
}

struct Rig {
    tunnels: Arc<Tunnels>,
    client: TcpStream,
    backend: TcpStream,
    told: oneshot::Receiver<(Counts, End)>,
}

impl Rig {
    async fn new(threads: usize, limits: Limits) -> Self {
        let tunnels = Arc::new(Tunnels::new(threads, limits).unwrap());
        Self::on(&tunnels, 0, [Vec::new(), Vec::new()]).await
    }

    async fn on(tunnels: &Arc<Tunnels>, tag: u32, early: [Vec<u8>; 2]) -> Self {
        let ((client, near), (backend, far)) = (pair().await, pair().await);
        let (sender, told) = oneshot::channel();
        let (near, far) = (ByteStream::Tcp(near), ByteStream::Tcp(far));
        let owner = Box::new(Told(sender));
        tunnels.add(Tunnel { near, far, early, extensions: false, tag, owner });
        Self { tunnels: tunnels.clone(), client, backend, told }
    }

    async fn end(self) -> (Counts, End) {
        in_time(self.told).await.unwrap()
    }

    /// A message each way, which shows that both directions work.
    async fn talk(&mut self) {
        self.client.write_all(HELLO).await.unwrap();
        expect(&mut self.backend, HELLO).await;
        self.backend.write_all(WORLD).await.unwrap();
        expect(&mut self.client, WORLD).await;
    }
}

/// A tunnel between local sockets: the client, the backend, and what the owner is told.
fn local(tunnels: &Tunnels) -> (UnixStream, UnixStream, oneshot::Receiver<(Counts, End)>) {
    let (client, near) = UnixStream::pair().unwrap();
    let (backend, far) = UnixStream::pair().unwrap();
    let (sender, told) = oneshot::channel();
    tunnels.add(Tunnel {
        near: ByteStream::Unix(near),
        far: ByteStream::Unix(far),
        early: [Vec::new(), Vec::new()],
        extensions: false,
        tag: 0,
        owner: Box::new(Told(sender)),
    });
    (client, backend, told)
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (far, _) = listener.accept().await.unwrap();
    for it in [&near, &far] {
        it.set_nodelay(true).unwrap();
    }
    (near, far)
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("in time")
}

async fn expect(from: &mut TcpStream, what: &[u8]) {
    let mut got = vec![0; what.len()];
    in_time(from.read_exact(&mut got)).await.unwrap();
    assert!(got == what, "{got:x?} instead of {what:x?}");
}

/// All that still comes, and how it ended.
async fn rest(from: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    let ended = in_time(from.read_to_end(&mut all)).await;
    (all, ended.map(drop))
}

/// The code of a masked Close.
fn masked_code(frame: &[u8]) -> u16 {
    let &[0x88, 0x82, a, b, _, _, c, d] = frame else { panic!("{frame:x?} is not a masked Close") };
    u16::from_be_bytes([a ^ c, b ^ d])
}

#[tokio::test]
async fn a_close_ends_it_and_tells_whose_it_was() {
    for threads in WAYS {
        let mut rig = Rig::new(threads, Limits::default()).await;
        rig.talk().await;
        let close = [0x88, 0x82, 0, 0, 0, 0, 0x0f, 0xa0];
        rig.client.write_all(&close).await.unwrap();
        // What follows a Close is nobody's business.
        rig.client.write_all(HELLO).await.unwrap();
        expect(&mut rig.backend, &close).await;
        rig.backend.write_all(b"\x88\x02\x0f\xa0").await.unwrap();
        expect(&mut rig.client, b"\x88\x02\x0f\xa0").await;
        rig.backend.shutdown().await.unwrap();
        assert_eq!(rest(&mut rig.client).await.0, b"");
        assert_eq!(rest(&mut rig.backend).await.0, b"");
        let (counts, end) = rig.end().await;
        assert!(matches!(end, End::Closed { by: Side::Near, code: 4000 }), "{end:?}");
        assert_eq!((counts.received.messages, counts.sent.messages), (1, 1));
        assert_eq!((counts.received.bytes, counts.sent.bytes), (30, 11));
    }
}

#[tokio::test]
async fn what_was_read_early_comes_first() {
    for threads in WAYS {
        let tunnels = Arc::new(Tunnels::new(threads, Limits::default()).unwrap());
        let mut rig = Rig::on(&tunnels, 0, [HELLO.into(), WORLD.into()]).await;
        expect(&mut rig.backend, HELLO).await;
        expect(&mut rig.client, WORLD).await;
        rig.talk().await;
        assert_eq!(tunnels.figures().open, 1);
        drop((rig.client, rig.backend));
        let (counts, _) = in_time(rig.told).await.unwrap();
        assert_eq!((counts.received.messages, counts.sent.messages), (2, 2));
        assert_eq!(tunnels.figures().open, 0);
        assert_eq!(tunnels.figures().moved.received.bytes, 22);
    }
}

#[tokio::test]
async fn an_end_follows_what_was_said_before_it() {
    for threads in WAYS {
        let mut rig = Rig::new(threads, Limits::default()).await;
        // Bulk in one message and then many small ones, more than all buffers hold together.
        let mut said = [&b"\x82\x7f"[..], &(8_u64 << 20).to_be_bytes()].concat();
        said.resize(said.len() + (8 << 20), 0);
        fastrand::Rng::with_seed(7).fill(&mut said[10..]);
        said.extend(WORLD.repeat(100_000));
        let expected = said.clone();
        let mut backend = rig.backend;
        let writer = tokio::spawn(async move {
            backend.write_all(&said).await.unwrap();
            backend.shutdown().await.unwrap();
            backend
        });
        let (got, ended) = rest(&mut rig.client).await;
        assert!(got == expected && ended.is_ok(), "{} of {}", got.len(), expected.len());
        // The other direction goes on.
        let mut backend = in_time(writer).await.unwrap();
        rig.client.write_all(HELLO).await.unwrap();
        expect(&mut backend, HELLO).await;
        rig.client.shutdown().await.unwrap();
        assert_eq!(rest(&mut backend).await.0, b"");
        let (counts, end) = in_time(rig.told).await.unwrap();
        assert!(matches!(end, End::Gone(Side::Far)), "{end:?}");
        assert_eq!(counts.sent.messages, 100_001);
        assert_eq!(counts.sent.bytes, expected.len() as u64);
    }
}

#[tokio::test]
async fn a_stalled_client_stops_its_backend_and_nobody_else() {
    for threads in WAYS {
        let rig = Rig::new(threads, Limits::default()).await;
        let mut other = Rig::on(&rig.tunnels, 0, [Vec::new(), Vec::new()]).await;
        const ALL: u64 = 64 << 20;
        let (mut backend, mut client) = (rig.backend, rig.client);
        let writer = tokio::spawn(async move {
            backend.write_all(&[&b"\x82\x7f"[..], &ALL.to_be_bytes()].concat()).await.unwrap();
            let chunk = vec![7; 1 << 20];
            for _ in 0..ALL >> 20 {
                backend.write_all(&chunk).await.unwrap();
            }
            backend.write_all(b"\x88\x00").await.unwrap();
            backend
        });
        // Nothing moves any more while the other talks: everything is full.
        let far = |tunnels: &Tunnels| tunnels.figures().moved.sent.bytes;
        in_time(async {
            loop {
                let before = far(&other.tunnels);
                for _ in 0..100 {
                    other.talk().await;
                }
                if before > 0 && far(&other.tunnels) - before <= 100 * WORLD.len() as u64 {
                    break;
                }
            }
        })
        .await;
        assert!(far(&other.tunnels) < ALL / 2, "{} bytes", far(&other.tunnels));
        let (got, ended) = tokio::join!(
            async {
                let mut got = vec![0; ALL as usize + 10 + 2];
                in_time(client.read_exact(&mut got)).await.unwrap();
                got
            },
            writer
        );
        assert!(
            got.ends_with(b"\x07\x07\x88\x00") && got[10..ALL as usize].iter().all(|it| *it == 7)
        );
        drop((client, ended));
        let (counts, end) = in_time(rig.told).await.unwrap();
        assert!(matches!(end, End::Closed { by: Side::Far, code: 1005 }), "{end:?}");
        assert_eq!(counts.sent.bytes, ALL + 12);
    }
}

#[tokio::test]
async fn a_client_that_breaks_the_rules_does_not_get_through() {
    for threads in WAYS {
        let limits = Limits { police: true, ..Limits::default() };
        let mut rig = Rig::new(threads, limits).await;
        rig.client.write_all(&[HELLO, b"GET / HTTP/1.1\r\n"].concat()).await.unwrap();
        expect(&mut rig.backend, HELLO).await;
        let mut close = [0; 8];
        in_time(rig.backend.read_exact(&mut close)).await.unwrap();
        assert_eq!(masked_code(&close), 1002);
        expect(&mut rig.client, b"\x88\x02\x03\xea").await;
        drop((rig.client, rig.backend));
        let (_, end) = in_time(rig.told).await.unwrap();
        let why = "reserved bits are set";
        assert!(matches!(end, End::Protocol(Side::Near, 1002, what) if what == why), "{end:?}");
    }
}

#[tokio::test]
async fn sockets_may_be_local() {
    for threads in WAYS {
        let tunnels = Tunnels::new(threads, Limits::default()).unwrap();
        let (mut client, mut backend, told) = local(&tunnels);
        let mut said = [&b"\x82\x7f"[..], &(1_u64 << 20).to_be_bytes()].concat();
        said.resize(said.len() + (1 << 20), 5);
        let (written, mut got) = (said.clone(), vec![0; said.len()]);
        let (wrote, read) = in_time(async {
            tokio::join!(client.write_all(&written), backend.read_exact(&mut got))
        })
        .await;
        assert!(wrote.is_ok() && read.is_ok() && got == said);
        drop((client, backend));
        in_time(told).await.unwrap();
    }
}
