//! The name of the crate.

use crate::error::Error;

/// The longest name. The lines of the template stay within rustfmt's limit up to this length.
const MAX_LENGTH: usize = 30;

/// Rust's keywords, and crates that the compiler provides.
const RUST_NAMES: &str = "abstract alloc as async await become box break const continue core crate \
    do dyn else enum extern false final fn for gen if impl in let loop macro match mod move mut \
    override priv proc_macro pub ref return self static std struct super test trait true try type \
    typeof union unsafe unsized use virtual where while yield";

/// Modules that the template imports from a dependency, so that the crate's own name is hidden.
const OF_TEMPLATE: &str = "sqlx";

/// Folders in which cargo puts its own files.
const CARGO_FOLDERS: &str = "build deps examples incremental";

/// File names that Windows reserves.
const WINDOWS_NAMES: &str = "aux com1 com2 com3 com4 com5 com6 com7 com8 com9 con lpt1 lpt2 lpt3 \
    lpt4 lpt5 lpt6 lpt7 lpt8 lpt9 nul prn";

/// A name that cargo, rustc, Docker and systemd accept.
pub(super) struct CrateName(String);

impl CrateName {
    /// Parses a name.
    ///
    /// # Errors
    ///
    /// Fails if the name is not valid. The error names the rule, and a name that is valid.
    pub(super) fn parse(name: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| {
            let valid = match suggest(name) {
                Some(valid) => format!("`{valid}`"),
                None => "a name such as `my-shop`".into(),
            };
            Err(Error::Usage(format!("the name `{}` {reason}; try {valid}", name.escape_debug())))
        };
        if name.contains(['/', '\\']) || name == "." || name == ".." {
            return refuse(
                "is a path, but the crate is made in the current folder: change to the folder first",
            );
        }
        if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return refuse("does not begin with a lowercase letter from `a` to `z`");
        }
        if !name.chars().all(is_allowed) {
            return refuse("has a character other than `a` to `z`, `0` to `9`, `-` and `_`");
        }
        if name.len() > MAX_LENGTH {
            return refuse(&format!("is longer than {MAX_LENGTH} characters"));
        }
        match reserved_by(name) {
            Some(reason) => refuse(reason),
            None => Ok(Self(name.to_owned())),
        }
    }

    /// Returns the name of the package and of its folder.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name of the library in Rust code.
    pub(super) fn library_name(&self) -> String {
        self.0.replace('-', "_")
    }
}

fn is_allowed(char: char) -> bool {
    char.is_ascii_lowercase() || char.is_ascii_digit() || "-_".contains(char)
}

/// Returns the reason if a name has another meaning.
fn reserved_by(name: &str) -> Option<&'static str> {
    let is_in = |names: &str| names.split_whitespace().any(|reserved| reserved == name);
    if is_in(RUST_NAMES) {
        Some("has a meaning in Rust")
    } else if is_in(CARGO_FOLDERS) {
        Some("is the name of a folder of cargo")
    } else if is_in(WINDOWS_NAMES) {
        Some("is reserved by Windows")
    } else if is_in(OF_TEMPLATE)
        || super::template::dependencies().any(|dependency| dependency == name)
    {
        Some("is the name of one of the crate's dependencies")
    } else {
        None
    }
}

/// Makes a valid name from the last part of an invalid one.
fn suggest(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).find(|part| !part.is_empty())?.to_ascii_lowercase();
    let last = last.replace(|char| !is_allowed(char), "-");
    let letters = last.trim_start_matches(|char: char| !char.is_ascii_lowercase());
    let letters = letters.trim_end_matches('-');
    let valid: String = letters.chars().take(MAX_LENGTH).collect();
    match valid.is_empty() {
        true => None,
        false if reserved_by(&valid).is_some() => Some(format!("my-{valid}")),
        false => Some(valid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_name_error_has_rule_and_valid_name() {
        let path =
            "is a path, but the crate is made in the current folder: change to the folder first";
        let first = "does not begin with a lowercase letter from `a` to `z`";
        let char = "has a character other than `a` to `z`, `0` to `9`, `-` and `_`";
        let rust = "has a meaning in Rust";
        for (name, reason, valid) in [
            ("1shop", first, "`shop`"),
            ("_shop", first, "`shop`"),
            ("MyShop", first, "`myshop`"),
            ("", first, "a name such as `my-shop`"),
            ("42", first, "a name such as `my-shop`"),
            ("shöp", char, "`sh-p`"),
            ("my shop", char, "`my-shop`"),
            ("my.shop", char, "`my-shop`"),
            ("shop\n", char, "`shop`"),
            ("fn", rust, "`my-fn`"),
            ("test", rust, "`my-test`"),
            ("core", rust, "`my-core`"),
            ("deps", "is the name of a folder of cargo", "`my-deps`"),
            ("con", "is reserved by Windows", "`my-con`"),
            ("axum", "is the name of one of the crate's dependencies", "`my-axum`"),
            ("sqlx", "is the name of one of the crate's dependencies", "`my-sqlx`"),
            ("router-core", "is the name of one of the crate's dependencies", "`my-router-core`"),
            ("../shop", path, "`shop`"),
            ("shops/new/", path, "`new`"),
            (r"shops\test", path, "`my-test`"),
            ("..", path, "a name such as `my-shop`"),
            (&"s".repeat(31), "is longer than 30 characters", &format!("`{}`", "s".repeat(30))),
        ] {
            let error = CrateName::parse(name).err().map(|error| error.to_string());
            let expected = format!("the name `{}` {reason}; try {valid}", name.escape_debug());
            assert_eq!(error, Some(expected));
        }
    }

    #[test]
    fn suggested_name_is_valid() {
        for name in ["1shop", "MyShop", "shöp", "fn", "../fn", "con", "x y", "tokio/"] {
            let valid = suggest(name).unwrap();
            assert_eq!(CrateName::parse(&valid).map(|name| name.0).ok(), Some(valid), "{name}");
        }
    }

    #[test]
    fn hyphens_are_underscores_in_rust() {
        assert_eq!(CrateName::parse("my-new_shop-2").unwrap().library_name(), "my_new_shop_2");
    }
}
