//! A webhook endpoint in a salvo application:
//! `STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p example-salvo`.
//!
//! `compat()` (salvo's feature `tower-compat`) makes a salvo handler of a tower service. The body
//! reaches the service as a stream, so the limits of the `Endpoint` apply, and salvo's own limit
//! for parsed bodies (64 KiB) does not.

use std::{env, error::Error, time::Duration};

use router_core::{Endpoint, Router, Secrets, server::shutdown_signal};
use salvo::{Server, conn::tcp::TcpAcceptor, http::ReqBody, prelude::TowerServiceCompat};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    let router = Router::builder().plugins([handlers::PLUGIN]).build()?;
    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, router.clone());
    // A `hoop` in front must not read the body: `parse_json` would take it from the endpoint.
    let app = salvo::Router::with_path("webhook")
        .post(TowerServiceCompat::<ReqBody, _, _, _>::compat(endpoint));

    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:4242".into());
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}/webhook", listener.local_addr()?);
    let server = Server::new(TcpAcceptor::try_from(listener)?);
    let (shutdown, handle) = (shutdown_signal()?, server.handle());
    tokio::spawn(async move {
        shutdown.await;
        // Less than the 30 s after which Kubernetes kills a process.
        handle.stop_graceful(Duration::from_secs(25));
    });
    server.try_serve(app).await?;
    // Handlers may still be running for clients that disconnected.
    router.close();
    router.drained().await;
    Ok(())
}
