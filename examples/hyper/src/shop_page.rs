//! The page `/shop`: the contents of the shop's tables, which show the effect of an event.

use std::{error::Error, net::IpAddr};

use askama::Template;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
    request::Parts,
    uri::Authority,
};
use shop_mail::Amount;

use crate::shop_setup::Shop;

/// The style sheet, which the page loads from `/shop.css`.
pub(crate) const STYLE: &str = include_str!("../templates/shop.css");

/// The page runs no scripts and loads nothing but its style sheet. It shows the data of customers,
/// so no cache stores it.
const HEADERS: [(HeaderName, &str); 5] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (CACHE_CONTROL, "no-store"),
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

/// Answers a request for the page.
pub(crate) async fn page(shop: &Shop, request: &Parts) -> Response<String> {
    let (status, html) = if !is_addressed_by_ip(request) {
        (StatusCode::FORBIDDEN, "open this page by an IP address or localhost\n".to_owned())
    } else {
        match render(shop).await {
            Ok(html) => (StatusCode::OK, html),
            Err(error) => {
                tracing::error!(%error, "failed to read the shop's tables");
                let text = "the shop's tables cannot be read; the log has the cause\n";
                (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
            }
        }
    };
    let mut response = Response::new(html);
    *response.status_mut() = status;
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns whether the request names the server by an IP address or `localhost`. Without this
/// check, a website whose name resolves to this address could read the page in the browser of a
/// visitor (DNS rebinding).
fn is_addressed_by_ip(request: &Parts) -> bool {
    let header = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let header = header.and_then(|host| host.parse().ok());
    // HTTP/2 has the name in the URI.
    let authority: Option<Authority> = request.uri.authority().cloned().or(header);
    authority.is_some_and(|authority| {
        let host = authority.host();
        host == "localhost" || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok()
    })
}

async fn render(shop: &Shop) -> Result<String, Box<dyn Error>> {
    let page = Page {
        orders: shop.rows(ORDERS).await?.into_iter().map(Order::new).collect(),
        subscriptions: shop.rows(SUBSCRIPTIONS).await?.into_iter().map(Subscription::new).collect(),
        disputes: shop.rows(DISPUTES).await?.into_iter().map(Dispute::new).collect(),
        objects: shop.rows(OBJECTS).await?,
        mails: shop.rows::<(i64,)>(MAILS).await?[0].0,
        mails_go_to: shop.mailer.destination(),
    };
    Ok(page.render()?)
}

#[derive(Template)]
#[template(path = "shop.html")]
struct Page {
    orders: Vec<Order>,
    subscriptions: Vec<Subscription>,
    disputes: Vec<Dispute>,
    /// The number of mirrored objects of each type.
    objects: Vec<(String, i64)>,
    mails: i64,
    mails_go_to: String,
}

const ORDERS: &str = "select session, reference, customer, amount, refunded, currency, state
    from order_balances order by changed_at desc, session limit 50";

type OrderRow = (String, Option<String>, Option<String>, Option<i64>, i64, Option<String>, String);

struct Order {
    session: String,
    reference: String,
    customer: String,
    amount: String,
    /// Empty if nothing was refunded.
    refunded: String,
    state: String,
}

impl Order {
    fn new(row: OrderRow) -> Self {
        let (session, reference, customer, amount, refunded, currency, state) = row;
        let format = |units: i64| match &currency {
            Some(currency) => Amount { units, currency }.to_string(),
            None => units.to_string(),
        };
        Self {
            session,
            reference: reference.unwrap_or_default(),
            customer: customer.unwrap_or_default(),
            amount: amount.map(format).unwrap_or_default(),
            refunded: Some(refunded).filter(|units| *units != 0).map(format).unwrap_or_default(),
            state,
        }
    }
}

const SUBSCRIPTIONS: &str = "select subscription, customer, status, cancel_at_period_end
    from subscriptions order by recency desc, subscription limit 50";

type SubscriptionRow = (String, Option<String>, String, bool);

struct Subscription {
    id: String,
    customer: String,
    status: String,
    cancels_at_period_end: bool,
}

impl Subscription {
    fn new((id, customer, status, cancel_at_period_end): SubscriptionRow) -> Self {
        // An ended subscription still has the flag.
        let cancels_at_period_end = cancel_at_period_end && status != "canceled";
        Self { id, customer: customer.unwrap_or_default(), status, cancels_at_period_end }
    }
}

const DISPUTES: &str = "select dispute, charge, amount, currency, reason, status
    from disputes order by recency desc, dispute limit 50";

type DisputeRow = (String, Option<String>, i64, String, String, String);

struct Dispute {
    id: String,
    charge: String,
    amount: String,
    reason: String,
    status: String,
}

impl Dispute {
    fn new((id, charge, units, currency, reason, status): DisputeRow) -> Self {
        let amount = Amount { units, currency: &currency }.to_string();
        Self { id, charge: charge.unwrap_or_default(), amount, reason, status }
    }
}

const OBJECTS: &str = "select object, count(*) from stripe_objects where not deleted
    group by object order by object";

const MAILS: &str = "select count(*) from sent_mails";
