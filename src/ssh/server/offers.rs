//! What clients offer to each other under their own names. Nothing is listened on for that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use russh::server::{Handle, Msg};
use tokio_util::sync::CancellationToken;

use super::visit::Visit;
use crate::error::{Error, Kind, Result};
use crate::lock::lock;

/// A name and a port.
pub(super) type Place = (String, u16);

/// Who offers what.
#[derive(Default)]
pub(super) struct Offers(Mutex<HashMap<Place, Offer>>);

/// A place on the far side of a client.
#[derive(Clone)]
pub(super) struct Offer {
    pub(super) visit: Arc<Visit>,
    pub(super) session: Handle,
    /// Cancelled when it is taken back, or the client is gone.
    pub(super) release: CancellationToken,
}

impl Offers {
    /// Offers a place, from now on in place of a former session of the same client. False where
    /// it is another's.
    pub(super) fn offer(&self, place: Place, offer: Offer) -> bool {
        let mut offers = lock(&self.0);
        offers.retain(|_, offer| !offer.release.is_cancelled());
        let others = |former: &Offer| former.visit.identity() != offer.visit.identity();
        if offers.get(&place).is_some_and(others) {
            return false;
        }
        offers.insert(place, offer);
        true
    }

    /// What is offered there; port 0 stands for all that is offered under the name.
    pub(super) fn find(&self, (host, port): &Place) -> Vec<(Place, Offer)> {
        let asked = |at: &Place| at.0 == *host && (*port == 0 || at.1 == *port);
        let offers = lock(&self.0);
        let found = offers.iter().filter(|(at, it)| asked(at) && !it.release.is_cancelled());
        found.map(|(at, offer)| (at.clone(), offer.clone())).collect()
    }
}

impl Offer {
    /// Connects to it, on behalf of a client at an address.
    ///
    /// # Errors
    /// The client that offers it does not connect, or has gone.
    pub(super) async fn open(
        &self,
        (host, port): &Place,
        from: &str,
    ) -> Result<russh::Channel<Msg>> {
        let port = u32::from(*port);
        tokio::select! {
            opened = self.session.channel_open_forwarded_tcpip(host, port, from, 0) => {
                opened.map_err(crate::ssh::failure)
            }
            () = self.release.cancelled() => Err(Error::new(Kind::Lost, "it has gone")),
        }
    }
}
