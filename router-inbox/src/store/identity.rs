//! Hashes that identify events in the stores: of fixed size, however long the texts are.

use router_core::event::EventKey;
use sha2::{Digest as _, Sha256};

/// Returns a hash of everything that identifies an event, except its generation.
pub(crate) fn identity(key: &EventKey) -> [u8; 32] {
    // Redundant, because no account has an empty id. Stored hashes include it.
    let has_account = if key.account().is_some() { "1" } else { "0" };
    let account = key.account().unwrap_or_default();
    let serial = key.serial().map(|serial| serial.to_string()).unwrap_or_default();
    hash(&[key.endpoint(), has_account, account, key.id(), key.event_type(), &serial])
}

/// Returns a hash of the parts. Different parts never have the same hash.
pub(crate) fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
