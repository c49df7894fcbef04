//! The types of a snapshot event and of the thin event for the same change. Stripe names the thin
//! one `v1.` and the type of the snapshot event.

const PREFIX: &str = "v1.";

/// Returns the type of the snapshot event for the same change as a thin event, such as
/// `invoice.paid` for `v1.invoice.paid`. Returns `None` for another form of type.
///
/// Stripe need not have such an event: [`lookup`](crate::lookup) finds the known ones.
///
/// ```
/// use router_catalog::{snapshot_type, thin_type};
///
/// assert_eq!(snapshot_type("v1.invoice.paid"), Some("invoice.paid"));
/// assert_eq!(snapshot_type("v2.core.account.created"), None);
/// assert_eq!(thin_type("invoice.paid"), "v1.invoice.paid");
/// ```
#[must_use]
pub fn snapshot_type(thin: &str) -> Option<&str> {
    thin.strip_prefix(PREFIX)
}

/// Returns the type of the thin event for the same change as a snapshot event, such as
/// `v1.invoice.paid` for `invoice.paid`. The reverse of [`snapshot_type`].
#[must_use]
pub fn thin_type(snapshot: &str) -> String {
    format!("{PREFIX}{snapshot}")
}
