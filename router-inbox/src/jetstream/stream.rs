//! The inbox's stream: created with the required configuration, or checked against it.

use std::{fmt::Write as _, time::Duration};

use async_nats::jetstream::{
    self, Context, ErrorCode,
    context::{CreateStreamErrorKind, GetStreamErrorKind, RequestErrorKind},
    response::Response,
    stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType, Stream},
};
use serde::Deserialize;

use super::{connect::Address, subjects::Subjects};
use crate::{StoreError, store::StoreErrorKind};

/// The minimum JetStream API level, that of nats-server 2.12: it has atomic batches and expiring
/// messages.
const MIN_API_LEVEL: i64 = 2;

const NO_JETSTREAM: &str = "JetStream is not enabled for this user; enable it with `jetstream {}` \
                            in the server's configuration, and, if that defines accounts, with \
                            `jetstream: enabled` in the user's account";

const NO_ANSWER: &str = "JetStream does not answer; check that the server is healthy, and that its \
                         configuration lets this user publish to `$JS.API.>` and subscribe to \
                         `_INBOX.>`";

/// The default number of replicas in a cluster: the fewest with which it can lose a server.
const CLUSTER_REPLICAS: usize = 3;

/// The server's information about the user's account.
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

/// Opens the stream, and creates it if it does not exist.
pub(super) async fn open_or_create(
    address: &Address,
    jetstream: &Context,
) -> Result<Stream, StoreError> {
    if let Some(stream) = open_existing(address, jetstream).await? {
        return Ok(stream);
    }
    let is_cluster = jetstream.client().server_info().cluster.is_some();
    let replicas = address.replicas.unwrap_or(if is_cluster { CLUSTER_REPLICAS } else { 1 });
    match jetstream.create_stream(config(address, replicas)).await {
        Ok(stream) => {
            log_durability(address, stream.cached_info());
            Ok(stream)
        }
        // Another process has created it in the meantime.
        Err(error) if has_code(&error.kind(), ErrorCode::STREAM_NAME_EXIST) => {
            let stream = open_existing(address, jetstream).await?;
            stream.ok_or_else(|| {
                let advice = "its stream was created and deleted by another process; start again";
                address.unusable(StoreErrorKind::Busy, advice, Some(error.into()))
            })
        }
        Err(error) => {
            let (kind, advice) = match error.kind() {
                CreateStreamErrorKind::JetStream(ref error) if is_too_few_servers(error) => {
                    let advice = format!(
                        "its stream cannot be created with {replicas} replicas; start more \
                         servers of the cluster, or set `JetStreamOptions::replicas` to 1, which \
                         loses events if the server's disk is lost"
                    );
                    (StoreErrorKind::Misuse, advice)
                }
                _ => (StoreErrorKind::Unavailable, "its stream cannot be created".to_owned()),
            };
            Err(address.unusable(kind, advice, Some(error.into())))
        }
    }
}

/// Opens the stream. Returns `None` if it does not exist.
///
/// Fails if the stream's configuration would break the store's guarantees.
pub(super) async fn open_existing(
    address: &Address,
    jetstream: &Context,
) -> Result<Option<Stream>, StoreError> {
    check_server(address, jetstream).await?;
    let stream = match jetstream.get_stream(&address.name).await {
        Ok(stream) => stream,
        Err(error) => {
            return match error.kind() {
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                kind => {
                    let advice = match kind {
                        GetStreamErrorKind::Request => NO_ANSWER,
                        _ => "its stream cannot be looked up",
                    };
                    Err(address.unusable(StoreErrorKind::Unavailable, advice, Some(error.into())))
                }
            };
        }
    };
    let found = &stream.cached_info().config;
    let wanted = config(address, address.replicas.unwrap_or(found.num_replicas));
    let drift = drift(&wanted, found);
    if drift.is_empty() {
        log_durability(address, stream.cached_info());
        return Ok(Some(stream));
    }
    Err(address.unusable(
        StoreErrorKind::Misuse,
        format!(
            "the configuration of its stream {} does not fit an inbox:{drift}\nchange it with `nats \
             stream edit {0}`, or give the inbox another name{1}",
            address.name,
            if wanted.num_replicas == found.num_replicas { "" } else { ", or do not set `JetStreamOptions::replicas`" }
        ),
        None,
    ))
}

/// Fails if the server lacks JetStream, or is too old.
async fn check_server(address: &Address, jetstream: &Context) -> Result<(), StoreError> {
    let info = jetstream.client().server_info();
    let account: Result<Response<Account>, _> = jetstream.request("INFO", &()).await;
    let account = match account {
        Ok(Response::Ok(account)) => account,
        Ok(Response::Err { error }) => {
            let (kind, advice) = match error.error_code() {
                ErrorCode::CLUSTER_NOT_AVAILABLE => (
                    StoreErrorKind::Unavailable,
                    "its cluster has no leader; more than half of the servers must be up and able \
                     to reach each other",
                ),
                _ => (StoreErrorKind::Misuse, NO_JETSTREAM),
            };
            return Err(address.unusable(kind, advice, Some(error.into())));
        }
        Err(error) => {
            let (kind, advice) = match error.kind() {
                RequestErrorKind::TimedOut => (StoreErrorKind::Unavailable, NO_ANSWER),
                _ => (StoreErrorKind::Misuse, NO_JETSTREAM),
            };
            return Err(address.unusable(kind, advice, Some(error.into())));
        }
    };
    if account.api.level < MIN_API_LEVEL {
        let advice = format!(
            "it is version {}, which has no atomic batches; update it to 2.12 or later",
            info.version
        );
        return Err(address.unusable(StoreErrorKind::Misuse, advice, None));
    }
    Ok(())
}

fn config(address: &Address, replicas: usize) -> Config {
    Config {
        name: address.name.clone(),
        description: Some(
            "Stripe events and the state of their deliveries; written by router-inbox".into(),
        ),
        subjects: vec![Subjects::new(&address.name).all()],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: replicas,
        // A new revision of a record replaces the old one. A full stream rejects new messages
        // instead of dropping old ones.
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

/// Returns a line for each setting that would break the store's guarantees. All other settings
/// are up to the operator.
fn drift(wanted: &Config, found: &Config) -> String {
    let mut drift = String::new();
    let mut compare = |name: &str, wanted: String, found: String| {
        if wanted != found {
            _ = write!(drift, "\n  {name}: {found}, must be {wanted}");
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

/// Logs the failures that an acknowledged event survives in this stream.
fn log_durability(address: &Address, info: &Info) {
    let (server, inbox, replicas) = (&address.server, &*address.name, info.config.num_replicas);
    if replicas > 1 {
        tracing::info!(
            %server, inbox, replicas,
            "events are acknowledged once a majority of the replicas has them: they survive the \
             loss of a server; they survive a power failure of all servers only with \
             `sync_interval: always` in the servers' configuration, which cannot be checked from here"
        );
    } else {
        tracing::warn!(
            %server, inbox, replicas,
            "events are acknowledged once one server has them: they survive a crash of its process; \
             they survive a power failure only with `sync_interval: always` in the server's \
             configuration, which cannot be checked from here, and the loss of its disk only with \
             three replicas"
        );
    }
}

/// Returns whether the cluster has fewer servers than the stream would have replicas.
fn is_too_few_servers(error: &jetstream::Error) -> bool {
    [ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED, ErrorCode::CLUSTER_NO_PEERS]
        .contains(&error.error_code())
}

fn has_code(kind: &CreateStreamErrorKind, code: ErrorCode) -> bool {
    matches!(kind, CreateStreamErrorKind::JetStream(error) if error.error_code() == code)
}
