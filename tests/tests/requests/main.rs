//! Requests to an endpoint, answered by handlers that are registered by hand.

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
mod test_router;
