//! A shop's webhook endpoint with axum and async-stripe: one function that verifies, one `match`
//! that dispatches, and one transaction per event.

#[path = "../../../handlers/mail/src/amount.rs"]
mod amount;
mod disputes;
mod mail;
mod mirror;
mod orders;
mod receipts;
mod subscriptions;
mod webhook;

pub use self::{
    mail::Mailer,
    webhook::{Shop, app},
};
