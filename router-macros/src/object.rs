//! Expands `#[derive(StripeObject)]`, which names the Stripe object that a type decodes.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote};
use syn::{DeriveInput, Error, LitStr, Path, meta::ParseNestedMeta};

/// The arguments of `#[stripe(...)]`.
#[derive(Default)]
struct Arguments {
    object: Option<LitStr>,
    unlisted: bool,
    core: Option<Path>,
}

pub(crate) fn derive(item: TokenStream) -> syn::Result<TokenStream> {
    let input: DeriveInput = syn::parse2(item)?;
    let mut arguments = Arguments::default();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("stripe")) {
        attribute.parse_nested_meta(|meta| arguments.parse(&meta))?;
    }
    let object = arguments.object.ok_or_else(|| {
        let message =
            "missing object name: add, for example, `#[stripe(object = \"payment_intent\")]`";
        Error::new(Span::call_site(), message)
    })?;
    if !arguments.unlisted {
        check_known(&object)?;
    }
    let core = arguments.core.map_or_else(|| quote!(::router_core), |path| quote!(#path));
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #core::private::StripeObject for #ident #type_generics #where_clause {
            const OBJECT: &'static ::core::primitive::str = #object;
        }
    })
}

impl Arguments {
    fn parse(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let is_duplicate = if meta.path.is_ident("object") {
            self.object.replace(meta.value()?.parse()?).is_some()
        } else if meta.path.is_ident("unlisted") {
            std::mem::replace(&mut self.unlisted, true)
        } else if meta.path.is_ident("crate") {
            self.core.replace(meta.value()?.parse()?).is_some()
        } else {
            return Err(meta.error("unknown key; the keys are `object`, `unlisted` and `crate`"));
        };
        if is_duplicate {
            let key = meta.path.to_token_stream().to_string();
            let advice = match key.as_str() {
                "object" => {
                    "; for an event that carries one of several objects, decode an enum without \
                     `#[derive(StripeObject)]`"
                }
                _ => "",
            };
            return Err(meta.error(format!("duplicate key `{key}`{advice}")));
        }
        Ok(())
    }
}

fn check_known(object: &LitStr) -> syn::Result<()> {
    let text = object.value();
    let all = || router_catalog::all().iter().flat_map(router_catalog::EventType::objects);
    if all().any(|known| known == text) {
        return Ok(());
    }
    let suggestion = match router_catalog::nearest_of(&text, all()) {
        Some(nearest) => format!("did you mean \"{nearest}\"?\n"),
        None => String::new(),
    };
    let version = router_catalog::API_VERSION;
    let message = format!(
        "no Stripe event carries an object \"{text}\" (as of API version {version})\n{suggestion}\
         if the object is newer, write `#[stripe(object = \"{text}\", unlisted)]`"
    );
    Err(Error::new(object.span(), message))
}
