//! Retries, discards and purges. The caller commits the transaction.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::super::{delivery, history::with_attempt, writes::unblock_next};
use crate::{
    operations::{Change, ChangeOutcome, ChangeResult},
    store::history::Ending,
};

pub(super) async fn retry(
    write: &mut SqliteConnection,
    event_id: &str,
    handler: Option<&str>,
    now: i64,
) -> sqlx::Result<Vec<ChangeResult>> {
    let mut changed = Vec::new();
    for row in deliveries(write, event_id, handler).await? {
        if !row.try_get("is_last")? {
            continue;
        }
        let change = outcome(Change::Retry, &row, now)?;
        if change == ChangeOutcome::Applied {
            // A delivery that is already due keeps its place in the queue.
            let update = sqlx::query(concat!(
                "update stripe_inbox_deliveries set
                     due = case when state <= 1 then min(due, ?1) else ?1 end,
                     delay = 0,
                     attempts = case when state <= 1 then attempts else 0 end,
                     delayed = case when state <= 1 then delayed else 0 end,
                     state = 0, blocked = object is not null, ended_at = null,
                     claimed_at = null, claimed_by = null, history = ",
                with_attempt!("case state when 1 then ?3 end", "?4", "?1"),
                " where id = ?2",
            ));
            let update = update.bind(now).bind(row.try_get::<i64, _>("id")?);
            let Ending { outcome, error } = Ending::abandoned();
            update.bind(outcome.name()).bind(error).execute(&mut *write).await?;
            unblock_lane(write, &row).await?;
        }
        changed.push(ChangeResult { delivery: delivery(&row)?, change });
    }
    Ok(changed)
}

pub(super) async fn discard(
    write: &mut SqliteConnection,
    event_id: &str,
    handler: Option<&str>,
    now: i64,
) -> sqlx::Result<Vec<ChangeResult>> {
    let mut changed = Vec::new();
    for row in deliveries(write, event_id, handler).await? {
        let change = outcome(Change::Discard, &row, now)?;
        if change == ChangeOutcome::Applied {
            let update = sqlx::query(concat!(
                "update stripe_inbox_deliveries set
                     state = 5, ended_at = ?1, claimed_at = null, claimed_by = null, history = ",
                with_attempt!("case state when 1 then ?3 end", "?4", "?1"),
                " where id = ?2",
            ));
            let update = update.bind(now).bind(row.try_get::<i64, _>("id")?);
            let Ending { outcome, error } = Ending::abandoned();
            update.bind(outcome.name()).bind(error).execute(&mut *write).await?;
            unblock_lane(write, &row).await?;
        }
        changed.push(ChangeResult { delivery: delivery(&row)?, change });
    }
    Ok(changed)
}

/// Deletes an event with all of its generations, and returns whether it did.
///
/// The event is left if one of its generations is younger than `before`, or has a delivery that is
/// waiting, running or dead, or that finished later than that.
pub(super) async fn purge(
    write: &mut SqliteConnection,
    event: i64,
    before: i64,
) -> sqlx::Result<bool> {
    let generations = sqlx::query(
        "select e.id, e.stored_at <= ?2 and not exists (
             select 1 from stripe_inbox_deliveries
             where event = e.id and (state in (0, 1, 4) or coalesce(ended_at, ?2) > ?2))
         from stripe_inbox_generations g join stripe_inbox_events e on e.id = g.other where g.event = ?1",
    );
    let generations = generations.bind(event).bind(before).fetch_all(&mut *write).await?;
    for row in &generations {
        if !row.try_get::<bool, _>(1)? {
            return Ok(false);
        }
    }
    let ids: Vec<i64> = generations.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    // A delivery can have the payload of another generation's redelivery, so all deliveries are
    // deleted first.
    for delete in [
        "delete from stripe_inbox_deliveries where event = ?1",
        "delete from stripe_inbox_redelivered where event = ?1",
        "delete from stripe_inbox_events where id = ?1",
    ] {
        for id in &ids {
            sqlx::query(delete).bind(id).execute(&mut *write).await?;
        }
    }
    Ok(!generations.is_empty())
}

/// Loads the deliveries of all events with this id, or those of one handler.
async fn deliveries(
    write: &mut SqliteConnection,
    event_id: &str,
    handler: Option<&str>,
) -> sqlx::Result<Vec<SqliteRow>> {
    let rows = sqlx::query(
        "select d.id, endpoint, account, generation, handler, state, attempts, error, due, d.object as ordered_by,
             generation = max(generation) over (partition by identity, handler) as is_last
         from stripe_inbox_events e join stripe_inbox_deliveries d on d.event = e.id
         where handler = coalesce(?2, handler)
             and identity in (select identity from stripe_inbox_identities where event_id = ?1)
         order by endpoint, account, generation, handler, d.id",
    );
    rows.bind(event_id).bind(handler).fetch_all(write).await
}

fn outcome(change: Change, row: &SqliteRow, now: i64) -> sqlx::Result<ChangeOutcome> {
    let is_leased = row.try_get::<i64, _>("due")? > now;
    Ok(change.outcome(delivery(row)?.state, is_leased))
}

async fn unblock_lane(write: &mut SqliteConnection, row: &SqliteRow) -> sqlx::Result<()> {
    let Some(object) = row.try_get::<Option<String>, _>("ordered_by")? else { return Ok(()) };
    unblock_next(write, row.try_get("handler")?, &object).await
}
