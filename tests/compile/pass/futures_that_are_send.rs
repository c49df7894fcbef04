//! Only values held across an await must be `Send`.

#![deny(warnings)]

use std::{cell::Cell, future::ready, rc::Rc, sync::Mutex};

use router_core::{BoxError, Event, Router, on_event};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[on_event("invoice.paid")]
async fn local_only(event: Event) {
    {
        let shared = Rc::new(Cell::new(event.id().len()));
        shared.set(1);
    }
    ready(()).await;
}

#[on_event("invoice.paid")]
async fn borrows_across_an_await(event: Event) -> Result<(), BoxError> {
    let id = event.id();
    let (first, rest) = ready((&id[..1], &id[1..])).await;
    SEEN.lock().map_err(|_| "poisoned")?.push(format!("{first}{rest}"));
    Ok(())
}

#[on_event("invoice.paid")]
async fn calls_closures(event: Event) {
    let note = async |text: &str| ready(text.len()).await;
    if let Some(account) = event.account()
        && note(account).await > 0
    {
        note(event.id()).await;
    }
}

fn main() {
    assert_eq!(Router::builder().build().unwrap().routes().iter().count(), 3);
}
