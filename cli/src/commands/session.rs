//! `session`.

use switchy::types;

use super::{pages, saved_session};
use crate::{
    args::Session,
    connection::{Connection, space_slug},
    failure::Failure,
    output::{Output, date},
};

pub async fn run(
    connection: &Connection,
    command: Session,
    output: &Output,
) -> Result<(), Failure> {
    let client = &connection.client()?;
    match command {
        Session::Save(options) => saved_session::save(client, options, output).await,
        Session::Share { place, ids } => {
            saved_session::share(client, &place.space, ids, output).await
        }
        Session::Unarchive { place, ids } => {
            saved_session::unarchive(client, &place.space, ids, output).await
        }
        Session::Facets { place, filters } => {
            saved_session::facets(client, &place.space, filters, output).await
        }
        Session::Transcript(command) => {
            saved_session::transcript(connection, command, output).await
        }
        Session::List { place, evals, paging } => {
            let slug = space_slug(client, &place.space).await?;
            let mut request = client.sessions(&slug).list();
            if evals {
                request = request.include_eval();
            }
            pages::list(request, paging, output, table).await
        }
        Session::View { place, id } => {
            let slug = space_slug(client, &place.space).await?;
            let request = client.sessions(&slug).view(id);
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            view(&request.await?, output)
        }
        Session::Create { place, name, description, agent, participants } => {
            let slug = space_slug(client, &place.space).await?;
            let mut request = client.sessions(&slug).create(name);
            if let Some(description) = description {
                request = request.description(description);
            }
            if let Some(agent) = agent {
                request = request.default_agent(agent);
            }
            if !participants.is_empty() {
                request = request.participants(participants);
            }
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            view(&request.await?, output)
        }
        Session::Update { place, id, title, model } => {
            let slug = space_slug(client, &place.space).await?;
            let mut request = client.sessions(&slug).update(id);
            if let Some(title) = title {
                request = request.title(title);
            }
            if let Some(model) = model {
                request = request.model(model);
            }
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            view(&request.await?, output)
        }
        Session::Archive { place, ids } => {
            let slug = space_slug(client, &place.space).await?;
            for id in ids {
                let archived = client.sessions(&slug).archive(&id).await;
                archived.map_err(|error| Failure::from(error).about(&id))?;
                output.say(&format!("archived {id}"))?;
            }
            Ok(())
        }
    }
}

fn table(sessions: Vec<types::Session>, output: &Output) -> Result<(), Failure> {
    if sessions.is_empty() {
        return output.say("there is no live session in this Space");
    }
    let rows = sessions.into_iter().map(|session| {
        let changed = session.updated_at.unwrap_or(session.created_at);
        let agent = session.default_agent.unwrap_or_default();
        vec![session.id, session.title, agent, date(&changed)]
    });
    output.table(&["ID", "TITLE", "AGENT", "CHANGED"], rows.collect())
}

fn view(session: &types::Session, output: &Output) -> Result<(), Failure> {
    output.fields(&[
        ("id", Some(session.id.clone())),
        ("title", Some(session.title.clone())),
        ("description", session.description.clone()),
        ("agent", session.default_agent.clone()),
        ("model", session.model.clone()),
        ("visibility", Some(session.visibility.to_string())),
        ("origin", Some(session.origin.to_string())),
        ("external id", Some(session.external_id.to_string())),
        ("participants", Some(session.participant_user_ids.join(", "))),
        ("created by", Some(session.created_by_user_id.clone())),
        ("created", Some(date(&session.created_at))),
        ("changed", session.updated_at.as_ref().map(date)),
        ("archived", session.archived_at.as_ref().map(date)),
    ])
}
