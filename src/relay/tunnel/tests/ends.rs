//! How tunnels end, and what is left of them.

use super::*;

#[tokio::test]
async fn a_reset_is_passed_on() {
    for threads in WAYS {
        let mut rig = Rig::new(threads, Limits::default()).await;
        rig.talk().await;
        rig.client.set_zero_linger().unwrap();
        drop(rig.client);
        let (_, ended) = rest(&mut rig.backend).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let (_, end) = in_time(rig.told).await.unwrap();
        assert!(matches!(end, End::Lost(Side::Near, _)), "{end:?}");
    }
}

#[tokio::test]
async fn a_reset_after_a_close_is_not() {
    for threads in WAYS {
        let mut rig = Rig::new(threads, Limits::default()).await;
        rig.backend.write_all(b"\x88\x02\x03\xf3").await.unwrap();
        expect(&mut rig.client, b"\x88\x02\x03\xf3").await;
        rig.backend.set_zero_linger().unwrap();
        drop(rig.backend);
        let (got, ended) = rest(&mut rig.client).await;
        assert!(got.is_empty() && ended.is_ok(), "{ended:?}");
        drop(rig.client);
        let (_, end) = in_time(rig.told).await.unwrap();
        assert!(matches!(end, End::Closed { by: Side::Far, code: 1011 }), "{end:?}");
    }
}

#[tokio::test]
async fn draining_waits_for_the_end_of_a_message() {
    for threads in WAYS {
        let mut rig = Rig::new(threads, Limits::default()).await;
        let (begin, end) = HELLO.split_at(8);
        rig.client.write_all(begin).await.unwrap();
        expect(&mut rig.backend, begin).await;
        rig.tunnels.drain(None, 1012, Duration::ZERO);
        expect(&mut rig.client, b"\x88\x02\x03\xf4").await;
        // What the backend says is not for the client any more.
        rig.backend.write_all(WORLD).await.unwrap();
        rig.client.write_all(&[end, HELLO].concat()).await.unwrap();
        expect(&mut rig.backend, end).await;
        let mut close = [0; 8];
        in_time(rig.backend.read_exact(&mut close)).await.unwrap();
        assert_eq!(masked_code(&close), 1012);
        rig.backend.write_all(b"\x88\x02\x03\xf4").await.unwrap();
        rig.client.write_all(&close).await.unwrap();
        assert_eq!(rest(&mut rig.client).await.0, b"");
        assert_eq!(rest(&mut rig.backend).await.0, b"");
        let (counts, end) = in_time(rig.told).await.unwrap();
        assert!(matches!(end, End::Closing(1012)), "{end:?}");
        assert_eq!((counts.received.messages, counts.sent.messages), (1, 0));
        // Those that come later find the door closed.
        let mut late = Rig::on(&rig.tunnels, 0, [Vec::new(), Vec::new()]).await;
        expect(&mut late.client, b"\x88\x02\x03\xf4").await;
    }
}

#[tokio::test]
async fn only_those_with_the_tag_are_drained() {
    for threads in WAYS {
        let mut other = Rig::new(threads, Limits::default()).await;
        let mut meant = Rig::on(&other.tunnels, 5, [Vec::new(), Vec::new()]).await;
        meant.talk().await;
        other.tunnels.drain(Some(5), 1001, Duration::ZERO);
        expect(&mut meant.client, b"\x88\x02\x03\xe9").await;
        other.talk().await;
        drop((meant.client, meant.backend));
        let (_, end) = in_time(meant.told).await.unwrap();
        assert!(matches!(end, End::Closing(1001)), "{end:?}");
        other.talk().await;
    }
}

#[tokio::test]
async fn draining_takes_its_time() {
    for threads in WAYS {
        let mut last = Rig::new(threads, Limits::default()).await;
        let mut others = Vec::new();
        for _ in 0..9 {
            others.push(Rig::on(&last.tunnels, 0, [Vec::new(), Vec::new()]).await);
        }
        last.talk().await;
        for rig in &mut others {
            rig.talk().await;
        }
        last.tunnels.drain(None, 1001, Duration::from_secs(5000));
        // The first of them has its Close now; the others go on.
        let rigs = others.iter_mut().chain([&mut last]);
        let reads = rigs.map(|rig| Box::pin(rig.client.read_u8()));
        let (first, ..) = in_time(futures_util::future::select_all(reads)).await;
        assert_eq!(first.unwrap(), 0x88);
        assert_eq!(last.tunnels.figures().open, 10);
        last.tunnels.abort();
        for rig in others {
            let (_, end) = rig.end().await;
            assert!(matches!(end, End::Closing(1001 | End::CUT)), "{end:?}");
        }
    }
}

#[tokio::test]
async fn quiet_sides_are_pinged_and_those_without_an_answer_given_up() {
    for threads in WAYS {
        let limits = Limits { ping: Some(Duration::from_millis(100)), ..Limits::default() };
        let mut rig = Rig::new(threads, limits).await;
        expect(&mut rig.client, b"\x89\x00").await;
        let mut ping = [0; 6];
        in_time(rig.backend.read_exact(&mut ping)).await.unwrap();
        assert_eq!(ping[..2], [0x89, 0x80]);
        let (_, end) = in_time(rig.told).await.unwrap();
        let End::Lost(_, why) = end else { panic!("{end:?}") };
        assert_eq!(why.kind(), io::ErrorKind::TimedOut);
    }
}

#[tokio::test]
async fn quiet_tunnels_are_closed_if_that_is_asked_for() {
    for threads in WAYS {
        let limits = Limits { idle: Some(Duration::from_millis(100)), ..Limits::default() };
        let mut rig = Rig::new(threads, limits).await;
        expect(&mut rig.client, b"\x88\x02\x03\xe9").await;
        drop((rig.client, rig.backend));
        let (_, end) = in_time(rig.told).await.unwrap();
        assert!(matches!(end, End::Idle), "{end:?}");
    }
}

#[tokio::test]
async fn many_come_and_go_and_leave_nothing() {
    for threads in WAYS {
        let tunnels = Tunnels::new(threads, Limits::default()).unwrap();
        for round in 0..20 {
            let rigs: Vec<_> = (0..100).map(|_| local(&tunnels)).collect();
            if round % 2 == 0 {
                tunnels.abort();
            }
            // Whoever sees the end of its connection knows that the socket at the other end is closed.
            for (mut client, mut backend, told) in rigs {
                if round % 2 != 0 {
                    client.shutdown().await.unwrap();
                }
                assert_eq!(rest(&mut backend).await.0, b"");
                backend.shutdown().await.unwrap();
                assert_eq!(rest(&mut client).await.0, b"");
                let (_, end) = in_time(told).await.unwrap();
                match round % 2 {
                    0 => assert!(matches!(end, End::Closing(End::CUT)), "{end:?}"),
                    _ => assert!(matches!(end, End::Gone(Side::Near)), "{end:?}"),
                }
            }
            assert_eq!(tunnels.figures().open, 0);
        }
    }
}

#[tokio::test]
async fn all_end_with_what_holds_them() {
    for threads in WAYS {
        let mut rig = Rig::new(threads, Limits::default()).await;
        rig.talk().await;
        drop(rig.tunnels);
        assert!(rest(&mut rig.client).await.1.is_err());
        let (_, end) = in_time(rig.told).await.unwrap();
        assert!(matches!(end, End::Closing(End::CUT)), "{end:?}");
    }
}

struct Panics;

impl Owner for Panics {
    fn ended(self: Box<Self>, _: &Counts, _: End) {
        panic!("on purpose");
    }
}

#[tokio::test]
async fn a_panic_ends_one_tunnel_only() {
    for threads in WAYS {
        let mut rig = Rig::new(threads, Limits::default()).await;
        let ((mut client, near), (backend, far)) = (pair().await, pair().await);
        rig.tunnels.add(Tunnel {
            near: ByteStream::Tcp(near),
            far: ByteStream::Tcp(far),
            early: [Vec::new(), Vec::new()],
            extensions: false,
            tag: 0,
            owner: Box::new(Panics),
        });
        backend.set_zero_linger().unwrap();
        drop(backend);
        assert!(rest(&mut client).await.1.is_err());
        rig.talk().await;
    }
}
