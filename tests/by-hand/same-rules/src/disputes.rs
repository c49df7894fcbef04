//! An alert for each dispute that needs a response, with its due date.

use router_core::{BoxError, Event, Object, on_event};
use router_inbox::Tx;
use serde::Deserialize;
use sqlx::Sqlite;

use crate::created;

#[derive(Deserialize)]
struct Dispute {
    id: String,
    charge: String,
    amount: i64,
    currency: String,
    reason: String,
    status: String,
    evidence_details: EvidenceDetails,
}

#[derive(Deserialize)]
struct EvidenceDetails {
    due_by: Option<i64>,
}

/// Records the state of a dispute. Logs one alert for each due date.
#[on_event(
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    name = "disputes.alert"
)]
async fn alert(event: Event, dispute: Object<Dispute>, mut tx: Tx<Sqlite>) -> Result<(), BoxError> {
    let tx = tx.begin().await?;
    let statement = "insert into disputes (dispute, charge, amount, currency, reason, status, \
             changed_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (dispute) do update set charge = excluded.charge, amount = excluded.amount,
             currency = excluded.currency, reason = excluded.reason, status = excluded.status,
             changed_at = excluded.changed_at
         where disputes.changed_at <= excluded.changed_at";
    let recorded = sqlx::query(statement)
        .bind(&dispute.id)
        .bind(&dispute.charge)
        .bind(dispute.amount)
        .bind(&dispute.currency)
        .bind(&dispute.reason)
        .bind(&dispute.status)
        .bind(created(&event)?)
        .execute(&mut *tx)
        .await?;
    let needs_response =
        matches!(dispute.status.as_str(), "needs_response" | "warning_needs_response");
    if recorded.rows_affected() == 0 || !needs_response {
        return Ok(());
    }
    let due_by = dispute.evidence_details.due_by.unwrap_or_default();
    let statement = "insert into dispute_alerts (dispute, due_by) values ($1, $2)
         on conflict (dispute, due_by) do nothing";
    let alert = sqlx::query(statement).bind(&dispute.id).bind(due_by).execute(tx).await?;
    if alert.rows_affected() == 1 {
        tracing::warn!(
            dispute = dispute.id,
            charge = dispute.charge,
            amount = dispute.amount,
            currency = dispute.currency,
            reason = dispute.reason,
            due_by,
            "a payment is disputed; submit evidence before the due date, or accept the dispute"
        );
    }
    Ok(())
}
