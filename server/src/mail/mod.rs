//! E-mail: what is sent, and that it is sent, however often the mail server is away.
//!
//! A letter is written down in the transaction that causes it (`store/invitation_mails.rs`), so it
//! neither delays a request nor gets lost with a server. [`MailSender`] sends what is due.

mod address;
mod invitation;
mod mail_sender;
mod mailer;

pub use address::{MAX_ADDRESS, is_address};
pub use mail_sender::MailSender;
pub use mailer::{MailError, Mailer};
