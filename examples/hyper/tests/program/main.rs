//! The program, as its users run it.

mod inbox;
mod metrics;
mod running;
mod serve;
