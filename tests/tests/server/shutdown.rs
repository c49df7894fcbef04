//! A server that is told to stop, and what becomes of the requests in flight.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use http::StatusCode;
use hyper_util::client::legacy;
use router_core::{Event, Handler};
use router_tests::{payload, payload_of};
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::mpsc, task::JoinHandle};

use crate::{DONE, GRACE, Running, client, counting, held, read, signed};

type Answered = Result<http::Response<hyper::body::Incoming>, legacy::Error>;

/// Sends a request that is in flight once this returns.
async fn in_flight(
    server: &Running,
    begun: &mut mpsc::UnboundedReceiver<()>,
    http2: bool,
) -> JoinHandle<Answered> {
    let request = server.post(payload("invoice.paid"));
    let answered = tokio::spawn(async move { client(http2).request(request).await });
    begun.recv().await.expect("the handler runs");
    answered
}

#[tokio::test]
async fn a_shutdown_loses_no_request_that_is_in_flight() {
    for http2 in [false, true] {
        let (mut begun, may_go_on, handler) = held();
        let server = Running::start(handler).await;
        let answered = in_flight(&server, &mut begun, http2).await;
        // One that has connected and says nothing must not hold the server up.
        let mut silent = TcpStream::connect(server.address).await.unwrap();
        server.clock.wait_for_sleepers(2).await;

        server.stop.send(()).unwrap();
        // That the server closes this one shows that it is shutting down.
        assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
        let refused = TcpStream::connect(server.address).await;
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        assert!(!server.served.is_finished(), "a request is still in flight");

        may_go_on.add_permits(1);
        let response = answered.await.unwrap().unwrap();
        assert_eq!(read(response).await, (StatusCode::OK, DONE.into()), "HTTP/2: {http2}");
        server.served.await.unwrap();
    }
}

#[tokio::test]
async fn a_shutdown_waits_for_no_idle_connection() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    let clients = [client(false), client(true)];
    for client in &clients {
        let response = client.request(server.post(payload("invoice.paid"))).await.unwrap();
        assert_eq!(read(response).await.0, StatusCode::OK);
    }
    // The clients keep their connections, and no clock moves.
    server.stop().await;
    drop(clients);
}

#[tokio::test]
async fn a_request_that_outlasts_the_grace_is_cut_off_and_its_handler_goes_on() {
    for http2 in [false, true] {
        let (mut begun, may_go_on, handler) = held();
        let mut server = Running::start(handler).await;
        let answered = in_flight(&server, &mut begun, http2).await;
        server.stop.send(()).unwrap();
        tokio::select! {
            // The connection, and now the grace.
            () = server.clock.wait_for_sleepers(2) => {}
            _ = &mut server.served => panic!("it did not wait"),
        }
        server.clock.advance(GRACE);
        server.served.await.unwrap();

        // What had begun goes on, as after a client that hung up.
        may_go_on.add_permits(1);
        server.router.close();
        server.router.drained().await;
        assert!(answered.await.unwrap().is_err(), "the connection is gone");
    }
}

/// What became of the events, by what the handler knows.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<HashMap<String, (u32, u32)>>>);

impl Ledger {
    /// How often the handler has begun and ended with an event.
    fn of(&self, id: &str) -> (u32, u32) {
        self.0.lock().expect("nobody panics").get(id).copied().unwrap_or_default()
    }

    fn handler(&self) -> impl Handler + use<> {
        let ledger = self.clone();
        move |event: Event| {
            let ledger = ledger.clone();
            async move {
                let change = |by: fn(&mut (u32, u32))| {
                    let mut events = ledger.0.lock().expect("nobody panics");
                    by(events.entry(event.id().to_owned()).or_default());
                };
                change(|(begun, _)| *begun += 1);
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                change(|(_, ended)| *ended += 1);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_every_event_that_was_accepted_is_finished_or_answered_with_503() {
    let ledger = Ledger::default();
    let server = Running::start(ledger.handler()).await;
    let (answered, mut answers) = mpsc::unbounded_channel();
    // More than are sent before the shutdown: each goes on until the server is gone.
    let senders: Vec<_> = (0..16)
        .map(|sender| {
            let bodies =
                (0..).map(move |number| (format!("evt_{sender}_{number}"), "invoice.paid"));
            let (url, answered) = (server.url(), answered.clone());
            tokio::spawn(async move {
                let client = client(sender % 4 == 0);
                for (id, event_type) in bodies {
                    let request = signed(&url, payload_of(&id, event_type));
                    let Ok(response) = client.request(request).await else { return id };
                    answered.send((id, response.status())).expect("the test listens");
                }
                unreachable!("the numbers do not end")
            })
        })
        .collect();
    drop(answered);
    let mut statuses = Vec::new();
    for _ in 0..200 {
        statuses.push(answers.recv().await.expect("they are sent"));
    }
    server.stop().await;
    let mut cut_off = Vec::new();
    for sender in senders {
        cut_off.push(sender.await.unwrap());
    }
    while let Some(answer) = answers.recv().await {
        statuses.push(answer);
    }
    for (id, status) in &statuses {
        let expected = if *status == StatusCode::OK { (1, 1) } else { (0, 0) };
        assert_eq!(ledger.of(id), expected, "{id} was answered with {status}");
        assert!(status.is_success() || status.is_server_error(), "{id}: {status}");
    }
    // Not answered: either never begun, or brought to its end.
    for id in &cut_off {
        let (begun, ended) = ledger.of(id);
        assert_eq!(begun, ended, "{id}");
    }
    let known = ledger.0.lock().unwrap().len();
    assert!(known <= statuses.len() + cut_off.len());
}
