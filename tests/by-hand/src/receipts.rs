//! Receipts by mail: one for each payment.

use askama::Template;
use sqlx::SqliteConnection;
use stripe_shared::{Charge, Invoice};

use crate::{Shop, amount::Amount};

/// Mails a receipt for a paid invoice. Returns the receipt's key if it was sent.
pub(crate) async fn invoice_paid(shop: &Shop, invoice: &Invoice) -> anyhow::Result<Option<String>> {
    let (Some(id), Some(to)) = (&invoice.id, &invoice.customer_email) else { return Ok(None) };
    if invoice.amount_paid == 0 {
        return Ok(None);
    }
    let receipt = Receipt {
        subject: format!("Receipt for invoice {}", invoice.number.as_deref().unwrap_or(id)),
        name: invoice.customer_name.as_deref(),
        amount: Amount { units: invoice.amount_paid, currency: &invoice.currency.to_string() },
        url: invoice.hosted_invoice_url.as_deref(),
    };
    receipt.send(shop, id, to).await
}

/// Mails a receipt for a payment without an invoice: of a charge with an `order_id` in its
/// metadata. Returns the receipt's key if it was sent.
pub(crate) async fn charge_succeeded(
    shop: &Shop,
    charge: &Charge,
) -> anyhow::Result<Option<String>> {
    let Some(order) = charge.metadata.get("order_id") else { return Ok(None) };
    let Some(to) = &charge.billing_details.email else { return Ok(None) };
    // The payment is only authorized.
    if charge.amount_captured == 0 {
        return Ok(None);
    }
    let receipt = Receipt {
        subject: format!("Receipt for order {order}"),
        name: charge.billing_details.name.as_deref(),
        amount: Amount { units: charge.amount_captured, currency: &charge.currency.to_string() },
        url: None,
    };
    let payment = charge.payment_intent.as_ref().map(|intent| intent.id().as_str());
    receipt.send(shop, payment.unwrap_or(&charge.id), to).await
}

/// Records that a receipt was sent.
pub(crate) async fn record(tx: &mut SqliteConnection, key: &str) -> sqlx::Result<()> {
    let statement = "insert into sent_mails (key) values ($1) on conflict do nothing";
    sqlx::query(statement).bind(key).execute(tx).await?;
    Ok(())
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
    async fn send(&self, shop: &Shop, payment: &str, to: &str) -> anyhow::Result<Option<String>> {
        let key = format!("receipt {payment}");
        let sent = "select exists (select 1 from sent_mails where key = $1)";
        if sqlx::query_scalar(sent).bind(&key).fetch_one(&shop.pool).await? {
            return Ok(None);
        }
        let (text, html) = (TextPart { receipt: self }, HtmlPart { receipt: self });
        let sent = shop.mailer.send(payment, to, &self.subject, text.render()?, html.render()?);
        Ok(sent.await?.then_some(key))
    }
}
