//! Thin events, which name their object but do not carry it. The handler takes the object as it is
//! now, fetched from Stripe:
//! `STRIPE_API_KEY=rk_… STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p example-thin-events`.

use std::error::Error;

use router_core::build::BuildError;
use router_core::server::{Server, shutdown_signal};
use router_core::{Endpoint, Outcome, Router, Secrets, StripeObject, on_event};
use router_stripe::{ApiKey, Client, Fetched};

#[cfg(test)]
mod tests;

#[derive(serde::Deserialize, StripeObject)]
#[stripe(object = "invoice")] // handling an event about another object is a compile error
struct Invoice {
    id: String,
    status: String,
}

/// The invoice is `None` if it was deleted. If Stripe's API is unavailable, the answer is 500, and
/// Stripe sends the event again.
#[on_event("v1.invoice.paid", name = "orders.fulfil")]
async fn fulfil(invoice: Option<Fetched<Invoice>>) -> Outcome {
    let Some(Fetched(invoice)) = invoice else { return Outcome::ignored("the invoice is deleted") };
    tracing::info!(invoice = invoice.id, status = invoice.status, "invoice paid");
    Outcome::Done
}

router_core::plugin!();

/// The client is a state of the router, which `Fetched` takes.
fn endpoint(secrets: Secrets, client: Client) -> Result<Endpoint<Router>, BuildError> {
    let router = Router::builder().plugins([PLUGIN]).state(client).build()?;
    Ok(Endpoint::new(secrets, router))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    // A restricted key that may read invoices.
    let client = Client::builder(ApiKey::from_env("STRIPE_API_KEY")?).build()?;
    let endpoint = endpoint(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, client)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4242").await?;
    println!("listening on http://{}/webhook", listener.local_addr()?);
    Server::new(endpoint).serve(listener, shutdown_signal()?).await;
    Ok(())
}
