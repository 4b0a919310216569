//! `space member`.

use switchy::{Client, types};

use super::{confirm::confirmed, pages, space::id_of};
use crate::{
    args::SpaceMember,
    connection::is_id,
    failure::{Exit, Failure},
    output::{Output, date},
};

/// How the caller names himself.
const ME: &str = "me";

pub async fn run(client: &Client, command: SpaceMember, output: &Output) -> Result<(), Failure> {
    match command {
        SpaceMember::List { space, paging } => {
            let space = id_of(client, space).await?;
            pages::list(client.space_members(&space).list(), paging, output, table).await
        }
        SpaceMember::Add { space, user, role } => {
            if !is_id(&user) {
                return Err(Failure::usage(format!("`{user}` is not the id of a user")));
            }
            let space = id_of(client, space).await?;
            let request = client.space_members(&space).add(user, role.into());
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            let member = request.await?;
            output.say(&format!("{} is in the Space as {}", member.email, member.role))
        }
        SpaceMember::Role { space, user, role } => {
            let space = id_of(client, space).await?;
            let user = user_id(client, &space, user).await?;
            let request = client.space_members(&space).update(user, role.into());
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            let member = request.await?;
            output.say(&format!("{} is {} of the Space", member.email, member.role))
        }
        SpaceMember::Remove { space, user, yes } => {
            let question = match user.as_str() {
                ME => format!("Leave {space}?"),
                _ => format!("Take {user} out of {space}?"),
            };
            if !confirmed(yes, &question)? {
                return output.say("everybody stays");
            }
            let id = id_of(client, space).await?;
            let removed = user_id(client, &id, user.clone()).await?;
            client.space_members(&id).remove(removed).await?;
            output.say(&match user.as_str() {
                ME => "you have left the Space".to_string(),
                _ => format!("{user} is not in the Space any more"),
            })
        }
    }
}

/// The id of a member who is named by it, by his address, or as `me`.
async fn user_id(client: &Client, space: &str, user: String) -> Result<String, Failure> {
    if is_id(&user) {
        return Ok(user);
    }
    if user == ME {
        return Ok(client.me().await?.user.id);
    }
    let members = client.space_members(space).list();
    let member = pages::find(members, |member| member.email.eq_ignore_ascii_case(&user)).await?;
    member.map(|member| member.user_id).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("`{user}` is not in this Space"))
            .hint("`switchy space member list SPACE` shows who is")
    })
}

fn table(members: Vec<types::SpaceMember>, output: &Output) -> Result<(), Failure> {
    let rows = members.into_iter().map(|member| {
        let (role, since) = (member.role.to_string(), date(&member.joined_at));
        vec![member.email, role, member.name.unwrap_or_default(), since, member.user_id]
    });
    output.table(&["EMAIL", "ROLE", "NAME", "SINCE", "ID"], rows.collect())
}
