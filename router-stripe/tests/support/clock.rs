//! A clock that a test moves while the stub answers.

use std::{pin::pin, time::Duration};

use router_core::{
    clock::{Clock as _, SystemClock},
    testing::ManualClock,
};

/// Moves the clock until the future is ready.
pub(crate) async fn advance<T>(clock: &ManualClock, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        tokio::select! {
            biased;
            output = &mut future => return output,
            // The stub answers in real time, and the client waits by the clock.
            () = SystemClock.sleep(Duration::from_millis(1)) => clock.advance(Duration::from_millis(100)),
        }
    }
}
