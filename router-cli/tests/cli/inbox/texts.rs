//! Texts that an engine must not shorten, compare only in part, or take for a pattern.

use router_catalog::check_name;
use router_core::{Event, event::StoredEvent, testing::SyntheticEvent};
use router_inbox::{
    Store as _,
    operations::{EventSelector, ListFilter},
    store::{DeliveryOutcome, NewEvent, Operations as _},
};
use serde_json::json;

use super::{
    MINUTE, TestInbox, build_event,
    engine::{Engine, on_each_store},
    new_delivery,
};

on_each_store!(any_text_finds_only_its_own_event, object_is_found_in_any_account);

fn texts() -> Vec<String> {
    // Not repetitive, so that compression cannot shorten it.
    let long: String = (0..800_u64).map(|n| format!("{:x}", 7_919_u64.pow(3) * n)).collect();
    let short = ["a", "a\0", "a\0b", "%", "_", "é💶", "'\"\\", ">.b *", " "].map(str::to_owned);
    short.into_iter().chain(["x", "y"].map(|end| format!("{long}{end}"))).collect()
}

/// Returns the text as it is shown: the SQL stores replace each NUL by `␀` in some columns.
fn visible(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}

/// An event with the text in its id, account, object, endpoint and type.
fn event_with(text: &str) -> Event {
    let event = SyntheticEvent::new("customer.updated").id(format!("evt_{text}"));
    let event = event.account(format!("acct_{text}")).set("id", format!("cus_{text}"));
    let event = build_event(event);
    let payload = String::from_utf8(event.payload().to_vec()).expect("JSON is UTF-8");
    let event_type = json!(format!("customer.{text}.new")).to_string();
    let payload = payload.replace("\"customer.updated\"", &event_type);
    let endpoint = format!("shop {text}");
    let stored =
        StoredEvent { payload: payload.into(), endpoint, ..StoredEvent::from_event(&event) };
    Event::from_store(stored).expect("the event is valid")
}

/// The handler of the event. A text that is not a valid name is not part of the name.
fn handler_of(text: &str) -> String {
    let name = format!("shop.{text}");
    if check_name(&name).is_ok() { name } else { "shop".to_owned() }
}

fn any_text_finds_only_its_own_event(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE);
    let (store, texts) = (&inbox.store, texts());
    for text in &texts {
        let new = [NewEvent::new(event_with(text), vec![new_delivery(&handler_of(text), None)])];
        inbox.runtime.block_on(store.store(&new)).unwrap();
    }
    for text in &texts {
        let id = format!("evt_{text}");
        let listed = |filter: ListFilter| {
            let filter = ListFilter { limit: 99, ..filter };
            let entries = inbox.runtime.block_on(store.list(&filter)).unwrap();
            entries.iter().map(|entry| visible(&entry.event.id)).collect::<Vec<_>>()
        };
        let of_type = |event_type: String| ListFilter {
            event_type: Some(event_type),
            ..ListFilter::default()
        };
        let of_object = ListFilter { object: Some(format!("cus_{text}")), ..ListFilter::default() };
        assert_eq!(listed(of_object), [visible(&id)]);
        assert_eq!(listed(of_type(format!("customer.{text}.new"))), [visible(&id)]);
        assert_eq!(listed(of_type(format!("customer.{text}.*"))), [visible(&id)]);
        let handler = handler_of(text);
        if handler.ends_with(text) {
            let of_handler = ListFilter { handler: Some(handler.clone()), ..ListFilter::default() };
            assert_eq!(listed(of_handler), [visible(&id)]);
            let lease = inbox.claim(&handler, MINUTE).lease;
            assert_eq!(visible(&lease.event_id), visible(&id));
            let dead = DeliveryOutcome::Dead { error: text.clone() };
            inbox.runtime.block_on(store.complete(&[(lease, dead)])).unwrap();
        }
        let shown = inbox.runtime.block_on(store.show(&id)).unwrap();
        let [shown] = &shown[..] else { panic!("one event: {shown:?}") };
        let event = &shown.event;
        let texts = [&event.id, &event.object, &event.endpoint, &event.event_type];
        let expected = ["evt_*", "cus_*", "shop *", "customer.*.new"];
        let expected = expected.map(|expected| visible(&expected.replace('*', text)));
        assert_eq!(texts.map(|text| visible(text)), expected);
        let account = event.account.as_deref().map(visible);
        assert_eq!(account, Some(visible(&format!("acct_{text}"))));
        let error = shown.deliveries[0].error.as_deref();
        assert_eq!(error.is_some(), handler.ends_with(text));
        assert!(error.is_none_or(|error| visible(error) == visible(text)), "{error:?}");
        let by_id = EventSelector { event_id: Some(id.clone()), ..EventSelector::default() };
        assert_eq!(inbox.runtime.block_on(store.select(&by_id)).unwrap().len(), 1);
        let retried = inbox.runtime.block_on(store.retry(&id, Some(&handler))).unwrap();
        assert_eq!(retried.len(), 1);
    }
}

/// The program itself cannot be given a NUL, but the account may contain one.
fn object_is_found_in_any_account(engine: impl Engine) {
    let inbox = TestInbox::empty(engine, MINUTE);
    for (text, number) in texts().iter().zip(0..) {
        let event = SyntheticEvent::new("invoice.paid").id(format!("evt_{number}"));
        let event = event.account(text.clone()).set("id", format!("in_{number}"));
        let new = [NewEvent::new(build_event(event), vec![new_delivery("audit", None)])];
        inbox.runtime.block_on(inbox.store.store(&new)).unwrap();
        let lines = inbox.run(&["list", "--object", &format!("in_{number}"), "--json"]).json();
        assert_eq!(lines.len(), 1, "{text:?}");
        assert_eq!(lines[0]["event"], format!("evt_{number}"), "{text:?}");
        assert_eq!(visible(lines[0]["account"].as_str().unwrap()), visible(text));
    }
}
