//! The health checks, mounted in axum and in the built-in server.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use router_core::{
    health::{HealthEndpoint, Readiness, ReadinessCheck, Reason},
    server::Server,
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

/// A store that can be taken away.
#[derive(Clone, Default)]
struct Store {
    is_gone: Arc<AtomicBool>,
}

#[async_trait]
impl ReadinessCheck for Store {
    async fn check(&self) -> Readiness {
        let mut readiness = Readiness::default();
        let reason = Reason::new("store_unavailable", "the store cannot be reached");
        if self.is_gone.load(Ordering::SeqCst) {
            readiness.reasons.push(reason);
        }
        let warning = Reason::new("backlog", "2 deliveries wait").handlers(["a", "b"]);
        readiness.warnings.push(warning);
        readiness
    }
}

struct Servers {
    addresses: [SocketAddr; 2],
    _tasks: JoinSet<()>,
}

impl Servers {
    /// Mounts the endpoint in axum and in the built-in server.
    async fn start(health: HealthEndpoint) -> Self {
        let bind = async || TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let (axum, built_in) = (bind().await, bind().await);
        let address = |listener: &TcpListener| listener.local_addr().expect("listener is bound");
        let addresses = [address(&axum), address(&built_in)];
        let app = axum::Router::new()
            .route_service("/healthz", health.clone())
            .route_service("/readyz", health.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async { axum::serve(axum, app).await.expect("axum's server does not end") });
        tasks.spawn(Server::new(health).serve(built_in, std::future::pending()));
        Self { addresses, _tasks: tasks }
    }

    async fn exchange(&self, method: &str, path: &str) -> Vec<Response<String>> {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let mut responses = Vec::new();
        for address in self.addresses {
            let request = Request::builder().method(method).uri(format!("http://{address}{path}"));
            let request = request.body(Full::<Bytes>::default()).expect("request is valid");
            let response = client.request(request).await.expect("the server answers");
            let (parts, body) = response.into_parts();
            let body = body.collect().await.expect("the body is complete").to_bytes();
            let body = String::from_utf8(body.into()).expect("the body is UTF-8");
            responses.push(Response::from_parts(parts, body));
        }
        responses
    }
}

#[tokio::test]
async fn health_paths_and_methods_are_answered() {
    let servers = Servers::start(HealthEndpoint::new()).await;
    let ready = r#"{"ready":true,"reasons":[],"warnings":[]}"#;
    let rows = [
        ("GET", "/healthz", StatusCode::OK, "text/plain; charset=utf-8", "ok\n"),
        ("HEAD", "/healthz", StatusCode::OK, "text/plain; charset=utf-8", ""),
        ("GET", "/readyz?verbose", StatusCode::OK, "application/json", ready),
        ("HEAD", "/readyz", StatusCode::OK, "application/json", ""),
    ];
    for (method, path, status, content_type, body) in rows {
        for response in servers.exchange(method, path).await {
            assert_eq!(response.status(), status, "{method} {path}: {response:?}");
            assert_eq!(response.headers()["content-type"], content_type, "{method} {path}");
            assert_eq!(response.headers()["cache-control"], "no-store", "{method} {path}");
            assert_eq!(response.body(), body, "{method} {path}");
        }
    }
    for response in servers.exchange("POST", "/readyz").await {
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], "GET, HEAD");
    }
    for response in servers.exchange("GET", "/ready").await {
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn unready_process_answers_503_with_reasons() {
    let store = Store::default();
    let servers = Servers::start(HealthEndpoint::new().check(store.clone())).await;
    let warnings =
        r#""warnings":[{"code":"backlog","handlers":["a","b"],"text":"2 deliveries wait"}]"#;
    for response in servers.exchange("GET", "/readyz").await {
        assert_eq!(response.status(), StatusCode::OK, "a warning does not affect readiness");
        assert_eq!(*response.body(), format!(r#"{{"ready":true,"reasons":[],{warnings}}}"#));
    }
    store.is_gone.store(true, Ordering::SeqCst);
    let reasons =
        r#""reasons":[{"code":"store_unavailable","text":"the store cannot be reached"}]"#;
    for response in servers.exchange("GET", "/readyz").await {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(*response.body(), format!(r#"{{"ready":false,{reasons},{warnings}}}"#));
    }
    for response in servers.exchange("GET", "/healthz").await {
        assert_eq!(response.status(), StatusCode::OK, "the process is alive");
    }
}

#[tokio::test]
async fn shutdown_signal_makes_process_unready() {
    let (signal, signaled) = oneshot::channel::<()>();
    let health = HealthEndpoint::new().shutdown(async { drop(signaled.await) });
    let ready = async || {
        let readiness = health.readiness().await;
        readiness.reasons.first().map(|reason| reason.code)
    };
    assert_eq!(ready().await, None);
    drop(signal);
    assert_eq!(ready().await, Some("shutting_down"));
    assert_eq!(ready().await, Some("shutting_down"), "the signal is not polled again");
}
