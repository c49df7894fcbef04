//! A plugin crate, by name: what makes "it is linked" something that can be said and checked.

/// A crate that has handlers. [`plugin!`](crate::plugin) makes one.
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

    /// The name of the package.
    #[must_use]
    pub fn package(&self) -> &'static str {
        self.package
    }

    /// The version of the package.
    #[must_use]
    pub fn version(&self) -> &'static str {
        self.version
    }
}

/// Makes the constant `PLUGIN`, which names the crate it stands in. Write it once, in `lib.rs` of
/// a crate that has handlers (or in `main.rs`):
///
/// ```
/// router_core::plugin!();
/// # fn main() { assert_eq!(PLUGIN.package(), "router-core"); }
/// ```
///
/// An application lists it: `.plugins([my_plugin::PLUGIN])`. The mention makes cargo link the
/// crate, which a line in `Cargo.toml` alone does not, and `build()` then demands that the crate
/// has handlers.
#[macro_export]
macro_rules! plugin {
    () => {
        /// This crate, to be listed in an application's `Router::builder().plugins([...])`.
        pub const PLUGIN: $crate::Plugin = $crate::Plugin::__new(
            ::core::env!("CARGO_PKG_NAME"),
            ::core::env!("CARGO_PKG_VERSION"),
        );
    };
}
