//! Runs the function with Lambda's runtime interface, as a local server plays it, and invokes it
//! with the events of an API Gateway.

use std::{process::Stdio, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use router_core::{
    SigningSecret,
    testing::{Payload, SyntheticEvent},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    process::{Child, Command},
    sync::{Mutex, mpsc},
};

const SECRET: &str = "whsec_of_the_examples";

#[tokio::test]
async fn function_handles_signed_events_and_refuses_forged_ones() {
    let mut lambda = Lambda::start().await;
    let signed = |event: &Payload| event.sign(&SigningSecret::new(SECRET).expect("valid"));
    let forged = |event: &Payload| event.sign(&SigningSecret::new("whsec_forger").expect("valid"));

    for gateway in [http_api, http_api_with_base64, rest_api] {
        let event = payment();
        let answer = lambda.invoke(&gateway(&event, &signed(&event))).await;
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let body = answer["body"].as_str().expect("the body is text");
        assert!(body.contains(r#"{"name":"payments.succeeded","outcome":"done"}"#), "{answer}");

        let event = payment();
        let answer = lambda.invoke(&gateway(&event, &forged(&event))).await;
        assert_eq!(answer["statusCode"], 400, "{answer}");
        let body = answer["body"].as_str().expect("the body is text");
        assert!(body.starts_with(r#"{"error":"#), "{answer}");
    }
}

/// Creates a payment whose body is not ASCII.
fn payment() -> Payload {
    let event = SyntheticEvent::new("payment_intent.succeeded").set("description", "Zoë’s order");
    event.build().expect("event type is in the catalog")
}

/// Creates the event of an HTTP API or a function URL (payload format 2.0), with a body in text.
fn http_api(event: &Payload, signature: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "POST /webhook",
        "rawPath": "/webhook",
        "rawQueryString": "",
        "headers": {
            "accept": "*/*; q=0.5, application/xml",
            "content-length": event.body().len().to_string(),
            "content-type": "application/json; charset=utf-8",
            "host": "example.execute-api.eu-central-1.amazonaws.com",
            "stripe-signature": signature,
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https"
        },
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "example",
            "domainName": "example.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "example",
            "http": {
                "method": "POST",
                "path": "/webhook",
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
            },
            "requestId": "request-1",
            "routeKey": "POST /webhook",
            "stage": "$default",
            "time": "01/Dec/2026:12:00:00 +0000",
            "timeEpoch": 1_796_126_400_000_u64
        },
        "body": event.event().payload_text(),
        "isBase64Encoded": false
    })
}

/// Creates the event of an HTTP API with a body in base64, as the gateway sends other types.
fn http_api_with_base64(event: &Payload, signature: &str) -> Value {
    let mut request = http_api(event, signature);
    request["body"] = BASE64_STANDARD.encode(event.body()).into();
    request["isBase64Encoded"] = true.into();
    request
}

/// Creates the event of a REST API (payload format 1.0), which keeps the case of header names.
fn rest_api(event: &Payload, signature: &str) -> Value {
    json!({
        "resource": "/webhook",
        "path": "/webhook",
        "httpMethod": "POST",
        "headers": {
            "Content-Type": "application/json; charset=utf-8",
            "Host": "example.execute-api.eu-central-1.amazonaws.com",
            "Stripe-Signature": signature
        },
        "multiValueHeaders": {
            "Content-Type": ["application/json; charset=utf-8"],
            "Host": ["example.execute-api.eu-central-1.amazonaws.com"],
            "Stripe-Signature": [signature]
        },
        "queryStringParameters": null,
        "multiValueQueryStringParameters": null,
        "pathParameters": null,
        "stageVariables": null,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "example",
            "httpMethod": "POST",
            "identity": { "sourceIp": "192.0.2.1" },
            "path": "/prod/webhook",
            "protocol": "HTTP/1.1",
            "requestId": "request-1",
            "resourceId": "abc123",
            "resourcePath": "/webhook",
            "stage": "prod"
        },
        "body": event.event().payload_text(),
        "isBase64Encoded": false
    })
}

/// The function's process, and the server of its runtime interface. Dropping it kills the process.
struct Lambda {
    function: Child,
    invocations: mpsc::Sender<Value>,
    answers: mpsc::Receiver<(String, Bytes)>,
}

/// The invocations that the function has not fetched, and its answers.
struct Runtime {
    invocations: Mutex<mpsc::Receiver<Value>>,
    answers: mpsc::Sender<(String, Bytes)>,
}

impl Lambda {
    async fn start() -> Self {
        let (invocations, received) = mpsc::channel(1);
        let (sender, answers) = mpsc::channel(1);
        let runtime = Runtime { invocations: Mutex::new(received), answers: sender };
        let interface = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{outcome}", post(outcome))
            .with_state(Arc::new(runtime));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound").to_string();
        tokio::spawn(axum::serve(listener, interface).into_future());
        let function = Command::new(env!("CARGO_BIN_EXE_example-lambda"))
            .env_clear()
            .env("STRIPE_WEBHOOK_SECRET", SECRET)
            .env("AWS_LAMBDA_RUNTIME_API", address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "webhook")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/webhook")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .stdin(Stdio::null())
            .stdout(Stdio::null()) // its log
            .kill_on_drop(true)
            .spawn()
            .expect("the function starts");
        Self { function, invocations, answers }
    }

    /// Invokes the function with this event, and returns its answer to the gateway.
    async fn invoke(&mut self, event: &Value) -> Value {
        self.invocations.send(event.clone()).await.expect("the interface is served");
        let (outcome, answer) = tokio::select! {
            answer = self.answers.recv() => answer.expect("the interface is served"),
            status = self.function.wait() => panic!("the function exited: {status:?}"),
        };
        let answer = String::from_utf8(answer.into()).expect("the answer is UTF-8");
        assert_eq!(outcome, "response", "{answer}");
        serde_json::from_str(&answer).expect("the answer is JSON")
    }
}

type Invocation = ([(&'static str, &'static str); 3], String);

async fn next(runtime: State<Arc<Runtime>>) -> Result<Invocation, StatusCode> {
    let event = runtime.invocations.lock().await.recv().await;
    let event = event.ok_or(StatusCode::GONE)?;
    let arn = "arn:aws:lambda:eu-central-1:123456789012:function:webhook";
    let headers = [
        ("lambda-runtime-aws-request-id", "request-1"),
        ("lambda-runtime-deadline-ms", "4102444800000"), // in 2100
        ("lambda-runtime-invoked-function-arn", arn),
    ];
    Ok((headers, event.to_string()))
}

async fn outcome(
    Path((_, outcome)): Path<(String, String)>,
    runtime: State<Arc<Runtime>>,
    answer: Bytes,
) -> StatusCode {
    drop(runtime.answers.send((outcome, answer)).await);
    StatusCode::ACCEPTED
}
