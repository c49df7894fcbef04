//! Implementations of [`StripeObject`] for the types of [async-stripe]. A handler that takes one of
//! them from an event which carries another object does not compile.
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

use super::StripeObject;

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
    use router_catalog::{Kind, samples::Sampler};
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::OBJECTS;

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
}
