//! The typed objects of [async-stripe], tied to their names: a handler that takes one from an event
//! which carries another object does not compile.
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

        /// Each name, and whether a sample decodes into its type.
        #[cfg(test)]
        const OBJECTS: &[(&str, fn(&serde_json::Value) -> serde_json::Result<()>)] =
            &[$(($object, tests::decode::<stripe_shared::$type>)),+];
    };
}

// The names are those that async-stripe itself serialises as `object`. Not here: a `Deleted…`, since
// the event of a deletion carries the whole object; the enums of several objects, which decode and
// are not checked; and what async-stripe-shared has no type for, such as a quote.
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
    fn every_name_is_carried_by_an_event() {
        for (name, _) in OBJECTS {
            let mut snapshots = router_catalog::all().iter().filter(|e| e.kind == Kind::Snapshot);
            assert!(snapshots.any(|event_type| event_type.carries(name)), "{name}");
        }
    }

    #[test]
    fn every_type_decodes_what_its_name_means() {
        // Made from the official SDK's type declarations, which are not async-stripe's.
        let sampler = Sampler::new(0, 1_790_000_000);
        let failures: Vec<_> = OBJECTS
            .iter()
            .filter_map(|(name, decode)| {
                let sample = sampler.object(name).expect("it is one of Stripe's");
                Some((name, decode(&sample).err()?))
            })
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
