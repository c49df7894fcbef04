//! Writes the registration that stands beside the function.

use std::time::Duration;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Attribute, Expr, ExprLit, FnArg, Lit, LitStr, Meta, ReturnType, Type, ext::IdentExt as _,
    spanned::Spanned,
};

use crate::{
    check,
    parse::{Arguments, Function, Pattern},
};

pub(crate) fn on_event(arguments: &Arguments, function: &Function) -> TokenStream {
    let patterns = &arguments.patterns;
    let unlisted = arguments.unlisted.is_some();
    let constants = patterns.iter().filter_map(|pattern| match pattern {
        Pattern::Literal(_) => None,
        Pattern::Constant(path) => {
            let problem =
                quote_spanned!(path.span()=> __router_core::check_pattern(#path, #unlisted));
            Some(refuse(path.span(), &problem))
        }
    });
    let fits = inputs(function).map(|(input, ty)| {
        let problem = quote_spanned! {ty.span()=>
            __router_core::check_argument(
                <#input as __router_core::FromEvent>::KIND,
                __router_core::Argument::<#input>::OBJECT,
                __ROUTER_CORE_PATTERNS,
            )
        };
        refuse(ty.span(), &problem)
    });
    let checks = quote! {
        const __ROUTER_CORE_PATTERNS: &[&::core::primitive::str] = &[#(#patterns),*];
        #(#constants)*
        #(#fits)*
    };
    let handles = quote!(__router_core::Handles::Patterns(__ROUTER_CORE_PATTERNS));
    registration(arguments, function, &checks, &handles)
}

/// A constant that does not compile if there is a problem, with that as the error.
fn refuse(place: Span, problem: &TokenStream) -> TokenStream {
    let message = local("message");
    quote_spanned! {place=>
        const _: () = {
            #[allow(unused_imports)]
            use __router_core::AnyObject as _;
            if let ::core::option::Option::Some(#message) = #problem {
                ::core::panic!("{}", #message.text());
            }
        };
    }
}

pub(crate) fn on_unhandled(arguments: &Arguments, function: &Function) -> TokenStream {
    let handles = quote!(__router_core::Handles::Unhandled);
    let replies = replies(function);
    let message = "what no handler is for cannot be replied to: `#[on_event(...)]` says for which events it is";
    let place = match &function.signature.output {
        ReturnType::Default => Span::call_site(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let check = quote_spanned! {place=>
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
    let core = arguments.core.as_ref().map_or_else(|| quote!(::router_core), |path| quote!(#path));
    let ident = &function.signature.ident;
    let visibility = &function.visibility;
    let function_name = ident.unraw().to_string();
    let doc = first_doc_line(&function.attributes);
    let cfgs: Vec<_> =
        function.attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).collect();
    let aliases = inputs(function).map(|(input, ty)| {
        // What is defined stands at the attribute, so that the compiler does not propose to add
        // generics to it.
        let input = Ident::new(&input.to_string(), Span::call_site());
        quote!(#[allow(non_camel_case_types)] type #input = #ty;)
    });
    let (needs, caller) = (needs(function), caller(arguments, function));

    let name = option(arguments.name.as_ref());
    let endpoint = option(arguments.endpoint.as_ref());
    let livemode = option(arguments.livemode.as_ref());
    let order = arguments.order.as_ref().map_or(0, |order| order.value);
    let timeout = arguments.timeout.as_ref().or(arguments.deadline.as_ref());
    let timeout = option(timeout.and_then(|time| check::time(time).ok()).map(duration));
    let default_reply = option(
        arguments
            .default_reply
            .as_ref()
            .map(|path| quote_spanned!(path.span()=> || __router_core::default_reply(#path))),
    );
    let exclusive = arguments.exclusive.is_some();
    let formerly = option(arguments.formerly.as_ref());
    let delivered = delivery_keys(arguments);
    let blocking = arguments.blocking.is_some();
    let replies = replies(function);
    let reply_checks = reply_checks(arguments, function);

    quote! {
        // The handler as a type, for `.only::<handler>()`. With braces, so that it takes the name
        // only where types are.
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
            // Named once, so that a path that leads nowhere is one error.
            use #core::private as __router_core;

            #(#aliases)*
            #checks
            #reply_checks
            #needs
            #caller

            impl __router_core::Registered for #ident {
                const REGISTRATION: __router_core::Registration = __router_core::Registration {
                    package: ::core::env!("CARGO_PKG_NAME"),
                    version: ::core::env!("CARGO_PKG_VERSION"),
                    path: ::core::concat!(::core::module_path!(), "::", #function_name),
                    function: #function_name,
                    file: ::core::file!(),
                    line: ::core::line!(),
                    doc: #doc,
                    name: #name,
                    formerly: #formerly,
                    handles: #handles,
                    endpoint: #endpoint,
                    livemode: #livemode,
                    order: #order,
                    timeout: #timeout,
                    replies: #replies,
                    default_reply: #default_reply,
                    exclusive: #exclusive,
                    blocking: #blocking,
                    delivered: #delivered,
                    needs: __router_core_needs,
                    call: __router_core_call,
                };
            }

            __router_core::submit! { <#ident as __router_core::Registered>::REGISTRATION }
        };
    }
}

/// The keys that are for whoever keeps deliveries and tries them again.
fn delivery_keys(arguments: &Arguments) -> TokenStream {
    let wait = |key: &Option<LitStr>| {
        option(key.as_ref().and_then(|wait| check::backoff(wait).ok()).map(duration))
    };
    let ordered = arguments.ordered.is_some();
    let (backoff, max_backoff) = (wait(&arguments.backoff), wait(&arguments.max_backoff));
    let (attempts, concurrency) =
        (option(arguments.attempts.as_ref()), option(arguments.concurrency.as_ref()));
    quote! {
        __router_core::DeliveryKeys {
            ordered: #ordered,
            attempts: #attempts,
            backoff: #backoff,
            max_backoff: #max_backoff,
            concurrency: #concurrency,
        }
    }
}

/// Whether the function returns a reply, as a constant. A type with an `impl` in it cannot be named here.
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

/// Keys that are only for one that replies, and one that is not.
fn reply_checks(arguments: &Arguments, function: &Function) -> TokenStream {
    let replies = replies(function);
    let checks = [
        (
            arguments.deadline.as_ref().map(Spanned::span),
            true,
            "`deadline` is for a handler that returns a `Reply`; another has a `timeout`",
        ),
        (
            arguments.default_reply.as_ref().map(Spanned::span),
            true,
            "`default_reply` is for a handler that returns a `Reply`",
        ),
        (
            arguments.timeout.as_ref().map(Spanned::span),
            false,
            "a handler that returns a `Reply` has a `deadline`, and no `timeout`",
        ),
    ];
    let checks = checks.into_iter().filter_map(|(span, wanted, message)| {
        let span = span?;
        Some(quote_spanned! {span=>
            const _: () = if #replies != #wanted { ::core::panic!(#message) };
        })
    });
    quote!(#(#checks)*)
}

/// The function's arguments: a name for each one's type, and the type.
fn inputs(function: &Function) -> impl Iterator<Item = (Ident, &Type)> {
    let types = function.signature.inputs.iter().filter_map(|argument| match argument {
        FnArg::Typed(typed) => Some(&*typed.ty),
        FnArg::Receiver(_) => None,
    });
    // A name of its own, so that a mistake in a type is found where the type is named, and once.
    types
        .enumerate()
        .map(|(index, ty)| (Ident::new(&format!("__router_core_input_{index}"), ty.span()), ty))
}

/// The function that says what the arguments need.
fn needs(function: &Function) -> TokenStream {
    let needs = local("needs");
    let declare = inputs(function).map(|(input, ty)| {
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

/// The function that makes the arguments and calls the handler. What the compiler checks here
/// carries the spans of what the user wrote, so that its errors point there.
fn caller(arguments: &Arguments, function: &Function) -> TokenStream {
    let ident = &function.signature.ident;
    let [event, supplies, into_outcome] = ["event", "supplies", "into_outcome"].map(local);
    let (mut takes, mut makes, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (input, ty)) in inputs(function).enumerate() {
        let need = at(ty, "need", index);
        let argument = at(ty, "argument", index);
        takes.push(quote_spanned! {ty.span()=>
            let #need =
                <<#input as __router_core::FromEvent>::Needs as __router_core::Needs>::take(#supplies);
        });
        // Every token where the type begins: two places would be two errors for one mistake.
        makes.push(quote_spanned! {ty.span()=>
            let #argument = match <#input as __router_core::FromEvent>::from_event(&#event, #need).await {
                ::core::result::Result::Ok(#argument) => #argument,
                ::core::result::Result::Err(failure) => return ::core::result::Result::Err(failure),
            };
        });
        names.push(argument);
    }
    let wait = function.signature.asyncness.map(|_| quote_spanned!(ident.span()=> .await));
    let call = quote_spanned!(ident.span()=> #ident(#(#names),*)#wait);
    // Checked where the return type begins; as a function of its own, because in a call the compiler
    // would point at the argument.
    let span = match &function.signature.output {
        ReturnType::Default => ident.span(),
        ReturnType::Type(_, ty) => ty.span(),
    };
    let path = quote_spanned!(span=> __router_core::IntoOutcome::into_outcome);
    let outcome = quote! {{
        let #into_outcome: fn(_) -> _ = #path;
        #into_outcome(#call)
    }};
    let outcome = match arguments.blocking {
        Some(_) => quote!(__router_core::blocking(move || #outcome).await),
        None => outcome,
    };
    let boxed = quote_spanned! {ident.span()=>
        ::std::boxed::Box::pin(async move {
            #(#makes)*
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

/// A name that no name of the user's can be mistaken for.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// A name for something of this type. It stands where the type does, as all that is made for it: the
/// compiler tells each mistake at each place once.
fn at(ty: &Type, name: &str, index: usize) -> Ident {
    Ident::new(&format!("__router_core_{name}_{index}"), ty.span())
}

fn option(value: Option<impl quote::ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}

fn duration(time: Duration) -> TokenStream {
    let (seconds, nanos) = (time.as_secs(), time.subsec_nanos());
    quote!(::core::time::Duration::new(#seconds, #nanos))
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
