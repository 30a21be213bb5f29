use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::reverse_proxy::attacks::{FIELDS, LINES};
use crate::support::{
    ClosedPort, Output, Running, Towline, answer_http, exchange, noise, peers, port, tcp_server,
};

/// A program that nobody here wrote, on a port of its own.
pub(crate) struct Peer {
    pub(crate) url: String,
    dir: TempDir,
    _running: Running,
}

/// nginx with this in its `server`.
#[track_caller]
pub(crate) fn nginx(listen: &str, server: &str) -> Peer {
    peer(|dir, port| {
        let path = dir.display();
        let temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {path}/{name};"))
            .concat();
        // One process, so that its end is the end.
        let conf = format!(
            "daemon off; master_process off; pid {path}/pid; error_log stderr; events {{}}
            http {{
                access_log off; client_max_body_size 0; {temp}
                server {{ listen 127.0.0.1:{port} {listen}; root {path}/www; {server} }}
            }}"
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, conf).unwrap();
        peers::program("nginx").args(["-e", "stderr", "-p"]).arg(dir).arg("-c").arg(file)
    })
}

/// HAProxy with this behind its `bind`, and in its frontend, which may have a backend `out`.
#[track_caller]
pub(crate) fn haproxy(bind: &str, frontend: &str) -> Peer {
    peer(|dir, port| {
        let conf = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n\
             frontend in\n bind 127.0.0.1:{port} {bind}\n {frontend}\n"
        );
        let file = dir.join("haproxy.cfg");
        fs::write(&file, conf).unwrap();
        peers::program("haproxy").args(["-db", "-f"]).arg(file)
    })
}

#[track_caller]
fn peer(start: impl Fn(&Path, u16) -> Towline) -> Peer {
    let (dir, port) = (TempDir::new().unwrap(), ClosedPort::new());
    fs::create_dir(dir.path().join("www")).unwrap();
    let running = peers::daemon(&port, start(dir.path(), port.port));
    Peer { url: format!("http://127.0.0.1:{}", port.port), dir, _running: running }
}

/// A proxy, and its URL.
#[track_caller]
fn proxy(args: &[&str]) -> (Running, String) {
    let running = Towline::new().args(["proxy", "127.0.0.1:0"]).args(args).spawn();
    let url = running.address();
    (running, url)
}

/// What curl says of an URL.
#[track_caller]
fn curl(args: &[&str], url: &str) -> Output {
    Towline::program("curl").args(["-sS", "--max-time", "20"]).args(args).arg(url).run()
}

/// An URL of a peer that has said where it listens, as `ws://...`.
fn aiohttp() -> (Running, String) {
    let server = peers::python("aiohttp_server.py").spawn();
    let url = format!("http://127.0.0.1:{}", server.port());
    (server, url)
}

#[test]
fn bodies_of_every_kind_reach_aiohttp_and_come_back() {
    let (_server, backend) = aiohttp();
    let (_proxy, url) = proxy(&[&backend]);
    let dir = TempDir::new().unwrap();
    for len in [0, 5000, 8 << 20] {
        let file = dir.path().join("body");
        fs::write(&file, noise(len)).unwrap();
        let data = format!("@{}", file.display());
        // Of more than a megabyte, curl asks first whether it may send it (Expect: 100-continue).
        for how in [&[][..], &["-H", "Transfer-Encoding: chunked"], &["--http1.0"]] {
            let args = [&["--data-binary", &*data][..], how].concat();
            let run = curl(&args, &format!("{url}/mirror"));
            run.code(0).stdout_bytes(noise(len)).stderr_is_empty();
        }
    }
    let big = format!("@{}", dir.path().join("body").display());
    let run = curl(&["--data-binary", &big, "-w", " %{http_code}"], &format!("{url}/refuse"));
    run.code(0).stdout("too much 413");
    curl(&["-I"], &format!("{url}/private")).code(0).stdout_has("HTTP/1.1 401 Unauthorized");
    let run = curl(&["-w", "%{http_code} %{redirect_url}"], &format!("{url}/moved"));
    run.code(0).stdout_has(&format!("302 {url}/private"));
}

#[test]
fn what_nginx_serves_comes_through_as_it_is() {
    let server = "if_modified_since before; location /empty { return 204; } location /gone { return 410 gone; }";
    let nginx = nginx("", server);
    let content = noise(4 << 20);
    fs::write(nginx.dir.path().join("www/file"), &content).unwrap();
    let (_proxy, url) = proxy(&[&nginx.url]);
    let file = format!("{url}/file");
    curl(&[], &file).code(0).stdout_bytes(&content);
    curl(&["--http1.0"], &file).code(0).stdout_bytes(&content);
    curl(&["-r", "100-199"], &file).code(0).stdout_bytes(&content[100..200]);
    let direct = curl(&["-I"], &format!("{}/file", nginx.url));
    let through = curl(&["-I"], &file);
    let stable = |run: &Output| {
        let text = String::from_utf8(run.stdout.clone()).unwrap();
        let of_the_message =
            |line: &&str| !line.starts_with("Date:") && !line.starts_with("Connection:");
        text.lines().filter(of_the_message).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(stable(&direct), stable(&through));
    let status = ["-o", "/dev/null", "-w", "%{http_code} %{size_download}"];
    for (path, flags, want) in [
        ("/empty", &[][..], "204 0"),
        ("/gone", &[], "410 4"),
        ("/file", &["-H", "If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT"], "304 0"),
        ("/file", &["-I"], "200 0"),
    ] {
        let run = curl(&[&status[..], flags].concat(), &format!("{url}{path}"));
        run.code(0).stdout(want);
    }
    // Many requests over one connection on either side.
    let mut curl = Towline::program("curl").args(["-sS", "-w", "%{num_connects} "]);
    for _ in 0..20 {
        curl = curl.args(["-o", "/dev/null", &*file]);
    }
    let run = curl.run();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "1 ".to_owned() + &"0 ".repeat(19));
}

#[test]
fn nginx_and_haproxy_read_our_proxy_headers() {
    let nginx = nginx("proxy_protocol", "location / { return 200 $proxy_protocol_addr; }");
    let says = "http-request return status 200 content-type text/plain lf-string %[src]";
    let haproxy = haproxy("accept-proxy", says);
    for backend in [&nginx.url, &haproxy.url] {
        for version in ["v1", "v2"] {
            let flag = format!("--send-proxy={version}");
            let (_proxy, url) = proxy(&[backend, &flag, "--trust=127.0.0.1"]);
            for who in ["192.0.2.7", "2001:db8::7"] {
                let said = curl(&["-H", &format!("X-Forwarded-For: {who}")], &url);
                said.code(0).stdout(who);
            }
            curl(&[], &url).code(0).stdout("127.0.0.1");
        }
    }
}

#[test]
fn we_read_the_proxy_headers_of_haproxy_and_curl() {
    let (_server, backend) = aiohttp();
    let (_proxy, url) = proxy(&[&backend, "--proxy-protocol"]);
    let asked_by = ["-d", "hello", "-w", " %header{x-asked-by}"];
    let direct = [&asked_by[..], &["--haproxy-protocol"]].concat();
    curl(&direct, &format!("{url}/mirror")).code(0).stdout("hello 127.0.0.1");
    for how in ["send-proxy", "send-proxy-v2"] {
        let to = url.trim_start_matches("http://");
        let out = format!(
            "http-request set-src hdr(x-source)\n default_backend out\n\
             backend out\n server towline {to} {how}"
        );
        let front = haproxy("", &out);
        for who in ["192.0.2.7", "2001:db8::7"] {
            let source = format!("X-Source: {who}");
            let args = [&asked_by[..], &["-H", &source]].concat();
            let run = curl(&args, &format!("{}/mirror", front.url));
            run.code(0).stdout(&format!("hello {who}"));
        }
    }
}

#[test]
fn websockets_and_posts_go_through_chains_of_proxies() {
    let (_server, aiohttp) = aiohttp();
    let pass = |to: &str| {
        format!(
            "location / {{ proxy_pass {to}; proxy_http_version 1.1; proxy_set_header Host $host;
             proxy_set_header X-Forwarded-For $remote_addr;
             proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $up;
             proxy_request_buffering off; }}
             set $up close; if ($http_upgrade) {{ set $up upgrade; }}"
        )
    };
    let out = |to: &str| {
        let to = to.trim_start_matches("http://");
        format!("option forwardfor\n default_backend out\nbackend out\n server s {to}")
    };
    let behind_nginx = nginx("", &pass(&aiohttp));
    let behind_haproxy = haproxy("", &out(&aiohttp));
    let (_a, via_nginx) = proxy(&[&behind_nginx.url]);
    let (_b, via_haproxy) = proxy(&[&behind_haproxy.url]);
    let (_c, straight) = proxy(&[&aiohttp, "--trust=127.0.0.1"]);
    let (before_nginx, before_haproxy) =
        (nginx("", &pass(&straight)), haproxy("", &out(&straight)));
    for url in [&via_nginx, &via_haproxy, &before_nginx.url, &before_haproxy.url] {
        let run = curl(&["-d", "hello", "-w", " %header{x-asked-by}"], &format!("{url}/mirror"));
        run.code(0).stdout("hello 127.0.0.1");
        let ws = url.replace("http://", "ws://");
        let run = Towline::connect([&ws, "--count=1"]).stdin("hello\n").run();
        run.code(0).stdout("hello\n");
    }
}

/// Whatever nginx or HAProxy refuse as ambiguous is not let through here either.
#[test]
fn nobody_refuses_what_we_pass_on() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let backend = tcp_server(move |stream| answer_http(stream, ok));
    let to = format!("127.0.0.1:{}", backend.port());
    let nginx = nginx("", &format!("location / {{ proxy_pass http://{to}; }}"));
    let haproxy = haproxy("", &format!("default_backend out\nbackend out\n server s {to}"));
    let (ours, _) = proxy(&[&format!("http://{to}")]);
    let status = |port: u16, request: &str| -> String {
        let answer = exchange(port, request);
        answer.split(' ').nth(1).unwrap_or("none").to_owned()
    };
    let fields = FIELDS.iter().map(|(_, fields)| format!("POST / HTTP/1.1\r\n{fields}"));
    let lines = LINES.iter().map(|(_, line)| format!("{line}\r\nHost: x\r\n"));
    let good = [
        "GET /a?b=c HTTP/1.1\r\nHost: x:80\r\n",
        "GET http://x/a HTTP/1.1\r\nHost: x\r\n",
        "HEAD / HTTP/1.1\r\nHost: [::1]\r\nX:\r\nY:\ta \r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n",
    ];
    let mut refused = [0; 2];
    for head in fields.chain(lines).chain(good.map(str::to_owned)) {
        let request = format!("{head}Connection: close\r\n\r\n0\r\n\r\n");
        let mine = status(ours.port(), &request);
        let theirs = [&nginx, &haproxy].map(|peer| status(port(&peer.url), &request));
        for (count, their) in refused.iter_mut().zip(&theirs) {
            *count += usize::from(their != "200");
        }
        let all_pass = theirs.iter().all(|it| it == "200");
        assert!(mine != "200" || all_pass, "{head:?}: we pass it on, they say {theirs:?}");
        assert!(mine == "200" || !good.contains(&&*head), "{head:?}: we say {mine}");
    }
    assert!(refused.iter().all(|count| *count > 20), "{refused:?}: they are not asked");
}
