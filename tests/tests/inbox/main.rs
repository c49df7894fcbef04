//! An inbox: what is answered once an event is stored, and how it is delivered until it is done.

mod counting;
mod delivering;
mod effects;
#[path = "../exchange/mod.rs"]
mod exchange;
mod jetstream;
mod leases;
#[path = "../logged/mod.rs"]
mod logged;
mod receiving;
mod shop;
mod telling;
