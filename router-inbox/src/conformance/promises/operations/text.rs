//! Promises about operations on events with unusual texts.

use router_core::{delivery::DeliveryOrder, event::StoredEvent};

use super::{
    super::{
        delivery,
        limits::{event_with_text, handler_name, unusual_texts, without_nul},
        store,
    },
    event_number, list,
};
use crate::{
    conformance::Subject,
    operations::{ChangeOutcome, ListFilter, ReplayResult},
    store::{DeliveryState, NewEvent, Operations, Stored},
};

/// An event with any text can be listed, shown, replayed, retried and discarded. Except in the
/// payload and the key, a store may replace NUL with `␀`.
pub async fn event_with_any_text_supports_operations(subject: &impl Subject<Store: Operations>) {
    for text in unusual_texts() {
        let (id, object) = (format!("evt_{text}"), format!("cus_{text}"));
        let (event_type, handler) = (format!("customer.{text}x"), handler_name(&text));
        let event = event_with_text(&text, &event_type);
        let deliveries = vec![delivery(&*handler, Some(DeliveryOrder::OldestFirst))];
        let stored = store(subject, &[NewEvent::new(event.clone(), deliveries)]).await;
        assert_eq!(stored, [Stored::New], "{text:?}");
        let operations = subject.store();
        let status = operations.status().await.expect("store is available");
        let mut names = status.handlers.iter().map(|status| without_nul(&status.handler));
        assert!(names.any(|name| name == without_nul(&handler)), "{handler:?}: {status:?}");
        let filters = [
            ListFilter { object: Some(object.clone()), ..ListFilter::default() },
            ListFilter { event_type: Some(event_type.clone()), ..ListFilter::default() },
            ListFilter { event_type: Some("customer.*".into()), ..ListFilter::default() },
            ListFilter { handler: Some(handler.clone()), ..ListFilter::default() },
        ];
        for filter in filters {
            let listed = list(subject, &ListFilter { limit: 1, ..filter.clone() }).await;
            let newest = listed.first().map(|entry| &entry.event);
            let newest = newest.unwrap_or_else(|| panic!("nothing matches {filter:?}"));
            assert_eq!(without_nul(&newest.id), without_nul(&id), "{filter:?}");
            assert_eq!(without_nul(&newest.object), without_nul(&object), "{filter:?}");
            assert_eq!(without_nul(&newest.event_type), without_nul(&event_type), "{filter:?}");
        }
        let number = event_number(subject, &id).await;
        let handlers = vec![handler.as_str().into()];
        let replayed = operations.replay(&[number], &handlers).await.expect("store is available");
        let expected = ReplayResult::Replayed { event_id: id.clone(), generation: 1, handlers };
        assert_eq!(replayed, [expected]);
        let shown = operations.show(&id).await.expect("store is available");
        let shown: Vec<_> = shown.into_iter().map(|event| event.stored).collect();
        let first = StoredEvent::from_event(&event);
        let replay = StoredEvent { generation: 1, ..first.clone() };
        assert_eq!(shown, [first, replay]);
        let discarded = operations.discard(&id, Some(&handler)).await.expect("store is available");
        let changes: Vec<_> = discarded.iter().map(|result| result.change).collect();
        assert_eq!(changes, [ChangeOutcome::Applied; 2], "{text:?}");
        let retried = operations.retry(&id, Some(&handler)).await.expect("store is available");
        let states: Vec<_> = retried.iter().map(|result| result.delivery.state).collect();
        assert_eq!(states, [DeliveryState::Discarded], "only the latest generation: {text:?}");
    }
}
