//! What is tried again, given up or deleted, within a transaction that the caller commits.

use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::super::{kept, writes::let_the_oldest_go};
use crate::{
    DeliveryState,
    operations::{ChangeOutcome, ChangeResult},
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
        let change = change(
            &row,
            &[DeliveryState::Waiting, DeliveryState::Dead, DeliveryState::Discarded],
            now,
        )?;
        if change == ChangeOutcome::Applied {
            // What is due already keeps its place in the queue.
            let begin = sqlx::query(
                "update deliveries set
                     due = case when state <= 1 then min(due, ?1) else ?1 end,
                     attempts = case when state <= 1 then attempts else 0 end,
                     state = 0, blocked = object is not null, ended_at = null
                 where id = ?2",
            );
            begin.bind(now).bind(row.try_get::<i64, _>("id")?).execute(&mut *write).await?;
            let_the_next_go(write, &row).await?;
        }
        changed.push(ChangeResult { delivery: kept(&row)?, change });
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
        let change = change(&row, &[DeliveryState::Waiting, DeliveryState::Dead], now)?;
        if change == ChangeOutcome::Applied {
            let end = sqlx::query("update deliveries set state = 5, ended_at = ?1 where id = ?2");
            end.bind(now).bind(row.try_get::<i64, _>("id")?).execute(&mut *write).await?;
            let_the_next_go(write, &row).await?;
        }
        changed.push(ChangeResult { delivery: kept(&row)?, change });
    }
    Ok(changed)
}

/// Deletes an event with all of its generations, unless one of them is younger or in need of something.
pub(super) async fn purge(
    write: &mut SqliteConnection,
    event: i64,
    before: i64,
) -> sqlx::Result<bool> {
    let generations = sqlx::query(
        "select other.id, other.stored_at <= ?2 and not exists (
             select 1 from deliveries
             where event = other.id and (state in (0, 1, 4) or coalesce(ended_at, ?2) > ?2))
         from events one join events other using (event_id, endpoint, account) where one.id = ?1",
    );
    let generations = generations.bind(event).bind(before).fetch_all(&mut *write).await?;
    for row in &generations {
        if !row.try_get::<bool, _>(1)? {
            return Ok(false);
        }
    }
    for row in &generations {
        let number: i64 = row.try_get(0)?;
        let deliveries = sqlx::query("delete from deliveries where event = ?1");
        deliveries.bind(number).execute(&mut *write).await?;
        sqlx::query("delete from events where id = ?1").bind(number).execute(&mut *write).await?;
    }
    Ok(!generations.is_empty())
}

async fn deliveries(
    write: &mut SqliteConnection,
    event_id: &str,
    handler: Option<&str>,
) -> sqlx::Result<Vec<SqliteRow>> {
    let rows = sqlx::query(
        "select d.id, endpoint, account, generation, handler, state, attempts, error, due, d.object as ordered_by,
             generation = max(generation) over (partition by endpoint, account, handler) as is_last
         from events e join deliveries d on d.event = e.id
         where event_id = ?1 and handler = coalesce(?2, handler)
         order by endpoint, account, generation, handler",
    );
    rows.bind(event_id).bind(handler).fetch_all(write).await
}

/// What is to be done to a delivery, where it is done to those in these states. One whose lease has run out waits
/// for somebody who finds it, who may never come.
fn change(row: &SqliteRow, states: &[DeliveryState], now: i64) -> sqlx::Result<ChangeOutcome> {
    let state = match kept(row)?.state {
        DeliveryState::Running if row.try_get::<i64, _>("due")? > now => {
            return Ok(ChangeOutcome::StillRunning);
        }
        DeliveryState::Running => DeliveryState::Waiting,
        state => state,
    };
    Ok(if states.contains(&state) {
        ChangeOutcome::Applied
    } else {
        ChangeOutcome::AlreadyFinished
    })
}

async fn let_the_next_go(write: &mut SqliteConnection, row: &SqliteRow) -> sqlx::Result<()> {
    let Some(object) = row.try_get::<Option<String>, _>("ordered_by")? else { return Ok(()) };
    let_the_oldest_go(write, row.try_get("handler")?, &object).await
}
