//! Purges events. The caller commits the transaction.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{PgConnection, Row as _};

use super::{super::schema::Schema, lock_generations};
use crate::store::rows::millis;

/// Deletes events with all of their generations, and returns the number of events deleted.
///
/// An event is left if one of its generations is younger than `older_than`, or has a delivery that
/// is waiting, running or dead, or that finished more recently than that.
pub(super) async fn purge(
    write: &mut PgConnection,
    schema: &Schema,
    events: &[i64],
    older_than: Duration,
) -> sqlx::Result<u64> {
    lock_generations(write, schema, events).await?;
    // Finished deliveries cannot change while their events are locked.
    let ended = sqlx::query(schema.sql(
        "with time as materialized (select inbox.inbox_now() - $2 as before)
         select array_agg(other order by other)
         from time cross join inbox.generations join inbox.events event on event.id = other
         where generations.event = any($1) group by generations.event
         having bool_and(stored_at <= before and not exists (
             select from inbox.deliveries delivery
             where delivery.event = other and (state in (0, 1, 4) or ended_at > before)))",
    ));
    let ended = ended.bind(events).bind(millis(older_than)).fetch_all(&mut *write).await?;
    // A set, because two of the given ids may be generations of one event.
    let ended: BTreeSet<Vec<i64>> =
        ended.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let generations: Vec<i64> = ended.iter().flatten().copied().collect();
    // A delivery can have the payload of another generation's redelivery, so all deliveries are
    // deleted first.
    let delete = [
        "delete from inbox.deliveries where event = any($1)",
        "delete from inbox.redelivered where event = any($1)",
        "delete from inbox.events where id = any($1)",
    ];
    for delete in delete {
        sqlx::query(schema.sql(delete)).bind(&generations).execute(&mut *write).await?;
    }
    Ok(ended.len() as u64)
}
