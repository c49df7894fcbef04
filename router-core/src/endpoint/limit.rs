//! Limits on a request: the method must be POST, and the body must not be too large or stall.

use std::{pin::pin, time::Duration};

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, Method, header::CONTENT_LENGTH};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::Refusal;
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
    /// Reads the whole body. A body whose declared length exceeds the limit is refused unread; any
    /// other is refused as soon as it exceeds the limit.
    pub(super) async fn read<B>(
        self,
        headers: &HeaderMap,
        body: B,
        clock: &dyn Clock,
    ) -> Result<RawBody, Refusal>
    where
        B: Body<Error: Into<BoxError>>,
    {
        // A body wrapped by a layer may have lost its size hint; `Content-Length` still states it.
        let length = declared_length(headers).unwrap_or(0).max(body.size_hint().lower());
        if length > self.bytes as u64 {
            return Err(Refusal::TooLarge { limit: self.bytes });
        }
        // The timeout covers the whole body, so that a sender of one byte now and then hits it too.
        let read = pin!(read_all(Limited::new(body, self.bytes)));
        match within(self.time, clock, read).await {
            None => Err(Refusal::BodyTimeout { limit: self.time }),
            Some(Ok(body)) => Ok(RawBody(body)),
            Some(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Refusal::TooLarge { limit: self.bytes })
            }
            Some(Err(error)) => Err(Refusal::BodyRead(error.into())),
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
async fn read_all<B: Body>(body: B) -> Result<Bytes, B::Error> {
    let mut body = pin!(body);
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let Ok(mut data) = frame?.into_data() else { continue };
        let data = data.copy_to_bytes(data.remaining());
        if first.is_empty() && rest.is_empty() {
            first = data;
        } else {
            // The hint is a claim of the sender, so it reserves at most 64 KiB.
            let announced = body.size_hint().lower().min(64 * 1024) as usize;
            rest.reserve(first.len() + data.len() + announced);
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&data);
        }
    }
    Ok(if rest.is_empty() { first } else { rest.freeze() })
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl RawBody {
    pub(super) fn into_bytes(self) -> Bytes {
        self.0
    }
}
