//! The identity of a crate with handlers, so that `build()` can check that the crate is linked.

/// A crate that has handlers. Created by [`plugin!`](crate::plugin).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plugin {
    package: &'static str,
    version: &'static str,
}

impl Plugin {
    #[doc(hidden)]
    #[must_use]
    pub const fn __new(package: &'static str, version: &'static str) -> Self {
        Self { package, version }
    }

    /// Returns the package's name.
    #[must_use]
    pub fn package(&self) -> &'static str {
        self.package
    }

    /// Returns the package's version.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }
}

/// Defines the constant `PLUGIN`, which identifies the current crate.
///
/// Call it once, in `lib.rs` (or `main.rs`) of a crate that has handlers:
///
/// ```
/// router_core::plugin!();
/// # fn main() { assert_eq!(PLUGIN.package(), env!("CARGO_PKG_NAME")); }
/// ```
///
/// The application lists the constant: `.plugins([my_plugin::PLUGIN])`. Only because the
/// application's code mentions the crate, the crate is linked; a dependency in `Cargo.toml` is not
/// enough. `build()` then fails if the crate has no handlers.
#[macro_export]
macro_rules! plugin {
    () => {
        /// This crate's identity, for `Router::builder().plugins([...])` of the application.
        pub const PLUGIN: $crate::Plugin = $crate::Plugin::__new(
            ::core::env!("CARGO_PKG_NAME"),
            ::core::env!("CARGO_PKG_VERSION"),
        );
    };
}
