//! Receipts by mail: one for each payment.

use std::collections::HashMap;

use askama::Template;
use router_core::{BoxError, Object, State, on_event};
use router_inbox::Tx;
use serde::Deserialize;
use sqlx::{Sqlite, SqlitePool};

use crate::{amount::Amount, mail::Mailer};

#[derive(Deserialize)]
struct Invoice {
    id: String,
    amount_paid: i64,
    currency: String,
    customer_email: Option<String>,
    customer_name: Option<String>,
    number: Option<String>,
    hosted_invoice_url: Option<String>,
}

#[derive(Deserialize)]
struct Charge {
    id: String,
    amount_captured: i64,
    currency: String,
    billing_details: BillingDetails,
    metadata: HashMap<String, String>,
    payment_intent: Option<String>,
}

#[derive(Deserialize)]
struct BillingDetails {
    email: Option<String>,
    name: Option<String>,
}

/// Mails a receipt for a paid invoice.
#[on_event("invoice.paid", name = "receipts.invoice_paid")]
async fn invoice_paid(
    invoice: Object<Invoice>,
    mailer: State<Mailer>,
    pool: State<SqlitePool>,
    tx: Tx<Sqlite>,
) -> Result<(), BoxError> {
    let Some(to) = &invoice.customer_email else { return Ok(()) };
    if invoice.amount_paid == 0 {
        return Ok(());
    }
    let receipt = Receipt {
        subject: format!("Receipt for invoice {}", invoice.number.as_ref().unwrap_or(&invoice.id)),
        name: invoice.customer_name.as_deref(),
        amount: Amount { units: invoice.amount_paid, currency: &invoice.currency },
        url: invoice.hosted_invoice_url.as_deref(),
    };
    receipt.send(&mailer, &pool, tx, &invoice.id, to).await
}

/// Mails a receipt for a payment without an invoice: of a charge with an `order_id` in its
/// metadata.
#[on_event("charge.succeeded", "charge.captured", name = "receipts.charge_succeeded")]
async fn charge_succeeded(
    charge: Object<Charge>,
    mailer: State<Mailer>,
    pool: State<SqlitePool>,
    tx: Tx<Sqlite>,
) -> Result<(), BoxError> {
    let Some(order) = charge.metadata.get("order_id") else { return Ok(()) };
    let Some(to) = &charge.billing_details.email else { return Ok(()) };
    // The payment is only authorized.
    if charge.amount_captured == 0 {
        return Ok(());
    }
    let receipt = Receipt {
        subject: format!("Receipt for order {order}"),
        name: charge.billing_details.name.as_deref(),
        amount: Amount { units: charge.amount_captured, currency: &charge.currency },
        url: None,
    };
    let payment = charge.payment_intent.as_ref().unwrap_or(&charge.id);
    receipt.send(&mailer, &pool, tx, payment, to).await
}

/// The content of a receipt.
struct Receipt<'r> {
    subject: String,
    name: Option<&'r str>,
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
    async fn send(
        &self,
        mailer: &Mailer,
        pool: &SqlitePool,
        mut tx: Tx<Sqlite>,
        payment: &str,
        to: &str,
    ) -> Result<(), BoxError> {
        let key = format!("receipt {payment}");
        let sent = "select exists (select 1 from sent_mails where key = $1)";
        if sqlx::query_scalar(sent).bind(&key).fetch_one(pool).await? {
            return Ok(());
        }
        let (text, html) = (TextPart { receipt: self }, HtmlPart { receipt: self });
        if mailer.send(payment, to, &self.subject, text.render()?, html.render()?).await? {
            let statement = "insert into sent_mails (key) values ($1) on conflict do nothing";
            sqlx::query(statement).bind(key).execute(tx.begin().await?).await?;
        }
        Ok(())
    }
}
