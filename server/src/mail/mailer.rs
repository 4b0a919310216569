//! How a message gets to the mail server.

use lettre::message::{Mailbox, Message};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;

/// Longest time that the mail server may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest time that a message may take as a whole.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest sentence of a mail server that is kept, in characters.
const MAX_ERROR: usize = 500;
/// What a mail server says for good of us and not of the letter: that it wants us to log in, or to
/// log in otherwise (RFC 4954). The operator can repair that.
const ABOUT_US: [u16; 4] = [530, 534, 535, 538];
/// Who sends, unless the operator says.
const SENDER_NAME: &str = "Switchy";
/// See [`SENDER_NAME`].
const SENDER_USER: &str = "noreply";

/// E-mail cannot be set up; the sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// `SWITCHY_SMTP_URL`.
    #[error(
        "SWITCHY_SMTP_URL is not usable: {0}; it looks like \
         smtps://USER:PASSWORD@mail.example.com or smtp://USER:PASSWORD@mail.example.com:587?tls=required"
    )]
    Url(String),
    /// `SWITCHY_MAIL_FROM`.
    #[error(
        "SWITCHY_MAIL_FROM is not usable: it looks like `Switchy <noreply@example.com>` or \
         noreply@example.com"
    )]
    From,
    /// Neither of the two names a sender.
    #[error(
        "no letter would be taken from this server: people reach it at {0}, and an address is no \
         sender's domain; set SWITCHY_MAIL_FROM to `Switchy <noreply@example.com>`, say, or \
         SWITCHY_PUBLIC_URL to a URL with a domain"
    )]
    Nobody(String),
}

/// Why a message was not sent.
#[derive(Debug)]
pub(super) struct SendError {
    /// What the mail server said, or why there was none.
    pub message: String,
    /// The same message to the same address will be refused again.
    pub for_good: bool,
}

/// A mail server, and in whose name it is used.
#[derive(Clone)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Option<Mailbox>,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("from", &self.from).finish_non_exhaustive()
    }
}

impl Mailer {
    /// From the operator's settings; nothing is sent yet. Without `from`, mail comes from
    /// `noreply` at the host where people reach the server.
    pub fn new(url: &SecretString, from: Option<&str>) -> Result<Self, MailError> {
        let from = match from.map(str::trim) {
            None => None,
            Some(from) => Some(from.parse::<Mailbox>().map_err(|_| MailError::From)?),
        };
        // what a URL parser complains about never quotes the URL
        let parsed = url::Url::parse(url.expose_secret().trim())
            .map_err(|e| MailError::Url(e.to_string()))?;
        if parsed.host_str().is_none_or(str::is_empty) {
            return Err(MailError::Url("it names no host".into()));
        }
        if !matches!(parsed.scheme(), "smtp" | "smtps") {
            return Err(MailError::Url("it must begin with smtp:// or smtps://".into()));
        }
        let tls = parsed.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value);
        if tls.is_some_and(|tls| !matches!(&*tls, "required" | "opportunistic")) {
            return Err(MailError::Url("`tls` must be `required` or `opportunistic`".into()));
        }
        if parsed.password().is_none() && !parsed.username().is_empty() {
            // which lettre would take for nobody
            return Err(MailError::Url("it names a user without a password".into()));
        }
        let builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret().trim())
            .map_err(|e| MailError::Url(described(&e)))?
            .timeout(Some(ANSWER_TIMEOUT));
        Ok(Mailer { transport: builder.build(), from })
    }

    /// Refuses to send in the name of an address, or of this machine for itself: no mail server takes
    /// such letters, and nobody would hear of it. `host` is where people reach the server.
    pub fn check_sender(&self, host: Option<url::Host<&str>>) -> Result<(), MailError> {
        if self.from.is_some() {
            return Ok(());
        }
        match host {
            Some(url::Host::Domain(name)) => {
                let name = name.trim_end_matches('.').to_ascii_lowercase();
                let here = name == "localhost" || name.ends_with(".localhost");
                if here { Err(MailError::Nobody(name)) } else { Ok(()) }
            }
            Some(address) => Err(MailError::Nobody(address.to_string())),
            None => Err(MailError::Nobody("no domain".into())),
        }
    }

    /// Who sends; `host` is where people reach the server.
    pub(super) fn sender(&self, host: Option<url::Host<&str>>) -> Option<Mailbox> {
        if let Some(from) = &self.from {
            return Some(from.clone());
        }
        let domain = match host {
            Some(url::Host::Domain(name)) => name.to_owned(),
            Some(url::Host::Ipv4(ip)) => format!("[{ip}]"),
            Some(url::Host::Ipv6(ip)) => format!("[IPv6:{ip}]"),
            None => "localhost".to_owned(),
        };
        let address = Address::new(SENDER_USER, domain)
            .or_else(|_| Address::new(SENDER_USER, "localhost"))
            .ok()?;
        Some(Mailbox::new(Some(SENDER_NAME.into()), address))
    }

    /// Hands a message to the mail server.
    pub(super) async fn send(&self, message: Message) -> Result<(), SendError> {
        let sending = self.transport.send(message);
        match tokio::time::timeout(SEND_TIMEOUT, sending).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                let ours = error.status().is_some_and(|code| ABOUT_US.contains(&u16::from(code)));
                Err(SendError {
                    message: described(&error),
                    for_good: error.is_permanent() && !ours,
                })
            }
            Err(_elapsed) => Err(SendError {
                message: format!("the mail server took longer than {} s", SEND_TIMEOUT.as_secs()),
                for_good: false,
            }),
        }
    }
}

/// The whole chain of causes, on one line.
fn described(error: &(dyn std::error::Error + 'static)) -> String {
    let mut out = error.to_string();
    let mut cause = error.source();
    while let Some(c) = cause {
        out.push_str(": ");
        out.push_str(&c.to_string());
        cause = c.source();
    }
    out.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_ERROR).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailer(url: &str, from: Option<&str>) -> Result<Mailer, MailError> {
        Mailer::new(&url.to_owned().into(), from)
    }

    #[test]
    fn urls_that_name_a_mail_server_are_taken() {
        for url in [
            "smtp://localhost",
            "smtp://127.0.0.1:2525",
            "smtp://ada:p%40ss@mail.example.com:587?tls=required",
            "smtp://mail.example.com?tls=opportunistic",
            "smtps://ada:secret@mail.example.com",
        ] {
            mailer(url, None).expect(url);
        }
    }

    #[test]
    fn other_urls_are_refused_without_repeating_the_password() {
        for url in [
            "",
            "mail.example.com",
            "http://ada:hunter2@mail.example.com",
            "smtp://ada:hunter2@mail.example.com?tls=maybe",
            "smtp://ada:hunter2@mail.example.com:99999",
            "smtp:ada:hunter2",
            "smtps://hunter2@mail.example.com",
        ] {
            let error = mailer(url, None).expect_err(url).to_string();
            assert!(error.contains("SWITCHY_SMTP_URL") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_sender_is_a_mailbox() {
        let url = "smtp://localhost";
        for from in ["Switchy <a@example.com>", "a@example.com", " \"A, B\" <a@example.com> "] {
            let mailer = mailer(url, Some(from)).expect(from);
            assert_eq!(mailer.sender(None).expect("one").email.to_string(), "a@example.com");
        }
        for from in ["", "example.com", "a@b <c", "a@example.com\r\nBcc: b@example.com"] {
            mailer(url, Some(from)).expect_err(from);
        }
    }

    #[test]
    fn the_sender_is_where_people_reach_the_server_unless_told() {
        let mailer = mailer("smtp://localhost", None).expect("a mailer");
        for (url, sender) in [
            ("https://switchy.example/x", "noreply@switchy.example"),
            ("http://127.0.0.1:3000", "noreply@[127.0.0.1]"),
        ] {
            let url = url::Url::parse(url).expect("a URL");
            assert_eq!(mailer.sender(url.host()).expect("one").email.to_string(), sender);
        }
        let nowhere = mailer.sender(None).expect("one");
        assert_eq!(nowhere.to_string(), "Switchy <noreply@localhost>");
    }

    #[test]
    fn an_address_is_no_sender_unless_one_is_told() {
        let (silent, told) = (
            mailer("smtp://localhost", None).expect("a mailer"),
            mailer("smtp://localhost", Some("a@example.com")).expect("a mailer"),
        );
        let refused = [
            "http://127.0.0.1:3000",
            "https://[2001:db8::1]/x",
            "http://localhost:3000",
            "http://LOCALHOST./",
            "http://switchy.localhost",
            "https://0x7f.1/",
        ];
        for url in refused.into_iter().chain(["https://switchy.example/x"]) {
            let parsed = url::Url::parse(url).expect("a URL");
            told.check_sender(parsed.host()).expect("told");
            let refused = refused.contains(&url);
            assert_eq!(silent.check_sender(parsed.host()).is_err(), refused, "{url}");
        }
        silent.check_sender(None).expect_err("nowhere");
    }

    #[test]
    fn debug_output_does_not_contain_the_password() {
        let mailer = mailer("smtp://ada:hunter2@localhost", None).expect("a mailer");
        assert!(!format!("{mailer:?}").contains("hunter2"));
    }
}
