//! The sender's ledger: the rows and mails to which the orders must have led.
//!
//! It does not use the shop's code: what each scenario leads to is written down here.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, value::RawValue};

use super::orders::{Order, created};

/// The tables, each with a query that returns a row as a text.
pub(super) const TABLES: [(&str, &str); 8] = [
    (
        "orders",
        "select concat_ws(' ', session, coalesce(customer, 'null'), payment_intent, amount, \
             currency, state, changed_at, refunded)
         from order_balances",
    ),
    ("refunds", "select concat_ws(' ', refund, payment_intent, amount, state) from refunds"),
    (
        "refunded_charges",
        "select concat_ws(' ', charge, payment_intent, amount) from refunded_charges",
    ),
    (
        "subscriptions",
        "select concat_ws(' ', subscription, customer, status, \
             cast(cancel_at_period_end as integer), cast(deleted as integer), event)
         from subscriptions",
    ),
    (
        "disputes",
        "select concat_ws(' ', dispute, charge, amount, currency, reason, status) from disputes",
    ),
    ("dispute_alerts", "select concat_ws(' ', dispute, due_by) from dispute_alerts"),
    (
        "stripe_objects",
        "select concat_ws(' ', id, object, cast(deleted as integer), data) from stripe_objects",
    ),
    ("sent_mails", "select key from sent_mails"),
];

#[derive(Default)]
pub(super) struct Ledger {
    /// The rows of each table.
    pub(super) rows: BTreeMap<&'static str, BTreeSet<String>>,
    /// The recipient, the subject and the amount of each mail.
    pub(super) mails: BTreeSet<String>,
    /// The ids of all events.
    pub(super) events: BTreeSet<String>,
}

impl Ledger {
    pub(super) fn new(orders: &[Order]) -> Self {
        let mut ledger = Self::default();
        for order in orders {
            ledger.enter(order);
        }
        ledger
    }

    /// Enters the result of an order.
    fn enter(&mut self, order: &Order) {
        match order.scenario {
            "checkout" => {
                self.enter_session(order, "checkout.session.completed", "paid");
                self.enter_payment(order);
            }
            "delayed-payment" => {
                self.enter_session(order, "checkout.session.async_payment_succeeded", "paid");
                self.enter_payment(order);
            }
            "delayed-payment-failed" => {
                self.enter_session(order, "checkout.session.async_payment_failed", "failed");
            }
            "dispute" => {
                self.enter_payment(order);
                let (_, dispute) = order.only("charge.dispute.created");
                let fields = fields(&dispute, &["id", "charge", "amount", "currency", "reason"]);
                self.enter_row("disputes", format!("{fields} won"));
                // Each may be the first to arrive of those that need a response.
                for event_type in ["charge.dispute.created", "charge.dispute.funds_withdrawn"] {
                    let (_, dispute) = order.only(event_type);
                    let due_by = &dispute["evidence_details"]["due_by"];
                    let row = format!("{} {due_by}", text(&dispute["id"]));
                    self.rows.entry("dispute_alerts").or_default().insert(row);
                }
            }
            "refund" => {
                self.enter_payment(order);
                let (_, refund) = order.only("refund.created");
                let row = fields(&refund, &["id", "payment_intent", "amount"]);
                self.enter_row("refunds", format!("{row} succeeded"));
                let (_, charge) = order.only("charge.succeeded");
                let row = fields(&charge, &["id", "payment_intent", "amount"]);
                self.enter_row("refunded_charges", row);
            }
            "subscription-lifecycle" => {
                let (event, subscription) = order.only("customer.subscription.deleted");
                let fields = fields(&subscription, &["id", "customer"]);
                self.enter_row("subscriptions", format!("{fields} canceled 1 1 {}", event.id()));
                let invoices = order.objects("invoice.paid");
                assert_eq!(invoices.len(), 2, "a subscription is paid for two months");
                for invoice in invoices {
                    let subject = format!("Receipt for invoice {}", text(&invoice["number"]));
                    self.enter_receipt(order, &invoice["id"], &subject, &invoice["amount_paid"]);
                }
            }
            other => panic!("no result is known for the scenario {other}"),
        }
        self.enter_objects(order);
        for event in &order.events {
            assert!(self.events.insert(event.id().to_owned()), "two events have an equal id");
        }
    }

    /// Enters a Checkout session, whose event of this type led to its state.
    fn enter_session(&mut self, order: &Order, event_type: &str, state: &str) {
        let (event, session) = order.only(event_type);
        let names = ["id", "customer", "payment_intent", "amount_total", "currency"];
        let row = format!("{} {state} {} 0", fields(&session, &names), created(event));
        self.enter_row("orders", row);
    }

    /// Enters the receipt of a payment without an invoice.
    fn enter_payment(&mut self, order: &Order) {
        let (_, charge) = order.only("charge.succeeded");
        let subject = format!("Receipt for order {}", text(&charge["metadata"]["order_id"]));
        self.enter_receipt(order, &charge["payment_intent"], &subject, &charge["amount"]);
    }

    fn enter_receipt(&mut self, order: &Order, payment: &Value, subject: &str, cents: &Value) {
        self.enter_row("sent_mails", format!("receipt {}", text(payment)));
        let cents = cents.as_u64().expect("amount is a number");
        let amount = format!("USD {}.{:02}", cents / 100, cents % 100);
        let mail = format!("{} {subject} {amount}", order.customer_email);
        assert!(self.mails.insert(mail), "no two mails are equal");
    }

    /// Enters the newest state of each object of an order.
    fn enter_objects(&mut self, order: &Order) {
        let mut newest = BTreeMap::new();
        for event in &order.events {
            let object: Value = event.event().decode_object().expect("object is JSON");
            // An upcoming invoice has no id.
            let Some(id) = object["id"].as_str() else { continue };
            let data: Box<RawValue> = event.event().decode_object().expect("object is JSON");
            let is_deleted = u8::from(event.event_type().ends_with(".deleted"));
            let row = format!("{id} {} {is_deleted} {data}", text(&object["object"]));
            newest.insert(id.to_owned(), row);
        }
        for row in newest.into_values() {
            self.enter_row("stripe_objects", row);
        }
    }

    fn enter_row(&mut self, table: &'static str, row: String) {
        assert!(self.rows.entry(table).or_default().insert(row), "two orders have an equal row");
    }
}

fn fields(object: &Value, names: &[&str]) -> String {
    let values: Vec<_> = names.iter().map(|name| text(&object[name])).collect();
    values.join(" ")
}

/// Returns a text without quotation marks, and any other value as JSON.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
