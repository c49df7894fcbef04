//! A webhook endpoint for each tenant, `/webhook/{tenant}`, with signing secrets from a database:
//! `cargo run -p example-tenants`. Add a tenant with
//! `sqlite3 tenants.db "insert into secrets values ('acme', 'whsec_…')"`.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use router_core::clock::{Clock, SystemClock};
use router_core::endpoint::SecretProvider;
use router_core::http::request::Parts;
use router_core::server::{Server, shutdown_signal};
use router_core::signature::{EndpointName, SecretError};
use router_core::{BoxError, Endpoint, Object, Router, Secrets, SigningSecret, on_event};
use sqlx::SqlitePool;

#[cfg(test)]
mod tests;

#[derive(serde::Deserialize)]
struct Invoice {
    id: String,
}

/// The name of the event's endpoint is the tenant.
#[on_event("invoice.paid", name = "orders.fulfil")]
async fn fulfil(tenant: EndpointName, invoice: Object<Invoice>) {
    tracing::info!(%tenant, invoice = invoice.id, "invoice paid");
}

router_core::plugin!();

/// The time after which a new, rolled or removed secret takes effect.
const CACHE_TIME: Duration = Duration::from_secs(30);

struct Tenants {
    database: SqlitePool,
    /// The secrets of known tenants, with the times at which they expire. Unknown tenants are not
    /// cached, so requests with invented names do not fill the memory.
    cache: Mutex<HashMap<String, (Instant, Secrets)>>,
    clock: Arc<dyn Clock>,
}

impl SecretProvider for Tenants {
    /// An error, such as a failed query, is answered with 503, and Stripe sends the event again.
    async fn secrets(&self, request: &Parts) -> Result<Option<Secrets>, BoxError> {
        let Some(tenant) = request.uri.path().strip_prefix("/webhook/") else { return Ok(None) };
        let now = self.clock.monotonic();
        let cached = self.cache().get(tenant).filter(|(expiry, _)| now < *expiry).cloned();
        if let Some((_, secrets)) = cached {
            return Ok(Some(secrets));
        }
        // Two rows while a secret is rolled.
        let query = sqlx::query_scalar("select secret from secrets where tenant = ?").bind(tenant);
        let texts: Vec<String> = query.fetch_all(&self.database).await?;
        if texts.is_empty() {
            self.cache().remove(tenant);
            return Ok(None); // answered with 404
        }
        // The name separates the tenants: equal events of two tenants are not duplicates.
        let named = |text: &String| Ok::<_, SecretError>(SigningSecret::new(text)?.named(tenant));
        let secrets: Secrets = texts.iter().map(named).collect::<Result<_, _>>()?;
        self.cache().insert(tenant.to_owned(), (now + CACHE_TIME, secrets.clone()));
        Ok(Some(secrets))
    }
}

impl Tenants {
    async fn new(database: SqlitePool, clock: impl Clock) -> Result<Self, sqlx::Error> {
        let table =
            "create table if not exists secrets (tenant text not null, secret text not null)";
        sqlx::query(table).execute(&database).await?;
        Ok(Self { database, cache: Mutex::default(), clock: Arc::new(clock) })
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<String, (Instant, Secrets)>> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let database = SqlitePool::connect("sqlite:tenants.db?mode=rwc").await?;
    let tenants = Tenants::new(database, SystemClock).await?;
    let router = Router::builder().plugins([PLUGIN]).build()?;
    let endpoint = Endpoint::with_provider(tenants, router);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:4242").await?;
    println!("listening on http://{}/webhook/{{tenant}}", listener.local_addr()?);
    Server::new(endpoint).serve(listener, shutdown_signal()?).await;
    Ok(())
}
