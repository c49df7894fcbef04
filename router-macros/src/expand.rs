//! Generates the registration that is placed next to the annotated function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Lit, Meta, ReturnType, Type, ext::IdentExt as _,
    spanned::Spanned,
};

use crate::{
    check,
    parse::{Arguments, Function, Pattern},
};

pub(crate) fn on_event(arguments: &Arguments, function: &Function) -> TokenStream {
    let patterns = &arguments.patterns;
    let unlisted = arguments.keys.unlisted.is_some();
    let pattern_checks = patterns.iter().filter_map(|pattern| match pattern {
        Pattern::Literal(_) => None,
        Pattern::Constant(path) => {
            let error =
                quote_spanned!(path.span()=> __router_core::check_pattern(#path, #unlisted));
            Some(const_check(path.span(), &error))
        }
    });
    let argument_checks = argument_types(function).map(|(input, ty)| {
        let error = quote_spanned! {ty.span()=>
            __router_core::check_argument(
                <#input as __router_core::FromEvent>::KIND,
                __router_core::Argument::<#input>::OBJECT,
                __ROUTER_CORE_PATTERNS,
            )
        };
        const_check(ty.span(), &error)
    });
    let checks = quote! {
        const __ROUTER_CORE_PATTERNS: &[&::core::primitive::str] = &[#(#patterns),*];
        #(#pattern_checks)*
        #(#argument_checks)*
    };
    let handles = quote!(__router_core::Handles::Patterns(__ROUTER_CORE_PATTERNS));
    registration(arguments, function, &checks, &handles)
}

/// Generates a constant that fails to compile if `error`, an expression of type `Option<Message>`,
/// is `Some`.
fn const_check(span: Span, error: &TokenStream) -> TokenStream {
    let message = hygienic("message");
    quote_spanned! {span=>
        const _: () = {
            #[allow(unused_imports)]
            use __router_core::AnyObject as _;
            if let ::core::option::Option::Some(#message) = #error {
                ::core::panic!("{}", #message.text());
            }
        };
    }
}

pub(crate) fn on_unhandled(arguments: &Arguments, function: &Function) -> TokenStream {
    let handles = quote!(__router_core::Handles::Unhandled);
    let replies = replies(function);
    let message = "an `#[on_unhandled]` handler cannot return a `Reply`: use `#[on_event(...)]` with the event types to \
                   reply to";
    let span = match &function.signature.output {
        ReturnType::Default => Span::call_site(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let check = quote_spanned! {span=>
        const _: () = if #replies { ::core::panic!(#message) };
    };
    registration(arguments, function, &check, &handles)
}

fn registration(
    arguments: &Arguments,
    function: &Function,
    checks: &TokenStream,
    handles: &TokenStream,
) -> TokenStream {
    let core = arguments.keys.core.as_ref();
    let core = core.map_or_else(|| quote!(::router_core), |path| path.value.clone());
    let ident = &function.signature.ident;
    let visibility = &function.visibility;
    let function_name = ident.unraw().to_string();
    let doc = first_doc_line(&function.attributes);
    let cfgs: Vec<_> =
        function.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let aliases = argument_types(function).map(|(input, ty)| {
        // The alias has the span of the attribute: at the type's span, the compiler would suggest
        // adding generics to the alias.
        let input = Ident::new(&input.to_string(), Span::call_site());
        quote!(#[allow(non_camel_case_types)] type #input = #ty;)
    });
    let needs = needs_function(function);
    let call = call_function(arguments, function);

    let settings = &arguments.keys;
    let replies = replies(function);
    let reply_checks = reply_checks(arguments, function);

    quote! {
        // A type that stands for the handler, for `.only::<handler>()`. The braces keep the name
        // out of the value namespace, which has the function.
        #(#cfgs)*
        #[doc(hidden)]
        #[allow(
            dead_code,
            missing_copy_implementations,
            missing_debug_implementations,
            non_camel_case_types,
            unnameable_types,
            unreachable_pub
        )]
        #visibility struct #ident {}

        #(#cfgs)*
        const _: () = {
            // The only use of the path, so that an unresolved path is a single error.
            use #core::private as __router_core;

            #(#aliases)*
            #checks
            #reply_checks
            #needs
            #call

            impl __router_core::Registered for #ident {
                // The keys may set every field that the default has.
                #[allow(clippy::needless_update)]
                const REGISTRATION: __router_core::Registration = __router_core::Registration {
                    package: ::core::env!("CARGO_PKG_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    path: ::core::concat!(::core::module_path!(), "::", #function_name),
                    function: #function_name,
                    file: ::core::file!(),
                    line: ::core::line!(),
                    doc: #doc,
                    handles: #handles,
                    replies: #replies,
                    settings: #settings,
                    needs: __router_core_needs,
                    call: __router_core_call,
                };
            }

            __router_core::submit! { <#ident as __router_core::Registered>::REGISTRATION }
        };
    }
}

/// Generates a constant expression that is `true` if the function returns a `Reply`. A type that
/// contains an `impl` cannot be named in the expression and counts as no `Reply`.
fn replies(function: &Function) -> TokenStream {
    match &function.signature.output {
        ReturnType::Type(_, ty) if !check::has_impl(ty) => {
            quote_spanned! {ty.span()=> {
                #[allow(unused_imports)]
                use __router_core::AnyReturn as _;
                __router_core::Returned::<#ty>::REPLIES
            }}
        }
        _ => quote!(false),
    }
}

/// Generates checks that keys match the return type: some keys are only for handlers that return a
/// `Reply`, and others only for handlers that do not.
fn reply_checks(arguments: &Arguments, function: &Function) -> TokenStream {
    let (replies, keys) = (replies(function), &arguments.keys);
    let checks = [
        (
            keys.deadline.as_ref().map(|given| given.key.span()),
            true,
            "`deadline` requires a handler that returns a `Reply`; other handlers have a `timeout`",
        ),
        (
            keys.default_reply.as_ref().map(|given| given.key.span()),
            true,
            "`default_reply` requires a handler that returns a `Reply`",
        ),
        (
            keys.timeout.as_ref().map(|given| given.key.span()),
            false,
            "a handler that returns a `Reply` has a `deadline` instead of a `timeout`",
        ),
        (
            keys.answer_after.as_ref().map(|given| given.key.span()),
            false,
            "a handler that returns a `Reply` answers Stripe itself: remove `answer_after`",
        ),
    ];
    let checks = checks.into_iter().filter_map(|(span, expected, message)| {
        let span = span?;
        Some(quote_spanned! {span=>
            const _: () = if #replies != #expected { ::core::panic!(#message) };
        })
    });
    quote!(#(#checks)*)
}

/// Returns the types of the function's arguments, each with a name for its alias.
fn argument_types(function: &Function) -> impl Iterator<Item = (Ident, &Type)> {
    let types = function.signature.inputs.iter().filter_map(|argument| match argument {
        FnArg::Typed(typed) => Some(&*typed.ty),
        FnArg::Receiver(_) => None,
    });
    // Through an alias, a mistake in a type is reported once, where the user wrote the type.
    types
        .enumerate()
        .map(|(index, ty)| (Ident::new(&format!("__router_core_input_{index}"), ty.span()), ty))
}

/// Generates the function that declares what the arguments need.
fn needs_function(function: &Function) -> TokenStream {
    let needs = hygienic("needs");
    let declare = argument_types(function).map(|(input, ty)| {
        quote_spanned! {ty.span()=>
            <<#input as __router_core::FromEvent>::Needs as __router_core::Needs>::declare(#needs);
        }
    });
    quote! {
        #[allow(unused_variables, clippy::ptr_arg)]
        fn __router_core_needs(#needs: &mut ::std::vec::Vec<__router_core::Need>) {
            #(#declare)*
        }
    }
}

/// Generates the function that extracts the arguments and calls the handler. The generated code has
/// the spans of the user's tokens, so that compile errors point there.
fn call_function(arguments: &Arguments, function: &Function) -> TokenStream {
    let ident = &function.signature.ident;
    let [event, supplies, into_outcome] = ["event", "supplies", "into_outcome"].map(hygienic);
    let (mut takes, mut extractions, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (input, ty)) in argument_types(function).enumerate() {
        let need = spanned_ident(ty, "need", index);
        let argument = spanned_ident(ty, "argument", index);
        takes.push(quote_spanned! {ty.span()=>
            let #need =
                <<#input as __router_core::FromEvent>::Needs as __router_core::Needs>::take(#supplies);
        });
        // All tokens have one span: two spans would make two errors of one mistake.
        extractions.push(quote_spanned! {ty.span()=>
            let #argument = match <#input as __router_core::FromEvent>::from_event(&#event, #need).await {
                ::core::result::Result::Ok(#argument) => #argument,
                ::core::result::Result::Err(rejection) => return ::core::result::Result::Err(__router_core::reject::<#input>(rejection)),
            };
        });
        names.push(argument);
    }
    let await_call = function.signature.asyncness.map(|_| quote_spanned!(ident.span()=> .await));
    let call = quote_spanned!(ident.span()=> #ident(#(#names),*)#await_call);
    // The conversion has the span of the return type. It is bound to a function pointer first,
    // because in a direct call the compiler would point at the argument.
    let span = match &function.signature.output {
        ReturnType::Default => ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let path = quote_spanned!(span=> __router_core::IntoOutcome::into_outcome);
    let outcome = quote! {{
        let #into_outcome: fn(_) -> _ = #path;
        #into_outcome(#call)
    }};
    let outcome = match arguments.keys.blocking {
        Some(_) => quote!(__router_core::blocking(move || #outcome).await),
        None => outcome,
    };
    let boxed = quote_spanned! {ident.span()=>
        ::std::boxed::Box::pin(async move {
            #(#extractions)*
            #outcome
        })
    };
    quote! {
        #[allow(deprecated, unit_bindings, unused_variables, clippy::unit_arg, clippy::let_unit_value)]
        fn __router_core_call(
            #event: __router_core::Event,
            #supplies: &mut __router_core::Supplies<'_>,
        ) -> __router_core::HandlerFuture {
            #(#takes)*
            #boxed
        }
    }
}

/// Returns an identifier that cannot collide with the user's names.
fn hygienic(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Returns an identifier with the span of the type, like all code generated for an argument: the
/// compiler reports a mistake once for each span.
fn spanned_ident(ty: &Type, name: &str, index: usize) -> Ident {
    Ident::new(&format!("__router_core_{name}_{index}"), ty.span())
}

fn first_doc_line(attributes: &[Attribute]) -> String {
    let first = attributes.iter().find_map(|attribute| match &attribute.meta {
        Meta::NameValue(doc) if doc.path.is_ident("doc") => match &doc.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    });
    first.unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}
