//! Which backends a request goes to.

use std::sync::Arc;

use super::backend::Backend;
use super::balance::Pool;
use super::route::{Asked, Route};
use crate::cli::{ProxyArgs, value};
use crate::context::Context;
use crate::http::Request;

/// The first route that fits takes a request; those that none fits go to the backends of no route.
pub(super) struct Routes {
    routes: Vec<(Route, Arc<Pool>)>,
    rest: Option<Arc<Pool>>,
}

impl Routes {
    pub(super) fn new(args: &ProxyArgs, cx: &Arc<Context>) -> Self {
        let pool = |backends: Vec<&value::Backend>| {
            let backends = backends.iter().map(|it| (it.endpoint.clone(), it.weight.unwrap_or(1)));
            Pool::new(backends, &args.balancing, cx)
        };
        let routes = args.routing.route.iter();
        let routes = routes.map(|route| (route.clone(), pool(route.backends.iter().collect())));
        let rest: Vec<_> = args.backends().collect();
        Self { routes: routes.collect(), rest: (!rest.is_empty()).then(|| pool(rest)) }
    }

    /// All backends that there are now.
    pub(super) fn backends(&self) -> Vec<Arc<Backend>> {
        self.pools().flat_map(|pool| pool.backends().to_vec()).collect()
    }

    /// Sends the backend of this name nothing more, or again what would be its, and returns what its
    /// tunnels are known by: one of each pool that it is in.
    pub(super) fn set_draining(&self, name: &str, draining: bool) -> Vec<u32> {
        self.pools().filter_map(|pool| pool.set_draining(name, draining)).collect()
    }

    fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.routes.iter().map(|(_, pool)| pool).chain(&self.rest)
    }

    /// The backends of a request, whose target becomes what they are asked for.
    pub(super) fn find(&self, request: &mut Request) -> Option<Arc<Pool>> {
        if self.routes.is_empty() {
            return self.rest.clone();
        }
        let asked = Asked::of(request);
        let Some((route, pool)) = self.routes.iter().find(|(route, _)| route.fits(&asked)) else {
            return self.rest.clone();
        };
        request.target = route.stripped(&request.target)?.into_owned();
        Some(pool.clone())
    }
}
