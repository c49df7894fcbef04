//! Servers that are stopped and started again, as the watch of an inbox reports them.

use std::time::Duration;

use router_core::{
    Event, Router,
    clock::{Clock as _, SystemClock},
    health::ReadinessCheck as _,
    testing::ManualClock,
};
use router_inbox::{Inbox, JetStreamStore, PostgresStore, Store, health::InboxHealth};
use router_test_servers::{nats, postgres};
use router_tests::{
    logged::{log, logged},
    now,
};
use tracing_subscriber::filter::LevelFilter;

/// Advances the clock of the watch until the inbox has this reason for not being ready, or none.
async fn wait_for(health: &InboxHealth, clock: &ManualClock, reason: Option<&str>) {
    // Only guards against hanging: the server needs some seconds to start.
    let deadline = SystemClock.monotonic() + Duration::from_secs(60);
    loop {
        let reasons = health.check().await.reasons;
        if reasons.first().map(|reason| reason.code) == reason {
            return;
        }
        assert!(SystemClock.monotonic() < deadline, "{reasons:?}");
        clock.advance(Duration::from_secs(1));
        SystemClock.sleep(Duration::from_millis(10)).await;
    }
}

/// Stops and starts a server. Asserts that the watch logs the outage and its end, and that the
/// inbox is not ready meanwhile.
async fn outage_is_noticed<T>(
    server: &mut T,
    store: impl Store,
    stop: fn(&mut T),
    start: fn(&mut T),
) {
    log(LevelFilter::INFO);
    let clock = ManualClock::at(now());
    let router =
        Router::builder().without_linked().handler("shop", ["invoice.paid"], |_: Event| async {});
    let router = router.delivered_by(&store).build().expect("router is valid");
    let inbox = Inbox::new(store, router).clock(clock.clone());
    let health = inbox.health();
    wait_for(&health, &clock, None).await;
    logged();

    stop(server);
    wait_for(&health, &clock, Some("store_unavailable")).await;
    let log = logged();
    let line = log.lines().find(|line| line.contains("failed to read the inbox's backlog"));
    assert!(line.is_some_and(|line| line.starts_with(" WARN")), "{log}");

    start(server);
    wait_for(&health, &clock, None).await;
    let log = logged();
    let lines: Vec<_> =
        log.lines().filter(|line| line.contains("backlog can be read again")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].starts_with(" INFO"), "{log}");
}

#[tokio::test]
async fn postgres_outage_and_its_end_are_noticed() {
    use postgres::Server;

    let Some(mut server) = Server::start() else { return };
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    outage_is_noticed(&mut server, store, Server::stop, Server::restart).await;
}

#[tokio::test]
async fn nats_outage_and_its_end_are_noticed() {
    use nats::Server;

    let Some(mut server) = Server::start() else { return };
    let store = JetStreamStore::connect(&server.url()).await.unwrap();
    outage_is_noticed(&mut server, store, Server::stop, Server::restart).await;
}
