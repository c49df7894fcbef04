//! Payments: a handler that records them, and a route that reads them.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use router_core::{BoxError, Object, StripeObject, on_event};
use router_inbox::Tx;
use router_inbox::sqlx::{self, Sqlite, SqlitePool};
use serde::Deserialize;

/// The fields that the handler needs. Other fields are skipped.
#[derive(Deserialize, StripeObject)]
#[stripe(object = "payment_intent")]
struct PaymentIntent {
    id: String,
    amount: i64,
    currency: String,
}

/// Records the payment. The row and the end of the delivery commit in one transaction, so a crash
/// loses or doubles neither.
#[on_event("payment_intent.succeeded", name = "payments.record")]
async fn record(intent: Object<PaymentIntent>, mut tx: Tx<Sqlite>) -> Result<(), BoxError> {
    tracing::info!(payment_intent = intent.id, "recording the payment");
    // Nothing else can write to the file until the handler returns: begin late.
    let db = tx.begin().await?;
    // A payment may be there already: `event-router inbox replay` runs the handler again.
    let insert = "insert into payments (id, amount, currency) values (?, ?, ?) \
                  on conflict do nothing";
    sqlx::query(insert)
        .bind(&intent.id)
        .bind(intent.amount)
        .bind(&intent.currency)
        .execute(db)
        .await?;
    Ok(())
}

/// Creates the table, if it is missing.
pub async fn create_table(pool: &SqlitePool) -> sqlx::Result<()> {
    let table = "create table if not exists payments \
                 (id text primary key, amount integer not null, currency text not null)";
    sqlx::query(table).execute(pool).await?;
    Ok(())
}

/// The routes of this module. `GET /payments/{id}` is for the page that the customer sees after the
/// payment: it is 200 when the payment is recorded, and 404 before.
pub fn routes(pool: SqlitePool) -> Router {
    Router::new()
        .route("/payments/{id}", get(payment))
        .with_state(pool)
}

async fn payment(Path(id): Path<String>, State(pool): State<SqlitePool>) -> StatusCode {
    let query = sqlx::query("select 1 from payments where id = ?").bind(id);
    match query.fetch_optional(&pool).await {
        Ok(Some(_)) => StatusCode::OK,
        Ok(None) => StatusCode::NOT_FOUND,
        Err(error) => {
            tracing::error!(%error, "failed to read the payments");
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}
