//! The table of seats of one room.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::{Guest, Member};
use crate::cli::Slow;
use crate::duplex::{Close, Message};
use crate::lock::lock;
use crate::report;

/// How many bytes wait for a slow member, whatever `--queue` allows.
const QUEUE_BYTES: usize = 16 << 20;

/// Drops for one member are said at once, and then at most this often.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// The seat of the host, in a room that has one; in the others nobody has it.
const HOST: u64 = 0;

/// Names, each once.
pub(crate) type Names = HashSet<Arc<str>>;

/// What a queue may hold, and what happens when it is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) slow: Slow,
    pub(super) queue: usize,
    /// How many messages are kept for those who come later.
    pub(super) history: usize,
}

/// Who hears whom: everybody hears all the others, or, where there is a host, the host hears all
/// and all hear the host.
pub(crate) struct Room {
    /// Follows the name of who joins or leaves, where there is more than one room.
    label: Option<String>,
    hosted: bool,
    limits: Limits,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    by_id: BTreeMap<u64, Seat>,
    by_name: HashMap<Arc<str>, u64>,
    /// Names that are kept for those who prove them, also while they are away.
    reserved: Names,
    /// What was said to all of late.
    history: VecDeque<Message>,
    /// How many seats and how many made-up names there have been.
    last_id: u64,
    last_number: u64,
    /// Whether the host will say nothing more.
    silent: bool,
    /// Those who wait for room in somebody's queue.
    waiting: Vec<Waker>,
}

struct Seat {
    name: Arc<str>,
    /// What its member has proved to be.
    identity: Option<Arc<str>>,
    queue: VecDeque<Message>,
    bytes: usize,
    /// Set once the member is shown the door; nothing is queued for it any more.
    closing: Option<Close>,
    /// Who waits for a message, and who has to know of the door even if it waits for none.
    reader: Option<Waker>,
    door: Option<Waker>,
    dropped: u64,
    said: Option<Instant>,
}

impl Room {
    /// A room in which everybody hears all the others.
    pub(super) fn new(label: String, limits: Limits, reserved: Names) -> Arc<Self> {
        let seats = Mutex::new(Seats { reserved, ..Seats::default() });
        Arc::new(Self { label: Some(label), hosted: false, limits, seats })
    }

    /// A room with a host, whose seat is there from the start, so that nothing said to it before
    /// it listens is lost.
    pub(super) fn with_host(limits: Limits, reserved: Names) -> Arc<Self> {
        let mut seats = Seats { reserved, ..Seats::default() };
        seats.sit(HOST, "S".into(), None);
        Arc::new(Self { label: None, hosted: true, limits, seats: Mutex::new(seats) })
    }

    /// The host's seat.
    pub(super) fn host(self: &Arc<Self>) -> Member {
        Member::new(self.clone(), HOST)
    }

    /// A seat for who has arrived.
    pub(super) fn join(self: &Arc<Self>, guest: &Guest<'_>) -> Member {
        let mut seats = self.seats();
        let evicted = seats.evict(guest);
        let renamed = seats.rename_namesake(guest);
        let name = seats.free_name(guest.name.as_deref(), guest.identity.is_some());
        if guest.identity.is_some() {
            seats.reserved.insert(name.clone());
        }
        seats.last_id += 1;
        let id = seats.last_id;
        seats.sit(id, name.clone(), guest.identity.clone());
        seats.tell_history(id);
        drop(seats);
        let joined = if evicted.is_some() { "joined again" } else { "joined" };
        wake(evicted.into_iter().flatten());
        let room = self.label.as_deref().map_or(String::new(), |label| format!(" {label}"));
        if let Some(other) = renamed {
            report::note(format_args!("who was {name} is {other} now{room}: a key has that name"));
        }
        let from = match guest.address {
            "" => String::new(),
            address => format!(" from {address}"),
        };
        report::note(format_args!("{name} {joined}{room}{from}"));
        Member::new(self.clone(), id)
    }

    /// Gives a seat up.
    pub(super) fn leave(&self, id: u64) {
        let mut seats = self.seats();
        let Some(seat) = seats.by_id.remove(&id) else { return };
        let replaced = seats.by_name.get(&seat.name) != Some(&id);
        if !replaced {
            seats.by_name.remove(&seat.name);
        }
        let waiting = std::mem::take(&mut seats.waiting);
        drop(seats);
        wake(waiting);
        // Who was taken over from has not left, in the eyes of the others.
        if id == HOST || replaced {
            return;
        }
        let room = self.label.as_deref().map_or(String::new(), |label| format!(" {label}"));
        let drops = match seat.dropped {
            0 => String::new(),
            1 => "; one message for it was dropped".to_owned(),
            n => format!("; {n} messages for it were dropped"),
        };
        report::note(format_args!("{} left{room}{drops}", seat.name));
    }

    /// Takes the next message for a seat.
    pub(super) fn poll_hear(&self, id: u64, cx: &Context<'_>) -> Poll<Option<Message>> {
        let mut guard = self.seats();
        let seats = &mut *guard;
        let Some(seat) = seats.by_id.get_mut(&id) else { return Poll::Ready(None) };
        let was_full = !seat.has_room(self.limits.queue);
        if let Some(message) = seat.take() {
            if was_full {
                let waiting = std::mem::take(&mut seats.waiting);
                drop(guard);
                wake(waiting);
            }
            return Poll::Ready(Some(message));
        }
        if let Some(close) = &seat.closing {
            return Poll::Ready(Some(Message::close(close.code, &close.reason)));
        }
        if seats.silent && id != HOST {
            return Poll::Ready(None);
        }
        register(&mut seat.reader, cx);
        Poll::Pending
    }

    /// Waits, where members wait for each other, until there is room in the queues of all that
    /// hear this seat. The host is waited for in any case: it is not a peer that may be slow, but
    /// the place where the run's output goes. `Err` where the member is shown the door: one that
    /// reads nothing would not hear of it.
    pub(super) fn poll_room(&self, id: u64, cx: &Context<'_>) -> Poll<Result<(), Close>> {
        let mut guard = self.seats();
        let seats = &mut *guard;
        let Some(seat) = seats.by_id.get_mut(&id) else { return Poll::Ready(Ok(())) };
        if let Some(close) = &seat.closing {
            return Poll::Ready(Err(close.clone()));
        }
        register(&mut seat.door, cx);
        let full = |seat: &Seat| !seat.has_room(self.limits.queue);
        let wait = match self.limits.slow {
            _ if self.hosted && id != HOST => seats.by_id.get(&HOST).is_some_and(full),
            Slow::Block => seats.by_id.iter().any(|(other, seat)| *other != id && full(seat)),
            Slow::DropOldest | Slow::Disconnect => false,
        };
        if !wait {
            return Poll::Ready(Ok(()));
        }
        if !seats.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            seats.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Passes a message on to those who hear this seat, or to the one it is for. False where that
    /// one is not here.
    pub(super) fn speak(&self, id: u64, mut message: Message) -> bool {
        let mut troubles = Vec::new();
        let mut guard = self.seats();
        let seats = &mut *guard;
        let Some(speaker) = seats.by_id.get(&id).filter(|seat| seat.closing.is_none()) else {
            return true;
        };
        message.from = Some(speaker.name.clone());
        let only = match &message.to {
            _ if self.hosted && id != HOST => Some(HOST),
            Some(name) => match seats.by_name.get(name) {
                Some(id) => Some(*id),
                None => return false,
            },
            None => None,
        };
        match only {
            Some(to) => {
                if let Some(seat) = seats.by_id.get_mut(&to) {
                    troubles.extend(self.offer(to, seat, message));
                }
            }
            None => {
                seats.remember(&message, self.limits.history);
                for (&to, seat) in seats.by_id.iter_mut().filter(|(to, _)| **to != id) {
                    troubles.extend(self.offer(to, seat, message.clone()));
                }
            }
        }
        drop(guard);
        // stderr may be slow itself; nobody waits for it with the lock in hand.
        for trouble in troubles {
            report::warn(format_args!("{trouble}"));
        }
        true
    }

    /// Queues a message for a seat, and says what has to be said about that.
    fn offer(&self, id: u64, seat: &mut Seat, message: Message) -> Option<String> {
        if seat.closing.is_some() {
            return None;
        }
        let mut trouble = None;
        let waited_for = self.limits.slow == Slow::Block || id == HOST;
        if !waited_for && !seat.has_room(self.limits.queue) {
            trouble = match self.limits.slow {
                Slow::Disconnect => {
                    seat.close(Close::new(1013, "reads too slowly"));
                    return Some(format!("{} reads too slowly and is disconnected", seat.name));
                }
                Slow::DropOldest | Slow::Block => seat.make_room(self.limits.queue),
            };
        }
        seat.put(message);
        trouble
    }

    /// The host says nothing more: for its peers, that is the end of what they hear.
    pub(super) fn fall_silent(&self) {
        let mut seats = self.seats();
        seats.silent = true;
        let readers: Vec<_> =
            seats.by_id.values_mut().filter_map(|seat| seat.reader.take()).collect();
        drop(seats);
        wake(readers);
    }

    /// Shows a member the door. False where nobody has that name.
    pub(super) fn remove(&self, name: &str, close: Close) -> bool {
        let mut guard = self.seats();
        let seats = &mut *guard;
        let Some(id) = seats.by_name.get(name).filter(|id| **id != HOST) else {
            return false;
        };
        if let Some(seat) = seats.by_id.get_mut(id) {
            seat.close(close);
        }
        let waiting = std::mem::take(&mut seats.waiting);
        drop(guard);
        wake(waiting);
        true
    }

    /// The names of all that are here besides the host, in the order in which they came.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let seats = self.seats();
        let peers = seats.by_id.iter().filter(|(id, _)| **id != HOST);
        peers.map(|(_, seat)| seat.name.clone()).collect()
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        lock(&self.seats)
    }
}

impl Seats {
    fn sit(&mut self, id: u64, name: Arc<str>, identity: Option<Arc<str>>) {
        self.by_name.insert(name.clone(), id);
        let seat = Seat {
            name,
            identity,
            queue: VecDeque::new(),
            bytes: 0,
            closing: None,
            reader: None,
            door: None,
            dropped: 0,
            said: None,
        };
        self.by_id.insert(id, seat);
    }

    /// Keeps a message for those who come later.
    fn remember(&mut self, message: &Message, most: usize) {
        let mut size: usize = self.history.iter().map(|message| message.payload().len()).sum();
        self.history.push_back(message.clone());
        size += message.payload().len();
        while self.history.len() > most || (size > QUEUE_BYTES && self.history.len() > 1) {
            let oldest = self.history.pop_front();
            size -= oldest.map_or(0, |message| message.payload().len());
        }
    }

    /// Tells who has just come what was said before.
    fn tell_history(&mut self, id: u64) {
        if let Some(seat) = self.by_id.get_mut(&id) {
            self.history.iter().cloned().for_each(|message| seat.put(message));
        }
    }

    /// Shows the former self of a guest the door, if it is still here, and frees its name. Returns
    /// those who wait for room in its queue.
    fn evict(&mut self, guest: &Guest<'_>) -> Option<Vec<Waker>> {
        let identity = guest.identity.as_ref()?;
        let former = |seat: &&mut Seat| seat.identity.as_ref() == Some(identity);
        let seat = self.by_id.values_mut().filter(|seat| seat.closing.is_none()).find(former)?;
        seat.close(Close::new(1008, "taken over by a new session"));
        self.by_name.remove(&seat.name);
        Some(std::mem::take(&mut self.waiting))
    }

    /// Takes the name of a guest who has proved to be somebody from one who has not: what is said
    /// to that name is not for who merely came first. Returns what that one is called now.
    fn rename_namesake(&mut self, guest: &Guest<'_>) -> Option<Arc<str>> {
        guest.identity.as_ref()?;
        let name = guest.name.as_deref()?;
        let id = *self.by_name.get(name)?;
        if id == HOST || self.by_id.get(&id)?.identity.is_some() {
            return None;
        }
        let other = self.free_name(Some(name), false);
        self.by_name.remove(name);
        self.by_name.insert(other.clone(), id);
        self.by_id.get_mut(&id)?.name = other.clone();
        Some(other)
    }

    /// `name`, or `name#2` where that is taken; `c1`, `c2`, … for those without a name. A number
    /// is not given out again, so that nobody is taken for one who has left.
    fn free_name(&mut self, name: Option<&str>, proved: bool) -> Arc<str> {
        let Some(name) = name else {
            loop {
                self.last_number += 1;
                let name = format!("c{}", self.last_number);
                if self.is_free(&name, proved) {
                    return name.into();
                }
            }
        };
        if self.is_free(name, proved) {
            return name.into();
        }
        let mut others = (2_u64..).map(|n| format!("{name}#{n}"));
        let free = others.find(|name| self.is_free(name, proved));
        free.expect("there are fewer names than numbers").into()
    }

    fn is_free(&self, name: &str, proved: bool) -> bool {
        !self.by_name.contains_key(name) && (proved || !self.reserved.contains(name))
    }
}

impl Seat {
    fn has_room(&self, queue: usize) -> bool {
        // One message over the limit in bytes is let in, or a large one could never be.
        self.closing.is_some() || (self.queue.len() < queue && self.bytes < QUEUE_BYTES)
    }

    fn put(&mut self, message: Message) {
        self.bytes += message.payload().len();
        self.queue.push_back(message);
        wake(self.reader.take());
    }

    fn take(&mut self) -> Option<Message> {
        let message = self.queue.pop_front()?;
        self.bytes -= message.payload().len();
        Some(message)
    }

    /// Drops the oldest messages, and says so unless it has just been said.
    fn make_room(&mut self, queue: usize) -> Option<String> {
        while !self.has_room(queue) {
            self.take();
            self.dropped += 1;
        }
        if self.said.is_some_and(|said| said.elapsed() < SAY_AGAIN) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(match self.dropped {
            1 => format!("{} reads too slowly: the oldest message for it is dropped", self.name),
            n => format!("{} reads too slowly: {n} messages for it are dropped so far", self.name),
        })
    }

    fn close(&mut self, close: Close) {
        self.queue.clear();
        self.bytes = 0;
        self.closing = Some(close);
        wake(self.reader.take());
        wake(self.door.take());
    }
}

fn register(waker: &mut Option<Waker>, cx: &Context<'_>) {
    if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        *waker = Some(cx.waker().clone());
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
