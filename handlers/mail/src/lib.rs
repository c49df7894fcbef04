//! Mails the shop's customers.

mod amount;
mod mailer;
mod smtp;

pub use self::{
    amount::Amount,
    mailer::{Mail, Mailer, MailerError},
};
