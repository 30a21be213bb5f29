//! The connections of a run to servers, which WebSockets to one place share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::client::Client;
use crate::duplex::{ByteStream, Close};
use crate::error::{Kind, Result};
use crate::http::{Request, Response};
use crate::lock::lock;
use crate::trace::{Phase, Trace};

/// All connections that are open, by the place they lead to.
#[derive(Default)]
pub(crate) struct Connections {
    places: Mutex<HashMap<String, Place>>,
    tasks: TaskTracker,
}

/// The latest connection to a place; who finds it locked waits for one that is being opened.
type Place = Arc<tokio::sync::Mutex<Weak<Client>>>;

impl Connections {
    /// Asks for a WebSocket at a place, over a connection that is there already or over one that
    /// `open` opens: the answer, and what follows it. Without a place, it is not shared.
    ///
    /// # Errors
    /// Those of opening; [`Kind::Handshake`] where the server takes no WebSockets over HTTP/2;
    /// [`Kind::Lost`].
    pub(crate) async fn ask(
        &self,
        place: Option<String>,
        open: impl Future<Output = Result<ByteStream>>,
        request: &Request,
        secure: bool,
        trace: &Trace,
    ) -> Result<(Response, ByteStream)> {
        let place = place.map(|it| lock(&self.places).entry(it).or_default().clone());
        let Some(place) = place else {
            let stream = open.await?;
            let _upgrading = trace.enter(Phase::Upgrade);
            return self.begin(stream).await?.ask(request, secure).await;
        };
        let mut latest = place.lock().await;
        if let Some(client) = latest.upgrade().filter(has_room) {
            drop(latest);
            let _upgrading = trace.enter(Phase::Upgrade);
            match client.ask(request, secure).await {
                // It may have been about to close, and has not acted on the request.
                Err(error) if error.kind() == Kind::Lost => {}
                answered => return answered,
            }
            latest = place.lock().await;
        }
        let stream = open.await?;
        let _upgrading = trace.enter(Phase::Upgrade);
        let client = self.begin(stream).await?;
        *latest = Arc::downgrade(&client);
        drop(latest);
        client.ask(request, secure).await
    }

    async fn begin(&self, stream: ByteStream) -> Result<Arc<Client>> {
        Client::begin(stream, &self.tasks).await.map(Arc::new)
    }

    /// Waits until the connections have said goodbye, once nobody holds a stream any more.
    pub(crate) async fn end(&self) {
        self.tasks.close();
        let _ = timeout(Close::PATIENCE, self.tasks.wait()).await;
    }
}

/// Each stream holds the connection, and so does whoever looks.
fn has_room(client: &Arc<Client>) -> bool {
    Arc::strong_count(client) - 1 < client.room()
}
