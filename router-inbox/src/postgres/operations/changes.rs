//! Retries and discards deliveries. The caller commits the transaction.

use std::collections::BTreeSet;

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::super::{
    PostgresStore, delivery,
    history::with_attempt,
    schema::Schema,
    writes::{lanes_of, lock_lanes, notify, replace_nul, unblock_next},
};
use crate::{
    operations::{Change, ChangeOutcome, ChangeResult},
    store::history::Ending,
};

pub(super) async fn retry(
    write: &mut PgConnection,
    store: &PostgresStore,
    event_id: &str,
    handler: Option<&str>,
) -> sqlx::Result<Vec<ChangeResult>> {
    // A delivery that is already due keeps its place in the queue.
    let update = concat!(
        "update inbox.deliveries delivery set
             due = case when state <= 1 then least(due, (select inbox.inbox_now())) else (select inbox.inbox_now()) end,
             delay = 0,
             attempts = case when state <= 1 then attempts else 0 end,
             delayed = case when state <= 1 then delayed else 0 end,
             state = 0, ended_at = null, claimed_at = null, claimed_by = null, history = ",
        with_attempt!("case state when 1 then $2::text end", "$3::text"),
        " where id = any($1)",
    );
    let mut deliveries = LockedDeliveries::lock(write, &store.schema, event_id, handler).await?;
    deliveries.rows.retain(|(is_last, _)| *is_last);
    deliveries.change(write, store, Change::Retry, update).await
}

pub(super) async fn discard(
    write: &mut PgConnection,
    store: &PostgresStore,
    event_id: &str,
    handler: Option<&str>,
) -> sqlx::Result<Vec<ChangeResult>> {
    let update = concat!(
        "update inbox.deliveries delivery set
             state = 5, ended_at = (select inbox.inbox_now()), claimed_at = null, claimed_by = null, history = ",
        with_attempt!("case state when 1 then $2::text end", "$3::text"),
        " where id = any($1)",
    );
    let deliveries = LockedDeliveries::lock(write, &store.schema, event_id, handler).await?;
    deliveries.change(write, store, Change::Discard, update).await
}

/// Deliveries of an event, locked until the transaction ends.
struct LockedDeliveries {
    /// With each row: `true` if no later generation has a delivery for the same handler.
    rows: Vec<(bool, PgRow)>,
    lanes: BTreeSet<i64>,
}

impl LockedDeliveries {
    /// Locks the events, the lanes and the deliveries, in this order.
    async fn lock(
        write: &mut PgConnection,
        schema: &Schema,
        event_id: &str,
        handler: Option<&str>,
    ) -> sqlx::Result<Self> {
        let (event_id, handler) = (replace_nul(event_id), handler.map(replace_nul));
        sqlx::query(schema.sql(
            "select from inbox.events where identity = any(inbox.identities($1)) order by id for no key update",
        ))
        .bind(&event_id)
        .execute(&mut *write)
        .await?;
        let deliveries = sqlx::query(schema.sql(
            "select delivery.id from inbox.events event join inbox.deliveries delivery on delivery.event = event.id
             where identity = any(inbox.identities($1)) and ($2::text is null or handler = $2)",
        ));
        let deliveries = deliveries.bind(&event_id).bind(&handler).fetch_all(&mut *write).await?;
        let deliveries =
            deliveries.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
        let lanes = lanes_of(write, schema, &deliveries).await?;
        lock_lanes(write, &lanes).await?;
        sqlx::query(
            schema.sql("select from inbox.deliveries where id = any($1) order by id for update"),
        )
        .bind(&deliveries)
        .execute(&mut *write)
        .await?;
        let rows = sqlx::query(schema.sql(
            "select delivery.id, endpoint, account, generation, handler, state, attempts, error,
                 due > (select inbox.inbox_now()) as is_held,
                 generation = max(generation) over (partition by identity, handler) as is_last
             from inbox.events event join inbox.deliveries delivery on delivery.event = event.id
             where delivery.id = any($1) order by endpoint, account nulls first, generation, handler, delivery.id",
        ));
        let rows = rows.bind(&deliveries).fetch_all(write).await?;
        let rows = rows.into_iter().map(|row| Ok((row.try_get("is_last")?, row)));
        Ok(Self { rows: rows.collect::<sqlx::Result<_>>()?, lanes })
    }

    /// Runs `statement` on the deliveries that permit the change, and notifies other stores. Its
    /// parameters are the deliveries, and the outcome and the error of a running attempt, whose
    /// lease has expired.
    async fn change(
        self,
        write: &mut PgConnection,
        store: &PostgresStore,
        change: Change,
        statement: &'static str,
    ) -> sqlx::Result<Vec<ChangeResult>> {
        let (mut results, mut ids) = (Vec::new(), Vec::<i64>::new());
        for (_, row) in &self.rows {
            let delivery = delivery(row)?;
            let change = change.outcome(delivery.state, row.try_get("is_held")?);
            if change == ChangeOutcome::Applied {
                ids.push(row.try_get("id")?);
            }
            results.push(ChangeResult { delivery, change });
        }
        if !ids.is_empty() {
            let schema = &store.schema;
            let Ending { outcome, error } = Ending::abandoned();
            let update = sqlx::query(schema.sql(statement)).bind(&ids);
            update.bind(outcome.name()).bind(error).execute(&mut *write).await?;
            unblock_next(write, schema, &self.lanes).await?;
            notify(write, store).await?;
        }
        Ok(results)
    }
}
