//! Tests of the shop's handlers behind an inbox, in one program.

mod disputes;
mod mirror;
mod orders;
mod permutations;
mod registered;
mod subscriptions;
mod support;
