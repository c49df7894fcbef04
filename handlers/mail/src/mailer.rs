//! Mail with a text and an HTML part, sent by SMTP or written to a folder.

use std::{
    fmt, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use lettre::{
    Address, Message,
    message::{
        Mailbox, MultiPart,
        header::{HeaderName, HeaderValue},
    },
};
use router_core::{
    Failure,
    clock::{Clock as _, SystemClock},
    handler::is_unsafe_char,
};

use crate::smtp::Smtp;

/// Sends mail. A handler takes it as a `State<Mailer>`.
///
/// - [`Mailer::smtp`] sends to a mail server, with a new connection for each mail.
/// - [`Mailer::folder`] writes each mail to a file `<id>.eml`, which mail programs open.
///
/// Neither `Debug` output nor an error shows the password of the server or a recipient's address.
pub struct Mailer {
    from: Mailbox,
    transport: Transport,
}

/// A mail to one recipient.
#[derive(Clone)]
pub struct Mail<'m> {
    /// The recipient's address.
    pub to: &'m str,
    /// The recipient's name, if it is known. Control characters are replaced by spaces.
    pub name: Option<&'m str>,
    /// The subject. Control characters are replaced by spaces.
    pub subject: &'m str,
    /// The text part.
    pub text: String,
    /// The HTML part.
    pub html: String,
}

/// An error in the settings of a [`Mailer`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailerError {
    /// The URL of the server is malformed. The error does not repeat it, because it may contain a
    /// password.
    #[error(
        "invalid URL of the mail server: {0} (expected smtp://user:password@host:587 for STARTTLS, \
         or smtps://user:password@host:465 for TLS; special characters percent-encoded)"
    )]
    Url(&'static str),
    /// The sender's address is malformed.
    #[error("invalid sender {0:?} (expected an address such as \"Shop <shop@example.com>\")")]
    Sender(String),
    /// TLS cannot be used, for example because the system has no certificates.
    #[error("failed to set up TLS for mail")]
    Tls(#[source] lettre::transport::smtp::Error),
    /// The folder cannot be created.
    #[error("failed to create the folder {} for mail", .0.display())]
    Folder(PathBuf, #[source] io::Error),
}

impl Mailer {
    /// Creates a mailer for a server. The URL is `smtp://user:password@host:587`, which requires
    /// STARTTLS except on the loopback interface, or `smtps://user:password@host:465`, which is TLS
    /// from the start. Login and port are optional. Certificates are verified against the system's
    /// root certificates. The sender is an address, with or without a name:
    /// `Shop <shop@example.com>`.
    ///
    /// # Errors
    ///
    /// - Fails if the URL or the sender is malformed.
    /// - Fails if TLS cannot be set up.
    pub fn smtp(url: &str, from: &str) -> Result<Self, MailerError> {
        let from = sender(from)?;
        let smtp = Smtp::new(url, from.email.domain())?;
        Ok(Self { from, transport: Transport::Smtp(Box::new(smtp)) })
    }

    /// Sets the timeout for the whole conversation about a mail; default: 15 s. It should be below
    /// the [timeout of the handler](router_core::build::RouterBuilder::handler_timeout), 20 s by
    /// default, so that the failure names the server. It has no effect on a folder.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        if let Transport::Smtp(smtp) = &mut self.transport {
            smtp.timeout = timeout;
        }
        self
    }

    /// Creates a mailer that writes each mail to a file in this folder, which is created if it does
    /// not exist. Only the user of the process can read the files.
    ///
    /// # Errors
    ///
    /// - Fails if the sender is malformed.
    /// - Fails if the folder cannot be created.
    pub fn folder(folder: impl Into<PathBuf>, from: &str) -> Result<Self, MailerError> {
        let (folder, from) = (folder.into(), sender(from)?);
        match fs::create_dir_all(&folder) {
            Ok(()) => Ok(Self { from, transport: Transport::Folder(folder) }),
            Err(error) => Err(MailerError::Folder(folder, error)),
        }
    }

    /// Describes the place where mails go, without a password: "the folder outbox" or "the mail
    /// server mail.example.com:587".
    #[must_use]
    pub fn destination(&self) -> String {
        match &self.transport {
            Transport::Smtp(smtp) => format!("the mail server {}", smtp.server()),
            Transport::Folder(folder) => format!("the folder {}", folder.display()),
        }
    }

    /// Sends a mail, and returns once the server is responsible for it.
    ///
    /// The id is of letters and digits, such as an
    /// [`IdempotencyKey`](router_core::IdempotencyKey). It becomes the `Message-ID`, by which mail
    /// systems may recognize a mail that was sent twice, and the name of the file in a folder.
    ///
    /// # Errors
    ///
    /// - Fails permanently if the recipient's address is malformed, or if the server rejects the
    ///   mail with a 5xx reply. The failure has the reply without addresses.
    /// - Fails transiently on a 4xx reply, a rejected login, a timeout, or a connection or TLS that
    ///   fails. If the connection was lost, the server may have accepted the mail.
    /// - Fails transiently if a file cannot be written.
    pub async fn send(&self, id: &str, mail: &Mail<'_>) -> Result<(), Failure> {
        let message = self.message(id, mail)?;
        match &self.transport {
            Transport::Smtp(smtp) => smtp.send(message, mail.to).await,
            Transport::Folder(folder) => {
                let (folder, name) = (folder.clone(), format!("{}.eml", file_name(id)));
                let write = move || write_file(&folder, &name, &message.formatted());
                Ok(tokio::task::spawn_blocking(write).await??)
            }
        }
    }

    fn message(&self, id: &str, mail: &Mail<'_>) -> Result<Message, Failure> {
        // The cause is left out, because it may show the address.
        let to: Address = mail.to.parse().map_err(|_| Failure::permanent(InvalidRecipient))?;
        let auto_submitted = HeaderName::new_from_ascii_str("Auto-Submitted");
        let message = Message::builder()
            .message_id(Some(format!("<{}@{}>", file_name(id), self.from.email.domain())))
            .date(SystemClock.wall())
            .from(self.from.clone())
            .to(Mailbox::new(name_line(mail.name), to))
            .subject(one_line(mail.subject))
            // Asks for no automatic answers, such as out-of-office replies (RFC 3834).
            .raw_header(HeaderValue::new(auto_submitted, "auto-generated".into()))
            .multipart(MultiPart::alternative_plain_html(mail.text.clone(), mail.html.clone()));
        message.map_err(Failure::permanent)
    }
}

enum Transport {
    Smtp(Box<Smtp>),
    Folder(PathBuf),
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Mailer");
        debug.field("from", &self.from.to_string());
        match &self.transport {
            Transport::Smtp(smtp) => debug.field("smtp", smtp),
            Transport::Folder(folder) => debug.field("folder", folder),
        };
        debug.finish()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the recipient's mail address is malformed")]
struct InvalidRecipient;

/// Returns the text without control characters and those that change the direction of text. A line
/// break could otherwise add a header, and makes lettre panic.
fn one_line(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if is_unsafe_char(c) { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns a name as one line, or `None` if it is blank.
pub(crate) fn name_line(name: Option<&str>) -> Option<String> {
    name.map(one_line).filter(|name| !name.is_empty())
}

fn sender(from: &str) -> Result<Mailbox, MailerError> {
    from.parse().map_err(|_| MailerError::Sender(from.to_owned()))
}

/// Returns the id without characters that have a meaning in a path or in a `Message-ID`.
fn file_name(id: &str) -> String {
    id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
}

/// Replaces the file atomically, so that no reader sees half a mail.
fn write_file(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.persist(folder.join(name))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_shown_without_password() {
        let mailer = Mailer::smtp("smtp://shop:s3cret@mail.example.com", "shop@example.com");
        let mailer = mailer.unwrap();
        assert_eq!(mailer.destination(), "the mail server mail.example.com:587");
        let debug = format!("{mailer:?}");
        assert!(debug.contains("mail.example.com:587") && !debug.contains("s3cret"), "{debug}");
    }

    #[test]
    fn malformed_sender_is_refused() {
        let error = Mailer::smtp("smtp://localhost", "the shop").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid sender \"the shop\" (expected an address such as \"Shop \
             <shop@example.com>\")"
        );
    }

    #[test]
    fn one_line_replaces_line_breaks_and_bidi() {
        assert_eq!(one_line("Eve\r\nBcc: a@b\u{202e} x\t"), "Eve Bcc: a@b x");
        assert_eq!(one_line("Zoë 東京"), "Zoë 東京");
    }
}
