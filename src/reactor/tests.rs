//! Sockets of tasks on a thread of tunnels, over real connections.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;
use crate::duplex::ByteStream;
use crate::error::{Error, Kind};
use crate::relay::tunnel::{Limits, Tunnels};

/// More than the kernel takes of a peer that does not read.
const BULK: usize = 16 << 20;

fn thread() -> Tunnels {
    Tunnels::new(1, Limits::default()).unwrap()
}

/// What a task on the thread says.
async fn on<T: Send + 'static>(
    thread: &Tunnels,
    task: impl Future<Output = T> + Send + 'static,
) -> T {
    let (done, outcome) = oneshot::channel();
    thread.run(Box::pin(async { drop(done.send(task.await)) }));
    in_time(outcome).await.expect("it has not panicked")
}

async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("in time")
}

/// A connection: the peer's end, and ours, which the thread watches.
async fn pair(thread: &Tunnels) -> (TcpStream, ByteStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let ours = on(thread, connect(address, None)).await.unwrap();
    assert!(matches!(ours, ByteStream::Watched(_)));
    (listener.accept().await.unwrap().0, ours)
}

#[tokio::test]
async fn a_listener_takes_connections_where_it_is_asked() {
    let thread = thread();
    for here in [true, false] {
        let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = bound.local_addr().unwrap();
        let mut listener = Listener::new(bound).unwrap();
        let serving = async move {
            for _ in 0..3 {
                let (accepted, from) = listener.accept().await.unwrap();
                assert_eq!(accepted.local_addr().unwrap(), address);
                let mut stream = accepted.stream().unwrap();
                assert_eq!(matches!(stream, ByteStream::Watched(_)), here);
                stream.write_all(from.to_string().as_bytes()).await.unwrap();
            }
        };
        let asking = async {
            for _ in 0..3 {
                let mut client = TcpStream::connect(address).await.unwrap();
                let mut said = String::new();
                client.read_to_string(&mut said).await.unwrap();
                assert_eq!(said, client.local_addr().unwrap().to_string());
            }
        };
        match here {
            true => drop(tokio::join!(on(&thread, serving), in_time(asking))),
            false => drop(tokio::join!(in_time(serving), in_time(asking))),
        }
    }
}

#[tokio::test]
async fn a_crowd_at_once_is_let_in() {
    let thread = thread();
    let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = bound.local_addr().unwrap();
    let mut listener = Listener::new(bound).unwrap();
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    on(&thread, async move {
        for _ in 0..100 {
            listener.accept().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn bulk_waits_for_a_peer_that_does_not_read() {
    let thread = thread();
    let (mut peer, mut ours) = pair(&thread).await;
    let writing = on(&thread, async move {
        ours.write_all(&vec![7; BULK]).await.unwrap();
        ours.shutdown().await.unwrap();
        let mut back = Vec::new();
        ours.read_to_end(&mut back).await.unwrap();
        back
    });
    let reading = async {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        assert!(all.len() == BULK && all.iter().all(|byte| *byte == 7));
        peer.write_all(&all).await.unwrap();
        drop(peer);
        all
    };
    let (back, all) = tokio::join!(writing, in_time(reading));
    assert!(back == all);
}

#[tokio::test]
async fn what_came_before_the_end_is_read_before_it() {
    let thread = thread();
    let (mut peer, mut ours) = pair(&thread).await;
    peer.write_all(b"bye").await.unwrap();
    drop(peer);
    let said = on(&thread, async move {
        let mut said = Vec::new();
        // The end comes again however often it is asked for.
        for _ in 0..3 {
            ours.read_to_end(&mut said).await.unwrap();
        }
        said
    });
    assert_eq!(said.await, b"bye");
}

#[tokio::test]
async fn a_reset_is_told_and_sent() {
    let thread = thread();
    let (peer, mut ours) = pair(&thread).await;
    peer.set_zero_linger().unwrap();
    drop(peer);
    let read = on(&thread, async move { ours.read(&mut [0; 8]).await });
    assert_eq!(read.await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);

    let (mut peer, mut ours) = pair(&thread).await;
    ours.abort(&Error::new(Kind::Lost, "test"));
    drop(ours);
    let read = in_time(peer.read(&mut [0; 8])).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_refuses() {
    let thread = thread();
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = on(&thread, connect(free, None)).await.err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_source_address_is_used() {
    let thread = thread();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let from = "127.0.0.9".parse().unwrap();
    let _ours = on(&thread, connect(address, Some(from))).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1.ip(), from);
    let _ours = in_time(connect(address, Some(from))).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1.ip(), from);
}

#[tokio::test]
async fn a_socket_works_for_tasks_elsewhere_as_well() {
    let thread = thread();
    let (mut peer, mut ours) = pair(&thread).await;
    let echoing = tokio::spawn(async move {
        let mut word = [0; 4];
        for _ in 0..100 {
            ours.read_exact(&mut word).await.unwrap();
            ours.write_all(&word).await.unwrap();
        }
    });
    for _ in 0..100 {
        let mut word = [0; 4];
        peer.write_all(b"echo").await.unwrap();
        in_time(peer.read_exact(&mut word)).await.unwrap();
        assert_eq!(&word, b"echo");
    }
    in_time(echoing).await.unwrap();
}

#[tokio::test]
async fn a_panic_ends_one_task_alone() {
    let thread = thread();
    let (mut peer, mut ours) = pair(&thread).await;
    thread.run(Box::pin(async { panic!("this one is meant to be seen") }));
    let word = on(&thread, async move {
        let mut word = [0; 4];
        ours.read_exact(&mut word).await.unwrap();
        word
    });
    peer.write_all(b"well").await.unwrap();
    assert_eq!(&word.await, b"well");
}

#[tokio::test]
async fn one_that_always_has_something_to_do_gives_way() {
    let thread = thread();
    let (mut peer, mut busy) = pair(&thread).await;
    let (mut other, mut ours) = pair(&thread).await;
    // An end can be read again and again.
    peer.shutdown().await.unwrap();
    let enough = Arc::new(AtomicBool::new(false));
    let over = enough.clone();
    thread.run(Box::pin(async move {
        while !over.load(Relaxed) {
            assert_eq!(busy.read(&mut [0]).await.unwrap(), 0);
        }
    }));
    let word = on(&thread, async move {
        let mut word = [0; 4];
        ours.read_exact(&mut word).await.unwrap();
        word
    });
    other.write_all(b"well").await.unwrap();
    assert_eq!(&word.await, b"well");
    enough.store(true, Relaxed);
}
