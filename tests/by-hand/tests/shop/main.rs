//! Drives the shop by hand and those with the router by the same signed events.

mod differences;
mod lines;
mod same_tables;
mod support;
