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
/// use router_core::{BoxError, SecretProvider, Secrets};
///
/// struct Tenants { /* a connection pool */ }
///
/// impl SecretProvider for Tenants {
///     async fn secrets(&self, request: &Parts) -> Result<Option<Secrets>, BoxError> {
///         let Some(tenant) = request.uri.path().strip_prefix("/webhook/") else {
///             return Ok(None);
///         };
///         # let _ = tenant;
///         Ok(Some(Secrets::parse("whsec_of_the_tenant")?))
///     }
/// }
/// ```
pub trait SecretProvider: Send + Sync + 'static {
    /// Returns the secrets for this request, or `None` if there is no endpoint at its address.
    /// `None` is answered with 404.
    ///
    /// # Errors
    ///
    /// Fails if the secrets could not be looked up. The request is answered with 503, so that
    /// Stripe sends the event again.
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
