//! Tests of the built `event-router` program.

mod doctor;
mod first_steps;
mod inbox;
mod new;
mod offline;
mod program;
mod reconcile;
mod send;
mod send_errors;
mod test_server;
mod verify;
