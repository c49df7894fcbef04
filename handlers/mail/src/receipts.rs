//! Receipts by mail: one for each payment.
//!
//! Stripe sends `charge.succeeded` and `invoice.paid` for the payment of an invoice, and the
//! customer gets the invoice's receipt. Since the API version 2025-03-31.basil a charge does not
//! name its invoice, so [`charge_succeeded`] mails only for a charge with an `order_id` in its
//! metadata. Set it on the PaymentIntent, or as `payment_intent_data[metadata][order_id]` of a
//! Checkout Session that creates no invoice. [Stripe copies it to the charge][1], but no metadata
//! of an invoice.
//!
//! A second event of a payment and a replay send nothing: see [`Outbox`].
//!
//! Stripe also mails a receipt if [`receipt_email`][2] is set or the Dashboard says so.
//!
//! [1]: https://support.stripe.com/questions/how-metadata-works-with-related-objects
//! [2]: https://docs.stripe.com/api/payment_intents/create#create_payment_intent-receipt_email

#![expect(clippy::missing_errors_doc, reason = "only a router calls handlers")]

use std::collections::HashMap;

use askama::Template;
use router_core::{Object, Outcome, handler::HandlerResult, on_event};
use serde::{Deserialize, de::IgnoredAny};

use crate::{Amount, Mail, Outbox, mailer::name_line};

/// The fields that the handler uses of an [invoice](https://docs.stripe.com/api/invoices/object).
#[derive(Debug, Deserialize)]
pub struct Invoice {
    id: String,
    /// In the smallest unit of the currency.
    amount_paid: i64,
    currency: String,
    customer_email: Option<String>,
    customer_name: Option<String>,
    number: Option<String>,
    /// Stripe's page with the invoice.
    hosted_invoice_url: Option<String>,
}

/// The fields that the handler uses of a [charge](https://docs.stripe.com/api/charges/object).
#[derive(Debug, Deserialize)]
pub struct Charge {
    id: String,
    /// In the smallest unit of the currency.
    amount_captured: i64,
    currency: String,
    billing_details: BillingDetails,
    /// The invoice, in API versions before 2025-03-31.basil.
    invoice: Option<IgnoredAny>,
    metadata: HashMap<String, String>,
    payment_intent: Option<String>,
}

#[derive(Debug, Deserialize)]
struct BillingDetails {
    email: Option<String>,
    name: Option<String>,
}

/// Mails a receipt for a paid invoice.
#[on_event("invoice.paid", name = "receipts.invoice_paid")]
pub async fn invoice_paid(invoice: Object<Invoice>, outbox: Outbox) -> HandlerResult {
    if invoice.amount_paid == 0 {
        return Ok(Outcome::ignored("nothing was paid with Stripe, as for a trial"));
    }
    let Some(to) = &invoice.customer_email else {
        return Ok(Outcome::ignored("the invoice has no `customer_email`"));
    };
    let number = invoice.number.as_ref().unwrap_or(&invoice.id);
    let receipt = Receipt {
        subject: format!("Receipt for invoice {number}"),
        name: name_line(invoice.customer_name.as_deref()),
        amount: Amount { units: invoice.amount_paid, currency: &invoice.currency },
        url: invoice.hosted_invoice_url.as_deref(),
    };
    receipt.send(&invoice.id, to, outbox).await
}

/// Mails a receipt for a payment without an invoice.
///
/// The charge of a payment with `capture_method=manual` succeeds when it is authorized, and is paid
/// when it is captured.
#[on_event("charge.succeeded", "charge.captured", name = "receipts.charge_succeeded")]
pub async fn charge_succeeded(charge: Object<Charge>, outbox: Outbox) -> HandlerResult {
    let Some(order) = charge.order() else {
        return Ok(Outcome::ignored("the charge is of an invoice, or has no `order_id`"));
    };
    if charge.amount_captured == 0 {
        return Ok(Outcome::ignored("the payment is only authorized"));
    }
    let Some(to) = &charge.billing_details.email else {
        return Ok(Outcome::ignored("the charge has no `billing_details.email`"));
    };
    let receipt = Receipt {
        subject: format!("Receipt for order {order}"),
        name: name_line(charge.billing_details.name.as_deref()),
        amount: Amount { units: charge.amount_captured, currency: &charge.currency },
        url: None,
    };
    let payment = charge.payment_intent.as_ref().unwrap_or(&charge.id);
    receipt.send(payment, to, outbox).await
}

impl Charge {
    /// Returns the order that the charge pays.
    fn order(&self) -> Option<&str> {
        let order = self.metadata.get("order_id").filter(|_| self.invoice.is_none())?;
        Some(order)
    }
}

/// The content of a receipt.
struct Receipt<'r> {
    subject: String,
    name: Option<String>,
    amount: Amount<'r>,
    url: Option<&'r str>,
}

#[derive(Template)]
#[template(path = "receipt.txt")]
struct TextPart<'r> {
    receipt: &'r Receipt<'r>,
}

#[derive(Template)]
#[template(path = "receipt.html")]
struct HtmlPart<'r> {
    receipt: &'r Receipt<'r>,
}

impl Receipt<'_> {
    /// Sends the receipt, unless the payment has one.
    async fn send(&self, payment: &str, to: &str, outbox: Outbox) -> HandlerResult {
        let mail = Mail {
            to,
            name: self.name.as_deref(),
            subject: &self.subject,
            text: TextPart { receipt: self }.render()?,
            html: HtmlPart { receipt: self }.render()?,
        };
        outbox.send_once(&format!("receipt {payment}"), &mail).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt<'r>(name: &str) -> Receipt<'r> {
        Receipt {
            subject: "Receipt for order 6735".into(),
            name: name_line(Some(name)),
            amount: Amount { units: 2000, currency: "usd" },
            url: Some("https://invoice.stripe.com/i?a=1&b=2"),
        }
    }

    #[test]
    fn charge_of_invoice_pays_no_order() {
        let charge = |invoice: &str, metadata: &str| {
            let json = format!(
                r#"{{"id": "ch_1", "amount_captured": 1, "currency": "usd", "billing_details": {{}},
                    {invoice} "metadata": {metadata}}}"#
            );
            serde_json::from_str::<Charge>(&json).unwrap()
        };
        let order = r#"{"order_id": "6735"}"#;
        assert_eq!(charge("", order).order(), Some("6735"));
        assert_eq!(charge(r#""invoice": null,"#, order).order(), Some("6735"));
        assert_eq!(charge(r#""invoice": "in_1","#, order).order(), None);
        assert_eq!(charge("", "{}").order(), None);
    }

    #[test]
    fn text_part_is_plain() {
        let text = TextPart { receipt: &receipt("Zoë <O'Hara>") }.render().unwrap();
        assert_eq!(
            text,
            "Hello Zoë <O'Hara>,\n\nthank you for your payment. This is your receipt.\n\nReceipt \
             for order 6735\nPaid: USD 20.00\n\nDetails: https://invoice.stripe.com/i?a=1&b=2\n"
        );
        let unnamed = Receipt { url: None, ..receipt(" \r\n") };
        let text = TextPart { receipt: &unnamed }.render().unwrap();
        assert!(text.starts_with("Hello,\n") && text.ends_with("USD 20.00\n"), "{text}");
    }

    #[test]
    fn html_part_escapes_name() {
        let receipt = receipt("<script>alert(1)</script>\n\"'&");
        let html = HtmlPart { receipt: &receipt }.render().unwrap();
        assert!(!html.contains("<script"), "{html}");
        assert!(
            html.contains("&#60;script&#62;alert(1)&#60;/script&#62; &#34;&#39;&#38;,"),
            "{html}"
        );
        assert!(html.contains("i?a=1&#38;b=2\""), "{html}");
    }
}
