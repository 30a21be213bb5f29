//! Which backend is next.

use std::sync::Arc;

use super::backend::{Backend, Share};
use crate::endpoint::Endpoint;

/// Backends that do the same.
pub(super) struct Pool {
    backends: Vec<Arc<Backend>>,
}

impl Pool {
    pub(super) fn new(backends: impl IntoIterator<Item = (Endpoint, usize)>) -> Self {
        let backends =
            backends.into_iter().map(|(endpoint, weight)| Backend::new(endpoint, weight));
        Self { backends: backends.collect() }
    }

    /// All of them.
    pub(super) fn backends(&self) -> impl Iterator<Item = &Backend> {
        self.backends.iter().map(|backend| &**backend)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.backends.len()
    }

    /// The next backend for a request, but none of those that were tried for it already.
    pub(super) fn pick(&self, tried: &[Share]) -> Option<Share> {
        let fresh = |backend: &&Arc<Backend>| {
            !tried.iter().any(|it| std::ptr::eq(&**it, Arc::as_ptr(backend)))
        };
        // Shares are compared as fractions of the weight, without dividing.
        let best = self
            .backends
            .iter()
            .filter(fresh)
            .min_by(|a, b| ((a.live() + 1) * b.weight).cmp(&((b.live() + 1) * a.weight)));
        best.map(Backend::share)
    }
}
