//! What several test programs need.

#![allow(dead_code, reason = "not every program needs all of it")]

pub(crate) mod postgres;
