//! The committed table is sorted, unique, and says what the committed data says.

use router_catalog::{EventType, Kind, Pattern, all, lookup, nearest};

const SOURCE: &str = include_str!("../data/event-types.tsv");

#[test]
fn the_table_is_sorted_and_unique() {
    assert!(all().windows(2).all(|pair| pair[0].name < pair[1].name));
}

#[test]
fn every_row_of_the_data_is_found_as_it_stands() {
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
fn a_name_that_is_not_there_is_not_found() {
    for name in
        ["", "payment_intent", "payment_intent.succeeded.", "zzz", "PAYMENT_INTENT.SUCCEEDED"]
    {
        assert_eq!(lookup(name), None, "{name}");
    }
}

#[test]
fn a_prefix_is_known_when_a_type_begins_with_it() {
    assert!(Pattern::Prefix("customer.subscription").is_known());
    assert!(Pattern::Prefix("v2.core.account[identity]").is_known());
    assert!(!Pattern::Prefix("customer.subscriptions").is_known());
    assert!(!Pattern::Prefix("invoice.paid").is_known());
}

#[test]
fn a_typo_finds_the_name_that_was_meant() {
    assert_eq!(nearest("payment_intent.succeded"), Some("payment_intent.succeeded"));
    assert_eq!(nearest("invoice.piad"), Some("invoice.paid"));
    assert_eq!(nearest("completely different"), None);
    for EventType { name, .. } in all().iter().step_by(29) {
        assert_eq!(nearest(name), Some(*name));
    }
}
