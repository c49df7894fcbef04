//! Shows everything stored about an event.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::super::{claims, number, schema::Schema, writes::replace_nul};
use crate::{
    operations::{DeliverySummary, EventDetails, EventSummary},
    store::rows::{HistoryColumns, state, time},
};

pub(super) async fn show(
    read: &mut PgConnection,
    schema: &Schema,
    event_id: &str,
) -> sqlx::Result<Vec<EventDetails>> {
    let events = sqlx::query(schema.sql(
        "select id, payload, signed_at, serial, event_id, endpoint, account, generation, type, object, stored_at
         from inbox.events where identity = any(inbox.identities($1))
         order by endpoint, account nulls first, generation, id",
    ));
    let mut shown = Vec::new();
    for row in events.bind(replace_nul(event_id)).fetch_all(&mut *read).await? {
        let deliveries = sqlx::query(schema.sql(
            "select handler, state, attempts, due, blocked, ended_at, error, claimed_at, claimed_by,
                 history::text
             from inbox.deliveries where event = $1 order by handler",
        ));
        let deliveries =
            deliveries.bind(row.try_get::<i64, _>("id")?).fetch_all(&mut *read).await?;
        let redelivered = sqlx::query(schema.sql(
            "select again.payload, endpoint, generation, again.signed_at, serial
             from inbox.redelivered again join inbox.events event on event.id = again.event
             where event.id = $1 order by again.id",
        ));
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

pub(super) fn event(row: &PgRow) -> sqlx::Result<EventSummary> {
    let account: Option<String> = row.try_get("account")?;
    let object: String = row.try_get("object")?;
    let own =
        account.as_ref().and_then(|account| object.strip_prefix(&**account)?.strip_prefix('/'));
    Ok(EventSummary {
        id: row.try_get("event_id")?,
        endpoint: row.try_get("endpoint")?,
        generation: number(row, "generation")?,
        event_type: row.try_get("type")?,
        object: own.unwrap_or(&object).to_owned(),
        stored_at: moment(row.try_get("stored_at")?),
        account,
    })
}

pub(super) fn delivery(row: &PgRow) -> sqlx::Result<DeliverySummary> {
    let number: i16 = row.try_get("state")?;
    let is_open = number <= 1;
    let due = row.try_get("due")?;
    let state = state(number.into())?;
    let attempts = row.try_get::<i32, _>("attempts")?.unsigned_abs();
    let ended_at: Option<i64> = row.try_get("ended_at")?;
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
