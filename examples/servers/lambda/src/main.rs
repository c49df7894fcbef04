//! A webhook endpoint as an AWS Lambda function behind an API Gateway (REST or HTTP) or a function
//! URL. `cargo lambda build --release` builds it; set `STRIPE_WEBHOOK_SECRET` in its environment.
//!
//! `lambda_http` makes an `http::Request` of each event and decodes a body in base64, so the
//! endpoint is its service. The gateway must pass the body on unchanged: no mapping template. A
//! REST API adds its stage to the path that a `SecretProvider` sees, as in `/prod/webhook`.
//!
//! Lambda freezes the process once the function has answered. Handlers must therefore finish before
//! the answer, as they do without an inbox. With an inbox, run the worker in a process outside
//! Lambda, on a store that both reach (PostgreSQL or JetStream), and here only receive.
//!
//! Set the function's timeout to 29 s, as the gateway's: its default of 3 s stops most handlers.
//! The router stops a handler after 20 s, and the answer to Stripe is then still in time. Each
//! instance of the function has its own memory of duplicates, so make handlers idempotent.

use lambda_http::{Error, run, tracing::init_default_subscriber};
use router_core::{Endpoint, Router, Secrets};

#[tokio::main]
async fn main() -> Result<(), Error> {
    init_default_subscriber();

    let router = Router::builder().plugins([handlers::PLUGIN]).build()?;
    run(Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, router)).await
}
