//! permessage-deflate: what is offered and granted, and what peers may not do with it.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use serde_json::{Value, json};

use crate::support::{Frame, Output, Running, Towline, Ws, noise, tcp_server};

const TEXT: u8 = Frame::FIN | Frame::TEXT;
const RSV1: u8 = 0x40;

/// What every browser offers.
const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// What every compressed message ends with, and is sent without.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// One end of a connection, whose messages have one window.
struct Zlib(Compress, Decompress);

impl Zlib {
    fn new() -> Self {
        Self(Compress::new(Compression::new(6), false), Decompress::new(false))
    }

    fn deflate(&mut self, data: impl AsRef<[u8]>) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.as_ref().len() + 100);
        self.0.compress_vec(data.as_ref(), &mut out, FlushCompress::Sync).unwrap();
        out.strip_suffix(&TAIL).unwrap().to_vec()
    }

    #[track_caller]
    fn inflate(&mut self, frame: &Frame) -> String {
        assert_eq!(frame.first, TEXT | RSV1, "not compressed: {frame:?}");
        let mut out = Vec::with_capacity(1 << 20);
        let data = [&frame.payload[..], &TAIL].concat();
        self.1.decompress_vec(&data, &mut out, FlushDecompress::Sync).unwrap();
        String::from_utf8(out).unwrap()
    }
}

fn extensions(headers: &str) -> String {
    format!("Sec-WebSocket-Extensions: {headers}\r\n")
}

fn echo(flags: &[&str]) -> Running {
    Towline::serve(["ws://127.0.0.1:0/", "echo:"].iter().chain(flags))
}

/// Connects to a server that grants what it is offered.
#[track_caller]
fn offering(server: &Running) -> Ws {
    let ws = Ws::connect_with(&server.address(), &extensions(OFFER));
    assert!(ws.header("Sec-WebSocket-Extensions").is_some(), "{}", ws.head);
    ws
}

#[track_caller]
fn report(address: &str, flags: &[&str]) -> Value {
    let run = Towline::connect([address]).args(flags).args(["--report", "json"]).run();
    run.code(0);
    serde_json::from_str(run.stderr.lines().next().unwrap()).unwrap()
}

#[test]
fn connect_offers_to_compress() {
    let offered = |flags: &[&str]| {
        let server = tcp_server(|tcp| {
            let mut ws = Ws::accept(tcp);
            let offer = ws.header("Sec-WebSocket-Extensions").unwrap_or("nothing").to_owned();
            ws.text(&offer);
            ws.close(1000, "");
            while ws.try_recv().is_some() {}
        });
        let run = Towline::connect([server.ws("/")]).args(flags).stdin_open().run();
        String::from_utf8(run.code(0).stdout.clone()).unwrap()
    };
    assert_eq!(offered(&[]), format!("{OFFER}\n"));
    assert_eq!(offered(&["--compress=auto", "--frame=lines"]), format!("{OFFER}\n"));
    assert_eq!(offered(&["--compress=9"]), format!("{OFFER}\n"));
    assert_eq!(offered(&["--compress=off"]), "nothing\n");
    assert_eq!(offered(&["-H", "Sec-WebSocket-Extensions: x-own"]), "x-own\n");
}

#[test]
fn what_is_granted_is_spoken() {
    let said = "what was said before ".repeat(10);
    let server = tcp_server(|tcp| {
        let mut ws = Ws::accept_with(tcp, &extensions("permessage-deflate"));
        let mut zlib = Zlib::new();
        let frames = [ws.recv(), ws.recv()];
        let said = frames.each_ref().map(|it| zlib.inflate(it));
        let lengths = frames.map(|it| it.payload.len());
        assert!(lengths[0] < 60, "{lengths:?}");
        assert!(lengths[1] < 15, "nothing refers to what was said before: {lengths:?}");
        // What is short goes as it is.
        assert_eq!(ws.recv().text(), "bye");
        for text in said {
            let answer = zlib.deflate(text.to_uppercase());
            let (one, other) = answer.split_at(answer.len() / 2);
            ws.frame(Frame::TEXT | RSV1, one);
            ws.frame(Frame::FIN | Frame::PING, "");
            assert_eq!(ws.recv().opcode(), Frame::PONG);
            ws.frame(Frame::FIN, other);
        }
        ws.text("BYE");
        assert_eq!(ws.until_close(), 1000);
    });
    let run = Towline::connect([&server.ws("/"), "--frame=lines", "--count=3", "-v"]);
    let run = run.stdin(format!("{said}\n{said}\nbye\n")).run();
    let loud = said.to_uppercase();
    run.code(0).stdout(&format!("{loud}\n{loud}\nBYE\n"));
    run.stderr_has("compressing, permessage-deflate");
}

#[test]
fn an_offer_of_the_user_is_kept() {
    let server = tcp_server(|tcp| {
        let mut ws =
            Ws::accept_with(tcp, &extensions("permessage-deflate; server_max_window_bits=9"));
        let text = Zlib::new().inflate(&ws.recv());
        let answer = Zlib::new().deflate(text);
        ws.frame(TEXT | RSV1, answer);
        assert_eq!(ws.until_close(), 1000);
    });
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10";
    let said = "a".repeat(100);
    let steps = ["--compress=off", "-H", offer, "-s", &said, "-e", &said];
    let report = report(&server.ws("/"), &steps);
    assert_eq!(report["extensions"], json!(["permessage-deflate; server_max_window_bits=9"]));
    assert_eq!(
        report["compression"],
        json!({
            "server_no_context_takeover": false, "client_no_context_takeover": false,
            "server_max_window_bits": 9, "client_max_window_bits": 15,
        })
    );
}

#[test]
fn a_server_that_does_without_gets_plain_messages() {
    let server = tcp_server(|tcp| Ws::accept(tcp).echo());
    let said = "a".repeat(1000);
    let report = report(&server.ws("/"), &["-s", &said, "-e", &said, "--expect-extension=none"]);
    assert_eq!(report["compression"], Value::Null);
}

#[test]
fn what_is_granted_wrongly_is_refused() {
    for (flags, granted, why) in [
        (&["--compress=off"][..], "permessage-deflate", "was granted but never offered"),
        (&[], "x-own", "was granted but never offered"),
        (&[], "permessage-deflate, permessage-deflate", "more than one extension was granted"),
        (&[], "permessage-deflate; server_max_window_bits=7", "what is granted is malformed"),
        (&[], "permessage-deflate; mode=9", "what is granted is malformed"),
    ] {
        let server = tcp_server(move |tcp| {
            let _ = Ws::accept_with(tcp, &extensions(granted)).try_recv();
        });
        let address = server.ws("/");
        Towline::connect([&address]).args(flags).stdin_open().run().code(7).stderr_has(why);
        let check = ["--expect-extension", "none"];
        Towline::connect([&address]).args(flags).args(check).run().code(1);
    }
}

#[test]
fn serve_grants_what_it_is_told_to() {
    let both = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (flags, offer, granted) in [
        (&[][..], OFFER, None),
        (&["--compress=off"], OFFER, None),
        (&["--compress=auto"], OFFER, Some(both)),
        (&["--compress=6"], OFFER, Some("permessage-deflate")),
        (&["--compress=6"], "permessage-deflate; mode=9", None),
        (
            &["--compress=6"],
            "permessage-deflate; mode=9, permessage-deflate; server_max_window_bits=10",
            Some("permessage-deflate; server_max_window_bits=10"),
        ),
    ] {
        let server = echo(flags);
        let mut ws = Ws::connect_with(&server.address(), &extensions(offer));
        assert_eq!(ws.header("Sec-WebSocket-Extensions"), granted, "{flags:?} {offer}");
        let said = "a".repeat(1000);
        ws.text(&said);
        let answer = ws.recv();
        match granted {
            Some(_) => assert_eq!(Zlib::new().inflate(&answer), said),
            None => assert_eq!(answer.text(), said),
        }
    }
}

#[test]
fn no_level_but_one_to_nine() {
    for level in ["0", "10", "best", ""] {
        let run = Towline::connect(["ws://127.0.0.1:1/", &format!("--compress={level}")]).run();
        run.code(2).stderr_has("auto, off, or a level of 1 to 9");
    }
    let run = Towline::new().args(["serve", "tcp://127.0.0.1:0", "echo:", "--compress=1"]).run();
    run.code(2).stderr_has("--compress needs a WebSocket");
}

#[test]
fn what_is_encrypted_is_not_compressed() {
    let server = tcp_server(|tcp| {
        let mut ws = Ws::accept(tcp);
        assert_eq!(ws.header("Sec-WebSocket-Extensions"), None);
        ws.close(1000, "");
        while ws.try_recv().is_some() {}
    });
    Towline::connect([format!("{},tls://x:1", server.ws("/"))]).stdin_open().run().code(5);
    let carrier = Towline::serve([
        "ws://127.0.0.1:0/,tls://x:1",
        "echo:",
        "--tls-self-signed",
        "--compress=9",
    ]);
    let ws = Ws::connect_with(&carrier.address(), &extensions(OFFER));
    assert_eq!(ws.header("Sec-WebSocket-Extensions"), None);
}

#[test]
fn bytes_arrive_as_they_were_sent() {
    let bytes = [noise(300_000), b"a".repeat(3 << 20), noise(70_000)].concat();
    let server = Towline::serve(["ws://127.0.0.1:0/", "exec:cat", "--compress=auto"]);
    let proxy = Towline::new().args(["proxy", "127.0.0.1:0", &server.address()]).spawn();
    let through = format!("ws://127.0.0.1:{}/", proxy.port());
    for address in [server.address(), through] {
        let run = Towline::connect([&address, "-v"]).stdin(bytes.clone()).run();
        run.code(0).stdout_bytes(&bytes).stderr_has("compressing, permessage-deflate; server_no");
    }
}

#[test]
fn those_who_break_the_rules_are_told() {
    let server = echo(&["--compress=6"]);
    let hello = Zlib::new().deflate("Hello");
    for (frames, code) in [
        (&[(TEXT | RSV1, &b"\x07\x00"[..])][..], 1007),
        // Not UTF-8, once it is inflated.
        (&[(TEXT | RSV1, &Zlib::new().deflate(b"\xff\xfe"))], 1007),
        (&[(Frame::FIN | Frame::PING | RSV1, b"")], 1002),
        (&[(Frame::FIN | Frame::CLOSE | RSV1, b"")], 1002),
        (&[(TEXT | RSV1 | 0x20, &hello)], 1002),
        (&[(TEXT | 0x10, b"x")], 1002),
        (&[(Frame::TEXT | RSV1, &hello), (Frame::FIN | RSV1, b"")], 1002),
        (&[(Frame::TEXT | RSV1, &hello), (TEXT, b"x")], 1002),
        (&[(Frame::FIN, &hello)], 1002),
    ] {
        let mut ws = offering(&server);
        for (first, payload) in frames {
            ws.frame(*first, payload);
        }
        assert_eq!(ws.until_close(), code, "{frames:x?}");
    }
}

#[test]
fn a_bomb_goes_off_outside() {
    let server = echo(&["--compress=6", "--max-message=1MiB"]);
    let mut zlib = Zlib::new();
    let zeros = vec![0; 1 << 20];
    // After the first of them, all pieces are the same: a kilobyte for each mebibyte.
    let first = [zlib.deflate(&zeros), TAIL.to_vec()].concat();
    let piece = [zlib.deflate(&zeros), TAIL.to_vec()].concat();
    let bomb = [first, piece.repeat(4096)].concat();
    assert!(bomb.len() < 8 << 20, "{} bytes for 4 GiB", bomb.len());
    let before = server.memory("VmHWM");
    for frames in [1, 1000] {
        let mut ws = offering(&server);
        let bytes: Vec<_> = bomb
            .chunks(bomb.len().div_ceil(frames))
            .enumerate()
            .flat_map(|(i, part)| ws.encode(if i == 0 { Frame::BINARY | RSV1 } else { 0 }, part))
            .collect();
        // It need not read it to the end.
        let _ = std::io::Write::write_all(&mut ws.stream, &bytes);
        let close = ws.recv();
        assert_eq!(close.code(), 1009);
        assert!(close.reason().contains("more than the limit of 1048576 bytes"), "{close:?}");
    }
    let grown = server.memory("VmHWM") - before;
    assert!(grown < 16 << 10, "{grown} KiB more");
}

#[test]
fn how_much_a_message_grows_can_be_limited() {
    let zeros = |len: usize| Zlib::new().deflate(vec![0; len]);
    let server = echo(&["--compress=6", "--max-message=2GiB", "--max-inflate=100"]);
    // What is short may grow as it likes, and what is long by what the limit says.
    let hex: String = noise(60_000).iter().map(|byte| format!("{byte:02x}")).collect();
    let short = "a".repeat(64 << 10);
    for said in [&short, &hex] {
        let mut ws = offering(&server);
        ws.frame(TEXT | RSV1, Zlib::new().deflate(said));
        let mut answer = ws.recv();
        while answer.first & Frame::FIN == 0 {
            let more = ws.recv();
            answer.first |= more.first & Frame::FIN;
            answer.payload.extend(more.payload);
        }
        assert!(Zlib::new().inflate(&answer) == *said);
    }
    let before = server.memory("VmHWM");
    for len in [(64 << 10) + 1, 512 << 20] {
        let mut ws = offering(&server);
        let bytes = ws.encode(Frame::BINARY | Frame::FIN | RSV1, &zeros(len));
        // It need not read it to the end.
        let _ = std::io::Write::write_all(&mut ws.stream, &bytes);
        let close = ws.recv();
        assert_eq!(close.code(), 1009);
        assert_eq!(
            close.reason(),
            "a message that inflates to more than 100 times its length (--max-inflate)"
        );
    }
    let grown = server.memory("VmHWM") - before;
    assert!(grown < 16 << 10, "{grown} KiB more");

    // Without the limit, what shrinks as far as anything does is no offence.
    let server = tcp_server(move |tcp| {
        let mut ws = Ws::accept_with(tcp, &extensions("permessage-deflate"));
        ws.frame(TEXT | RSV1, Zlib::new().deflate("a".repeat(1 << 20)));
        ws.until_close();
    });
    let connect = |flags: &[&str]| {
        Towline::connect([&server.ws("/")]).args(flags).args(["--count=1"]).stdin_open().run()
    };
    assert_eq!(connect(&[]).code(0).stdout.len(), (1 << 20) + 1);
    assert_eq!(connect(&["--max-inflate=1032"]).code(0).stdout.len(), (1 << 20) + 1);
    connect(&["--max-inflate=1000"]).code(12).stdout("").stderr_has("--max-inflate");
    connect(&["--max-inflate=0"]).code(2).stderr_has("--max-inflate");
    let run = Towline::new().args(["serve", "tcp://127.0.0.1:0", "echo:", "--max-inflate=9"]).run();
    run.code(2).stderr_has("--max-inflate needs a WebSocket");
}

/// What a run of `bench` came to, in which all messages are compared with what was sent.
fn bench(address: &str, flags: &[&str]) -> Output {
    let run = Towline::new().args(["bench", address, "--verify", "--allow-limited"]);
    run.args(["--warm-up=0s", "--progress=none"]).args(flags).run()
}

#[track_caller]
fn measured(address: &str, flags: &[&str]) -> Value {
    let run = bench(address, &[flags, &["--json"]].concat());
    run.code(0);
    serde_json::from_slice(&run.stdout).unwrap()
}

#[test]
fn bench_compresses() {
    let no_context = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    for (granted, asked, terms) in [
        ("--compress=6", "--compress=9", "permessage-deflate"),
        ("--compress=auto", "--compress=auto", no_context),
        ("--compress=6", "-HSec-WebSocket-Extensions: permessage-deflate", "permessage-deflate"),
    ] {
        let server = echo(&[granted]);
        let said = format!("--payload={{stamp}}{}", " what is said again".repeat(100));
        let load = [asked, "-c3", "--in-flight=4", "-n600", &said];
        let report = measured(&server.address(), &load);
        let counts = &report["counts"];
        assert_eq!([&counts["sent"], &counts["received"]], [600, 600], "{asked}");
        assert_eq!([&counts["corrupt"], &counts["errors"]], [0, 0], "{asked}");
        let payload = counts["bytes_sent"].as_u64().unwrap();
        assert!(payload > 600 * 1900, "{payload} bytes");
        let compression = &report["compression"];
        assert_eq!(compression["agreed"], json!({ terms: 3 }));
        assert_eq!(compression["declined"], 0);
        for direction in ["wire_sent", "wire_received"] {
            let bytes = compression[direction].as_u64().unwrap();
            assert!((600..payload / 5).contains(&bytes), "{direction}: {bytes} bytes");
        }
        let said = asked.split_once(['=', ':']).unwrap().1.trim_start();
        assert_eq!(report["config"]["compress"], said);
    }
}

#[test]
fn a_page_of_bench_says_what_was_agreed_on() {
    let server = echo(&["--compress=auto"]);
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("page.html");
    let html = format!("--html={}", page.display());
    let load = ["--compress=1", "-n100", "--in-flight=1", "--size=1000", &html];
    let run = bench(&server.address(), &load);
    run.code(0).stdout_has("\nCompression  1 connection: permessage-deflate; server_no");
    run.stdout_has("\nOn the wire  ").stdout_has("of CPU a message with compression");
    let page = std::fs::read_to_string(&page).unwrap();
    for said in ["<h2>Compression</h2>", "<th>on the wire</th>", " with compression<"] {
        assert!(page.contains(said), "{said} is not in {page}");
    }
}

#[test]
fn bench_measures_a_server_that_does_without_compression() {
    let server = echo(&[]);
    let load = ["--compress=9", "-c2", "-n100", "--in-flight=2", "--size=1000"];
    let report = measured(&server.address(), &load);
    assert_eq!(report["counts"]["received"], 100);
    assert_eq!(
        report["compression"],
        json!({ "agreed": {}, "declined": 2, "wire_sent": 0, "wire_received": 0 })
    );
    assert_eq!(report["config"]["compress"], "9");
    let run = bench(&server.address(), &load);
    run.code(0).stdout_has("\nCompression  2 connections: not granted by the server\n");
    let text = String::from_utf8_lossy(&run.stdout);
    assert!(!text.contains("On the wire") && !text.contains("with compression"), "{text}");
    // What is not offered is not granted, nor missed.
    let report = measured(&server.address(), &["-n10"]);
    assert_eq!(report.get("compression"), None);
    assert_eq!(report["config"]["compress"], Value::Null);
    let run = bench("tcp://127.0.0.1:1", &["--compress=auto"]);
    run.code(2).stderr_has("--compress: there is no WebSocket");
}

#[test]
fn messages_that_a_server_takes_slowly_are_compressed_to_their_end() {
    let server = echo(&["--compress=1", "--max-message=8MiB"]);
    // Hardly smaller once it is compressed, and more than sockets hold.
    let load = ["--compress=1", "--size=6MiB", "--text", "--in-flight=1", "-n4"];
    let report = measured(&server.address(), &[&load[..], &["--max-message=8MiB"]].concat());
    let counts = &report["counts"];
    assert_eq!([&counts["received"], &counts["lost"], &counts["corrupt"]], [4, 0, 0]);
}

#[test]
fn bench_tells_those_who_break_the_rules() {
    for (payload, flag, code) in [
        (b"\x07\x00".to_vec(), "--compress=6", 1007),
        (Zlib::new().deflate(vec![0; 1 << 20]), "--max-inflate=100", 1009),
    ] {
        let server = tcp_server(move |tcp| {
            let mut ws = Ws::accept_with(tcp, &extensions("permessage-deflate"));
            ws.frame(TEXT | RSV1, &payload);
            assert_eq!(ws.until_close(), code);
        });
        let load = [flag, "--compress=6", "--workload=receive", "-d1s"];
        let report = measured(&server.ws("/"), &load[usize::from(code == 1007)..]);
        let error = &report["errors"][0];
        assert_eq!([&error["cause"], &error["code"]], [&json!("protocol"), &json!(code)]);
    }
}

#[test]
fn a_quiet_peer_takes_no_memory_for_compression() {
    const PEERS: u64 = 100;
    let grown = |flag: &str| {
        let server = echo(&[flag]);
        let said = "something to compress ".repeat(20);
        let meet = || {
            let mut ws = offering(&server);
            let payload = Zlib::new().deflate(&said);
            ws.frame(TEXT | RSV1, payload);
            assert_eq!(Zlib::new().inflate(&ws.recv()), said);
            ws
        };
        let _first: Vec<_> = (0..10).map(|_| meet()).collect();
        let before = server.memory("VmRSS");
        let _peers: Vec<_> = (0..PEERS).map(|_| meet()).collect();
        (server.memory("VmRSS") - before) / PEERS
    };
    let (thrifty, kept) = (grown("--compress=auto"), grown("--compress=6"));
    assert!(thrifty < 40, "{thrifty} KiB a peer");
    assert!((100..500).contains(&kept), "{kept} KiB a peer");
}
