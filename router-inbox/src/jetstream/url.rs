//! Parses the URL of an inbox.

use std::borrow::Cow;

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use crate::{StoreError, store::parameters};

/// The parts of a URL. `credentials` and `ca` are parameters for `event-router`; a program can also
/// configure its own client.
pub(super) struct InboxUrl {
    pub(super) servers: Vec<ServerAddr>,
    /// The servers in the URL without the password, for error messages.
    pub(super) hosts: String,
    pub(super) login: Option<(String, String)>,
    /// The path of a credentials file.
    pub(super) credentials: Option<String>,
    /// The file with a CA certificate that is trusted in addition to the machine's.
    pub(super) ca: Option<String>,
    pub(super) name: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "invalid URL of the inbox: {0} (expected nats://user:password@host:4222/name, or, for a cluster, \
     nats://user:password@host1:4222,host2:4222,host3:4222/name)"
)]
struct InvalidUrl(&'static str);

const PARAMETERS: [&str; 2] = ["credentials", "ca"];

impl InboxUrl {
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        if let Some((rest, query)) = url.split_once('?') {
            // The query is then a part of the password, which no error may show.
            if query.contains('@') && !rest.contains('@') {
                let reason = "the user or the password contains a ?; write it as %3F";
                return Err(StoreError::misuse(InvalidUrl(reason)));
            }
            parameters::check(query, &PARAMETERS).map_err(StoreError::misuse)?;
        }
        Self::parse_parts(url).map_err(|reason| StoreError::misuse(InvalidUrl(reason)))
    }

    fn parse_parts(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("it has no ://")?;
        if !["nats", "tls"].contains(&scheme) {
            return Err("it must begin with nats://, or with tls:// to require TLS");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, name) = rest.split_once('/').unwrap_or((rest, ""));
        if rest.contains("://") {
            return Err(
                "it contains nats:// more than once; write it only before the first server",
            );
        }
        if name.contains('@') {
            return Err("the user or the password contains a /; write it as %2F");
        }
        let (login, hosts) = match authority.rsplit_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        let server = |host: &str| {
            let server = format!("{scheme}://{host}").parse().ok();
            server.filter(|_| !host.is_empty())
        };
        let servers = hosts.split(',').map(server).collect::<Option<Vec<ServerAddr>>>();
        let servers = servers.ok_or("a host or a port is missing or invalid")?;
        let (mut credentials, mut ca) = (None, None);
        for setting in query.split('&').filter(|setting| !setting.is_empty()) {
            match setting.split_once('=') {
                Some(("credentials", path)) => credentials = Some(percent_decode(path)?),
                Some(("ca", path)) => ca = Some(percent_decode(path)?),
                _ => return Err("a parameter's name contains a %; write it without"),
            }
        }
        let name = (!name.is_empty()).then(|| name.to_owned());
        name.as_deref().map_or(Ok(()), check_name)?;
        let (hosts, login) = (hosts.to_owned(), login.map(parse_login).transpose()?);
        Ok(Self { servers, hosts, login, credentials, ca, name })
    }
}

fn parse_login(login: &str) -> Result<(String, String), &'static str> {
    let (user, password) =
        login.split_once(':').ok_or("a password is missing; write user:password")?;
    if password.contains([':', '@']) {
        return Err(
            "the password contains a : or an @; write them as %3A and %40, and write user:password@ \
             only once, before the first server",
        );
    }
    Ok((percent_decode(user)?, percent_decode(password)?))
}

fn percent_decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Cow::into_owned)
        .map_err(|_| "a % sequence is not valid UTF-8; write a literal % as %25")
}

/// Checks the name of an inbox, which is a part of the subjects.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if matches!(name.len(), 1..=64) && name.bytes().all(is_plain) {
        return Ok(());
    }
    Err("the inbox's name must have 1 to 64 characters: letters, digits, _ and -")
}
