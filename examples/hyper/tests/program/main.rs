//! End-to-end tests of the program.

mod hostile;
mod inbox;
mod jetstream;
mod metrics;
mod running;
mod serve;
mod shop;
mod shutdown;
