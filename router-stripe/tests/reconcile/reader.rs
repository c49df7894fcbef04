//! The reader of a list.

use std::{
    pin::pin,
    time::{Duration, SystemTime},
};

use router_core::{clock::Clock as _, testing::ManualClock};
use router_stripe::{
    Error, ErrorKind,
    reconcile::{EventBatch, EventList, EventReader, EventSource},
    testing::{Fault, StubStripe},
};
use serde_json::json;

use crate::events::{V1, V2, advance, ago, client, delivered, missed, stub, thin, until_held};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

fn undelivered() -> EventSource {
    EventSource::new(EventList::Undelivered, "default")
}

fn reader(stripe: &StubStripe, source: EventSource) -> (EventReader, ManualClock) {
    let (client, clock) = client(stripe);
    (EventReader::new(&client, source), clock)
}

async fn read_all(reader: &mut EventReader, clock: &ManualClock) -> Result<Vec<EventBatch>, Error> {
    let mut batches = Vec::new();
    while let Some(batch) = advance(clock, reader.next()).await? {
        batches.push(batch);
    }
    Ok(batches)
}

fn ids(batches: &[EventBatch]) -> Vec<&str> {
    batches.iter().flat_map(|batch| &batch.events).map(router_core::Event::id).collect()
}

#[tokio::test]
async fn events_are_read_oldest_first_in_bounded_batches() {
    let stripe = stub().await;
    let start = ago(3 * HOUR);
    let expected: Vec<_> = (0..2_500).map(|number| format!("evt_{number}")).collect();
    for (created, id) in (start..).zip(&expected) {
        stripe.add_item(V1, missed(id, created));
        stripe.add_item(V1, delivered(missed(&format!("{id}_delivered"), created)));
    }
    let (mut reader, clock) = reader(&stripe, undelivered());
    let begin = clock.monotonic();
    let batches = read_all(&mut reader, &clock).await.expect("stub answers");
    assert_eq!(ids(&batches), expected);
    let mut until = SystemTime::UNIX_EPOCH;
    for batch in &batches {
        assert!(batch.events.len() <= 1_000, "{}", batch.events.len());
        assert!(batch.until > until);
        let created = |event: &router_core::Event| event.created().expect("time of creation");
        assert!(batch.events.iter().all(|event| (until..batch.until).contains(&created(event))));
        until = batch.until;
    }
    let requests = stripe.requests().len();
    assert!(requests < 200, "{requests}");
    let elapsed = (clock.monotonic() - begin).as_millis();
    assert!(elapsed >= 100 * (requests as u128 - 1), "{requests} requests in {elapsed} ms");
}

#[tokio::test]
async fn events_of_one_second_are_read_together() {
    let stripe = stub().await;
    let created = ago(HOUR);
    for number in 0..1_100 {
        stripe.add_item(V1, missed(&format!("evt_{number}"), created));
    }
    let (mut reader, clock) = reader(&stripe, undelivered());
    let batches = read_all(&mut reader, &clock).await.expect("stub answers");
    assert_eq!(batches.iter().map(|batch| batch.events.len()).max(), Some(1_100));
    assert_eq!(ids(&batches).len(), 1_100);
}

#[tokio::test]
async fn list_that_moves_loses_no_event() {
    let stripe = stub().await;
    let start = ago(2 * HOUR);
    for number in 0..250 {
        stripe.add_item(V1, missed(&format!("evt_{number}"), start + number));
    }
    let (reader, clock) = reader(&stripe, undelivered());
    let mut reader = reader.since(SystemTime::UNIX_EPOCH + Duration::from_secs(start));
    advance(&clock, reader.range()).await.expect("stub answers");
    let first_page = stripe.hold_at(V1);
    let mut next = Box::pin(reader.next());
    until_held(&clock, &mut next, &first_page).await;
    let second_page = stripe.hold_at(V1);
    first_page.release();
    until_held(&clock, &mut next, &second_page).await;
    // The events on both sides of the cursor, and the cursor itself, leave the list.
    for number in 145..155 {
        stripe.add_item(V1, delivered(missed(&format!("evt_{number}"), start + number)));
    }
    stripe.add_item(V1, missed("evt_new", ago(Duration::ZERO)));
    second_page.release();
    let batch = advance(&clock, next).await.expect("stub answers").expect("there is a batch");
    let read = ids(std::slice::from_ref(&batch));
    let is_still_listed = |number: &u64| !(145..155).contains(number);
    for number in (0..250).filter(is_still_listed) {
        let id = format!("evt_{number}");
        assert_eq!(read.iter().filter(|other| **other == id).count(), 1, "{id}");
    }
    assert!(!read.contains(&"evt_new"));
}

#[tokio::test]
async fn failed_call_can_be_repeated() {
    let stripe = stub().await;
    let start = ago(2 * HOUR);
    for number in 0..150 {
        stripe.add_item(V1, missed(&format!("evt_{number}"), start + number));
    }
    let (mut reader, clock) = reader(&stripe, undelivered());
    for fault in [Fault::status(500), Fault::disconnect(), Fault::rate_limited(3_600)] {
        stripe.fault(fault);
    }
    let mut events = Vec::new();
    let mut failures = Vec::new();
    loop {
        // A second page fails, too.
        if events.is_empty() && failures.len() == 3 {
            stripe.fault_at(V1, Fault::status(503));
        }
        match advance(&clock, reader.next()).await {
            Ok(Some(batch)) => events.extend(batch.events),
            Ok(None) => break,
            Err(error) => failures.push(error.kind()),
        }
        assert!(failures.len() < 100);
        if failures.len() > 3 && events.is_empty() {
            let page = stripe.hold_at(V1);
            let mut next = pin!(reader.next());
            until_held(&clock, &mut next, &page).await;
            page.release();
            // The future is dropped in the middle of a window.
        }
    }
    assert_eq!(
        failures[..3],
        [ErrorKind::Unavailable, ErrorKind::Unavailable, ErrorKind::RateLimited]
    );
    let ids: Vec<_> = events.iter().map(|event| event.id().to_owned()).collect();
    let expected: Vec<_> = (0..150).map(|number| format!("evt_{number}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn clock_of_stripe_decides() {
    for ahead in [Duration::ZERO, HOUR] {
        let stripe = stub().await;
        stripe.set_clock_ahead(ahead);
        let now = ago(Duration::ZERO) + ahead.as_secs();
        stripe.add_item(V1, missed("evt_too_old", now - 31 * 24 * 3_600));
        stripe.add_item(V1, missed("evt_old", now - 29 * 24 * 3_600));
        stripe.add_item(V1, missed("evt_missed", now - 90));
        stripe.add_item(V1, missed("evt_in_delivery", now - 20));
        for set_back in [false, true] {
            let (mut reader, clock) = reader(&stripe, undelivered());
            match set_back {
                true => clock.set_back(HOUR),
                false => clock.set_forward(HOUR),
            }
            let batches = read_all(&mut reader, &clock).await.expect("stub answers");
            assert_eq!(ids(&batches), ["evt_old", "evt_missed"]);
        }
    }
}

#[tokio::test]
async fn date_of_another_day_is_an_error() {
    let stripe = stub().await;
    stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    for is_ahead in [true, false] {
        let (mut reader, clock) = reader(&stripe, undelivered());
        match is_ahead {
            true => clock.set_back(25 * HOUR),
            false => clock.set_forward(25 * HOUR),
        }
        let error = advance(&clock, reader.next()).await.expect_err("the clocks differ");
        assert_eq!(error.kind(), ErrorKind::Unreadable, "{error}");
    }
}

#[tokio::test]
async fn thin_events_of_an_account_have_its_context() {
    let stripe = stub().await;
    let start = ago(2 * HOUR);
    for number in 0..120 {
        stripe.add_item_of("acct_1", V2, thin(&format!("evt_{number}"), start + number));
    }
    stripe.add_item(V2, thin("evt_self", start));
    let source = EventSource::new(EventList::Thin, "thin").account("acct_1");
    let (reader, clock) = reader(&stripe, source);
    let until = SystemTime::UNIX_EPOCH + Duration::from_secs(start + 110);
    let mut reader = reader.since(until - 100 * Duration::from_secs(1)).until(until);
    let batches = read_all(&mut reader, &clock).await.expect("stub answers");
    let expected: Vec<_> = (10..110).map(|number| format!("evt_{number}")).collect();
    assert_eq!(ids(&batches), expected);
    let key = batches.iter().flat_map(|batch| &batch.events).next().map(router_core::Event::key);
    let key = key.expect("there is an event").to_string();
    assert_eq!(key, "thin/acct_1/evt_10/v1.invoice.paid");
}

#[tokio::test]
async fn unreadable_event_is_reported_and_the_next_one_is_read() {
    let stripe = stub().await;
    let created = ago(2 * MINUTE);
    stripe.add_item(V1, missed("evt_1", created));
    let unreadable =
        json!({"id": "evt_2", "object": "event", "created": created, "delivery_success": false});
    stripe.add_item(V1, unreadable);
    stripe.add_item(V1, missed("evt_3", created));
    let (mut reader, clock) = reader(&stripe, undelivered());
    let batches = read_all(&mut reader, &clock).await.expect("stub answers");
    assert_eq!(ids(&batches), ["evt_1", "evt_3"]);
    let unreadable: Vec<_> = batches.iter().flat_map(|batch| &batch.unreadable).collect();
    assert_eq!(unreadable, ["evt_2"]);
}

#[tokio::test]
async fn retry_of_an_event_returns_it() {
    let stripe = stub().await;
    stripe.add_item(V1, missed("evt_1", ago(HOUR)));
    let retry = stripe.client().post("/v1/events/evt_1/retry").form("webhook_endpoint", "we_1");
    let event: serde_json::Value = retry.send().await.and_then(|it| it.json()).expect("it exists");
    assert_eq!(event["id"], "evt_1");
    assert!(event.get("delivery_success").is_none() && event.get("webhook_endpoint").is_none());
    let accounts = stripe.client().get("/v1/accounts").send().await.expect("list exists");
    assert_eq!(accounts.json::<serde_json::Value>().expect("a list")["data"], json!([]));
}
