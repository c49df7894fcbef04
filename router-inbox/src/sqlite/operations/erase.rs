//! Erases the data of an event. The caller commits the transaction.

use sqlx::{Row as _, SqliteConnection};

use crate::{
    operations::{EraseOutcome, EraseResult},
    store::{DeliveryState, rows::state},
};

/// Erases the data of all generations of an event, unless one of them has an unfinished delivery.
/// An empty payload marks the event as erased.
pub(super) async fn erase(
    write: &mut SqliteConnection,
    event: i64,
    now: i64,
) -> sqlx::Result<EraseResult> {
    let load = sqlx::query(
        "select event_id, length(payload) = 0, state
         from stripe_inbox_generations g join stripe_inbox_events e on e.id = g.other
         left join stripe_inbox_deliveries d on d.event = g.other
         where g.event = ?1",
    );
    let rows = load.bind(event).fetch_all(&mut *write).await?;
    let Some(first) = rows.first() else { return Ok(EraseResult::not_found()) };
    let states = rows.iter().map(|row| row.try_get::<Option<i64>, _>(2)?.map(state).transpose());
    let states: Vec<Option<DeliveryState>> = states.collect::<sqlx::Result<_>>()?;
    let outcome = EraseOutcome::new(states.into_iter().flatten(), first.try_get(1)?);
    let result = EraseResult::new(first.try_get::<String, _>(0)?, outcome);
    if outcome != EraseOutcome::Erased {
        return Ok(result);
    }
    let erase = [
        // A damaged history may contain the data anywhere, so only its valid entries remain.
        "update stripe_inbox_deliveries set
             state = case state when 4 then 5 else state end,
             ended_at = case state when 4 then ?2 else ended_at end,
             redelivered_since = null, error = null,
             history = case when json_valid(history) then (
                 select json_group_array(json_remove(value, '$.error'))
                 from json_each(history) where type = 'object') end
         where event in (select other from stripe_inbox_generations where event = ?1)",
        "update stripe_inbox_redelivered set payload = x''
         where event in (select other from stripe_inbox_generations where event = ?1)",
        "update stripe_inbox_events set payload = x''
         where id in (select other from stripe_inbox_generations where event = ?1)",
    ];
    for erase in erase {
        sqlx::query(erase).bind(event).bind(now).execute(&mut *write).await?;
    }
    Ok(result)
}
