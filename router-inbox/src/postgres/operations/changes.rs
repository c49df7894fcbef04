//! Retries and discards deliveries. The caller commits the transaction.

use std::collections::HashMap;

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::{
    super::{
        PostgresStore,
        history::with_attempt,
        schema::Schema,
        writes::{lanes_of, lock_lanes, notify, unblock_next},
    },
    lock_generations,
};
use crate::{
    operations::{Change, ChangeOutcome, CurrentDelivery, SelectedDelivery},
    store::{DeliveryState, history::EntryOutcome, rows::state},
};

/// Changes the deliveries that permit it and are still as they were selected. Locks the events, the
/// lanes and the deliveries, in this order, and notifies other stores.
pub(super) async fn change(
    write: &mut PgConnection,
    store: &PostgresStore,
    selected: &[SelectedDelivery],
    change: Change,
) -> sqlx::Result<Vec<ChangeOutcome>> {
    let schema = &store.schema;
    let ids: Vec<i64> = selected.iter().map(|delivery| delivery.number).collect();
    let events =
        sqlx::query(schema.sql("select distinct event from inbox.deliveries where id = any($1)"));
    let events = events.bind(&ids).fetch_all(&mut *write).await?;
    let events: Vec<i64> = events.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    lock_generations(write, schema, &events).await?;
    let lanes = lanes_of(write, schema, &ids).await?;
    lock_lanes(write, schema, &lanes).await?;
    let current = lock_deliveries(write, schema, &ids).await?;
    let outcomes: Vec<_> = selected
        .iter()
        .map(|delivery| match current.get(&delivery.number) {
            Some(current) => change.outcome(delivery, *current),
            None => ChangeOutcome::NotFound,
        })
        .collect();
    let permitted = outcomes.iter().zip(&ids);
    let permitted = permitted.filter(|(outcome, _)| **outcome == ChangeOutcome::Applied);
    let permitted: Vec<i64> = permitted.map(|(_, id)| *id).collect();
    if !permitted.is_empty() {
        let EntryOutcome { outcome, error } = EntryOutcome::abandoned();
        let update = sqlx::query(schema.sql(statement(change))).bind(&permitted);
        update.bind(outcome.name()).bind(error).execute(&mut *write).await?;
        unblock_next(write, schema, &lanes).await?;
        notify(write, store).await?;
    }
    Ok(outcomes)
}

/// Locks deliveries until the transaction ends, and returns them by id.
///
/// The rows are read by a second statement, because the first does not see changes by the
/// transactions that it waited for.
async fn lock_deliveries(
    write: &mut PgConnection,
    schema: &Schema,
    ids: &[i64],
) -> sqlx::Result<HashMap<i64, CurrentDelivery>> {
    let lock = schema.sql("select from inbox.deliveries where id = any($1) order by id for update");
    sqlx::query(lock).bind(ids).execute(&mut *write).await?;
    let rows = sqlx::query(schema.sql(
        "select delivery.id, state, token, due > (select inbox.inbox_now()) as is_held,
             octet_length(payload) = 0 as is_erased, exists (
             select from inbox.generations
             join inbox.events later on later.id = other and later.generation > event.generation
             join inbox.deliveries of_later on of_later.event = other and of_later.handler = delivery.handler
             where generations.event = event.id) as is_superseded
         from inbox.deliveries delivery join inbox.events event on event.id = delivery.event
         where delivery.id = any($1)",
    ));
    let rows = rows.bind(ids).fetch_all(write).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, current(row)?))).collect()
}

fn current(row: &PgRow) -> sqlx::Result<CurrentDelivery> {
    let state = state(row.try_get::<i16, _>("state")?.into())?;
    Ok(CurrentDelivery {
        state,
        token: row.try_get("token")?,
        is_leased: state == DeliveryState::Running && row.try_get("is_held")?,
        is_superseded: row.try_get("is_superseded")?,
        is_erased: row.try_get("is_erased")?,
    })
}

/// Returns the statement that makes a change. Its parameters are the deliveries, and the outcome
/// and the error of a running attempt, whose lease has expired.
fn statement(change: Change) -> &'static str {
    match change {
        // A delivery that is already due keeps its place in the queue.
        Change::Retry => concat!(
            "update inbox.deliveries delivery set
                 due = case when state <= 1 then least(due, (select inbox.inbox_now())) else (select inbox.inbox_now()) end,
                 delay = 0,
                 attempts = case when state <= 1 then attempts else 0 end,
                 delayed = case when state <= 1 then delayed else 0 end,
                 state = 0, ended_at = null, claimed_at = null, claimed_by = null, history = ",
            with_attempt!("case state when 1 then $2::text end", "$3::text"),
            " where id = any($1)",
        ),
        Change::Discard => concat!(
            "update inbox.deliveries delivery set
                 state = 5, ended_at = (select inbox.inbox_now()), claimed_at = null, claimed_by = null, history = ",
            with_attempt!("case state when 1 then $2::text end", "$3::text"),
            " where id = any($1)",
        ),
    }
}
