//! A cluster of three servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{REQUIRED, Server, program, url};
use crate::{launch_with_retries, require, unused_port};

/// A cluster of three servers, stopped like a [`Server`].
pub struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    server: Server,
    /// The port of the HTTP monitoring endpoint.
    monitor: u16,
    /// `false` while the node is killed or suspended.
    is_running: bool,
}

impl Cluster {
    /// Creates and starts a cluster, and waits until it is ready. Returns `None` if nats-server is
    /// [`missing`](super::missing).
    pub fn start() -> Option<Self> {
        let program = require(program(), REQUIRED)?;
        let cluster = Self { nodes: launch_with_retries(|| Self::launch(program)) };
        cluster.ready();
        Some(cluster)
    }

    fn launch(program: &Path) -> Result<Vec<Node>, String> {
        let routes = [(); 3].map(|()| format!("127.0.0.1:{}", unused_port()));
        let all = routes.each_ref().map(|route| format!("\"nats://{route}\"")).join(", ");
        let node = |(n, route)| {
            let monitor = unused_port();
            let lines = format!(
                "server_name: {}
                 http: \"127.0.0.1:{monitor}\"
                 cluster {{ name: tests, listen: \"{route}\", routes: [{all}] }}",
                node_name(n)
            );
            let ready = "Listening for route connections";
            let server = Server::launch(program, ready, &lines, "sync_interval: always")?;
            Ok(Node { server, monitor, is_running: true })
        };
        routes.iter().enumerate().map(node).collect()
    }

    /// Waits until the running nodes have caught up with each other and agree on all leaders.
    pub fn ready(&self) {
        let is_ready = || {
            let mut nodes = self.running().map(|(_, node)| node.get("/healthz"));
            nodes.all(|health| health["status"] == "ok")
                && self.leaders().values().all(|leaders| self.agreed(leaders).is_some())
        };
        poll_until("the cluster is ready", || is_ready().then_some(()));
    }

    /// Waits until the running nodes agree on the stream's leader, and returns its index.
    pub fn leader_of(&self, stream: &str) -> usize {
        poll_until("the stream has a leader", || self.agreed(self.leaders().get(stream)?))
    }

    /// Returns the leaders that the running nodes report: of the cluster (with an empty key), of
    /// each stream, and of each `stream/consumer`.
    fn leaders(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut leaders = BTreeMap::<String, BTreeSet<String>>::new();
        let mut add = |name: String, cluster: &Value| {
            leaders.entry(name).or_default().insert(text(&cluster["leader"]));
        };
        for (_, node) in self.running() {
            let report = node.get("/jsz?accounts=1&streams=1&consumers=1");
            add(String::new(), &report["meta_cluster"]);
            let accounts = each(&report["account_details"]);
            for stream in accounts.flat_map(|account| each(&account["stream_detail"])) {
                let name = text(&stream["name"]);
                add(name.clone(), &stream["cluster"]);
                for consumer in each(&stream["consumer_detail"]) {
                    add(format!("{name}/{}", text(&consumer["name"])), &consumer["cluster"]);
                }
            }
        }
        leaders
    }

    /// Returns the index of the leader, if all nodes report the same one and it runs. A node that
    /// was suspended, or that followed a killed leader, reports the old one for a while.
    fn agreed(&self, leaders: &BTreeSet<String>) -> Option<usize> {
        let name = leaders.first().filter(|_| leaders.len() == 1)?;
        self.running().map(|(n, _)| n).find(|n| node_name(*n) == *name)
    }

    /// The URL with the addresses of all nodes.
    pub fn url(&self) -> String {
        url(&self.nodes.iter().map(|node| node.server.address()).collect::<Vec<_>>().join(","))
    }

    /// The URL of the inbox with this name.
    pub fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.url())
    }

    /// The URL of each node.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.server.url()).collect()
    }

    /// Kills a node.
    pub fn kill(&mut self, n: usize) {
        self.nodes[n].server.kill();
        self.nodes[n].is_running = false;
    }

    /// Starts a killed node again. Does not wait for the cluster; use [`ready`](Self::ready).
    pub fn restart(&mut self, n: usize) {
        self.nodes[n].server.restart();
        self.nodes[n].is_running = true;
    }

    /// Suspends a node.
    pub fn suspend(&mut self, n: usize) {
        self.nodes[n].server.suspend();
        self.nodes[n].is_running = false;
    }

    /// Resumes a suspended node.
    pub fn resume(&mut self, n: usize) {
        self.nodes[n].server.resume();
        self.nodes[n].is_running = true;
    }

    /// Kills all nodes. None may have been killed before.
    pub fn kill_all(&mut self) {
        (0..self.nodes.len()).for_each(|n| self.kill(n));
    }

    /// Starts all nodes, after all were killed, and waits until the cluster is ready.
    pub fn restart_all(&mut self) {
        (0..self.nodes.len()).for_each(|n| self.restart(n));
        self.ready();
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.is_running)
    }
}

impl Node {
    /// Requests a path of the monitoring endpoint. Returns null if the node does not answer.
    fn get(&self, path: &str) -> Value {
        let request = || -> io::Result<_> {
            let mut connection = TcpStream::connect(("127.0.0.1", self.monitor))?;
            connection.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(connection, "GET {path} HTTP/1.0\r\n\r\n")?;
            io::read_to_string(connection)
        };
        let answer = request().unwrap_or_default();
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
        body.and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
    }
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().into()
}

fn node_name(n: usize) -> String {
    format!("node_{n}")
}

/// Polls for up to a minute, because the servers send no notifications of such changes.
fn poll_until<T>(condition: &str, poll: impl Fn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(value) = poll() {
            return value;
        }
        #[expect(clippy::disallowed_methods, reason = "the awaited event is in another process")]
        thread::sleep(Duration::from_millis(100));
    }
    panic!("timed out after a minute: {condition}");
}
