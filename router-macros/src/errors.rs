//! Collects compile errors, so that the user sees all of them at once.

/// Collected compile errors. Call [`Errors::finish`]: dropping a value that holds errors panics, so
/// that no error is lost.
#[derive(Default)]
pub(crate) struct Errors(Option<syn::Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Returns the value, or records the error and returns `None`.
    pub(crate) fn catch<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns all errors combined into one, or `Ok` if there are none.
    pub(crate) fn finish(mut self) -> syn::Result<()> {
        self.0.take().map_or(Ok(()), Err)
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        assert!(
            self.is_empty() || std::thread::panicking(),
            "collected compile errors were dropped without being reported"
        );
    }
}
