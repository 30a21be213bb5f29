//! Which backends a request goes to.

use std::ops::Deref;
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

/// A backend, and the conditions of its route.
pub(super) struct Placed {
    pub(super) route: Option<String>,
    backend: Arc<Backend>,
}

impl Deref for Placed {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.backend
    }
}

impl Routes {
    /// From the flags. What was there `before` for the same requests hands its backends on.
    pub(super) fn new(args: &ProxyArgs, cx: &Arc<Context>, before: Option<&Self>) -> Self {
        let pool = |backends: Vec<&value::Backend>, before| {
            let backends = backends.iter().map(|it| (it.endpoint.clone(), it.weight.unwrap_or(1)));
            Pool::new(backends, &args.balancing, cx, before)
        };
        let routes = args.routing.route.iter().map(|route| {
            let before = before.and_then(|before| before.same(route));
            (route.clone(), pool(route.backends.iter().collect(), before))
        });
        let rest: Vec<_> = args.backends().collect();
        let before = before.and_then(|before| before.rest.as_deref());
        Self { routes: routes.collect(), rest: (!rest.is_empty()).then(|| pool(rest, before)) }
    }

    /// All backends that there are now.
    pub(super) fn backends(&self) -> Vec<Placed> {
        let routes = self.routes.iter().map(|(route, pool)| (Some(route.conditions()), pool));
        let pools = routes.chain(self.rest.iter().map(|pool| (None, pool)));
        let placed = |(route, pool): (Option<String>, &Arc<Pool>)| -> Vec<_> {
            let backends = pool.backends();
            let backends = backends.iter().cloned();
            backends.map(|backend| Placed { route: route.clone(), backend }).collect()
        };
        pools.flat_map(placed).collect()
    }

    /// Sends the backend of this name nothing more, or again what would be its, and returns what its
    /// tunnels are known by: one of each pool that it is in.
    pub(super) fn set_draining(&self, name: &str, draining: bool) -> Vec<u32> {
        self.pools().filter_map(|pool| pool.set_draining(name, draining)).collect()
    }

    /// Others have come in their place.
    pub(super) fn retire(&self) {
        self.pools().for_each(|pool| pool.retire());
    }

    fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.routes.iter().map(|(_, pool)| pool).chain(&self.rest)
    }

    fn same(&self, route: &Route) -> Option<&Pool> {
        let mut routes = self.routes.iter();
        routes.find(|(it, _)| it.is_for_the_same(route)).map(|(_, pool)| &**pool)
    }

    /// The backends of a request, whose target becomes what they are asked for; with the target that
    /// it came with, where a route may have changed it.
    pub(super) fn find(&self, request: &mut Request) -> Option<(Arc<Pool>, Option<String>)> {
        let rest = || self.rest.clone().map(|pool| (pool, None));
        if self.routes.is_empty() {
            return rest();
        }
        let asked = Asked::of(request);
        let Some((route, pool)) = self.routes.iter().find(|(route, _)| route.fits(&asked)) else {
            return rest();
        };
        let target = route.stripped(&request.target)?.into_owned();
        let came = std::mem::replace(&mut request.target, target);
        Some((pool.clone(), Some(came)))
    }
}
