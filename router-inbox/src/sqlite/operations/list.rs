//! Lists deliveries and unhandled events, newest first, and selects events.

use router_catalog::Pattern;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, sqlite::SqliteRow};

use super::show::{delivery, event};
use crate::{
    operations::{EventSelector, ListEntry, ListFilter, SelectedDelivery},
    store::{
        DeliveryState,
        erase::json_string,
        rows::{millis, replace_nul, state},
    },
};

const EVENT_COLUMNS: &str =
    "e.event_id, e.endpoint, e.account, e.generation, e.type, e.object, e.stored_at";

/// Lists what matches the filter, newest first: ids ascend in the order in which rows are stored.
pub(super) async fn list(
    read: &mut SqliteConnection,
    filter: &ListFilter,
    now: i64,
) -> sqlx::Result<Vec<ListEntry>> {
    let columns = match filter.unhandled {
        true => "u.event as number",
        false => {
            "d.id as number, handler, state, attempts, due, blocked, ended_at, error, claimed_at, claimed_by, history"
        }
    };
    let rows = matching(filter, columns, now).build().fetch_all(read).await?;
    let listed = rows.iter().map(|row| {
        let delivery = if filter.unhandled { None } else { Some(delivery(row)?) };
        Ok(ListEntry { number: row.try_get("number")?, event: event(row)?, delivery })
    });
    listed.collect()
}

/// Returns the deliveries that match the filter, oldest first.
pub(super) async fn select_deliveries(
    read: &mut SqliteConnection,
    filter: &ListFilter,
    now: i64,
) -> sqlx::Result<Vec<SelectedDelivery>> {
    if filter.unhandled {
        return Ok(Vec::new());
    }
    let columns = "d.id as number, handler, state, attempts, token";
    let rows = matching(filter, columns, now).build().fetch_all(read).await?;
    rows.iter().rev().map(selected).collect()
}

fn selected(row: &SqliteRow) -> sqlx::Result<SelectedDelivery> {
    let account: String = row.try_get("account")?;
    Ok(SelectedDelivery {
        number: row.try_get("number")?,
        token: row.try_get("token")?,
        event_id: row.try_get("event_id")?,
        endpoint: row.try_get("endpoint")?,
        account: (!account.is_empty()).then_some(account),
        generation: row.try_get("generation")?,
        handler: row.try_get::<String, _>("handler")?.into(),
        state: state(row.try_get("state")?)?,
        attempts: row.try_get("attempts")?,
    })
}

/// Returns the query for the deliveries or unhandled events that match the filter, newest first.
/// Its columns are those of the event and `columns`.
fn matching(filter: &ListFilter, columns: &str, now: i64) -> QueryBuilder<Sqlite> {
    let ListFilter {
        states,
        unhandled,
        event_id,
        event_type,
        object,
        handler,
        error,
        max_age,
        min_ended_age,
        before,
        limit,
    } = filter;
    let mut query = QueryBuilder::new("select ");
    let (from, order) = from_and_order(filter);
    query.push(format_args!("{EVENT_COLUMNS}, {columns} from {from} where true"));
    if let Some(event_id) = event_id {
        query.push(
            " and identity in (select identity from stripe_inbox_identities where event_id = ",
        );
        query.push_bind(event_id.clone()).push(")");
    }
    push_object(&mut query, object.as_deref());
    // The plus keeps SQLite from using the index on the type; those on the id and the object are
    // more selective.
    let column = if event_id.is_some() || object.is_some() { "+e.type" } else { "e.type" };
    push_type(&mut query, column, event_type.as_deref());
    if let Some(max_age) = max_age {
        query.push(" and +e.stored_at >= ").push_bind(now.saturating_sub(millis(*max_age)));
    }
    if !unhandled {
        push_states(&mut query, states);
        if let Some(handler) = handler {
            query.push(" and handler = ").push_bind(handler.clone());
        }
        if let Some(error) = error {
            query.push(" and instr(error, ").push_bind(error.clone()).push(") > 0");
        }
        if let Some(age) = min_ended_age {
            query.push(" and ended_at <= ").push_bind(now.saturating_sub(millis(*age)));
        }
    }
    if let Some(before) = before {
        query.push(" and number < ").push_bind(*before);
    }
    query.push(order).push(" limit ").push_bind(i64::try_from(*limit).unwrap_or(i64::MAX));
    query
}

/// Returns the `from` clause and the order.
///
/// SQLite reads the left side of a cross join first. That is the most selective table or index,
/// read from its newest end, so that the query stops once it has enough rows. The id of a delivery
/// ascends with that of its event, so the order by event id is also the order by delivery id.
fn from_and_order(filter: &ListFilter) -> (&'static str, &'static str) {
    let is_of_type = matches!(
        filter.event_type.as_deref().map(Pattern::parse_unchecked),
        Some(Pattern::Exact(_))
    );
    let is_of_few_events = filter.event_id.is_some() || filter.object.is_some();
    match () {
        () if filter.unhandled => (
            "stripe_inbox_unhandled u cross join stripe_inbox_events e on e.id = u.event",
            " order by u.event desc",
        ),
        () if is_of_few_events || is_of_type && !have_partial_indexes(&filter.states) => (
            "stripe_inbox_events e cross join stripe_inbox_deliveries d on d.event = e.id",
            " order by e.id desc, d.id desc",
        ),
        () => (
            "stripe_inbox_deliveries d cross join stripe_inbox_events e on e.id = d.event",
            " order by d.id desc",
        ),
    }
}

/// Returns whether all of these states, and at least one, are covered by partial indexes: those of
/// unfinished, dead and discarded deliveries.
fn have_partial_indexes(states: &[DeliveryState]) -> bool {
    !states.is_empty()
        && !states.iter().any(|state| matches!(state, DeliveryState::Done | DeliveryState::Ignored))
}

pub(super) async fn select(
    read: &mut SqliteConnection,
    selection: &EventSelector,
    now: i64,
) -> sqlx::Result<Vec<i64>> {
    let mut query =
        QueryBuilder::new("select e.id from stripe_inbox_events e where generation = 0");
    if let Some(event_id) = &selection.event_id {
        query.push(
            " and identity in (select identity from stripe_inbox_identities where event_id = ",
        );
        query.push_bind(event_id.clone()).push(")");
    }
    push_object(&mut query, selection.object.as_deref());
    // The plus keeps SQLite from using the index on the type, which lacks the other columns.
    push_type(&mut query, "+e.type", selection.event_type.as_deref());
    if let Some(json) = selection.mentions.as_deref().map(json_string) {
        query.push(" and (instr(payload, ").push_bind(json.clone());
        query.push(
            ") > 0 or exists (
                 select 1 from stripe_inbox_redelivered r where r.event = e.id and instr(r.payload, ",
        );
        query.push_bind(json).push(") > 0))");
    }
    if let Some(since) = selection.max_age {
        query.push(" and stored_at >= ").push_bind(now.saturating_sub(millis(since)));
    }
    if let Some(until) = selection.min_age {
        query.push(" and stored_at <= ").push_bind(now.saturating_sub(millis(until)));
    }
    query.push(" order by e.stored_at, e.id");
    let rows = query.build().fetch_all(read).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

fn push_states(query: &mut QueryBuilder<Sqlite>, states: &[DeliveryState]) {
    if states.is_empty() {
        return;
    }
    let numbers: Vec<_> = states.iter().map(|state| state.number().to_string()).collect();
    let numbers = numbers.join(", ");
    query.push(format_args!(" and d.state in ({numbers})"));
    if have_partial_indexes(states) {
        query.push(format_args!(
            " and d.id in (
                 select id from stripe_inbox_deliveries where state <= 1 and blocked = 0 and state in ({numbers})
                 union all
                 select id from stripe_inbox_deliveries
                 where state = 0 and object is not null and blocked = 1 and state in ({numbers})
                 union all
                 select id from stripe_inbox_deliveries where state >= 4 and state in ({numbers}))"
        ));
    }
}

fn push_object(query: &mut QueryBuilder<Sqlite>, object: Option<&str>) {
    if let Some(object) = object {
        query.push(" and case account when '' then e.object else substr(e.object, length(account) + 2) end = ");
        query.push_bind(replace_nul(object).into_owned());
    }
}

fn push_type(query: &mut QueryBuilder<Sqlite>, column: &str, event_type: Option<&str>) {
    let mut push = |comparison: &str, text: String| {
        query.push(format_args!(" and {column} {comparison} ")).push_bind(text);
    };
    match event_type.map(Pattern::parse_unchecked) {
        None | Some(Pattern::All) => {}
        Some(Pattern::Exact(name)) => push("=", name.to_owned()),
        // `/` is the character after `.`, so this range holds all texts that begin with the prefix
        // and a dot.
        Some(Pattern::Prefix(prefix)) => {
            push(">", format!("{prefix}."));
            push("<", format!("{prefix}/"));
        }
    }
}
