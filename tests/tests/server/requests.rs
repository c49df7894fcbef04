//! What is taken, what is refused, and who is disconnected.

use std::{sync::atomic::Ordering, time::Duration};

use http::{Request, StatusCode, Version};
use http_body_util::Full;
use router_tests::{payload, payload_of, signature};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{DONE, HEADER_TIMEOUT, Running, client, counting, held, read};

impl Running {
    /// Sends these bytes and reads until the server closes the connection.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("the server answers");
        response
    }
}

#[tokio::test]
async fn an_event_is_taken_over_http_1_and_over_http_2() {
    let (calls, handler) = counting();
    let server = Running::start(handler).await;
    for (http2, version, id) in
        [(false, Version::HTTP_11, "evt_1"), (true, Version::HTTP_2, "evt_2")]
    {
        let body = payload_of(id, "invoice.paid");
        let response = client(http2).request(server.post(body)).await.unwrap();
        assert_eq!(response.version(), version);
        assert_eq!(read(response).await, (StatusCode::OK, DONE.replace("evt_1", id)));

        let unsigned = Request::post(server.url()).body(Full::from("{}")).unwrap();
        let response = client(http2).request(unsigned).await.unwrap();
        let told = r#"{"error":"signature verification failed"}"#;
        assert_eq!(read(response).await, (StatusCode::BAD_REQUEST, told.into()));
    }
    server.stop().await;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_chunked_body_is_taken() {
    let (calls, handler) = counting();
    let server = Running::start(handler).await;
    let body = payload("invoice.paid");
    let (first, second) = body.split_at(20);
    let response = server
        .raw(&format!(
            "POST /webhook HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\
             Stripe-Signature: {}\r\nTransfer-Encoding: chunked\r\n\r\n\
             {:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            signature(body.as_bytes()),
            first.len(),
            second.len(),
        ))
        .await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(response.ends_with(DONE), "{response}");
    server.stop().await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_body_that_ends_before_its_length_runs_no_handler() {
    let (calls, handler) = counting();
    let server = Running::start(handler).await;
    // What comes is signed, and a whole event.
    let body = payload("invoice.paid");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nStripe-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        signature(body.as_bytes()),
        body.len() + 1
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    // Only our half: the server can still answer, and must not with a 200.
    stream.shutdown().await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 400 "), "{response}");
    server.stop().await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_is_refused_before_it_is_sent() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    let response =
        server.raw("POST /webhook HTTP/1.1\r\nHost: shop\r\nContent-Length: 5242880\r\n\r\n").await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    // Nor is a client that asks first told to send it.
    let response = server
        .raw(
            "POST /webhook HTTP/1.1\r\nHost: shop\r\nContent-Length: 5242880\r\n\
             Expect: 100-continue\r\n\r\n",
        )
        .await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_and_cut() {
    let (calls, handler) = counting();
    let server = Running::start(handler).await;
    let body_clock = server.body_clock.clone();
    let time_passes = async {
        body_clock.wait_for_sleeper().await;
        body_clock.advance(Duration::from_secs(10));
    };
    let stalled = "POST /webhook HTTP/1.1\r\nHost: shop\r\nContent-Length: 100\r\n\r\n{";
    let (response, ()) = tokio::join!(server.raw(stalled), time_passes);
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    server.stop().await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_client_that_sends_no_request_is_disconnected() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    // Nothing at all, half a head, and HTTP/2 without a request.
    for said in ["", "POST /webhook HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        server.clock.wait_for_sleeper().await;
        server.clock.advance(HEADER_TIMEOUT);
        // Reads to the end: an HTTP/2 server has said hello. A reset is an end too.
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{said:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_has_sent_a_request_is_not_taken_for_a_silent_one() {
    let (mut begun, may_go_on, handler) = held();
    let server = Running::start(handler).await;
    let (client, request) = (client(false), server.post(payload("invoice.paid")));
    let response = tokio::spawn(async move { client.request(request).await.unwrap() });
    begun.recv().await.unwrap();
    server.clock.wait_for_sleeper().await;
    server.clock.advance(HEADER_TIMEOUT);
    may_go_on.add_permits(1);
    assert_eq!(response.await.unwrap().status(), 200);
    server.stop().await;
}
