//! Consistent hashing by rendezvous: every backend bids for a key, and the highest bid wins. When a
//! backend leaves, its own keys move, and no others.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::proxy::backend::Backend;

/// The same in all processes, so that several proxies agree.
pub(in crate::proxy) fn of(bytes: &[u8]) -> u64 {
    let digest = digest(&SHA256, bytes);
    digest.as_ref().iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// The backend that a key belongs to, unless it has too much to do already.
pub(super) fn choose<'a>(key: u64, from: &[&'a Arc<Backend>]) -> Option<&'a Arc<Backend>> {
    let live: usize = from.iter().map(|it| it.live()).sum();
    let weight: usize = from.iter().map(|it| it.weight()).sum();
    let free = from.iter().filter(|it| it.live() < bound(live, it.weight(), weight));
    free.max_by(|a, b| bid(key, a.id, a.weight()).total_cmp(&bid(key, b.id, b.weight()))).copied()
}

/// How much a backend may have. A quarter more than its part is what keeps most keys in place
/// (Mirrokni, Thorup and Zadimoghaddam 2018); the rest is for pools where a few are a quarter.
fn bound(live: usize, weight: usize, all: usize) -> usize {
    10 + (live * weight).div_ceil(all) * 5 / 4
}

/// What a backend bids for a key: such that it wins as often as its weight says.
fn bid(key: u64, id: u64, weight: usize) -> f64 {
    // Neither 0 nor 1: a float has a place for a half beside 52 bits.
    let uniform = ((mix(key ^ id) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    weight as f64 / -uniform.ln()
}

/// The end of SplitMix64: each bit of the result depends on all bits.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proxy::backend::tests::backends;

    fn home<'a>(key: usize, from: &[&'a Arc<Backend>]) -> &'a str {
        &choose(of(key.to_string().as_bytes()), from).unwrap().name
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn only_the_keys_of_one_that_leaves_move(
            weights in prop::collection::vec(1_usize..9, 2..9),
            at in any::<prop::sample::Index>(),
        ) {
            let backends = backends(&weights);
            let all: Vec<_> = backends.iter().collect();
            let mut rest = all.clone();
            let gone = rest.remove(at.index(all.len()));
            for key in 0..200 {
                let before = home(key, &all);
                prop_assert!(before == &*gone.name || before == home(key, &rest));
            }
        }

        #[test]
        fn keys_are_shared_out_by_weight(weights in prop::collection::vec(1_usize..9, 1..9)) {
            const KEYS: usize = 4000;
            let backends = backends(&weights);
            let from: Vec<_> = backends.iter().collect();
            let all: usize = weights.iter().sum();
            for backend in &backends {
                let got = (0..KEYS).filter(|key| home(*key, &from) == &*backend.name).count();
                let want = KEYS * backend.weight() / all;
                // Six standard deviations of a binomial distribution.
                let leeway = 6.0 * (want as f64).sqrt();
                prop_assert!((got as f64 - want as f64).abs() < leeway, "{got}, not {want}");
            }
        }

        #[test]
        fn nobody_gets_much_more_than_its_part(weights in prop::collection::vec(1_usize..9, 2..9)) {
            const CLIENTS: usize = 400;
            let backends = backends(&weights);
            let from: Vec<_> = backends.iter().collect();
            // All of them have the same key.
            let taken = (0..CLIENTS).map(|_| choose(7, &from).unwrap().share(CLIENTS).unwrap());
            let _taken: Vec<_> = taken.collect();
            let all: usize = weights.iter().sum();
            for backend in &backends {
                prop_assert!(backend.live() <= bound(CLIENTS, backend.weight(), all));
            }
        }
    }
}
