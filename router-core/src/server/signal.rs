//! The signal that shuts the process down.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::watch;

use crate::clock::{Clock as _, SystemClock};

/// Returns a future that is ready at the first SIGTERM or Ctrl-C. The signal handlers are installed
/// before this function returns, so no signal is missed before the future is polled.
///
/// The second signal ends the process at once, with the exit code that a shell reports for the
/// signal (143 or 130). Another process then retries the deliveries of an inbox once their leases
/// expire, and counts the attempts as failed.
///
/// Clones are ready at the same signal. Give a clone to the server and to each worker of an inbox.
/// The workers then stop claiming while the server answers its last requests.
///
/// # Errors
///
/// Fails if the signal handlers cannot be installed.
///
/// # Panics
///
/// Panics if it is called outside of a tokio runtime.
pub fn shutdown_signal() -> io::Result<ShutdownSignal> {
    let mut signals = Signals::new()?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let (name, _) = signals.next().await;
        tracing::info!("received {name}; a second signal ends the process at once");
        sender.send_replace(true);
        let (name, exit_code) = signals.next().await;
        tracing::warn!("received {name} during the shutdown; exiting at once");
        std::process::exit(exit_code);
    });
    Ok(ShutdownSignal::new(receiver))
}

/// The future returned by [`shutdown_signal`].
pub struct ShutdownSignal {
    receiver: watch::Receiver<bool>,
    received: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl ShutdownSignal {
    fn new(receiver: watch::Receiver<bool>) -> Self {
        let mut waiting = receiver.clone();
        let received = Box::pin(async move {
            if waiting.wait_for(|is_received| *is_received).await.is_err() {
                // The task that listens has ended with its runtime, without a signal.
                std::future::pending::<()>().await;
            }
        });
        Self { receiver, received }
    }

    /// Returns a future that is ready once this time has passed after the signal. A program that
    /// ends then limits its whole shutdown.
    pub fn grace_period(&self, grace: Duration) -> impl Future<Output = ()> + Send + use<> {
        let signal = self.clone();
        async move {
            signal.await;
            SystemClock.sleep(grace).await;
        }
    }
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.received.as_mut().poll(context)
    }
}

impl Clone for ShutdownSignal {
    fn clone(&self) -> Self {
        Self::new(self.receiver.clone())
    }
}

impl fmt::Debug for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_received = *self.receiver.borrow();
        f.debug_struct("ShutdownSignal").field("is_received", &is_received).finish_non_exhaustive()
    }
}

/// The signals that end a process, with their names and exit codes.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> (&'static str, i32) {
        tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", 143),
            _ = self.interrupt.recv() => ("Ctrl-C", 130),
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    async fn next(&mut self) -> (&'static str, i32) {
        self.0.recv().await;
        ("Ctrl-C", 130)
    }
}
