//! A server that is told to stop, and what becomes of the requests in flight.

use http::StatusCode;
use hyper_util::client::legacy;
use router_tests::payload;
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::mpsc, task::JoinHandle};

use crate::{DONE, GRACE, Running, client, counting, held, read};

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
        server.clock.slept_on_by(2).await;

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
            () = server.clock.slept_on_by(2) => {}
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
