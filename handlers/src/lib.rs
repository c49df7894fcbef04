//! An example plugin with the two handlers of Stripe's own sample code.
//!
//! An application registers the handlers with `.plugins([handlers::PLUGIN])`.

pub mod payments;

router_core::plugin!();
