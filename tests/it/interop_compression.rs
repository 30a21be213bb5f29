//! permessage-deflate with Python's websockets and aiohttp, npm's ws, Chromium and Firefox.

use serde_json::{Value, json};

use crate::support::browser::Page;
use crate::support::chromium::Chromium;
use crate::support::firefox::Firefox;
use crate::support::{Running, Towline, peers};

/// A mock that says everything back, compressed as `level` says.
fn echo(level: &str) -> Running {
    Towline::serve(["ws://127.0.0.1:0/", "echo:", "--compress", level])
}

/// Sends something that shrinks, and returns what was agreed on about it.
#[track_caller]
fn agreed(server: &Running, path: &str, expect: &str) -> Value {
    let said = "what is said again and again ".repeat(1000);
    let address = format!("ws://127.0.0.1:{}{path}", server.port());
    let run = Towline::connect([&*address, "--report", "json", "-v"])
        .args(["-s", &said, "-e", &format!("{expect}{said}"), "-s", &said, "-e"])
        .arg(format!("{expect}{said}"))
        .run();
    run.code(0);
    let line = run.stderr.lines().find(|line| line.starts_with('{')).expect("a report");
    serde_json::from_str::<Value>(line).unwrap()["compression"].clone()
}

#[test]
fn websockets_compresses_with_serve_on_all_terms() {
    for level in ["auto", "1", "9"] {
        let server = echo(level);
        let client = peers::python("websockets_client.py").args(["deflate", &server.address()]);
        client.run().code(0).stderr_is_empty();
    }
}

#[test]
fn ws_compresses_with_serve() {
    for level in ["auto", "6"] {
        let server = echo(level);
        let client = peers::node("ws_client.cjs").arg(server.address()).run();
        client.code(0).stderr_is_empty();
    }
}

#[test]
fn servers_compress_with_connect_and_through_a_proxy() {
    let websockets = peers::python("websockets_server.py").spawn();
    assert_eq!(
        agreed(&websockets, "/echo", "="),
        json!({
            "server_no_context_takeover": false, "client_no_context_takeover": false,
            "server_max_window_bits": 12, "client_max_window_bits": 12,
        })
    );
    let all = json!({
        "server_no_context_takeover": false, "client_no_context_takeover": false,
        "server_max_window_bits": 15, "client_max_window_bits": 15,
    });
    let ws = peers::node("ws_server.cjs").arg("deflate").spawn();
    assert_eq!(agreed(&ws, "", "= text "), all);
    let proxy = Towline::new().args(["proxy", "127.0.0.1:0", &ws.address()]).spawn();
    assert_eq!(agreed(&proxy, "", "= text "), all);
    let aiohttp = peers::python("aiohttp_server.py").spawn();
    assert_eq!(agreed(&aiohttp, "/", "="), all);
}

#[test]
fn servers_compress_with_bench() {
    let websockets = peers::python("websockets_server.py").spawn();
    let path = format!("{}/echo", websockets.address());
    let ws = peers::node("ws_server.cjs").arg("deflate").spawn();
    let terms = "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12";
    for (address, flag, terms) in [
        (path, "--verify", terms),
        // It says more than what it was sent.
        (ws.address(), "--match=stamp", "permessage-deflate"),
    ] {
        let run = Towline::new().args(["bench", &address, "--compress=6", flag, "--json"]);
        let run = run.args(["--warm-up=0s", "--progress=none", "--allow-limited"]);
        let run = run.args(["-c4", "--in-flight=2", "-n400", "--size=3000", "--text"]).run();
        run.code(0);
        let report: Value = serde_json::from_slice(&run.stdout).unwrap();
        let counts = ["sent", "received", "corrupt", "lost", "errors"];
        assert_eq!(counts.map(|it| &report["counts"][it]), [400, 400, 0, 0, 0], "{address}");
        assert_eq!(report["compression"]["agreed"], json!({ terms: 4 }));
    }
}

/// Has a browser that shows the page of a server speak to that, with little and with much effort.
#[track_caller]
fn browser_compresses_with_serve<P: Page>(open: fn(&str) -> P) {
    for level in ["auto", "9"] {
        let server = echo(level);
        let page = open(&format!("http://127.0.0.1:{}/", server.port()));
        let seen = page.run(&format!(
            "
            const ws = new WebSocket('{}');
            await new Promise(resolve => ws.onopen = resolve);
            const said = 'what is said again and again '.repeat(1000);
            const wrong = [];
            for (const message of ['', 'short', said, said, said + said]) {{
                ws.send(message);
                const heard = await new Promise(resolve => ws.onmessage = resolve);
                if (heard.data !== message) wrong.push(message.length);
            }}
            ws.close(1000);
            const close = await new Promise(resolve => ws.onclose = resolve);
            return {{ wrong, granted: ws.extensions.split(';')[0], clean: close.wasClean }};
            ",
            server.address()
        ));
        let want = json!({ "wrong": [], "granted": "permessage-deflate", "clean": true });
        assert_eq!(seen, want);
    }
}

#[test]
fn chromium_compresses_with_serve() {
    browser_compresses_with_serve(|url| Chromium::open(url, "towline: try this WebSocket"));
}

#[test]
fn firefox_compresses_with_serve() {
    browser_compresses_with_serve(Firefox::open_insecure);
}
