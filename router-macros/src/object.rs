//! `#[derive(StripeObject)]`: the name of the object that a type decodes.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{DeriveInput, Error, LitStr, Path, meta::ParseNestedMeta};

/// What stands in `#[stripe(...)]`.
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
        attribute.parse_nested_meta(|meta| arguments.read(&meta))?;
    }
    let object = arguments.object.ok_or_else(|| {
        let wanted =
            "say which of Stripe's objects it is: `#[stripe(object = \"payment_intent\")]`";
        Error::new(Span::call_site(), wanted)
    })?;
    if !arguments.unlisted {
        is_known(&object)?;
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
    fn read(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        if meta.path.is_ident("object") {
            self.object = Some(meta.value()?.parse()?);
        } else if meta.path.is_ident("unlisted") {
            self.unlisted = true;
        } else if meta.path.is_ident("crate") {
            self.core = Some(meta.value()?.parse()?);
        } else {
            return Err(meta.error("the keys are `object`, `unlisted` and `crate`"));
        }
        Ok(())
    }
}

fn is_known(object: &LitStr) -> syn::Result<()> {
    let text = object.value();
    let all = || router_catalog::all().iter().flat_map(router_catalog::EventType::objects);
    if all().any(|known| known == text) {
        return Ok(());
    }
    let help = match router_catalog::nearest_of(&text, all()) {
        Some(nearest) => format!("did you mean \"{nearest}\"?\n"),
        None => String::new(),
    };
    let version = router_catalog::API_VERSION;
    let message = format!(
        "no event of Stripe's carries a \"{text}\" (as of API version {version})\n{help}if one newer \
         than that does: `#[stripe(object = \"{text}\", unlisted)]`"
    );
    Err(Error::new(object.span(), message))
}
