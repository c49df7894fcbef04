//! The endpoint: verifies an event, and processes it in one transaction.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use sqlx::SqlitePool;
use stripe_webhook::{Event, EventObject, Webhook};
use tokio::time::timeout;

use crate::{Mailer, disputes, mirror, orders, receipts, subscriptions};

/// The time for an event, with its mail. Stripe then gets an answer, and sends the event again.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The state of the endpoint.
#[derive(Clone)]
pub struct Shop {
    pub pool: SqlitePool,
    /// The endpoint's signing secret, `whsec_…`.
    pub secret: Arc<str>,
    pub mailer: Mailer,
}

/// Returns the routes of the shop.
pub fn app(shop: Shop) -> Router {
    Router::new()
        .route("/webhook", post(webhook))
        .route("/healthz", get(async || "ok"))
        .with_state(shop)
}

async fn webhook(
    State(shop): State<Shop>,
    headers: HeaderMap,
    body: String,
) -> Result<(), ServerError> {
    let signature = headers.get("stripe-signature").and_then(|value| value.to_str().ok());
    let signature = signature.unwrap_or_default();
    let event = match Webhook::construct_event(&body, signature, &shop.secret) {
        Ok(event) => event,
        Err(error) => return Err(ServerError(StatusCode::BAD_REQUEST, error.into())),
    };
    let processing = timeout(TIMEOUT, process(&shop, &event, &body)).await;
    let result = processing.context("the event was not processed in time").flatten();
    let result = result.with_context(|| format!("event {} ({})", event.id, event.type_));
    // Stripe sends the event again.
    result.map_err(|error| ServerError(StatusCode::INTERNAL_SERVER_ERROR, error))
}

async fn process(shop: &Shop, event: &Event, body: &str) -> anyhow::Result<()> {
    let processed = "select exists (select 1 from processed_events where event = $1)";
    if sqlx::query_scalar(processed).bind(event.id.as_str()).fetch_one(&shop.pool).await? {
        return Ok(());
    }
    // Before the transaction, because SQLite has a single writer.
    let sent = match &event.data.object {
        EventObject::InvoicePaid(invoice) => receipts::invoice_paid(shop, invoice).await?,
        EventObject::ChargeSucceeded(charge) | EventObject::ChargeCaptured(charge) => {
            receipts::charge_succeeded(shop, charge).await?
        }
        _ => None,
    };

    let mut tx = shop.pool.begin_with("begin immediate").await?;
    let statement = "insert into processed_events (event) values ($1) on conflict do nothing";
    let inserted = sqlx::query(statement).bind(event.id.as_str()).execute(&mut *tx).await?;
    if inserted.rows_affected() == 0 {
        return Ok(());
    }
    if let Some(key) = sent {
        receipts::record(&mut tx, &key).await?;
    }
    match &event.data.object {
        EventObject::CheckoutSessionCompleted(session)
        | EventObject::CheckoutSessionAsyncPaymentSucceeded(session)
        | EventObject::CheckoutSessionAsyncPaymentFailed(session)
        | EventObject::CheckoutSessionExpired(session) => {
            orders::record(&mut tx, event, session).await?;
        }
        EventObject::ChargeRefunded(charge) => {
            orders::record_refunded_charge(&mut tx, charge).await?;
        }
        EventObject::RefundCreated(refund)
        | EventObject::RefundUpdated(refund)
        | EventObject::RefundFailed(refund) => {
            orders::record_refund(&mut tx, event, refund).await?;
        }
        EventObject::CustomerSubscriptionCreated(subscription)
        | EventObject::CustomerSubscriptionDeleted(subscription)
        | EventObject::CustomerSubscriptionPaused(subscription)
        | EventObject::CustomerSubscriptionPendingUpdateApplied(subscription)
        | EventObject::CustomerSubscriptionPendingUpdateExpired(subscription)
        | EventObject::CustomerSubscriptionResumed(subscription)
        | EventObject::CustomerSubscriptionTrialWillEnd(subscription)
        | EventObject::CustomerSubscriptionUpdated(subscription) => {
            subscriptions::record(&mut tx, event, subscription).await?;
        }
        EventObject::ChargeDisputeCreated(dispute)
        | EventObject::ChargeDisputeUpdated(dispute)
        | EventObject::ChargeDisputeClosed(dispute) => {
            disputes::alert(&mut tx, event, dispute).await?;
        }
        EventObject::InvoicePaid(_)
        | EventObject::ChargeSucceeded(_)
        | EventObject::ChargeCaptured(_) => {}
        _ => tracing::info!(event = %event.id, "no handler for {}", event.type_),
    }
    mirror::record(&mut tx, event, body).await?;
    tx.commit().await?;
    Ok(())
}

/// An error with its status. The client sees only the status.
struct ServerError(StatusCode, anyhow::Error);

impl IntoResponse for ServerError {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        tracing::error!("failed to process an event: {error:#}");
        status.into_response()
    }
}
