//! Many concurrent events.

use std::{collections::BTreeSet, sync::Arc};

use http::StatusCode;
use hyper::client::conn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use router_core::{Event, handler::IntoHandler};
use router_tests::payload;
use tokio::{
    net::TcpStream,
    sync::{Barrier, mpsc},
    task::JoinHandle,
};

use super::{Running, read};

/// Returns an event with the number in its id.
fn numbered_payload(number: usize) -> String {
    payload("invoice.paid").replace("evt_1", &format!("evt_{number:03}"))
}

fn all_ids() -> BTreeSet<String> {
    (0..100).map(|number| format!("evt_{number:03}")).collect()
}

/// Returns a handler that waits until `concurrency` calls run at the same time, and a channel with
/// the ids of the events that it handled.
fn rendezvous(concurrency: usize) -> (mpsc::UnboundedReceiver<String>, impl IntoHandler<(Event,)>) {
    let (handled, ids) = mpsc::unbounded_channel();
    let barrier = Arc::new(Barrier::new(concurrency));
    let handler = move |event: Event| {
        let (handled, barrier) = (handled.clone(), barrier.clone());
        async move {
            barrier.wait().await;
            handled.send(event.id().to_owned())
        }
    };
    (ids, handler)
}

fn assert_handled_once(mut handled: mpsc::UnboundedReceiver<String>) {
    let ids: Vec<String> = std::iter::from_fn(|| handled.try_recv().ok()).collect();
    assert_eq!(ids.len(), 100);
    assert_eq!(BTreeSet::from_iter(ids), all_ids());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_over_ten_connections_are_handled_once() {
    let (handled, handler) = rendezvous(10);
    let server = Running::start(handler).await;
    let connections: Vec<JoinHandle<()>> = (0..10)
        .map(|connection| {
            let requests: Vec<_> = (0..10)
                .map(|number| server.post(numbered_payload(connection * 10 + number)))
                .collect();
            let address = server.address;
            tokio::spawn(async move {
                let stream = TcpStream::connect(address).await.unwrap();
                let (mut sender, connection) =
                    conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
                let connection = tokio::spawn(connection);
                for mut request in requests {
                    request.headers_mut().insert("host", "shop".parse().unwrap());
                    sender.ready().await.expect("the server keeps the connection open");
                    let response = sender.send_request(request).await.unwrap();
                    assert_eq!(read(response).await.0, StatusCode::OK);
                }
                drop(sender);
                connection.await.unwrap().unwrap();
            })
        })
        .collect();
    for connection in connections {
        connection.await.unwrap();
    }
    server.stop().await;
    assert_handled_once(handled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_over_one_http2_connection_are_handled_once() {
    let (handled, handler) = rendezvous(25);
    let server = Running::start(handler).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let mut client = conn::http2::Builder::new(TokioExecutor::new());
    // The server's limit, which the client does not know yet when it sends the first requests.
    client.initial_max_send_streams(32);
    let (sender, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let requests: Vec<_> = (0..100)
        .map(|number| {
            let (mut sender, request) = (sender.clone(), server.post(numbered_payload(number)));
            tokio::spawn(async move { read(sender.send_request(request).await.unwrap()).await.0 })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), StatusCode::OK);
    }
    drop(sender);
    server.stop().await;
    assert_handled_once(handled);
}
