//! Options for Stripe's API, and the routes of the user's program.

use std::{fs, time::Duration};

use clap::Args;
use router_core::handler::ErrorChain;
use router_stripe::{ApiKey, Client, ClientBuilder, ErrorKind, doctor::ProgramRoutes};

use crate::{error::Error, output::sanitize};

/// The environment variable of the API key. An argument would be visible to other users.
const KEY_VARIABLE: &str = "STRIPE_API_KEY";

/// Maximum number of bytes of routes to read, because an answer may be endless.
const MAX_ROUTES: usize = 16 << 20;

/// Options for Stripe's API.
#[derive(Args)]
pub(crate) struct StripeOptions {
    /// Address of Stripe's API.
    #[arg(long, hide = true, value_name = "URL")]
    api_base: Option<String>,
}

impl StripeOptions {
    /// Creates a client with the key in the environment.
    pub(crate) fn client(&self) -> Result<Client, Error> {
        self.client_with(|builder| builder)
    }

    /// Creates a client with the key in the environment and other settings.
    pub(crate) fn client_with(
        &self,
        configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<Client, Error> {
        let key = ApiKey::from_env(KEY_VARIABLE);
        let key = key.map_err(|error| Error::Usage(format!("{KEY_VARIABLE}: {error}")))?;
        let mut builder = configure(Client::builder(key));
        if let Some(base) = &self.api_base {
            builder = builder.base_url(base);
        }
        builder.build().map_err(|error| Error::Usage(error.to_string()))
    }
}

/// Converts the error of a request to Stripe. If the key lacks a permission, adds the sentence that
/// names the permissions of the command.
pub(crate) fn explain(error: &router_stripe::Error, permissions: &str) -> Error {
    let hint = match error.kind() {
        ErrorKind::Forbidden => format!("\n  {permissions}"),
        _ => String::new(),
    };
    Error::Request(format!("{}{hint}", one_line(&error.to_string())))
}

/// Makes text safe for a terminal and replaces line breaks, so that the text of an account cannot
/// look like another line of the output.
pub(crate) fn one_line(text: &str) -> String {
    sanitize(text).replace(['\n', '\t'], "\u{fffd}")
}

/// Reads the program's routes from a file, or from the URL of a server.
pub(crate) async fn read_routes(file_or_url: &str) -> Result<ProgramRoutes, Error> {
    let json = if file_or_url.starts_with("http://") || file_or_url.starts_with("https://") {
        get(file_or_url).await.map_err(|error| {
            // The URL may have a password.
            let error = error.without_url();
            Error::Request(format!(
                "cannot read the routes from the URL: {}",
                ErrorChain::new(&error)
            ))
        })?
    } else {
        read_file(file_or_url)?.into_bytes()
    };
    serde_json::from_slice(&json).map_err(|error| {
        Error::Usage(format!(
            "--routes is not the JSON of `router.routes()`, a list of routes with `pattern` and \
             `handler`: {}",
            one_line(&error.to_string())
        ))
    })
}

async fn get(url: &str) -> Result<Vec<u8>, reqwest::Error> {
    // Fails only if a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    let mut response = client.get(url).send().await?.error_for_status()?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        // A part of an endless answer is not JSON, which the caller reports.
        if body.len() > MAX_ROUTES {
            break;
        }
    }
    Ok(body)
}

/// Reads a file of text.
pub(crate) fn read_file(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::Usage(format!("cannot read {path}: {error}")))
}
