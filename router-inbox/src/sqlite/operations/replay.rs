//! An event once more, within a transaction that the caller commits.

use std::sync::Arc;

use router_core::Event;
use sqlx::{Row as _, SqliteConnection};

use super::super::{claims, writes};
use crate::{NewDelivery, NewEvent, operations::Replayed};

pub(super) async fn replay(
    write: &mut SqliteConnection,
    event: i64,
    handlers: &[Arc<str>],
    now: i64,
) -> sqlx::Result<Replayed> {
    let last = sqlx::query(
        "select last.id, last.event_id, last.endpoint, last.generation, last.payload, last.signed_at
         from events one join events last using (event_id, endpoint, account)
         where one.id = ?1 order by last.generation desc limit 1",
    );
    let Some(last) = last.bind(event).fetch_optional(&mut *write).await? else {
        return Ok(Replayed::Gone);
    };
    let (number, event_id): (i64, String) = (last.try_get("id")?, last.try_get("event_id")?);
    let mut kept = claims::kept(&last)?;
    kept.generation = kept.generation.saturating_add(1);
    let generation = kept.generation;
    let Ok(event) = Event::from_store(kept) else { return Ok(Replayed::Damaged { event_id }) };
    let deliveries = deliveries(write, number, handlers).await?;
    if deliveries.is_empty() {
        return Ok(Replayed::NoHandler { event_id });
    }
    for delivery in &deliveries {
        discard_dead_letters(write, number, &delivery.handler, now).await?;
    }
    let handlers = deliveries.iter().map(|delivery| delivery.handler.clone()).collect();
    writes::store(write, &NewEvent { event, deliveries }, now).await?;
    no_more_unhandled(write, number).await?;
    Ok(Replayed::Again { event_id, generation, handlers })
}

/// For the given handlers, or those that this event was for; by name.
async fn deliveries(
    write: &mut SqliteConnection,
    event: i64,
    given: &[Arc<str>],
) -> sqlx::Result<Vec<NewDelivery>> {
    let handlers = sqlx::query(
        "select wanted.handler, coalesce(handlers.ordered, 0)
         from (select value as handler from json_each(?1)
               union select handler from deliveries where event = ?2 and ?1 = '[]') wanted
         left join handlers on handlers.name = wanted.handler order by wanted.handler",
    );
    let given: Vec<&str> = given.iter().map(|handler| &**handler).collect();
    let given = serde_json::json!(given).to_string();
    let rows = handlers.bind(given).bind(event).fetch_all(write).await?;
    let delivery = |row: &sqlx::sqlite::SqliteRow| {
        let handler: String = row.try_get(0)?;
        Ok(NewDelivery { handler: handler.into(), ordered: row.try_get(1)? })
    };
    rows.iter().map(delivery).collect()
}

/// Of all generations of this event.
async fn discard_dead_letters(
    write: &mut SqliteConnection,
    event: i64,
    handler: &str,
    now: i64,
) -> sqlx::Result<()> {
    let discard = sqlx::query(
        "update deliveries set state = 5, ended_at = ?1
         where state = 4 and handler = ?2 and event in (
             select other.id from events one join events other using (event_id, endpoint, account)
             where one.id = ?3)",
    );
    discard.bind(now).bind(handler).bind(event).execute(write).await?;
    Ok(())
}

async fn no_more_unhandled(write: &mut SqliteConnection, event: i64) -> sqlx::Result<()> {
    let remove = sqlx::query(
        "delete from unhandled where event in (
             select other.id from events one join events other using (event_id, endpoint, account)
             where one.id = ?1)",
    );
    remove.bind(event).execute(write).await?;
    Ok(())
}
