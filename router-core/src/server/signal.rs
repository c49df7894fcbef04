//! The signal that shuts the server down.

use std::{future::Future, io};

/// Returns a future that is ready at the first SIGTERM or Ctrl-C. The signal handlers are installed
/// before this function returns, so no signal is missed before the future is polled.
///
/// # Errors
///
/// Fails if the signal handlers cannot be installed.
#[cfg(unix)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("received SIGTERM"),
            _ = interrupt.recv() => tracing::info!("received Ctrl-C"),
        }
    })
}

/// Returns a future that is ready at the first Ctrl-C. The signal handler is installed when the
/// future is first polled. If that fails, an error is logged and the future never completes.
///
/// # Errors
///
/// Never fails on this platform.
#[cfg(not(unix))]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        match tokio::signal::ctrl_c().await {
            Ok(()) => tracing::info!("received Ctrl-C"),
            Err(error) => {
                tracing::error!(%error, "failed to listen for Ctrl-C, which will be ignored");
                std::future::pending().await
            }
        }
    })
}
