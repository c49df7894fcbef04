//! Retries, discards and purges. The caller commits the transaction.

use sqlx::{Row as _, SqliteConnection};

use super::super::{history::with_attempt, writes::unblock_next};
use crate::{
    operations::{Change, ChangeOutcome, CurrentDelivery, SelectedDelivery},
    store::{DeliveryState, history::EntryOutcome, rows::state},
};

/// Retries or discards a delivery if it is still as it was selected.
pub(super) async fn change(
    write: &mut SqliteConnection,
    selected: &SelectedDelivery,
    change: Change,
    now: i64,
) -> sqlx::Result<ChangeOutcome> {
    let load = sqlx::query(
        "select handler, state, token, due, d.object, length(payload) = 0 as is_erased, exists (
             select 1 from stripe_inbox_generations g
             join stripe_inbox_deliveries later on later.event = g.other
             where g.event = e.id and g.generation > e.generation and later.handler = d.handler) as is_superseded
         from stripe_inbox_deliveries d join stripe_inbox_events e on e.id = d.event where d.id = ?1",
    );
    let row = load.bind(selected.number).fetch_optional(&mut *write).await?;
    let Some(row) = row else { return Ok(ChangeOutcome::NotFound) };
    let state = state(row.try_get("state")?)?;
    let current = CurrentDelivery {
        state,
        token: row.try_get("token")?,
        is_leased: state == DeliveryState::Running && row.try_get::<i64, _>("due")? > now,
        is_superseded: row.try_get("is_superseded")?,
        is_erased: row.try_get("is_erased")?,
    };
    let outcome = change.outcome(selected, current);
    if outcome != ChangeOutcome::Applied {
        return Ok(outcome);
    }
    let update = match change {
        // A delivery that is already due keeps its place in the queue.
        Change::Retry => concat!(
            "update stripe_inbox_deliveries set
                 due = case when state <= 1 then min(due, ?1) else ?1 end,
                 delay = 0,
                 attempts = case when state <= 1 then attempts else 0 end,
                 delayed = case when state <= 1 then delayed else 0 end,
                 state = 0, blocked = object is not null, ended_at = null,
                 claimed_at = null, claimed_by = null, history = ",
            with_attempt!("case state when 1 then ?3 end", "?4", "?1"),
            " where id = ?2",
        ),
        Change::Discard => concat!(
            "update stripe_inbox_deliveries set
                 state = 5, ended_at = ?1, claimed_at = null, claimed_by = null, history = ",
            with_attempt!("case state when 1 then ?3 end", "?4", "?1"),
            " where id = ?2",
        ),
    };
    let abandoned = EntryOutcome::abandoned();
    let update = sqlx::query(update).bind(now).bind(selected.number);
    update.bind(abandoned.outcome.name()).bind(abandoned.error).execute(&mut *write).await?;
    if let Some(object) = row.try_get::<Option<String>, _>("object")? {
        unblock_next(write, row.try_get("handler")?, &object).await?;
    }
    Ok(outcome)
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
