//! towline-addresses(7): what every verb has in common.

use crate::cli;
use crate::endpoint::Endpoint;
use crate::framing::Framing;

use super::page::{self, Page, Part};

/// The page, which is also `towline help addresses`.
pub(in crate::command) fn page() -> Page {
    let mut parts = Vec::new();
    parts.extend(grammar());
    parts.extend(schemes());
    parts.extend(chains());
    parts.extend(frames());
    parts.extend(ends());
    parts.extend(streams());
    parts.extend(compression());
    parts.extend(programs());
    parts.extend(proxies());
    parts.extend(one_port());
    parts.extend(http2());
    parts.extend(tls());
    parts.extend(web_sites());
    parts.extend(exits());
    Page {
        name: "towline-addresses",
        section: "7",
        about: "addresses, frames and ends of streams in towline",
        parts,
    }
}

fn grammar() -> Vec<Part> {
    vec![
        Part::Section("ADDRESSES"),
        Part::text(
            "Whatever can be joined is written as one address, which is one hop or several, each \
             reached through the one before it:",
        ),
        Part::Code(
            "address = hop *( \",\" hop )\n\
             hop     = scheme \":\" rest / \"-\" / [host] \":\" port [\"/\" path]"
                .into(),
        ),
        Part::text(
            "A comma separates hops only where a known scheme and its colon follow; any other \
             comma belongs to the hop. An address does not say whether to listen or to connect: \
             the verb does. `towline serve` listens on all of its addresses but the last, every \
             other address is connected to.",
        ),
        Part::text(
            "A bare `host:port/path` is `ws://host:port/path`. A host that is left out is the \
             loopback; to listen on every interface write `0.0.0.0` or `[::]`. Port 0 is any free \
             port, and the line `listening on ...` says which.",
        ),
    ]
}

fn schemes() -> Vec<Part> {
    let terms = Endpoint::SCHEMES.iter().map(|scheme| {
        let place = match (scheme.listens, scheme.connects) {
            (true, true) => " Connects and listens.",
            (true, false) if !scheme.carries => " Listens only.",
            (true, false) => " Listens; to connect, another hop has to follow.",
            (false, true) => "",
            (false, false) => " Another hop has to follow.",
        };
        (scheme.usage.to_owned(), format!("{}.{place}", capital(scheme.help)))
    });
    vec![Part::Section("SCHEMES"), Part::Terms(terms.collect())]
}

fn chains() -> Vec<Part> {
    vec![
        Part::Section("CHAINS"),
        Part::text("A chain reads from left to right, from here outward:"),
        Part::Code(
            "http://proxy:3128,wss://api/v1    a WebSocket through a company's proxy\n\
             socks5://127.0.0.1:1080,tcp://db:5432\n\
             \x20                                 TCP through a SOCKS proxy\n\
             unix:/run/app.sock,ws://app/feed  a WebSocket over a Unix socket\n\
             exec:ssh host nc db 80,ws://db/   a WebSocket over a program's pipes"
                .into(),
        ),
        Part::text(
            "The same chains listen: `serve unix:/run/app.sock,ws://app/ echo:` is a WebSocket \
             server on a Unix socket. A chain that makes no sense is refused by the name of the \
             hop, before anything is opened.",
        ),
    ]
}

fn frames() -> Vec<Part> {
    let terms = cli::values::<Framing>().into_iter().map(|(name, help)| (name, format!("{help}.")));
    vec![
        Part::Section("FRAMES"),
        Part::text(
            "WebSockets and hubs deal in messages, all other ends in bytes. Where messages meet \
             bytes, `--frame` says where one message ends:",
        ),
        Part::Terms(terms.collect()),
        Part::text(
            "`lines` is the default of a console, a file, a hub and a program on pipes, `raw` that \
             of a socket and a pseudo terminal. One message in is one unit out: nothing is split, merged or rewritten \
             because of the size of a buffer, and a message over `--max-message` is refused with \
             a Close 1009, never cut.",
        ),
        Part::text(
            "In `lines` one newline is taken off (LF or CR LF), an empty line is an empty message, \
             and a last line without a newline is sent as well. Text is sent as text, and bytes \
             that are not UTF-8 as binary, unless `--text` or `--binary` is given.",
        ),
        Part::text("In `json` every message is one line, the same in and out:"),
        Part::Code(
            "{\"ts\":1.234567,\"from\":\"c1\",\"type\":\"text\",\"data\":\"hello\"}\n\
             {\"ts\":1.300000,\"type\":\"binary\",\"b64\":\"AAEC/w==\"}\n\
             {\"ts\":2.000000,\"type\":\"close\",\"code\":1000,\"reason\":\"bye\"}"
                .into(),
        ),
        Part::text(
            "Only `type` and the payload are needed in a line that is to be sent. At the console \
             of `serve`, `to` names the one peer that a message is for, and a `close` sends that \
             peer away. A line that is malformed is warned of and skipped there; it ends \
             `connect`.",
        ),
    ]
}

fn ends() -> Vec<Part> {
    vec![
        Part::Section("ENDS OF STREAMS"),
        Part::text(
            "Bytes to bytes: when one direction ends, that end is passed on (a half-close), and \
             the other direction goes on. The join ends when both have ended.",
        ),
        Part::text(
            "A WebSocket has no half-close. When the end that asked (stdin, or the accepted peer) \
             has said all it had to say, towline does not close: it delivers what comes until the \
             peer closes, or until nothing has come for `--linger` (1s), and then sends a Close \
             1000 and waits up to 2s for the answer. `--linger 0` closes at once, `--linger inf` \
             never. When the end that was asked (the second address, the target) is finished, \
             there is nothing to wait for, and a Close 1000 follows its last message.",
        ),
        Part::text(
            "A stdin that ends without a single byte, as in a cron job or with `</dev/null`, is \
             no end: the run only receives.",
        ),
        Part::text(
            "A Close from the peer is answered, what came before it is delivered, and the run \
             ends at once, whatever stdin does. A connection that is lost without a Close is a \
             failure, and on a byte stream it is passed on as a reset, not as an end, so that \
             half a transfer never looks like a whole one.",
        ),
        Part::text("towline sends these close codes:"),
        Part::Terms(
            [
                ("1000", "The other end of the join has ended well; a child exited with 0."),
                ("1001", "towline was told to stop (SIGINT, SIGTERM)."),
                ("1002", "The peer broke the protocol."),
                ("1007", "A text message that is not UTF-8."),
                ("1009", "A message over `--max-message`."),
                ("1011", "The other end failed; the reason says how, as `exit 3` of a child."),
                ("1013", "A peer of a hub that reads too slowly, with `--slow disconnect`."),
            ]
            .map(|(code, meaning)| (code.to_owned(), meaning.to_owned()))
            .into(),
        ),
        Part::text(
            "Between two WebSockets the code and the reason of a Close are passed on as they are. \
             1005, 1006 and 1015 never go over the wire.",
        ),
    ]
}

fn streams() -> Vec<Part> {
    vec![
        Part::Section("BYTE STREAMS OVER WEBSOCKETS"),
        Part::text(
            "Two towline ends that carry a byte stream over a WebSocket agree on the subprotocol \
             `towline.v1`: payload travels in binary messages, and an empty binary message ends \
             its direction, so that a half-close survives from end to end.",
        ),
        Part::text(
            "A client offers `towline.v0, towline.v1` where it carries bytes: the other end of its \
             join has no messages, and there is no `--subprotocol`, `--text` or `--binary` and no \
             `--frame` other than raw. A server grants `towline.v1` where its target is a byte \
             stream. `towline.v0` stands for plain messages, so that a foreign server that grants \
             whatever is offered first grants those; that a peer understands the empty message \
             is never assumed.",
        ),
    ]
}

fn compression() -> Vec<Part> {
    vec![
        Part::Section("COMPRESSION"),
        Part::text(
            "WebSocket messages are compressed (permessage-deflate, RFC 7692) where both ends agree. \
             `connect` offers it, unless there is `--compress off`; `serve` grants it, and offers it \
             to a target, with `--compress auto` or a level. An offer of your own, as in `-H \
             'Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10'`, takes the \
             place of ours. `-v` and `--report json` say what was agreed on, `--expect-extension` \
             checks it.",
        ),
        Part::Terms(
            [
                (
                    "--compress auto",
                    "As `connect`: quickly (level 1), and as the server likes it. As `serve`: so that \
                     messages do not refer to each other, in both directions \
                     (`server_no_context_takeover`, `client_no_context_takeover`). Between messages, \
                     a peer takes no memory for it then; in one that comes in pieces, 60 KiB.",
                ),
                (
                    "--compress 1 ... 9",
                    "At that level of zlib's. Messages may refer to those before them, unless the \
                     peer wants otherwise: short ones that are alike shrink to a few bytes. A peer \
                     of `serve` takes up to 400 KiB for it: 40 KiB for what it compresses itself, the \
                     rest for what is compressed for it.",
                ),
            ]
            .map(|(term, meaning)| (term.to_owned(), meaning.to_owned()))
            .into(),
        ),
        Part::text(
            "`--max-message` limits a message as it is once it is inflated. One that is longer is \
             answered with 1009 when it gets there, and no more than that is held of it; but a peer \
             gets there with a thousandth of it on the wire. `--max-inflate` refuses those that grow so \
             much: with `--max-inflate 100`, what is longer than 64 KiB and than 100 times what has come \
             of it. What cannot be inflated is answered with 1007.",
        ),
        Part::text(
            "Messages of less than 64 bytes, or 256 where they do not refer to each other, and those \
             that would not shrink, are sent as they are; so are all where a peer wants a window of 256 bytes (`..._max_window_bits=8`), which \
             zlib does not have. A WebSocket that another hop stands on (`wss://edge,ssh://box`) is \
             not compressed: what is encrypted does not shrink. A hub compresses what is said for each \
             of its peers anew. `proxy` leaves compression to the \
             two ends, `bench` does it as `connect`, though not by default, and `tunnel` not at all.",
        ),
        Part::text(
            "How far a message shrinks tells something of what is in it, also to who sees it \
             encrypted. Do not compress where a stranger can have his own words sent beside a \
             secret.",
        ),
    ]
}

fn programs() -> Vec<Part> {
    vec![
        Part::Section("PROGRAMS"),
        Part::text(
            "`exec:` runs a program with the words that follow, quoted as in a shell but without \
             one; `sh:` and `pty:` give the line to /bin/sh. Each peer of `serve` has a child of \
             its own, at most `--max-children` at once. Its stderr is passed on with its name in \
             front, its exit status becomes the Close code (0 is 1000, otherwise 1011 and `exit \
             N`), and in `connect` exit code 14.",
        ),
        Part::text(
            "A half-close closes the child's stdin. A child that is no longer wanted is given \
             `--stop-grace` after each of: end of input, SIGHUP, SIGTERM; then comes SIGKILL. The \
             signals go to its process group, so that they reach what it has started. Being in a \
             group of its own, a child of exec: or sh: cannot ask for a password on the terminal.",
        ),
        Part::text(
            "For a peer of `serve` the environment is that of CGI/1.1 (RFC 3875): REMOTE_ADDR, \
             REMOTE_PORT, REQUEST_URI, PATH_INFO, QUERY_STRING, SERVER_NAME, HTTP_* for the \
             headers of the handshake, but not Authorization and Proxy, HTTPS for TLS, \
             REMOTE_USER after `--basic-auth`, and TOWLINE_PEER.",
        ),
    ]
}

fn proxies() -> Vec<Part> {
    vec![
        Part::Section("PROXIES"),
        Part::text(
            "`socks5:` and `http:` in front of another hop dial through a proxy, which also \
             resolves the name. A login that is refused is exit code 13; a target that the proxy \
             cannot reach or resolve is 4, and says that the proxy said so.",
        ),
        Part::text(
            "A WebSocket that is dialled from here uses the environment, unless `--no-proxy`: \
             ws_proxy or wss_proxy, then http_proxy or https_proxy, then all_proxy, each in lower \
             case before upper case; no_proxy names hosts, domains, addresses and networks that \
             are dialled directly. The loopback always is.",
        ),
        Part::text(
            "As a listener, a proxy joins each peer to the target; `tcp:` alone is the place that \
             the peer asked for, and the default where there is no target. A login in the address \
             is then asked for. A listener of `socks:` takes SOCKS5, SOCKS4, SOCKS4a and HTTP \
             (CONNECT), told apart by the first byte; where a login is asked for, SOCKS4 is \
             refused, since it has none.",
        ),
    ]
}

fn one_port() -> Vec<Part> {
    vec![
        Part::Section("ONE PORT FOR EVERYTHING"),
        Part::text(
            "A listener of `any:` looks at the first bytes of each peer, within \
             `--handshake-timeout`. An HTTP method begins a WebSocket or a plain request, at any \
             path, as for `ws:`. TLS is spoken where there is a certificate (`--cert` or \
             `--tls-self-signed`), and inside it the same choice is made again, unless ALPN says \
             http/1.1 or h2. SSH is served where there are keys (`--authorized-keys` and its kin). \
             Whatever else comes is closed at once. With `--client-ca`, HTTP is answered over TLS \
             only.",
        ),
        Part::text(
            "OpenSSH speaks first, but an SSH client may wait for the server to do so. Where SSH \
             is served, a peer that has said nothing for a second is therefore greeted by SSH; a \
             browser that opens a connection ahead of need does better over TLS.",
        ),
    ]
}

fn http2() -> Vec<Part> {
    vec![
        Part::Section("HTTP/2"),
        Part::text(
            "A listener of `ws:`, `wss:` or `any:`, and every one of `proxy`, speaks HTTP/2 as well \
             as HTTP/1.1: over TLS where ALPN agrees on h2, which `--alpn http/1.1` keeps out, and \
             without TLS where a client begins with it. Such a connection brings plain requests and up to 128 \
             WebSockets at a time (RFC 8441). Each of them is a peer of its own, among \
             `--max-peers`, and one that is not read from stops no other. A connection with \
             nothing on it is ended after `--handshake-timeout`. Where another handshake follows \
             inside the WebSocket, as in `wss://:443,ssh:`, only HTTP/1.1 is spoken. `proxy` asks \
             backends over HTTP/1.1, with an upgrade and a key of its own for each WebSocket.",
        ),
        Part::text(
            "With `--http2`, WebSockets are opened so: by ALPN over TLS, and without TLS at once. \
             Those to one host and port share a connection, as many as the server takes; one that \
             goes through a proxy or another hop has a connection of its own. The answer that \
             opens a WebSocket has the status 200 there, not 101. A server that does not speak \
             HTTP/2, or takes no WebSockets over it, is said to be one, and not asked again over \
             HTTP/1.1.",
        ),
    ]
}

fn tls() -> Vec<Part> {
    vec![
        Part::Section("TLS"),
        Part::text(
            "Certificates are checked against the system's authorities (SSL_CERT_FILE and \
             SSL_CERT_DIR are honoured), or those of `--ca` alone. `--pin` takes the place of all \
             other checks: that very certificate is accepted, whatever its signer, its name and \
             its dates, and no other. `--insecure` accepts any and says so. SSLKEYLOGFILE names a \
             file for the keys of the sessions.",
        ),
        Part::text(
            "An end without close_notify is a lost connection (exit code 11), not the end of the \
             data. The files of `--cert` and `--key` are read again when they change; a broken \
             pair is said, and the old one stays in use.",
        ),
    ]
}

fn web_sites() -> Vec<Part> {
    vec![
        Part::Section("BROWSERS"),
        Part::text(
            "A page of any web site may try to open a WebSocket to a server on your machine. \
             `echo:`, `null:` and `hub:` let it. For all other targets the Origin of a browser \
             has to be the host it connects to; `--allow-origin` lists others, and is then the \
             whole list for every target. Peers that send no Origin are no browsers, and are not \
             concerned.",
        ),
        Part::text(
            "A site can also make its own name resolve to 127.0.0.1, and then counts for a browser \
             as the server it finds there. A loopback listener therefore shows the files of \
             `--static` and its /metrics, and takes a page for its own, only where the Host is \
             localhost, an IP address, or a name in its address, in `--allow-origin` or in \
             `--allow-host`. The last is for a reverse proxy on the same machine that passes the \
             Host on. Files and figures for which a login is asked are not concerned.",
        ),
    ]
}

fn exits() -> Vec<Part> {
    vec![
        Part::Section("EXIT STATUS"),
        page::exit_codes(),
        Part::text(
            "A reader of stdout that goes away (`| head -1`) is a clean end. The exit code is \
             never 0 if the connection was not made. `serve` that has ended in order after SIGTERM \
             exits with 0, since that is how a service is stopped.",
        ),
        Part::Section("SEE ALSO"),
        Part::text("towline(1), towline-connect(1), towline-serve(1)"),
    ]
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().chain(chars).collect()).unwrap_or_default()
}
