//! What a request may be: a POST whose body is not too large and does not stall.

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

/// A body that is no larger than the limit.
#[derive(Debug)]
pub(super) struct RawBody(Bytes);

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

pub(super) fn post_only(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::POST => Ok(()),
        _ => Err(Refusal::MethodNotAllowed(method.clone())),
    }
}

impl BodyLimit {
    /// Reads the whole body. One that says that it is too large is refused unread; one that lies is
    /// refused as soon as it is.
    pub(super) async fn read<B>(
        self,
        headers: &HeaderMap,
        body: B,
        clock: &dyn Clock,
    ) -> Result<RawBody, Refusal>
    where
        B: Body<Error: Into<BoxError>>,
    {
        // A body that a layer has wrapped may not know its size; the header still does.
        let length = declared_length(headers).unwrap_or(0).max(body.size_hint().lower());
        if length > self.bytes as u64 {
            return Err(Refusal::TooLarge { limit: self.bytes });
        }
        // The time is for the body as a whole: one byte now and then is a stalled body too.
        let whole = pin!(whole(Limited::new(body, self.bytes)));
        match within(self.time, clock, whole).await {
            None => Err(Refusal::BodyTimeout { limit: self.time }),
            Some(Ok(body)) => Ok(RawBody(body)),
            Some(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Refusal::TooLarge { limit: self.bytes })
            }
            Some(Err(error)) => Err(Refusal::BodyRead(error.into())),
        }
    }

    /// Takes a body that somebody else has read.
    pub(super) fn check(self, body: Bytes) -> Result<RawBody, Refusal> {
        if body.len() > self.bytes {
            return Err(Refusal::TooLarge { limit: self.bytes });
        }
        Ok(RawBody(body))
    }
}

/// All of a body. One that comes in one piece, as most do, is not copied.
async fn whole<B: Body>(body: B) -> Result<Bytes, B::Error> {
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
            // What is announced is not there yet, and need not come.
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
