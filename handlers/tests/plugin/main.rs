//! Tests of the plugin's handlers, in one program.

mod payments;
mod registered;
