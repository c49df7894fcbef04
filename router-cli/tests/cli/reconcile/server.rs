//! A server with an inbox, and a server with scripted answers.

use std::{
    collections::{BTreeMap, VecDeque},
    future::{pending, ready},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener as StdListener,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, SystemTime},
};

use router_core::{
    Endpoint, Event, Router, Secrets,
    clock::{Clock as _, SystemClock},
    server::Server,
};
use router_inbox::{Inbox, SqliteStore, store::Operations as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::program::{SECRET, run_with};

/// The secret of the server's endpoint for thin events.
pub(super) const THIN_SECRET: &str = "thin=whsec_of_the_thin_events";

/// The number of runs of the handler by event.
type Runs = Arc<Mutex<BTreeMap<String, u32>>>;

/// A server with an inbox and a worker, whose handler takes all events.
pub(super) struct InboxServer {
    pub(super) url: String,
    pub(super) inbox: String,
    pub(super) store: SqliteStore,
    runs: Runs,
    tasks: [JoinHandle<()>; 2],
    folder: TempDir,
}

impl InboxServer {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let inbox = format!("sqlite:{}/inbox.db", folder.path().display());
        let store = SqliteStore::open(&inbox).await.expect("the inbox can be created");
        let runs = Runs::default();
        let recorded = runs.clone();
        let router = Router::builder()
            .handler("ledger", ["*"], move |event: Event| {
                let mut runs = recorded.lock().unwrap_or_else(PoisonError::into_inner);
                *runs.entry(event.key().to_string()).or_default() += 1;
                ready(())
            })
            .delivered_by(&store)
            .build()
            .expect("the router is valid");
        let secrets = Secrets::parse(&format!("default={SECRET},{THIN_SECRET}"));
        let secrets = secrets.expect("the secrets are valid");
        let inbox_service = Inbox::new(store.clone(), router.clone());
        let worker = tokio::spawn({
            let worker = inbox_service.worker(router);
            async move { worker.run(pending()).await }
        });
        let endpoint = Endpoint::new(secrets, inbox_service);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let server = tokio::spawn(Server::new(endpoint).serve(listener, pending()));
        Self {
            url: format!("http://{address}/webhook"),
            inbox,
            store,
            runs,
            tasks: [worker, server],
            folder,
        }
    }

    /// Delivers events as Stripe does.
    pub(super) fn deliver(&self, events: &[Value]) {
        let lines: Vec<_> = events.iter().map(Value::to_string).collect();
        let arguments = ["send", "--file", "-", "--concurrency", "4", "--to", &self.url];
        let sent = run_with(&arguments, lines.join("\n").as_bytes());
        assert_eq!(sent.code, Some(0), "{sent:?}");
    }

    /// Waits until this number of events were handled, and returns the number of runs by event.
    pub(super) async fn runs(&self, events: usize) -> BTreeMap<String, u32> {
        for _ in 0..500 {
            let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if runs.len() >= events {
                return runs;
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
        panic!("{events} events were not handled");
    }

    /// Returns a path in the folder of the inbox.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the number of stored events.
    pub(super) async fn events(&self) -> u64 {
        self.store.status().await.expect("the store works").events
    }

    /// Returns the time up to which the command has read a list.
    pub(super) async fn checkpoint(&self, source: &str) -> Option<SystemTime> {
        let name = format!("stripe-events/test/{source}");
        let value = self.store.checkpoint(&name).await.expect("the store works");
        value.map(|value| humantime::parse_rfc3339(&value).expect("the checkpoint is a time"))
    }

    /// Returns whether the next run reads the own events of this age.
    pub(super) async fn will_read(&self, age: Duration) -> bool {
        let checkpoint = self.checkpoint("v1/default/self").await;
        checkpoint.is_none_or(|checkpoint| checkpoint <= SystemClock.wall() - age)
    }
}

impl Drop for InboxServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A server that records the ids of the events that it receives, and answers with these statuses,
/// and then with 200.
pub(super) struct ScriptedServer {
    pub(super) url: String,
    received: Arc<Mutex<Vec<String>>>,
}

impl ScriptedServer {
    pub(super) fn start(statuses: &[u16]) -> Self {
        let listener = StdListener::bind("127.0.0.1:0").expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let received = Arc::new(Mutex::new(Vec::new()));
        let record = received.clone();
        let mut statuses: VecDeque<u16> = statuses.iter().copied().collect();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a client connects");
                let mut reader = BufReader::new(stream.try_clone().expect("the socket is cloned"));
                let mut length = 0;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).expect("the client sends a request");
                    let line = line.trim_end().to_lowercase();
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.parse().expect("the length is a number");
                    }
                    if line.is_empty() {
                        break;
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).expect("the client sends the body");
                let event: Value = serde_json::from_slice(&body).expect("the body is JSON");
                let id = event["id"].as_str().unwrap_or_default().to_owned();
                record.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                let status = statuses.pop_front().unwrap_or(200);
                let answer = format!(
                    "HTTP/1.1 {status} scripted\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
                );
                stream.write_all(answer.as_bytes()).expect("the client reads the answer");
            }
        });
        Self { url: format!("http://{address}/webhook"), received }
    }

    pub(super) fn received(&self) -> Vec<String> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this number of requests were received.
    pub(super) async fn wait_for(&self, requests: usize) -> Vec<String> {
        for _ in 0..1_000 {
            let received = self.received();
            if received.len() >= requests {
                return received;
            }
            SystemClock.sleep(Duration::from_millis(20)).await;
        }
        panic!("{requests} requests were not received: {:?}", self.received());
    }
}
