//! A plugin as a user of router-core would write one: the two handlers of every Stripe sample.
//!
//! An application lists it, `.plugins([handlers::PLUGIN])`, and its functions are called.

pub mod payments;

router_core::plugin!();
