//! The messages of running workers.

use std::{sync::Arc, time::Duration};

use async_nats::header;
use router_inbox::{Store as _, store::WorkerInfo};
use router_test_servers::nats;

use super::{TestInbox, operator};

/// Nothing else deletes the messages of workers that were killed.
#[tokio::test]
async fn server_deletes_expired_message_of_worker() {
    let (Some(server), Some(inbox)) = (nats::shared(), TestInbox::create().await) else { return };
    let (_, name) = inbox.url.rsplit_once('/').unwrap();
    let stream = operator(server).await.get_stream(name).await.unwrap();
    let worker = WorkerInfo::new("shop-1", [Arc::from("a")]);
    for (ttl, seconds) in [(90_000, "90s"), (90_001, "91s"), (0, "1s")] {
        inbox.store.report_worker(&worker, Duration::from_millis(ttl)).await.unwrap();
        let subject = format!("{name}.worker.shop-1");
        let message = stream.get_last_raw_message_by_subject(&subject).await.unwrap();
        let expiry =
            message.headers.get(header::NATS_MESSAGE_TTL).map(async_nats::HeaderValue::as_str);
        assert_eq!(expiry, Some(seconds));
    }
}
