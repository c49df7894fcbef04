//! The sender: it sends an event until it is answered with 200, and now and then more than once.

use std::{future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use router_core::{clock::Clock as _, signature::sign, testing::ManualClock};
use router_tests::{payload_of, secret};
use tokio::{sync::Semaphore, task::JoinSet};

/// How many events are under way at once.
const AT_ONCE: usize = 32;

#[derive(Clone)]
pub(crate) struct Stripe {
    address: SocketAddr,
    clock: ManualClock,
    /// Each keeps its connections: what the same one sends twice goes over the same connection, if
    /// that is free.
    clients: Arc<[Client<HttpConnector, Full<Bytes>>]>,
}

impl Stripe {
    pub(crate) fn new(address: SocketAddr, clock: ManualClock) -> Self {
        let http_1 = || Client::builder(TokioExecutor::new()).build_http();
        let http_2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { address, clock, clients: [http_1(), http_1(), http_1(), http_2].into() }
    }

    /// Sends each event until it is taken, and returns how many deliveries that took.
    pub(crate) async fn deliver_all(&self, events: u32, dice: &mut fastrand::Rng) -> u32 {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let mut all = JoinSet::new();
        for number in 0..events {
            let (stripe, dice) = (self.clone(), dice.fork());
            let place = places.clone().acquire_owned().await.expect("it is open");
            all.spawn(async move {
                let deliveries = stripe.deliver(&format!("evt_{number}"), dice).await;
                drop(place);
                deliveries
            });
        }
        all.join_all().await.into_iter().sum()
    }

    async fn deliver(&self, id: &str, mut dice: fastrand::Rng) -> u32 {
        let mut deliveries = 0;
        let mut taken = false;
        let mut strays = JoinSet::new();
        while !taken {
            deliveries += 1;
            assert!(deliveries < 200, "{id} is never taken");
            if dice.u8(..100) < 20 {
                // Beside it, and perhaps nobody waits for the answer.
                let (stripe, id, mut dice) = (self.clone(), id.to_owned(), dice.fork());
                strays.spawn(async move {
                    let mut patience = if dice.bool() { u32::MAX } else { dice.u32(1..50) };
                    let mut send = pin!(stripe.send(&id, &mut dice));
                    // It hangs up after as many polls as this.
                    poll_fn(|context| {
                        patience -= 1;
                        let is_over = send.as_mut().poll(context).is_ready() || patience == 0;
                        if patience < 50 {
                            context.waker().wake_by_ref();
                        }
                        if is_over { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                });
                deliveries += 1;
            }
            taken = self.send(id, &mut dice).await == Some(StatusCode::OK);
        }
        // The answer was lost, as far as Stripe knows: the event comes once more. Only chaos may
        // keep it from being taken.
        if dice.u8(..100) < 20 {
            deliveries += 1;
            let again = self.send(id, &mut dice).await;
            assert!(again.is_none_or(|status| status != StatusCode::INTERNAL_SERVER_ERROR), "{id}");
        }
        strays.join_all().await;
        deliveries
    }

    /// None where the connection broke.
    async fn send(&self, id: &str, dice: &mut fastrand::Rng) -> Option<StatusCode> {
        let body = Bytes::from(payload_of(id, "invoice.paid"));
        let seconds = self.clock.wall().duration_since(UNIX_EPOCH).expect("it is later").as_secs();
        let request = Request::post(format!("http://{}/webhook", self.address))
            .header("Stripe-Signature", sign(&secret(), seconds, &body))
            .body(Full::new(body))
            .expect("it is a request");
        let response = dice.choice(&*self.clients)?.request(request).await.ok()?;
        let status = response.status();
        response.into_body().collect().await.ok()?;
        Some(status)
    }
}
