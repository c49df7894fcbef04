//! The object that an event is about: its identity, and the reference in a thin event.

use std::{borrow::Cow, fmt, sync::Arc};

use serde::Deserialize;
use serde_json::Value;

use super::{Event, envelope::Related};

/// The identity of the object that an event is about: the object's id, and the account that owns
/// it.
///
/// Events with equal `ObjectId`s are about the same object. An `exclusive` handler locks it, and
/// the inbox orders the events of an `ordered` handler by it.
///
/// # Objects without an id
///
/// Some of Stripe's objects have no id. They are identified by their owner:
///
/// | object | identity | reason |
/// |---|---|---|
/// | `balance`, `balance_settings`, `tax.settings` | the object's name | an account has one |
/// | `invoice` of `invoice.upcoming` | `invoice:sub_…` | a subscription has one next invoice |
/// | `cash_balance` | `cash_balance:cus_…` | a customer has one |
/// | `entitlements.active_entitlement_summary` | `…:cus_…` | a customer has one |
/// | `billing.alert_triggered` | `billing.alert_triggered:cus_…` | it concerns a customer |
///
/// An object that is not in the table is treated like the invoice: its owner is its `subscription`,
/// else its `customer`, else its `customer_account`. The object's name is part of the identity, so
/// that the upcoming invoice of a subscription does not wait for events of the subscription itself,
/// nor the reverse.
///
/// An object without an owner has no identity, and [`Event::object_id`] returns `None`. Such an
/// event takes no lock and is delivered without an order. With the object's name as identity, an
/// event that keeps failing would delay those of all other customers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectId {
    account: Option<Arc<str>>,
    /// `pi_…`, `invoice:sub_…` or `balance`; never empty.
    text: Arc<str>,
}

/// The objects without an id of which each account has exactly one.
const ONE_PER_ACCOUNT: [&str; 3] = ["balance", "balance_settings", "tax.settings"];

/// The fields that name the owner of an object without an id, as JSON pointers. The first one that
/// is set decides.
///
/// Since API version 2025-03-31.basil, an invoice names its subscription in `parent`.
const OWNERS: [&str; 4] = [
    "/subscription",
    "/parent/subscription_details/subscription",
    "/customer",
    "/customer_account",
];

impl Event {
    /// Returns the identity of the object that the event is about, or `None` if the object cannot
    /// be told apart from others (see [`ObjectId`]). The first call on an event or on one of its
    /// clones decodes a part of `data.object`, so it costs more than the other getters.
    #[must_use]
    pub fn object_id(&self) -> Option<ObjectId> {
        self.0.object_id.get_or_init(|| ObjectId::from_event(self)).clone()
    }

    /// Returns the object that a thin event is about, if it names one.
    #[must_use]
    pub fn related_object(&self) -> Option<RelatedObject> {
        RelatedObject::try_new(self)
    }
}

impl ObjectId {
    pub(super) fn from_event(event: &Event) -> Option<Self> {
        let text = match event.related_object() {
            Some(related) => related_identity(&related)?,
            None => object_identity(event)?,
        };
        Some(Self { account: event.owner_account().map(Into::into), text })
    }

    /// Returns the object's id, such as `pi_…`. For an object without an id, returns the text that
    /// identifies the object, such as `invoice:sub_…` or `balance`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the id of the connected account that owns the object, `acct_…`.
    ///
    /// A thin event names this account in its [`context`](Event::context).
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }
}

/// Returns the identity of the object in `data.object`.
fn object_identity(event: &Event) -> Option<Arc<str>> {
    #[derive(Deserialize)]
    struct Head<'o> {
        #[serde(borrow)]
        id: Option<Cow<'o, str>>,
    }

    if let Ok(Head { id: Some(id) }) = event.decode_object()
        && !id.is_empty()
    {
        return Some((*id).into());
    }
    // Such objects are rare, so the rest of the object is decoded only now.
    let object: Value = event.decode_object().ok()?;
    let owner = || OWNERS.iter().find_map(|owner| id_of_reference(object.pointer(owner)?));
    identity_without_id(object.get("object")?.as_str()?, owner)
}

/// Returns the identity of the object that a thin event refers to. The URL of an object without an
/// id contains its customer, as in `/v1/customers/cus_…/cash_balance`.
fn related_identity(related: &RelatedObject) -> Option<Arc<str>> {
    if let Some(id) = related.id() {
        return Some(id.into());
    }
    let customer = || {
        let mut segments = related.url()?.split('/').skip_while(|segment| *segment != "customers");
        segments.nth(1).filter(|customer| !customer.is_empty())
    };
    identity_without_id(related.object_type()?, customer)
}

fn identity_without_id<'o>(
    object: &str,
    owner: impl FnOnce() -> Option<&'o str>,
) -> Option<Arc<str>> {
    if ONE_PER_ACCOUNT.contains(&object) {
        return Some(object.into());
    }
    Some(format!("{object}:{}", owner()?).into())
}

/// Returns the id in a field that refers to an object: the field itself, or the `id` of the
/// expanded object.
fn id_of_reference(reference: &Value) -> Option<&str> {
    let id = reference.as_str().or_else(|| reference.get("id")?.as_str());
    id.filter(|id| !id.is_empty())
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "{account}/{}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// A reference to the object that a thin event is about. The object itself is not in the event;
/// fetch it from Stripe's API.
#[derive(Clone)]
pub struct RelatedObject(Event);

impl RelatedObject {
    pub(super) fn try_new(event: &Event) -> Option<Self> {
        event.envelope().related_object.as_ref().map(|_| Self(event.clone()))
    }

    /// Returns the object's id. A singleton, such as the balance, has none.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.related().and_then(|related| self.0.optional(&related.id))
    }

    /// Returns the object's type, which is the value of its `object` field.
    #[must_use]
    pub fn object_type(&self) -> Option<&str> {
        self.related().and_then(|related| self.0.optional(&related.object_type))
    }

    /// Returns the path of the object in Stripe's API.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        self.related().and_then(|related| self.0.optional(&related.url))
    }

    fn related(&self) -> Option<&Related> {
        self.0.envelope().related_object.as_ref()
    }
}

impl fmt::Debug for RelatedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelatedObject")
            .field("id", &self.id())
            .field("type", &self.object_type())
            .field("url", &self.url())
            .finish()
    }
}
