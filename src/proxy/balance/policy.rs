//! Which of several backends is the best for a request.

use std::str::FromStr;
use std::sync::Arc;

use super::hash;
use crate::cli::value::token;
use crate::http::Request;
use crate::proxy::backend::Backend;
use crate::proxy::client::Client;

/// How the next backend is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The one with the fewest requests and WebSockets for its weight.
    Least,
    /// All in turn.
    RoundRobin,
    /// The better of two that are drawn.
    Random,
    /// The one that a part of the request belongs to.
    Hash(Key),
    /// The one that the client had before, by the cookie of this name.
    Sticky(String),
}

/// The part of a request that is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The address of the client.
    Ip,
    /// The path, without the query.
    Path,
    /// A header.
    Header(String),
    /// A cookie.
    Cookie(String),
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text.split_once(':').unwrap_or((text, "")) {
            ("least", "") => Self::Least,
            ("round-robin", "") => Self::RoundRobin,
            ("random", "") => Self::Random,
            ("sticky", "") => Self::Sticky("towline".to_owned()),
            ("sticky", cookie) => Self::Sticky(token(cookie)?),
            ("hash", key) => Self::Hash(match key.split_once(':').unwrap_or((key, "")) {
                ("ip", "") => Key::Ip,
                ("path", "") => Key::Path,
                ("header", name) => Key::Header(token(name)?),
                ("cookie", name) => Key::Cookie(token(name)?),
                _ => return Err("what is hashed is ip, path, header:NAME or cookie:NAME".into()),
            }),
            _ => return Err("least, round-robin, random, hash:KEY, sticky or sticky:COOKIE".into()),
        })
    }
}

impl Policy {
    /// The number by which a request asks for a backend, if it does.
    pub(super) fn wish(&self, request: &Request, client: &Client) -> Option<u64> {
        match self {
            Self::Least | Self::RoundRobin | Self::Random => None,
            Self::Hash(key) => key.of(request, client).map(|it| hash::of(it.as_bytes())),
            Self::Sticky(name) => u64::from_str_radix(cookie(request, name)?, 16).ok(),
        }
    }

    /// The backend that a request belongs to, if it belongs to any.
    pub(super) fn favourite<'a>(
        &self,
        wish: Option<u64>,
        from: &[&'a Arc<Backend>],
    ) -> Option<&'a Arc<Backend>> {
        match self {
            Self::Hash(_) => hash::choose(wish?, from),
            Self::Sticky(_) => {
                let id = wish?;
                from.iter().find(|it| it.id == id).copied()
            }
            Self::Least | Self::RoundRobin | Self::Random => None,
        }
    }

    /// The backend for a request that belongs to none. Others may choose at the same moment, so
    /// that it is the best but for those.
    pub(super) fn best<'a>(&self, from: &[&'a Arc<Backend>]) -> Option<&'a Arc<Backend>> {
        let best = match self {
            Self::RoundRobin => from.iter().min_by_key(|it| it.turn()),
            Self::Random => {
                let one = draw(from, None)?;
                let other = draw(from, Some(one)).unwrap_or(one);
                Some(if other.load(one).is_lt() { other } else { one })
            }
            Self::Least | Self::Hash(_) | Self::Sticky(_) => {
                from.iter().min_by(|a, b| a.load(b).then_with(|| a.turn().cmp(&b.turn())))
            }
        };
        best.copied()
    }

    /// The cookie that brings a client back to a backend, if it does not have it yet.
    pub(super) fn cookie(&self, wish: Option<u64>, backend: &Backend, tls: bool) -> Option<String> {
        match self {
            Self::Sticky(name) if wish != Some(backend.id) => {
                let secure = if tls { "; Secure" } else { "" };
                let id = backend.id;
                Some(format!("{name}={id:016x}; Path=/; HttpOnly; SameSite=Lax{secure}"))
            }
            _ => None,
        }
    }
}

impl Key {
    fn of(&self, request: &Request, client: &Client) -> Option<String> {
        match self {
            Self::Ip => client.address().map(|it| it.to_string()),
            Self::Path => Some(request.path().to_owned()),
            Self::Header(name) => request.fields.get(name).map(str::to_owned),
            Self::Cookie(name) => cookie(request, name).map(str::to_owned),
        }
    }
}

/// The value of a cookie (RFC 6265 section 4.2.1).
fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let pairs = request.fields.all("Cookie").flat_map(|it| it.split(';'));
    let mut pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(it, _)| *it == name).map(|(_, value)| value)
}

/// Draws one by weight, but not this one.
fn draw<'a, 'b>(
    from: &'b [&'a Arc<Backend>],
    but: Option<&'b &'a Arc<Backend>>,
) -> Option<&'b &'a Arc<Backend>> {
    let all = || from.iter().filter(|it| but.is_none_or(|but| !Arc::ptr_eq(it, but)));
    let mut left = fastrand::usize(0..all().map(|it| it.weight()).sum::<usize>().max(1));
    all().find(|it| {
        let found = left < it.weight();
        left = left.saturating_sub(it.weight());
        found
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use proptest::prelude::*;

    use super::*;
    use crate::proxy::backend::Share;
    use crate::proxy::backend::tests::backends;

    #[test]
    fn policies_are_written_as_they_are_read() {
        for (text, want) in [
            ("least", Policy::Least),
            ("round-robin", Policy::RoundRobin),
            ("random", Policy::Random),
            ("hash:ip", Policy::Hash(Key::Ip)),
            ("hash:path", Policy::Hash(Key::Path)),
            ("hash:header:X-Room", Policy::Hash(Key::Header("X-Room".into()))),
            ("hash:cookie:sid", Policy::Hash(Key::Cookie("sid".into()))),
            ("sticky", Policy::Sticky("towline".into())),
            ("sticky:at", Policy::Sticky("at".into())),
        ] {
            assert_eq!(text.parse(), Ok(want));
        }
        for text in ["", "most", "least:2", "hash", "hash:ip:4", "hash:header:", "sticky:a b"] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }

    #[test]
    fn one_of_several_cookies_is_found() {
        let text = b"GET / HTTP/1.1\r\nCookie: a=1; sid=x=y\r\nCookie: b=2\r\n\r\n";
        let (request, _) = crate::http::parse_request(text).unwrap().unwrap();
        assert_eq!(cookie(&request, "sid"), Some("x=y"));
        assert_eq!(cookie(&request, "b"), Some("2"));
        assert_eq!(cookie(&request, "id"), None);
    }

    #[test]
    fn two_that_are_drawn_are_two() {
        let backends = backends(&[1, 1]);
        let from: Vec<_> = backends.iter().collect();
        let _share = backends[0].share(1).unwrap();
        for _ in 0..100 {
            assert!(Arc::ptr_eq(Policy::Random.best(&from).unwrap(), &backends[1]));
        }
    }

    /// Takes so many, which all stay.
    fn take(
        policy: &Policy,
        count: usize,
        from: &[&Arc<Backend>],
        clock: &AtomicU64,
    ) -> Vec<Share> {
        let taken = (0..count).map(|_| {
            let best = policy.best(from).unwrap();
            best.take_turn(clock);
            best.share(usize::MAX).unwrap()
        });
        taken.collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn nobody_has_more_than_one_above_its_part(
            weights in prop::collection::vec(1_usize..20, 1..9),
            count in 1_usize..300,
            policy in prop::sample::select(vec![Policy::Least, Policy::RoundRobin]),
        ) {
            let backends = backends(&weights);
            let from: Vec<_> = backends.iter().collect();
            let all: usize = weights.iter().sum();
            let _shares = take(&policy, count, &from, &AtomicU64::new(0));
            for backend in &backends {
                let most = (count * backend.weight()).div_ceil(all) + 1;
                prop_assert!(backend.live() <= most, "{}, not {most}", backend.live());
            }
        }

        #[test]
        fn one_that_was_away_has_nothing_to_catch_up_with(
            weights in prop::collection::vec(1_usize..20, 2..9),
            count in 1_usize..300,
        ) {
            let backends = backends(&weights);
            let from: Vec<_> = backends.iter().collect();
            let clock = AtomicU64::new(0);
            drop(take(&Policy::RoundRobin, count, &from[1..], &clock));
            let all: usize = weights.iter().sum();
            let _shares = take(&Policy::RoundRobin, all, &from, &clock);
            prop_assert!(backends[0].live() <= weights[0] + 1, "{}", backends[0].live());
        }
    }
}
