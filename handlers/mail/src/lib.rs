//! An example plugin: mails the shop's customers.
//!
//! | module | handlers |
//! |---|---|
//! | [`receipts`] | a receipt for each payment |
//!
//! An application adds a [`Mailer`] and the table of [`SentMails`] as states, and registers the
//! handlers with `.plugins([shop_mail::PLUGIN])`. The plugin is separate from `shop`, so that
//! a program without mail needs neither state. The table is one of the shop's, in the inbox's
//! database:
//!
//! ```no_run
//! use router_core::Router;
//! use router_inbox::sqlx::SqlitePool;
//! use shop_mail::{Mailer, SentMails};
//!
//! # async fn example(pool: SqlitePool) -> Result<(), router_core::BoxError> {
//! shop::database::migrate_sqlite(&pool).await?;
//! let mailer = match std::env::var("SMTP_URL") {
//!     Ok(url) => Mailer::smtp(&url, "The Shop <shop@example.com>")?,
//!     Err(_) => Mailer::folder("outbox", "The Shop <shop@example.com>")?,
//! };
//! let router = Router::builder()
//!     .plugins([shop::PLUGIN, shop_mail::PLUGIN])
//!     .state(mailer)
//!     .state(SentMails::from(pool));
//! # let _ = router;
//! # Ok(())
//! # }
//! ```

mod amount;
mod mailer;
mod outbox;
pub mod receipts;
mod smtp;

pub use self::{
    amount::Amount,
    mailer::{Mail, Mailer, MailerError},
    outbox::{Outbox, SentMails},
};

router_core::plugin!();
