//! A stub of Stripe's API for tests (feature `testing`).
//!
//! ```
//! use router_stripe::testing::{Fault, StubStripe};
//! use serde_json::{Value, json};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stripe = StubStripe::start().await?;
//! stripe.set_object_of("acct_1", "/v1/invoices/in_1", json!({"id": "in_1", "status": "paid"}));
//! stripe.fault(Fault::status(500)); // for the next request
//!
//! let response = stripe.client().get("/v1/invoices/in_1").account("acct_1").send().await?;
//! assert_eq!(response.json::<Value>()?["status"], "paid");
//! let requests = stripe.requests();
//! assert_eq!(requests.len(), 2); // the first was answered with 500, and repeated
//! assert_eq!(requests[1].header("stripe-account"), Some("acct_1"));
//! # Ok(())
//! # }
//! ```

mod changes;
mod hold;
mod lists;
mod pings;
mod server;

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use router_catalog::{samples::Sampler, snapshot_type};
use router_core::{
    Event,
    bytes::Bytes,
    event::RelatedObject,
    http::{HeaderMap, Method, StatusCode},
    testing::{Payload, SyntheticEvent},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};

use self::hold::HeldRequest;
pub use self::hold::Hold;
use crate::{ApiKey, Client, ClientBuilder, object_path::object_path};

/// The key of the stub's [clients](StubStripe::client).
pub const STUB_KEY: &str = "rk_test_stub";

/// A server on a port of this machine that answers like Stripe's API.
///
/// The stub has the objects and lists that a test adds, accepts only the key [`STUB_KEY`], and
/// records all requests. A `POST` changes an object or an item of a list, or
/// [pings](Self::next_ping) an event destination, and `POST /v1/events/{id}/retry` returns the
/// event. Lists of events, connected accounts, webhook endpoints and event destinations exist in
/// every account, and are empty at first. The server stops when the stub is dropped.
#[derive(Debug)]
pub struct StubStripe {
    address: SocketAddr,
    contents: Arc<Contents>,
    server: JoinHandle<()>,
}

/// A request that the stub received.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReceivedRequest {
    /// The method.
    pub method: Method,
    /// The path and the query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl ReceivedRequest {
    /// Returns the value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A fault that the stub injects into one request.
#[derive(Debug, Clone)]
pub struct Fault(FaultKind);

#[derive(Debug, Clone)]
enum FaultKind {
    Answer(Answer),
    Delay(Duration),
    Disconnect,
    Hold(Arc<HeldRequest>),
}

impl Fault {
    /// Answers with this status, and an error in Stripe's form.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::error(status, "a fault of the stub")
    }

    /// Answers with this status, and an error in Stripe's form that has this message.
    #[must_use]
    pub fn error(status: u16, message: &str) -> Self {
        Self(FaultKind::Answer(Answer::error(status, "api_error", message)))
    }

    /// Answers with 429, and with a `Retry-After` of this number of seconds.
    #[must_use]
    pub fn rate_limited(retry_after: u64) -> Self {
        let error = Answer::error(429, "invalid_request_error", "too many requests");
        Self(FaultKind::Answer(error.header("retry-after", &retry_after.to_string())))
    }

    /// Answers after this time.
    #[must_use]
    pub fn delay(time: Duration) -> Self {
        Self(FaultKind::Delay(time))
    }

    /// Closes the connection without an answer.
    #[must_use]
    pub fn disconnect() -> Self {
        Self(FaultKind::Disconnect)
    }

    /// Adds a header to the answer. A fault without an answer is left unchanged.
    #[must_use]
    pub fn header(self, name: &'static str, value: &str) -> Self {
        match self.0 {
            FaultKind::Answer(answer) => Self(FaultKind::Answer(answer.header(name, value))),
            other => Self(other),
        }
    }
}

/// An answer of the stub.
#[derive(Debug, Clone)]
struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Answer {
    fn ok(body: &Value) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: body.to_string() }
    }

    fn error(status: u16, error_type: &str, message: &str) -> Self {
        let body = json!({"error": {"type": error_type, "message": message}});
        let status = StatusCode::from_u16(status).expect("status is valid");
        Self { status, headers: Vec::new(), body: body.to_string() }
    }

    fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

/// The contents of the stub.
#[derive(Debug, Default)]
struct Contents {
    tables: Mutex<Tables>,
    /// Wakes the tests that wait for a ping.
    pinged: Notify,
}

#[derive(Debug, Default)]
struct Tables {
    /// Objects by account and path. The account of the key is the empty text.
    objects: BTreeMap<(String, String), Value>,
    /// Lists by account and path, the newest item first.
    lists: BTreeMap<(String, String), Vec<Value>>,
    /// Pending faults, each with the path to which it applies, if it is limited to one.
    faults: VecDeque<(Option<String>, Fault)>,
    requests: Vec<ReceivedRequest>,
    /// The ping events that no test has taken yet.
    pings: VecDeque<Payload>,
    clock_ahead: Duration,
}

impl Contents {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StubStripe {
    /// Starts a stub without objects.
    ///
    /// # Errors
    ///
    /// Fails if no port can be opened.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let contents = Arc::<Contents>::default();
        let server = tokio::spawn(server::serve(listener, contents.clone()));
        Ok(Self { address, contents, server })
    }

    /// Returns the stub's address, to which a path is appended.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns a client of the stub with default settings.
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the settings are valid")]
    pub fn client(&self) -> Client {
        self.client_builder().build().expect("settings are valid")
    }

    /// Starts the configuration of a client of the stub.
    #[expect(clippy::missing_panics_doc, reason = "the key is valid")]
    pub fn client_builder(&self) -> ClientBuilder {
        let key = ApiKey::new(STUB_KEY).expect("key is valid");
        Client::builder(key).base_url(self.url())
    }

    /// Sets the object at a path, such as `/v1/invoices/in_1`.
    pub fn set_object(&self, path: &str, object: Value) {
        self.set_object_of("", path, object);
    }

    /// Sets the object at a path for requests on behalf of this account: with the account as
    /// `Stripe-Account` or as `Stripe-Context`.
    pub fn set_object_of(&self, account: &str, path: &str, object: Value) {
        self.contents.tables().objects.insert((account.to_owned(), path.to_owned()), object);
    }

    /// Sets the object that an event is about, for requests in the event's account or context: the
    /// object in a snapshot event, or a sample of the object that a thin event names.
    ///
    /// # Panics
    ///
    /// Panics if the API has no path for the event's object.
    pub fn set_object_of_event(&self, event: &Event) {
        let path = object_path(event).unwrap_or_else(|reason| panic!("{}: {reason}", event.id()));
        let object = event.decode_object().unwrap_or_else(|_| {
            let sample = sample_of(event);
            let mut sample =
                sample.unwrap_or_else(|| panic!("{}: no sample of its object", event.id()));
            if let Some(id) = event.related_object().as_ref().and_then(RelatedObject::id) {
                sample["id"] = id.into();
            }
            sample
        });
        let account = event.context().or(event.account()).unwrap_or_default();
        self.set_object_of(account, &path, object);
    }

    /// Deletes the object at a path, in all accounts.
    pub fn delete(&self, path: &str) {
        self.contents.tables().objects.retain(|(_, other), _| other != path);
    }

    /// Adds an item to the list at a path, such as `/v1/events`, as the newest item. An item with
    /// the same id is replaced instead.
    ///
    /// The list is served in pages, and can be filtered like `/v1/events`: by `type`, `types[]`,
    /// `created[gt]`, `created[gte]`, `created[lt]`, `created[lte]` and `delivery_success`. The
    /// times are in seconds, or in RFC 3339 as in `/v2/core/events`. The field `delivery_success`
    /// of an item is not part of the answer.
    pub fn add_item(&self, path: &str, item: Value) {
        self.add_item_of("", path, item);
    }

    /// Adds an item to the list at a path for requests on behalf of this account.
    pub fn add_item_of(&self, account: &str, path: &str, item: Value) {
        let mut tables = self.contents.tables();
        let list = tables.lists.entry((account.to_owned(), path.to_owned())).or_default();
        match list.iter_mut().find(|other| !item["id"].is_null() && other["id"] == item["id"]) {
            Some(other) => *other = item,
            None => list.insert(0, item),
        }
    }

    /// Sets the time by which the `Date` of the stub's answers is ahead of the system's clock.
    pub fn set_clock_ahead(&self, time: Duration) {
        self.contents.tables().clock_ahead = time;
    }

    /// Applies a fault to the next request that has no other fault.
    pub fn fault(&self, fault: Fault) {
        self.contents.tables().faults.push_back((None, fault));
    }

    /// Applies a fault to the next request to this path.
    pub fn fault_at(&self, path: &str, fault: Fault) {
        self.contents.tables().faults.push_back((Some(path.to_owned()), fault));
    }

    /// Holds the next request to this path. The answer is made after [`Hold::release`], from the
    /// contents at that time.
    #[must_use = "a dropped hold releases its request"]
    pub fn hold_at(&self, path: &str) -> Hold {
        let request = Arc::<HeldRequest>::default();
        self.fault_at(path, Fault(FaultKind::Hold(request.clone())));
        Hold(request)
    }

    /// Returns all requests that the stub has received, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<ReceivedRequest> {
        self.contents.tables().requests.clone()
    }
}

/// Returns a sample of the object that a thin event names: the object of the snapshot event for the
/// same change, if there is such an event.
fn sample_of(event: &Event) -> Option<Value> {
    let snapshot = snapshot_type(event.event_type());
    let snapshot = snapshot.and_then(|name| SyntheticEvent::new(name).build().ok());
    let object = snapshot.and_then(|snapshot| snapshot.event().decode_object().ok());
    object.or_else(|| Sampler::new(0, 0).object(event.related_object()?.object_type()?))
}

impl Drop for StubStripe {
    fn drop(&mut self) {
        self.server.abort();
    }
}
