//! The examples of `--help` and of the manual. A test parses each of them.

/// A command line, and what it is for.
#[derive(Clone, Copy)]
pub struct Example {
    /// One line, without a full stop.
    pub what: &'static str,
    /// As typed into a POSIX shell.
    pub line: &'static str,
}

/// Of `towline connect`.
pub const CONNECT: &[Example] = &[
    Example {
        what: "Talk to a server from a terminal",
        line: "towline connect ws://127.0.0.1:8010/",
    },
    Example {
        what: "Ask one thing in a pipeline; the late answer is not lost",
        line: r#"echo '{"id":1}' | towline connect ws://127.0.0.1:8010/ --count 1"#,
    },
    Example {
        what: "Check a service in a CI job; the exit code says what failed",
        line: "towline connect wss://api.example.com/v1 -s hello --within 3s -e world --close",
    },
    Example {
        what: "Wait until a service is up, then go on",
        line: "towline connect :8080/health --wait-ready 60s -s ping -e =pong",
    },
    Example {
        what: "A request without a token must be refused",
        line: "towline connect wss://api.example.com/v1 --expect-status 401",
    },
    Example {
        what: "Listen for ever and keep what comes, with times and types",
        line: "towline connect wss://stream.example.com/ --reconnect --frame json </dev/null >>log.ndjson",
    },
    Example {
        what: "Carry SSH inside a WebSocket",
        line: "ssh -o ProxyCommand='towline connect wss://edge.example.com/ssh --frame raw' me@host",
    },
];

/// Of `towline bench`.
pub const BENCH: &[Example] = &[
    Example {
        what: "1,000 messages a second for ten seconds over one connection",
        line: "towline bench ws://127.0.0.1:8010/",
    },
    Example {
        what: "5,000 messages a second over 200 connections, for a minute",
        line: "towline bench ws://127.0.0.1:8010/ --rate 5k -c 200 -d 60s",
    },
    Example {
        what: "JSON requests whose answers carry their number",
        line: r#"towline bench wss://api.example.com/v1 --payload '{"id":{seq},"op":"ping"}' --match json:/id"#,
    },
    Example {
        what: "As many messages as will go through, which says nothing of latency under load",
        line: "towline bench ws://127.0.0.1:8010/ -c 100 --in-flight 64",
    },
    Example {
        what: "How fast what one connection says comes to 500 others",
        line: "towline bench ws://127.0.0.1:8010/room --workload fan-out -c 500 --rate 20",
    },
    Example {
        what: "Hold 15,000 idle connections for ten minutes",
        line: "towline bench ws://127.0.0.1:8010/ --soak -c 15000 -d 10m",
    },
    Example {
        what: "Fail a CI job if 1 % of the answers take more than 50 ms, or if any is lost",
        line: "towline bench ws://127.0.0.1:8010/ --gate 'p99<50ms' --gate lost=0 --html report.html",
    },
    Example {
        what: "What has changed since the last release, noise apart",
        line: "towline bench compare last.json this.json --html changes.html",
    },
];

/// Of `towline proxy`.
pub const PROXY: &[Example] = &[
    Example {
        what: "Balance WebSockets and plain HTTP between two servers",
        line: "towline proxy :8080 ws://127.0.0.1:9000 ws://127.0.0.1:9001",
    },
    Example {
        what: "Put TLS in front of a local server",
        line: "towline proxy https://0.0.0.0:443 127.0.0.1:3000 --cert cert.pem --key key.pem",
    },
    Example {
        what: "Reach a server that only the bastion can reach",
        line: "towline proxy :8080 ssh://bastion,ws://inner:9000",
    },
    Example {
        what: "Give one path a server of its own",
        line: "towline proxy :8080 ws://a:9000 --route 'path=/chat/* -> ws://b:9000 ws://c:9000'",
    },
    Example {
        what: "Take it all from a file, and follow the file",
        line: "towline proxy --config proxy.toml",
    },
];

/// A file for `--config` of `towline proxy`. A test has it checked.
pub const PROXY_CONFIG: &str = r#"listen = "https://0.0.0.0:443"
cert = ["example.pem", "api.pem"]
key = ["example.key", "api.key"]
backend = ["ws://10.0.0.1:9000", "ws://10.0.0.2:9000*3"]
http-timeout = "30s"
set-header = ["X-Edge: 1"]

[[route]]
host = ["api.example.com", "api.example.org"]
path = "/v2/*"
strip = "/v2"
backend = "http://10.0.0.3:8080"

[[route]]
subprotocol = "graphql-ws"
backend = "unix:/run/graphql.sock"
"#;

/// Of `towline tunnel`.
pub const TUNNEL: &[Example] = &[
    Example {
        what: "Reach a database that only the bastion can reach",
        line: "towline tunnel -L 5432:db.internal:5432 me@bastion",
    },
    Example {
        what: "Show a local web server on the far side",
        line: "towline tunnel -R 8080:localhost:3000 me@bastion",
    },
    Example {
        what: "Browse as if from the far side, over the one port that is open",
        line: "towline tunnel -D 1080 wss://edge.example.com/tunnel,ssh://me@bastion",
    },
    Example {
        what: "The same for colleagues, who have to log in and may go to some hosts only",
        line: "towline tunnel -D 0.0.0.0:1080 --socks-auth @login --allow '*.corp.example:443' me@bastion",
    },
    Example {
        what: "Be the ProxyCommand of ssh, git or rsync",
        line: "ssh -o ProxyCommand='towline tunnel -W %h:%p me@bastion' inner.example.com",
    },
];

/// Of `towline serve`.
pub const SERVE: &[Example] = &[
    Example {
        what: "A server that answers what it is told, with a page to try it in a browser",
        line: "towline serve :8010 'echo:Server received from client: '",
    },
    Example {
        what: "This terminal as the server: every line goes to every peer",
        line: "towline serve :8010",
    },
    Example { what: "A chat room for browsers", line: "towline serve :8010 hub:chat" },
    Example {
        what: "A TCP service behind a WebSocket",
        line: "towline serve ws://127.0.0.1:8022/ssh tcp://127.0.0.1:22",
    },
    Example {
        what: "A program for each peer; its exit status becomes the close code",
        line: "towline serve :9001 exec:./greet.py",
    },
    Example {
        what: "This terminal as the server of whoever has a key: ssh -p 2222 anna@host",
        line: "towline serve ssh://0.0.0.0:2222 - --authorized-keys ~/.ssh/authorized_keys",
    },
    Example {
        what: "One port for everything: SSH, secure WebSockets and plain HTTP",
        line: "towline serve any://0.0.0.0:443 hub:chat --cert cert.pem --key key.pem --authorized-keys keys",
    },
    Example {
        what: "A mock for tests of a front end: two answers, then a failure",
        line: r#"towline serve :0 echo: --reply '{"ok":true}' --close-after 2:4001:quota --announce json"#,
    },
];

/// The examples of a verb, as they stand at the end of its `--help`.
pub fn text(examples: &[Example]) -> String {
    let mut text = String::from("Examples:\n");
    for (i, example) in examples.iter().enumerate() {
        let gap = if i == 0 { "" } else { "\n" };
        text += &format!("{gap}  {}:\n      {}\n", example.what, example.line);
    }
    text.truncate(text.trim_end().len());
    text
}
