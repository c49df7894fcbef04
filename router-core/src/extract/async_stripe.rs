//! Implementations of [`StripeObject`] for the types of [async-stripe]. A handler that takes one of
//! them from an event which carries another object does not compile. An event of an API version
//! that the types were not made for is logged.
//!
//! ```compile_fail,E0080
//! use router_core::{Object, on_event};
//! use stripe_shared::PaymentIntent;
//!
//! #[on_event("invoice.paid")] // carries an `invoice`
//! async fn ship(intent: Object<PaymentIntent>) {}
//! ```
//!
//! [async-stripe]: https://docs.rs/async-stripe-shared

use std::{any::type_name, sync::LazyLock};

use super::StripeObject;
use crate::event::{ApiVersion, Event, SeenVersions};

/// Logs an event whose object is decoded as a type of async-stripe for another API version, once
/// per version. Such an object often decodes without an error, but without the fields that have
/// moved. Does not see a type of async-stripe inside another type.
pub(super) fn warn_of_other_version<T>(event: &Event) {
    static SEEN: LazyLock<SeenVersions> = LazyLock::new(SeenVersions::default);

    let types = stripe_shared::version::VERSION;
    // The type need not be `'static`, so it has no `TypeId`.
    let Some(found) =
        event.api_version().filter(|_| type_name::<T>().starts_with("stripe_shared::"))
    else {
        return;
    };
    let version = ApiVersion::new(found);
    if version.is_compatible_with(ApiVersion::new(types.as_str())) {
        return;
    }
    if SEEN.insert(version) == Some(true) {
        tracing::warn!(
            event.id = event.id(),
            event.r#type = event.event_type(),
            expected = types.as_str(),
            found,
            "an event has another API version than async-stripe's types, so fields of its object \
             may be missing or differ; create a webhook endpoint with the version of the types at \
             Stripe, or decode the object into a type of your own; logged once per version"
        );
    }
}

macro_rules! objects {
    ($($type:ident => $object:literal)+) => {
        $(
            impl StripeObject for stripe_shared::$type {
                const OBJECT: &'static str = $object;
            }
        )+

        /// The name of each object, with a function that decodes a sample into its type.
        #[cfg(test)]
        const OBJECTS: &[(&str, fn(&serde_json::Value) -> serde_json::Result<()>)] =
            &[$(($object, tests::decode::<stripe_shared::$type>)),+];
    };
}

// The names are the values of `object` that async-stripe itself serializes. The list omits:
// - `Deleted…` types, because the event of a deletion carries the whole object;
// - enums of several objects, which decode but are not checked;
// - objects for which async-stripe-shared has no type, such as quotes.
objects! {
    Account => "account"
    Application => "application"
    ApplicationFee => "application_fee"
    BankAccount => "bank_account"
    BillingCreditBalanceTransaction => "billing.credit_balance_transaction"
    BillingCreditGrant => "billing.credit_grant"
    Capability => "capability"
    Card => "card"
    CashBalance => "cash_balance"
    Charge => "charge"
    CheckoutSession => "checkout.session"
    Coupon => "coupon"
    CreditNote => "credit_note"
    Customer => "customer"
    CustomerCashBalanceTransaction => "customer_cash_balance_transaction"
    Discount => "discount"
    Dispute => "dispute"
    ApplicationFeeRefund => "fee_refund"
    File => "file"
    Invoice => "invoice"
    InvoicePayment => "invoice_payment"
    IssuingAuthorization => "issuing.authorization"
    IssuingCard => "issuing.card"
    IssuingCardholder => "issuing.cardholder"
    IssuingDispute => "issuing.dispute"
    IssuingPersonalizationDesign => "issuing.personalization_design"
    IssuingToken => "issuing.token"
    IssuingTransaction => "issuing.transaction"
    Mandate => "mandate"
    PaymentIntent => "payment_intent"
    PaymentLink => "payment_link"
    PaymentMethod => "payment_method"
    Payout => "payout"
    Person => "person"
    Plan => "plan"
    Price => "price"
    Product => "product"
    PromotionCode => "promotion_code"
    Refund => "refund"
    Review => "review"
    SetupIntent => "setup_intent"
    Source => "source"
    SourceTransaction => "source_transaction"
    Subscription => "subscription"
    SubscriptionSchedule => "subscription_schedule"
    TaxId => "tax_id"
    TaxRate => "tax_rate"
    TestHelpersTestClock => "test_helpers.test_clock"
    Topup => "topup"
    Transfer => "transfer"
}

#[cfg(test)]
mod tests {
    use std::{
        fmt::{Debug, Write as _},
        sync::{Arc, Mutex},
    };

    use router_catalog::{Kind, samples::Sampler};
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};
    use tracing::{
        Metadata, Subscriber,
        field::{Field, Visit},
        span,
    };

    use super::OBJECTS;
    use crate::{
        event::{Event, Receipt},
        extract::{FromEvent as _, Object},
        signature::EndpointName,
    };

    pub(super) fn decode<T: DeserializeOwned>(sample: &Value) -> serde_json::Result<()> {
        T::deserialize(sample).map(drop)
    }

    #[test]
    fn every_object_is_carried_by_an_event() {
        for (name, _) in OBJECTS {
            let mut snapshots = router_catalog::all().iter().filter(|e| e.kind == Kind::Snapshot);
            assert!(snapshots.any(|event_type| event_type.carries(name)), "{name}");
        }
    }

    #[test]
    fn every_type_decodes_a_sample_of_its_object() {
        // The samples come from the official SDK's type declarations, independent of async-stripe.
        let sampler = Sampler::new(0, 1_790_000_000);
        let failures: Vec<_> = OBJECTS
            .iter()
            .filter_map(|(name, decode)| {
                let sample =
                    sampler.object(name).expect("the catalog has a sample of every object");
                Some((name, decode(&sample).err()?))
            })
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    /// Collects the fields of all log lines.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<String>>);

    impl Visit for Log {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            write!(self.0.lock().unwrap(), " {field}={value:?}").unwrap();
        }
    }

    impl Subscriber for Log {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut self.clone());
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[tokio::test]
    async fn object_of_another_api_version_is_logged_once_per_version() {
        #[derive(serde::Deserialize)]
        struct Own {}

        let log = Log::default();
        let _guard = tracing::subscriber::set_default(log.clone());
        let event = |version: &str| {
            let invoice = Sampler::new(0, 1_790_000_000).object("invoice").unwrap();
            let event = json!({
                "id": "evt_1", "object": "event", "type": "invoice.paid", "api_version": version,
                "data": {"object": invoice},
            });
            let endpoint = EndpointName::new(EndpointName::DEFAULT);
            Event::from_payload(event.to_string().into(), Receipt::new(endpoint, None)).unwrap()
        };
        let current = stripe_shared::version::VERSION.as_str();
        for (version, warnings) in [
            (current, 0),
            (&*format!("{current};a=v1"), 0),
            ("2022-11-15", 1),
            ("2022-11-15;a=v1", 0),
            ("2025-03-31.basil", 1),
        ] {
            Object::<Own>::from_event(&event(version), ()).await.unwrap();
            assert_eq!(*log.0.lock().unwrap(), "", "a type of our own, {version}");
            Object::<stripe_shared::Invoice>::from_event(&event(version), ()).await.unwrap();
            let line = std::mem::take(&mut *log.0.lock().unwrap());
            let message = "an event has another API version than async-stripe's types";
            assert_eq!(line.matches(message).count(), warnings, "{version}: {line}");
            assert!(warnings == 0 || line.contains(&format!("found={version:?}")), "{line}");
        }
    }
}
