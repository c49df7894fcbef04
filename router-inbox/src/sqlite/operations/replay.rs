//! Replays an event. The caller commits the transaction.

use std::sync::Arc;

use router_core::Event;
use sqlx::{Row as _, SqliteConnection};

use super::super::{claims, writes};
use crate::{
    operations::ReplayResult,
    store::{NewDelivery, NewEvent, rows::order},
};

pub(super) async fn replay(
    write: &mut SqliteConnection,
    event: i64,
    handlers: &[Arc<str>],
    now: i64,
) -> sqlx::Result<ReplayResult> {
    let load_last = sqlx::query(
        "select e.id, event_id, endpoint, e.generation, payload, signed_at, serial
         from stripe_inbox_generations g join stripe_inbox_events e on e.id = g.other
         where g.event = ?1 order by g.generation desc limit 1",
    );
    let Some(last) = load_last.bind(event).fetch_optional(&mut *write).await? else {
        return Ok(ReplayResult::NotFound);
    };
    let (last_id, event_id): (i64, String) = (last.try_get("id")?, last.try_get("event_id")?);
    let mut stored = claims::stored_event(&last)?;
    if stored.payload.is_empty() {
        return Ok(ReplayResult::Erased { event_id });
    }
    stored.generation = stored.generation.saturating_add(1);
    let generation = stored.generation;
    let Ok(event) = Event::from_store(stored) else {
        return Ok(ReplayResult::Damaged { event_id });
    };
    let deliveries = deliveries(write, last_id, handlers).await?;
    if deliveries.is_empty() {
        return Ok(ReplayResult::NoHandler { event_id });
    }
    let (deliveries, redelivered): (Vec<_>, Vec<_>) = deliveries.into_iter().unzip();
    for delivery in &deliveries {
        discard_dead_letters(write, last_id, &delivery.handler, now).await?;
    }
    let handlers: Vec<_> = deliveries.iter().map(|delivery| delivery.handler.clone()).collect();
    writes::store_new(write, &NewEvent::new(event, deliveries), now).await?;
    for (handler, redelivered) in handlers.iter().zip(redelivered) {
        set_payload(write, last_id, handler, redelivered).await?;
    }
    delete_unhandled(write, last_id).await?;
    Ok(ReplayResult::Replayed { event_id, generation, handlers })
}

/// The new deliveries, sorted by handler name, each with the id of its redelivered payload: for the
/// given handlers, or if there are none, for those that this generation had.
async fn deliveries(
    write: &mut SqliteConnection,
    event: i64,
    given: &[Arc<str>],
) -> sqlx::Result<Vec<(NewDelivery, Option<i64>)>> {
    let handlers = sqlx::query(
        "select wanted.handler, coalesce(h.ordered, 0), (
             select redelivered
             from stripe_inbox_generations g join stripe_inbox_deliveries d on d.event = g.other
             where g.event = ?2 and handler = wanted.handler order by generation desc, d.id desc limit 1)
         from (select value as handler from json_each(?1)
               union select handler from stripe_inbox_deliveries where event = ?2 and ?1 = '[]') wanted
         left join stripe_inbox_handlers h on h.name = wanted.handler order by wanted.handler",
    );
    let given: Vec<&str> = given.iter().map(|handler| &**handler).collect();
    let given = serde_json::json!(given).to_string();
    let rows = handlers.bind(given).bind(event).fetch_all(write).await?;
    let delivery = |row: &sqlx::sqlite::SqliteRow| {
        let handler: String = row.try_get(0)?;
        let order = order(row.try_get(1)?)?;
        let delivery = NewDelivery { handler: handler.into(), formerly: None, order };
        Ok((delivery, row.try_get(2)?))
    };
    rows.iter().map(delivery).collect()
}

/// Sets the payload of the delivery in the latest generation of this event.
async fn set_payload(
    write: &mut SqliteConnection,
    event: i64,
    handler: &str,
    redelivered: Option<i64>,
) -> sqlx::Result<()> {
    let set = sqlx::query(
        "update stripe_inbox_deliveries set redelivered = ?1 where handler = ?2 and event = (
             select other from stripe_inbox_generations where event = ?3 order by generation desc limit 1)",
    );
    set.bind(redelivered).bind(handler).bind(event).execute(write).await?;
    Ok(())
}

/// Discards the handler's dead letters of all generations of this event, because the replay
/// replaces them.
async fn discard_dead_letters(
    write: &mut SqliteConnection,
    event: i64,
    handler: &str,
    now: i64,
) -> sqlx::Result<()> {
    let discard = sqlx::query(
        "update stripe_inbox_deliveries set state = 5, ended_at = ?1
         where state = 4 and handler = ?2
             and event in (select other from stripe_inbox_generations where event = ?3)",
    );
    discard.bind(now).bind(handler).bind(event).execute(write).await?;
    Ok(())
}

/// Removes all generations of this event from the unhandled events.
async fn delete_unhandled(write: &mut SqliteConnection, event: i64) -> sqlx::Result<()> {
    let remove = sqlx::query(
        "delete from stripe_inbox_unhandled
         where event in (select other from stripe_inbox_generations where event = ?1)",
    );
    remove.bind(event).execute(write).await?;
    Ok(())
}
