//! Rooms: what one member says, the others hear.
//!
//! A `Room` is a table of seats behind one lock. Speaking puts a clone of the message, which
//! shares its payload, into the queue of every seat it is for; a `Member` takes from its own.
//! Queues are bounded in messages and in bytes, and `--slow` says what happens at the bound.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::cli::{HubArgs, Slow};
use crate::lock::lock;

mod member;
mod name;
mod room;

pub(crate) use member::{Member, Roster};
pub(crate) use name::{chosen, plain};
pub(crate) use room::Names;
use room::{Limits, Room};

/// Who wants to join a room.
#[derive(Default)]
pub(crate) struct Guest<'a> {
    /// The name it brings along.
    pub(crate) name: Option<String>,
    pub(crate) address: &'a str,
    /// What it has proved to be.
    pub(crate) identity: Option<Arc<str>>,
}

/// The rooms of one process.
pub struct Hubs {
    limits: Limits,
    reserved: Names,
    rooms: Mutex<HashMap<String, Arc<Room>>>,
    console: Arc<Room>,
}

impl Hubs {
    /// No rooms yet but the console's; the others are made as peers ask for them. The `reserved`
    /// names are for peers who prove them.
    pub(crate) fn new(args: Option<HubArgs>, reserved: Names) -> Self {
        let none = Limits { slow: Slow::default(), queue: 1024, history: 0 };
        let limits = args.map_or(none, |args| Limits {
            history: usize::try_from(args.history).unwrap_or(usize::MAX),
            slow: args.slow,
            queue: usize::try_from(args.queue).unwrap_or(usize::MAX),
        });
        let console = Room::with_host(limits, reserved.clone());
        Self { limits, reserved, rooms: Mutex::default(), console }
    }

    /// Joins a room in which everybody hears everybody else. Rooms stay: their names come from
    /// the command line, so there are not many.
    pub(crate) fn join(&self, room: &str, guest: &Guest<'_>) -> Member {
        let mut rooms = lock(&self.rooms);
        let room = match rooms.get(room) {
            Some(room) => room.clone(),
            None => {
                let made = Room::new(format!("hub:{room}"), self.limits, self.reserved.clone());
                rooms.insert(room.to_owned(), made.clone());
                made
            }
        };
        drop(rooms);
        room.join(guest)
    }

    /// Joins the room of the console, which alone hears its peers and speaks to them.
    pub(crate) fn join_console(&self, guest: &Guest<'_>) -> Member {
        self.console.join(guest)
    }

    /// The console's own seat.
    pub(crate) fn host(&self) -> Member {
        self.console.host()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, SinkExt, StreamExt};

    use super::*;
    use crate::duplex::{Body, Close, Message};

    fn hubs(slow: Slow, queue: u32) -> Hubs {
        Hubs::new(Some(HubArgs { name_from: None, slow, queue, history: 0 }), Names::default())
    }

    fn guest(name: Option<&str>) -> Guest<'static> {
        Guest { name: name.map(str::to_owned), ..Guest::default() }
    }

    /// What a member would be told now, as `from: text`.
    fn heard(member: &mut Member) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(Some(message)) = member.next().now_or_never() {
            let message = message.unwrap();
            all.push(match &message.body {
                Body::Text(text) => format!("{}: {text}", message.from.as_deref().unwrap()),
                Body::Close(close) => format!("{} {}", close.code, close.reason),
                other => format!("{other:?}"),
            });
        }
        all
    }

    fn say(member: &mut Member, text: &str) -> bool {
        member.send(Message::text(text)).now_or_never().is_some()
    }

    #[test]
    fn everybody_hears_the_others_and_nobody_else() {
        let hubs = hubs(Slow::DropOldest, 8);
        let mut one = hubs.join("a", &guest(None));
        let mut two = hubs.join("a", &guest(None));
        let mut anna = hubs.join("a", &guest(Some("anna")));
        let mut elsewhere = hubs.join("b", &guest(None));
        assert!(say(&mut one, "hi"));
        assert_eq!(heard(&mut two), ["c1: hi"]);
        assert_eq!(heard(&mut anna), ["c1: hi"]);
        assert!(heard(&mut one).is_empty());
        assert!(heard(&mut elsewhere).is_empty());

        let mut aside = Message::text("psst");
        aside.to = Some("anna".into());
        assert!(one.speak(aside));
        assert_eq!(heard(&mut anna), ["c1: psst"]);
        assert!(heard(&mut two).is_empty());
    }

    #[test]
    fn live_names_are_unique_and_numbers_are_not_given_out_again() {
        let hubs = hubs(Slow::DropOldest, 8);
        let host = hubs.host();
        let join = |name| hubs.join_console(&guest(name));
        let c1 = join(None);
        let (_c2, _b2, _b3) = (join(Some("c2")), join(Some("c1")), join(Some("c1")));
        drop(c1);
        let (_c3, _back, _s) = (join(None), join(Some("c1")), join(Some("S")));
        let names = host.roster().names();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["c2", "c1#2", "c1#3", "c3", "c1", "S#2"]);
    }

    #[test]
    fn a_host_hears_all_and_peers_hear_the_host_alone() {
        let hubs = hubs(Slow::DropOldest, 8);
        // What is said before the console listens is kept for it.
        let mut one = hubs.join_console(&guest(None));
        assert!(say(&mut one, "early"));
        let mut host = hubs.host();
        let mut two = hubs.join_console(&guest(None));
        let mut to_other = Message::text("for c2?");
        to_other.to = Some("c2".into());
        one.speak(to_other);
        assert_eq!(heard(&mut host), ["c1: early", "c1: for c2?"]);
        assert!(heard(&mut two).is_empty());
        assert!(say(&mut host, "all"));
        assert_eq!(heard(&mut one), ["S: all"]);
        assert_eq!(heard(&mut two), ["S: all"]);
    }

    #[test]
    fn the_oldest_messages_for_a_slow_member_are_dropped() {
        let hubs = hubs(Slow::DropOldest, 2);
        let (mut one, mut slow) = (hubs.join("", &guest(None)), hubs.join("", &guest(None)));
        for text in ["1", "2", "3", "4"] {
            assert!(say(&mut one, text));
        }
        assert_eq!(heard(&mut slow), ["c1: 3", "c1: 4"]);
    }

    #[test]
    fn a_queue_is_bounded_in_bytes_but_lets_one_large_message_in() {
        let hubs = hubs(Slow::DropOldest, 1024);
        let (mut one, mut slow) = (hubs.join("", &guest(None)), hubs.join("", &guest(None)));
        let large = "x".repeat(20 << 20);
        assert!(say(&mut one, "first"));
        assert!(say(&mut one, &large));
        assert!(say(&mut one, "last"));
        assert_eq!(heard(&mut slow), ["c1: last"]);
    }

    #[test]
    fn a_slow_member_is_disconnected() {
        let hubs = hubs(Slow::Disconnect, 2);
        let (mut one, mut slow) = (hubs.join("", &guest(None)), hubs.join("", &guest(None)));
        let mut quick = hubs.join("", &guest(None));
        for text in ["1", "2", "3"] {
            assert!(say(&mut one, text));
            assert_eq!(heard(&mut quick).len(), 1);
        }
        assert_eq!(heard(&mut slow), ["1013 reads too slowly"]);
        assert!(slow.next().now_or_never().unwrap().is_none());
    }

    #[tokio::test]
    async fn everybody_waits_for_a_slow_member() {
        let hubs = hubs(Slow::Block, 2);
        let (mut one, mut slow) = (hubs.join("", &guest(None)), hubs.join("", &guest(None)));
        assert!(say(&mut one, "1") && say(&mut one, "2"));
        assert!(!say(&mut one, "3"));
        let waiting = tokio::spawn(async move {
            one.send(Message::text("4")).await.unwrap();
            one
        });
        tokio::task::yield_now().await;
        assert_eq!(heard(&mut slow), ["c1: 1", "c1: 2"]);
        let mut one = waiting.await.unwrap();
        assert_eq!(heard(&mut slow), ["c1: 4"]);
        // One who leaves is not waited for.
        assert!(say(&mut one, "5") && say(&mut one, "6"));
        let waiting = tokio::spawn(async move { one.send(Message::text("7")).await });
        tokio::task::yield_now().await;
        drop(slow);
        waiting.await.unwrap().unwrap();
    }

    #[test]
    fn a_slow_console_is_waited_for() {
        let hubs = hubs(Slow::DropOldest, 2);
        let (mut host, mut one) = (hubs.host(), hubs.join_console(&guest(None)));
        assert!(say(&mut one, "1") && say(&mut one, "2"));
        assert!(!say(&mut one, "3"));
        assert_eq!(heard(&mut host), ["c1: 1", "c1: 2"]);
        assert!(say(&mut one, "3"));
    }

    #[test]
    fn who_comes_back_takes_its_name_over_and_nobody_else_does() {
        let hubs = hubs(Slow::DropOldest, 2);
        let host = hubs.host();
        let join = |identity: &str| {
            let identity = Some(identity.into());
            hubs.join_console(&Guest { identity, ..guest(Some("anna")) })
        };
        let (mut stale, _other) = (join("key 1"), join("key 2"));
        let _back = join("key 1");
        assert_eq!(heard(&mut stale), ["1008 taken over by a new session"]);
        drop(stale);
        let names = host.roster().names();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["anna#2", "anna"]);
    }

    #[test]
    fn who_proves_its_name_gets_it_from_who_does_not() {
        let hubs = hubs(Slow::DropOldest, 2);
        let host = hubs.host();
        let prove = |name| {
            let identity = Some("key".into());
            hubs.join_console(&Guest { identity, ..guest(Some(name)) })
        };
        let mut pretender = hubs.join_console(&guest(Some("anna")));
        let mut anna = prove("anna");
        let mut secret = Message::text("secret");
        secret.to = Some("anna".into());
        assert!(host.speak(secret));
        assert_eq!(heard(&mut anna), ["S: secret"]);
        assert!(heard(&mut pretender).is_empty());
        drop(anna);
        let _host_keeps_its_own = prove("S");
        let names = host.roster().names();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(names, ["anna#2", "S#2"]);
        drop(pretender);
        assert_eq!(host.roster().names().len(), 1);
    }

    #[test]
    fn a_peer_is_shown_the_door() {
        let hubs = hubs(Slow::DropOldest, 2);
        let (host, mut one) = (hubs.host(), hubs.join_console(&guest(None)));
        assert!(!host.remove("S", Close::new(1008, "")));
        assert!(!host.remove("c2", Close::new(1008, "")));
        assert!(host.remove("c1", Close::new(1008, "removed")));
        assert_eq!(heard(&mut one), ["1008 removed"]);
    }

    #[test]
    fn who_comes_later_hears_the_last_of_what_was_said_to_all() {
        let args = HubArgs { name_from: None, slow: Slow::DropOldest, queue: 8, history: 2 };
        let hubs = Hubs::new(Some(args), Names::default());
        let mut one = hubs.join("a", &Guest::default());
        let mut aside = Message::text("psst");
        assert!(say(&mut one, "1") && say(&mut one, "2") && say(&mut one, "3"));
        aside.to = Some("c1".into());
        one.speak(aside);
        let mut two = hubs.join("a", &Guest::default());
        assert_eq!(heard(&mut two), ["c1: 2", "c1: 3"]);
        assert!(say(&mut one, "4"));
        assert_eq!(heard(&mut two), ["c1: 4"]);
        let mut elsewhere = hubs.join("b", &Guest::default());
        assert!(heard(&mut elsewhere).is_empty());
    }
}
