//! An alert for each dispute that needs a response, with its due date.

use std::time::{Duration, UNIX_EPOCH};

use router_core::{BoxError, Object, Outcome, event::Recency, on_event};
use serde::Deserialize;

use crate::database::Database;

/// The fields that the handler uses of a [dispute](https://docs.stripe.com/api/disputes/object).
#[derive(Debug, Deserialize)]
pub struct Dispute {
    id: String,
    charge: Option<String>,
    /// In the smallest unit of the currency.
    amount: i64,
    currency: String,
    reason: String,
    status: String,
    evidence_details: Option<EvidenceDetails>,
}

#[derive(Debug, Deserialize)]
struct EvidenceDetails {
    /// The latest time to submit evidence, in seconds since 1970. `None` if the bank accepts none.
    due_by: Option<i64>,
}

/// Records the present state of a dispute. Logs an alert if the dispute needs a response.
///
/// There is one alert for each due date, even if events come twice: its row in `dispute_alerts` is
/// committed with the delivery. The log line appears again only if the commit fails, because the
/// delivery is then retried. A late event raises no alert for a dispute that has been answered.
#[on_event("charge.dispute.*", name = "disputes.alert")]
pub async fn alert(
    dispute: Object<Dispute>,
    recency: Recency,
    mut database: Database,
) -> Result<Outcome, BoxError> {
    // Of two states of one second, the later one in a dispute's life wins.
    let stage: i64 = match dispute.status.as_str() {
        "warning_needs_response" => 1,
        "warning_under_review" => 2,
        "needs_response" => 3,
        "under_review" => 4,
        _ => 5,
    };
    let statement = "insert into disputes (dispute, charge, amount, currency, reason, status, \
             recency, stage)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (dispute) do update set charge = excluded.charge, amount = excluded.amount,
             currency = excluded.currency, reason = excluded.reason, status = excluded.status,
             recency = excluded.recency, stage = excluded.stage
         where (disputes.recency, disputes.stage) <= (excluded.recency, excluded.stage)";
    let Dispute { id, charge, amount, currency, reason, status, evidence_details } = &*dispute;
    let values = [
        id.as_str().into(),
        charge.into(),
        (*amount).into(),
        currency.as_str().into(),
        reason.as_str().into(),
        status.as_str().into(),
        recency.as_i64().into(),
        stage.into(),
    ];
    let mut connection = database.begin().await?;
    if connection.execute(statement, &values).await? == 0 {
        return Ok(Outcome::ignored("a more recent state of the dispute is already recorded"));
    }
    if !matches!(status.as_str(), "needs_response" | "warning_needs_response") {
        return Ok(Outcome::Done);
    }
    let due_by = evidence_details.as_ref().and_then(|details| details.due_by);
    let statement = "insert into dispute_alerts (dispute, due_by) values ($1, $2)
         on conflict (dispute, due_by) do nothing";
    let values = [id.as_str().into(), due_by.unwrap_or_default().into()];
    if connection.execute(statement, &values).await? == 1 {
        tracing::warn!(
            dispute = id,
            charge,
            amount,
            currency,
            reason,
            due_by = due_by.map(date),
            "a payment is disputed; submit evidence before the due date, or accept the dispute"
        );
    }
    Ok(Outcome::Done)
}

/// Formats a time, given in seconds since 1970, as in `2026-12-01T10:00:00Z`.
fn date(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    let time = UNIX_EPOCH.checked_add(since).filter(|_| seconds <= 253_402_300_799);
    time.map_or_else(String::new, |time| humantime::format_rfc3339_seconds(time).to_string())
}
