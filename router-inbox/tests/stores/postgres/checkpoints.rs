//! Checkpoints in the database.

use router_inbox::{
    Store as _,
    store::{Operations as _, StoreErrorKind, Stored},
};

use super::TestInbox;
use crate::support::{error_chain, paid};

/// The privileges may have been granted before the table existed.
#[tokio::test]
async fn user_without_privilege_for_checkpoints_still_stores() {
    let Some(inbox) = TestInbox::create().await else { return };
    let store = inbox.open_without_privilege_for("checkpoints").await.unwrap();
    assert_eq!(store.store(&[paid("evt_1")]).await.unwrap(), [Stored::New]);
    let read = store.checkpoint("a").await.unwrap_err();
    let set = store.set_checkpoint("a", "1").await.unwrap_err();
    for error in [read, set] {
        assert_eq!(error.kind(), StoreErrorKind::Misuse);
        let text = error_chain(&error);
        assert!(text.contains("permission denied for table checkpoints"), "{text}");
    }
}
