//! Compares the events that a program wants with those that Stripe sends.
//!
//! ```no_run
//! use router_core::Router;
//! use router_stripe::{ApiKey, Client, doctor::Doctor};
//!
//! # async fn example(router: Router) -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder(ApiKey::from_env("STRIPE_API_KEY")?).build()?;
//! let doctor = Doctor::new(&client).url("https://shop.example/webhook");
//! for finding in doctor.check(router.routes()).await? {
//!     println!("{}: {} {}", finding.code, finding.what, finding.cure);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A restricted key needs the permission "Webhook Endpoints, Event Destinations": read, or write to
//! [mend](Mend::send) a finding. [`examine`] makes the comparison without a request.

mod destination;
mod examine;
mod finding;
#[cfg(test)]
mod tests;
mod wanted;

use std::time::{Duration, SystemTime};

use router_catalog::API_VERSION;
use serde_json::Value;

pub(crate) use self::destination::{V1, V2};
pub use self::{
    destination::Destination,
    examine::{Facts, examine},
    finding::{Code, Finding, Mend, Severity},
    wanted::WantedRoutes,
};
use crate::{Client, Error, ErrorKind, Request};

/// Compares the routes of a program with the destinations of an account.
#[derive(Debug, Clone)]
pub struct Doctor<'c> {
    client: &'c Client,
    facts: Facts,
}

impl<'c> Doctor<'c> {
    /// Creates a doctor of the account of the client's key.
    #[must_use]
    pub fn new(client: &'c Client) -> Self {
        Self { client, facts: Facts::default() }
    }

    /// Sets the facts about the program. The clock's difference is replaced by the measured one.
    #[must_use]
    pub fn facts(mut self, facts: Facts) -> Self {
        self.facts = facts;
        self
    }

    /// Adds a URL of the program. Destinations with other URLs are ignored.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.facts.urls.push(url.into());
        self
    }

    /// Reads the destinations of the account, and compares them with the routes. The worst findings
    /// come first.
    ///
    /// # Errors
    ///
    /// Fails if a request fails.
    pub async fn check(&self, wanted: impl Into<WantedRoutes>) -> Result<Vec<Finding>, Error> {
        let mut objects = Vec::new();
        let v1 = self.client.get(V1);
        let clock_skew = self.read(v1, &mut objects).await?;
        // The URL is not part of the answer by default:
        // <https://docs.stripe.com/api/v2/core/event-destinations/list>
        let v2 = self.client.get(V2).query("include", "webhook_endpoint.url");
        self.read(v2, &mut objects).await?;
        let destinations = Destination::merge(objects)
            .map_err(|message| Error::new(ErrorKind::Unreadable, &format!("GET {V2}"), message))?;
        let facts = Facts { clock_skew, ..self.facts.clone() };
        Ok(examine(&wanted.into(), &destinations, &facts))
    }

    /// Reads all pages of a list, and measures the clock's difference with the first.
    async fn read(&self, list: Request, into: &mut Vec<Value>) -> Result<Option<i64>, Error> {
        let mut pages = list.api_version(API_VERSION).pages();
        let mut skew = None;
        loop {
            let before = self.client.clock().wall();
            let Some(page) = pages.next().await? else { return Ok(skew) };
            let after = self.client.clock().wall();
            skew = skew.or_else(|| pages.date().map(|date| clock_skew(before, date, after)));
            let items = page.iter().map(|item| serde_json::from_str(item.get()));
            into.extend(
                items.map(|item| item.expect("item was parsed as JSON")).collect::<Vec<Value>>(),
            );
        }
    }
}

/// Returns the seconds by which this machine's clock is certainly ahead of Stripe's. The response
/// was sent between the two times, and its date has no fraction of a second.
fn clock_skew(before: SystemTime, date: SystemTime, after: SystemTime) -> i64 {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let latest = date + Duration::from_secs(1);
    match (before.duration_since(latest), date.duration_since(after)) {
        (Ok(ahead), _) => seconds(ahead),
        (_, Ok(behind)) => -seconds(behind),
        _ => 0,
    }
}
