//! Paused handlers in the database.

use router_inbox::{
    Store as _,
    store::{Operations as _, StoreErrorKind},
};

use super::TestInbox;
use crate::support::error_chain;

#[tokio::test]
async fn pause_with_any_text_is_stored() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.pause("a\0", Some("b\0")).await.unwrap();
    let paused = inbox.store.paused_handlers().await.unwrap();
    assert_eq!((&*paused[0].handler, paused[0].note.as_deref()), ("a\u{2400}", Some("b\u{2400}")));
    assert_eq!(inbox.store.resume("a\0").await.unwrap().as_ref(), Some(&paused[0]));
}

/// No worker claims anything without the paused handlers, so this must be noticed at the start.
#[tokio::test]
async fn user_without_privilege_for_paused_handlers_is_refused() {
    let Some(inbox) = TestInbox::create().await else { return };
    let error = inbox.open_without_privilege_for("paused").await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misuse);
    let advice = format!(
        "its user may not read {}.paused, without which no handler runs; run `grant select,",
        inbox.schema
    );
    assert!(error_chain(&error).contains(&advice), "{}", error_chain(&error));
}
