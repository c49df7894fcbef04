//! An alert for each dispute that needs a response, with its due date.

use sqlx::SqliteConnection;
use stripe_shared::{Dispute, DisputeStatus};
use stripe_webhook::Event;

/// Records the state of a dispute. Logs one alert for each due date.
pub(crate) async fn alert(
    tx: &mut SqliteConnection,
    event: &Event,
    dispute: &Dispute,
) -> sqlx::Result<()> {
    let statement = "insert into disputes (dispute, charge, amount, currency, reason, status, \
             changed_at)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (dispute) do update set charge = excluded.charge, amount = excluded.amount,
             currency = excluded.currency, reason = excluded.reason, status = excluded.status,
             changed_at = excluded.changed_at
         where disputes.changed_at <= excluded.changed_at";
    let recorded = sqlx::query(statement)
        .bind(dispute.id.as_str())
        .bind(dispute.charge.id().as_str())
        .bind(dispute.amount)
        .bind(dispute.currency.to_string())
        .bind(&dispute.reason)
        .bind(dispute.status.as_str())
        .bind(event.created)
        .execute(&mut *tx)
        .await?;
    let needs_response = matches!(
        dispute.status,
        DisputeStatus::NeedsResponse | DisputeStatus::WarningNeedsResponse
    );
    if recorded.rows_affected() == 0 || !needs_response {
        return Ok(());
    }
    let due_by = dispute.evidence_details.due_by.unwrap_or_default();
    let statement = "insert into dispute_alerts (dispute, due_by) values ($1, $2)
         on conflict (dispute, due_by) do nothing";
    let alert = sqlx::query(statement).bind(dispute.id.as_str()).bind(due_by).execute(tx).await?;
    if alert.rows_affected() == 1 {
        tracing::warn!(
            dispute = %dispute.id,
            charge = %dispute.charge.id(),
            amount = dispute.amount,
            currency = %dispute.currency,
            reason = dispute.reason,
            due_by,
            "a payment is disputed; submit evidence before the due date, or accept the dispute"
        );
    }
    Ok(())
}
