//! towline-ssh(7): machines reached by SSH, the embedded server, tunnels.

use super::page::{Page, Part};

/// The page, which is also `towline help ssh`.
pub(in crate::command) fn page() -> Page {
    let mut parts = Vec::new();
    parts.extend(machines());
    parts.extend(logins());
    parts.extend(host_keys());
    parts.extend(sessions());
    parts.extend(tunnels());
    parts.extend(server());
    parts.extend(rooms());
    parts.extend(firewalls());
    Page {
        name: "towline-ssh",
        section: "7",
        about: "SSH in towline: machines, tunnels and the embedded server",
        parts,
    }
}

fn terms(terms: &[(&str, &str)]) -> Part {
    let owned = terms.iter().map(|(term, meaning)| ((*term).to_owned(), (*meaning).to_owned()));
    Part::Terms(owned.collect())
}

fn machines() -> Vec<Part> {
    vec![
        Part::Section("MACHINES REACHED BY SSH"),
        Part::text(
            "What follows an `ssh:` hop lives on the machine that the hop leads to: its network, \
             its Unix sockets, its programs. Alone, it is the login shell, on a terminal if there \
             is one; a line that begins with `~.` ends it.",
        ),
        terms(&[
            ("ssh://me@box", "The shell."),
            (
                "ssh://box,exec:df -h",
                "A program; the words are quoted for the far shell. Its exit status counts like that of a child.",
            ),
            ("ssh://box,sh:df -h | sort", "A line for the far shell."),
            ("ssh://box,pty:top", "The same on a terminal there."),
            ("ssh://box,tcp://db:5432", "A connection from there."),
            ("ssh://box,unix:/run/docker.sock", "A Unix socket there."),
            (
                "ssh://box,ws://inner:8080/feed",
                "A WebSocket from there; tls:, wss: and ssh: can follow as well.",
            ),
            ("ssh://a,ssh://b,tcp://c:80", "Through a to b, and from there."),
            ("ssh://s,hub:c2", "What the client c2 of a towline server offers there; see below."),
        ]),
        Part::text(
            "Where to listen, `tcp:` and `unix:` after an `ssh:` hop are remote forwards: `towline \
             serve ssh://box,tcp://:8080 tcp://localhost:3000` shows a local server there. When \
             the session is lost it is opened again, and the forward with it; a port that the old \
             session still holds is waited for.",
        ),
    ]
}

fn logins() -> Vec<Part> {
    vec![
        Part::Section("LOGGING IN"),
        Part::text(
            "ssh_config(5) is read as OpenSSH reads it, the user's file before the system's: \
             `Host`, `Match` (not `exec`), `HostName`, `User`, `Port`, `IdentityFile`, \
             `IdentitiesOnly`, `IdentityAgent`, `CertificateFile`, `ProxyJump`, `ProxyCommand`, \
             `UserKnownHostsFile`, `GlobalKnownHostsFile`, `HostKeyAlias`, \
             `StrictHostKeyChecking`, `HashKnownHosts`, `ServerAliveInterval`, \
             `ServerAliveCountMax`, `ConnectTimeout`, `BatchMode`, `Include`. What the address \
             says comes first, then flags, then the files. Other keywords are passed over.",
        ),
        Part::text(
            "Tried are, in this order: certificates and keys of the agent (`SSH_AUTH_SOCK`), key \
             files, keyboard-interactive, the password. Key files may be ed25519, ecdsa or rsa \
             (signing with SHA-2 only), in OpenSSH's or PKCS#8 format; one that others can read is \
             refused. Passphrases and passwords are asked for on the terminal, or read from \
             `--passphrase-file` and `--password-file`: they never stand in an address or a flag. \
             `-v` shows which keys are offered.",
        ),
    ]
}

fn host_keys() -> Vec<Part> {
    vec![
        Part::Section("HOST KEYS"),
        Part::text(
            "known_hosts is read with hashed names, patterns, `[host]:port`, `@cert-authority` and \
             `@revoked`. Without `--host-key-policy`, a host that is not known is asked about on a \
             terminal and refused elsewhere; a key of another type for a known host counts as \
             changed. A changed or revoked key is always refused, with both fingerprints and the \
             line that says otherwise, and ends the run with exit code 13.",
        ),
    ]
}

fn sessions() -> Vec<Part> {
    vec![
        Part::Section("SESSIONS"),
        Part::text(
            "All that goes through one chain of hops shares one session. `--connections` spreads \
             it over several, so that one slow connection does not hold up the others at the TCP \
             level. A server that says nothing is asked for a sign of life every \
             `--ssh-keepalive`; three without an answer end the session, and whatever is open in \
             it fails: a byte stream is reset, never ended as if it were complete.",
        ),
        Part::text(
            "A reader that has the session to itself makes the sender wait, as TCP does. One that \
             shares the session must not hold the others up: what arrives for it is kept, up to a \
             bound of some megabytes; beyond that its channel alone is closed.",
        ),
    ]
}

fn tunnels() -> Vec<Part> {
    vec![
        Part::Section("TUNNELS"),
        Part::text(
            "`towline tunnel` takes OpenSSH's own `-L`, `-R`, `-D`, `-W` and `-J`. Each forward is \
             what `serve` could be told: `-L 5432:db:5432 box` is `serve tcp://:5432 \
             ssh://box,tcp://db:5432`. What it adds is that the session is kept up: when it is \
             lost, open connections are reset, new ones wait up to `--queue-timeout`, and it is \
             opened again with pauses that grow to 10 s, for as long as that takes; an attempt is \
             given up after `--connect-timeout`. A login that \
             is refused ends the run.",
        ),
    ]
}

fn server() -> Vec<Part> {
    vec![
        Part::Section("THE SERVER"),
        Part::text(
            "Where to listen, `ssh:` is a server of its own: no account of the machine is used, no \
             shell is there, nothing is run and no port forwarded but what flags and keys allow. \
             Any SSH client can come, with a public key from `--authorized-keys` or \
             `--authorized-keys-dir`, or with a certificate of `--trusted-user-ca`; there is no \
             other way in. The files are read again when they change, and a key that is taken out \
             ends its live sessions.",
        ),
        Part::text(
            "Each session that a client opens is joined to the target of `serve` like a peer of \
             any other listener. The words of a command choose a `--route`: with `--route \
             /logs=sh:'tail -f /var/log/x'`, `ssh s logs` sees them. On a terminal, lines can be \
             edited.",
        ),
        Part::text(
            "`--allow-open` and `--allow-listen` also take the whole path of a Unix socket, in which \
             `*` stands for a part of one name: with `--allow-listen '/run/peers/*.sock'`, `ssh -R \
             /run/peers/c1.sock:localhost:22 s` has one made. It is for the server's own user \
             alone; a file that nobody listens on makes way, and it is removed at the end.",
        ),
        Part::text(
            "Strangers cannot keep others out: `--login-grace` and `--max-startups` bound those who \
             are logging in, `--max-startups-per-source` those of one address, and an address from \
             which `--max-failures-per-source` connections in a row have ended without a login is \
             let in once a second only. In IPv6 a /64 counts as one address. Clients inside a \
             WebSocket are not counted by address, since they may all come through one proxy; behind \
             a proxy for TCP, give both flags numbers for all its clients.",
        ),
        Part::text("In the keys file, these options count:"),
        terms(&[
            (
                "restrict, port-forwarding, no-port-forwarding",
                "Whether the key may forward at all.",
            ),
            (
                "permitopen=\"HOST:PORT\", permitlisten=\"[HOST:]PORT\"",
                "Where to, and where to listen. `--allow-open` and `--allow-listen` have to allow it as well. A key with such a list has no Unix sockets, unless the list has `*:*`.",
            ),
            ("from=\"PATTERNS\"", "Addresses and networks it may come from."),
            (
                "expiry-time=\"YYYYMMDD[HHMM[SS]][Z]\"",
                "Until when it is good. Without the Z, the earliest time zone counts.",
            ),
            ("command=\"WORDS\"", "The route it gets, whatever it asks for."),
            (
                "environment=\"TOWLINE_NAME=NAME\"",
                "What it is called in a room, in place of the login name.",
            ),
            (
                "cert-authority, principals=\"NAMES\"",
                "An authority whose user certificates are good.",
            ),
        ]),
        Part::text(
            "A key with an option that is not known is refused, and said to be. The host key is \
             made on the first start, in `~/.local/state/towline`, unless `--host-key` names one; \
             its fingerprint is said at every start.",
        ),
    ]
}

fn rooms() -> Vec<Part> {
    vec![
        Part::Section("S AND C1, C2, C3"),
        Part::text(
            "A server S and clients joined to it both ways, by keys. At S, a line goes to all, \
             `@c2 line` to one:",
        ),
        Part::Code("towline serve ssh://0.0.0.0:2222 - --authorized-keys clients".into()),
        Part::text("The file `clients` on S:"),
        Part::Code(
            "restrict,pty,environment=\"TOWLINE_NAME=c1\" ssh-ed25519 AAAA... c1@home\n\
             restrict,pty,environment=\"TOWLINE_NAME=c2\" ssh-ed25519 AAAA... c2@office"
                .into(),
        ),
        Part::text("C1 and C2, with whatever SSH they have:"),
        Part::Code("ssh -p 2222 s.example.com\ntowline connect ssh://s.example.com:2222".into()),
        Part::text(
            "With `hub:NAME` as the target they hear each other. A client that comes back takes \
             over its name from a session of the same key that has not been noticed to be gone. \
             A name in the keys file, and one under which somebody has logged in, is for those \
             who log in, also while they are away; a peer that merely calls itself so gets \
             another. A name that is new in the file is taken from such a peer when the key comes.",
        ),
        Part::text(
            "With `--allow-peers`, clients also reach each other through S: one offers a port of \
             its own under its name, and another jumps to it. `towline serve` and `towline \
             connect` do the same with `ssh://s,tcp://c2:22`. To reach a client that offers one \
             port only, its name is enough: `ssh://s,hub:c2`, or `ssh://s,hub:c2,ssh://me@c2` for \
             a shell. A key that is to offer or reach ports needs `port-forwarding` after \
             `restrict`.",
        ),
        Part::Code(
            "ssh -N -R c2:22:localhost:22 -p 2222 s.example.com\nssh -J s.example.com:2222 c2"
                .into(),
        ),
    ]
}

fn firewalls() -> Vec<Part> {
    vec![
        Part::Section("WHERE ONLY PORT 443 IS OPEN"),
        Part::text("The server, inside a WebSocket, and a client:"),
        Part::Code(
            "towline serve wss://0.0.0.0:443/tunnel,ssh: - --cert cert.pem --key key.pem --authorized-keys clients\n\
             towline connect wss://s.example.com/tunnel,ssh://me@s.example.com"
                .into(),
        ),
        Part::text(
            "Both ends check each other twice: the certificate of the WebSocket and the host key \
             within. A reverse proxy such as nginx can stand in front. A stock client comes in by \
             a ProxyCommand:",
        ),
        Part::Code(
            "ssh -o ProxyCommand='towline connect wss://s.example.com/tunnel --frame raw' me@s.example.com"
                .into(),
        ),
    ]
}
