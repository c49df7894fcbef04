//! The program as a person runs it.

mod first_steps;
mod inbox;
mod offline;
mod program;
mod send;
mod shop;
mod unanswered;
mod verify;
