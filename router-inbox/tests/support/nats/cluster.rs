//! Three servers that are one.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    net::TcpStream,
    path::Path,
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{Server, attempt, found, program, unused_port, url};

/// Three servers that keep together what they are given. They end as a [`Server`] does.
pub(crate) struct Cluster {
    nodes: Vec<Node>,
}

struct Node {
    server: Server,
    /// Where it tells how it is.
    monitor: u16,
    answers: bool,
}

impl Cluster {
    /// Makes one and starts it; none, where the program is [`missing`].
    pub(crate) fn start() -> Option<Self> {
        let program = found(program())?;
        let cluster = Self { nodes: attempt(|| Self::launch(program)) };
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
            Ok(Node { server, monitor, answers: true })
        };
        routes.iter().enumerate().map(node).collect()
    }

    /// Waits until those that run have caught up with each other, and agree who leads.
    pub(crate) fn ready(&self) {
        let is_ready = || {
            let mut nodes = self.running().map(|(_, node)| node.tells("/healthz"));
            nodes.all(|told| told["status"] == "ok")
                && self.followed().values().all(|leaders| self.agreed(leaders).is_some())
        };
        until("the cluster is ready", || is_ready().then_some(()));
    }

    /// Waits until one node leads the stream, and says which.
    pub(crate) fn leader_of(&self, stream: &str) -> usize {
        until("the stream has a leader", || self.agreed(self.followed().get(stream)?))
    }

    /// Whom those that run take for the leader: of all (under no name), of a stream, of a `stream/consumer`.
    fn followed(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut followed = BTreeMap::<String, BTreeSet<String>>::new();
        let mut follow = |name: String, cluster: &Value| {
            followed.entry(name).or_default().insert(text(&cluster["leader"]));
        };
        for (_, node) in self.running() {
            let told = node.tells("/jsz?accounts=1&streams=1&consumers=1");
            follow(String::new(), &told["meta_cluster"]);
            let accounts = each(&told["account_details"]);
            for stream in accounts.flat_map(|account| each(&account["stream_detail"])) {
                let name = text(&stream["name"]);
                follow(name.clone(), &stream["cluster"]);
                for consumer in each(&stream["consumer_detail"]) {
                    follow(format!("{name}/{}", text(&consumer["name"])), &consumer["cluster"]);
                }
            }
        }
        followed
    }

    /// One that was suspended, or follows one that was killed, takes a while to see it.
    fn agreed(&self, leaders: &BTreeSet<String>) -> Option<usize> {
        let name = leaders.first().filter(|_| leaders.len() == 1)?;
        self.running().map(|(n, _)| n).find(|n| node_name(*n) == *name)
    }

    /// Of all three.
    pub(crate) fn url(&self) -> String {
        url(&self.nodes.iter().map(|node| node.server.address()).collect::<Vec<_>>().join(","))
    }

    /// The same, of an inbox.
    pub(crate) fn url_of(&self, name: &str) -> String {
        format!("{}/{name}", self.url())
    }

    /// Of each by itself.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.server.url()).collect()
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, n: usize) {
        self.nodes[n].server.kill();
        self.nodes[n].answers = false;
    }

    /// Starts it where it was, and waits for no other: [`ready`](Self::ready) does.
    pub(crate) fn restart(&mut self, n: usize) {
        self.nodes[n].server.restart();
        self.nodes[n].answers = true;
    }

    pub(crate) fn suspend(&mut self, n: usize) {
        self.nodes[n].server.suspend();
        self.nodes[n].answers = false;
    }

    pub(crate) fn resume(&mut self, n: usize) {
        self.nodes[n].server.resume();
        self.nodes[n].answers = true;
    }

    /// Kills all, of which none was killed before.
    pub(crate) fn kill_all(&mut self) {
        (0..self.nodes.len()).for_each(|n| self.kill(n));
    }

    /// Starts all, of which none runs, and waits until they are ready.
    pub(crate) fn restart_all(&mut self) {
        (0..self.nodes.len()).for_each(|n| self.restart(n));
        self.ready();
    }

    fn running(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.answers)
    }
}

impl Node {
    /// What it says of itself; nothing, where it does not answer.
    fn tells(&self, path: &str) -> Value {
        let ask = || -> io::Result<_> {
            let mut connection = TcpStream::connect(("127.0.0.1", self.monitor))?;
            connection.set_read_timeout(Some(Duration::from_secs(5)))?;
            write!(connection, "GET {path} HTTP/1.0\r\n\r\n")?;
            io::read_to_string(connection)
        };
        let answer = ask().unwrap_or_default();
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

/// Asks again and again, since a server tells nothing of itself.
fn until<T>(awaited: &str, ask: impl Fn() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask() {
            return answer;
        }
        #[expect(clippy::disallowed_methods, reason = "what is waited for is in other processes")]
        thread::sleep(Duration::from_millis(100));
    }
    panic!("a minute passes before {awaited}");
}
