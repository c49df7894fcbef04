//! Webhook endpoints for a platform and its Connect accounts, in an axum application with state of
//! its own:
//! `STRIPE_WEBHOOK_SECRET=platform=whsec_…,connect=whsec_… cargo run -p example-axum`.
//!
//! Both endpoints at Stripe send to one address here. The name of the secret that has signed an
//! event is the name of its endpoint, and handlers choose events by it.

use std::{collections::BTreeSet, env, error::Error, sync::Arc, sync::Mutex, time::Duration};

use axum::{extract::State as AxumState, routing::get};
use router_core::{
    Endpoint, Router, Secrets, State, extract::Account, health::HealthEndpoint, on_event,
    server::shutdown_signal,
};
use tokio::net::TcpListener;
use tower_http::trace::TraceLayer;
use tracing_subscriber::EnvFilter;

/// The state of the application: the connected accounts that have changed. Event handlers write it,
/// and a page shows it.
#[derive(Default)]
struct Accounts(Mutex<BTreeSet<String>>);

/// Records a change of a connected account. An event that the platform's secret has signed is not
/// for this handler.
#[on_event("account.updated", endpoint = "connect", name = "accounts.updated")]
async fn account_updated(account: Account, State(accounts): State<Accounts>) {
    accounts.0.lock().expect("no thread panics with the lock").insert(account.to_string());
}

router_core::plugin!();

/// Returns the changed accounts, one a line.
async fn changed_accounts(AxumState(accounts): AxumState<Arc<Accounts>>) -> String {
    let accounts = accounts.0.lock().expect("no thread panics with the lock");
    accounts.iter().map(|account| format!("{account}\n")).collect()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info,tower_http=debug")).init();

    let secrets = Secrets::from_env("STRIPE_WEBHOOK_SECRET")?;
    let accounts = Arc::<Accounts>::default();
    let router = Router::builder()
        .plugins([handlers::PLUGIN, PLUGIN])
        // The same value as in axum's state. `.state(…)` takes one that only handlers use.
        .shared_state(accounts.clone())
        // Fails at start if no secret has the name `connect`.
        .endpoints(secrets.endpoints())
        .build()?;
    print!("{}", router.routes());

    let endpoint = Endpoint::new(secrets, router.clone());
    let shutdown = shutdown_signal()?;
    let health = HealthEndpoint::new().shutdown(shutdown.clone());
    let app = axum::Router::new()
        .route("/accounts", get(changed_accounts))
        .with_state(accounts)
        // `nest` removes the prefix: a `SecretProvider` and the log would see the path `/webhook`.
        // An extractor such as `Json`, or a layer that reads bodies, would break the signature.
        .nest("/stripe", axum::Router::new().route_service("/webhook", endpoint))
        .layer(TraceLayer::new_for_http())
        // After the layer, so that probes are not logged.
        .route_service("/healthz", health.clone())
        .route_service("/readyz", health);

    let listen = env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:4242".into());
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}/stripe/webhook", listener.local_addr()?);
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
