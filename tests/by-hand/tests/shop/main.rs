//! Drives the shop by hand and the shop with the router by the same signed events.

mod differences;
mod same_tables;
mod support;
