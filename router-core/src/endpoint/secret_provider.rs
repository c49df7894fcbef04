//! Lookup of the signing secrets for a request.

use std::future::Future;

use http::request::Parts;

use crate::{handler::BoxError, signature::Secrets};

/// Looks up the secrets that a request may be signed with, before its body is read.
///
/// [`Secrets`] implements it with the same secrets for every request. A service with many tenants
/// implements it to look up a tenant's secrets by path or host.
///
/// ```
/// use http::request::Parts;
/// use router_core::{BoxError, Secrets, SigningSecret, endpoint::SecretProvider};
///
/// struct Tenants { /* a connection pool */ }
///
/// impl SecretProvider for Tenants {
///     async fn secrets(&self, request: &Parts) -> Result<Option<Secrets>, BoxError> {
///         let Some(tenant) = request.uri.path().strip_prefix("/webhook/") else {
///             return Ok(None);
///         };
///         let Some(secret) = self.secret(tenant).await? else { return Ok(None) };
///         // Handlers take the tenant's name as an `EndpointName`.
///         Ok(Some(SigningSecret::new(&secret)?.named(tenant).into()))
///     }
/// }
/// # impl Tenants {
/// #     async fn secret(&self, _: &str) -> Result<Option<String>, BoxError> { Ok(None) }
/// # }
/// ```
///
/// Give the secrets of each tenant a name of their own. It is part of an event's
/// [key](crate::event::EventKey): under one name, equal events of two tenants are duplicates.
pub trait SecretProvider: Send + Sync + 'static {
    /// Returns the secrets for this request, or `None` if there is no endpoint at its address.
    /// `None` is answered with 404.
    ///
    /// # Errors
    ///
    /// Fails if the secrets could not be looked up. The request is answered with 503, so that
    /// Stripe sends the event again. The same happens if the secrets are empty, or if the lookup
    /// takes longer than [`Endpoint::timeout`](crate::Endpoint::timeout).
    fn secrets(
        &self,
        request: &Parts,
    ) -> impl Future<Output = Result<Option<Secrets>, BoxError>> + Send;
}

impl SecretProvider for Secrets {
    async fn secrets(&self, _: &Parts) -> Result<Option<Secrets>, BoxError> {
        Ok(Some(self.clone()))
    }
}
