//! `invite`.

use std::io::{self, Read};

use switchy::{Client, types};
use url::Url;

use super::pages;
use crate::{
    args::Invite,
    connection::{Connection, is_id},
    failure::{Exit, Failure},
    output::{Output, date},
};

/// What every token begins with.
const PREFIX: &str = "inv_";

/// What comes before the token in a URL.
const PLACE: &str = "/invitations/";

pub async fn run(connection: &Connection, command: Invite, output: &Output) -> Result<(), Failure> {
    let client = &connection.client()?;
    match command {
        Invite::List { paging } => {
            let request = client.invitations(&org_id(client).await?).list();
            pages::list(request, paging, output, table).await
        }
        Invite::Create { email, role } => {
            let request = client.invitations(&org_id(client).await?).create(email, role.into());
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            made(&connection.url, &request.await?, output)
        }
        Invite::Revoke { invitations } => {
            let org_id = org_id(client).await?;
            for wanted in invitations {
                let id = invitation_id(client, &org_id, &wanted).await?;
                let revoked = client.invitations(&org_id).revoke(id).await;
                revoked.map_err(|error| Failure::from(error).about(&wanted))?;
                output.say(&format!("revoked {wanted}"))?;
            }
            Ok(())
        }
        Invite::Accept { token } => {
            let given = if token == "-" { from_stdin()? } else { token };
            let request = client.accept_invitation(token_in(&given, &connection.url)?);
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            let member = request.await?;
            output.say(&format!(
                "you are {} of the organization {} now",
                member.role, member.organization_id
            ))?;
            eprintln!(
                "a key is for one organization: with one for this organization, \
                 `switchy login --profile NAME` saves it beside the others"
            );
            Ok(())
        }
    }
}

async fn org_id(client: &Client) -> Result<String, Failure> {
    Ok(client.me().await?.organization.id)
}

/// The id of an invitation, given by id or by address. Ids are believed, and cost no request.
async fn invitation_id(client: &Client, org_id: &str, wanted: &str) -> Result<String, Failure> {
    if is_id(wanted) {
        return Ok(wanted.to_string());
    }
    let all = client.invitations(org_id).list();
    let found = pages::find(all, |i| i.email.to_lowercase() == wanted.to_lowercase()).await?;
    found.map(|invitation| invitation.id).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no invitation of {wanted}"))
            .hint("`switchy invite list` shows those that can still be accepted")
    })
}

fn from_stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let read = io::stdin().read_to_string(&mut text);
    read.map_err(|cause| Failure::usage(format!("cannot read the token: {cause}")))?;
    Ok(text)
}

/// The token in what somebody pasted: the token itself, or the URL of the invitation.
///
/// # Errors
///
/// When there is none, or it is for another server than the one at `url`.
fn token_in(given: &str, url: &str) -> Result<String, Failure> {
    let given = given.trim();
    let token = match given.split_once(PLACE) {
        None => given,
        Some((server, rest)) => {
            let same = Url::parse(server).is_ok_and(|server| {
                Url::parse(url).is_ok_and(|url| server.origin() == url.origin())
            });
            if !same {
                return Err(Failure::usage(format!("this invitation is for {server}")).hint(
                    format!("`--url {server}`; or give the token alone, if it is the same server"),
                ));
            }
            rest.split('/').next().unwrap_or_default()
        }
    };
    let digits = token.strip_prefix(PREFIX).unwrap_or_default();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        // not repeated: it may be a secret of another kind
        return Err(Failure::usage("this is not the token of an invitation")
            .hint("a token begins with `inv_`; the letter and the invitation's URL hold it"));
    }
    Ok(token.to_string())
}

fn made(url: &str, invitation: &types::NewInvitation, output: &Output) -> Result<(), Failure> {
    output.say(&format!(
        "invited {} as {} until {}",
        invitation.email,
        invitation.role,
        date(&invitation.expires_at)
    ))?;
    let Some(token) = &invitation.token else {
        return Ok(());
    };
    output.say(&format!("\n  switchy --url {url} invite accept {token}\n"))?;
    eprintln!(
        "{}; the token is shown this once",
        match invitation.delivery {
            types::InvitationDelivery::Queued => "a letter with this command is on its way",
            types::InvitationDelivery::Held =>
                "no letter is sent, there were enough of them today: hand over this command yourself",
            _ => "hand over this command yourself",
        }
    );
    Ok(())
}

fn table(invitations: Vec<types::Invitation>, output: &Output) -> Result<(), Failure> {
    if invitations.is_empty() {
        return output.say("nobody is invited; `switchy invite create EMAIL` invites somebody");
    }
    let rows = invitations.into_iter().map(|invitation| {
        let letter = match invitation.delivery {
            types::InvitationDelivery::None => "-".to_string(),
            other => other.to_string().to_lowercase(),
        };
        vec![
            invitation.email,
            invitation.role.to_string(),
            date(&invitation.expires_at),
            letter,
            invitation.id,
        ]
    });
    output.table(&["INVITED", "ROLE", "UNTIL", "LETTER", "ID"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::token_in;

    const HERE: &str = "https://switchy.example/api";

    #[test]
    fn a_token_is_found_in_what_people_paste() {
        for given in [
            "inv_a1",
            " inv_a1\n",
            "https://switchy.example/api/invitations/inv_a1/accept",
            "https://switchy.example/api/invitations/inv_a1",
        ] {
            assert_eq!(token_in(given, HERE).ok().as_deref(), Some("inv_a1"), "{given}");
        }
        for given in [
            "",
            "inv_",
            "sk_live_abc",
            "inv_a/b",
            "inv_a b",
            "https://elsewhere.example/api/invitations/inv_a1/accept",
            "http://switchy.example/api/invitations/inv_a1/accept",
            "/invitations/inv_a1/accept",
        ] {
            assert!(token_in(given, HERE).is_err(), "{given}");
        }
    }
}
