//! The limits of a server, which bound what its clients can occupy.

use std::time::Duration;

/// The time limits of one connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The time for the head of the first request.
    pub(super) head: Duration,
    /// The time without a request in flight.
    pub(super) idle: Duration,
    /// The time without progress of a write.
    pub(super) write: Duration,
}

/// The maximum number of connections, unless the process has too few file descriptors.
pub(super) const MAX_CONNECTIONS: usize = 1024;

/// The number of requests that an HTTP/2 client can have in flight on a connection. Proxies open
/// further connections for more.
pub(super) const HTTP2_STREAMS: u32 = 32;

/// The size of a head in HTTP/2, by the count of HTTP/2: 32 bytes more for each field. In memory a
/// head of many small fields takes several times as much.
pub(super) const HTTP2_HEAD: u32 = 8 * 1024;

/// The bytes of a body that an HTTP/2 client can send on one stream before the service has read
/// them.
pub(super) const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;

/// The bytes of all bodies that an HTTP/2 client can send on one connection before the service has
/// read them.
pub(super) const HTTP2_CONNECTION_WINDOW: u32 = 128 * 1024;

/// The bytes of an answer that an HTTP/2 stream buffers until the client reads them. An answer of
/// an endpoint is far smaller.
pub(super) const HTTP2_SEND_BUFFER: usize = 16 * 1024;

/// The size of the read buffer and of the write buffer of an HTTP/1 connection. A head must fit.
pub(super) const HTTP1_BUFFER: usize = 32 * 1024;

/// Returns the number of connections that leaves half of the process's file descriptors for other
/// purposes, such as the connections to a database. If the soft limit of descriptors is too low,
/// raises it as far as needed, up to the hard limit. The soft limit is often only 1,024.
pub(super) fn allowed_connections(wanted: usize) -> usize {
    let Some(descriptors) = descriptors(2 * wanted as u64) else { return wanted };
    let allowed = usize::try_from(descriptors / 2).unwrap_or(wanted).clamp(1, wanted);
    if allowed < wanted {
        tracing::warn!(
            descriptors,
            "serving at most {allowed} connections at a time instead of {wanted}, because the \
             process can open only {descriptors} files; raise the limit (`ulimit -n`)"
        );
    }
    allowed
}

/// Returns the soft limit of file descriptors, raised to at most `wanted`.
#[cfg(unix)]
fn descriptors(wanted: u64) -> Option<u64> {
    let soft = rlimit::getrlimit(rlimit::Resource::NOFILE).ok()?.0;
    match soft < wanted {
        true => Some(rlimit::increase_nofile_limit(wanted).unwrap_or(soft)),
        false => Some(soft),
    }
}

#[cfg(not(unix))]
fn descriptors(_: u64) -> Option<u64> {
    None
}
