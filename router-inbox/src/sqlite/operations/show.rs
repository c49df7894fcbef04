//! Shows everything stored about an event.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::super::claims;
use crate::{
    operations::{DeliverySummary, EventDetails, EventSummary},
    store::rows::{HistoryColumns, state, time},
};

pub(super) async fn show(
    read: &mut SqliteConnection,
    event_id: &str,
) -> sqlx::Result<Vec<EventDetails>> {
    let events = sqlx::query(
        "select id, payload, signed_at, serial, event_id, endpoint, account, generation, type, object, stored_at
         from stripe_inbox_events
         where identity in (select identity from stripe_inbox_identities where event_id = ?1)
         order by endpoint, account, generation, id",
    );
    let mut shown = Vec::new();
    for row in events.bind(event_id).fetch_all(&mut *read).await? {
        let deliveries = sqlx::query(
            "select handler, state, attempts, due, blocked, ended_at, error, claimed_at, claimed_by, history
             from stripe_inbox_deliveries where event = ?1 order by handler",
        );
        let deliveries =
            deliveries.bind(row.try_get::<i64, _>("id")?).fetch_all(&mut *read).await?;
        let redelivered = sqlx::query(
            "select r.payload, endpoint, generation, r.signed_at, serial
             from stripe_inbox_redelivered r join stripe_inbox_events e on e.id = r.event
             where r.event = ?1 order by r.id",
        );
        let redelivered =
            redelivered.bind(row.try_get::<i64, _>("id")?).fetch_all(&mut *read).await?;
        shown.push(EventDetails {
            event: event(&row)?,
            stored: claims::stored_event(&row)?,
            redelivered: redelivered.iter().map(claims::stored_event).collect::<Result<_, _>>()?,
            deliveries: deliveries.iter().map(delivery).collect::<Result<_, _>>()?,
        });
    }
    Ok(shown)
}

pub(super) fn event(row: &SqliteRow) -> sqlx::Result<EventSummary> {
    let account: String = row.try_get("account")?;
    let object: String = row.try_get("object")?;
    let object = match object.strip_prefix(&account).and_then(|rest| rest.strip_prefix('/')) {
        Some(own) if !account.is_empty() => own.to_owned(),
        _ => object,
    };
    Ok(EventSummary {
        id: row.try_get("event_id")?,
        endpoint: row.try_get("endpoint")?,
        generation: row.try_get("generation")?,
        event_type: row.try_get("type")?,
        object,
        stored_at: moment(row.try_get("stored_at")?),
        account: (!account.is_empty()).then_some(account),
    })
}

pub(super) fn delivery(row: &SqliteRow) -> sqlx::Result<DeliverySummary> {
    let number: i64 = row.try_get("state")?;
    let is_open = number <= 1;
    let due = row.try_get("due")?;
    let ended_at: Option<i64> = row.try_get("ended_at")?;
    let (state, attempts) = (state(number)?, row.try_get("attempts")?);
    let history = HistoryColumns {
        state,
        attempts,
        ended_at,
        claimed_at: row.try_get("claimed_at")?,
        claimed_by: row.try_get("claimed_by")?,
        history: row.try_get("history")?,
    };
    Ok(DeliverySummary {
        handler: row.try_get::<String, _>("handler")?.into(),
        state,
        attempts,
        due: is_open.then(|| moment(due)),
        is_blocked: is_open && row.try_get("blocked")?,
        ended_at: ended_at.map(moment),
        error: row.try_get("error")?,
        history: history.decode(),
    })
}

fn moment(millis: i64) -> SystemTime {
    time(millis).unwrap_or(UNIX_EPOCH)
}
