//! The move to another API version that `docs/api-versions.md` describes: each event arrives once
//! from the old endpoint and once from the new one, and each is handled once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use router_core::{
    BoxError, Endpoint, Event, Object, Router, Secrets, SigningSecret, State,
    completions::{CompletionStore, HandlerProgress},
    endpoint::Answer,
    event::EventKey,
    on_event,
    testing::{ManualClock, Payload, SyntheticEvent},
};
use router_inbox::{Inbox, SqliteStore, Store as _, operations::*, store::DeliveryState};
use router_tests::now;
use serde::Deserialize;
use tower::Service;

const OLD: (&str, &str) = ("whsec_old", "2015-02-16");
const NEW: (&str, &str) = ("whsec_new", "2026-10-28.endive");

/// The version of the program that handled each event.
type Handled = Mutex<BTreeMap<String, Vec<&'static str>>>;

fn count(handled: &Handled, event: &Event, program: &'static str) {
    let mut handled = handled.lock().expect("mutex is not poisoned");
    handled.entry(event.id().to_owned()).or_default().push(program);
}

/// The object in the old version: amounts are numbers.
#[derive(Deserialize)]
struct OldPaymentIntent {
    #[serde(rename = "amount")]
    _amount: u64,
}

#[on_event("payment_intent.succeeded", name = "shop.fulfil")]
async fn fulfil_old(
    event: Event,
    _: Object<OldPaymentIntent>,
    handled: State<Handled>,
) -> Result<(), BoxError> {
    // The last events before the move are still waiting for the warehouse when it begins.
    if event.id().ends_with('9') {
        return Err("the warehouse is down".into());
    }
    count(&handled, &event, "old");
    Ok(())
}

/// The object in the new version: amounts are texts.
#[derive(Deserialize)]
struct NewPaymentIntent {
    #[serde(rename = "amount")]
    _amount: String,
}

#[on_event("payment_intent.succeeded", name = "shop.fulfil")]
async fn fulfil_new(event: Event, _: Object<NewPaymentIntent>, handled: State<Handled>) {
    count(&handled, &event, "new");
}

/// A copy of an event, as one of the two endpoints at Stripe sends it.
#[derive(Clone)]
struct Copy {
    payload: Payload,
    secret: SigningSecret,
}

fn copies(number: usize) -> [Copy; 2] {
    let copy = |(secret, version): (&str, &str), amount: serde_json::Value| {
        let event = SyntheticEvent::new("payment_intent.succeeded");
        let event = event.id(format!("evt_{number}")).api_version(version).set("amount", amount);
        let secret = SigningSecret::new(secret).expect("secret is valid");
        Copy { payload: event.build().expect("event is valid"), secret }
    };
    [copy(OLD, 2000.into()), copy(NEW, "20.00".into())]
}

/// Sends copies to a program that accepts this version. Returns those that it refused.
async fn send<S>(service: S, version: &str, copies: Vec<Copy>) -> Vec<Copy>
where
    S: Service<Event, Response: Into<Answer>, Error: Into<BoxError>>,
    S: Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let secrets = Secrets::parse("whsec_old|whsec_new").expect("secrets are valid");
    let endpoint = Endpoint::new(secrets, service).require_api_version(version);
    let mut refused = Vec::new();
    for copy in copies {
        let signature = copy.payload.sign(&copy.secret);
        let body = copy.payload.body().clone();
        let response = endpoint.receive(Some(signature.as_bytes()), body).await;
        if response.status() != 200 {
            refused.push(copy);
        }
    }
    refused
}

/// Returns the copies of these events in random order.
fn shuffled(random: &mut fastrand::Rng, numbers: std::ops::Range<usize>) -> Vec<Copy> {
    let mut copies: Vec<_> = numbers.flat_map(copies).collect();
    random.shuffle(&mut copies);
    copies
}

fn assert_each_handled_once(handled: &Handled, old: usize, all: usize) {
    let handled = handled.lock().expect("mutex is not poisoned");
    assert_eq!(handled.len(), all);
    for (id, programs) in &*handled {
        assert_eq!(programs.len(), 1, "{id}: {programs:?}");
    }
    let by_old = handled.values().filter(|programs| programs[0] == "old").count();
    assert_eq!(by_old, old, "the old program handled the events before the move");
}

/// A completion store that outlives the program, as a table in a database does.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<BTreeMap<String, Vec<HandlerProgress>>>>);

#[async_trait]
impl CompletionStore for Table {
    async fn load(&self, event: &EventKey) -> Result<Vec<HandlerProgress>, BoxError> {
        let rows = self.0.lock().expect("mutex is not poisoned");
        Ok(rows.get(&event.to_string()).cloned().unwrap_or_default())
    }

    async fn record(&self, event: &EventKey, progress: HandlerProgress) -> Result<(), BoxError> {
        let mut rows = self.0.lock().expect("mutex is not poisoned");
        let row = rows.entry(event.to_string()).or_default();
        row.retain(|known| known.handler != progress.handler);
        row.push(progress);
        Ok(())
    }
}

#[tokio::test]
async fn each_event_is_handled_once_during_the_move_inline() {
    let mut random = fastrand::Rng::with_seed(19);
    let (handled, table) = (Arc::new(Handled::default()), Table::default());
    let router = || {
        let router = Router::builder().without_linked().completions(table.clone());
        router.shared_state(handled.clone())
    };
    let old = router().add::<fulfil_old>().build().unwrap();
    let mut refused = send(old, OLD.1, shuffled(&mut random, 0..30)).await;
    assert_eq!(refused.len(), 30 + 3, "three wait for the warehouse");
    // Stripe sends the refused copies again, among new events.
    refused.extend(shuffled(&mut random, 30..60));
    random.shuffle(&mut refused);
    let new = router().add::<fulfil_new>().build().unwrap();
    let refused = send(new, NEW.1, refused).await;
    assert!(refused.iter().all(|copy| copy.payload.event().api_version() == Some(OLD.1)));
    assert_each_handled_once(&handled, 27, 60);
}

#[tokio::test]
async fn each_event_is_handled_once_during_the_move_with_an_inbox() {
    let mut random = fastrand::Rng::with_seed(19);
    let handled = Arc::new(Handled::default());
    let clock = ManualClock::at(now());
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let store = SqliteStore::options().clock(clock.clone()).open(&url).await.unwrap();
    let router = || Router::builder().without_linked().shared_state(handled.clone());
    let work = async |inbox: &Inbox<SqliteStore>| {
        for _ in 0..20 {
            inbox.worker(inbox.router().clone()).run_until_idle().await;
            clock.advance(Duration::from_secs(1));
        }
    };

    // 1. Both endpoints send. The old program refuses the copies in the new version.
    let old = router().add::<fulfil_old>().delivered_by(&store).build().unwrap();
    let old = Inbox::new(store.clone(), old).clock(clock.clone());
    let refused = send(old.clone(), OLD.1, shuffled(&mut random, 0..30)).await;
    assert_eq!(refused.len(), 30);
    work(&old).await;
    assert_eq!(handled.lock().unwrap().len(), 27, "three wait for the warehouse");

    // 2. The new program refuses the copies in the old version. Three stored events have it: their
    // retry is a dead letter.
    let new = router().add::<fulfil_new>().delivered_by(&store).build().unwrap();
    let new = Inbox::new(store.clone(), new).clock(clock.clone());
    clock.advance(Duration::from_secs(24 * 60 * 60));
    work(&new).await;
    let dead = ListFilter { states: vec![DeliveryState::Dead], limit: 9, ..Default::default() };
    assert_eq!(store.list(&dead).await.unwrap().len(), 3);

    // 3. Stripe sends the refused copies again, among new events. They restart the dead letters,
    // and are duplicates otherwise.
    let mut copies = refused;
    copies.extend(shuffled(&mut random, 30..60));
    random.shuffle(&mut copies);
    let refused = send(new.clone(), NEW.1, copies).await;
    assert_eq!(refused.len(), 30, "the copies in the old version");
    work(&new).await;
    assert_each_handled_once(&handled, 27, 60);
    assert!(store.list(&dead).await.unwrap().is_empty());
    assert!(store.backlog().await.unwrap().is_empty());
}
