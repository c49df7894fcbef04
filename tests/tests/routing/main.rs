//! Routers of annotated handlers: which handlers an event reaches, with which arguments, and how
//! their results are answered. Each test chooses its handlers with `.only` or `.without_linked`,
//! because all handlers of this program are linked.

mod attempts;
mod delivery_replies;
mod delivery_router;
mod either;
mod endpoint_table;
mod exclusive;
mod extract;
mod filters;
mod keys;
mod outcomes;
mod panics;
mod recency;
mod redelivery;
mod reply;
