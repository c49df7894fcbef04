//! What is tried again and given up, within a transaction that the caller commits.

use std::collections::BTreeSet;

use sqlx::{PgConnection, Row as _, postgres::PgRow};

use super::super::{
    PostgresStore, kept,
    schema::Schema,
    writes::{lanes_of, let_the_oldest_go, lock, text},
};
use crate::{
    DeliveryState,
    operations::{ChangeOutcome, ChangeResult},
};

pub(super) async fn retry(
    write: &mut PgConnection,
    store: &PostgresStore,
    event_id: &str,
    handler: Option<&str>,
) -> sqlx::Result<Vec<ChangeResult>> {
    // What is due already keeps its place in the queue.
    let begin = "update inbox.deliveries set
             due = case when state <= 1 then least(due, (select inbox.inbox_now())) else (select inbox.inbox_now()) end,
             attempts = case when state <= 1 then attempts else 0 end,
             state = 0, ended_at = null
         where id = any($1)";
    let mut of_event = OfEvent::locked(write, &store.schema, event_id, handler).await?;
    of_event.rows.retain(|(is_last, _)| *is_last);
    let states = [DeliveryState::Waiting, DeliveryState::Dead, DeliveryState::Discarded];
    of_event.change(write, store, &states, begin).await
}

pub(super) async fn discard(
    write: &mut PgConnection,
    store: &PostgresStore,
    event_id: &str,
    handler: Option<&str>,
) -> sqlx::Result<Vec<ChangeResult>> {
    let end = "update inbox.deliveries set state = 5, ended_at = (select inbox.inbox_now()) where id = any($1)";
    let of_event = OfEvent::locked(write, &store.schema, event_id, handler).await?;
    of_event.change(write, store, &[DeliveryState::Waiting, DeliveryState::Dead], end).await
}

/// Deliveries of an event, which nobody else changes meanwhile.
struct OfEvent {
    /// And whether it is that of the last generation that was for its handler.
    rows: Vec<(bool, PgRow)>,
    lanes: BTreeSet<i64>,
}

impl OfEvent {
    async fn locked(
        write: &mut PgConnection,
        schema: &Schema,
        event_id: &str,
        handler: Option<&str>,
    ) -> sqlx::Result<Self> {
        let (event_id, handler) = (text(event_id), handler.map(text));
        sqlx::query(
            schema
                .sql("select from inbox.events where event_id = $1 order by id for no key update"),
        )
        .bind(&event_id)
        .execute(&mut *write)
        .await?;
        let deliveries = sqlx::query(schema.sql(
            "select delivery.id from inbox.events event join inbox.deliveries delivery on delivery.event = event.id
             where event_id = $1 and ($2::text is null or handler = $2)",
        ));
        let deliveries = deliveries.bind(&event_id).bind(&handler).fetch_all(&mut *write).await?;
        let deliveries =
            deliveries.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
        let lanes = lanes_of(write, schema, &deliveries).await?;
        lock(write, &lanes).await?;
        sqlx::query(
            schema.sql("select from inbox.deliveries where id = any($1) order by id for update"),
        )
        .bind(&deliveries)
        .execute(&mut *write)
        .await?;
        let rows = sqlx::query(schema.sql(
            "select delivery.id, endpoint, account, generation, handler, state, attempts, error,
                 due > (select inbox.inbox_now()) as is_held,
                 generation = max(generation) over (partition by endpoint, account, handler) as is_last
             from inbox.events event join inbox.deliveries delivery on delivery.event = event.id
             where delivery.id = any($1) order by endpoint, account nulls first, generation, handler",
        ));
        let rows = rows.bind(&deliveries).fetch_all(write).await?;
        let rows = rows.into_iter().map(|row| Ok((row.try_get("is_last")?, row)));
        Ok(Self { rows: rows.collect::<sqlx::Result<_>>()?, lanes })
    }

    /// Does to those in these states what the statement says, and tells who waits for something to do.
    async fn change(
        self,
        write: &mut PgConnection,
        store: &PostgresStore,
        states: &[DeliveryState],
        statement: &'static str,
    ) -> sqlx::Result<Vec<ChangeResult>> {
        let (mut changed, mut made) = (Vec::new(), Vec::<i64>::new());
        for (_, row) in &self.rows {
            let change = change(row, states)?;
            if change == ChangeOutcome::Applied {
                made.push(row.try_get("id")?);
            }
            changed.push(ChangeResult { delivery: kept(row)?, change });
        }
        if !made.is_empty() {
            let schema = &store.schema;
            sqlx::query(schema.sql(statement)).bind(&made).execute(&mut *write).await?;
            let_the_oldest_go(write, schema, &self.lanes).await?;
            let tell = sqlx::query("select pg_notify($1, $2)").bind(schema.name());
            tell.bind(&store.name).execute(write).await?;
        }
        Ok(changed)
    }
}

/// What is to be done to a delivery, where it is done to those in these states. One whose lease has run out waits
/// for somebody who finds it, who may never come.
fn change(row: &PgRow, states: &[DeliveryState]) -> sqlx::Result<ChangeOutcome> {
    let state = match kept(row)?.state {
        DeliveryState::Running if row.try_get("is_held")? => {
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
