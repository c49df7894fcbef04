//! The generated table is sorted, has no duplicates, and agrees with the data file.

use router_catalog::{EventType, Kind, Pattern, all, event_type, lookup, nearest};

const SOURCE: &str = include_str!("../../data/event-types.tsv");

#[test]
fn table_is_sorted_and_unique() {
    assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn table_agrees_with_data_file() {
    let mut snapshots = 0;
    let mut thin = 0;
    for line in SOURCE.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let kind = match columns[2] {
            "snapshot" => Kind::Snapshot,
            _ => Kind::Thin,
        };
        *(if kind == Kind::Snapshot { &mut snapshots } else { &mut thin }) += 1;
        let expected =
            lookup(columns[0]).unwrap_or_else(|| panic!("{} is not in the table", columns[0]));
        assert_eq!(expected.kind, kind, "{}", columns[0]);
        assert_eq!(expected.object.unwrap_or("-"), columns[1], "{}", columns[0]);
    }
    assert_eq!((snapshots, thin, all().len()), (275, 326, 601));
}

#[test]
fn lookup_of_unknown_name_returns_none() {
    for name in
        ["", "payment_intent", "payment_intent.succeeded.", "zzz", "PAYMENT_INTENT.SUCCEEDED"]
    {
        assert_eq!(lookup(name), None, "{name}");
    }
}

#[test]
fn known_returns_all_matching_event_types() {
    for text in ["*", "customer.*", "customer.subscription.*", "v2.core.account[identity].*"] {
        let pattern = Pattern::parse(text).unwrap();
        let known: Vec<EventType> =
            all().iter().filter(|known| pattern.matches(known.name)).copied().collect();
        assert!(!known.is_empty(), "{text}");
        assert_eq!(pattern.known(), known, "{text}");
    }
    assert!(Pattern::Prefix("customer.subscriptions").known().is_empty());
    assert!(Pattern::Prefix("invoice.paid").known().is_empty());
    assert!(Pattern::Exact("invoice.piad").known().is_empty());
}

#[test]
fn carries_matches_whole_object_names() {
    const CARRIES: bool = lookup("account.external_account.created").unwrap().carries("card");
    const { assert!(CARRIES) };
    let external = lookup("account.external_account.created").unwrap();
    assert!(!external.carries_only("card") && !external.carries_only("bank_account"));
    let paid = lookup("invoice.paid").unwrap();
    assert!(
        paid.carries_only("invoice")
            && !paid.carries_only("invoicf")
            && !paid.carries_only("charge")
    );
    for known in all() {
        assert!(known.objects().all(|object| known.carries(object)), "{}", known.name);
        for object in ["", "car", "cards", "|", "thing"] {
            assert!(!known.carries(object), "{} {object}", known.name);
        }
    }
}

#[test]
fn constants_cover_all_event_types() {
    assert_eq!(event_type::ALL.len(), all().len());
    for (constant, known) in event_type::ALL.iter().zip(all()) {
        assert_eq!(*constant, known.name);
    }
    assert!(matches!("invoice.paid", event_type::invoice::PAID));
    assert_eq!(
        event_type::v2::core::account_configuration_customer::UPDATED,
        "v2.core.account[configuration.customer].updated"
    );
}

#[test]
fn nearest_finds_intended_name() {
    assert_eq!(nearest("payment_intent.succeded"), Some("payment_intent.succeeded"));
    assert_eq!(nearest("invoice.piad"), Some("invoice.paid"));
    assert_eq!(nearest("completely different"), None);
    for EventType { name, .. } in all().iter().step_by(29) {
        assert_eq!(nearest(name), Some(*name));
    }
}
