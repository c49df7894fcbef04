//! Applies the redelivery of an event that is already stored. The caller commits the transaction.

use router_core::{Event, event::StoredEvent};
use sqlx::{Row as _, SqliteConnection, sqlite::SqliteRow};

use super::{
    claims::stored_event,
    writes::{NewRow, insert_delivery, signed_at, unblock_next},
};
use crate::store::{
    DeliveryState, NewDelivery, NewEvent, OrderKey, Redelivery, Stored, identity::identity,
    number::delivery_number, rows::state,
};

/// The stored event that is redelivered.
struct Redelivered<'e> {
    /// The id of the stored event.
    id: i64,
    /// `true` if the stored event's data was erased. Then the redelivery stores nothing.
    is_erased: bool,
    event: &'e Event,
    /// The id of the redelivered payload, once it is stored.
    payload: Option<i64>,
    now: i64,
}

pub(super) async fn redeliver(
    write: &mut SqliteConnection,
    NewEvent { event, deliveries, .. }: &NewEvent,
    now: i64,
) -> sqlx::Result<Stored> {
    let key = event.key();
    let find = sqlx::query(
        "select id, length(payload) = 0 from stripe_inbox_events where identity = ?1 and generation = ?2",
    );
    let find = find.bind(identity(&key).to_vec()).bind(key.generation());
    let found = find.fetch_one(&mut *write).await?;
    let (id, is_erased) = (found.try_get(0)?, found.try_get(1)?);
    let mut redelivered = Redelivered { id, is_erased, event, payload: None, now };
    let mut results = Vec::with_capacity(deliveries.len());
    for delivery in deliveries {
        results.push(redelivered.deliver(write, delivery).await?);
    }
    if !is_erased && !redelivered.has_known_id(write).await? {
        redelivered.store_payload(write).await?;
    }
    Ok(Stored::Redelivered(results))
}

impl Redelivered<'_> {
    /// Adds the delivery, restarts the handler's dead letter, or stores the payload for the case
    /// that an unfinished delivery dies.
    async fn deliver(
        &mut self,
        write: &mut SqliteConnection,
        delivery: &NewDelivery,
    ) -> sqlx::Result<Redelivery> {
        let Some(latest) = self.latest(write, delivery).await? else {
            if self.is_erased {
                return Ok(Redelivery::Erased);
            }
            self.add(write, delivery).await?;
            return Ok(Redelivery::Added);
        };
        match state(latest.try_get("state")?)? {
            DeliveryState::Dead => {
                self.restart(write, &latest).await?;
                Ok(Redelivery::Restarted)
            }
            state @ (DeliveryState::Waiting | DeliveryState::Running) => {
                self.deliver_if_dead(write, &latest).await?;
                Ok(Redelivery::Unchanged(state))
            }
            state => Ok(Redelivery::Unchanged(state)),
        }
    }

    /// Finds the handler's delivery of the latest generation that has one.
    async fn latest(
        &self,
        write: &mut SqliteConnection,
        delivery: &NewDelivery,
    ) -> sqlx::Result<Option<SqliteRow>> {
        let latest = sqlx::query(
            "select d.id, handler, state, d.object
             from stripe_inbox_generations g join stripe_inbox_deliveries d on d.event = g.other
             where g.event = ?1 and handler in (?2, ?3) order by generation desc, d.id desc limit 1",
        );
        let latest = latest.bind(self.id).bind(&*delivery.handler);
        latest.bind(delivery.formerly.as_deref()).fetch_optional(write).await
    }

    async fn add(
        &mut self,
        write: &mut SqliteConnection,
        delivery: &NewDelivery,
    ) -> sqlx::Result<()> {
        let count = sqlx::query("select count(*) from stripe_inbox_deliveries where event = ?1");
        let count: i64 = count.bind(self.id).fetch_one(&mut *write).await?.try_get(0)?;
        let id = delivery_number(self.id, usize::try_from(count).unwrap_or(usize::MAX));
        let redelivered = Some(self.store_payload(write).await?);
        let order_key = self.order_key(write).await?;
        let row = NewRow { id, event: self.id, redelivered };
        insert_delivery(write, row, delivery, &order_key, self.now).await
    }

    /// Returns the order key of the event as it was first received.
    async fn order_key(&self, write: &mut SqliteConnection) -> sqlx::Result<OrderKey> {
        let first = sqlx::query(
            "select payload, endpoint, generation, signed_at, serial from stripe_inbox_events where id = ?1",
        );
        let first = stored_event(&first.bind(self.id).fetch_one(write).await?)?;
        // A stored event that is damaged cannot be delivered, so its order does not matter.
        let first = Event::from_store(first);
        Ok(OrderKey::from_event(first.as_ref().unwrap_or(self.event)))
    }

    async fn restart(
        &mut self,
        write: &mut SqliteConnection,
        latest: &SqliteRow,
    ) -> sqlx::Result<()> {
        let restart = sqlx::query(
            "update stripe_inbox_deliveries set
                 state = 0, attempts = 0, due = ?1, delay = 0, ended_at = null,
                 blocked = object is not null, redelivered = ?2
             where id = ?3",
        );
        let restart = restart.bind(self.now).bind(self.store_payload(write).await?);
        restart.bind(latest.try_get::<i64, _>("id")?).execute(&mut *write).await?;
        match latest.try_get::<Option<String>, _>("object")? {
            Some(object) => unblock_next(write, latest.try_get("handler")?, &object).await,
            None => Ok(()),
        }
    }

    /// Sets the payload to deliver if the delivery ends as a dead letter. Does nothing if the
    /// delivery has a payload in the same form, because that one would fail again.
    async fn deliver_if_dead(
        &mut self,
        write: &mut SqliteConnection,
        latest: &SqliteRow,
    ) -> sqlx::Result<()> {
        let id: i64 = latest.try_get("id")?;
        let current = sqlx::query(
            "select coalesce(r.payload, e.payload) as payload, endpoint, generation, e.signed_at, serial
             from stripe_inbox_deliveries d join stripe_inbox_events e on e.id = d.event
             left join stripe_inbox_redelivered r on r.id = d.redelivered
             where d.id = ?1",
        );
        let current = stored_event(&current.bind(id).fetch_one(&mut *write).await?)?;
        if Event::from_store(current).is_ok_and(|current| current.has_same_form(self.event)) {
            return Ok(());
        }
        let set =
            sqlx::query("update stripe_inbox_deliveries set redelivered_since = ?1 where id = ?2");
        let set = set.bind(self.store_payload(write).await?);
        set.bind(id).execute(write).await?;
        Ok(())
    }

    /// Stores the redelivered payload unless this call has stored it, and returns its id.
    async fn store_payload(&mut self, write: &mut SqliteConnection) -> sqlx::Result<i64> {
        if let Some(id) = self.payload {
            return Ok(id);
        }
        let stored = StoredEvent::from_event(self.event);
        let insert = sqlx::query(
            "insert into stripe_inbox_redelivered (event, event_id, payload, signed_at)
             values (?1, ?2, ?3, ?4) returning id",
        );
        let insert = insert.bind(self.id).bind(self.event.id()).bind(&stored.payload[..]);
        let id = insert.bind(signed_at(&stored)).fetch_one(write).await?.try_get(0)?;
        self.payload = Some(id);
        Ok(id)
    }

    /// Returns whether the event was received with this id before. A thin event and its snapshot
    /// event have different ids.
    async fn has_known_id(&self, write: &mut SqliteConnection) -> sqlx::Result<bool> {
        let known = sqlx::query(
            "select exists (select 1 from stripe_inbox_events where id = ?1 and event_id = ?2)
                 or exists (select 1 from stripe_inbox_redelivered where event = ?1 and event_id = ?2)",
        );
        known.bind(self.id).bind(self.event.id()).fetch_one(write).await?.try_get(0)
    }
}
