//! The handlers of Stripe's events, and the application's own routes.

pub mod payments;

// Defines `PLUGIN`, with which `main.rs` and the tests add the handlers of this crate.
router_core::plugin!();
