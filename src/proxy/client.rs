//! Who asked: the client itself, as far as those who speak for it are believed.

use std::net::{IpAddr, SocketAddr};

use crate::http::forwarded::{self, Word};
use crate::http::{Fields, Request};
use crate::network::{self, Trust};

/// The headers that say it; nobody but us says them to a backend.
pub(super) const OURS: [&str; 6] = [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Real-IP",
];

/// Who asked, and what for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Client {
    /// The client, and then the proxies it came through, all of which are trusted. Empty where a
    /// Unix socket tells nothing.
    chain: Vec<IpAddr>,
    host: Option<String>,
    proto: String,
}

impl Client {
    /// One who has sent nothing yet.
    pub(super) fn at(from: Option<IpAddr>) -> Self {
        Self { chain: from.into_iter().collect(), ..Self::default() }
    }

    /// What is known of one who sent a request.
    pub(super) fn of(request: &Request, from: Option<IpAddr>, tls: bool, trust: &[Trust]) -> Self {
        let trusts = |address| trust.iter().any(|it| it.covers(address));
        let fields = &request.fields;
        let mut client = Self {
            host: fields.get("Host").map(str::to_owned),
            proto: if tls { "https" } else { "http" }.to_owned(),
            ..Self::at(from)
        };
        if !trusts(from) {
            return client;
        }
        // What stands left of the first stranger was said by nobody who is trusted.
        for word in said(fields).into_iter().rev() {
            let Some(node) = word.node else { break };
            client.chain.insert(0, node);
            client.host = word.host.or(client.host);
            client.proto = word.proto.filter(|it| is_scheme(it)).unwrap_or(client.proto);
            if !trusts(Some(node)) {
                break;
            }
        }
        let one = |name| fields.get(name).filter(|_| fields.all(name).count() == 1);
        if let Some(host) = one("X-Forwarded-Host").filter(|it| super::head::is_authority(it)) {
            client.host = Some(host.to_owned());
        }
        if let Some(proto) = one("X-Forwarded-Proto").map(str::to_ascii_lowercase)
            && is_scheme(&proto)
        {
            client.proto = proto;
        }
        client
    }

    /// Its address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.chain.first().copied()
    }

    /// Whether TLS protects its side of the way.
    pub(super) fn is_secure(&self) -> bool {
        matches!(&*self.proto, "https" | "wss")
    }

    /// Tells a backend.
    pub(super) fn tell(&self, fields: &mut Fields) {
        let chain: Vec<_> = self.chain.iter().map(|it| network::text(*it)).collect();
        if let Some(address) = chain.first() {
            fields.push("X-Forwarded-For", chain.join(", "));
            fields.push("X-Real-IP", address);
        }
        if let Some(host) = &self.host {
            fields.push("X-Forwarded-Host", host);
        }
        fields.push("X-Forwarded-Proto", &self.proto);
        let first =
            Word { node: self.address(), host: self.host.clone(), proto: Some(self.proto.clone()) };
        let rest =
            self.chain.iter().skip(1).map(|node| Word { node: Some(*node), ..Word::default() });
        let words: Vec<_> =
            std::iter::once(first).chain(rest).map(|word| forwarded::write(&word)).collect();
        fields.push("Forwarded", words.join(", "));
    }
}

/// The address of a peer that came over TCP.
pub(super) fn address(peer: &str) -> Option<IpAddr> {
    peer.parse::<SocketAddr>().ok().map(|it| it.ip().to_canonical())
}

fn is_scheme(text: &str) -> bool {
    matches!(text, "http" | "https" | "ws" | "wss")
}

/// What proxies have said, the nearest last. A proxy sets one of these headers, and may pass on
/// another one that its client has set; so the most usual one alone is heard.
fn said(fields: &Fields) -> Vec<Word> {
    let word = |text| Word { node: forwarded::node(text), ..Word::default() };
    if fields.get("X-Forwarded-For").is_some() {
        return fields.list("X-Forwarded-For").map(word).collect();
    }
    if fields.get("Forwarded").is_some() {
        let all: Vec<_> = fields.all("Forwarded").collect();
        let mut words = forwarded::parse(&all.join(",")).unwrap_or_default();
        // Others than we may have written it.
        let sound = |host: &String| super::head::is_authority(host);
        words.iter_mut().for_each(|word| word.host = word.host.take().filter(sound));
        return words;
    }
    fields.get("X-Real-IP").map(word).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a backend is told when one trusted proxy, 10.0.0.1, sends these fields.
    fn told(fields: &str) -> (String, String) {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let (request, _) = crate::http::parse_request(head.as_bytes()).unwrap().unwrap();
        let trust = ["10.0.0.0/8".parse().unwrap()];
        let client = Client::of(&request, "10.0.0.1".parse().ok(), false, &trust);
        let mut fields = Fields::default();
        client.tell(&mut fields);
        let get = |name| fields.get(name).unwrap().to_owned();
        assert_eq!(get("X-Real-IP"), get("X-Forwarded-For").split(',').next().unwrap());
        (get("X-Forwarded-For"), get("Forwarded"))
    }

    #[test]
    fn the_client_is_the_last_stranger() {
        for (fields, chain) in [
            ("", "10.0.0.1"),
            ("X-Forwarded-For: 1.1.1.1\r\n", "1.1.1.1, 10.0.0.1"),
            ("X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\n", "1.1.1.1, 10.0.0.1"),
            ("X-Forwarded-For: 1.1.1.1, 10.0.0.2\r\n", "1.1.1.1, 10.0.0.2, 10.0.0.1"),
            (
                "X-Forwarded-For: 6.6.6.6, 1.1.1.1\r\nX-Forwarded-For: 10.0.0.2\r\n",
                "1.1.1.1, 10.0.0.2, 10.0.0.1",
            ),
            ("X-Forwarded-For: 1.1.1.1:80, [2001:db8::1]:1\r\n", "2001:db8::1, 10.0.0.1"),
            ("X-Forwarded-For: 6.6.6.6, junk, 10.0.0.2\r\n", "10.0.0.2, 10.0.0.1"),
            ("X-Forwarded-For: ::ffff:1.1.1.1\r\n", "1.1.1.1, 10.0.0.1"),
            ("Forwarded: for=6.6.6.6, for=\"[2001:db8::1]\"\r\n", "2001:db8::1, 10.0.0.1"),
            ("Forwarded: for=6.6.6.6;x=\"\r\n", "10.0.0.1"),
            ("X-Real-IP: 1.1.1.1\r\n", "1.1.1.1, 10.0.0.1"),
            (
                "X-Forwarded-For: 1.1.1.1\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n",
                "1.1.1.1, 10.0.0.1",
            ),
        ] {
            assert_eq!(told(fields).0, chain, "{fields}");
        }
    }

    #[test]
    fn both_forms_say_the_same() {
        let own = "for=10.0.0.1;host=\"a\";proto=http";
        for (fields, forwarded) in [
            ("", own),
            ("X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a\"b\r\n", own),
            (
                "X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Host: b:1\r\n",
                "for=10.0.0.1;host=\"b:1\";proto=https",
            ),
            (
                "X-Forwarded-For: ::1\r\nX-Forwarded-Proto: https\r\n",
                "for=\"[::1]\";host=\"a\";proto=https, for=10.0.0.1",
            ),
            (
                "Forwarded: for=1.1.1.1;proto=https;host=b\r\n",
                "for=1.1.1.1;host=\"b\";proto=https, for=10.0.0.1",
            ),
        ] {
            assert_eq!(told(fields).1, forwarded, "{fields}");
        }
    }
}
