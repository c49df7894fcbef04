//! Advice about a state that a handler needs and that was not added to the router.

/// Returns the advice for a state of type `missing`, in a router to which the states `added` were
/// added.
pub(super) fn state_advice(missing: &str, added: &[&str]) -> String {
    if let Some(inner) = inner_type("alloc::sync::Arc", missing) {
        let advice = format!("take a `State<{inner}>` instead, which is an `Arc` already");
        return if added.contains(&inner) {
            advice
        } else {
            format!("{advice}, and call `.state(...)` or `.shared_state(...)` before `.build()`")
        };
    }
    let wrapper = added.iter().find(|added| wraps(added, missing));
    if missing.starts_with("dyn ") {
        let call =
            format!("call `.shared_state(Arc::new(value) as Arc<{missing}>)` before `.build()`");
        return match wrapper {
            Some(wrapper) => format!("{call}; `{wrapper}` is a different type"),
            None => call,
        };
    }
    let call = "call `.state(...)` before `.build()`";
    if let Some(wrapper) = wrapper {
        let shared = match inner_type("alloc::sync::Arc", wrapper) {
            Some(_) => "add it with `.shared_state(...)`, or ",
            None => "",
        };
        return format!(
            "{call}; `{wrapper}` is a different type: {shared}take a `State<{wrapper}>`"
        );
    }
    match added.iter().find(|added| wraps(missing, added)) {
        Some(inner) => format!("{call}; `{inner}` is a different type: take a `State<{inner}>`"),
        None => call.to_owned(),
    }
}

/// Returns the type argument of `ty`, if `ty` is `generic<argument>`.
fn inner_type<'t>(generic: &str, ty: &'t str) -> Option<&'t str> {
    ty.strip_prefix(generic)?.strip_prefix('<')?.strip_suffix('>')
}

/// Returns whether `outer` is a generic type around `inner`, such as `Box<inner>`. The auto traits
/// of a trait object may differ, as in `Box<dyn Mailer + Send>` for `dyn Mailer`.
fn wraps(outer: &str, inner: &str) -> bool {
    let Some((_, argument)) = outer.strip_suffix('>').and_then(|outer| outer.split_once('<'))
    else {
        return false;
    };
    argument == inner || inner.starts_with("dyn ") && principal(argument) == principal(inner)
}

/// Returns a trait object's type without its auto traits.
fn principal(ty: &str) -> &str {
    ty.split_once(" + ").map_or(ty, |(principal, _)| principal)
}
