//! The stream that an inbox is kept in: made as it has to be, or refused as it is.

use std::{fmt::Write as _, time::Duration};

use async_nats::jetstream::{
    self, Context, ErrorCode,
    context::{CreateStreamErrorKind, GetStreamErrorKind, RequestErrorKind},
    response::Response,
    stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream},
};
use serde::Deserialize;

use super::{about::Subjects, connect::Place};
use crate::StoreError;

/// The server's version of its interface from which on several messages can be written together, and messages can go by
/// themselves: that of 2.12.
const LEVEL: i64 = 2;

const NO_JETSTREAM: &str = "it has no JetStream for this user; switch it on with `jetstream {}` in the server's \
                            configuration, and with `jetstream: enabled` in that of the user's account if it has accounts";

const UNANSWERED: &str = "JetStream does not answer; see whether the server is well, and whether its configuration lets \
                          this user publish to `$JS.API.>` and subscribe to `_INBOX.>`";

/// As many as can lose one and go on.
const REPLICAS: usize = 3;

/// What the server says about how it can be asked.
#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    api: Api,
}

#[derive(Default, Deserialize)]
struct Api {
    #[serde(default)]
    level: i64,
}

/// Makes the stream if it is not there.
pub(super) async fn made(place: &Place, jetstream: &Context) -> Result<Stream, StoreError> {
    if let Some(stream) = existing(place, jetstream).await? {
        return Ok(stream);
    }
    let is_cluster = jetstream.client().server_info().cluster.is_some();
    let replicas = place.replicas.unwrap_or(if is_cluster { REPLICAS } else { 1 });
    match jetstream.create_stream(config(place, replicas)).await {
        Ok(stream) => {
            tell(place, stream.cached_info());
            Ok(stream)
        }
        // Somebody else was faster.
        Err(error) if is(&error.kind(), ErrorCode::STREAM_NAME_EXIST) => {
            let made = existing(place, jetstream).await?;
            made.ok_or_else(|| place.unusable("the stream comes and goes", Some(error.into())))
        }
        Err(error) => {
            let advice = match error.kind() {
                CreateStreamErrorKind::JetStream(ref error) if is_too_few(error) => format!(
                    "its stream cannot be made with {replicas} replicas; start more servers of the cluster, or \
                     say `replicas=1` in the URL, and an event is lost with the disk that it is on"
                ),
                _ => "its stream cannot be made".to_owned(),
            };
            Err(place.unusable(advice, Some(error.into())))
        }
    }
}

/// The stream, if there is one and it is as it has to be.
pub(super) async fn existing(
    place: &Place,
    jetstream: &Context,
) -> Result<Option<Stream>, StoreError> {
    supported(place, jetstream).await?;
    let stream = match jetstream.get_stream(&place.name).await {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                GetStreamErrorKind::Request => Err(place.unusable(UNANSWERED, Some(error.into()))),
                _ => Err(place.unusable("its stream cannot be looked up", Some(error.into()))),
            };
        }
    };
    let found = &stream.cached_info().config;
    let wanted = config(place, place.replicas.unwrap_or(found.num_replicas));
    let drift = drift(&wanted, found);
    if drift.is_empty() {
        tell(place, stream.cached_info());
        return Ok(Some(stream));
    }
    Err(place.unusable(
        format!(
            "the stream {} is not as an inbox's has to be, and is left as it is:{drift}\nset it right with `nats stream \
             edit {0}`, or give the inbox another name in the URL{1}",
            place.name,
            if wanted.num_replicas == found.num_replicas { "" } else { ", or leave `replicas` out of it" }
        ),
        None,
    ))
}

async fn supported(place: &Place, jetstream: &Context) -> Result<(), StoreError> {
    let info = jetstream.client().server_info();
    let account: Result<Response<Account>, _> = jetstream.request("INFO", &()).await;
    let account = match account {
        Ok(Response::Ok(account)) => account,
        Ok(Response::Err { error }) => {
            let advice = match error.error_code() {
                ErrorCode::CLUSTER_NOT_AVAILABLE => {
                    "its cluster has no leader; more than half of the servers must be up and reach each other"
                }
                _ => NO_JETSTREAM,
            };
            return Err(place.unusable(advice, Some(error.into())));
        }
        Err(error) => {
            let advice = match error.kind() {
                RequestErrorKind::TimedOut => UNANSWERED,
                _ => NO_JETSTREAM,
            };
            return Err(place.unusable(advice, Some(error.into())));
        }
    };
    if account.api.level < LEVEL {
        let advice = format!(
            "it is version {}, which cannot write several messages together; update it to 2.12 or later",
            info.version
        );
        return Err(place.unusable(advice, None));
    }
    Ok(())
}

fn config(place: &Place, replicas: usize) -> Config {
    Config {
        name: place.name.clone(),
        description: Some(
            "Stripe events and how far they are handled; written by router-inbox".into(),
        ),
        subjects: vec![Subjects::of(&place.name).all()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: replicas,
        // A record is replaced by its next state. A full stream refuses what is new, and never drops what is old.
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        max_messages: -1,
        max_bytes: -1,
        max_age: Duration::ZERO,
        allow_atomic_publish: true,
        allow_message_ttl: true,
        allow_direct: true,
        ..Config::default()
    }
}

/// Each setting that would break a promise, a line each. Others are the operator's.
fn drift(wanted: &Config, found: &Config) -> String {
    let mut drift = String::new();
    let mut compare = |name: &str, wanted: String, found: String| {
        if wanted != found {
            _ = write!(drift, "\n  {name}: {found}, and has to be {wanted}");
        }
    };
    macro_rules! compare {
        ($($name:literal $field:ident)+) => {
            $(compare($name, format!("{:?}", wanted.$field), format!("{:?}", found.$field));)+
        };
    }
    compare! {
        "subjects" subjects
        "retention" retention
        "storage" storage
        "num_replicas" num_replicas
        "max_msgs_per_subject" max_messages_per_subject
        "discard" discard
        "discard_new_per_subject" discard_new_per_subject
        "max_msgs" max_messages
        "max_age" max_age
        "allow_atomic" allow_atomic_publish
        "allow_msg_ttl" allow_message_ttl
        "allow_direct" allow_direct
        "sealed" sealed
        "no_ack" no_ack
        "deny_delete" deny_delete
        "persist_mode" persist_mode
    }
    drift
}

/// What "stored" means on what was found.
fn tell(place: &Place, info: &Info) {
    let (server, inbox, replicas) = (&place.server, &*place.name, info.config.num_replicas);
    if replicas > 1 {
        tracing::info!(
            %server, inbox, replicas,
            "an event is acknowledged once most replicas have it: it outlives the loss of a server. It outlives a loss of \
             power in all of them only with `sync_interval: always` in their configuration, which they do not tell"
        );
    } else {
        tracing::warn!(
            %server, inbox, replicas,
            "an event is acknowledged once one server has it: it outlives the end of the server's process. It outlives the \
             loss of power only with `sync_interval: always` in the server's configuration, which it does not tell, and \
             the loss of its disk only with three replicas"
        );
    }
}

/// Whether there are not as many servers as replicas.
fn is_too_few(error: &jetstream::Error) -> bool {
    [ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED, ErrorCode::CLUSTER_NO_PEERS]
        .contains(&error.error_code())
}

fn is(kind: &CreateStreamErrorKind, code: ErrorCode) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(error) if error.error_code() == code)
}
