//! The letter that invites somebody.

use super::mailer::Mailer;
use crate::auth::InvitationToken;
use crate::store::invitation_mails::Due;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use url::Url;

/// Longest name that is written into a letter, in characters.
const MAX_NAME: usize = 100;

/// A name on one line: somebody else chose it, and must not write the rest of the letter.
fn on_one_line(name: &str) -> String {
    let spaced = name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    // line and paragraph separators are white space
    let words = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(MAX_NAME).collect()
}

/// The letter. `base` is where people reach the server.
pub(super) fn compose(
    mailer: &Mailer,
    base: &str,
    due: &Due,
    token: &InvitationToken,
) -> Result<Message, Box<dyn std::error::Error + Send + Sync>> {
    let url = Url::parse(base).ok();
    let host = url.as_ref().and_then(Url::host);
    let from = mailer.sender(host).ok_or("there is no sender")?;
    let domain = from.email.domain().to_owned();
    let org = on_one_line(&due.org_name);
    let inviter = on_one_line(due.inviter_name.as_deref().unwrap_or_default());
    let inviter = if inviter.is_empty() { on_one_line(&due.inviter_email) } else { inviter };
    let role = if due.role == "ADMIN" { "an ADMIN" } else { "a MEMBER" };
    let until = due.expires_at.format("%-d %B %Y, %H:%M");
    let token = token.expose();
    let (email, inviter_email) = (&due.email, on_one_line(&due.inviter_email));
    let body = format!(
        "{inviter} ({inviter_email}) invites you to join {org} on Switchy, as {role}.

To accept, run this with an API key of yours on {base}:

    switchy --url {base}/api invite accept {token}

The invitation is for {email} alone. It works once, until {until} UTC.

If you have no key on that server yet, ask {inviter} for one: whoever runs the server can make you
an account. If you did not expect this letter, you need not do anything.
"
    );
    let mut message = Message::builder()
        .from(from)
        .to(Mailbox::new(None, due.email.parse()?))
        .subject(format!("{inviter} invites you to {org} on Switchy"))
        // should a letter go out twice, it is the same one
        .message_id(Some(format!("<{}@{domain}>", due.invitation_id)))
        .raw_header(HeaderValue::new(
            HeaderName::new_from_ascii_str("Auto-Submitted"),
            "auto-generated".to_owned(),
        ))
        .header(ContentType::TEXT_PLAIN);
    if let Ok(address) = due.inviter_email.parse() {
        message = message.reply_to(Mailbox::new(Some(inviter), address));
    }
    Ok(message.body(body)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(
            on_one_line(" Ada\r\nBcc: eve@example.com\u{2028}\tx\0 "),
            "Ada Bcc: eve@example.com x"
        );
        assert_eq!(on_one_line("\u{85}"), "");
        assert_eq!(on_one_line(&"é".repeat(200)).chars().count(), MAX_NAME);
    }
}
