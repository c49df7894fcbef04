#![deny(warnings)]
#![allow(clippy::bind_instead_of_map, reason = "a form of the conversion that must compile")]

use std::{error::Error, fmt, io};

use router_core::{BoxError, Event, Failure, Object, Outcome, Router, on_event};

#[derive(Debug)]
struct OutOfStock;

impl fmt::Display for OutOfStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of stock")
    }
}

impl Error for OutOfStock {}

type HandlerResult<T = ()> = Result<T, Failure>;

#[on_event("invoice.paid")]
async fn nothing(_: Event) {}

#[on_event("invoice.paid")]
async fn unit(_: Event) -> () {}

#[on_event("invoice.paid")]
async fn outcome(_: Event) -> Outcome {
    Outcome::ignored("not mine")
}

#[on_event("invoice.paid")]
async fn error_of_the_users(_: Event) -> Result<(), OutOfStock> {
    Err(OutOfStock)
}

#[on_event("invoice.paid")]
async fn boxed_error(_: Event) -> Result<(), Box<dyn Error + Send + Sync>> {
    Err(OutOfStock.into())
}

#[on_event("invoice.paid")]
async fn boxed_error_by_its_name(_: Event) -> Result<Outcome, BoxError> {
    Err("a text is an error too")?
}

#[on_event("invoice.paid")]
async fn text(_: Event) -> Result<(), String> {
    Err("a text is an error too".to_owned())
}

#[on_event("invoice.paid")]
async fn standard_alias(_: Event) -> io::Result<()> {
    Ok(())
}

#[on_event("invoice.paid")]
async fn alias_of_the_users(_: Event) -> HandlerResult {
    Ok(())
}

#[on_event("invoice.paid")]
async fn failure_and_outcome(_: Event) -> HandlerResult<Outcome> {
    Err(Failure::permanent(OutOfStock))
}

#[on_event("invoice.paid")]
async fn any_error_by_question_mark(object: Object<String>) -> Result<Outcome, Failure> {
    object.parse::<u32>()?;
    io::stdin().lines().next().transpose()?;
    Err(OutOfStock).or_else(|error: OutOfStock| Err(Failure::permanent(error)))?;
    Err("a text")?
}

#[on_event("invoice.paid")]
fn not_async(_: Event) -> Result<Outcome, Failure> {
    Ok(Outcome::Done)
}

fn main() {
    assert_eq!(Router::builder().build().unwrap().routes().iter().count(), 12);
}
