//! Mail by SMTP.

use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{Mailbox, MultiPart},
};

/// Sends mail.
#[derive(Clone)]
pub struct Mailer {
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Mailer {
    /// Creates a mailer for a server such as `smtps://user:password@host`.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url)?.build();
        Ok(Self { from: "The Shop <shop@example.com>".parse()?, transport })
    }

    /// Sends a mail. Returns whether it was sent: a mail that the server rejects for good is
    /// logged, because to send it again would not help.
    pub(crate) async fn send(
        &self,
        id: &str,
        to: &str,
        subject: &str,
        text: String,
        html: String,
    ) -> anyhow::Result<bool> {
        let Ok(to) = to.parse() else {
            tracing::error!(id, "the mail address of a customer is malformed; no mail is sent");
            return Ok(false);
        };
        let message = Message::builder()
            .message_id(Some(format!("<{id}@example.com>")))
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .multipart(MultiPart::alternative_plain_html(text, html))?;
        match self.transport.send(message).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_permanent() => {
                tracing::error!(id, %error, "the mail server rejected a mail; it is not sent");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}
