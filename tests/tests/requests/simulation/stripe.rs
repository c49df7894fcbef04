//! The simulated Stripe: sends each event until the answer is 200, and sometimes more often.

use std::{future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, task::Poll, time::UNIX_EPOCH};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use router_core::{clock::Clock as _, signature::sign, testing::ManualClock};
use router_tests::{payload_with_id, secret};
use tokio::{sync::Semaphore, task::JoinSet};

/// Limit of events that are sent concurrently.
const MAX_CONCURRENT_EVENTS: usize = 32;

#[derive(Clone)]
pub(crate) struct Stripe {
    address: SocketAddr,
    clock: ManualClock,
    /// Each client has its own connection pool, so its requests reuse a connection that is free.
    clients: Arc<[Client<HttpConnector, Full<Bytes>>]>,
}

impl Stripe {
    pub(crate) fn new(address: SocketAddr, clock: ManualClock) -> Self {
        let http_1 = || Client::builder(TokioExecutor::new()).build_http();
        let http_2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        Self { address, clock, clients: [http_1(), http_1(), http_1(), http_2].into() }
    }

    /// Sends each event until it is accepted, and returns the number of requests.
    pub(crate) async fn deliver_all(&self, events: u32, rng: &mut fastrand::Rng) -> u32 {
        let permits = Arc::new(Semaphore::new(MAX_CONCURRENT_EVENTS));
        let mut tasks = JoinSet::new();
        for number in 0..events {
            let (stripe, rng) = (self.clone(), rng.fork());
            let permit = permits.clone().acquire_owned().await.expect("the semaphore is open");
            tasks.spawn(async move {
                let deliveries = stripe.deliver(&format!("evt_{number}"), rng).await;
                drop(permit);
                deliveries
            });
        }
        tasks.join_all().await.into_iter().sum()
    }

    async fn deliver(&self, id: &str, mut rng: fastrand::Rng) -> u32 {
        let mut deliveries = 0;
        let mut accepted = false;
        let mut duplicates = JoinSet::new();
        while !accepted {
            deliveries += 1;
            assert!(deliveries < 200, "{id} is never accepted");
            if rng.u8(..100) < 20 {
                // A concurrent duplicate. The client may disconnect before the answer.
                let (stripe, id, mut rng) = (self.clone(), id.to_owned(), rng.fork());
                duplicates.spawn(async move {
                    let mut polls_left = if rng.bool() { u32::MAX } else { rng.u32(1..50) };
                    let mut send = pin!(stripe.send(&id, &mut rng));
                    // Drops the request, which disconnects, after this number of polls.
                    poll_fn(|context| {
                        polls_left -= 1;
                        let is_over = send.as_mut().poll(context).is_ready() || polls_left == 0;
                        if polls_left < 50 {
                            context.waker().wake_by_ref();
                        }
                        if is_over { Poll::Ready(()) } else { Poll::Pending }
                    })
                    .await;
                });
                deliveries += 1;
            }
            accepted = self.send(id, &mut rng).await == Some(StatusCode::OK);
        }
        // As if Stripe had not received the answer, the event is sent again. Its dead letters start
        // over, and may fail. The other handlers do not run, which the shop checks.
        if rng.u8(..100) < 20 {
            deliveries += 1;
            while self.send(id, &mut rng).await == Some(StatusCode::INTERNAL_SERVER_ERROR) {
                deliveries += 1;
                assert!(deliveries < 200, "{id} is never accepted");
            }
        }
        duplicates.join_all().await;
        deliveries
    }

    /// Sends the event once. Returns `None` if the connection broke.
    async fn send(&self, id: &str, rng: &mut fastrand::Rng) -> Option<StatusCode> {
        let body = Bytes::from(payload_with_id(id, "invoice.paid"));
        let seconds = self
            .clock
            .wall()
            .duration_since(UNIX_EPOCH)
            .expect("the clock is after 1970")
            .as_secs();
        let request = Request::post(format!("http://{}/webhook", self.address))
            .header("Stripe-Signature", sign(&secret(), seconds, &body))
            .body(Full::new(body))
            .expect("the request is valid");
        let response = rng.choice(&*self.clients)?.request(request).await.ok()?;
        let status = response.status();
        response.into_body().collect().await.ok()?;
        Some(status)
    }
}
