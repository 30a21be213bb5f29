//! The SSH sessions of one run: one for each distinct hop, shared among its channels.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::sleep;

use super::config::Config;
use super::target::read_config;
use super::{Session, Target};
use crate::backoff::Backoff;
use crate::cli::SshArgs;
use crate::console;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;
use crate::report;

/// The sessions of one chain; it is locked while one begins.
type Shared = Arc<AsyncMutex<Vec<Arc<Session>>>>;

/// The sessions, by the chain of hops that leads to each.
pub(crate) struct Sessions {
    by_chain: Mutex<HashMap<String, Shared>>,
    args: SshArgs,
    /// How many sessions one chain may have.
    most: usize,
    /// Read when it is first needed.
    config: OnceLock<Result<Config>>,
    /// Where a session that cannot begin is tried again for as long as somebody waits for it.
    kept: OnceLock<Kept>,
}

/// How sessions are kept up.
struct Kept {
    /// How long one attempt may take: a server that takes connections and says nothing is none.
    attempt: Duration,
    /// How long a connection that comes meanwhile may wait.
    queue: Duration,
}

impl Sessions {
    /// None yet; of one chain there will be so many at most.
    pub(crate) fn new(args: &SshArgs, most: usize) -> Self {
        Self {
            by_chain: Mutex::default(),
            args: args.clone(),
            most,
            config: OnceLock::new(),
            kept: OnceLock::new(),
        }
    }

    /// What is meant by the name of a server.
    ///
    /// # Errors
    /// [`Kind::Usage`], often of ssh_config.
    pub(crate) fn target(
        &self,
        host: &str,
        user: Option<&str>,
        port: Option<u16>,
    ) -> Result<Target> {
        let config = self.config.get_or_init(|| read_config(&self.args));
        let config = config.as_ref().map_err(Clone::clone)?;
        Target::new(host, user, port, &self.args, config)
    }

    /// The session with the fewest channels; a new one where there is none, or none is idle and
    /// there may be more. Those that are lost or worn out are left to the channels they have.
    pub(crate) async fn get<'a>(
        &self,
        chain: &str,
        begin: impl Fn() -> BoxFuture<'a, Result<Session>>,
    ) -> Result<Arc<Session>> {
        let sessions = {
            let mut chains = lock(&self.by_chain);
            chains.entry(chain.to_owned()).or_default().clone()
        };
        // Whoever comes while a session begins waits for it.
        let mut sessions = sessions.lock().await;
        sessions.retain(|session| session.is_alive() && !session.is_worn());
        let idlest = sessions.iter().min_by_key(|session| session.channels());
        if let Some(session) = idlest
            && (session.channels() == 0 || sessions.len() >= self.most)
        {
            return Ok(session.clone());
        }
        let session = Arc::new(self.begin(begin).await?);
        sessions.push(session.clone());
        Ok(session)
    }

    /// From here on, sessions are begun again and again: until it works, the server refuses us, or
    /// nobody waits any more. One `attempt` takes no longer than that, and those who come while
    /// there is no session wait no longer than `queue`.
    pub(crate) fn keep(&self, attempt: Duration, queue: Duration) {
        let _ = self.kept.set(Kept { attempt, queue });
    }

    /// How long those who come now wait, if a session that is kept up is away.
    pub(crate) fn queue(&self) -> Option<Duration> {
        let kept = self.kept.get()?;
        let away = |sessions: &Shared| match sessions.try_lock() {
            Ok(sessions) => !sessions.iter().any(|session| session.is_alive()),
            Err(_) => true,
        };
        lock(&self.by_chain).values().any(away).then_some(kept.queue)
    }

    async fn begin<'a>(
        &self,
        begin: impl Fn() -> BoxFuture<'a, Result<Session>>,
    ) -> Result<Session> {
        let Some(kept) = self.kept.get() else { return begin().await };
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        loop {
            let error = match console::within(kept.attempt, begin()).await {
                Some(Ok(session)) => return Ok(session),
                Some(Err(error)) if matches!(error.kind(), Kind::Auth | Kind::Usage) => {
                    return Err(error);
                }
                Some(Err(error)) => error,
                None => Error::new(Kind::Timeout, format!("no session after {:?}", kept.attempt)),
            };
            let pause = backoff.pause();
            report::verbose(format_args!("{error}; next attempt in {pause:.1?}"));
            sleep(pause).await;
        }
    }

    /// Says goodbye in all sessions.
    pub(crate) async fn end(&self) {
        let chains: Vec<_> = {
            let mut chains = lock(&self.by_chain);
            chains.drain().map(|(_, sessions)| sessions).collect()
        };
        for sessions in chains {
            for session in sessions.lock().await.drain(..) {
                session.end().await;
            }
        }
    }
}
