//! Delivers an event again, for each state that it can be in, in each mode and on each store.
//!
//! The table in `docs/redelivery.md` is generated from the same rows. `UPDATE_DOCS=1` rewrites it.

mod mode;
mod row;
mod shop;
mod table;

use router_core::testing::{ManualClock, Payload};
use router_inbox::{JetStreamStore, PostgresStore, SqliteStore};
use router_test_servers::{nats, postgres};
use router_tests::{
    logged::{log, logged},
    now,
};
use tracing_subscriber::filter::LevelFilter;

use self::{
    mode::{InboxMode, Inline, Mode, Operation, RestartedInline},
    row::{Kind, ROWS, Redelivery, Row, State},
    shop::{Handlers, Script, Step},
};

#[tokio::test]
async fn inline() {
    check(&|| Box::new(Inline::new())).await;
}

#[tokio::test]
async fn inline_after_restart() {
    check(&|| Box::new(RestartedInline::default())).await;
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/inbox.db", folder.path().display());
    let clock = ManualClock::at(now());
    let store = SqliteStore::options().clock(clock.clone()).open(&url).await.unwrap();
    let elapse = mode::elapse_with(clock);
    check(&|| Box::new(InboxMode::new(store.clone(), elapse.clone()))).await;
}

#[tokio::test]
async fn postgres() {
    let Some(server) = postgres::Server::start() else { return };
    let store = PostgresStore::connect(&server.url()).await.unwrap();
    let elapse = mode::elapse_in_postgres(&server.url()).await;
    check(&|| Box::new(InboxMode::new(store.clone(), elapse.clone()))).await;
}

#[tokio::test]
async fn jetstream() {
    let Some(server) = nats::Server::start() else { return };
    let clock = ManualClock::at(now());
    let store =
        JetStreamStore::options().clock(clock.clone()).connect(&server.url()).await.unwrap();
    let elapse = mode::elapse_with(clock);
    check(&|| Box::new(InboxMode::new(store.clone(), elapse.clone()))).await;
}

#[test]
fn docs_match_the_rows() {
    table::check();
}

/// Checks all rows in this mode. Each row has an event of its own.
async fn check(mode: &dyn Fn() -> Box<dyn Mode>) {
    log(LevelFilter::INFO);
    let mut failures = String::new();
    for row in ROWS {
        for redelivery in Redelivery::ALL {
            let mode = mode();
            if !mode.kind().has(row.state) {
                continue;
            }
            let actual = run(&*mode, row.state, redelivery).await;
            let expected = row.expected(mode.kind(), redelivery);
            if let Err(difference) = expected.compare(&actual) {
                failures += &format!("\n{:?}, {redelivery:?}: {difference}", row.state);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The observations after the event was redelivered.
#[derive(Debug)]
struct Observed {
    status: u16,
    /// The outcome of the event in the body of the answer.
    outcome: String,
    /// The outcome of the handler in the body of the answer.
    handler_outcome: String,
    /// The number of runs of the handler because of the redelivery.
    runs: usize,
    /// `true` if each of these runs got the event as it was redelivered.
    got_redelivered: bool,
    log: String,
}

/// Brings an event into the state, delivers it again, and runs the due deliveries.
async fn run(mode: &dyn Mode, state: State, redelivery: Redelivery) -> Observed {
    let first = row::first_payload();
    let again = redelivery.payload(&first);
    let script = Script::default();
    let before = if state.is_without_handler() { Handlers::Other } else { Handlers::Fulfil };
    script.set(state.first_step());
    let in_flight = bring_into(mode, state, before, &script, &first).await;
    script.set(Step::Finish);
    let runs_before = script.runs().len();
    logged();
    let answer = mode.send(Handlers::Fulfil, &script, &again);
    let answer = match in_flight {
        None => answer.await,
        Some(first) => {
            let answer = match mode.kind() {
                Kind::Inbox => {
                    let answer = answer.await;
                    script.release();
                    answer
                }
                // The redelivery waits for the first delivery.
                Kind::Inline | Kind::RestartedInline => {
                    let release = async {
                        shop::settle().await;
                        script.release();
                    };
                    tokio::join!(answer, release).0
                }
            };
            first.await.expect("the first delivery does not panic");
            answer
        }
    };
    mode.work(Handlers::Fulfil, &script).await;
    let log = logged();
    // Time passes for the events of earlier rows too, and their retries become due.
    let mut runs = script.runs().split_off(runs_before);
    runs.retain(|payload| payload == first.body() || payload == again.body());
    Observed {
        status: answer.status,
        outcome: answer.outcome(),
        handler_outcome: answer.handler_outcome("shop.fulfil"),
        runs: runs.len(),
        got_redelivered: runs.iter().all(|payload| payload == again.body()),
        log,
    }
}

/// Delivers the event for the first time. Returns the task of that delivery if it is still running.
async fn bring_into(
    mode: &dyn Mode,
    state: State,
    handlers: Handlers,
    script: &Script,
    first: &Payload,
) -> Option<tokio::task::JoinHandle<()>> {
    if state == State::Running {
        let started = mode.start(handlers, script, first).await;
        return Some(started);
    }
    mode.send(handlers, script, first).await;
    mode.work(handlers, script).await;
    match state {
        State::Discarded => mode.operate(Operation::Discard, first.id()).await,
        State::Replayed => {
            mode.operate(Operation::Replay, first.id()).await;
            mode.work(handlers, script).await;
        }
        State::Forgotten => mode.operate(Operation::Forget, first.id()).await,
        _ => {}
    }
    None
}

impl Kind {
    /// Returns whether an event can be in this state.
    fn has(self, state: State) -> bool {
        match self {
            Self::Inline => !matches!(
                state,
                State::Discarded | State::Replayed | State::NewHandler | State::Unhandled
            ),
            Self::RestartedInline => {
                !matches!(state, State::Discarded | State::Replayed | State::Running)
            }
            Self::Inbox => true,
        }
    }
}

/// The rows are unique, so no state is described twice.
#[test]
fn each_state_has_one_row() {
    for (index, Row { state, .. }) in ROWS.iter().enumerate() {
        assert!(ROWS[..index].iter().all(|row| row.state != *state), "{state:?}");
    }
    assert_eq!(ROWS.len(), 10);
}
