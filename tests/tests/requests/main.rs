//! Requests to an endpoint, answered by handlers that are registered by hand. No module of this
//! program may use `#[on_event]`: the routers take all linked handlers.

mod by_hand;
mod chaos;
mod dead_letters;
mod duplicates;
mod endpoint_limits;
mod endpoint_seams;
mod health;
mod log;
mod middleware;
mod router;
mod server;
mod simulation;
mod test_router;
