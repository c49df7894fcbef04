//! Limits on a request: the method must be POST, and the body must not be too large or stall.

use std::{
    future::poll_fn,
    pin::pin,
    task::{Poll, Waker},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, Method, header::CONTENT_LENGTH};
use http_body::Body;

use super::{
    Refusal,
    budget::{BodyBudget, Reservation},
};
use crate::{
    clock::{Clock, within},
    handler::BoxError,
};

/// A body within the size limit, not yet verified.
#[derive(Debug)]
pub(super) struct RawBody(Bytes);

/// The limits on a body: its size in bytes, and the time to read all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// Refuses every method but POST.
pub(super) fn require_post(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::POST => Ok(()),
        _ => Err(Refusal::MethodNotAllowed(method.clone())),
    }
}

impl BodyLimit {
    /// Refuses a body whose declared length exceeds the limit.
    ///
    /// # Errors
    ///
    /// Fails with [`Refusal::TooLarge`].
    pub(super) fn check_declared(
        self,
        headers: &HeaderMap,
        body: &impl Body,
    ) -> Result<(), Refusal> {
        // A body wrapped by a layer may have lost its size hint; `Content-Length` still states it.
        let length = declared_length(headers).unwrap_or(0).max(body.size_hint().lower());
        match length > self.bytes as u64 {
            true => Err(Refusal::TooLarge { limit: self.bytes }),
            false => Ok(()),
        }
    }

    /// Reads the whole body. Refuses a body as soon as it exceeds the limit.
    ///
    /// # Errors
    ///
    /// Fails if the body is too large, stalls, breaks off, or is displaced from the budget.
    pub(super) async fn read<B>(
        self,
        body: B,
        budget: &BodyBudget,
        clock: &dyn Clock,
    ) -> Result<RawBody, Refusal>
    where
        B: Body<Error: Into<BoxError>>,
    {
        // The timeout covers the whole body, so that a sender of one byte now and then hits it too.
        let read = pin!(read_all(body, self.bytes, budget));
        match within(self.time, clock, read).await {
            Some(body) => Ok(RawBody(body?)),
            None => Err(Refusal::BodyTimeout { limit: self.time }),
        }
    }

    /// Checks the size of a body that the caller has already read.
    pub(super) fn check(self, body: Bytes) -> Result<RawBody, Refusal> {
        if body.len() > self.bytes {
            return Err(Refusal::TooLarge { limit: self.bytes });
        }
        Ok(RawBody(body))
    }
}

/// Reads all of a body. A body that arrives in one frame, as most do, is not copied.
async fn read_all<B>(body: B, limit: usize, budget: &BodyBudget) -> Result<Bytes, Refusal>
where
    B: Body<Error: Into<BoxError>>,
{
    let mut body = pin!(body);
    let mut received = Received::new(budget);
    while !body.is_end_stream() {
        let frame = poll_fn(|context| match body.as_mut().poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => match received.hold(body.size_hint().lower(), context.waker()) {
                Ok(()) => Poll::Pending,
                Err(refusal) => Poll::Ready(Err(refusal)),
            },
        });
        let Some(frame) = frame.await? else { break };
        let frame = frame.map_err(|error| Refusal::BodyRead(error.into().into()))?;
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > limit - received.len() {
            return Err(Refusal::TooLarge { limit });
        }
        received.push(data.copy_to_bytes(data.remaining()), body.size_hint().lower());
    }
    Ok(received.into_bytes())
}

/// The part of a body that has been received.
struct Received<'b> {
    /// The first frame, while it is the only one.
    first: Bytes,
    /// All frames, once there are several.
    all: Vec<u8>,
    reservation: Reservation<'b>,
}

impl<'b> Received<'b> {
    fn new(budget: &'b BodyBudget) -> Self {
        Self { first: Bytes::new(), all: Vec::new(), reservation: budget.reservation() }
    }

    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, data: Bytes, remaining: u64) {
        if self.len() == 0 {
            self.first = data;
        } else {
            self.copy_first(data.len(), remaining);
            self.all.extend_from_slice(&data);
        }
    }

    /// Reserves the received bytes, before a wait for the next frame. A body that arrives without a
    /// wait is not counted, because it is verified at once.
    ///
    /// # Errors
    ///
    /// Fails if a newer body has displaced this one from the budget.
    fn hold(&mut self, remaining: u64, waker: &Waker) -> Result<(), Refusal> {
        if self.len() == 0 {
            return Ok(());
        }
        // A frame of one byte may be a slice of a large buffer, and keep all of it in memory.
        self.copy_first(0, remaining);
        self.reservation.extend_to(self.all.capacity(), waker)
    }

    /// Moves the first frame to `all`, with capacity for `more` bytes.
    fn copy_first(&mut self, more: usize, remaining: u64) {
        let needed = self.len() + more;
        if needed > self.all.capacity() {
            // The sender declares `remaining`, so that number at most doubles the capacity.
            let announced = usize::try_from(remaining).unwrap_or(needed).min(needed);
            let capacity = (needed + announced).max(self.all.capacity() * 2);
            self.all.reserve_exact(capacity - self.all.len());
        }
        self.all.extend_from_slice(&std::mem::take(&mut self.first));
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.into() }
    }
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl RawBody {
    pub(super) fn into_bytes(self) -> Bytes {
        self.0
    }
}
