//! The bag in which errors are collected, so that a user sees all of them at once.

/// Collected errors. Must be [finished](Errors::finish): dropped with errors in it, it panics, so
/// that none is lost.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Keeps the error and goes on without the value.
    pub(crate) fn catch<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// All errors as one, if there are any.
    pub(crate) fn finish(mut self) -> syn::Result<()> {
        self.0.take().map_or(Ok(()), Err)
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        assert!(self.is_empty() || std::thread::panicking(), "errors were collected and not told");
    }
}
