-- One row per mail that the mail server has accepted. The key is what the mail is about: an invoice
-- or a payment, which has one receipt.
create table sent_mails (
    key text primary key
);
