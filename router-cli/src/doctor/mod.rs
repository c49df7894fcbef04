//! `doctor`: compares the events that a program handles with those that Stripe sends.

mod ping;

use std::{fs, time::Duration};

use clap::Args;
use router_core::{Secrets, handler::ErrorChain};
use router_inbox::store::Operations;
use router_stripe::{
    ApiKey, Client, ErrorKind,
    doctor::{Destination, Doctor, Environment, Finding, ProgramRoutes, Severity, compare},
};
use serde_json::json;

use self::ping::PingArgs;
use crate::{
    error::{Error, Exit},
    inbox::format::count,
    output::{DIM, FAILURE, Output, SUCCESS, WARNING, sanitize, styled},
};

/// The environment variable of the API key. An argument would be visible to other users.
const KEY_VARIABLE: &str = "STRIPE_API_KEY";

/// Compare the events that a program handles with those that Stripe sends
#[derive(Args)]
#[command(after_help = "\
Examples:
  event-router doctor --routes routes.json --url https://shop.example/webhook
  event-router doctor --routes https://internal.example/routes --secret-env STRIPE_WEBHOOK_SECRET
  event-router doctor --routes routes.json --fix
  event-router doctor --routes routes.json --destinations destinations.json
  event-router doctor --routes routes.json --url https://shop.example/webhook \\
    --ping --inbox sqlite:inbox.db

The API key is read from STRIPE_API_KEY. A restricted key (rk_…) needs one permission, \"Webhook
Endpoints, Event Destinations\" (webhook_read): Read, or Write for --fix --yes and for --ping.

The routes are the JSON of `router.routes()`, as `serde_json::to_string` writes it.

The exit code is 1 if there is a finding of severity `error` or `warning`.

With --json, prints one object per finding: {\"code\", \"severity\", \"destinations\", \"event_types\",
\"message\", \"impact\", \"remedy\", \"fix\"}, after one {\"sent\"} per request that was sent. Each ping
event in the inbox is one {\"received\": {\"event\", \"destination\", \"url\"}}, in front of the findings
about the others.")]
pub(crate) struct DoctorArgs {
    /// File with the program's routes as JSON, or the URL of a server that returns them.
    #[arg(long, value_name = "FILE|URL")]
    routes: String,

    /// URL of the program's webhook endpoint at Stripe; by default all destinations of the account
    /// are examined. Repeatable.
    #[arg(long)]
    url: Vec<String>,

    /// Read the destinations from a file instead of Stripe: the JSON of `/v1/webhook_endpoints` and
    /// `/v2/core/event_destinations`, one after the other.
    #[arg(long, value_name = "FILE")]
    destinations: Option<String>,

    /// API version that the program's types are written for, as in `2026-10-28.endive`.
    #[arg(long, value_name = "VERSION")]
    expect_api_version: Option<String>,

    /// Environment variable with the server's signing secret, to check its form.
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,

    /// Print the requests that enable missing event types and disabled destinations.
    #[arg(long)]
    fix: bool,

    /// Send the requests of --fix, and compare again.
    #[arg(long, requires = "fix", conflicts_with = "destinations")]
    yes: bool,

    #[command(flatten)]
    ping: PingArgs,

    /// Address of Stripe's API.
    #[arg(long, hide = true, value_name = "URL")]
    api_base: Option<String>,
}

impl DoctorArgs {
    pub(crate) async fn run(self, output: &mut Output) -> Result<Exit, Error> {
        let inbox = self.ping.open_inbox().await?;
        let routes = read_routes(&self.routes).await?;
        let findings = match &self.destinations {
            Some(file) => {
                let destinations = Destination::parse_all(&read_file(file)?)
                    .map_err(|error| Error::Usage(format!("{file}: {}", one_line(&error))))?;
                let findings = compare(&routes, &destinations, &self.environment());
                self.print(&findings, output)?;
                findings
            }
            None => self.examine_account(routes, inbox.as_deref(), output).await?,
        };
        if !output.json {
            output.line(summary(&findings))?;
        }
        if self.fix && !self.yes && findings.iter().any(|finding| finding.fix.is_some()) {
            output.note("nothing was changed; pass --fix --yes to send the requests");
        }
        let has_fault = findings.iter().any(|finding| finding.severity != Severity::Info);
        Ok(if has_fault { Exit::Failure } else { Exit::Success })
    }

    /// Examines the account, fixes findings, and pings destinations, as far as the options say.
    /// Prints and returns the findings.
    async fn examine_account(
        &self,
        routes: ProgramRoutes,
        inbox: Option<&dyn Operations>,
        output: &mut Output,
    ) -> Result<Vec<Finding>, Error> {
        let client = self.client()?;
        let doctor = Doctor::new(&client).environment(self.environment());
        let mut findings = doctor.check(routes.clone()).await.map_err(explain)?;
        if self.yes && send_fixes(&findings, &client, output).await? {
            findings = doctor.check(routes).await.map_err(explain)?;
        }
        // Before the wait for the pings, and in case that the key may not ping.
        self.print(&findings, output)?;
        if let Some(inbox) = inbox {
            let missing = self.ping.run(&doctor, inbox, output).await?;
            self.print(&missing, output)?;
            findings.extend(missing);
        }
        Ok(findings)
    }

    fn environment(&self) -> Environment {
        let secret = self.secret_env.as_deref().map(Secrets::from_env);
        let mut environment = Environment::default();
        environment.urls.clone_from(&self.url);
        environment.expected_api_version.clone_from(&self.expect_api_version);
        environment.secret_error = secret.and_then(Result::err).map(|error| error.to_string());
        environment
    }

    fn client(&self) -> Result<Client, Error> {
        let key = ApiKey::from_env(KEY_VARIABLE);
        let key = key.map_err(|error| Error::Usage(format!("{KEY_VARIABLE}: {error}")))?;
        let mut builder = Client::builder(key);
        if let Some(base) = &self.api_base {
            builder = builder.base_url(base);
        }
        builder.build().map_err(|error| Error::Usage(error.to_string()))
    }

    fn print(&self, findings: &[Finding], output: &mut Output) -> Result<(), Error> {
        findings.iter().try_for_each(|finding| self.print_finding(finding, output))
    }

    fn print_finding(&self, finding: &Finding, output: &mut Output) -> Result<(), Error> {
        if output.json {
            return output.json(finding);
        }
        let (style, severity) = match finding.severity {
            Severity::Error => (FAILURE, "error"),
            Severity::Warning => (WARNING, "warning"),
            Severity::Info => (DIM, "info"),
        };
        let label = styled(style, format_args!("{severity} {}", finding.code));
        output.line(format_args!("{label}: {}", one_line(&finding.message)))?;
        output.line(format_args!("  impact  {}", finding.impact))?;
        output.line(format_args!("  remedy  {}", one_line(&finding.remedy)))?;
        if let Some(fix) = finding.fix.as_ref().filter(|_| self.fix) {
            output.line(format_args!("  fix     {}", one_line(&fix.to_string())))?;
        }
        output.line("")
    }
}

/// Sends the requests that fix findings. Returns whether there were any.
async fn send_fixes(
    findings: &[Finding],
    client: &Client,
    output: &mut Output,
) -> Result<bool, Error> {
    let mut is_sent = false;
    for fix in findings.iter().filter_map(|finding| finding.fix.as_ref()) {
        fix.send(client).await.map_err(explain)?;
        is_sent = true;
        if output.json {
            output.json(&json!({"sent": fix}))?;
        } else {
            let sent = styled(SUCCESS, "sent");
            output.line(format_args!("{sent}  {}", one_line(&fix.to_string())))?;
        }
    }
    if is_sent && !output.json {
        output.line("")?;
    }
    Ok(is_sent)
}

fn summary(findings: &[Finding]) -> String {
    let number = |severity| -> u64 {
        findings.iter().map(|finding| u64::from(finding.severity == severity)).sum()
    };
    match (number(Severity::Error), number(Severity::Warning), number(Severity::Info)) {
        (0, 0, 0) => styled(SUCCESS, "no findings"),
        (errors, warnings, info) => {
            format!("{}, {}, {info} info", count(errors, "error"), count(warnings, "warning"))
        }
    }
}

/// Adds the permission that a key needs to the error of a request to Stripe.
fn explain(error: router_stripe::Error) -> Error {
    let permission = match error.kind() {
        ErrorKind::Forbidden => {
            "\n  `doctor` needs the permission \"Webhook Endpoints, Event Destinations\" \
             (webhook_read): Read, or Write for --fix --yes and for --ping"
        }
        _ => "",
    };
    Error::Request(format!("{}{permission}", one_line(&error.to_string())))
}

/// Makes text safe for a terminal and replaces line breaks, so that the text of an account cannot
/// look like another finding.
fn one_line(text: &str) -> String {
    sanitize(text).replace(['\n', '\t'], "\u{fffd}")
}

async fn read_routes(file_or_url: &str) -> Result<ProgramRoutes, Error> {
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
        read_file(file_or_url)?
    };
    serde_json::from_str(&json).map_err(|error| {
        Error::Usage(format!(
            "--routes is not the JSON of `router.routes()`, a list of routes with `pattern` and \
             `handler`: {}",
            one_line(&error.to_string())
        ))
    })
}

async fn get(url: &str) -> Result<String, reqwest::Error> {
    // Fails only if a provider is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
    client.get(url).send().await?.error_for_status()?.text().await
}

fn read_file(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|error| Error::Usage(format!("cannot read {path}: {error}")))
}
