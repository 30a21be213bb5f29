//! What has arrived for a channel and is not read yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::task::Waker;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::lock::lock;
use crate::ssh::{Load, Waiting};

/// Up to how many bytes are put together, so that a great many small pieces do not take much more
/// memory than what is in them.
const SMALL: usize = 4 << 10;

/// The inbox of a channel: the owner fills it, the reader empties it.
pub(super) struct Inbox {
    state: Mutex<State>,
    /// Something was taken out.
    pub(super) room: Notify,
    /// What is still to be said to a forward does not matter any more.
    pub(super) reset: CancellationToken,
}

pub(super) struct State {
    pub(super) waiting: VecDeque<Bytes>,
    pub(super) size: Waiting,
    /// How the peer's direction has ended.
    pub(super) end: Option<Result<()>>,
    /// How the command on the far side has ended.
    pub(super) exit: Option<Result<()>>,
    /// How our end has, once it has; what was said before is said first.
    pub(super) finish: Option<Result<()>>,
    /// Whether the peer has closed the channel, or is gone.
    pub(super) closed: bool,
    pub(super) reader: Option<Waker>,
    /// Who waits for the channel to be closed.
    pub(super) watcher: Option<Waker>,
}

impl Inbox {
    pub(super) fn new(load: &Load) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            size: load.waiting(),
            end: None,
            exit: None,
            finish: None,
            closed: false,
            reader: None,
            watcher: None,
        };
        Self { state: Mutex::new(state), room: Notify::new(), reset: CancellationToken::new() }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Changes the state and wakes whoever may wait for that.
    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let wakers = [state.reader.take(), state.watcher.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn put(&self, bytes: Bytes) {
        self.change(|state| {
            state.add(bytes);
        });
    }

    pub(super) fn end(&self, how: Result<()>) {
        self.change(|state| {
            state.end.get_or_insert(how);
        });
    }
}

impl State {
    pub(super) fn add(&mut self, bytes: Bytes) {
        self.size.set(self.size.bytes + bytes.len());
        match self.waiting.back_mut() {
            Some(last) if last.len() + bytes.len() <= SMALL => {
                *last = [&last[..], &bytes].concat().into();
            }
            _ => self.waiting.push_back(bytes),
        }
    }

    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.size.set(0);
    }
}
