//! Delivers signed events to handlers that take async-stripe's types.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use router_core::{
    Object, Router, State, build::BuildError, on_event,
    testing::{SyntheticEvent, TestRouter},
};
use stripe_shared::{
    Charge, ChargeStatus, CheckoutSession, CheckoutSessionPaymentStatus, CheckoutSessionStatus,
    Customer, Dispute, DisputeStatus, Invoice, InvoiceStatus, PaymentIntent, PaymentIntentStatus,
    PaymentMethod, PaymentMethodType, Payout, PayoutType, Refund, Subscription, SubscriptionStatus,
};

/// The ids of the objects that the handlers received.
#[derive(Default)]
struct Seen(Mutex<Vec<String>>);

impl Seen {
    fn record(&self, id: &str) {
        self.0.lock().unwrap().push(id.to_owned());
    }

    fn take(&self) -> Vec<String> {
        mem::take(&mut self.0.lock().unwrap())
    }
}

#[on_event("payment_intent.succeeded", name = "payment_intent")]
async fn payment_intent(intent: Object<PaymentIntent>, seen: State<Seen>) {
    assert_eq!(intent.status, PaymentIntentStatus::Succeeded);
    assert_eq!(intent.amount_received, intent.amount);
    assert!(intent.latest_charge.as_ref().unwrap().id().starts_with("ch_"));
    seen.record(&intent.id);
}

#[on_event("charge.succeeded", name = "charge")]
async fn charge(charge: Object<Charge>, seen: State<Seen>) {
    assert_eq!((charge.paid, &charge.status), (true, &ChargeStatus::Succeeded));
    assert_eq!(charge.amount_captured, charge.amount);
    seen.record(&charge.id);
}

#[on_event("invoice.paid", name = "invoice")]
async fn invoice(invoice: Object<Invoice>, seen: State<Seen>) {
    assert_eq!(invoice.status, Some(InvoiceStatus::Paid));
    assert_eq!((invoice.amount_paid, invoice.amount_remaining), (invoice.amount_due, 0));
    assert!(invoice.lines.data[0].id.starts_with("il_"));
    seen.record(invoice.id.as_ref().unwrap());
}

#[on_event("customer.subscription.created", name = "subscription")]
async fn subscription(subscription: Object<Subscription>, seen: State<Seen>) {
    assert_eq!(subscription.status, SubscriptionStatus::Active);
    assert!(subscription.items.data[0].price.id.starts_with("price_"));
    seen.record(&subscription.id);
}

#[on_event("checkout.session.completed", name = "checkout.session")]
async fn checkout_session(session: Object<CheckoutSession>, seen: State<Seen>) {
    assert_eq!(session.status, Some(CheckoutSessionStatus::Complete));
    assert_eq!(session.payment_status, CheckoutSessionPaymentStatus::Paid);
    assert!(session.amount_total > Some(0));
    seen.record(&session.id);
}

#[on_event("customer.created", name = "customer")]
async fn customer(customer: Object<Customer>, seen: State<Seen>) {
    assert_eq!(customer.balance, Some(0));
    assert!(customer.email.as_ref().unwrap().contains('@'));
    seen.record(&customer.id);
}

#[on_event("payment_method.attached", name = "payment_method")]
async fn payment_method(method: Object<PaymentMethod>, seen: State<Seen>) {
    assert_eq!(method.type_, PaymentMethodType::Card);
    assert_eq!(method.card.as_ref().unwrap().last4, "4242");
    assert!(method.customer.as_ref().unwrap().id().starts_with("cus_"));
    seen.record(&method.id);
}

#[on_event("charge.dispute.created", name = "dispute")]
async fn dispute(dispute: Object<Dispute>, seen: State<Seen>) {
    assert_eq!(dispute.status, DisputeStatus::NeedsResponse);
    assert!(dispute.charge.id().starts_with("ch_"));
    seen.record(&dispute.id);
}

#[on_event("refund.created", name = "refund")]
async fn refund(refund: Object<Refund>, seen: State<Seen>) {
    assert_eq!(refund.status.as_deref(), Some("succeeded"));
    assert!(refund.charge.as_ref().unwrap().id().starts_with("ch_"));
    seen.record(&refund.id);
}

#[on_event("payout.paid", name = "payout")]
async fn payout(payout: Object<Payout>, seen: State<Seen>) {
    assert_eq!((payout.status.as_str(), &payout.type_), ("paid", &PayoutType::BankAccount));
    seen.record(&payout.id);
}

/// The handlers, each named after its object, with their event types.
const EVENTS: [(&str, &str); 10] = [
    ("charge", "charge.succeeded"),
    ("checkout.session", "checkout.session.completed"),
    ("customer", "customer.created"),
    ("dispute", "charge.dispute.created"),
    ("invoice", "invoice.paid"),
    ("payment_intent", "payment_intent.succeeded"),
    ("payment_method", "payment_method.attached"),
    ("payout", "payout.paid"),
    ("refund", "refund.created"),
    ("subscription", "customer.subscription.created"),
];

#[tokio::test]
async fn handlers_receive_typed_object() {
    let (shop, seen) = shop().unwrap();
    for (name, event_type) in EVENTS {
        let answer = shop.deliver(SyntheticEvent::new(event_type).set("id", name)).await;
        let handler = answer.handler(name);
        assert!(handler.is_done(), "{:?}", handler.result());
        assert_eq!(seen.take(), [name]);
    }
}

#[tokio::test]
async fn field_of_wrong_type_becomes_dead_letter_with_path() {
    let (shop, seen) = shop().unwrap();
    let mut cases = EVENTS.map(|(name, event_type)| (name, event_type, "created")).to_vec();
    cases.extend([
        ("invoice", "invoice.paid", "lines.data[0].period.end"),
        ("payment_method", "payment_method.attached", "card.exp_year"),
    ]);
    for (name, event_type, path) in cases {
        let answer = shop.deliver(SyntheticEvent::new(event_type).set(path, "soon")).await;
        // Permanent: a redelivery would fail the same way.
        assert_eq!(answer.status(), 200);
        let failure = answer.handler(name).result().unwrap_err();
        assert!(failure.is_permanent());
        let error = failure.to_string();
        assert!(
            error.contains(&format!(": `data.object` does not decode at `{path}`: ")),
            "{error}"
        );
    }
    assert!(seen.take().is_empty());
}

/// Returns a router with the handlers above, and the record of the objects they received.
fn shop() -> Result<(TestRouter, Arc<Seen>), BuildError> {
    let seen = Arc::new(Seen::default());
    Ok((TestRouter::new(Router::builder().shared_state(seen.clone()))?, seen))
}
