//! What is there, the newest first; and which events a selection means.

use router_catalog::Pattern;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection};

use super::show::{delivery, event};
use crate::{
    DeliveryState,
    operations::{EventSelector, ListEntry, ListFilter},
    store::rows::{millis, number},
};

/// Numbers are given as rows come, and so the greatest is the newest.
pub(super) async fn list(
    read: &mut SqliteConnection,
    filter: &ListFilter,
) -> sqlx::Result<Vec<ListEntry>> {
    let mut query = QueryBuilder::new(
        "select e.event_id, e.endpoint, e.account, e.generation, e.type, e.object, e.stored_at, ",
    );
    let (from, order) = from(filter);
    query.push(from).push(" where true");
    if let Some(object) = &filter.object {
        query.push(" and case account when '' then e.object else substr(e.object, length(account) + 2) end = ");
        query.push_bind(object.clone());
    }
    // The plus keeps SQLite from its index, where the object says more.
    let column = if filter.object.is_some() { "+e.type" } else { "e.type" };
    push_type(&mut query, column, filter.event_type.as_deref());
    if !filter.unhandled {
        push_states(&mut query, &filter.states);
        if let Some(handler) = &filter.handler {
            query.push(" and handler = ").push_bind(handler.clone());
        }
    }
    if let Some(before) = filter.before {
        query.push(" and number < ").push_bind(before);
    }
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    query.push(order).push(" limit ").push_bind(limit);
    let rows = query.build().fetch_all(read).await?;
    let listed = rows.iter().map(|row| {
        let delivery = if filter.unhandled { None } else { Some(delivery(row)?) };
        Ok(ListEntry { number: row.try_get("number")?, event: event(row)?, delivery })
    });
    listed.collect()
}

/// Where to begin, which is what SQLite does on the left side of a cross join, and in what order: at the end of what
/// there is least of, so that it is done once it has enough. Deliveries are stored with their event, and so both are
/// in one order.
fn from(filter: &ListFilter) -> (&'static str, &'static str) {
    let is_of_type =
        matches!(filter.event_type.as_deref().map(Pattern::form), Some(Pattern::Exact(_)));
    match () {
        () if filter.unhandled => (
            "u.event as number from unhandled u cross join events e on e.id = u.event",
            " order by u.event desc",
        ),
        () if filter.object.is_some() || is_of_type && !are_few(&filter.states) => (
            "d.id as number, handler, state, attempts, due, blocked, ended_at, error
             from events e cross join deliveries d on d.event = e.id",
            " order by e.id desc, d.id desc",
        ),
        () => (
            "d.id as number, handler, state, attempts, due, blocked, ended_at, error
             from deliveries d cross join events e on e.id = d.event",
            " order by d.id desc",
        ),
    }
}

/// Whether they are states of what is open or buried, which has indices of its own.
fn are_few(states: &[DeliveryState]) -> bool {
    !states.is_empty()
        && !states.iter().any(|state| matches!(state, DeliveryState::Done | DeliveryState::Ignored))
}

pub(super) async fn select(
    read: &mut SqliteConnection,
    selection: &EventSelector,
    now: i64,
) -> sqlx::Result<Vec<i64>> {
    let mut query = QueryBuilder::new("select e.id from events e where generation = 0");
    if let Some(event_id) = &selection.event_id {
        query.push(" and event_id = ").push_bind(event_id.clone());
    }
    // The plus keeps SQLite from the index of the type, which has nothing else that is asked for.
    push_type(&mut query, "+e.type", selection.event_type.as_deref());
    if let Some(since) = selection.since {
        query.push(" and stored_at >= ").push_bind(now.saturating_sub(millis(since)));
    }
    if let Some(until) = selection.until {
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
    let numbers: Vec<_> = states.iter().map(|state| number(*state).to_string()).collect();
    let numbers = numbers.join(", ");
    query.push(format_args!(" and d.state in ({numbers})"));
    if are_few(states) {
        query.push(format_args!(
            " and d.id in (
                 select id from deliveries where state <= 1 and blocked = 0 and state in ({numbers})
                 union all
                 select id from deliveries
                 where state = 0 and object is not null and blocked = 1 and state in ({numbers})
                 union all
                 select id from deliveries where state >= 4 and state in ({numbers}))"
        ));
    }
}

fn push_type(query: &mut QueryBuilder<Sqlite>, column: &str, event_type: Option<&str>) {
    let mut is = |comparison: &str, text: String| {
        query.push(format_args!(" and {column} {comparison} ")).push_bind(text);
    };
    match event_type.map(Pattern::form) {
        None | Some(Pattern::All) => {}
        Some(Pattern::Exact(name)) => is("=", name.to_owned()),
        // A slash is what comes after a dot.
        Some(Pattern::Prefix(prefix)) => {
            is(">", format!("{prefix}."));
            is("<", format!("{prefix}/"));
        }
    }
}
