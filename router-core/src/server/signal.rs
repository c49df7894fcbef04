//! When to stop.

use std::{future::Future, io};

/// Ready at the first SIGTERM or Ctrl-C. Installs its handlers at once, so that no signal is missed
/// before it is awaited.
///
/// # Errors
///
/// An [`io::Error`] where the handlers cannot be installed.
#[cfg(unix)]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM"),
            _ = interrupt.recv() => tracing::info!("Ctrl-C"),
        }
    })
}

/// Ready at the first Ctrl-C.
///
/// # Errors
///
/// An [`io::Error`] where the handler cannot be installed.
#[cfg(not(unix))]
pub fn shutdown_signal() -> io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        match tokio::signal::ctrl_c().await {
            Ok(()) => tracing::info!("Ctrl-C"),
            Err(error) => {
                tracing::error!(%error, "cannot listen for Ctrl-C");
                std::future::pending().await
            }
        }
    })
}
