//! Paused handlers in the database.

use router_inbox::{Store as _, store::Operations as _};

use super::TestInbox;

#[tokio::test]
async fn pause_with_any_text_is_stored() {
    let Some(inbox) = TestInbox::create().await else { return };
    inbox.store.pause("a\0", Some("b\0")).await.unwrap();
    let paused = inbox.store.paused_handlers().await.unwrap();
    assert_eq!((&*paused[0].handler, paused[0].note.as_deref()), ("a\u{2400}", Some("b\u{2400}")));
    assert_eq!(inbox.store.resume("a\0").await.unwrap().as_ref(), Some(&paused[0]));
}
