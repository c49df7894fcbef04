//! The expansion uses no name that a user's item can shadow.

#![allow(dead_code, non_camel_case_types, unused_imports, unused_macros)]

mod std {}
mod core {}
mod alloc {}
mod router_core {}
mod private {}

struct Result;
struct Option;
struct String;
struct Box;
struct Vec;
struct Future;
struct Registration;
struct HandlerFuture;
struct FromEvent;
struct IntoOutcome;
struct Event;
enum Shadow {
    Ok,
    Err,
    Some,
    None,
}
use Shadow::*;

struct u32;
struct str;
struct bool;

fn into_outcome() {}
fn from_event() {}
fn drop() {}

macro_rules! concat {
    () => {};
}
macro_rules! env {
    () => {};
}
macro_rules! file {
    () => {};
}
macro_rules! line {
    () => {};
}
macro_rules! module_path {
    () => {};
}
macro_rules! submit {
    () => {};
}

#[::router_core::on_event("invoice.paid")]
async fn paid(event: ::router_core::Event) -> ::std::result::Result<(), ::std::string::String> {
    match event.is_thin() {
        true => ::std::result::Result::Err(::std::string::String::new()),
        false => ::std::result::Result::Ok(()),
    }
}

fn main() {
    let router = ::router_core::Router::builder().require(["invoice.paid"]).build().unwrap();
    assert_eq!(
        router.routes().iter().next().unwrap().handler,
        ::core::concat!(::core::module_path!(), "::paid")
    );
}
