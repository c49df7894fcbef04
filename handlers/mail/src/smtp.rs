//! The connection to a mail server.

use std::{fmt, net::IpAddr, time::Duration};

use lettre::{
    Message,
    transport::smtp::{
        authentication::{Credentials, DEFAULT_MECHANISMS},
        client::{AsyncSmtpConnection, Tls, TlsParameters},
        extension::ClientId,
    },
};
use percent_encoding::percent_decode_str;
use router_core::{
    Failure,
    clock::{Clock as _, SystemClock},
};
use url::Url;

use crate::mailer::MailerError;

type SmtpError = lettre::transport::smtp::Error;

/// Default timeout for the conversation about one mail. It is below that of handlers, 20 s.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Timeout for the end of a connection, after the server has accepted the mail.
const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// A mail server.
pub(crate) struct Smtp {
    host: String,
    port: u16,
    encryption: Encryption,
    tls: Tls,
    credentials: Option<Credentials>,
    /// The domain with which the client introduces itself.
    hello: ClientId,
    /// Timeout for the conversation about one mail.
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encryption {
    /// Plain text, only on the loopback interface.
    Loopback,
    StartTls,
    Tls,
}

impl Smtp {
    /// Parses the URL. `hello` is the domain with which the client introduces itself.
    pub(crate) fn new(url: &str, hello: &str) -> Result<Self, MailerError> {
        let parts = UrlParts::parse(url).map_err(MailerError::Url)?;
        let UrlParts { encryption, host, port, login } = parts;
        let parameters = || TlsParameters::new(host.clone()).map_err(MailerError::Tls);
        let tls = match encryption {
            Encryption::Loopback => Tls::None,
            Encryption::StartTls => Tls::Required(parameters()?),
            Encryption::Tls => Tls::Wrapper(parameters()?),
        };
        let credentials = login.map(|(user, password)| Credentials::new(user, password));
        let hello = ClientId::Domain(hello.to_owned());
        Ok(Self { host, port, encryption, tls, credentials, hello, timeout: TIMEOUT })
    }

    pub(crate) async fn send(&self, message: Message, to: &str) -> Result<(), Failure> {
        let mut connection = tokio::select! {
            accepted = self.deliver(&message) => accepted.map_err(|error| self.failure(&error, to))?,
            () = SystemClock.sleep(self.timeout) => {
                return Err(Failure::retry(SendError::Timeout(self.server(), self.timeout)));
            }
        };
        // The server is responsible for the mail now, so a failure to quit must not send it again.
        tokio::select! {
            () = connection.abort() => {}
            () = SystemClock.sleep(QUIT_TIMEOUT) => {}
        }
        Ok(())
    }

    /// Connects to the server, and returns the connection once the server has accepted the mail.
    async fn deliver(&self, message: &Message) -> Result<AsyncSmtpConnection, SmtpError> {
        let (server, hello) = ((&*self.host, self.port), &self.hello);
        let wrapper = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, None, hello, wrapper, None).await?;
        if let Tls::Required(parameters) = &self.tls {
            connection.starttls(parameters.clone(), hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        connection.send(message.envelope(), &message.formatted()).await?;
        Ok(connection)
    }

    /// Returns the host and the port.
    pub(crate) fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn failure(&self, error: &SmtpError, to: &str) -> Failure {
        let (server, reply) = (self.server(), without_addresses(&error.to_string(), to));
        match error.is_permanent() && !is_login_error(error) {
            true => Failure::permanent(SendError::Rejected(server, reply)),
            false => Failure::retry(SendError::NotAccepted(server, reply)),
        }
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.server(), self.encryption)
    }
}

/// The error of a mail. It does not have lettre's error as its source, because a server's reply may
/// contain the recipient's address.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("the mail server {0} rejected the mail: {1}")]
    Rejected(String, String),
    #[error("the mail server {0} did not accept the mail: {1}")]
    NotAccepted(String, String),
    #[error("the mail server {0} did not accept the mail within {1:?}")]
    Timeout(String, Duration),
}

/// Returns whether the server asks for a login or rejects it (RFC 4954, section 6). The operator
/// can correct the login, so the mail is retried although the reply is permanent.
fn is_login_error(error: &SmtpError) -> bool {
    error.status().is_some_and(|code| [530, 534, 535, 538].contains(&u16::from(code)))
}

/// Replaces mail addresses in a reply, and the part of the recipient's address before the `@`.
fn without_addresses(reply: &str, to: &str) -> String {
    let local = to.rsplit_once('@').map_or(to, |(local, _)| local);
    // The part before the `@` may be a quoted text with spaces.
    let reply = reply.replace(to, "(address)");
    let is_boundary = |c: char| c.is_whitespace() || "<>()[]\"',;:=".contains(c);
    let pieces = reply.split_inclusive(is_boundary).map(|piece| {
        let word = piece.trim_end_matches(is_boundary);
        let is_address = word.contains('@') || word.eq_ignore_ascii_case(local);
        if is_address { piece.replacen(word, "(address)", 1) } else { piece.to_owned() }
    });
    pieces.collect()
}

/// The parts of a server's URL.
struct UrlParts {
    encryption: Encryption,
    host: String,
    port: u16,
    login: Option<(String, String)>,
}

impl UrlParts {
    fn parse(url: &str) -> Result<Self, &'static str> {
        let url = Url::parse(url).map_err(|_| "it has no scheme, or an invalid host or port")?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("the host is missing")?;
        // A `/`, `?` or `#` in a password ends the host.
        if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
            return Err("nothing may follow the host and the port; write / as %2F, ? as %3F, and \
                        # as %23 in a password");
        }
        // An IPv6 address is in brackets.
        let host = host.trim_matches(['[', ']']).to_owned();
        let is_loopback =
            host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
        let (encryption, port) = match url.scheme() {
            "smtps" => (Encryption::Tls, 465),
            "smtp" if is_loopback => (Encryption::Loopback, 25),
            "smtp" => (Encryption::StartTls, 587),
            _ => return Err("it must begin with smtp:// or smtps://"),
        };
        let decode = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(String::from).map_err(|_| "the user or the password is not UTF-8")
        };
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            (user, Some(password)) => Some((decode(user)?, decode(password)?)),
            (_, None) => return Err("the password is missing"),
        };
        Ok(Self { encryption, host, port: url.port().unwrap_or(port), login })
    }
}

#[cfg(test)]
mod tests {
    use lettre::{
        message::{Mailbox, MultiPart},
        transport::smtp::client::Certificate,
    };
    use router_test_servers::smtp::{self, Server};

    use super::*;

    /// Creates a client of the server that trusts this certificate.
    fn client(server: &Server, encryption: Encryption, certificate: &str) -> Smtp {
        let url = server.url().replacen("smtp:", "smtps:", 1);
        let root = Certificate::from_pem(certificate.as_bytes()).expect("certificate is valid");
        let parameters = TlsParameters::builder("127.0.0.1".to_owned()).add_root_certificate(root);
        let parameters = parameters.build().expect("certificate is valid");
        let tls = match encryption {
            Encryption::Loopback => Tls::None,
            Encryption::StartTls => Tls::Required(parameters),
            Encryption::Tls => Tls::Wrapper(parameters),
        };
        Smtp { encryption, tls, ..Smtp::new(&url, "example.com").expect("URL is valid") }
    }

    fn mail() -> Message {
        let mailbox = |address: &str| Mailbox::new(None, address.parse().expect("is an address"));
        let message = Message::builder().from(mailbox("shop@example.com"));
        let (text, html) = ("Thanks".to_owned(), "<p>Thanks</p>".to_owned());
        let body = MultiPart::alternative_plain_html(text, html);
        message.to(mailbox("jenny@example.com")).multipart(body).expect("mail is complete")
    }

    /// A URL with a loopback address never selects STARTTLS, so the test selects the encryption.
    #[tokio::test]
    async fn mails_are_sent_encrypted() {
        let Some(mut server) = Server::start() else { return };
        for (mode, encryption) in [
            (smtp::Encryption::StartTls, Encryption::StartTls),
            (smtp::Encryption::Tls, Encryption::Tls),
        ] {
            let certificate = server.encrypt(mode);
            let before = server.mails().len();
            let client = client(&server, encryption, &certificate);
            client.send(mail(), "jenny@example.com").await.unwrap();
            assert_eq!(server.mails().len(), before + 1, "{encryption:?}");
        }
    }

    /// A server gets no mail if it does not offer encryption, or if its certificate is not trusted.
    #[tokio::test]
    async fn unencrypted_and_untrusted_servers_get_no_mail() {
        let Some(mut server) = Server::start() else { return };
        let mut other_server = Server::start().expect("another server has started");
        let other_certificate = other_server.encrypt(smtp::Encryption::StartTls);
        let no_encryption = client(&server, Encryption::StartTls, &other_certificate);
        let failure = no_encryption.send(mail(), "jenny@example.com").await.unwrap_err();
        assert!(format!("{failure:?}").contains("STARTTLS"), "{failure:?}");
        server.encrypt(smtp::Encryption::StartTls);
        let wrong_certificate = client(&server, Encryption::StartTls, &other_certificate);
        let failure = wrong_certificate.send(mail(), "jenny@example.com").await.unwrap_err();
        let failure = format!("{failure:?}");
        assert!(failure.contains("certificate") && !failure.contains(smtp::PASSWORD), "{failure}");
        assert_eq!(server.mails().len(), 0);
    }

    #[test]
    fn urls_select_encryption_and_port() {
        for (url, encryption, host, port) in [
            ("smtp://mail.example.com", Encryption::StartTls, "mail.example.com", 587),
            ("smtp://u:p@mail.example.com:2525/", Encryption::StartTls, "mail.example.com", 2525),
            ("smtps://mail.example.com", Encryption::Tls, "mail.example.com", 465),
            ("smtps://localhost", Encryption::Tls, "localhost", 465),
            ("smtp://localhost", Encryption::Loopback, "localhost", 25),
            ("smtp://127.0.0.1:1025", Encryption::Loopback, "127.0.0.1", 1025),
            ("smtp://[::1]:1025", Encryption::Loopback, "::1", 1025),
            // A host that merely begins like a loopback address.
            ("smtp://127.0.0.1.example.com", Encryption::StartTls, "127.0.0.1.example.com", 587),
        ] {
            let parts = UrlParts::parse(url).unwrap();
            assert_eq!((parts.encryption, &*parts.host, parts.port), (encryption, host, port));
        }
    }

    #[test]
    fn login_is_percent_decoded() {
        let parts = UrlParts::parse("smtp://shop%40example.com:a%2Fb%3F@localhost").unwrap();
        assert_eq!(parts.login, Some(("shop@example.com".into(), "a/b?".into())));
    }

    #[test]
    fn malformed_url_is_refused_without_password() {
        for (url, reason) in [
            ("localhost:25", "the host is missing"),
            ("mail.example.com", "it has no scheme"),
            ("http://u:s3cret@localhost", "it must begin with smtp://"),
            ("smtp://u:s3cret@", "it has no scheme, or an invalid host"),
            ("smtp://u:s3cret@localhost:99999", "an invalid host or port"),
            ("smtp://u:1/s3cret@localhost", "nothing may follow"),
            ("smtp://u:1?s3cret@localhost", "nothing may follow"),
            ("smtp://u:1#s3cret@localhost", "nothing may follow"),
            ("smtp://u@localhost", "the password is missing"),
            ("smtp://u:%ff@localhost", "not UTF-8"),
        ] {
            let error = Smtp::new(url, "example.com").unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("s3cret"), "{url}: {error}");
        }
    }

    #[test]
    fn replies_are_shown_without_addresses() {
        for (reply, shown) in [
            ("550 5.1.1 <Jenny@example.com>: unknown", "550 5.1.1 <(address)>: unknown"),
            ("550 no mailbox 'jenny' here", "550 no mailbox '(address)' here"),
            ("550 to=jenny@EXAMPLE.com,a@b", "550 to=(address),(address)"),
            ("550 full", "550 full"),
        ] {
            assert_eq!(without_addresses(reply, "jenny@example.com"), shown);
        }
        let quoted = r#""jenny rosen"@example.com"#;
        let reply = format!("550 <{quoted}>: unknown");
        assert_eq!(without_addresses(&reply, quoted), "550 <(address)>: unknown");
    }
}
