//! The fixed id of Stripe's test events.

use std::hash::{BuildHasher as _, RandomState};

/// The minimum number of zeros of a test id: `evt_00000000000000`.
const MIN_ZEROS: usize = 14;

/// Returns whether this is the id that Stripe gives to test events: `evt_` and zeros.
///
/// Every test event has this id, so equal ids do not mean equal events.
pub(super) fn is_test_id(id: &str) -> bool {
    id.strip_prefix("evt_")
        .is_some_and(|zeros| zeros.len() >= MIN_ZEROS && zeros.bytes().all(|byte| byte == b'0'))
}

/// Returns a random number that tells one test event from the others. It fits an `i64`.
pub(super) fn new_serial() -> Option<u64> {
    Some(RandomState::new().hash_one(()) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_id_is_many_zeros_only() {
        assert!(is_test_id("evt_00000000000000"));
        assert!(is_test_id("evt_000000000000000000000000"));
        for id in ["evt_0", "evt_", "evt_00000000000001", "in_00000000000000", ""] {
            assert!(!is_test_id(id), "{id}");
        }
    }

    #[test]
    fn serials_differ_and_fit_i64() {
        let serials: std::collections::HashSet<_> = (0..1000).map(|_| new_serial()).collect();
        assert_eq!(serials.len(), 1000);
        assert!(serials.iter().flatten().all(|serial| i64::try_from(*serial).is_ok()));
    }
}
