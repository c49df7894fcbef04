//! Waits in real time: for other processes and for a server.

use std::time::Duration;

use router_core::clock::{Clock as _, SystemClock};

use crate::StoreError;

/// Maximum time to wait. It only guards against waiting forever.
const MAX_WAIT: Duration = Duration::from_secs(60);

const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits for a future, and panics if it takes too long.
pub(super) async fn within_limit<T>(future: impl Future<Output = T>) -> T {
    tokio::select! {
        value = future => value,
        () = SystemClock.sleep(MAX_WAIT) => panic!("nothing has happened for {MAX_WAIT:?}"),
    }
}

/// Repeats a call until it returns a value, and panics with the last error if that takes too long.
pub(super) async fn eventually<T>(call: impl AsyncFn() -> Result<Option<T>, StoreError>) -> T {
    let deadline = SystemClock.monotonic() + MAX_WAIT;
    loop {
        let result = call().await;
        if let Ok(Some(value)) = result {
            return value;
        }
        let error = result.err();
        assert!(SystemClock.monotonic() < deadline, "the store has not recovered: {error:?}");
        SystemClock.sleep(POLL_INTERVAL).await;
    }
}
