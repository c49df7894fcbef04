//! Paused handlers in the database.

use router_inbox::{
    PostgresStore, Store as _,
    store::{Operations as _, StoreErrorKind},
};
use router_test_servers::unused_name;

use super::{PASSWORD, TestInbox, error_chain};

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
    let (schema, user) = (&inbox.schema, unused_name());
    let grant = format!(
        "create role {user} login password '{PASSWORD}';
         grant usage on schema {schema} to {user};
         grant select, insert, update, delete on all tables in schema {schema} to {user};
         revoke all on {schema}.paused from {user}"
    );
    inbox.execute(&grant).await;
    let url = inbox.url.replace("postgres:of", &format!("{user}:of"));
    let error = PostgresStore::options().schema(schema).connect(&url).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Misuse);
    let advice = format!(
        "its user may not read {schema}.paused, without which no handler runs; run `grant select,"
    );
    assert!(error_chain(&error).contains(&advice), "{}", error_chain(&error));
}
