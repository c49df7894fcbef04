//! Starts the program of an example server, and sends it signed and forged events over HTTP.

#![cfg(unix)]
#![allow(clippy::missing_panics_doc, reason = "a test fails if its program does not work")]

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use router_core::{
    SigningSecret,
    endpoint::FullBody,
    testing::{Payload, SyntheticEvent},
};

/// More than the default body limits of the servers (8 KiB in Rocket, 256 KiB in actix-web), and
/// less than that of an endpoint.
const LARGE: usize = 900_000;

/// The body limit of an endpoint.
const BODY_LIMIT: usize = 1 << 20;

const SECRET: &str = "whsec_of_the_examples";

/// A running example server. Dropping it kills the process.
pub struct Program {
    child: Child,
    /// The host and the port.
    address: String,
    client: Client<HttpConnector, FullBody>,
}

impl Program {
    /// Starts the program with this `STRIPE_WEBHOOK_SECRET` on a free port, and waits until it has
    /// printed its address.
    pub fn start(program: &str, secrets: &str) -> Self {
        let mut child = Command::new(program)
            // The environment is otherwise empty, because the program reads options from it.
            .env_clear()
            .env("STRIPE_WEBHOOK_SECRET", secrets)
            .env("LISTEN", "127.0.0.1:0")
            .env("ROCKET_PORT", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("program starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        // No connection outlives its request, so that none delays the shutdown.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        let mut program = Self { child, address: String::new(), client };
        let (sender, addresses) = mpsc::channel();
        thread::spawn(move || {
            // Reads to the end, so that the program never waits for a reader.
            for line in stdout.lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line) {
                    drop(sender.send(address));
                }
            }
        });
        program.address = addresses
            .recv_timeout(Duration::from_secs(60))
            .expect("the program prints its address, and does not exit before");
        program
    }

    /// Sends the event to this path, signed with this secret, and returns the answer.
    pub async fn send(
        &self,
        path: &str,
        event: &Payload,
        secret: &SigningSecret,
    ) -> (StatusCode, String) {
        self.exchange(path, event.request(secret)).await
    }

    /// Gets a page.
    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        self.exchange(path, Request::new(FullBody::default())).await
    }

    async fn exchange(&self, path: &str, mut request: Request<FullBody>) -> (StatusCode, String) {
        let uri = format!("http://{}{path}", self.address);
        *request.uri_mut() = uri.parse().expect("the URI is valid");
        let response = self.client.request(request).await.expect("the server responds");
        let status = response.status();
        let body = response.into_body().collect().await.expect("the response is complete");
        let body = String::from_utf8(body.to_bytes().into()).expect("the response is UTF-8");
        (status, body)
    }

    /// Sends SIGTERM to the program, and checks that it exits without an error.
    pub fn terminate(mut self) {
        let kill = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        assert!(kill.expect("`kill` is available").success());
        let status = self.child.wait().expect("program is a child process");
        assert!(status.success(), "the program exited with {status}");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails if the program has exited already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Checks that a program with the handlers of the package `handlers` answers at `/webhook`.
pub async fn check_webhook(program: &str) {
    let secret = secret();
    let program = Program::start(program, SECRET);

    let (status, answer) = program.send("/webhook", &payment(100), &secret).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#"{"name":"payments.succeeded","outcome":"done"}"#), "{answer}");

    let (status, answer) = program.send("/webhook", &payment(LARGE), &secret).await;
    assert_eq!(status, 200, "the server's own body limit is below that of the endpoint: {answer}");

    let forger = SigningSecret::new("whsec_of_a_forger").expect("the secret is valid");
    let (status, answer) = program.send("/webhook", &payment(100), &forger).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer.starts_with(r#"{"error":"#), "{answer}");

    let (status, _) = program.get("/webhook").await;
    assert!([404, 405].contains(&status.as_u16()), "a GET was answered with {status}");

    program.terminate();
}

/// Checks that a program answers a body at `/webhook` as soon as it exceeds the endpoint's limit. A
/// server that reads bodies itself would wait for the rest.
pub fn check_body_limit(program: &str) {
    let program = Program::start(program, SECRET);
    let mut stream = TcpStream::connect(&program.address).expect("the server accepts connections");
    // Fails a test whose server waits for the rest of the body.
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("the timeout is not zero");
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: shop\r\nStripe-Signature: {}\r\nContent-Length: {}\r\n\r\n",
        payment(0).sign(&secret()),
        BODY_LIMIT + 100_000,
    );
    stream.write_all(head.as_bytes()).expect("the server reads the head");
    stream.write_all(&[b' '; BODY_LIMIT + 1]).expect("the server reads the body");
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).expect("the server responds");
    assert_eq!(status, "HTTP/1.1 413 Payload Too Large\r\n");
}

fn secret() -> SigningSecret {
    SigningSecret::new(SECRET).expect("the secret is valid")
}

/// Creates a payment with a description of this many bytes.
fn payment(length: usize) -> Payload {
    SyntheticEvent::new("payment_intent.succeeded")
        .set("description", "é".repeat(length / 2))
        .build()
        .expect("event type is in the catalog")
}

/// Returns the host and the port of the loopback address in a line of output.
fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("http://127.0.0.1:")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some(format!("127.0.0.1:{}", &rest[..end]))
}
