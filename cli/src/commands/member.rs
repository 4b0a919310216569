//! `member`.

use switchy::{Client, types};

use super::{confirm::confirmed, pages};
use crate::{
    args::Member,
    failure::{Exit, Failure},
    output::{Output, date},
};

pub async fn run(client: &Client, command: Member, output: &Output) -> Result<(), Failure> {
    let me = client.me().await?;
    let org = &me.organization;
    match command {
        Member::List { paging } => {
            pages::list(client.members(&org.id).list(), paging, output, table).await
        }
        Member::Role { member, role } => {
            let id = user_id(client, &org.id, &member).await?;
            let request = client.members(&org.id).update(id, role.into());
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            let member = request.await?;
            output.say(&format!("{} is {} of {} now", member.email, member.role, org.name))
        }
        Member::Remove { yes, members } => {
            let question = match members.as_slice() {
                [one] => format!("Remove {one} from {}?", org.name),
                _ => format!("Remove {} members from {}?", members.len(), org.name),
            };
            if !confirmed(yes, &question)? {
                return output.say("nobody was removed");
            }
            for member in members {
                let id = user_id(client, &org.id, &member).await?;
                let removed = client.members(&org.id).remove(id).await;
                removed.map_err(|error| Failure::from(error).about(&member))?;
                output.say(&format!("removed {member}"))?;
            }
            Ok(())
        }
        Member::Leave { yes } => {
            let question = format!("Leave {}? Your keys of it stop working for good.", org.name);
            if !confirmed(yes, &question)? {
                return output.say("you are still a member");
            }
            client.members(&org.id).remove(&me.user.id).await?;
            output.say(&format!("you have left {}", org.name))
        }
    }
}

/// The id of a member, given by id or by address. Ids are believed, and cost no request.
async fn user_id(client: &Client, org_id: &str, wanted: &str) -> Result<String, Failure> {
    if !wanted.contains('@') {
        return Ok(wanted.to_string());
    }
    let members = client.members(org_id).list();
    let found = pages::find(members, |m| m.email.to_lowercase() == wanted.to_lowercase()).await?;
    found.map(|member| member.user_id).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("there is no member {wanted}"))
            .hint("`switchy member list` shows everybody")
    })
}

fn table(members: Vec<types::Member>, output: &Output) -> Result<(), Failure> {
    let rows = members.into_iter().map(|member| {
        let name = member.name.unwrap_or_default();
        vec![member.email, member.role.to_string(), name, date(&member.joined_at), member.user_id]
    });
    output.table(&["MEMBER", "ROLE", "NAME", "JOINED", "ID"], rows.collect())
}
