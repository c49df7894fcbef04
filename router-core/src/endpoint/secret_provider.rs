//! Which secrets a request may be signed with.

use std::future::Future;

use http::request::Parts;

use crate::{handler::BoxError, signature::Secrets};

/// Says which secrets a request may be signed with, before its body is read. [`Secrets`] is one
/// that always says the same; one with many tenants looks theirs up by path or host.
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
    /// The secrets for this request; `None` where there is no endpoint at its address, which is
    /// answered with 404.
    ///
    /// # Errors
    ///
    /// Whatever kept the secrets from being found; answered with 503, so that Stripe tries again.
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
