//! The program, as its users run it.

mod inbox;
mod jetstream;
mod metrics;
mod running;
mod serve;
