//! The state of one connection, which decides when the server closes it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::limits::Limits;
use crate::clock::Clock;

/// The time to discard the rest of a request that was refused before all of it was read. If the
/// server closed the connection at once, the client might lose the answer.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The time after the begin of a close in which requests are still answered, because the client may
/// have sent them before it heard of the close.
const LATE_REQUESTS: Duration = Duration::from_secs(1);

/// The state of one connection, shared by its task, its requests and the server.
pub(super) struct Activity {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Notifies the connection's task of an eviction, and of the last answer during a close.
    changed: Notify,
    idle: Arc<IdleSignal>,
}

#[derive(Debug)]
struct State {
    /// The number of requests that are not answered yet.
    in_flight: usize,
    /// `true` once a request's head has been received.
    has_request: bool,
    /// The time of the last answer. Before the first one, the time of the accept.
    idle_since: Instant,
    /// The time of the last answer to an authentic event. Before the first one, the time of the
    /// accept.
    last_event: Instant,
    /// The time since which writes have made no progress.
    blocked_since: Option<Instant>,
    /// The time at which the server began to discard what the client still sends.
    lingering_since: Option<Instant>,
    /// The time at which the server began to close the connection.
    closing_since: Option<Instant>,
}

/// Notifies the server of connections that become idle, while the server waits for one to close.
#[derive(Default)]
pub(super) struct IdleSignal {
    pub(super) is_wanted: AtomicBool,
    pub(super) notify: Notify,
}

/// The reason to close a connection at a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// The client has not sent its first request.
    NoRequest,
    /// The client has sent no further request.
    Idle,
    /// The client does not read.
    Blocked,
    /// The client has had its time to read the last answer.
    Lingered,
}

impl Activity {
    pub(super) fn new(clock: Arc<dyn Clock>, idle: Arc<IdleSignal>) -> Self {
        let now = clock.monotonic();
        let state = State {
            in_flight: 0,
            has_request: false,
            idle_since: now,
            last_event: now,
            blocked_since: None,
            lingering_since: None,
            closing_since: None,
        };
        Self { clock, state: Mutex::new(state), changed: Notify::new(), idle }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a request as in flight until the guard is dropped. Returns `None` if the client sends
    /// it too late during the close.
    pub(super) fn begin_request(self: &Arc<Self>) -> Option<RequestGuard> {
        let mut state = self.state();
        let now = self.clock.monotonic();
        if state.closing_since.is_some_and(|since| now >= since + LATE_REQUESTS) {
            return None;
        }
        state.in_flight += 1;
        state.has_request = true;
        drop(state);
        Some(RequestGuard(self.clone()))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.state().in_flight
    }

    /// Returns whether no answer can still be in transit to the client.
    pub(super) fn is_settled(&self) -> bool {
        let state = self.state();
        !state.has_request || state.lingering_since.is_some()
    }

    /// Returns the time since which the connection has been idle, or `None` if it has a request in
    /// flight or is being closed.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.in_flight == 0 && state.closing_since.is_none()).then_some(state.idle_since)
    }

    /// Returns the time of the last authentic event, or `None` if the connection has no request in
    /// flight or is being closed.
    pub(super) fn busy_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.in_flight > 0 && state.closing_since.is_none()).then_some(state.last_event)
    }

    /// Returns the time at which the connection expires, with the reason. Without a reason, a
    /// request is in flight, and the connection must be checked again at that time.
    pub(super) fn deadline(&self, limits: &Limits) -> (Instant, Option<Expiry>) {
        let state = self.state();
        let blocked =
            state.blocked_since.map(|since| (since + limits.write, Some(Expiry::Blocked)));
        let lingering =
            state.lingering_since.map(|since| (since + DISCARD_TIMEOUT, Some(Expiry::Lingered)));
        let next = match &*state {
            State { in_flight: 1.., .. } => (self.clock.monotonic() + limits.idle, None),
            State { has_request: false, .. } => {
                (state.idle_since + limits.head, Some(Expiry::NoRequest))
            }
            _ => (state.idle_since + limits.idle, Some(Expiry::Idle)),
        };
        let deadlines = [blocked, lingering, Some(next)].into_iter().flatten();
        deadlines.min_by_key(|(deadline, _)| *deadline).unwrap_or(next)
    }

    /// Asks the connection's task to close the connection.
    pub(super) fn evict(&self) {
        self.begin_close();
        self.changed.notify_one();
    }

    pub(super) fn begin_close(&self) {
        self.state().closing_since.get_or_insert_with(|| self.clock.monotonic());
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state().closing_since.is_some()
    }

    /// Returns whether the connection is being closed and has no request in flight.
    pub(super) fn is_ending(&self) -> bool {
        let state = self.state();
        state.closing_since.is_some() && state.in_flight == 0
    }

    /// Waits for an eviction, or for the last answer if the connection is being closed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Records whether a write has made progress, or the socket's buffer is full.
    pub(super) fn wrote(&self, progress: bool) {
        let mut state = self.state();
        if progress {
            state.blocked_since = None;
        } else if state.blocked_since.is_none() {
            state.blocked_since = Some(self.clock.monotonic());
        }
    }

    pub(super) fn begin_lingering(&self) {
        self.state().lingering_since.get_or_insert_with(|| self.clock.monotonic());
    }
}

/// A request in flight.
pub(super) struct RequestGuard(Arc<Activity>);

impl RequestGuard {
    /// Records that the request was an authentic event.
    pub(super) fn record_event(&self) {
        let Self(activity) = self;
        activity.state().last_event = activity.clock.monotonic();
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let Self(activity) = self;
        let mut state = activity.state();
        state.in_flight -= 1;
        if state.in_flight > 0 {
            return;
        }
        state.idle_since = activity.clock.monotonic();
        if state.closing_since.is_some() {
            activity.changed.notify_one();
        }
        if activity.idle.is_wanted.load(Ordering::Relaxed) {
            activity.idle.notify.notify_one();
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::testing::ManualClock;

    #[test]
    fn closing_connection_accepts_requests_for_a_second() {
        let clock = ManualClock::at(UNIX_EPOCH);
        let activity = Arc::new(Activity::new(Arc::new(clock.clone()), Arc::default()));
        let first = activity.begin_request();
        activity.begin_close();
        clock.advance(Duration::from_millis(999));
        assert!(activity.begin_request().is_some(), "sent before the client heard of the close");
        clock.advance(Duration::from_millis(1));
        assert!(activity.begin_request().is_none());
        assert_eq!(activity.in_flight(), 1);
        drop(first);
        assert!(activity.is_ending());
    }
}
