//! Ctrl-C, for commands that finish a step before they stop.

use std::{future::ready, io, pin::Pin};

use tokio::signal::ctrl_c;

/// The signal of Ctrl-C. Once received, it stays set.
pub(crate) struct Interrupt {
    signal: Pin<Box<dyn Future<Output = io::Result<()>> + Send>>,
    is_set: bool,
}

impl Interrupt {
    /// Installs the handler of the signal, so that Ctrl-C no longer ends the process at once.
    pub(crate) async fn listen() -> Self {
        let mut interrupt = Self { signal: Box::pin(ctrl_c()), is_set: false };
        // The first poll installs the handler.
        interrupt.is_set().await;
        interrupt
    }

    /// Returns whether Ctrl-C was pressed.
    pub(crate) async fn is_set(&mut self) -> bool {
        self.or(ready(())).await.is_none()
    }

    /// Waits for a future that is cancel safe. Returns `None` if Ctrl-C is pressed first.
    pub(crate) async fn or<T>(&mut self, future: impl Future<Output = T>) -> Option<T> {
        if self.is_set {
            return None;
        }
        tokio::select! {
            biased;
            _ = &mut self.signal => {
                self.is_set = true;
                None
            }
            output = future => Some(output),
        }
    }
}
