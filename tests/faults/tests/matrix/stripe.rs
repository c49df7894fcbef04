//! A simulation of Stripe: sends events, and redelivers them until they are acknowledged.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode, Uri};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    endpoint::FullBody,
    testing::{Payload, SyntheticEvent},
};
use tokio::{sync::watch, task::JoinSet};

use crate::with_timeout;

/// The shop's signing secret, from its `options.rs`.
pub(crate) const SECRET: &str = "whsec_of_the_faults";

/// Default maximum number of events that are sent concurrently.
const MAX_IN_FLIGHT: usize = 4;

pub(crate) struct Stripe {
    client: Client<HttpConnector, FullBody>,
    secret: SigningSecret,
    /// The endpoint's current address; `None` while there is no endpoint.
    address: watch::Sender<Option<SocketAddr>>,
    /// The types of the events that were answered with 200, by id.
    acknowledged: Mutex<BTreeMap<String, String>>,
    next_id: AtomicUsize,
}

impl Stripe {
    pub(crate) fn new() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            secret: SigningSecret::new(SECRET).expect("secret is valid"),
            address: watch::Sender::new(None),
            acknowledged: Mutex::default(),
            next_id: AtomicUsize::new(0),
        }
    }

    /// Creates events of this type.
    pub(crate) fn events(&self, event_type: &str, number: usize) -> Vec<Payload> {
        (0..number).map(|_| self.event(SyntheticEvent::new(event_type))).collect()
    }

    /// Builds an event with a new id.
    pub(crate) fn event(&self, event: SyntheticEvent) -> Payload {
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        event.id(format!("evt_{number}")).build().expect("event type is known")
    }

    /// Sets the endpoint to which events are sent from now on.
    pub(crate) fn set_endpoint(&self, address: Option<SocketAddr>) {
        self.address.send_replace(address);
    }

    /// Returns the types of the events that were answered with 200, by id.
    pub(crate) fn acknowledged(&self) -> BTreeMap<String, String> {
        self.acknowledged.lock().expect("lock is not poisoned").clone()
    }

    /// Returns the number of events that were answered with 200.
    pub(crate) fn acknowledged_number(&self) -> usize {
        self.acknowledged.lock().expect("lock is not poisoned").len()
    }

    /// Sends an event once, as soon as there is an endpoint. Returns `None` if there was no answer.
    pub(crate) async fn send(&self, event: &Payload) -> Option<StatusCode> {
        let address = with_timeout("an endpoint", async {
            let mut address = self.address.subscribe();
            let address = address.wait_for(Option::is_some).await.expect("`self` owns the sender");
            address.expect("address is set")
        });
        let mut request: Request<_> = event.request(&self.secret);
        let url = format!("http://{}/webhook", address.await);
        *request.uri_mut() = url.parse::<Uri>().expect("URL is valid");
        let status = self.client.request(request).await.ok()?.status();
        if status == StatusCode::OK {
            let (id, event_type) = (event.id().to_owned(), event.event_type().to_owned());
            self.acknowledged.lock().expect("lock is not poisoned").insert(id, event_type);
        }
        Some(status)
    }

    /// Sends an event until it is acknowledged. Panics on any status but 200 and 503.
    pub(crate) async fn deliver(&self, event: &Payload) {
        loop {
            match self.send(event).await {
                Some(StatusCode::OK) => return,
                None | Some(StatusCode::SERVICE_UNAVAILABLE) => {}
                Some(status) => panic!("{} was answered with {status}", event.id()),
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends events until all are acknowledged, up to [`MAX_IN_FLIGHT`] at a time.
    pub(crate) async fn deliver_all(self: &std::sync::Arc<Self>, events: Vec<Payload>) {
        self.deliver_concurrently(events, MAX_IN_FLIGHT).await;
    }

    /// Sends events until all are acknowledged, up to `max_in_flight` at a time.
    pub(crate) async fn deliver_concurrently(
        self: &std::sync::Arc<Self>,
        events: Vec<Payload>,
        max_in_flight: usize,
    ) {
        let mut in_flight = JoinSet::new();
        for event in events {
            if in_flight.len() == max_in_flight {
                in_flight
                    .join_next()
                    .await
                    .expect("set is not empty")
                    .expect("task does not panic");
            }
            let stripe = self.clone();
            in_flight.spawn(async move { stripe.deliver(&event).await });
        }
        with_timeout("acknowledgement of all events", in_flight.join_all()).await;
    }
}
