//! How many connections a client may have, and how many handshakes there may be in a second.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::cli::ClientArgs;
use crate::lock::lock;
use crate::network::Network;
use crate::site::Answer;

/// What is left for clients.
pub(super) struct Quotas {
    seats: Option<(usize, Seats)>,
    all: Option<(Rate, Mutex<Instant>)>,
    each: Option<(Rate, Mutex<Turns>)>,
}

/// The connections of each client that has some.
type Seats = Arc<Mutex<HashMap<Network, usize>>>;

/// One connection of a client, which counts as long as this lives.
pub(super) struct Seat {
    seats: Seats,
    client: Network,
    number: usize,
    most: usize,
}

/// The place of a connection among all, and among those of its client; the plain requests on one
/// need none of their own.
pub(super) struct Place {
    pub(super) _of_all: Option<OwnedSemaphorePermit>,
    pub(super) seat: Option<Seat>,
}

/// So many in a second, and no more at once.
struct Rate {
    pause: Duration,
}

/// When each client has used up what it had; see [`Rate::admit`].
struct Turns {
    used_up: HashMap<Network, Instant>,
    /// From so many on it is worth while to look for those that can be forgotten.
    many: usize,
}

impl Quotas {
    /// From the flags. Those who have seats now keep them; the rest is forgotten after a second
    /// anyway.
    pub(super) fn new(args: &ClientArgs, before: Option<&Self>) -> Self {
        let now = Instant::now();
        let turns = || Turns { used_up: HashMap::new(), many: Turns::FEW };
        let taken = before.and_then(|before| before.seats.as_ref());
        let taken = taken.map(|(_, seats)| seats.clone()).unwrap_or_default();
        Self {
            seats: args.max_per_ip.map(|most| (most, taken)),
            all: args.max_rate.map(|most| (Rate::new(most), Mutex::new(now))),
            each: args.max_rate_per_ip.map(|most| (Rate::new(most), Mutex::new(turns()))),
        }
    }

    /// One more connection of a client; none where nobody counts.
    pub(super) fn seat(&self, client: IpAddr) -> Option<Seat> {
        let (most, seats) = self.seats.as_ref()?;
        let client = Network::of_customer(client);
        let number = {
            let mut seats = lock(seats);
            let number = seats.entry(client).or_default();
            *number += 1;
            *number
        };
        Some(Seat { seats: seats.clone(), client, number, most: *most })
    }

    /// Admits a handshake of a client, none being one whose address is not known.
    ///
    /// # Errors
    /// The answer to one that comes too soon.
    pub(super) fn admit(&self, client: Option<IpAddr>) -> Result<(), Answer> {
        let now = Instant::now();
        if let (Some(client), Some((rate, turns))) = (client, &self.each) {
            let wait = lock(turns).admit(Network::of_customer(client), rate, now);
            wait.map_err(|wait| too_many("too many handshakes from this address\n", Some(wait)))?;
        }
        let Some((rate, used_up)) = &self.all else { return Ok(()) };
        rate.admit(&mut lock(used_up), now).map_err(|wait| {
            let answer = Answer::text(503, "Service Unavailable", "too many handshakes at once\n");
            answer.with("Retry-After", later(wait))
        })
    }
}

impl Seat {
    /// What to answer one that the client has too many of.
    pub(super) fn refusal(&self) -> Option<Answer> {
        let over = self.number > self.most;
        over.then(|| too_many("too many connections from this address\n", None))
    }

    /// Whether the client has so many that it is not even told.
    pub(super) fn is_flood(&self) -> bool {
        self.number > self.most.saturating_mul(2)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = lock(&self.seats);
        if let Some(number) = seats.get_mut(&self.client) {
            *number -= 1;
            if *number == 0 {
                seats.remove(&self.client);
            }
        }
    }
}

impl Rate {
    fn new(most: usize) -> Self {
        Self { pause: Duration::from_secs(1) / u32::try_from(most).unwrap_or(u32::MAX) }
    }

    /// Admits one more if less than a second's worth is used up, or tells how long that takes.
    fn admit(&self, used_up: &mut Instant, now: Instant) -> Result<(), Duration> {
        let next = (*used_up).max(now) + self.pause;
        match (next - now).checked_sub(Duration::from_secs(1)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                *used_up = next;
                Ok(())
            }
        }
    }
}

impl Turns {
    const FEW: usize = 1024;

    fn admit(&mut self, client: Network, rate: &Rate, now: Instant) -> Result<(), Duration> {
        if self.used_up.len() >= self.many {
            // After a second at most, one that was here is like one that was not.
            self.used_up.retain(|_, used_up| *used_up > now);
            self.many = (self.used_up.len() * 2).max(Self::FEW);
        }
        rate.admit(self.used_up.entry(client).or_insert(now), now)
    }
}

fn too_many(why: &str, wait: Option<Duration>) -> Answer {
    let answer = Answer::text(429, "Too Many Requests", why);
    answer.with("Retry-After", later(wait.unwrap_or_default()))
}

/// Seconds until it is worth while to try again; not the same for all, or they come at once again.
fn later(wait: Duration) -> String {
    (wait.as_secs() + fastrand::u64(1..=5)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn quotas(args: ClientArgs) -> Quotas {
        Quotas::new(&args, None)
    }

    #[test]
    fn a_seat_counts_as_long_as_it_is_held() {
        let quotas = quotas(ClientArgs { max_per_ip: Some(1), ..ClientArgs::default() });
        let first = quotas.seat(ip("2001:db8::1")).unwrap();
        let second = quotas.seat(ip("2001:db8::2")).unwrap();
        let third = quotas.seat(ip("2001:db8::3")).unwrap();
        assert!(first.refusal().is_none() && second.refusal().is_some());
        assert!(!second.is_flood() && third.is_flood());
        assert!(quotas.seat(ip("2001:db8:0:1::1")).unwrap().refusal().is_none());
        assert!(quotas.seat(ip("1.2.3.4")).unwrap().refusal().is_none());
        drop((first, second, third));
        assert!(quotas.seat(ip("2001:db8::4")).unwrap().refusal().is_none());
        assert!(lock(&quotas.seats.as_ref().unwrap().1).is_empty());
    }

    #[test]
    fn a_second_brings_as_many_as_the_rate_says() {
        let (rate, start) = (Rate::new(4), Instant::now());
        let mut used_up = start;
        let mut admitted = |ms| rate.admit(&mut used_up, start + Duration::from_millis(ms)).is_ok();
        assert_eq!([0, 0, 0, 0, 0, 0].map(&mut admitted), [true, true, true, true, false, false]);
        assert_eq!([249, 250, 251, 500].map(&mut admitted), [false, true, false, true]);
        assert_eq!([9000; 5].map(&mut admitted), [true, true, true, true, false]);
    }

    #[test]
    fn clients_that_have_gone_are_forgotten() {
        let quotas = quotas(ClientArgs { max_rate_per_ip: Some(1), ..ClientArgs::default() });
        let (rate, turns) = quotas.each.as_ref().unwrap();
        let mut turns = lock(turns);
        let start = Instant::now();
        for n in 0..100_000 {
            let now = start + Duration::from_millis(n.into());
            let client = Network::of_customer(IpAddr::V4(std::net::Ipv4Addr::from_bits(n)));
            assert_eq!(turns.admit(client, rate, now), Ok(()));
        }
        assert!(turns.used_up.len() <= 2 * Turns::FEW, "{}", turns.used_up.len());
    }

    #[test]
    fn one_client_does_not_use_up_what_others_have() {
        let args =
            ClientArgs { max_rate: Some(2), max_rate_per_ip: Some(1), ..ClientArgs::default() };
        let quotas = quotas(args);
        let status = |client| quotas.admit(client).map_or_else(|it| it.status(), |()| 200);
        assert_eq!([1, 1, 1].map(|_| status(Some(ip("1.1.1.1")))), [200, 429, 429]);
        assert_eq!([status(Some(ip("2.2.2.2"))), status(Some(ip("3.3.3.3")))], [200, 503]);
        assert_eq!(status(None), 503);
    }
}
