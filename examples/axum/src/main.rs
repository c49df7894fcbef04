//! A webhook endpoint in an axum application:
//! `STRIPE_WEBHOOK_SECRET=whsec_… cargo run -p example-axum`.

use std::{error::Error, time::Duration};

use router_core::{Endpoint, Router, Secrets, health::HealthEndpoint, server::shutdown_signal};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();

    let router = Router::builder().plugins([handlers::PLUGIN]).build()?;
    print!("{}", router.routes());

    let endpoint = Endpoint::new(Secrets::from_env("STRIPE_WEBHOOK_SECRET")?, router.clone());
    let shutdown = shutdown_signal()?;
    let health = HealthEndpoint::new().shutdown(shutdown.clone());
    let app = axum::Router::new()
        .route_service("/webhook", endpoint)
        .route_service("/healthz", health.clone())
        .route_service("/readyz", health);

    let listener = TcpListener::bind("127.0.0.1:4242").await?;
    println!("listening on http://{}/webhook", listener.local_addr()?);
    // Less than the 30 s after which Kubernetes kills a process.
    let shutdown_limit = shutdown.grace_period(Duration::from_secs(25));
    let serving = async {
        axum::serve(listener, app).with_graceful_shutdown(shutdown).await?;
        // Handlers may still be running for clients that disconnected.
        router.close();
        router.drained().await;
        Ok(())
    };
    tokio::select! {
        result = serving => result,
        () = shutdown_limit => Err("handlers are still running after 25 s".into()),
    }
}
