//! Stripe's objects and their paths in the API, from `data/objects.tsv`.

/// A row of the table.
pub(crate) struct ObjectRow {
    pub(crate) name: &'static str,
    /// The format of the object's ids, or `-` if it has none.
    #[cfg_attr(not(feature = "samples"), expect(dead_code, reason = "only samples have ids"))]
    pub(crate) id: &'static str,
    path: &'static str,
}

impl ObjectRow {
    /// Returns the path of the object in the API, or `None` if it cannot be fetched.
    pub(crate) fn path(&self) -> Option<&'static str> {
        (self.path != "-").then_some(self.path)
    }
}

/// Returns the rows of the table.
pub(crate) fn rows() -> impl Iterator<Item = ObjectRow> {
    let rows = include_str!("../data/objects.tsv").lines().skip(1);
    rows.map(|row| {
        let mut fields = row.split('\t');
        // The table is part of this crate, and tests read all of it.
        let mut field = || fields.next().expect("row has three fields");
        ObjectRow { name: field(), id: field(), path: field() }
    })
}

/// Returns the path of an object in Stripe's API, by the value of its `object` field, such as
/// `/v1/invoices/{id}` for `invoice`. Returns `None` for an unknown object, and for one that
/// Stripe's API does not return by itself, such as `application`.
///
/// A name in braces stands for the object's id, or for the id of the object's owner.
///
/// ```
/// assert_eq!(router_catalog::object_path("invoice"), Some("/v1/invoices/{id}"));
/// assert_eq!(router_catalog::object_path("balance"), Some("/v1/balance"));
/// assert_eq!(router_catalog::object_path("person"), Some("/v1/accounts/{account}/persons/{id}"));
/// assert_eq!(router_catalog::object_path("application"), None);
/// ```
#[must_use]
pub fn object_path(object: &str) -> Option<&'static str> {
    rows().find(|row| row.name == object)?.path()
}
