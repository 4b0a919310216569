//! `space`.

use futures::TryStreamExt;
use serde_json::{Value, json};
use switchy::{Client, types};

use super::{confirm::confirmed, space_member};
use crate::{
    args::{Space, SpaceUpdate},
    connection::{is_id, space_id},
    failure::Failure,
    output::{Output, date},
};

/// The most Spaces that a page holds.
const FULL_PAGE: u32 = 100;

pub async fn run(client: &Client, command: Space, output: &Output) -> Result<(), Failure> {
    match command {
        Space::List { all: true, .. } if output.is_json() => output.json(&all(client).await?),
        Space::List { all: true, .. } => {
            let spaces: Vec<_> = client.spaces().list().stream().try_collect().await?;
            table(spaces, output)
        }
        Space::List { page, limit, .. } => {
            let mut request = client.spaces().list();
            if let Some(page) = page {
                request = request.page(page);
            }
            if let Some(limit) = limit {
                request = request.limit(limit);
            }
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            let answer = request.await?;
            let (shown, total) = (answer.projects.len(), answer.total);
            table(answer.projects, output)?;
            if (shown as u64) < u64::from(total) {
                eprintln!("{shown} of {total}; --all shows every Space");
            }
            Ok(())
        }
        Space::View { space } => {
            let request = client.spaces().view(id_of(client, space).await?);
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            view(&request.await?, output)
        }
        Space::Create { name, description, tags } => {
            let mut request = client.spaces().create(name);
            if let Some(description) = description {
                request = request.description(description);
            }
            if !tags.is_empty() {
                request = request.tags(tags);
            }
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            view(&request.await?, output)
        }
        Space::Update(options) => update(client, options, output).await,
        Space::Archive { yes, spaces } => archive(client, yes, &spaces, output).await,
        Space::Member(command) => space_member::run(client, command, output).await,
    }
}

async fn update(client: &Client, options: SpaceUpdate, output: &Output) -> Result<(), Failure> {
    let mut request = client.spaces().update(id_of(client, options.space).await?);
    if let Some(name) = options.name {
        request = request.name(name);
    }
    if let Some(description) = options.description {
        request = request.description(description);
    }
    if !options.tags.is_empty() || options.no_tags {
        request = request.tags(options.tags);
    }
    if let Some(model) = options.model {
        request = request.default_model(model);
    }
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    view(&request.await?, output)
}

async fn archive(
    client: &Client,
    yes: bool,
    spaces: &[String],
    output: &Output,
) -> Result<(), Failure> {
    let what = match spaces {
        [space] => format!("Archive {space}, with its sessions and notes?"),
        _ => format!("Archive {} Spaces, with their sessions and notes?", spaces.len()),
    };
    if !confirmed(yes, &what)? {
        return output.say("nothing was archived");
    }
    for space in spaces {
        let id = id_of(client, space.clone()).await?;
        let archived = client.spaces().archive(id).await;
        archived.map_err(|error| Failure::from(error).about(space))?;
        output.say(&format!("archived {space}"))?;
    }
    Ok(())
}

/// The id of a Space. Ids are believed: the organization's OWNER need not be in the Space.
pub async fn id_of(client: &Client, space: String) -> Result<String, Failure> {
    if is_id(&space) { Ok(space) } else { space_id(client, &space).await }
}

/// Every Space, as one page.
async fn all(client: &Client) -> Result<Value, Failure> {
    let mut spaces = Vec::new();
    for page in 1.. {
        let mut answer = client.spaces().list().page(page).limit(FULL_PAGE).raw().await?;
        let total = answer["total"].as_u64().unwrap_or(0);
        let Value::Array(found) = answer["projects"].take() else { break };
        let last = found.is_empty() || u64::from(page) * u64::from(FULL_PAGE) >= total;
        spaces.extend(found);
        if last {
            break;
        }
    }
    Ok(json!({ "total": spaces.len(), "projects": spaces }))
}

fn table(spaces: Vec<types::Space>, output: &Output) -> Result<(), Failure> {
    if spaces.is_empty() {
        return output.say("you are in no Space; `switchy space create NAME` makes one");
    }
    let rows = spaces.into_iter().map(|space| {
        let changed = space.updated_at.unwrap_or(space.created_at);
        vec![space.slug, space.name, space.tags.join(", "), date(&changed), space.id]
    });
    output.table(&["SLUG", "NAME", "TAGS", "CHANGED", "ID"], rows.collect())
}

fn view(space: &types::Space, output: &Output) -> Result<(), Failure> {
    output.fields(&[
        ("slug", Some(space.slug.clone())),
        ("name", Some(space.name.clone())),
        ("description", space.description.clone()),
        ("tags", Some(space.tags.join(", ")).filter(|tags| !tags.is_empty())),
        ("model", space.default_model.clone()),
        ("created", Some(date(&space.created_at))),
        ("changed", space.updated_at.as_ref().map(date)),
        ("id", Some(space.id.clone())),
    ])
}
