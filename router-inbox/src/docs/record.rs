use router_core::{BoxError, Event, Router, State, build::RouterBuilder, on_event};
use router_inbox::{Tx, sqlx::{self, Sqlite}, testing::TestInbox};
use std::sync::{Arc, atomic::{AtomicBool, Ordering::SeqCst}};

#[derive(Default)]
struct Mailer { is_down: AtomicBool }

#[on_event("customer.created", "customer.updated", name = "customers.record", ordered)]
async fn record(event: Event, mut tx: Tx<Sqlite>, mailer: State<Mailer>) -> Result<(), BoxError> {
    let insert = sqlx::query("insert into changes (event) values (?)").bind(event.id());
    insert.execute(tx.begin().await?).await?;
    if mailer.is_down.load(SeqCst) {
        return Err("the mailer is down".into());
    }
    Ok(())
}

fn router(mailer: &Arc<Mailer>) -> RouterBuilder {
    Router::builder().only::<record>().shared_state(mailer.clone())
}

/// Creates an inbox in a new file, with the handler's table.
async fn inbox(mailer: &Arc<Mailer>) -> Result<TestInbox, BoxError> {
    let inbox = TestInbox::new(router(mailer)).await?;
    sqlx::query("create table changes (event text)").execute(inbox.pool()).await?;
    Ok(inbox)
}

/// Returns the ids of the recorded events.
async fn changes(inbox: &TestInbox) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("select event from changes").fetch_all(inbox.pool()).await
}
