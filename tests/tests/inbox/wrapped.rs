//! Webhooks of other providers in an inbox: stored, restored after a restart, deduplicated,
//! ordered, replayed.

use std::time::{Duration, UNIX_EPOCH};

use router_core::{
    BoxError, Event, Object, Router,
    event::{AlreadyAuthenticated, Recency, Wrapper},
    on_event,
    testing::SyntheticEvent,
};
use router_inbox::{
    Tx,
    operations::{EventSelector, Operations as _},
    sqlx::{self, Sqlite},
    store::{DeliveryState::Done, Stored},
    testing::TestInbox,
};
use tower::Service as _;

const BODY: &str = r#"{ "data":{"id":"resp_1"}, "n":1.50 }"#;

#[derive(serde::Deserialize)]
struct Completed {
    data: Data,
}

#[derive(serde::Deserialize)]
struct Data {
    id: String,
}

#[on_event("openai.response.completed", unlisted, name = "responses.save", ordered = "newest")]
async fn save(
    event: Event,
    body: Object<Completed>,
    recency: Recency,
    mut tx: Tx<Sqlite>,
) -> Result<(), BoxError> {
    let insert = sqlx::query("insert into responses values (?, ?, ?, ?)");
    let insert = insert.bind(event.key().to_string()).bind(&body.data.id).bind(recency.as_i64());
    insert.bind(event.payload_text()).execute(tx.begin().await?).await?;
    Ok(())
}

fn wrapped(id: &str, created: u64) -> Event {
    let created = UNIX_EPOCH + Duration::from_secs(created);
    let wrapper = Wrapper::new("openai", id, "response.completed");
    let wrapper = wrapper.created(created).object_id("resp_1");
    Event::wrapped(AlreadyAuthenticated::by_its_signature(BODY), wrapper).expect("webhook is valid")
}

/// Returns the key, the object's id, the recency and the payload of each handled event.
async fn saved(shop: &TestInbox) -> Vec<(String, String, i64, String)> {
    sqlx::query_as("select * from responses order by rowid")
        .fetch_all(shop.pool())
        .await
        .expect("table exists")
}

#[tokio::test]
async fn wrapped_event_is_stored_restored_deduplicated_and_replayed() {
    let router = || Router::builder().only::<save>();
    let shop = TestInbox::new(router()).await.unwrap();
    let create = "create table responses (key text, response text, recency integer, payload text)";
    sqlx::query(create).execute(shop.pool()).await.unwrap();

    let event = wrapped("evt_1", 1_750_000_000);
    let receipt = shop.inbox().clone().call(event.clone()).await.unwrap();
    assert_eq!(receipt.stored(), Some(&Stored::New));
    // An event of Stripe with the same id is another event.
    shop.deliver(SyntheticEvent::new("invoice.paid").id("evt_1")).await.receipt();

    let shop = shop.restart(router()).await.unwrap();
    shop.run_until_idle().await;
    assert_eq!(shop.delivery("evt_1", "responses.save").await.state, Done);
    let recency = Recency::from_event(&event).unwrap().as_i64();
    let row = |key: &str| {
        let (id, payload) = ("resp_1".to_owned(), event.payload_text().to_owned());
        (format!("openai/evt_1/openai.response.completed{key}"), id, recency, payload)
    };
    assert_eq!(saved(&shop).await, [row("")]);

    let again = shop.inbox().clone().call(wrapped("evt_1", 1_750_000_000)).await.unwrap();
    assert!(again.stored().is_some_and(Stored::is_duplicate), "{again:?}");
    // `ordered = "newest"` ignores an older state of the same object.
    shop.inbox().clone().call(wrapped("evt_0", 1_749_999_999)).await.unwrap();
    shop.run_until_idle().await;
    assert_eq!(saved(&shop).await, [row("")]);

    let operations = shop.store();
    let openai = EventSelector {
        event_type: Some("openai.*".into()),
        event_id: Some("evt_1".into()),
        ..EventSelector::default()
    };
    let events = operations.select(&openai).await.unwrap();
    assert_eq!(events.len(), 1);
    operations.replay(&events, &[]).await.unwrap();
    shop.run_until_idle().await;
    assert_eq!(saved(&shop).await, [row(""), row("#1")]);
}

/// Two accounts at a provider whose object ids are unique only within an account.
#[tokio::test]
async fn object_of_another_account_is_another_object() {
    let shop = TestInbox::new(Router::builder().only::<save>()).await.unwrap();
    let create = "create table responses (key text, response text, recency integer, payload text)";
    sqlx::query(create).execute(shop.pool()).await.unwrap();
    for (account, created) in [("shop_a", 1_750_000_000), ("shop_b", 1_749_999_999)] {
        let verified = AlreadyAuthenticated::by_its_signature(BODY).account(account);
        let created = UNIX_EPOCH + Duration::from_secs(created);
        let wrapper = Wrapper::new("openai", "evt_1", "response.completed").created(created);
        let event = Event::wrapped(verified, wrapper.object_id("resp_1")).unwrap();
        let receipt = shop.inbox().clone().call(event).await.unwrap();
        assert_eq!(receipt.stored(), Some(&Stored::New));
        shop.run_until_idle().await;
    }
    let keys: Vec<_> = saved(&shop).await.into_iter().map(|(key, ..)| key).collect();
    let key = |account: &str| format!("openai/{account}/evt_1/openai.response.completed");
    assert_eq!(keys, [key("shop_a"), key("shop_b")]);
}
