//! Requests that the server accepts or refuses, and clients that it disconnects.

use std::{sync::atomic::Ordering, time::Duration};

use http::{Request, StatusCode, Version};
use http_body_util::Full;
use router_tests::{payload, payload_with_id, signature};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{DONE, HEAD_TIMEOUT, IDLE_TIMEOUT, Running, client, counting, held, read};

impl Running {
    /// Sends the text, and returns all that the server answers until it closes the connection.
    async fn send_raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("the server listens");
        stream.write_all(request.as_bytes()).await.expect("the server reads");
        let mut response = String::new();
        stream.read_to_string(&mut response).await.expect("the server answers");
        response
    }
}

#[tokio::test]
async fn event_is_accepted_over_http1_and_http2() {
    let (calls, handler) = counting();
    let server = Running::start(handler).await;
    for (http2, version, id) in
        [(false, Version::HTTP_11, "evt_1"), (true, Version::HTTP_2, "evt_2")]
    {
        let body = payload_with_id(id, "invoice.paid");
        let response = client(http2).request(server.post(body)).await.unwrap();
        assert_eq!(response.version(), version);
        assert_eq!(read(response).await, (StatusCode::OK, DONE.replace("evt_1", id)));

        let unsigned = Request::post(server.url()).body(Full::from("{}")).unwrap();
        let response = client(http2).request(unsigned).await.unwrap();
        let error = r#"{"error":"signature verification failed"}"#;
        assert_eq!(read(response).await, (StatusCode::BAD_REQUEST, error.into()));
    }
    server.stop().await;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn chunked_body_is_accepted() {
    let (calls, handler) = counting();
    let server = Running::start(handler).await;
    let body = payload("invoice.paid");
    let (first, second) = body.split_at(20);
    let response = server
        .send_raw(&format!(
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
async fn body_below_content_length_runs_no_handler() {
    let (calls, handler) = counting();
    let server = Running::start(handler).await;
    // The bytes sent are a complete, signed event, but one fewer than announced.
    let body = payload("invoice.paid");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nStripe-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        signature(body.as_bytes()),
        body.len() + 1
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    // Closes only the client's half: the server can still answer, but must not answer with 200.
    stream.shutdown().await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    assert!(response.is_empty() || response.starts_with("HTTP/1.1 400 "), "{response}");
    server.stop().await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn oversized_content_length_is_refused_unread() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    let response = server
        .send_raw("POST /webhook HTTP/1.1\r\nHost: shop\r\nContent-Length: 5242880\r\n\r\n")
        .await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    // A client that expects `100 Continue` is not asked to send the body.
    let response = server
        .send_raw(
            "POST /webhook HTTP/1.1\r\nHost: shop\r\nContent-Length: 5242880\r\n\
             Expect: 100-continue\r\n\r\n",
        )
        .await;
    assert!(response.starts_with("HTTP/1.1 413 "), "{response}");
    server.stop().await;
}

#[tokio::test]
async fn stalled_body_is_answered_and_disconnected() {
    let (calls, handler) = counting();
    let server = Running::start(handler).await;
    let body_clock = server.body_clock.clone();
    let exceed_timeout = async {
        body_clock.wait_for_sleeper().await;
        body_clock.advance(Duration::from_secs(10));
    };
    let stalled = format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nStripe-Signature: {}\r\n\
         Content-Length: 100\r\n\r\n{{",
        signature(b"{")
    );
    let (response, ()) = tokio::join!(server.send_raw(&stalled), exceed_timeout);
    assert!(response.starts_with("HTTP/1.1 408 "), "{response}");
    server.stop().await;
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn client_without_request_is_disconnected() {
    let (_, handler) = counting();
    let server = Running::start(handler).await;
    // No bytes, half a request head, and an HTTP/2 preface without a request.
    for sent in ["", "POST /webhook HTTP/1.1\r\nHo", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        server.clock.wait_for_sleeper().await;
        server.clock.advance(HEAD_TIMEOUT);
        // Reads until the end of the connection. An HTTP/2 server has sent its settings by then. A
        // reset also ends the connection.
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{sent:?}");
    }
    server.stop().await;
}

#[tokio::test]
async fn request_in_flight_is_not_idle() {
    let (mut starts, permits, handler) = held();
    let server = Running::start(handler).await;
    let (client, request) = (client(false), server.post(payload("invoice.paid")));
    let response = tokio::spawn(async move { client.request(request).await.unwrap() });
    starts.recv().await.unwrap();
    server.clock.wait_for_sleeper().await;
    server.clock.advance(IDLE_TIMEOUT);
    permits.add_permits(1);
    assert_eq!(response.await.unwrap().status(), 200);
    server.stop().await;
}
