//! Stripe: sends events, and sends again what was not acknowledged.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use router_core::{
    SigningSecret,
    clock::{Clock as _, SystemClock},
    testing::{Payload, SyntheticEvent},
};
use tokio::{sync::watch, task::JoinSet};

use crate::soon;

/// Of the program, which has it in its `options.rs`.
const SECRET: &str = "whsec_of_the_faults";

/// How many events are under way at once.
const AT_ONCE: usize = 4;

pub(crate) struct Stripe {
    client: Client<HttpConnector, Full<Bytes>>,
    secret: SigningSecret,
    /// Where the endpoint is by now.
    address: watch::Sender<Option<SocketAddr>>,
    /// What was answered with 200, by its id, with its type.
    acknowledged: Mutex<BTreeMap<String, String>>,
    made: AtomicUsize,
}

impl Stripe {
    pub(crate) fn new() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            secret: SigningSecret::new(SECRET).expect("it is a secret"),
            address: watch::Sender::new(None),
            acknowledged: Mutex::default(),
            made: AtomicUsize::new(0),
        }
    }

    /// So many new events of this type.
    pub(crate) fn events(&self, event_type: &str, number: usize) -> Vec<Payload> {
        (0..number).map(|_| self.event(SyntheticEvent::new(event_type))).collect()
    }

    /// This event, under a new id.
    pub(crate) fn event(&self, event: SyntheticEvent) -> Payload {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        event.id(format!("evt_{number}")).build().expect("there is such an event")
    }

    /// The endpoint is there from now on.
    pub(crate) fn at(&self, address: Option<SocketAddr>) {
        self.address.send_replace(address);
    }

    /// What was answered with 200, by its id, with its type.
    pub(crate) fn acknowledged(&self) -> BTreeMap<String, String> {
        self.acknowledged.lock().expect("nobody panics with it").clone()
    }

    /// Sends it once, now; `None`: nobody has answered.
    pub(crate) async fn send(&self, event: &Payload) -> Option<StatusCode> {
        let address = soon("an endpoint", async {
            let mut address = self.address.subscribe();
            let there = address.wait_for(Option::is_some).await.expect("this has the sender");
            there.expect("it was waited for")
        });
        let mut request: Request<_> = event.request(&self.secret);
        let url = format!("http://{}/webhook", address.await);
        *request.uri_mut() = url.parse::<Uri>().expect("it is a URL");
        let status = self.client.request(request).await.ok()?.status();
        if status == StatusCode::OK {
            let (id, event_type) = (event.id().to_owned(), event.event_type().to_owned());
            self.acknowledged.lock().expect("nobody panics with it").insert(id, event_type);
        }
        Some(status)
    }

    /// Sends it until it is acknowledged. Nothing but 200 and 503 is an answer.
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

    /// Sends all until they are acknowledged, several at a time.
    pub(crate) async fn deliver_all(self: &std::sync::Arc<Self>, events: Vec<Payload>) {
        let mut under_way = JoinSet::new();
        for event in events {
            if under_way.len() == AT_ONCE {
                under_way.join_next().await.expect("there are some").expect("it does not panic");
            }
            let stripe = self.clone();
            under_way.spawn(async move { stripe.deliver(&event).await });
        }
        soon("that all are acknowledged", under_way.join_all()).await;
    }
}
